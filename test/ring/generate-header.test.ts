import { readFileSync } from "node:fs";
import t from "tap";
import { HEADER_PATH, headerText } from "../../src/ring/generate-header.js";
import { COMMAND, REACTOR_COUNTER, REACTOR_COUNTER_COUNT, CLOSE_REASON_COUNT } from "../../src/ring/layout.js";

t.test("native/core/layout.h is what layout.ts says: run `npm run build` and commit it if this fails", (t) => {
  t.equal(readFileSync(HEADER_PATH, "utf8"), headerText());
  t.end();
});

t.test("the header names every command and holds its value", (t) => {
  const text = headerText();
  for (const [name, value] of Object.entries(COMMAND)) t.match(text, `inline constexpr uint32_t COMMAND_${name} = ${value}u;`);
  t.end();
});

t.test("the counters of close reasons fit behind the others", (t) => {
  t.ok(REACTOR_COUNTER.CLOSED + CLOSE_REASON_COUNT <= REACTOR_COUNTER_COUNT);
  t.end();
});
