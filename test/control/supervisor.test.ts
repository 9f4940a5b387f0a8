// The supervisor over fake workers in real threads: starts, deaths, restarts, the stop.
import t from "tap";
import { HISTORY_COUNTER, LANE_COUNTER, MAIN_COUNTER, STORE_COUNTER } from "../../src/base/counters.js";
import { POSITION, writePosition } from "../../src/base/positions.js";
import { RingWriter } from "../../src/ring/ring.js";
import { apiUrl, makeSupervisor, type Fixture } from "./supervisor-fixture.js";
import { THROW_CELL } from "./workers/fake-control.js";
import { CELL, DO } from "./workers/fake-worker.js";

const STOP_MS = 5000;

function cells(buffer: SharedArrayBuffer): Float64Array {
  return new Float64Array(buffer);
}

async function readiness(fixture: Fixture): Promise<{ status: number; reasons: string[] }> {
  const answer = await fetch(`${apiUrl(fixture.supervisor)}/readyz`);
  return { status: answer.status, reasons: ((await answer.json()) as { reasons: string[] }).reasons };
}

t.test("starts all workers in order, and stops them with nothing given up", async (t) => {
  const fixture = makeSupervisor();
  await fixture.supervisor.start();
  const order = fixture.lines.all.filter((line) => line.text === "started").map((line) => line.fields["role"]);
  t.same(order.slice(0, 4), ["history", "store", "lane", "lane"], "history, store, lanes");
  t.same(order.slice(4), ["shard", "shard"], "then shards");
  t.same(await readiness(fixture), { status: 200, reasons: [] });
  t.same(await fixture.supervisor.stop(STOP_MS), []);
  t.same(fixture.lost, []);
});

t.test("tells each shard where the journal is, and lanes the position that history has", async (t) => {
  const fixture = makeSupervisor();
  await fixture.supervisor.start();
  for (const shard of [0, 1]) t.match((await fixture.lines.started("shard", shard)).fields["journalDirectory"], /journal$/);
  for (const lane of [0, 1]) t.equal((await fixture.lines.started("lane", lane)).fields["fromLsn"], 1024);
  await fixture.supervisor.stop(STOP_MS);
});

t.test("without history the lanes begin at the journal's first position, and no history worker is started", async (t) => {
  const fixture = makeSupervisor({ history: "off", lanes: 1, shards: 1 });
  await fixture.supervisor.start();
  t.equal((await fixture.lines.started("lane")).fields["fromLsn"], 64);
  t.notOk(fixture.lines.all.some((line) => line.fields["role"] === "history"));
  t.same(await fixture.supervisor.stop(STOP_MS), []);
});

for (const [how, command] of [["throws", DO.THROW], ["exits", DO.EXIT]] as const) {
  t.test(`a shard that ${how} is started again once the store has all that it had sent, while the others go on`, async (t) => {
    const fixture = makeSupervisor();
    const { arena, lines, supervisor } = fixture;
    await supervisor.start();
    new RingWriter(arena.shards[0]!.inbound).reserve(8);
    const from = lines.all.length;
    cells(arena.shards[0]!.counters)[CELL.COMMAND] = command;
    await lines.find("the store is asked", (line) => line.text === "heard shardDrained?", from);
    await lines.started("shard", 0, from);
    await lines.find("shard 0 runs again", (line) => line.text === "shard 0 runs again", from);
    t.ok(lines.all.slice(from).some((line) => line.text === "heard shards" && line.fields["shard"] === 1), "the other shard was told");
    t.same([...new Uint32Array(arena.shardsLive)], [0b11, 1], "both are live, one died once");
    t.equal(cells(arena.shards[1]!.counters)[CELL.STARTS], 1, "the other shard was not touched");
    t.equal(cells(arena.mainCounters)[MAIN_COUNTER.RESTARTS_SHARD], 1);
    t.match(lines.all.find((line) => line.level === "error")?.text, command === DO.THROW ? /told to throw/ : /code 7/, "the reason is logged");
    t.equal((await readiness(fixture)).status, 200);
    t.same(await supervisor.stop(STOP_MS), []);
  });
}

t.test("a shard that is started again is given what client certificates are verified by now", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ shards: 1, lanes: 1 });
  await supervisor.start();
  t.same((await lines.started("shard")).fields["trusts"], []);
  const from = lines.all.length;
  supervisor.useTrust({ listener: "mqtts", ca: "old", crl: "", context: 3 });
  supervisor.useTrust({ listener: "https", ca: "other", crl: "", context: 4 });
  supervisor.useTrust({ listener: "mqtts", ca: "new", crl: "list", context: 5 });
  await lines.find("the shard hears it", (line) => line.text === "heard trust", from);
  cells(arena.shards[0]!.counters)[CELL.COMMAND] = DO.THROW;
  t.same((await lines.started("shard", 0, from)).fields["trusts"], [{ listener: "mqtts", ca: "new", crl: "list", context: 5 }, { listener: "https", ca: "other", crl: "", context: 4 }]);
  await lines.find("shard 0 runs again", (line) => line.text === "shard 0 runs again", from);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a worker that dies again and again is started again after longer and longer waits", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ shards: 1, lanes: 1 });
  await supervisor.start();
  const shard = cells(arena.shards[0]!.counters);
  for (let death = 1; death <= 4; death++) {
    const from = lines.all.length;
    shard[CELL.COMMAND] = DO.THROW;
    await lines.find("shard 0 runs again", (line) => line.text === "shard 0 runs again", from);
  }
  const waits = lines.all.filter((line) => line.text.startsWith("shard 0 died")).map((line) => /in (\d+) ms/.exec(line.text)?.[1] ?? "0");
  t.same(waits, ["0", "100", "200", "400"]);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a shard whose heap is full ends alone and is started again", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ shards: 2, lanes: 1 });
  await supervisor.start();
  const from = lines.all.length;
  cells(arena.shards[1]!.counters)[CELL.COMMAND] = DO.FILL_HEAP;
  await lines.find("shard 1 runs again", (line) => line.text === "shard 1 runs again", from);
  t.match(lines.all.slice(from).find((line) => line.level === "error")?.text, /out of memory/);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a lane goes on from what it had handed to history; a frame it dies at again and again is passed over", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor();
  await supervisor.start();
  const positions = new BigUint64Array(arena.positions);
  writePosition(positions, POSITION.LANE_READ + 1, 2000);
  writePosition(positions, POSITION.LANE_CURRENT + 1, 2048);
  const quarantines: unknown[] = [];
  for (let death = 1; death <= 4; death++) {
    const from = lines.all.length;
    cells(arena.lanes[1]!.counters)[CELL.COMMAND] = DO.THROW;
    const { fields } = await lines.started("lane", 1, from);
    t.equal(fields["fromLsn"], 2000);
    quarantines.push(fields["quarantined"]);
    await lines.find("lane 1 runs again", (line) => line.text === "lane 1 runs again", from);
  }
  t.same(quarantines, [[], [2048], [2048, 2048], [2048, 2048]], "named once: with care; named twice: passed over");
  t.equal(cells(arena.mainCounters)[MAIN_COUNTER.FRAMES_QUARANTINED], 1);
  t.equal(cells(arena.lanes[0]!.counters)[CELL.STARTS], 1, "the other lane was not touched");
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a lane that dies at different frames, or at none, loses none of them", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ lanes: 1 });
  await supervisor.start();
  const positions = new BigUint64Array(arena.positions);
  for (const current of [2048, 4096, 0, 0]) {
    writePosition(positions, POSITION.LANE_CURRENT, current);
    const from = lines.all.length;
    cells(arena.lanes[0]!.counters)[CELL.COMMAND] = DO.THROW;
    const { fields } = await lines.started("lane", 0, from);
    t.same(fields["quarantined"], []);
    await lines.find("lane 0 runs again", (line) => line.text === "lane 0 runs again", from);
  }
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("when history dies it is started again beside the running lanes, and what it had not committed is counted", async (t) => {
  const fixture = makeSupervisor();
  const { arena, lines, supervisor } = fixture;
  await supervisor.start();
  cells(arena.lanes[0]!.counters)[LANE_COUNTER.MEASUREMENTS] = 50;
  cells(arena.historyCounters)[HISTORY_COUNTER.ROWS] = 30;
  const from = lines.all.length;
  cells(arena.historyCounters)[CELL.COMMAND] = DO.THROW;
  await lines.find("history runs again", (line) => line.text === "history runs again", from);
  t.equal(cells(arena.historyCounters)[CELL.STARTS], 2);
  for (const lane of arena.lanes) t.equal(cells(lane.counters)[CELL.STARTS], 1, "the lanes were not touched");
  t.equal(cells(arena.mainCounters)[MAIN_COUNTER.HISTORY_ROWS_UNCOMMITTED], 20);
  t.equal(cells(arena.mainCounters)[MAIN_COUNTER.RESTARTS_HISTORY], 1);
  t.same(await readiness(fixture), { status: 200, reasons: [] });
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("when control dies it is started again with channels to everybody", async (t) => {
  const fixture = makeSupervisor();
  const { arena, lines, supervisor } = fixture;
  await supervisor.start();
  const from = lines.all.length;
  cells(arena.mainCounters)[THROW_CELL] = 1;
  await lines.find("control runs again", (line) => line.text === "control runs again", from);
  const answer = await fetch(`${apiUrl(supervisor)}/api/v1/devices`);
  t.same(await answer.json(), { devices: [], next: null }, "shards and history answered");
  t.equal(cells(arena.mainCounters)[MAIN_COUNTER.RESTARTS_CONTROL], 1);
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a control that is started while a shard is down does not wait for its answers", async (t) => {
  const { arena, lines, supervisor } = makeSupervisor({ deadlines: { drainedMs: 500 } });
  await supervisor.start();
  // The journal cannot be written: a shard that dies stays down, and the store is asked again and again.
  const store = cells(arena.storeCounters);
  store[CELL.MUTE] = store[STORE_COUNTER.BLOCKED] = 1;
  cells(arena.shards[1]!.counters)[CELL.COMMAND] = DO.THROW;
  await lines.find("shard 1 died", (line) => line.text.startsWith("shard 1 died"));
  cells(arena.mainCounters)[THROW_CELL] = 1;
  await lines.find("control runs again", (line) => line.text === "control runs again");
  // A query to somebody who does not answer is given up after 11 s.
  const answer = await fetch(`${apiUrl(supervisor)}/api/v1/clients`, { signal: AbortSignal.timeout(8000) });
  t.same(await answer.json(), { clients: [], next: null, incomplete: ["shard 1"] });
  store[CELL.MUTE] = 0;
  await lines.find("shard 1 runs again", (line) => line.text === "shard 1 runs again");
  t.same(await (await fetch(`${apiUrl(supervisor)}/api/v1/clients`)).json(), { clients: [], next: null });
  t.same(await supervisor.stop(STOP_MS), []);
});

t.test("a store that dies is reported, and not started again", async (t) => {
  const { arena, lines, supervisor, lost } = makeSupervisor({ shards: 1, lanes: 1 });
  await supervisor.start();
  cells(arena.storeCounters)[CELL.COMMAND] = DO.THROW;
  // The death arrives before the answer of a worker that was asked after it.
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      if (lost.length === 0) return;
      clearInterval(timer);
      resolve();
    }, 5);
  });
  t.match(lost, [/the store ended: .*told to throw/s]);
  t.equal(cells(arena.storeCounters)[CELL.STARTS], 1);
  t.equal(lines.all.some((line) => line.level === "error"), false);
  await supervisor.stop(STOP_MS);
});
