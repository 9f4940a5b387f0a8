import t from "tap";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../../src/control/config/units.js";

t.test("durations are read with their unit, and only so", async (t) => {
  for (const [text, ms] of [["500ms", 500], ["1s", 1000], ["1.5s", 1500], ["2m", 120_000], ["1h", 3_600_000], ["7d", 604_800_000], ["1w", 604_800_000], [" 3 S ", 3000]] as const) t.equal(parseDuration(text), ms, text);
  for (const text of ["", "5", "s", "-1s", "1 year", "1e3s", "1s2", "1,5s", "Infinity"]) t.equal(parseDuration(text), undefined, text);
});

t.test("sizes are read with their unit: decimal and binary ones", async (t) => {
  for (const [text, bytes] of [["1B", 1], ["1kB", 1000], ["1KiB", 1024], ["1MB", 1_000_000], ["1.5MiB", 1_572_864], ["2 GB", 2e9], ["1gib", 1024 ** 3], ["1TB", 1e12]] as const) t.equal(parseSize(text), bytes, text);
  for (const text of ["", "1", "MB", "-1MB", "1M", "1 MB x", "1e3B"]) t.equal(parseSize(text), undefined, text);
});

t.test("what is written for people is read back as the same", async (t) => {
  for (const ms of [1, 999, 1000, 1500, 60_000, 3_600_000, 86_400_000, 604_800_000]) t.equal(parseDuration(formatDuration(ms)), ms, formatDuration(ms));
  for (const bytes of [1, 1023, 1024, 1536, 1024 ** 2, 16 * 1024 ** 2, 1024 ** 3]) t.equal(parseSize(formatSize(bytes)), bytes, formatSize(bytes));
});
