// Answers to queries, on their own connection and off the thread (`run` works in libuv's pool), one at a time, each with a deadline.
import { type DuckDBConnection, type DuckDBValue } from "@duckdb/node-api";
import { ROW_FLAG } from "../../base/history-record.js";
import type { DeviceSummary, EventRow, LastValue, Query, SeriesPoint } from "../../base/messages.js";
import type { SeriesDirectory } from "./series-directory.js";

/** Points of one answer. */
export const POINTS_MAX = 10_000;
/** Lines of one answer. */
const LINES_MAX = 1000;
/** Queries that may wait for the one that runs. */
const WAITING_MAX = 32;

/** Why a query has no answer; `status` as in HTTP. */
export class QueryError extends Error {
  override readonly name = "QueryError";
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type HistoryQuery = Extract<Query, { type: "series" | "storedLast" | "devices" | "events" }>;

const SERIES_ID = "(SELECT id FROM series WHERE device = $1 AND name = $2)";
const SQL = {
  points: `SELECT floor(time / $5) * $5 AS bucket, avg(value), min(value), max(value), count(*)::DOUBLE FROM rows
    WHERE series = ${SERIES_ID} AND time >= $3 AND time < $4 GROUP BY bucket ORDER BY bucket`,
  series: "SELECT id, last_time FROM series WHERE device = $1 AND name = $2",
  // The last time is the newest there is or a little older, so that only the newest blocks are looked at.
  lastRow: "SELECT time, value, flags FROM rows WHERE series = $1 AND time >= $2 ORDER BY time DESC, rowid DESC LIMIT 1",
  lastText: "SELECT time, text FROM texts WHERE series = $1 AND time >= $2 ORDER BY time DESC, rowid DESC LIMIT 1",
  devices: "SELECT device, list(name ORDER BY name), list(id), min(first_time), max(last_time) FROM series WHERE device > $1 GROUP BY device ORDER BY device LIMIT $2",
  events: "SELECT time, device, kind, text FROM events ORDER BY time DESC, rowid DESC LIMIT $1",
} as const;

interface Waiting {
  readonly query: HistoryQuery;
  readonly deadline: number;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

export class Queries {
  /** Ended by their deadline, ever. */
  cancelled = 0;
  private readonly connection: DuckDBConnection;
  private readonly directory: SeriesDirectory;
  private readonly deadlineMs: number;
  private readonly monotonic: () => number;
  private readonly waiting: Waiting[] = [];
  private isRunning = false;
  private hasEnded = false;

  constructor(connection: DuckDBConnection, directory: SeriesDirectory, deadlineMs: number, monotonic: () => number) {
    this.connection = connection;
    this.directory = directory;
    this.deadlineMs = deadlineMs;
    this.monotonic = monotonic;
  }

  /** @returns what messages.ts says for the query. @throws QueryError (rejects) */
  answer(query: HistoryQuery): Promise<unknown> {
    if (this.hasEnded) return Promise.reject(new QueryError(503, "history is stopping"));
    if (this.waiting.length >= WAITING_MAX) return Promise.reject(new QueryError(503, "too many queries at once"));
    return new Promise((resolve, reject) => {
      this.waiting.push({ query, deadline: this.monotonic() + this.deadlineMs, resolve, reject });
      if (!this.isRunning) void this.runAll();
    });
  }

  /** Ends what runs and what waits; resolves when nothing runs any more. */
  async end(): Promise<void> {
    this.hasEnded = true;
    for (const waiting of this.waiting.splice(0)) waiting.reject(new QueryError(503, "history is stopping"));
    while (this.isRunning) {
      // Again and again: an interrupt between two statements of a query is forgotten.
      this.connection.interrupt();
      await new Promise<void>((resolve) => {
        setImmediate(resolve);
      });
    }
  }

  private async runAll(): Promise<void> {
    this.isRunning = true;
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) await this.runOne(next);
    this.isRunning = false;
  }

  private async runOne({ query, deadline, resolve, reject }: Waiting): Promise<void> {
    const left = deadline - this.monotonic();
    let isLate = left <= 0;
    const timer = setInterval(() => {
      isLate = true;
      this.connection.interrupt();
    }, Math.max(1, left));
    try {
      if (isLate) throw new QueryError(504, "the query waited past its deadline");
      resolve(await this.run(query));
    } catch (error) {
      if (isLate) this.cancelled++;
      if (error instanceof QueryError) reject(error);
      else reject(isLate ? new QueryError(504, `the query took longer than ${this.deadlineMs} ms`) : new QueryError(500, (error as Error).message));
    } finally {
      clearInterval(timer);
    }
  }

  private run(query: HistoryQuery): Promise<unknown> {
    switch (query.type) {
      case "series":
        return this.points(query.device, query.name, query.from, query.to, query.stepMs);
      case "storedLast":
        return this.storedLast(query.device, query.name);
      case "devices":
        return this.devices(query.limit, query.after);
      case "events":
        return this.events(query.limit);
    }
  }

  private async points(device: string, name: string, from: number, to: number, stepMs: number): Promise<SeriesPoint[]> {
    if (!(stepMs > 0) || !(from <= to)) throw new QueryError(400, "step must be above 0, and from must not be behind to");
    if ((to - from) / stepMs > POINTS_MAX) throw new QueryError(400, `more than ${POINTS_MAX} points: choose a larger step or a shorter time`);
    const rows = await this.rows(SQL.points, [device, name, from, to, stepMs]);
    return rows.map(([time, mean, min, max, count]) => ({ time, mean, min, max, count }) as SeriesPoint);
  }

  private async storedLast(device: string, name: string): Promise<LastValue | null> {
    const [series] = await this.rows(SQL.series, [device, name]);
    if (series === undefined) return null;
    const id = series[0] as number;
    const since = Math.max(series[1] as number, this.directory.lastTimeOf(id));
    const [row] = await this.rows(SQL.lastRow, [id, since]);
    const [text] = await this.rows(SQL.lastText, [id, since]);
    if (text !== undefined && (row === undefined || (text[0] as number) > (row[0] as number))) return { time: text[0] as number, value: text[1] as string };
    if (row === undefined) return null;
    const value = row[1] as number;
    return { time: row[0] as number, value: ((row[2] as number) & ROW_FLAG.BOOLEAN) === 0 ? value : value === 1 };
  }

  private async devices(limit: number, after: string): Promise<DeviceSummary[]> {
    const rows = await this.rows(SQL.devices, [after, lines(limit)]);
    return rows.map(([id, names, ids, first, last]) => ({
      id: id as string,
      series: itemsOf<string>(names),
      firstSeenAt: first as number,
      lastSeenAt: itemsOf<number>(ids).reduce((newest, one) => Math.max(newest, this.directory.lastTimeOf(one)), last as number),
    }));
  }

  private async events(limit: number): Promise<EventRow[]> {
    const rows = await this.rows(SQL.events, [lines(limit)]);
    return rows.map(([time, device, kind, text]) => ({ time, device, kind, text }) as EventRow);
  }

  private async rows(sql: string, values: DuckDBValue[]): Promise<DuckDBValue[][]> {
    const result = await this.connection.runAndReadAll(sql, values);
    return result.getRows();
  }
}

function lines(limit: number): number {
  return Math.max(0, Math.min(LINES_MAX, Math.floor(limit)));
}

function itemsOf<Item>(list: DuckDBValue | undefined): Item[] {
  return [...(list as { readonly items: readonly Item[] }).items];
}
