// The history's database file: opening, its tables, and what happens when it is damaged. The same file must never be opened twice in
// one process: DuckDB notices that no better than by losing rows.
//
//   series  one line per device and name             rows    numbers and booleans, in order of arrival
//   texts   measurements whose value is text         events  what people are to know (did not decode, anomaly, put aside)
//   state   one line: up to which journal position everything is here, in the same transaction as the rows
//
// Times are Unix milliseconds as DOUBLE: exact, compressed as well as BIGINT, and without a BigInt per row.
import { mkdirSync, renameSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { type DuckDBConnection, DuckDBInstance } from "@duckdb/node-api";
import type { Log } from "../../base/log.js";

const TABLES = `
  CREATE TABLE IF NOT EXISTS series (id INTEGER NOT NULL, device VARCHAR NOT NULL, name VARCHAR NOT NULL, first_time DOUBLE NOT NULL, last_time DOUBLE NOT NULL);
  CREATE TABLE IF NOT EXISTS rows (series INTEGER NOT NULL, time DOUBLE NOT NULL, value DOUBLE NOT NULL, flags UTINYINT NOT NULL);
  CREATE TABLE IF NOT EXISTS texts (series INTEGER NOT NULL, time DOUBLE NOT NULL, text VARCHAR NOT NULL);
  CREATE TABLE IF NOT EXISTS events (time DOUBLE NOT NULL, device VARCHAR NOT NULL, kind VARCHAR NOT NULL, text VARCHAR NOT NULL);
  CREATE TABLE IF NOT EXISTS state (journal_lsn DOUBLE NOT NULL, retained_from DOUBLE NOT NULL);
  INSERT INTO state SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM state);
`;
/** Failures to open that say nothing about the file's content. */
const NOT_DAMAGE = /could not set lock|permission denied|no space left|out of memory|is a directory|newer version|version number/i;
/** Failures that only a damaged file or a database that gave itself up can cause. */
const DAMAGE = /corrupt|checksum|invalidated|FATAL|not a valid DuckDB/i;

export interface Database {
  readonly instance: DuckDBInstance;
  /** For everything that writes; one statement at a time. */
  readonly writer: DuckDBConnection;
  /** For queries, which may be interrupted. */
  readonly reader: DuckDBConnection;
  readonly state: DatabaseState;
}

export interface DatabaseState {
  /** Everything before this LSN is here. */
  readonly committedLsn: number;
  /** Rows older than this were deleted; Unix ms, 0 at first. */
  readonly retainedFrom: number;
  /** The first series id that was never used. */
  readonly nextId: number;
}

/** True when an error means that the file cannot be used any more. */
export function isDamage(error: unknown): boolean {
  return error instanceof Error && DAMAGE.test(error.message);
}

/**
 * Opens or makes the database. A damaged file is put aside (its name ends in `.bad` then), reported, and a new one begun.
 *
 * @param now Unix ms, for the name of a file put aside
 * @throws Error when the file cannot be opened for another reason
 */
export async function openDatabase(path: string, memoryLimitBytes: number, now: number, log: Log): Promise<Database> {
  mkdirSync(dirname(path), { recursive: true });
  try {
    return await tryOpen(path, memoryLimitBytes);
  } catch (error) {
    if (!exists(path) || (error instanceof Error && NOT_DAMAGE.test(error.message))) throw error;
    const aside = putAside(path, now);
    log.error("the history's database is damaged: it was put aside, and a new one is begun", { file: aside, reason: (error as Error).message });
    return tryOpen(path, memoryLimitBytes);
  }
}

export function closeDatabase({ instance, writer, reader }: Database): void {
  reader.interrupt();
  reader.closeSync();
  writer.closeSync();
  instance.closeSync();
}

async function tryOpen(path: string, memoryLimitBytes: number): Promise<Database> {
  const instance = await DuckDBInstance.create(path, {
    // The threads that call it are enough, and each thread of its own costs memory.
    threads: "1",
    memory_limit: `${Math.floor(memoryLimitBytes / 1000)}KB`,
    // A gateway fetches nothing from anywhere.
    autoinstall_known_extensions: "false",
    autoload_known_extensions: "false",
  });
  try {
    const writer = await instance.connect();
    await writer.run(TABLES);
    const reader = await instance.connect();
    return { instance, writer, reader, state: await readState(writer) };
  } catch (error) {
    instance.closeSync();
    throw error;
  }
}

async function readState(writer: DuckDBConnection): Promise<DatabaseState> {
  const result = await writer.runAndReadAll("SELECT journal_lsn, retained_from, (SELECT coalesce(max(id) + 1, 0)::DOUBLE FROM series) FROM state");
  const [committedLsn, retainedFrom, nextId] = result.getRows()[0] as [number, number, number];
  return { committedLsn, retainedFrom, nextId };
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() === true;
}

function putAside(path: string, now: number): string {
  const aside = `${path}.${new Date(now).toISOString().replaceAll(":", "-")}`;
  renameSync(path, `${aside}.bad`);
  // What was not yet in the file itself.
  if (exists(`${path}.wal`)) renameSync(`${path}.wal`, `${aside}.wal.bad`);
  return `${aside}.bad`;
}
