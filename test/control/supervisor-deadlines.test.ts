// The supervisor's deadlines, over fake workers: workers that are not ready in time, that hang, that do not answer the stop.
import t from "tap";
import { MAIN_COUNTER } from "../../src/base/counters.js";
import { POSITION, POSITION_COUNT, writePosition } from "../../src/base/positions.js";
import { LaneWatchdog } from "../../src/control/lane-watchdog.js";
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

t.test("a lane that hangs while it runs is found, and all lanes are started again; where it hangs twice is quarantined", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ shards: 1, lanes: 2, deadlines: { laneStuckMs: 4000 } });
  await supervisor.start();
  const positions = new BigUint64Array(arena.positions);
  const lane = cells(arena.lanes[1]!.counters);
  for (let hang = 1; hang <= 2; hang++) {
    const from = lines.all.length;
    writePosition(positions, POSITION.LANE_CURRENT + 1, 512);
    writePosition(positions, POSITION.LANE_READ + 1, 256);
    lane[CELL.COMMAND] = DO.SPIN;
    await lines.find("lane 1 hangs", (line) => /all lanes are started again: lane 1 .* it hangs/.test(line.text), from);
    t.match(await lines.started("lane", 1, from), { fields: { fromLsn: 256, isCareful: true, quarantined: hang === 1 ? [] : [512] } });
    t.match(await lines.started("lane", 0, from), { fields: { isCareful: false } });
    await lines.find("all lanes run", (line) => line.text === "all lanes run again", from);
  }
  t.equal(cells(arena.mainCounters)[MAIN_COUNTER.LANES_HUNG], 2);
  t.same(supervisor.notReady(), []);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("the watchdog of the lanes counts neither a suspended process nor lanes that do not run", async (t) => {
  const positions = new BigUint64Array(POSITION_COUNT);
  const watchdog = new LaneWatchdog(positions, 3, 10_000);
  const isReady = (lane: number): boolean => lane !== 2;
  t.equal(watchdog.look(0, isReady), -1);
  t.equal(watchdog.look(3_600_000, isReady), -1, "an hour away counts for two seconds");
  let now = 3_600_000;
  const found: number[] = [];
  for (let second = 0; second < 20; second++) {
    now += 1000;
    writePosition(positions, POSITION.LANE_BEAT + 1, second + 1);
    const lane = watchdog.look(now, isReady);
    if (lane >= 0) found.push(lane * 100 + second);
  }
  t.same(found, [7, 17], "lane 0, after ten seconds each time; lane 1 beats, lane 2 does not run");
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
