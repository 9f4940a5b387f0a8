// A process for disk-full.test.ts, whose files may not grow beyond a limit that the test lifts later (which the database cannot tell from a
// full disk). node disk-full-child.js DIRECTORY: says "failed" when a flush failed, "stored N" when all rows are.
import { HISTORY_COUNTER } from "../../../src/base/counters.js";
import { HISTORY_SOURCE } from "../../../src/base/history-record.js";
import { name, SharedPlace, until } from "./support.js";

const ROWS = 300_000;
const T0 = 1_767_225_600_000;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

const place = new SharedPlace(1);
const path = `${process.argv[2] ?? ""}/history.duckdb`;
const history = await place.open({ path });
const lane = place.lane(0);
name(lane, 0, "d0", "t");
lane.from(HISTORY_SOURCE.JOURNAL);
for (let n = 0; n < ROWS; n++) {
  // Values that do not compress.
  lane.addRow(0, T0 + n, Math.random(), 0);
  if (n % 10_000 !== 9_999) continue;
  lane.mark(n + 1);
  lane.publish();
  await until("room", () => lane.hasRoomFor(100_000));
}
await until("a failure", () => place.counters[HISTORY_COUNTER.FLUSHES_FAILED]! > 0);
say(`failed at ${place.committedLsn}: ${place.log.texts("error")[0] ?? ""}`);
// Queries go on meanwhile.
const devices = (await history.answer({ type: "devices", limit: 10, after: "" })) as unknown[];
say(`answered ${devices.length <= 1}`);
await until("stored", () => place.committedLsn === ROWS);
const [point] = (await history.answer({ type: "series", device: "d0", name: "t", from: T0, to: T0 + ROWS, stepMs: ROWS })) as { count: number }[];
say(`stored ${point?.count ?? 0} ${String(place.failure)}`);
await place.remove();
