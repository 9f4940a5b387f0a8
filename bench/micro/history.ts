// Rows into DuckDB, us of CPU per row with their commit: columns by data chunks, as history does it, beside values one by one.
// Run: node dist/bench/micro/history.js [rows]
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DOUBLE, type DuckDBConnection, DuckDBInstance, INTEGER } from "@duckdb/node-api";
import { appendColumns } from "../../src/storage/history/append.js";

const BATCH = 20_000;
const rows = Number(process.argv[2] ?? 1_000_000);
const series = new Int32Array(BATCH).map((_, index) => index % 1000);
const times = new Float64Array(BATCH).map((_, index) => 1.76e12 + index);
const values = new Float64Array(BATCH).map((_, index) => (index * 7919) % 4001);

async function byChunks(connection: DuckDBConnection): Promise<void> {
  await appendColumns(connection, "rows", undefined, BATCH, [
    { type: INTEGER, values: series },
    { type: DOUBLE, values: times },
    { type: DOUBLE, values },
  ]);
}

async function oneByOne(connection: DuckDBConnection): Promise<void> {
  const appender = await connection.createAppender("rows");
  for (let row = 0; row < BATCH; row++) {
    appender.appendInteger(series[row]!);
    appender.appendDouble(times[row]!);
    appender.appendDouble(values[row]!);
    appender.endRow();
  }
  appender.flushSync();
  appender.closeSync();
}

async function measure(name: string, append: (connection: DuckDBConnection) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "penstock-history-"));
  const instance = await DuckDBInstance.create(join(directory, "history.duckdb"), { threads: "1", memory_limit: "256MB" });
  const connection = await instance.connect();
  await connection.run("CREATE TABLE rows (series INTEGER NOT NULL, time DOUBLE NOT NULL, value DOUBLE NOT NULL)");
  const batches = Math.ceil(rows / BATCH);
  const began = process.cpuUsage();
  for (let batch = 0; batch < batches; batch++) {
    await connection.run("BEGIN");
    await append(connection);
    await connection.run("COMMIT");
  }
  const used = process.cpuUsage(began);
  console.log(`${name.padEnd(12)} ${((used.user + used.system) / (batches * BATCH)).toFixed(3)} us/row`);
  connection.closeSync();
  instance.closeSync();
  rmSync(directory, { recursive: true, force: true });
}

await measure("by chunks", byChunks);
await measure("one by one", oneByOne);
