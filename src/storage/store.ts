// The store's loop: takes entries out of the shards' rings, commits them to the journal, then says so. Runs in the store worker, the only thread that
// writes the journal; workers/store.ts wires it to doorbells and timers. Hot path: `turn`.
//
//   shards' rings ──take──> commit buffer ──write, fdatasync──> journal
//         ^                                                        │ then, in this order:
//         └── release room <── DURABLE of the ring <── JOURNAL_DURABLE     … and doorbells: shards that had entries, lanes
//
// Invariants:
//   (1) A position is published only after the fdatasync that covers it; it never goes back.
//   (2) An entry stays in its ring until it is durable: when this worker dies its successor takes it again (recovery cuts what was not published).
//   (3) While nothing can be written (disk full or failing, quota reached) BLOCKED is 1, nothing is taken, and the rings fill: back-pressure.
//       Acknowledged entries are never dropped to make room.
import type { Clock } from "../base/clock.js";
import { STORE_COUNTER } from "../base/counters.js";
import { ERRORS } from "../base/errors.js";
import { MIB } from "../base/limits.js";
import { RateLimit, type Log } from "../base/log.js";
import type { Durability, StoreReady } from "../base/messages.js";
import { POSITION, readPosition, writePosition } from "../base/positions.js";
import { CommitPacing } from "./commit-pacing.js";
import { CommitBuffer, type EntrySource } from "./journal/commit-buffer.js";
import type { JournalFiles } from "./journal/files.js";
import type { Crc32c } from "./journal/format.js";
import { recoverJournal } from "./journal/recovery.js";
import type { Segments } from "./journal/segments.js";
import { JournalWriter } from "./journal/writer.js";

export interface StoreOptions {
  readonly directory: string;
  readonly durability: Durability;
  readonly segmentSize: number;
  readonly quotaBytes: number;
  readonly quotaAgeMs: number;
  readonly commitIntervalMaxMs: number;
  readonly lanes: number;
  /** Consumers to wait for before trimming: history's committed position, else the lanes' positions. */
  readonly hasHistory: boolean;
  /** By shard. */
  readonly sources: readonly EntrySource[];
  readonly positions: BigUint64Array;
  readonly counters: Float64Array;
  readonly clock: Clock;
  readonly log: Log;
  readonly files: JournalFiles;
  readonly crc32c: Crc32c;
  readonly ringShard: (shard: number) => void;
  readonly ringLanes: () => void;
  /** Sleeps so many milliseconds (fractions too) on this thread. */
  readonly sleep: (milliseconds: number) => void;
}

/** Entries taken into one commit, in bytes; a single larger entry makes a commit of its own. */
const COMMIT_SIZE_MAX = 1 * MIB;
/** Commits in one turn, so that messages to the worker are heard in between. */
const COMMITS_PER_TURN = 16;
const RETRY_FIRST_MS = 50;
const RETRY_MAX_MS = 1_000;
/** Segments per age quota: the age of what is held is known that finely. */
const AGE_STEPS = 8;
/** A quota must hold some segments, or the active one alone would exceed it. */
const SEGMENTS_PER_QUOTA_MIN = 4;
/** What shards hold back may be so much of the quota (1 / this) before they are asked for a checkpoint. */
const CHECKPOINT_QUOTA_SHARE = 4;
/** Turns that a stop waits for a disk that takes nothing. */
const STOP_ATTEMPTS_MAX = 3;

/** What the caller does next: 0 = call `turn` again soon, Infinity = sleep until a doorbell rings, else call again after so many ms. */
export type NextTurnMs = number;

export class Store {
  private readonly options: StoreOptions;
  private readonly segments: Segments;
  private readonly writer: JournalWriter;
  private readonly buffer: CommitBuffer;
  private readonly pacing: CommitPacing;
  private readonly segmentSize: number;
  private readonly failureLines = new RateLimit(1, 60_000);
  /** By shard: 1 when the commit under way holds entries of it. */
  private readonly hasTaken: Uint8Array;
  private firstSource = 0;
  private blockedBy: string | null = null;
  private retryAt = 0;
  private retryMs = RETRY_FIRST_MS;
  private lanesToldLsn = 0;
  /** What shards have written since the last checkpoint was asked for. */
  private stateBytes = 0;

  /** Recovers the journal and opens a segment. @throws StartError STORE_FAILED, DATA_FORMAT */
  constructor(options: StoreOptions) {
    this.options = options;
    const { positions, counters, clock, log, files, crc32c, directory, durability, sources, quotaBytes, quotaAgeMs } = options;
    const publishedLsn = readPosition(positions, POSITION.JOURNAL_DURABLE);
    const recovered = recoverJournal({ directory, files, crc32c, clock, log, publishedLsn, seenLsn: this.seenLsn() });
    this.segments = recovered.segments;
    counters[STORE_COUNTER.FILES_PUT_ASIDE]! += recovered.filesPutAside;
    this.segmentSize = Math.min(options.segmentSize, Math.floor(quotaBytes / SEGMENTS_PER_QUOTA_MIN));
    this.writer = new JournalWriter({
      segments: recovered.segments, files, crc32c, clock, durability, segmentSize: this.segmentSize, segmentAgeMs: quotaAgeMs / AGE_STEPS,
      endLsn: recovered.endLsn, nextLsn: recovered.nextLsn,
    });
    this.buffer = new CommitBuffer(COMMIT_SIZE_MAX, Math.max(0, ...sources.map((source) => source.capacity)));
    this.pacing = new CommitPacing(durability === "disk" ? options.commitIntervalMaxMs : 0);
    this.hasTaken = new Uint8Array(sources.length);
    for (const source of sources) passDurable(source);
    writePosition(positions, POSITION.JOURNAL_DURABLE, Math.max(publishedLsn, recovered.endLsn));
    this.commit();
    this.showSizes();
  }

  ready(): StoreReady {
    return { type: "store", firstLsn: this.segments.firstLsn, durableLsn: this.writer.durableLsn };
  }

  /** Takes in and commits what the rings hold. Called when the doorbell rings, and as its result says. */
  turn(): NextTurnMs {
    for (let round = 0; round < COMMITS_PER_TURN; round++) {
      if (this.blockedBy !== null) {
        const left = this.retryAt - this.options.clock.monotonic();
        if (left > 0) return left;
      } else {
        if (this.takeIn() === 0) return this.sleepOrGoOn();
        this.pace();
      }
      this.commit();
    }
    return 0;
  }

  /** Whether everything that a shard has sent is on disk. */
  isDrained(shard: number): boolean {
    return (this.options.sources[shard]?.backlog() ?? 0) === 0;
  }

  /**
   * Asks the shards for a checkpoint when what only they hold back has grown large: beyond some segments, and beyond what a checkpoint itself
   * writes, so that the writing of checkpoints stays a part of all writing; never later than at a share of the quota.
   */
  private wantCheckpoint(): void {
    const { positions, quotaBytes, sources } = this.options;
    const wanted = readPosition(positions, POSITION.CHECKPOINT_WANTED);
    for (let shard = 0; shard < sources.length; shard++) if (readPosition(positions, POSITION.SHARD_CHECKPOINT + shard) < wanted) return;
    const heldBack = this.consumedLsn() - this.segments.firstLsn;
    const stateBytes = this.stateBytes;
    if (heldBack <= Math.min(Math.max(this.segmentSize, 2 * stateBytes), quotaBytes / CHECKPOINT_QUOTA_SHARE) || this.writer.durableLsn <= wanted) return;
    this.stateBytes = 0;
    writePosition(positions, POSITION.CHECKPOINT_WANTED, this.writer.durableLsn);
    for (let shard = 0; shard < sources.length; shard++) this.options.ringShard(shard);
  }

  /** Once a second: trims what was consumed, tells lanes of entries that were not meant for them, brings the gauges up to date. */
  tick(): void {
    this.trim();
    this.wantCheckpoint();
    if (this.lanesToldLsn < this.writer.durableLsn) this.tellLanes();
    this.showSizes();
  }

  /** Commits all that is in the rings, and closes. What a failing disk does not take stays unacknowledged. */
  stop(): void {
    let attempts = 0;
    while (attempts < STOP_ATTEMPTS_MAX) {
      if (this.blockedBy === null && this.takeIn() === 0) break;
      this.commit();
      if (this.blockedBy !== null) attempts++;
    }
    if (this.blockedBy !== null) this.options.log.warn(`journal: stopped while nothing could be written (${this.blockedBy}); what was not acknowledged is not kept`);
    this.trim();
    this.writer.close();
  }

  /** Everything that a consumer of this process is known to have seen. */
  private seenLsn(): number {
    const { positions, lanes } = this.options;
    let seen = readPosition(positions, POSITION.HISTORY_COMMITTED);
    for (let lane = 0; lane < lanes; lane++) seen = Math.max(seen, readPosition(positions, POSITION.LANE_READ + lane));
    return seen;
  }

  /** Before this LSN neither a consumer nor a shard needs anything. */
  private neededLsn(): number {
    const { positions, sources } = this.options;
    let needed = this.consumedLsn();
    for (let shard = 0; shard < sources.length; shard++) needed = Math.min(needed, readPosition(positions, POSITION.SHARD_CHECKPOINT + shard));
    return needed;
  }

  /** Before this LSN no consumer needs anything. */
  private consumedLsn(): number {
    const { positions, lanes, hasHistory } = this.options;
    if (hasHistory) return readPosition(positions, POSITION.HISTORY_COMMITTED);
    let consumed = this.writer.durableLsn;
    for (let lane = 0; lane < lanes; lane++) consumed = Math.min(consumed, readPosition(positions, POSITION.LANE_READ + lane));
    return consumed;
  }

  /** Takes entries from all rings, each its share, another ring first each time. @returns number of entries */
  private takeIn(): number {
    const { sources } = this.options;
    const share = Math.floor(COMMIT_SIZE_MAX / sources.length);
    let taken = 0;
    for (let i = 0; i < sources.length; i++) {
      const shard = (this.firstSource + i) % sources.length;
      const count = this.buffer.take(sources[shard]!, share);
      if (count > 0) this.hasTaken[shard] = 1;
      taken += count;
    }
    this.firstSource = (this.firstSource + 1) % Math.max(1, sources.length);
    return taken;
  }

  private pace(): void {
    const { clock, sleep } = this.options;
    const before = this.buffer.entryCount;
    const wait = this.pacing.waitMs(clock.monotonic(), before, this.buffer.length);
    if (wait === 0) return;
    sleep(wait);
    this.takeIn();
    this.pacing.waited(before, this.buffer.entryCount);
  }

  /** Arms the rings' bells. @returns Infinity, or 0 when something came meanwhile */
  private sleepOrGoOn(): NextTurnMs {
    let canSleep = true;
    for (const source of this.options.sources) if (!source.arm()) canSleep = false;
    return canSleep ? Number.POSITIVE_INFINITY : 0;
  }

  /** Tries to make the buffer durable; publishes it, or becomes blocked. */
  private commit(): void {
    const { clock, counters } = this.options;
    const startedAt = clock.monotonic();
    const failure = this.overQuota(startedAt) ?? this.writer.commit(this.buffer);
    const endedAt = clock.monotonic();
    if (failure !== null) {
      this.block(failure, endedAt);
      return;
    }
    const time = endedAt - startedAt;
    counters[STORE_COUNTER.COMMITS]!++;
    counters[STORE_COUNTER.ENTRIES]! += this.buffer.entryCount;
    counters[STORE_COUNTER.BYTES]! += this.buffer.length;
    this.stateBytes += this.buffer.stateBytes;
    counters[STORE_COUNTER.COMMIT_TIME_MS]! += time;
    if (time > counters[STORE_COUNTER.COMMIT_TIME_MAX_MS]!) counters[STORE_COUNTER.COMMIT_TIME_MAX_MS] = time;
    this.publish();
    this.pacing.committed(endedAt);
    if (this.blockedBy !== null) this.unblock();
  }

  /** Says what is durable. The order matters: see invariant (2) and `passDurable`. */
  private publish(): void {
    const { positions, sources, ringShard } = this.options;
    writePosition(positions, POSITION.JOURNAL_DURABLE, this.writer.durableLsn);
    for (let shard = 0; shard < sources.length; shard++) {
      if (this.hasTaken[shard] === 0) continue;
      const source = sources[shard]!;
      source.setDurable(source.position());
      source.release();
      this.hasTaken[shard] = 0;
      ringShard(shard);
    }
    // A commit without anything for a lane does not wake them; `tick` lets them catch up.
    if (this.buffer.laneEntryCount > 0) this.tellLanes();
    this.buffer.clear();
  }

  private tellLanes(): void {
    this.lanesToldLsn = this.writer.durableLsn;
    this.options.ringLanes();
  }

  /** @returns why nothing more may be written, or null */
  private overQuota(now: number): string | null {
    const { quotaBytes, quotaAgeMs } = this.options;
    if (this.buffer.isEmpty) return null;
    if (this.segments.size + this.buffer.length > quotaBytes) {
      this.trim();
      if (this.segments.size + this.buffer.length > quotaBytes) this.segments.dropSpare();
      if (this.segments.size + this.buffer.length > quotaBytes) return "the quota of bytes is reached: consumers lag behind";
    }
    if (this.segments.lag(this.consumedLsn(), now) > quotaAgeMs) return "the quota of age is reached: consumers lag behind";
    return null;
  }

  private block(reason: string, now: number): void {
    const { counters, log } = this.options;
    counters[STORE_COUNTER.COMMITS_FAILED]!++;
    counters[STORE_COUNTER.BLOCKED] = 1;
    this.retryMs = this.blockedBy === null ? RETRY_FIRST_MS : Math.min(RETRY_MAX_MS, this.retryMs * 2);
    this.retryAt = now + this.retryMs;
    this.blockedBy = reason;
    this.segments.dropSpare();
    this.trim();
    if (this.failureLines.allows(now)) log.error(`STORE_FAILED: the journal takes nothing: ${reason}. Publishes are refused and nothing is acknowledged until it does. ${ERRORS.STORE_FAILED.fix}`);
  }

  private unblock(): void {
    this.options.counters[STORE_COUNTER.BLOCKED] = 0;
    this.options.log.info(`journal: written again, after: ${this.blockedBy ?? ""}`);
    this.blockedBy = null;
  }

  private trim(): void {
    const { positions, counters } = this.options;
    const trimmed = this.segments.trim(this.neededLsn(), this.segmentSize * 2, (firstLsn) => writePosition(positions, POSITION.JOURNAL_FIRST, firstLsn));
    counters[STORE_COUNTER.TRIMMED_BYTES]! += trimmed;
  }

  private showSizes(): void {
    const { counters, positions } = this.options;
    counters[STORE_COUNTER.SEGMENTS] = this.segments.count;
    counters[STORE_COUNTER.JOURNAL_BYTES] = this.segments.size;
    if (this.segments.count > 0) writePosition(positions, POSITION.JOURNAL_FIRST, this.segments.firstLsn);
  }
}

/** Passes over what a predecessor made durable but had no time to release (it died between the two). */
function passDurable(source: EntrySource): void {
  let left = (source.durable() - source.position()) | 0;
  while (left > 0 && source.next()) left = (source.durable() - source.position()) | 0;
  source.release();
}
