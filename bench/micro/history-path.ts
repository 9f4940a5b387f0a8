// us of CPU per row: from a lane's ring through history into DuckDB on disk, two rows a message of 1,000 devices; and what a history costs in memory.
// Run: node dist/bench/micro/history-path.js [rows]
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/base/clock.js";
import { COUNTER_BLOCK_COUNT, HISTORY_COUNTER } from "../../src/base/counters.js";
import { HISTORY_SOURCE } from "../../src/base/history-record.js";
import { MIB, RING_CAPACITY } from "../../src/base/limits.js";
import type { Log } from "../../src/base/log.js";
import { POSITION_COUNT } from "../../src/base/positions.js";
import { HistoryWriter } from "../../src/lane/history-writer.js";
import { RingReader, ringSize } from "../../src/ring/ring.js";
import { History } from "../../src/storage/history/history.js";

const SERIES = 2000;
const rows = Number(process.argv[2] ?? 4_000_000);
const print = (text: string): void => console.log(text);
const log: Log = { isDebug: false, debug: print, info: print, warn: print, error: print };
const resident = (): string => `${(process.memoryUsage.rss() / 1e6).toFixed(0)} MB`;

const directory = mkdtempSync(join(tmpdir(), "penstock-bench-"));
const path = join(directory, "history.duckdb");
const place = { buffer: new SharedArrayBuffer(ringSize(RING_CAPACITY.LANE_TO_HISTORY)), byteOffset: 0, capacity: RING_CAPACITY.LANE_TO_HISTORY };
const counters = new Float64Array(COUNTER_BLOCK_COUNT);
const atStart = resident();
const history = await History.open({
  path, rings: [new RingReader(place)], rawRetentionMs: 1e15, memoryLimitBytes: 96 * MIB, flushIntervalMs: 1000, queryDeadlineMs: 10_000, counters,
  positions: new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8)), clock: systemClock, log, wakeLane: () => undefined, onFailure: (error) => {
    throw error;
  },
});
print(`resident: ${atStart} before, ${resident()} with an empty history open`);
const lane = new HistoryWriter(place, () => history.wake());
lane.start(0, 1);
for (let handle = 0; handle < SERIES; handle++) lane.addSeries(handle, Buffer.from(`device-${handle >> 1}`), handle % 2 === 0 ? "temperature" : "humidity", 1.76e12);
lane.from(HISTORY_SOURCE.LIVE);
history.wake();

async function settled(count: number): Promise<void> {
  while (counters[HISTORY_COUNTER.ROWS]! < count) {
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}

async function send(count: number): Promise<void> {
  for (let n = 0; n < count; n++) {
    lane.addRow(n % SERIES, 1.76e12 + Math.floor(n / 200), ((n * 7919) % 4000) / 100, 0);
    if (n % 10_000 !== 9_999) continue;
    lane.publish();
    while (!lane.hasRoomFor(100_000)) await settled(counters[HISTORY_COUNTER.ROWS]! + 1);
  }
  lane.publish();
}

const warmUp = 200_000;
await send(warmUp);
await settled(warmUp);
const before = process.cpuUsage();
const startedAt = performance.now();
await send(rows);
await settled(warmUp + rows);
const used = process.cpuUsage(before);
const seconds = (performance.now() - startedAt) / 1000;
const flushes = counters[HISTORY_COUNTER.FLUSHES]!;
print(`${((used.user + used.system) / rows).toFixed(3)} us of CPU per row, ${(rows / seconds / 1000).toFixed(0)} thousand rows a second, ${flushes} flushes of ${(counters[HISTORY_COUNTER.FLUSH_TIME_MS]! / flushes).toFixed(0)} ms`);
const askedAt = performance.now();
const points = (await history.answer({ type: "series", device: "device-7", name: "humidity", from: 1.76e12, to: 1.76e12 + 3_600_000, stepMs: 1000 })) as unknown[];
print(`a query of ${points.length} points over ${warmUp + rows} rows: ${(performance.now() - askedAt).toFixed(0)} ms; resident ${resident()}`);
await history.stop();
print(`${(statSync(path).size / (warmUp + rows)).toFixed(2)} bytes per row on disk`);
rmSync(directory, { recursive: true });
