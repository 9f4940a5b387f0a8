// The supervisor's deadlines, over fake workers: workers that are not ready in time, that hang, that do not answer the stop.
import t from "tap";
import { makeSupervisor } from "./supervisor-fixture.js";
import { CELL, DO } from "./workers/fake-worker.js";

const STOP_MS = 5000;

function cells(buffer: SharedArrayBuffer): Float64Array {
  return new Float64Array(buffer);
}

t.test("a lane that hangs while it is started again takes all lanes with it into a new pool", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ shards: 1, lanes: 2, deadlines: { readyMs: 4000, shardReadyMs: 4000 } });
  await supervisor.start();
  const lane = cells(arena.lanes[0]!.counters);
  lane[CELL.AT_START] = DO.HANG;
  lane[CELL.COMMAND] = DO.THROW;
  await lines.find("all lanes are started again", (line) => line.text.startsWith("all lanes are started again"));
  await lines.find("all lanes run", (line) => line.text === "all lanes run again");
  t.equal(lane[CELL.STARTS], 3);
  t.equal(cells(arena.lanes[1]!.counters)[CELL.STARTS], 2);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("the start fails when a worker throws before it is ready, naming it", async (t) => {
  const { arena, supervisor } = makeSupervisor({ shards: 1, lanes: 1 });
  cells(arena.historyCounters)[CELL.AT_START] = DO.THROW;
  await t.rejects(supervisor.start(), /history ended before it was ready: .*told to throw/s);
  await supervisor.stop(STOP_MS);
});

t.test("the start fails when a worker is not ready within its deadline", async (t) => {
  const { arena, supervisor } = makeSupervisor({ shards: 1, lanes: 1, deadlines: { readyMs: 4000, shardReadyMs: 4000 } });
  cells(arena.shards[0]!.counters)[CELL.AT_START] = DO.HANG;
  await t.rejects(supervisor.start(), /shard 0 was not ready within 4 s/);
  await supervisor.stop(STOP_MS);
});

t.test("a worker that hangs while it is started again is ended and started once more", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ shards: 1, lanes: 1, deadlines: { readyMs: 4000, shardReadyMs: 4000 } });
  await supervisor.start();
  const shard = cells(arena.shards[0]!.counters);
  shard[CELL.AT_START] = DO.HANG;
  shard[CELL.COMMAND] = DO.EXIT;
  await lines.find("shard 0 runs again", (line) => line.text === "shard 0 runs again");
  t.equal(shard[CELL.STARTS], 3);
  t.ok(lines.all.some((line) => /shard 0 died.*not ready within 4 s/s.test(line.text)));
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a stop is bounded: what does not answer is given up and named", async (t) => {
  const { arena, supervisor } = makeSupervisor();
  await supervisor.start();
  cells(arena.shards[1]!.counters)[CELL.MUTE] = 1;
  cells(arena.lanes[0]!.counters)[CELL.MUTE] = 1;
  cells(arena.historyCounters)[CELL.MUTE] = 1;
  const startedAt = performance.now();
  const givenUp = await supervisor.stop(1000);
  t.ok(performance.now() - startedAt < 4000, "in time");
  t.match(givenUp, [/shard 1/, /lanes 0 /, /history/]);
  // History is never ended by force; the process's end would take it.
  cells(arena.historyCounters)[CELL.COMMAND] = DO.EXIT;
});
