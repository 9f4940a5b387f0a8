import t from "tap";
import { DOUBLE, INTEGER, UTINYINT, VARCHAR } from "@duckdb/node-api";
import { MIB } from "../../../src/base/limits.js";
import { appendColumns } from "../../../src/storage/history/append.js";
import { closeDatabase, type Database, openDatabase } from "../../../src/storage/history/database.js";
import { deleteOlder, retentionLimit, type Step } from "../../../src/storage/history/retention.js";
import { MemoryLog, temporaryDirectory } from "../support.js";

const NOW = Date.UTC(2026, 0, 10);
const DAY = 24 * 3600_000;

t.test("the limit follows the clock, a day at a time at most, and never goes back", async (t) => {
  t.equal(retentionLimit(NOW, 7 * DAY, 0), NOW - 7 * DAY, "the first time");
  t.equal(retentionLimit(NOW, 7 * DAY, NOW - 7 * DAY - 3600_000), NOW - 7 * DAY, "an hour later");
  t.equal(retentionLimit(NOW + 30 * 365 * DAY, 7 * DAY, NOW - 7 * DAY), NOW - 6 * DAY, "a clock that jumped by thirty years");
  t.ok(retentionLimit(NOW - 5 * DAY, 7 * DAY, NOW - 7 * DAY) < NOW - 7 * DAY, "a clock that went back deletes nothing more");
  t.equal(retentionLimit(12_345, 7 * DAY, NOW - 7 * DAY), 0, "a clock that was never set");
});

async function count(database: Database, table: string): Promise<number> {
  const result = await database.reader.runAndReadAll(`SELECT count(*)::DOUBLE FROM ${table}`);
  return result.getRows()[0]![0] as number;
}

t.test("what is older goes in steps; series go with it unless a row may still come for them", { timeout: 60_000 }, async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const database = await openDatabase(`${directory.path}/history.duckdb`, 96 * MIB, NOW, new MemoryLog());
  t.teardown(() => closeDatabase(database));
  const total = 250_000;
  const old = 230_000;
  const times = Float64Array.from({ length: total }, (_, n) => NOW - (n < old ? 2 * DAY : 0) + n);
  await appendColumns(database.writer, "rows", undefined, total, [
    { type: INTEGER, values: Int32Array.from({ length: total }, (_, n) => (n < old ? n % 3 : 3)) },
    { type: DOUBLE, values: times },
    { type: DOUBLE, values: times },
    { type: UTINYINT, values: new Uint8Array(total) },
  ]);
  await appendColumns(database.writer, "series", undefined, 4, [
    { type: INTEGER, values: [0, 1, 2, 3] },
    { type: VARCHAR, values: ["d0", "d1", "d2", "d3"] },
    { type: VARCHAR, values: ["t", "t", "t", "t"] },
    { type: DOUBLE, values: [1, 1, 1, 1] },
    { type: DOUBLE, values: [NOW - 2 * DAY, NOW - 2 * DAY, NOW - 2 * DAY, NOW] },
  ]);
  for (const table of ["texts", "events"]) {
    await database.writer.run(`INSERT INTO ${table} SELECT ${table === "texts" ? "1, t, 'x'" : "t, 'd', 'decode', 'x'"} FROM (VALUES (${NOW - 2 * DAY}::DOUBLE), (${NOW}::DOUBLE)) v(t)`);
  }
  let steps = 0;
  const step: Step = (work) => {
    steps++;
    return work(database.writer);
  };
  t.equal(await deleteOlder(step, NOW - DAY, () => new Set([1])), old + 1);
  t.equal(await count(database, "rows"), total - old);
  t.equal(await count(database, "texts"), 1);
  t.equal(await count(database, "events"), 1);
  const left = await database.reader.runAndReadAll("SELECT id FROM series ORDER BY id");
  t.same(left.getRows().map(([id]) => id), [1, 3]);
  t.ok(steps >= 3 + 1 + 1 + 4, `${steps} steps`);
  const state = await database.reader.runAndReadAll("SELECT retained_from FROM state");
  t.equal(state.getRows()[0]![0], NOW - DAY);
  t.equal(await deleteOlder(step, NOW - DAY, () => new Set([1])), 0, "the second time there is nothing");
});

t.test("of events only so many are kept, the newest", { timeout: 60_000 }, async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const database = await openDatabase(`${directory.path}/history.duckdb`, 96 * MIB, NOW, new MemoryLog());
  t.teardown(() => closeDatabase(database));
  await database.writer.run("INSERT INTO events SELECT i, 'd', 'decode', 'x' FROM range(120000) r(i)");
  await deleteOlder((work) => work(database.writer), 1, () => new Set());
  t.equal(await count(database, "events"), 100_000);
  const oldest = await database.reader.runAndReadAll("SELECT min(time) FROM events");
  t.equal(oldest.getRows()[0]![0], 20_000);
});
