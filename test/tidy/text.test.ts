import t from "tap";
import { projectFiles } from "./sources.js";
import { TEXT_RULES } from "./text-rules.js";

for (const rule of TEXT_RULES) {
  t.test(rule.name, async (t) => {
    for (const planted of rule.refused) {
      t.match(planted.path, rule.appliesTo, `the rule looks at ${planted.path}`);
      t.not(rule.check(planted).length, 0, `refuses ${planted.path}: ${planted.text.slice(0, 40).trim()}`);
    }
    for (const planted of rule.accepted) t.strictSame(rule.check(planted), [], `accepts ${planted.path}: ${planted.text.slice(0, 40).trim()}`);
    const files = projectFiles().filter((file) => rule.appliesTo.test(file.path));
    t.ok(files.length > 0, `${files.length} files were looked at`);
    t.strictSame(files.flatMap((file) => rule.check(file).map((finding) => `${file.path}: ${finding}`)), [], "nothing was found");
  });
}
