// A process for crash.test.ts to kill: lanes and history over a journal that lies there, as their workers drive them, in one thread.
// node crash-child.js DIRECTORY LANES DURABLE_LSN: says "committed LSN" now and then, ends when everything is committed and stored.
import { COUNTER_BLOCK_COUNT } from "../../src/base/counters.js";
import { systemClock } from "../../src/base/clock.js";
import { MIB } from "../../src/base/limits.js";
import type { LaneStart } from "../../src/base/messages.js";
import { POSITION, POSITION_COUNT, readPosition, writePosition } from "../../src/base/positions.js";
import { Lane } from "../../src/lane/lane.js";
import { LaneLoop } from "../../src/lane/lane-loop.js";
import { RingReader } from "../../src/ring/ring.js";
import { History } from "../../src/storage/history/history.js";
import { JournalReader } from "../../src/storage/journal/reader.js";
import { crc32c, MemoryLog } from "../storage/support.js";
import { newRing } from "./support.js";

const [directory = "", laneCount = "1", durable = "0"] = process.argv.slice(2);
const durableLsn = Number(durable);
const lanes = Number(laneCount);
const positions = new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
const rings = Array.from({ length: lanes }, () => newRing());
const log = new MemoryLog();
writePosition(positions, POSITION.JOURNAL_DURABLE, durableLsn);

function fail(error: unknown): void {
  process.stderr.write(`${String(error)}\n`);
  process.exit(3);
}

const loops: LaneLoop[] = [];
const history = await History.open({
  path: `${directory}/history.duckdb`, rings: rings.map((place) => new RingReader(place)), rawRetentionMs: 1e15, memoryLimitBytes: 96 * MIB, flushIntervalMs: 5,
  queryDeadlineMs: 10_000, counters: new Float64Array(COUNTER_BLOCK_COUNT), positions, clock: systemClock, log, wakeLane: (lane) => loops[lane]?.wake(), onFailure: fail,
});

rings.forEach((toHistory, lane) => loops.push(new LaneLoop(
  new Lane({
    start: {
      role: "lane", lane, lanes, journalDirectory: directory, fromShards: [], toHistory, fromLsn: 0, quarantined: [], statistics: { window: 60, warmUp: 10, threshold: 3 },
      seriesMax: 10_000, logLevel: "info", counters: new SharedArrayBuffer(COUNTER_BLOCK_COUNT * 8), positions: positions.buffer,
    } as unknown as LaneStart,
    openJournal: (fromLsn) => new JournalReader({ directory, fromLsn, crc32c, verifyBelowLsn: 0, onFinding: (finding) => fail(new Error(finding.text)) }),
    clock: systemClock, log, wakeHistory: () => history.wake(),
  }),
  fail,
)));

history.wake();
for (const loop of loops) loop.wake();
let said = -1;
const watch = setInterval(() => {
  const committed = readPosition(positions, POSITION.HISTORY_COMMITTED);
  if (committed !== said) process.stdout.write(`committed ${committed}\n`);
  said = committed;
  if (committed < durableLsn) return;
  clearInterval(watch);
  history.stop().then(() => process.exit(0), fail);
}, 1);
