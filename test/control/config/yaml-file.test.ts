// YAML that people write: where everything stands, and one form of finding for the configuration and the access rules.
import t from "tap";
import { parseAccessRules } from "../../../src/control/config/access-file.js";
import { parseYamlFile, type Path } from "../../../src/control/config/yaml-file.js";
import { findingsOf } from "./findings.js";

const HINTS = { syntax: "mend it", alias: "quote it" };

t.test("everything has its line: a value, a key without one, and what is not there that of what it would stand in", async (t) => {
  const { tree, lineOf, sourceOf } = parseYamlFile("# a comment\na:\n  b: 00123\n  c:\n  list:\n    - one\n    - { two: 2 }\n", "f", HINTS);
  t.same(tree, { a: { b: 123, c: null, list: ["one", { two: 2 }] } });
  const expected: readonly (readonly [Path, number])[] = [[["a", "b"], 3], [["a", "c"], 4], [["a", "list", 0], 6], [["a", "list", 1, "two"], 7], [["a", "list", 1, "three"], 7], [["a", "missing", "deep"], 3], [["missing"], 2]];
  for (const [path, line] of expected) t.equal(lineOf(path), line, path.join("."));
  t.equal(sourceOf(["a", "b"]), "00123");
  t.equal(sourceOf(["a", "missing"]), undefined);
});

t.test("an empty file holds nothing, on no line", async (t) => {
  for (const text of ["", "# nothing yet\n", "---\n"]) t.match(parseYamlFile(text, "f", HINTS).tree, null, JSON.stringify(text));
  t.equal(parseYamlFile("", "f", HINTS).lineOf(["a"]), null);
});

t.test("what is no YAML is refused with file, line, column and what to do", async (t) => {
  t.match(findingsOf(() => parseYamlFile("a: 1\nb: [\n", "some.yaml", HINTS)), [{ key: /^some\.yaml:\d+:\d+$/, allowed: "YAML", fix: /^Mend line \d+; mend it\.$/ }]);
  t.match(findingsOf(() => parseYamlFile("a: *b\n", "some.yaml", HINTS)), [{ key: "some.yaml", fix: "quote it." }]);
});

t.test("a rule that contains itself is a finding, not a failure", async (t) => {
  t.match(findingsOf(() => parseAccessRules("rules: &r\n  - *r\n", "access.yaml", false)), [{ key: "rules[1] (access.yaml, line 2)", value: "a value that contains itself" }]);
});
