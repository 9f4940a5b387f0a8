// Deletes what is older than the retention time, in small steps between flushes, so that neither rows nor queries wait for long.
//
// A clock that jumps must not delete everything: from one pass to the next the limit moves by a day at most, and never back.
import type { DuckDBConnection } from "@duckdb/node-api";

/** Between two passes. */
export const RETENTION_INTERVAL_MS = 3600_000;
/** How far the limit may move in one pass. */
const ADVANCE_MAX_MS = 24 * 3600_000;
/** A clock that says less has not been set (2020-09-13). */
const PLAUSIBLE_NOW = 1.6e12;
const ROWS_PER_STEP = 100_000;
/** Events kept at most, however young. */
const EVENTS_MAX = 100_000;

/** Where the limit lies now: rows before it are to go. 0 = nothing is. */
export function retentionLimit(now: number, retentionMs: number, retainedFrom: number): number {
  if (now < PLAUSIBLE_NOW) return 0;
  const wanted = now - retentionMs;
  return retainedFrom === 0 ? wanted : Math.min(wanted, retainedFrom + ADVANCE_MAX_MS);
}

/** Runs one statement after another, each in its own turn on the writing connection. */
export type Step = <Result>(work: (connection: DuckDBConnection) => Promise<Result>) => Promise<Result>;

/**
 * Deletes what is older than `limit` (Unix ms).
 *
 * @param usedIds series that a row may still come for
 * @returns rows deleted
 */
export async function deleteOlder(step: Step, limit: number, usedIds: () => Set<number>): Promise<number> {
  let deleted = 0;
  for (const table of ["rows", "texts", "events"]) {
    for (;;) {
      const count = await step(async (connection) => (await connection.run(`DELETE FROM ${table} WHERE rowid IN (SELECT rowid FROM ${table} WHERE time < $1 LIMIT ${ROWS_PER_STEP})`, [limit])).rowsChanged);
      if (table !== "events") deleted += count;
      if (count < ROWS_PER_STEP) break;
    }
  }
  await step((connection) => connection.run(`DELETE FROM events WHERE rowid IN (SELECT rowid FROM events ORDER BY time DESC, rowid DESC OFFSET ${EVENTS_MAX})`));
  await step((connection) => deleteSeries(connection, limit, usedIds()));
  await step((connection) => connection.run("UPDATE state SET retained_from = greatest(retained_from, $1)", [limit]));
  await step((connection) => connection.run("CHECKPOINT"));
  return deleted;
}

async function deleteSeries(connection: DuckDBConnection, limit: number, usedIds: Set<number>): Promise<void> {
  const old = await connection.runAndReadAll("SELECT id FROM series WHERE last_time < $1", [limit]);
  const ids = old.getRows().map(([id]) => id as number).filter((id) => !usedIds.has(id));
  for (let from = 0; from < ids.length; from += 1000) await connection.run(`DELETE FROM series WHERE id IN (${ids.slice(from, from + 1000).join(",")})`);
}
