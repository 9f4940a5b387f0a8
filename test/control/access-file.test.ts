// The file of access rules: what it means, every mistake in it at once, and what happens when it changes while running.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ACCESS, ACCESS_ALL, type AccessRuleSet } from "../../src/base/access.js";
import { describeRule, parseAccessRules } from "../../src/control/config/access-file.js";
import { loadConfig } from "../../src/control/config/config.js";
import { watchAccessRules } from "../../src/control/access-watch.js";
import { findingsOf } from "./config/findings.js";
import { Lines } from "./supervisor-fixture.js";

function folder(test: Test): string {
  const directory = mkdtempSync(join(tmpdir(), "penstock-acl-"));
  test.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

t.test("rules and groups are read as written", async (t) => {
  const set = parseAccessRules(
    `groups:
  operators: [anna, ben]
  owners: anna
rules:
  - { allow: all, groups: operators, topics: "#" }
  - { deny: [retain], topics: ["a/+", "b/#"], clients: [7, c], anonymous: true }
  - { allow: [publish, subscribe], users: carl, topics: "devices/%c/#" }
`, "access.yaml", false);
  t.same(set, {
    isDefaultAllow: false,
    groupsOf: { anna: ["operators", "owners"], ben: ["operators"] },
    rules: [
      { isAllow: true, actions: ACCESS_ALL, users: null, groups: ["operators"], clients: null, anonymous: null, topics: ["#"] },
      { isAllow: false, actions: ACCESS.RETAIN, users: null, groups: null, clients: ["7", "c"], anonymous: true, topics: ["a/+", "b/#"] },
      { isAllow: true, actions: ACCESS.PUBLISH | ACCESS.SUBSCRIBE, users: ["carl"], groups: null, clients: null, anonymous: null, topics: ["devices/%c/#"] },
    ],
  });
  t.same(set.rules.map(describeRule), ["allow all # (groups operators)", "deny retain a/+, b/# (clients 7, c; anonymous)", "allow publish, subscribe devices/%c/# (users carl)"]);
});

t.test("an empty file has no rules: the default holds", async (t) => {
  for (const text of ["", "# nothing yet\n", "rules:\n", "rules: []\n"]) t.same(parseAccessRules(text, "f", true), { isDefaultAllow: true, groupsOf: {}, rules: [] }, JSON.stringify(text));
});

t.test("every mistake is found at once, each with its line", async (t) => {
  const findings = findingsOf(() => parseAccessRules(
    `groups: { operators: [] }
rule: []
rules:
  - { allow: publsh, topics: "a" }
  - { topics: "a" }
  - { allow: all, deny: all, topics: "a" }
  - { allow: all }
  - { allow: all, topics: ["a/b+", "a/#/b", "$share/g/x"] }
  - { allow: all, topics: "a", user: anna }
  - { allow: all, topics: "a", anonymous: perhaps }
  - not a rule
`, "access.yaml", false));
  t.match(findings.map(({ key }) => key), [
    /^rule \(access.yaml, line 2\)/, /^groups.operators \(access.yaml, line 1\)/, /^rules\[1\].allow \(access.yaml, line 4\)/, /^rules\[2\] \(access.yaml, line 5\)/, /^rules\[2\].deny/,
    /^rules\[3\] \(access.yaml, line 6\)/, /^rules\[4\].topics \(access.yaml, line 7\)/, /^rules\[5\].topics \(access.yaml, line 8\)/, /^rules\[5\].topics/, /^rules\[5\].topics/,
    /^rules\[6\].user /, /^rules\[7\].anonymous/, /^rules\[8\] /,
  ]);
  t.equal(findings.length, 13);
  t.match(findings.find(({ key }) => key.startsWith("rule "))!.fix, /Did you mean `rules`/);
  t.match(findings.find(({ key }) => key.startsWith("rules[6].user"))!.fix, /Did you mean `users`/);
});

t.test("refused as a whole: no YAML, another shape", async (t) => {
  t.match(findingsOf(() => parseAccessRules("rules: [\n", "access.yaml", false)), [{ key: /^access.yaml:\d+:\d+/, allowed: "YAML" }]);
  for (const text of ["- a\n", "just text\n", "rules: { allow: all }\n", "groups: [a]\n"]) t.equal(findingsOf(() => parseAccessRules(text, "f", false)).length, 1, JSON.stringify(text));
});

t.test("a key without a value is a mistake: it could mean everybody or nobody", async (t) => {
  for (const key of ["users", "groups", "clients", "anonymous", "topics"]) {
    for (const value of key === "anonymous" ? [""] : ["", "[]"]) {
      const rest = key === "topics" ? "" : ", topics: a";
      t.match(findingsOf(() => parseAccessRules(`rules:\n  - { allow: all, ${key}: ${value}${rest} }\n`, "access.yaml", false)), [{ key: new RegExp(`^rules\\[1\\]\\.${key} \\(access.yaml, line 2\\)`) }], `${key}: ${value}`);
    }
  }
  for (const rule of ["{ allow: [], topics: a }", "{ deny: [], topics: a }"]) t.equal(findingsOf(() => parseAccessRules(`rules: [${rule}]\n`, "f", false)).length, 1, rule);
  t.equal(findingsOf(() => parseAccessRules("groups: { operators: }\n", "f", false)).length, 1);
});

t.test("a number is a name only as it is written", async (t) => {
  const set = parseAccessRules("rules: [{ allow: all, clients: [7, 1234567890, \"00123\"], users: 42, topics: a }]\n", "f", false);
  t.match(set.rules[0], { clients: ["7", "1234567890", "00123"], users: ["42"] });
  for (const name of ["00123", "1.10", "1e3", "0x10", "12345678901234567890"]) {
    t.match(findingsOf(() => parseAccessRules(`rules: [{ deny: all, clients: ${name}, topics: a }]\n`, "f", false)), [{ key: /clients/, fix: /quotes/ }], name);
    t.equal(findingsOf(() => parseAccessRules(`rules: [{ deny: all, clients: [a, ${name}], topics: a }]\n`, "f", false)).length, 1, `[a, ${name}]`);
  }
});

t.test("an alias without its anchor is refused, not thrown", async (t) => {
  for (const text of ["rules: [{ allow: all, topics: */status }]\n", "rules: [{ allow: all, users: *all, topics: a }]\n"]) {
    t.match(findingsOf(() => parseAccessRules(text, "access.yaml", false)), [{ key: /^access.yaml/, fix: /quotes/ }], text);
  }
});

t.test("the configuration names the file: relative to itself, missing or broken is a finding, off is none", async (t) => {
  const directory = folder(t);
  const file = join(directory, "penstock.yaml");
  const load = (text: string): AccessRuleSet | null => {
    writeFileSync(file, text);
    return loadConfig({ file, environment: {}, workingDirectory: "/" }).access;
  };
  t.equal(load("log: info\n"), null);
  t.match(findingsOf(() => load("acl: { file: access.yaml }\n")), [{ key: "acl.file", value: /access\.yaml \(ENOENT\)/ }]);
  writeFileSync(join(directory, "access.yaml"), "rules: [{ allow: all, topics: a }]\n");
  t.match(load("acl: { file: access.yaml }\n"), { isDefaultAllow: false, rules: { length: 1 } }, "what no rule allows is denied");
  t.match(load("acl: { file: access.yaml, default: allow }\n"), { isDefaultAllow: true });
  t.match(findingsOf(() => load("acl: { default: deny }\n")), [{ key: /^acl\.default/ }], "nobody could do anything");
  writeFileSync(join(directory, "access.yaml"), "rules: [{ allow: al, topics: a }]\n");
  t.match(findingsOf(() => load("acl: { file: access.yaml }\n")), [{ key: /rules\[1\]\.allow \(.*access\.yaml, line 1\)/ }]);
});

t.test("a changed file is applied with what changed; a broken or missing one keeps the old rules and says why", async (t) => {
  const directory = folder(t);
  const file = join(directory, "access.yaml");
  const lines = new Lines();
  const write = (text: string): void => writeFileSync(file, text);
  write("rules: [{ allow: all, topics: a }]\n");
  const applied: AccessRuleSet[] = [];
  const watch = watchAccessRules({ file, current: parseAccessRules("rules: [{ allow: all, topics: a }]\n", file, false), log: lines.log, apply: (rules) => applied.push(rules) });
  t.teardown(() => watch.close());
  write("rules: [{ allow: all, topics: b }]\n");
  t.match(await lines.find("new rules", ({ text }) => text.startsWith("new access rules")), { fields: { rules: 1, added: ["allow all b"], removed: ["allow all a"] } });
  t.match(applied, [{ rules: [{ topics: ["b"] }] }]);
  write("rules: [{ allow: nothing, topics: b }]\n");
  t.match((await lines.find("why", ({ text }) => text.includes("cannot be used"))).text, /the old ones stay in force: rules\[1\]\.allow .*line 1/);
  t.equal(applied.length, 1);
  write("rules: [{ allow: all, topics: */b }]\n");
  watch.reload();
  t.match(lines.all.at(-1)?.text, /cannot be used; the old ones stay in force/, "whatever is wrong with it");
  const before = lines.all.length;
  rmSync(file);
  watch.reload();
  t.match(lines.all[before]?.text, /ENOENT/);
  t.equal(applied.length, 1);
  write("rules: [{ allow: all, topics: b }]\n");
  watch.reload();
  t.equal(applied.length, 1, "the same rules again are no change");
});
