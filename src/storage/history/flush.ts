// One flush: rows, new series, texts, events and the journal position in one transaction. After a crash either all of it is there or
// nothing, and the lanes go on at the position: so each journal entry is in history exactly once.
import { DOUBLE, type DuckDBConnection, INTEGER, UTINYINT, VARCHAR } from "@duckdb/node-api";
import { appendColumns } from "./append.js";
import type { Batch } from "./batch.js";
import type { SeriesDirectory } from "./series-directory.js";

export interface FlushOptions {
  readonly connection: DuckDBConnection;
  readonly directory: SeriesDirectory;
  /** Its references are resolved. Stays as it is: a flush that fails is tried again. */
  readonly batch: Batch;
  /** Everything of the journal before this LSN is in the batch or was flushed earlier. */
  readonly lsn: number;
  readonly withLastTimes: boolean;
}

/** @throws Error when the database refuses (disk full, damage); then nothing was stored */
export async function flushBatch({ connection, directory, batch, lsn, withLastTimes }: FlushOptions): Promise<void> {
  await connection.run("BEGIN");
  try {
    await directory.saveNew();
    await appendColumns(connection, "rows", undefined, batch.count, [
      { type: INTEGER, values: batch.series },
      { type: DOUBLE, values: batch.times },
      { type: DOUBLE, values: batch.values },
      { type: UTINYINT, values: batch.flags },
    ]);
    await appendTexts(connection, batch);
    await appendEvents(connection, batch);
    directory.noteTimes(batch.series, batch.times, batch.count);
    for (const text of batch.texts) directory.noteTime(text.series, text.time);
    if (withLastTimes) await directory.saveLastTimes();
    await connection.run("UPDATE state SET journal_lsn = $1", [lsn]);
    await connection.run("COMMIT");
  } catch (error) {
    // A transaction that failed to commit is over already, and then there is nothing to roll back.
    await connection.run("ROLLBACK").catch(() => undefined);
    throw error;
  }
  directory.committed();
}

async function appendTexts(connection: DuckDBConnection, { texts }: Batch): Promise<void> {
  if (texts.length === 0) return;
  await appendColumns(connection, "texts", undefined, texts.length, [
    { type: INTEGER, values: texts.map((text) => text.series) },
    { type: DOUBLE, values: texts.map((text) => text.time) },
    { type: VARCHAR, values: texts.map((text) => text.text) },
  ]);
}

async function appendEvents(connection: DuckDBConnection, { events }: Batch): Promise<void> {
  if (events.length === 0) return;
  await appendColumns(connection, "events", undefined, events.length, [
    { type: DOUBLE, values: events.map((event) => event.time) },
    { type: VARCHAR, values: events.map((event) => event.device) },
    { type: VARCHAR, values: events.map((event) => event.kind) },
    { type: VARCHAR, values: events.map((event) => event.text) },
  ]);
}
