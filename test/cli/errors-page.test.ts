import { readFileSync } from "node:fs";
import t from "tap";
import { ERRORS } from "../../src/base/errors.js";
import { errorsPage } from "../../src/cli/errors-page.js";

t.test("docs/errors.md is what src/base/errors.ts says (npm run build writes it)", async (t) => {
  t.equal(readFileSync(new URL("../../../docs/errors.md", import.meta.url), "utf8"), errorsPage());
});

t.test("every error code has a heading, what happened and what to do", async (t) => {
  const page = errorsPage();
  const codes = Object.entries(ERRORS);
  t.ok(codes.length >= 10, `${codes.length} codes`);
  for (const [code, entry] of codes) {
    t.match(code, /^[A-Z]+(_[A-Z0-9]+)+$/, "AREA_WHAT");
    t.ok(page.includes(`## ${code}\n\n${entry.what}\n\n**What to do:** ${entry.fix}\n`), code);
    t.match(entry.what, /\.$/, "what is a sentence");
    t.match(entry.fix, /\.$/, "fix is a sentence");
  }
});
