// What the storage tests share: rings with one writer and one reader, messages, a log that remembers, CRC-32C in JavaScript.
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { align8, fnv1aOf } from "../../src/base/bytes.js";
import type { Clock } from "../../src/base/clock.js";
import { COUNTER_BLOCK_COUNT } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { KIB } from "../../src/base/limits.js";
import type { Log, LogFields } from "../../src/base/log.js";
import { EXPIRES_NEVER, MESSAGE_FLAG, MESSAGE_HEAD_SIZE, MessageView, messageSize, writeMessageHead } from "../../src/base/message-record.js";
import { POSITION, POSITION_COUNT, writePosition } from "../../src/base/positions.js";
import { RingReader, RingWriter, ringSize } from "../../src/ring/ring.js";
import { nodeFiles, type JournalFiles } from "../../src/storage/journal/files.js";
import { ENTRY_HEADER_SIZE } from "../../src/storage/journal/format.js";
import { JournalReader, type ReaderFinding } from "../../src/storage/journal/reader.js";
import { Store, type StoreOptions } from "../../src/storage/store.js";

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0x82f63b78 : 0);
  return crc >>> 0;
});

/** CRC-32C as the native part computes it, slowly. */
export function crc32c(bytes: Uint8Array, at: number, length: number): number {
  let crc = 0xffff_ffff;
  for (let i = at; i < at + length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 0xff]!;
  return (crc ^ 0xffff_ffff) >>> 0;
}

/** A repeatable source of random numbers in [0, 1) (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

export function temporaryDirectory(): { readonly path: string; readonly remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "penstock-journal-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Journal files of a directory, sorted. */
export function segmentFiles(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.endsWith(".journal")).sort();
}

export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly text: string;
  readonly fields: LogFields | undefined;
}

export class MemoryLog implements Log {
  readonly isDebug = true;
  readonly lines: LogLine[] = [];

  debug(text: string, fields?: LogFields): void {
    this.lines.push({ level: "debug", text, fields });
  }

  info(text: string, fields?: LogFields): void {
    this.lines.push({ level: "info", text, fields });
  }

  warn(text: string, fields?: LogFields): void {
    this.lines.push({ level: "warn", text, fields });
  }

  error(text: string, fields?: LogFields): void {
    this.lines.push({ level: "error", text, fields });
  }

  /** Lines of this level, as texts. */
  texts(level: LogLine["level"]): string[] {
    return this.lines.filter((line) => line.level === level).map((line) => line.text);
  }
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  now = 1_000_000;
  wallOffset = Date.UTC(2026, 0, 1) - 1_000_000;
  readonly wall = (): number => this.now + this.wallOffset;
  readonly monotonic = (): number => this.now;
}

/** One shard's end of a ring into the store. */
export class TestShard {
  readonly writer: RingWriter;
  readonly place: { readonly buffer: SharedArrayBuffer; readonly byteOffset: number; readonly capacity: number };
  rung = 0;

  constructor(capacity = 64 * KIB) {
    this.place = { buffer: new SharedArrayBuffer(ringSize(capacity)), byteOffset: 0, capacity };
    this.writer = new RingWriter(this.place);
  }

  reader(): RingReader {
    return new RingReader(this.place);
  }

  /** Puts any entry into the ring. @returns false when it is full */
  put(kind: number, payload: Uint8Array): boolean {
    const at = this.writer.reserve(payload.length);
    if (at < 0) return false;
    this.writer.bytes.set(payload, at);
    this.writer.commit(kind, 0, payload.length);
    this.writer.publish();
    return true;
  }

  publish(message: Partial<TestMessage>): boolean {
    return this.put(ENTRY.PUBLISH, messageBytes(message));
  }

  release(clientId: string, packetId: number): boolean {
    const text = Buffer.from(clientId, "utf8");
    const bytes = Buffer.alloc(2 + text.length);
    bytes.writeUInt16LE(packetId, 0);
    text.copy(bytes, 2);
    return this.put(ENTRY.RELEASE, bytes);
  }

  endSession(clientId: string): boolean {
    return this.put(ENTRY.SESSION_END, Buffer.from(clientId, "utf8"));
  }

  /** True when all that was put is durable. */
  get isDurable(): boolean {
    return this.writer.durable() === this.writer.position();
  }
}

export interface TestMessage {
  readonly topic: string;
  readonly clientId: string;
  readonly payload: string;
  readonly qos: 1 | 2;
  readonly packetId: number;
  readonly lane: boolean;
}

export function messageBytes(message: Partial<TestMessage>): Buffer {
  const topic = Buffer.from(message.topic ?? "devices/d1/telemetry", "utf8");
  const clientId = Buffer.from(message.clientId ?? "client", "utf8");
  const payload = Buffer.from(message.payload ?? "{}", "utf8");
  const bytes = Buffer.alloc(messageSize(topic.length, clientId.length, 0, payload.length));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const flags = (message.qos ?? 1) | (message.lane === false ? 0 : MESSAGE_FLAG.LANE);
  writeMessageHead(view, 0, Date.UTC(2026, 0, 1), fnv1aOf("d1"), EXPIRES_NEVER, message.packetId ?? 0, flags, topic.length, clientId.length, 0, payload.length, 0);
  Buffer.concat([topic, clientId, payload]).copy(bytes, MESSAGE_HEAD_SIZE);
  return bytes;
}

export interface StoreBench {
  readonly store: Store;
  readonly shards: readonly TestShard[];
  readonly positions: BigUint64Array;
  readonly counters: Float64Array;
  readonly log: MemoryLog;
  readonly clock: ManualClock;
  laneBells: number;
}

/** A store over `directory`, with rings that are given or made. */
export function openStore(directory: string, options: Partial<StoreOptions> & { readonly shards?: readonly TestShard[] } = {}): StoreBench {
  const shards = options.shards ?? [new TestShard()];
  const positions = options.positions ?? new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
  // Shards that never need anything again; a test of theirs says so itself.
  for (let shard = 0; shard < shards.length; shard++) writePosition(positions, POSITION.SHARD_CHECKPOINT + shard, Number.MAX_SAFE_INTEGER);
  const counters = options.counters ?? new Float64Array(COUNTER_BLOCK_COUNT);
  const log = new MemoryLog();
  const clock = new ManualClock();
  const bench = { shards, positions, counters, log, clock, laneBells: 0 };
  const store = new Store({
    directory,
    durability: "disk",
    segmentSize: 1024 * KIB,
    quotaBytes: 1024 * 1024 * KIB,
    quotaAgeMs: 7 * 24 * 3600 * 1000,
    commitIntervalMaxMs: 0,
    lanes: 1,
    hasHistory: false,
    sources: shards.map((shard) => shard.reader()),
    clock,
    log,
    files: nodeFiles,
    crc32c,
    ringShard: (shard) => {
      shards[shard]!.rung++;
    },
    ringLanes: () => {
      bench.laneBells++;
    },
    sleep: () => undefined,
    ...options,
    positions,
    counters,
  });
  return Object.assign(bench, { store });
}

/** Runs turns until the store sleeps or is blocked. */
export function settle(store: Store): void {
  for (let turns = 0; turns < 10_000; turns++) if (store.turn() !== 0) return;
  throw new Error("the store does not come to rest");
}

export interface ReadEntry {
  readonly kind: number;
  readonly frameLsn: number;
  readonly bytes: Buffer;
}

/** All entries from `fromLsn` up to `toLsn`, copied. */
export function readEntries(directory: string, toLsn: number, options: { readonly fromLsn?: number; readonly files?: JournalFiles; readonly findings?: ReaderFinding[] } = {}): ReadEntry[] {
  const reader = new JournalReader({
    directory, fromLsn: options.fromLsn ?? 0, crc32c, verifyBelowLsn: Number.POSITIVE_INFINITY,
    onFinding: (finding) => options.findings?.push(finding), files: options.files ?? nodeFiles,
  });
  const entries: ReadEntry[] = [];
  while (reader.next(toLsn)) entries.push(...entriesOf(reader));
  reader.close();
  return entries;
}

/** The entries of the reader's current frame, copied. */
export function entriesOf(reader: JournalReader): ReadEntry[] {
  const entries: ReadEntry[] = [];
  for (let at = reader.at; at < reader.end;) {
    const word = reader.view.getUint32(at, true);
    const length = word & 0xff_ffff;
    at += ENTRY_HEADER_SIZE;
    entries.push({ kind: word >>> 24, frameLsn: reader.lsn, bytes: Buffer.from(reader.bytes.subarray(at, at + length)) });
    at += align8(length);
  }
  if (entries.length !== reader.entryCount) throw new Error(`a frame says ${reader.entryCount} entries and holds ${entries.length}`);
  return entries;
}

/** The payloads of PUBLISH entries as texts. */
export function payloadsOf(entries: readonly ReadEntry[]): string[] {
  const message = new MessageView();
  const payloads: string[] = [];
  for (const { kind, bytes } of entries) {
    if (kind !== ENTRY.PUBLISH) continue;
    message.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
    payloads.push(bytes.toString("utf8", message.payloadAt, message.payloadAt + message.payloadLength));
  }
  return payloads;
}
