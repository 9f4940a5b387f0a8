// History: takes rows from the lanes, stores them in batches, answers queries, forgets what is old. Thread: the history worker's.
//
//   rings ── drain, every POLL_MS while there is something ──> ready ── flush, every flushIntervalMs or FLUSH_WEIGHT ──> DuckDB
//
// Bounded: when READY_MAX rows wait (the disk is full, say), the rings are not read any more; then the lanes stop, QoS 0 is dropped
// (and counted) by the shards, and the rest waits in the journal. A flush that failed is tried again with the same rows.
// POSITION.HISTORY_COMMITTED moves only after the commit: nothing before it is needed from the journal.
import type { Clock } from "../../base/clock.js";
import { HISTORY_COUNTER } from "../../base/counters.js";
import type { Log } from "../../base/log.js";
import { POSITION, readPosition, writePosition } from "../../base/positions.js";
import { Batch } from "./batch.js";
import { closeDatabase, type Database, isDamage, openDatabase } from "./database.js";
import { flushBatch } from "./flush.js";
import { LaneFeed, type LaneRing } from "./lane-feed.js";
import { type HistoryQuery, Queries } from "./queries.js";
import { deleteOlder, RETENTION_INTERVAL_MS, retentionLimit, type Step } from "./retention.js";
import { SeriesDirectory, UNRESOLVED_MAX } from "./series-directory.js";

/** Between two looks at rings that are in use: each wake-up then takes much. */
const POLL_MS = 50;
/** Rows' worth after which a flush does not wait for its time; that wait in `ready`; and of one lane that waits for other lanes. */
const FLUSH_WEIGHT = 262_144;
const READY_MAX = 524_288;
const HELD_MAX = 262_144;
/** Without rows the journal position alone is stored only so often. */
const POSITION_INTERVAL_MS = 10_000;
const LAST_TIMES_INTERVAL_MS = 60_000;
const RETRY_FIRST_MS = 500;
const RETRY_MAX_MS = 30_000;
/** The first pass of retention waits until the start is over. */
const RETENTION_FIRST_MS = 60_000;

export interface HistoryOptions {
  readonly path: string;
  readonly rings: readonly LaneRing[];
  readonly rawRetentionMs: number;
  readonly memoryLimitBytes: number;
  readonly flushIntervalMs: number;
  readonly queryDeadlineMs: number;
  readonly counters: Float64Array;
  readonly positions: BigUint64Array;
  readonly clock: Clock;
  readonly log: Log;
  /** Rings a lane's doorbell. */
  readonly wakeLane: (lane: number) => void;
  /** The database gave itself up: the worker must be started again. */
  readonly onFailure: (error: unknown) => void;
}

export class History {
  private readonly options: HistoryOptions;
  private readonly database: Database;
  private readonly directory: SeriesDirectory;
  private readonly feeds: readonly LaneFeed[];
  private readonly queries: Queries;
  /** What the next flush takes, and what the flush under way (or the one that failed) has. */
  private ready = new Batch();
  private flushing = new Batch();
  /** Journal position that `flushing` stands for, and the last one committed. */
  private flushingLsn: number;
  private committedLsn: number;
  private retainedFrom: number;
  /** References are being replaced: no rows may come meanwhile. */
  private isResolving = false;
  /** The writing connection does one thing after another. */
  private lastStep: Promise<unknown> = Promise.resolve();
  private isFlushing = false;
  private retryMs = 0;
  private savedLastTimesAt: number;
  private poll: NodeJS.Timeout | undefined = undefined;
  private flushTimer: NodeJS.Timeout | undefined = undefined;
  /** When `flushTimer` is due, monotonic ms. */
  private flushAt = 0;
  private retentionTimer: NodeJS.Timeout | undefined = undefined;
  private isStopping = false;
  private hasFailed = false;
  private retention: Promise<void> = Promise.resolve();

  /** Opens the database and shows the lanes where to go on. @throws Error when it cannot be opened */
  static async open(options: HistoryOptions): Promise<History> {
    const database = await openDatabase(options.path, options.memoryLimitBytes, options.clock.wall(), options.log);
    const { committedLsn } = database.state;
    // In this order: a lane that sees the new epoch must see this position.
    const epoch = readPosition(options.positions, POSITION.HISTORY_EPOCH) + 1;
    writePosition(options.positions, POSITION.HISTORY_COMMITTED, committedLsn);
    writePosition(options.positions, POSITION.HISTORY_EPOCH, epoch);
    return new History(options, database, epoch);
  }

  private constructor(options: HistoryOptions, database: Database, epoch: number) {
    const { committedLsn, retainedFrom, nextId } = database.state;
    this.options = options;
    this.database = database;
    this.directory = new SeriesDirectory(database.writer, nextId);
    this.feeds = options.rings.map((ring) => new LaneFeed(ring, this.directory, epoch, committedLsn));
    this.queries = new Queries(database.reader, this.directory, options.queryDeadlineMs, options.clock.monotonic);
    this.committedLsn = committedLsn;
    this.flushingLsn = committedLsn;
    this.retainedFrom = retainedFrom;
    this.savedLastTimesAt = options.clock.monotonic();
    this.retainAfter(RETENTION_FIRST_MS);
    // The lanes may have been waiting for a new epoch.
    options.rings.forEach((_, lane) => options.wakeLane(lane));
  }

  /** Everything before this LSN is stored. */
  get committed(): number {
    return this.committedLsn;
  }

  /** The doorbell rang (or it is time to begin): reads the rings, and goes on doing so until they are empty. */
  wake(): void {
    if (this.poll !== undefined || this.isStopping) return;
    const count = this.drain();
    if (count > 0 || !this.arm()) this.poll = setTimeout(() => this.pollAgain(), POLL_MS);
  }

  /** @throws QueryError (rejects) */
  async answer(query: HistoryQuery): Promise<unknown> {
    const { counters, clock } = this.options;
    const startedAt = clock.monotonic();
    try {
      return await this.queries.answer(query);
    } finally {
      counters[HISTORY_COUNTER.QUERIES]!++;
      counters[HISTORY_COUNTER.QUERY_TIME_MS]! += clock.monotonic() - startedAt;
      counters[HISTORY_COUNTER.QUERIES_CANCELLED] = this.queries.cancelled;
    }
  }

  /** Stores what is in the rings and closes the database. Rows that cannot be stored now stay in the journal (QoS 1 and 2). */
  async stop(): Promise<void> {
    this.isStopping = true;
    clearTimeout(this.poll);
    clearTimeout(this.flushTimer);
    clearTimeout(this.retentionTimer);
    await this.queries.end();
    await this.retention;
    await this.lastStep.catch(() => undefined);
    // Bounded: the lanes have stopped, so what their rings hold is a few READY_MAX.
    for (let round = 0; round < 64; round++) {
      const count = this.drain();
      const isAll = count === 0 && this.ready.isEmpty && this.flushing.isEmpty;
      if (!(await this.flush(true)) || isAll) break;
    }
    closeDatabase(this.database);
  }

  private pollAgain(): void {
    this.poll = undefined;
    this.wake();
  }

  /** @returns records taken */
  private drain(): number {
    if (this.isResolving) return 0;
    const { feeds, ready, options } = this;
    let count = 0;
    const behindLsn = this.lowestMark();
    for (let lane = 0; lane < feeds.length; lane++) {
      const feed = feeds[lane]!;
      // The lane that the others wait for must go on; what it holds is at most the beginning of one frame.
      const taken = feed.drain(ready, READY_MAX, feed.markedLsn === behindLsn ? Number.POSITIVE_INFINITY : HELD_MAX);
      count += taken;
      if (taken > 0 && readPosition(options.positions, POSITION.LANE_WAITING + lane) === 1) options.wakeLane(lane);
    }
    const lsn = this.lowestMark();
    for (const feed of feeds) feed.releaseTo(lsn, ready);
    this.scheduleFlush(lsn);
    return count;
  }

  private arm(): boolean {
    return this.feeds.every((feed) => feed.ring.arm());
  }

  private lowestMark(): number {
    let lowest = Number.POSITIVE_INFINITY;
    for (const feed of this.feeds) if (feed.markedLsn < lowest) lowest = feed.markedLsn;
    return this.feeds.length === 0 ? this.committedLsn : lowest;
  }

  private scheduleFlush(lsn: number): void {
    if (this.isFlushing || this.retryMs > 0 || this.isStopping) return;
    if (this.ready.weight >= FLUSH_WEIGHT || this.directory.unresolvedCount >= UNRESOLVED_MAX) {
      clearTimeout(this.flushTimer);
      this.flushTimer = undefined;
      void this.flush(false);
    } else if (!this.ready.isEmpty) {
      this.flushAfter(this.options.flushIntervalMs);
    } else if (lsn > this.committedLsn) {
      this.flushAfter(POSITION_INTERVAL_MS);
    }
  }

  /** Flushes in `ms` at the latest: a timer that was set for later (a position alone has time) gives way. */
  private flushAfter(ms: number): void {
    const at = this.options.clock.monotonic() + ms;
    if (this.flushTimer !== undefined && this.flushAt <= at) return;
    clearTimeout(this.flushTimer);
    this.flushAt = at;
    this.flushTimer = setTimeout(() => {
      this.flushTimer = undefined;
      void this.flush(false);
    }, ms);
  }

  /** @returns false when it failed */
  private async flush(isLast: boolean): Promise<boolean> {
    if (this.isFlushing || this.hasFailed) return false;
    this.isFlushing = true;
    const { clock, counters } = this.options;
    const startedAt = clock.monotonic();
    try {
      await this.step(() => this.store(isLast));
      counters[HISTORY_COUNTER.FLUSHES]!++;
      counters[HISTORY_COUNTER.FLUSH_TIME_MS]! += clock.monotonic() - startedAt;
      this.retryMs = 0;
      return true;
    } catch (error) {
      this.failed(error);
      return false;
    } finally {
      this.isFlushing = false;
      if (!this.isStopping) {
        if (this.retryMs > 0) this.flushAfter(this.retryMs);
        else this.wakeAfterFlush();
      }
    }
  }

  /** Rings that were left unread since too much waited are read again. */
  private wakeAfterFlush(): void {
    clearTimeout(this.poll);
    this.poll = undefined;
    this.wake();
    this.scheduleFlush(this.lowestMark());
  }

  /** Stores `flushing`, which is what an earlier flush could not store, or else what is ready. */
  private async store(withLastTimes: boolean): Promise<void> {
    const { database, directory, options } = this;
    if (directory.unresolvedCount > 0) await this.resolve();
    if (this.flushing.isEmpty) {
      [this.flushing, this.ready] = [this.ready, this.flushing];
      this.flushingLsn = this.lowestMark();
    }
    const batch = this.flushing;
    const now = options.clock.monotonic();
    const isTimeForLastTimes = withLastTimes || now - this.savedLastTimesAt >= LAST_TIMES_INTERVAL_MS;
    await flushBatch({ connection: database.writer, directory, batch, lsn: this.flushingLsn, withLastTimes: isTimeForLastTimes });
    if (isTimeForLastTimes) this.savedLastTimesAt = now;
    this.committedLsn = this.flushingLsn;
    writePosition(options.positions, POSITION.HISTORY_COMMITTED, this.committedLsn);
    options.counters[HISTORY_COUNTER.ROWS]! += batch.count + batch.texts.length;
    options.counters[HISTORY_COUNTER.EVENTS]! += batch.events.length;
    batch.clear();
  }

  private async resolve(): Promise<void> {
    this.isResolving = true;
    try {
      const ids = await this.directory.resolve();
      this.ready.resolve(ids);
      this.flushing.resolve(ids);
      for (const feed of this.feeds) feed.resolve(ids);
    } finally {
      this.isResolving = false;
    }
  }

  private failed(error: unknown): void {
    const { log, counters, onFailure } = this.options;
    counters[HISTORY_COUNTER.FLUSHES_FAILED]!++;
    if (isDamage(error)) {
      this.hasFailed = true;
      onFailure(error);
      return;
    }
    this.retryMs = Math.min(RETRY_MAX_MS, Math.max(RETRY_FIRST_MS, 2 * this.retryMs));
    log.error("rows cannot be stored; trying again", { reason: (error as Error).message, rows: this.flushing.count, retryMs: this.retryMs });
  }

  /** Runs `work` on the writing connection after all that was asked for before. */
  private readonly step: Step = (work) => {
    const result = this.lastStep.then(() => work(this.database.writer), () => work(this.database.writer));
    this.lastStep = result;
    return result;
  };

  private retainAfter(ms: number): void {
    this.retentionTimer = setTimeout(() => {
      this.retention = this.retain();
      this.retainAfter(RETENTION_INTERVAL_MS);
    }, ms);
  }

  private async retain(): Promise<void> {
    const { clock, counters, log, rawRetentionMs } = this.options;
    const limit = retentionLimit(clock.wall(), rawRetentionMs, this.retainedFrom);
    if (limit <= 0) return;
    const step: Step = (work) => (this.isStopping ? Promise.reject(new Error("history is stopping")) : this.step(work));
    try {
      counters[HISTORY_COUNTER.ROWS_DELETED]! += await deleteOlder(step, limit, () => this.usedIds());
      this.retainedFrom = Math.max(this.retainedFrom, limit);
    } catch (error) {
      log.warn("old rows cannot be deleted; trying again in an hour", { reason: (error as Error).message });
    }
  }

  private usedIds(): Set<number> {
    const used = new Set<number>();
    for (const feed of this.feeds) feed.addUsedIds(used);
    return used;
  }
}
