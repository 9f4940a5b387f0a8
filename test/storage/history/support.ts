// What the history's tests share: a history over rings whose other ends are here, and waiting for what it does.
import { COUNTER_BLOCK_COUNT } from "../../../src/base/counters.js";
import { HISTORY_SOURCE } from "../../../src/base/history-record.js";
import { MIB, RING_CAPACITY } from "../../../src/base/limits.js";
import { POSITION, POSITION_COUNT, readPosition } from "../../../src/base/positions.js";
import { HistoryWriter } from "../../../src/lane/history-writer.js";
import { RingReader, ringSize } from "../../../src/ring/ring.js";
import { History, type HistoryOptions } from "../../../src/storage/history/history.js";
import { ManualClock, MemoryLog, temporaryDirectory } from "../support.js";

const WAIT_MAX_MS = 20_000;

/** Waits until something is so, for a bounded time. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + WAIT_MAX_MS;
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`it did not come about: ${what}`);
    await new Promise<void>((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** What all histories and lanes of one process share. */
export class SharedPlace {
  readonly directory = temporaryDirectory();
  readonly path = `${this.directory.path}/history.duckdb`;
  readonly positions = new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
  readonly counters = new Float64Array(COUNTER_BLOCK_COUNT);
  readonly log = new MemoryLog();
  readonly clock = new ManualClock();
  readonly rings: { readonly buffer: SharedArrayBuffer; readonly byteOffset: number; readonly capacity: number }[];
  readonly woken: number[] = [];
  history: History | undefined = undefined;
  failure: unknown = undefined;

  constructor(lanes: number, capacity: number = RING_CAPACITY.LANE_TO_HISTORY) {
    this.rings = Array.from({ length: lanes }, () => ({ buffer: new SharedArrayBuffer(ringSize(capacity)), byteOffset: 0, capacity }));
  }

  get committedLsn(): number {
    return readPosition(this.positions, POSITION.HISTORY_COMMITTED);
  }

  async open(options: Partial<HistoryOptions> = {}): Promise<History> {
    this.history = await History.open({
      path: this.path,
      rings: this.rings.map((place) => new RingReader(place)),
      rawRetentionMs: 7 * 24 * 3600_000,
      memoryLimitBytes: 96 * MIB,
      flushIntervalMs: 1,
      queryDeadlineMs: 10_000,
      counters: this.counters,
      positions: this.positions,
      clock: this.clock,
      log: this.log,
      wakeLane: (lane) => this.woken.push(lane),
      onFailure: (error) => {
        this.failure = error;
      },
      ...options,
    });
    this.history.wake();
    return this.history;
  }

  /** A lane's end of its ring, that has said START. */
  lane(lane: number): HistoryWriter {
    const writer = new HistoryWriter(this.rings[lane]!, () => this.history?.wake());
    writer.start(0, readPosition(this.positions, POSITION.HISTORY_EPOCH));
    writer.publish();
    return writer;
  }

  async remove(): Promise<void> {
    await this.history?.stop();
    this.directory.remove();
  }
}

export function name(writer: HistoryWriter, handle: number, device: string, series: string, time = 0): void {
  writer.addSeries(handle, Buffer.from(device, "utf8"), series, time);
}

/** Sends one frame of the journal with rows of one handle, and its MARKER. */
export function sendFrame(writer: HistoryWriter, endLsn: number, handle: number, values: readonly number[], time = 1_767_225_600_000): void {
  writer.from(HISTORY_SOURCE.JOURNAL);
  for (const value of values) writer.addRow(handle, time + value, value, 0);
  writer.mark(endLsn);
  writer.publish();
}

/** All values of a series in history, in the order of their times. */
export async function valuesOf(history: History, device: string, series: string): Promise<number[]> {
  const points = (await history.answer({ type: "series", device, name: series, from: 1_767_225_600_000, to: 1_767_225_600_000 + 10_000, stepMs: 1 })) as { mean: number; count: number }[];
  return points.flatMap(({ mean, count }) => Array.from({ length: count }, () => mean));
}
