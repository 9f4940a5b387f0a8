// Which id a series has: device + name <-> a small integer, in the table `series`. Ids are given out here, by the one writer there is.
//
// A lane names a series by device and name; until the next flush looks it up, rows carry a reference in its place: -(k + 1) for the k-th name
// that waits. Names are not kept in memory (a box may have seen a million series); last times are, 8 bytes each.
import { DOUBLE, type DuckDBConnection, INTEGER, VARCHAR } from "@duckdb/node-api";
import { appendColumns } from "./append.js";

/** Names that wait for their ids: beyond, a flush is due. */
export const UNRESOLVED_MAX = 16_384;

interface Named {
  readonly device: string;
  readonly name: string;
  readonly firstTime: number;
}

interface NewSeries extends Named {
  readonly id: number;
}

/** Made anew for each use: deleted rows of a temporary table would stay in memory. */
const NAMED_TABLE = "CREATE OR REPLACE TEMP TABLE named (ordinal INTEGER, device VARCHAR, name VARCHAR)";
const TOUCHED_TABLE = "CREATE OR REPLACE TEMP TABLE touched (id INTEGER, last_time DOUBLE)";

export class SeriesDirectory {
  private readonly connection: DuckDBConnection;
  private nextId: number;
  private unresolved: Named[] = [];
  /** Have an id, but their row is not committed yet; by `keyOf`. */
  private readonly fresh = new Map<string, NewSeries>();
  /** Newest time of each series by id, 0 = none since the start; and what of it the table has. */
  private lastTimes: Float64Array;
  private savedTimes: Float64Array;
  /** Ids whose times are written in the transaction under way. */
  private saving: readonly number[] = [];

  /** @param connection the writing one, used only within `resolve`, `saveNew`, `saveLastTimes` */
  constructor(connection: DuckDBConnection, nextId: number) {
    this.connection = connection;
    this.nextId = nextId;
    this.lastTimes = new Float64Array(nextId + 1024);
    this.savedTimes = new Float64Array(nextId + 1024);
  }

  get unresolvedCount(): number {
    return this.unresolved.length;
  }

  /** Takes a name. @returns the reference that stands for its id until `resolve` */
  refer(device: string, name: string, firstTime: number): number {
    this.unresolved.push({ device, name, firstTime });
    return -this.unresolved.length;
  }

  /**
   * Finds or makes the ids of all names that wait. The caller takes no new names meanwhile, and then puts the ids in place of the references.
   *
   * @returns ids by reference: `ids[k]` for -(k + 1)
   */
  async resolve(): Promise<Int32Array> {
    const { unresolved, connection } = this;
    const ids = new Int32Array(unresolved.length).fill(-1);
    await connection.run(NAMED_TABLE);
    await appendColumns(connection, "named", "temp", unresolved.length, [
      { type: INTEGER, values: unresolved.map((_, index) => index) },
      { type: VARCHAR, values: unresolved.map((series) => series.device) },
      { type: VARCHAR, values: unresolved.map((series) => series.name) },
    ]);
    const found = await connection.runAndReadAll("SELECT n.ordinal, min(s.id) FROM named n JOIN series s ON s.device = n.device AND s.name = n.name GROUP BY n.ordinal");
    for (const [ordinal, id] of found.getRows()) ids[ordinal as number] = id as number;
    await connection.run("DROP TABLE named");
    for (let i = 0; i < ids.length; i++) if (ids[i] === -1) ids[i] = this.idOfFresh(unresolved[i]!);
    this.unresolved = [];
    this.growTo(this.nextId);
    return ids;
  }

  /** Notes times of rows that are being stored. */
  noteTimes(series: Int32Array, times: Float64Array, count: number): void {
    const { lastTimes } = this;
    for (let i = 0; i < count; i++) if (times[i]! > lastTimes[series[i]!]!) lastTimes[series[i]!] = times[i]!;
  }

  noteTime(series: number, time: number): void {
    if (time > this.lastTimes[series]!) this.lastTimes[series] = time;
  }

  /** The newest time of a series since the start, or 0. */
  lastTimeOf(id: number): number {
    return this.lastTimes[id] ?? 0;
  }

  /** Inserts the series that are new, in the transaction under way; `committed` follows. */
  async saveNew(): Promise<void> {
    if (this.fresh.size === 0) return;
    const series = [...this.fresh.values()];
    const firstTimes = series.map((one) => one.firstTime);
    await appendColumns(this.connection, "series", undefined, series.length, [
      { type: INTEGER, values: series.map((one) => one.id) },
      { type: VARCHAR, values: series.map((one) => one.device) },
      { type: VARCHAR, values: series.map((one) => one.name) },
      { type: DOUBLE, values: firstTimes },
      { type: DOUBLE, values: firstTimes },
    ]);
  }

  /** What was saved is. */
  committed(): void {
    this.fresh.clear();
    for (const id of this.saving) this.savedTimes[id] = this.lastTimes[id]!;
    this.saving = [];
  }

  /** Writes the last times that changed, in the transaction under way. They are for people: after a crash some are older than they should be. */
  async saveLastTimes(): Promise<void> {
    const ids: number[] = [];
    this.saving = ids;
    for (let id = 0; id < this.nextId; id++) if (this.lastTimes[id]! > this.savedTimes[id]!) ids.push(id);
    if (ids.length === 0) return;
    await this.connection.run(TOUCHED_TABLE);
    await appendColumns(this.connection, "touched", "temp", ids.length, [{ type: INTEGER, values: ids }, { type: DOUBLE, values: ids.map((id) => this.lastTimes[id]!) }]);
    await this.connection.run("UPDATE series SET last_time = greatest(series.last_time, touched.last_time) FROM touched WHERE series.id = touched.id");
    await this.connection.run("DROP TABLE touched");
  }

  private idOfFresh(named: Named): number {
    const key = JSON.stringify([named.device, named.name]);
    let fresh = this.fresh.get(key);
    if (fresh === undefined) this.fresh.set(key, (fresh = { ...named, id: this.nextId++ }));
    return fresh.id;
  }

  private growTo(count: number): void {
    if (count <= this.lastTimes.length) return;
    const capacity = Math.max(count, 2 * this.lastTimes.length);
    const lastTimes = new Float64Array(capacity);
    lastTimes.set(this.lastTimes);
    const savedTimes = new Float64Array(capacity);
    savedTimes.set(this.savedTimes);
    this.lastTimes = lastTimes;
    this.savedTimes = savedTimes;
  }
}
