// What the lane's tests share: lanes over real rings and a real journal, without threads.
import { align8, fnv1aOf } from "../../src/base/bytes.js";
import { COUNTER_BLOCK_COUNT } from "../../src/base/counters.js";
import { HISTORY_RECORD } from "../../src/base/history-record.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { MIB, RING_CAPACITY } from "../../src/base/limits.js";
import type { LaneStart } from "../../src/base/messages.js";
import { POSITION, POSITION_COUNT, readPosition } from "../../src/base/positions.js";
import type { RingPlace } from "../../src/base/ring-place.js";
import { Lane, TURN } from "../../src/lane/lane.js";
import type { JournalFrames } from "../../src/base/journal-frames.js";
import { RingReader, RingWriter, ringSize } from "../../src/ring/ring.js";
import { JournalReader } from "../../src/storage/journal/reader.js";
import { messageBytes } from "../pipeline/support.js";
import { crc32c, ManualClock, MemoryLog, openStore, settle, type StoreBench, temporaryDirectory, TestShard } from "../storage/support.js";

export function newRing(capacity: number = RING_CAPACITY.LANE_TO_HISTORY): RingPlace {
  return { buffer: new SharedArrayBuffer(ringSize(capacity)), byteOffset: 0, capacity };
}

/** A store with a journal, and the rings and positions that go with it. */
export class LanePlace {
  readonly directory = temporaryDirectory();
  readonly positions = new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
  readonly counters = new Float64Array(new SharedArrayBuffer(COUNTER_BLOCK_COUNT * 8));
  readonly clock = new ManualClock();
  readonly log = new MemoryLog();
  readonly fromShard: RingPlace;
  readonly shard: RingWriter;
  readonly toHistory = newRing();
  readonly shardToStore = new TestShard(4 * MIB);
  readonly store: StoreBench;
  /** Where the first frame with messages will stand. */
  readonly beginLsn: number;
  historyRings = 0;

  constructor(ringCapacity = 64 * 1024) {
    this.fromShard = newRing(ringCapacity);
    this.shard = new RingWriter(this.fromShard);
    this.store = openStore(this.directory.path, { shards: [this.shardToStore], positions: this.positions });
    // The frame that each segment begins with.
    settle(this.store.store);
    this.beginLsn = this.durable;
  }

  /** Publishes a QoS 0 message. @returns false when the ring is full */
  sendLive(device: string, payload: string): boolean {
    const bytes = messageBytes(device, payload, 0);
    const at = this.shard.reserve(bytes.length);
    if (at < 0) return false;
    this.shard.bytes.set(bytes, at);
    this.shard.commit(ENTRY.PUBLISH, 0, bytes.length);
    this.shard.publish();
    return true;
  }

  /** Publishes QoS 1 messages, in one frame if they fit. */
  sendDurable(...messages: readonly (readonly [device: string, payload: string])[]): void {
    for (const [device, payload] of messages) {
      if (!this.shardToStore.put(ENTRY.PUBLISH, messageBytes(device, payload, 1))) throw new Error("the ring to the store is full");
    }
    settle(this.store.store);
  }

  /** A lane that has said START and passed what the journal begins with. */
  startedLane(options: Partial<LaneStart> = {}): Lane {
    const lane = this.lane(options);
    runLane(lane);
    const records = takeRecords(this.toHistory);
    if (records[0] !== "START 0 epoch 0" || records.some((record) => !/^(START|MARKER)/.test(record))) throw new Error(`a lane started with ${records.join(", ")}`);
    return lane;
  }

  lane(options: Omit<Partial<LaneStart>, "toHistory"> & { readonly toHistory?: RingPlace | undefined } & { readonly openJournal?: (fromLsn: number) => JournalFrames } = {}): Lane {
    const start = {
      role: "lane", lane: 0, lanes: 1, journalDirectory: this.directory.path, fromShards: [this.fromShard], toHistory: this.toHistory, fromLsn: 0, quarantined: [],
      statistics: { window: 60, warmUp: 10, threshold: 3 }, seriesMax: 10_000, logLevel: "info", counters: this.counters.buffer, positions: this.positions.buffer,
      ...options,
    } as unknown as LaneStart;
    const openJournal = options.openJournal ?? ((fromLsn: number) => new JournalReader({ directory: this.directory.path, fromLsn, crc32c, verifyBelowLsn: 0, onFinding: () => undefined }));
    return new Lane({ start, openJournal, clock: this.clock, log: this.log, wakeHistory: () => this.historyRings++ });
  }

  get laneRead(): number {
    return readPosition(this.positions, POSITION.LANE_READ);
  }

  get durable(): number {
    return readPosition(this.positions, POSITION.JOURNAL_DURABLE);
  }

  remove(): void {
    this.store.store.stop();
    this.directory.remove();
  }
}

/** Runs turns until nothing is left (or the ring to history is full). @returns the last turn */
export function runLane(lane: Lane): number {
  for (let turns = 0; turns < 100_000; turns++) {
    const turn = lane.turn();
    if (turn === TURN.IDLE || turn === TURN.WAITING) return turn;
  }
  throw new Error("the lane does not come to rest");
}

const KINDS = Object.fromEntries(Object.entries(HISTORY_RECORD).map(([name, kind]) => [kind, name]));

/** Takes everything out of a ring to history, as readable lines; `most` records at most. */
export function takeRecords(place: RingPlace, most = Number.POSITIVE_INFINITY): string[] {
  const reader = new RingReader(place);
  const lines: string[] = [];
  const { view, bytes } = reader;
  for (let count = 0; count < most && reader.next(); count++) {
    const { kind, id, at, length } = reader;
    const source = id === 0 ? "live" : "journal";
    if (kind === HISTORY_RECORD.START) lines.push(`START ${view.getFloat64(at, true)} epoch ${view.getFloat64(at + 8, true)}`);
    else if (kind === HISTORY_RECORD.MARKER) lines.push(`MARKER ${view.getFloat64(at, true)}`);
    else if (kind === HISTORY_RECORD.ROWS) {
      for (let row = at; row < at + length; row += 24) lines.push(`row ${source} ${view.getUint32(row + 16, true)} = ${view.getFloat64(row + 8, true)}${view.getUint32(row + 20, true) === 0 ? "" : ` flags ${view.getUint32(row + 20, true)}`}`);
    } else if (kind === HISTORY_RECORD.SERIES) lines.push(`series ${view.getUint32(at, true)} ${Buffer.from(bytes.slice(at + 16, at + length)).toString("utf8")}`);
    else lines.push(`${KINDS[kind] ?? kind} ${source} ${Buffer.from(bytes.slice(at + (kind === HISTORY_RECORD.TEXT ? 12 : 16), at + length)).toString("utf8")}`);
  }
  reader.release();
  return lines;
}

/** Two device ids of different lanes of two. */
export const DEVICE_OF_LANE = ["a", "b", "c", "d"].reduce<string[]>((devices, id) => {
  devices[fnv1aOf(id) % 2] ??= id;
  return devices;
}, []);

/** Frames in memory, for what a real journal never holds. */
export class MemoryJournal implements JournalFrames {
  lsn = 0;
  endLsn = 0;
  laneEntryCount = 0;
  bytes: Buffer = Buffer.alloc(0);
  view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.length);
  at = 0;
  end = 0;
  private readonly frames: readonly Buffer[];
  private index: number;

  /** Frame k has the LSNs (k + 1) * 1000 to (k + 2) * 1000. */
  constructor(frames: readonly (readonly Buffer[])[], fromLsn: number) {
    this.frames = frames.map((entries) => Buffer.concat(entries.map((entry) => {
      const record = Buffer.alloc(8 + align8(entry.length));
      record.writeUInt32LE(((ENTRY.PUBLISH << 24) | entry.length) >>> 0, 0);
      entry.copy(record, 8);
      return record;
    })));
    this.index = Math.max(0, fromLsn / 1000 - 1);
  }

  next(durableLsn: number): boolean {
    const endLsn = (this.index + 2) * 1000;
    const bytes = this.frames[this.index];
    if (bytes === undefined || endLsn > durableLsn) return false;
    this.lsn = (this.index + 1) * 1000;
    this.endLsn = endLsn;
    this.laneEntryCount = 1;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.end = bytes.length;
    this.index++;
    return true;
  }

  close(): void {
    this.index = this.frames.length;
  }
}
