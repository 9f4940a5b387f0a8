// Every normative statement of both standards has a test that bears its number, or a reason; docs/mqtt-conformance.md says so.
import { readFileSync } from "node:fs";
import t from "tap";
import { CLAUSES, conformancePage, keyOf, marks, marksIn, PAGE } from "./clauses.js";

t.test("every clause is borne by a test or has a reason", (t) => {
  const found = marks();
  t.ok(CLAUSES.length > 350, `${String(CLAUSES.length)} clauses`);
  t.equal(new Set(CLAUSES.map(keyOf)).size, CLAUSES.length, "each once");
  t.same(CLAUSES.filter((clause) => clause.reason === "" && (found.get(keyOf(clause))?.tests.size ?? 0) === 0).map(keyOf), []);
  t.end();
});

t.test("no mark names a clause that does not exist", (t) => {
  const known = new Set(CLAUSES.map(keyOf));
  t.same([...marks()].filter(([key]) => !known.has(key)).map(([key, { code, tests }]) => `${key}: ${[...code, ...tests].join(", ")}`), []);
  t.end();
});

t.test("marks are found with their version", (t) => {
  t.same(marksIn("a [MQTT-3.1.2-1] b [MQTT3-4.3.3-2] c [RFC-1.2-3] [MQTT-4.2-1]"), ["5.0 3.1.2-1", "3.1.1 4.3.3-2", "5.0 4.2-1"]);
  t.end();
});

t.test("docs/mqtt-conformance.md is what the marks say (npm run build writes it)", (t) => {
  t.equal(readFileSync(PAGE, "utf8"), conformancePage());
  t.end();
});
