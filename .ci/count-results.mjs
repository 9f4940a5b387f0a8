// Counts a raw TAP file: prints `passed failed skipped` on one line, and the reason of every skip on standard error.
// A file or subtest that failed without a failed assertion in it (a crash, a time-out, a wrong plan) counts as one failure.
import { createReadStream } from "node:fs";
import { Parser } from "tap-parser";

const count = { passed: 0, failed: 0, skipped: 0 };

/** @param {Parser} parser @param {string} trail */
function watch(parser, trail) {
  /** @type {{ name: string, failedBefore: number } | undefined} */
  let child;
  parser.on("child", (next) => {
    child = { name: next.name, failedBefore: count.failed };
    watch(next, `${trail}${next.name} > `);
  });
  parser.on("assert", (result) => {
    const isSummary = child !== undefined && child.name === result.name;
    if (result.skip || result.todo) {
      count.skipped++;
      process.stderr.write(`skipped: ${trail}${result.name}: ${String(result.skip || result.todo)}\n`);
    } else if (!isSummary) count[result.ok ? "passed" : "failed"]++;
    else if (!result.ok && count.failed === child?.failedBefore) count.failed++;
    if (isSummary) child = undefined;
  });
  parser.on("bailout", (reason) => {
    count.failed++;
    process.stderr.write(`bailed out: ${trail}${String(reason)}\n`);
  });
}

const parser = new Parser();
watch(parser, "");
parser.on("complete", (results) => {
  if (!results.ok && count.failed === 0) count.failed++;
  if (count.passed + count.failed === 0) count.failed++;
  process.stdout.write(`${count.passed} ${count.failed} ${count.skipped}\n`);
});
createReadStream(process.argv[2] ?? "").pipe(parser);
