// The supervisor's deadlines, over fake workers: workers that are not ready in time, that hang, that do not answer the stop.
import t from "tap";
import { MAIN_COUNTER, STORE_COUNTER } from "../../src/base/counters.js";
import { POSITION, POSITION_COUNT, readPosition, writePosition } from "../../src/base/positions.js";
import { LaneWatchdog } from "../../src/control/lane-watchdog.js";
import type { Supervisor } from "../../src/control/supervisor.js";
import { type Fixture, type Line, makeSupervisor, StillClock } from "./supervisor-fixture.js";
import { CELL, DO } from "./workers/fake-worker.js";

const STOP_MS = 5000;
/** For what is to be late. */
const SHORT_MS = 500;
const LOOK_MS = 5;

function cells(buffer: SharedArrayBuffer): Float64Array {
  return new Float64Array(buffer);
}

/** Resolves when the condition holds; the test's own limit is tap's. */
function until(holds: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {
      if (!holds()) return;
      clearInterval(timer);
      resolve();
    }, LOOK_MS);
  });
}

/** Lets time go by, half a second for each beat that it sees. @returns ends that */
function passTime(clock: StillClock, beat: () => number): () => void {
  let seen = beat();
  const timer = setInterval(() => {
    const now = beat();
    if (now === seen) return;
    seen = now;
    clock.now += 500;
  }, LOOK_MS);
  return () => clearInterval(timer);
}

/** Starts it. @returns a deadline short enough to wait for, that one worker's start keeps, however busy the machine is */
async function startTimed(supervisor: Supervisor): Promise<number> {
  const began = performance.now();
  await supervisor.start();
  return Math.max(SHORT_MS, performance.now() - began);
}

/** Two lanes, the first of which has died and hangs in its next start; `deadlines.readyMs` is short until the test sets it to `readyMs`. */
async function hangingStart(): Promise<Fixture & { readonly lane: Float64Array; readonly readyMs: number }> {
  const fixture = makeSupervisor({ shards: 1, lanes: 2 });
  const { arena, deadlines, supervisor } = fixture;
  const shortMs = await startTimed(supervisor);
  const lane = cells(arena.lanes[0]!.counters);
  const { readyMs } = deadlines;
  lane[CELL.AT_START] = DO.HANG;
  // For the start that hangs, and for no other: those take as long as the machine needs.
  deadlines.readyMs = shortMs;
  lane[CELL.COMMAND] = DO.THROW;
  return { ...fixture, lane, readyMs };
}

t.test("a lane that hangs while it is started again takes all lanes with it into a new pool", async (t) => {
  const { arena, deadlines, lane, lines, readyMs, supervisor } = await hangingStart();
  await lines.find("all lanes are started again", (line) => line.text.startsWith("all lanes are started again"));
  deadlines.readyMs = readyMs;
  await lines.find("all lanes run", (line) => line.text === "all lanes run again");
  t.equal(lane[CELL.STARTS], 3);
  t.equal(cells(arena.lanes[1]!.counters)[CELL.STARTS], 2);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a lane that hangs in the new pool, too, is not left there: all lanes are started once more", async (t) => {
  const { deadlines, lane, lines, readyMs, supervisor } = await hangingStart();
  await until(() => lane[CELL.AT_START] === 0);
  lane[CELL.AT_START] = DO.HANG;
  const isReplaced = (line: Line): boolean => line.text.startsWith("all lanes are started again");
  await lines.find("a new pool", isReplaced);
  const from = lines.all.findIndex(isReplaced) + 1;
  await lines.find("another new pool", isReplaced, from);
  deadlines.readyMs = readyMs;
  await lines.find("all lanes run", (line) => line.text === "all lanes run again", from);
  t.same(supervisor.notReady(), []);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a shard that dies while the journal cannot be written waits for it; a store that only does not answer is dead", async (t) => {
  const { arena, deadlines, lines, lost, supervisor } = makeSupervisor({ shards: 2, lanes: 1 });
  await supervisor.start();
  const store = cells(arena.storeCounters);
  const shard = cells(arena.shards[0]!.counters);
  deadlines.drainedMs = SHORT_MS;
  store[CELL.MUTE] = 1;
  store[STORE_COUNTER.BLOCKED] = 1;
  shard[CELL.COMMAND] = DO.THROW;
  await lines.find("it waits", (line) => line.text.startsWith("shard 0 waits for the journal"));
  t.same(lost, []);
  t.equal(shard[CELL.STARTS], 1);
  store[CELL.MUTE] = 0;
  await lines.find("shard 0 runs again", (line) => line.text === "shard 0 runs again");
  t.same(lost, []);
  store[CELL.MUTE] = 1;
  store[STORE_COUNTER.BLOCKED] = 0;
  shard[CELL.COMMAND] = DO.THROW;
  await until(() => lost.length > 0);
  t.match(lost, [/the store did not answer within 0\.5 s/]);
  store[CELL.MUTE] = 0;
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a lane that hangs while it runs is found, and all lanes are started again; where it hangs twice is quarantined", async (t) => {
  const clock = new StillClock();
  const { arena, lines, supervisor } = makeSupervisor({ shards: 1, lanes: 2, clock, deadlines: { laneStuckMs: 4000 } });
  await supervisor.start();
  const positions = new BigUint64Array(arena.positions);
  const lane = cells(arena.lanes[1]!.counters);
  for (let hang = 1; hang <= 2; hang++) {
    const from = lines.all.length;
    writePosition(positions, POSITION.LANE_CURRENT + 1, 512);
    writePosition(positions, POSITION.LANE_READ + 1, 256);
    lane[CELL.COMMAND] = DO.SPIN;
    await until(() => lane[CELL.COMMAND] === 0);
    // Time goes by while lane 1 spins, and only as lane 0 beats: however slow the machine is, that one does not hang.
    const stopTime = passTime(clock, () => readPosition(positions, POSITION.LANE_BEAT));
    await lines.find("lane 1 hangs", (line) => /all lanes are started again: lane 1 .* it hangs/.test(line.text), from);
    stopTime();
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
  const { arena, supervisor } = makeSupervisor({ shards: 1, lanes: 1, deadlines: { shardReadyMs: 4000 } });
  cells(arena.shards[0]!.counters)[CELL.AT_START] = DO.HANG;
  await t.rejects(supervisor.start(), /shard 0 was not ready within 4 s/);
  await supervisor.stop(STOP_MS);
});

t.test("a worker that hangs while it is started again is ended and started once more", async (t) => {
  const { arena, deadlines, lines, supervisor } = makeSupervisor({ shards: 1, lanes: 1 });
  const shortMs = await startTimed(supervisor);
  const shard = cells(arena.shards[0]!.counters);
  const { shardReadyMs } = deadlines;
  shard[CELL.AT_START] = DO.HANG;
  deadlines.shardReadyMs = shortMs;
  shard[CELL.COMMAND] = DO.EXIT;
  await lines.find("it was late", (line) => /shard 0 died.*not ready within [\d.]+ s/s.test(line.text));
  deadlines.shardReadyMs = shardReadyMs;
  await lines.find("shard 0 runs again", (line) => line.text === "shard 0 runs again");
  t.equal(shard[CELL.STARTS], 3);
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
