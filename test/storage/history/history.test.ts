import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import t from "tap";
import { HISTORY_COUNTER } from "../../../src/base/counters.js";
import { HISTORY_SOURCE, ROW_FLAG } from "../../../src/base/history-record.js";
import { POSITION, readPosition, writePosition } from "../../../src/base/positions.js";
import { QueryError } from "../../../src/storage/history/queries.js";
import { name, sendFrame, SharedPlace, until, valuesOf } from "./support.js";

const T0 = 1_767_225_600_000;

/** The status with which a query is refused. */
async function refusalOf(answer: Promise<unknown>): Promise<number | undefined> {
  try {
    await answer;
    return undefined;
  } catch (error) {
    return error instanceof QueryError ? error.status : undefined;
  }
}

t.test("rows, texts and events are stored, and queries answer them", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const history = await place.open();
  const lane = place.lane(0);
  name(lane, 0, "d1", "t", T0);
  name(lane, 1, "d1", "on", T0);
  name(lane, 2, "d1", "state", T0);
  name(lane, 3, "größe/2", "°C", T0 + 5);
  lane.from(HISTORY_SOURCE.LIVE);
  for (let n = 0; n < 100; n++) lane.addRow(0, T0 + n * 1000, n, n === 50 ? ROW_FLAG.ANOMALY : 0);
  lane.addRow(1, T0 + 1, 1, ROW_FLAG.BOOLEAN);
  lane.addText(2, T0 + 2, "läuft");
  lane.addRow(3, T0 + 5, -7.25, 0);
  t.ok(lane.hasRoomFor(100));
  lane.addEvent(T0 + 3, "d9", "decode", "not JSON; payload: {");
  lane.publish();
  history.wake();
  await until("stored", () => place.counters[HISTORY_COUNTER.ROWS] === 103);

  const points = await history.answer({ type: "series", device: "d1", name: "t", from: T0, to: T0 + 30_000, stepMs: 10_000 });
  t.same(points, [
    { time: T0, mean: 4.5, min: 0, max: 9, count: 10 },
    { time: T0 + 10_000, mean: 14.5, min: 10, max: 19, count: 10 },
    { time: T0 + 20_000, mean: 24.5, min: 20, max: 29, count: 10 },
  ]);
  t.same(await history.answer({ type: "series", device: "d1", name: "x", from: T0, to: T0 + 1, stepMs: 1 }), []);
  t.same(await history.answer({ type: "storedLast", device: "d1", name: "t" }), { time: T0 + 99_000, value: 99 });
  t.same(await history.answer({ type: "storedLast", device: "d1", name: "on" }), { time: T0 + 1, value: true });
  t.same(await history.answer({ type: "storedLast", device: "d1", name: "state" }), { time: T0 + 2, value: "läuft" });
  t.equal(await history.answer({ type: "storedLast", device: "d1", name: "none" }), null);
  t.same(await history.answer({ type: "devices", limit: 10, after: "" }), [
    { id: "d1", series: ["on", "state", "t"], firstSeenAt: T0, lastSeenAt: T0 + 99_000 },
    { id: "größe/2", series: ["°C"], firstSeenAt: T0 + 5, lastSeenAt: T0 + 5 },
  ]);
  t.same(await history.answer({ type: "devices", limit: 1, after: "d1" }), [{ id: "größe/2", series: ["°C"], firstSeenAt: T0 + 5, lastSeenAt: T0 + 5 }]);
  t.same(await history.answer({ type: "events", limit: 5 }), [{ time: T0 + 3, device: "d9", kind: "decode", text: "not JSON; payload: {" }]);
});

t.test("what is asked for wrongly is refused with a reason", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const history = await place.open();
  const ask = (from: number, to: number, stepMs: number): Promise<unknown> => history.answer({ type: "series", device: "d", name: "n", from, to, stepMs });
  t.equal(await refusalOf(ask(0, 10, 0)), 400);
  t.equal(await refusalOf(ask(0, 10, -5)), 400);
  t.equal(await refusalOf(ask(0, 10, Number.NaN)), 400);
  t.equal(await refusalOf(ask(10, 0, 1)), 400);
  t.equal(await refusalOf(ask(0, 1e12, 1000)), 400);
  t.same(await ask(0, 1e7, 1000), []);
});

t.test("a query past its deadline is cancelled, and the next one is answered", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const history = await place.open({ queryDeadlineMs: 0 });
  t.equal(await refusalOf(history.answer({ type: "events", limit: 5 })), 504);
  t.equal(place.counters[HISTORY_COUNTER.QUERIES_CANCELLED], 1);
  t.equal(place.counters[HISTORY_COUNTER.QUERIES], 1);
});

t.test("more queries than may wait are refused", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const history = await place.open();
  const answers = await Promise.allSettled(Array.from({ length: 50 }, () => history.answer({ type: "events", limit: 1 })));
  const refused = answers.filter((answer) => answer.status === "rejected");
  t.equal(refused.length, 50 - 33);
  t.match(refused[0], { reason: { status: 503 } });
});

t.test("frames are committed up to what all lanes have passed", async (t) => {
  const place = new SharedPlace(3);
  t.teardown(() => place.remove());
  const history = await place.open();
  const lanes = [0, 1, 2].map((lane) => place.lane(lane));
  lanes.forEach((lane, index) => name(lane, 0, `d${index}`, "t"));
  for (let frame = 1; frame <= 10; frame++) sendFrame(lanes[0]!, frame * 100, 0, [frame]);
  for (let frame = 1; frame <= 5; frame++) sendFrame(lanes[1]!, frame * 100, 0, [frame]);
  lanes[2]!.from(HISTORY_SOURCE.LIVE);
  lanes[2]!.addRow(0, T0, 77, 0);
  sendFrame(lanes[2]!, 100, 0, [1]);
  sendFrame(lanes[2]!, 200, 0, []);
  history.wake();
  await until("committed", () => place.committedLsn === 200);
  t.same(await valuesOf(history, "d0", "t"), [1, 2]);
  t.same(await valuesOf(history, "d1", "t"), [1, 2]);
  t.same(await valuesOf(history, "d2", "t"), [77, 1], "QoS 0 waits for nobody");
  for (let frame = 3; frame <= 7; frame++) sendFrame(lanes[2]!, frame * 100, 0, []);
  history.wake();
  await until("committed", () => place.committedLsn === 500);
  t.same(await valuesOf(history, "d0", "t"), [1, 2, 3, 4, 5]);
  t.same(await valuesOf(history, "d1", "t"), [1, 2, 3, 4, 5]);
  for (let frame = 6; frame <= 10; frame++) sendFrame(lanes[1]!, frame * 100, 0, [frame]);
  for (let frame = 8; frame <= 10; frame++) sendFrame(lanes[2]!, frame * 100, 0, []);
  history.wake();
  await until("committed", () => place.committedLsn === 1000);
  t.same(await valuesOf(history, "d0", "t"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  t.same(await valuesOf(history, "d1", "t"), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
});

t.test("a lane that starts again leaves nothing twice and nothing out", async (t) => {
  const place = new SharedPlace(2);
  t.teardown(() => place.remove());
  const history = await place.open();
  const other = place.lane(1);
  let lane = place.lane(0);
  name(lane, 4, "d0", "t");
  sendFrame(lane, 100, 4, [1, 2]);
  sendFrame(lane, 200, 4, [3]);
  // The lane dies in the middle of a frame, with some of it published.
  lane.from(HISTORY_SOURCE.JOURNAL);
  lane.addRow(4, T0 + 4, 4, 0);
  lane.publish();
  history.wake();
  lane = place.lane(0);
  // Its handles are others now.
  name(lane, 4, "d0", "other");
  name(lane, 0, "d0", "t");
  sendFrame(lane, 100, 0, [1, 2]);
  sendFrame(lane, 200, 0, [3]);
  sendFrame(lane, 300, 0, [4, 5]);
  sendFrame(lane, 400, 4, [9]);
  for (let frame = 1; frame <= 4; frame++) sendFrame(other, frame * 100, 0, []);
  history.wake();
  await until("committed", () => place.committedLsn === 400);
  t.same(await valuesOf(history, "d0", "t"), [1, 2, 3, 4, 5]);
  t.same(await valuesOf(history, "d0", "other"), [9]);
});

t.test("what a lane wrote for an earlier history is not believed", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const history = await place.open();
  const epoch = readPosition(place.positions, POSITION.HISTORY_EPOCH);
  writePosition(place.positions, POSITION.HISTORY_EPOCH, epoch - 1);
  const old = place.lane(0);
  name(old, 0, "d0", "t");
  sendFrame(old, 500, 0, [1, 2]);
  writePosition(place.positions, POSITION.HISTORY_EPOCH, epoch);
  const lane = place.lane(0);
  name(lane, 0, "d0", "t");
  sendFrame(lane, 100, 0, [3]);
  history.wake();
  await until("committed", () => place.committedLsn === 100);
  t.same(await valuesOf(history, "d0", "t"), [3]);
});

t.test("a handle that is given to another series does not mix them up, stored or not", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const history = await place.open({ flushIntervalMs: 20 });
  const lane = place.lane(0);
  lane.from(HISTORY_SOURCE.LIVE);
  for (let n = 0; n < 50; n++) {
    name(lane, 7, "d0", `s${n % 10}`);
    lane.addRow(7, T0 + n, n, 0);
    if (n % 9 === 0) {
      lane.publish();
      history.wake();
      if (n % 18 === 0) await until("stored", () => place.counters[HISTORY_COUNTER.ROWS] === n + 1);
    }
  }
  lane.publish();
  history.wake();
  await until("stored", () => place.counters[HISTORY_COUNTER.ROWS] === 50);
  for (let series = 0; series < 10; series++) t.same(await valuesOf(history, "d0", `s${series}`), [0, 1, 2, 3, 4].map((round) => round * 10 + series));
  t.equal(((await history.answer({ type: "devices", limit: 5, after: "" })) as { series: string[] }[])[0]!.series.length, 10);
});

t.test("a history that is opened again goes on where it was, with the same series", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  for (let round = 0; round < 3; round++) {
    const history = await place.open();
    t.equal(history.committed, round * 100);
    t.equal(place.committedLsn, round * 100);
    t.equal(readPosition(place.positions, POSITION.HISTORY_EPOCH), round + 1);
    const lane = place.lane(0);
    name(lane, round, "d0", "t", T0 + round);
    sendFrame(lane, (round + 1) * 100, round, [round]);
    // stop takes what is in the rings.
    await history.stop();
  }
  const history = await place.open();
  t.same(await valuesOf(history, "d0", "t"), [0, 1, 2]);
  t.same(await history.answer({ type: "devices", limit: 5, after: "" }), [{ id: "d0", series: ["t"], firstSeenAt: T0, lastSeenAt: T0 + 2 }]);
});

t.test("rows do not wait for the time at which the journal position alone would be stored", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const history = await place.open();
  const lane = place.lane(0);
  sendFrame(lane, 100, 0, []);
  history.wake();
  name(lane, 0, "d0", "t");
  const startedAt = performance.now();
  sendFrame(lane, 200, 0, [1]);
  history.wake();
  await until("committed", () => place.committedLsn === 200);
  t.ok(performance.now() - startedAt < 8000, `after ${performance.now() - startedAt} ms`);
});

t.test("a lane that waits for room is rung when there is some", async (t) => {
  const place = new SharedPlace(2);
  t.teardown(() => place.remove());
  const history = await place.open();
  t.same(place.woken, [0, 1], "and once at the start");
  place.woken.length = 0;
  writePosition(place.positions, POSITION.LANE_WAITING + 1, 1);
  place.lane(0);
  place.lane(1);
  history.wake();
  await until("woken", () => place.woken.length > 0);
  t.same(place.woken, [1]);
});

t.test("with a hundred thousand rows at once nothing is lost, and the lane that others wait for is never stopped", async (t) => {
  const place = new SharedPlace(2);
  t.teardown(() => place.remove());
  const history = await place.open({ flushIntervalMs: 50 });
  const lanes = [place.lane(0), place.lane(1)];
  lanes.forEach((lane, index) => name(lane, 0, `d${index}`, "t"));
  const frames = 60;
  const perFrame = 5000;
  // Lane 0 runs ahead as far as it can; lane 1 follows only then.
  let sent = 0;
  for (const lane of lanes) {
    for (let frame = 1; frame <= frames; frame++) {
      lane.from(HISTORY_SOURCE.JOURNAL);
      for (let n = 0; n < perFrame; n++) lane.addRow(0, T0 + n, n, 0);
      sent += perFrame;
      lane.mark(frame * 100);
      lane.publish();
      await until("room", () => lane.hasRoomFor(100_000));
    }
  }
  await until("committed", () => place.committedLsn === frames * 100);
  t.equal(place.counters[HISTORY_COUNTER.ROWS], sent);
  for (const device of ["d0", "d1"]) {
    const [point] = (await history.answer({ type: "series", device, name: "t", from: T0, to: T0 + perFrame, stepMs: perFrame })) as { count: number }[];
    t.equal(point!.count, frames * perFrame);
  }
});

t.test("a damaged file is put aside, reported, and a new one begun", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const first = await place.open();
  const lane = place.lane(0);
  name(lane, 0, "d0", "t");
  sendFrame(lane, 100, 0, [1]);
  await first.stop();
  writeFileSync(place.path, Buffer.alloc(10_000, 0x5a));
  const second = await place.open();
  t.equal(second.committed, 0);
  t.same(await second.answer({ type: "devices", limit: 5, after: "" }), []);
  t.match(place.log.texts("error"), [/damaged: it was put aside/]);
  t.ok(readdirSync(place.directory.path).some((file) => file.startsWith("history.duckdb.") && file.endsWith(".bad")));
});

t.test("a file that cannot be opened for another reason is not put aside", async (t) => {
  const place = new SharedPlace(1);
  t.teardown(() => place.remove());
  const path = `${place.directory.path}/a-directory`;
  mkdirSync(path);
  await t.rejects(place.open({ path }));
  t.same(readdirSync(place.directory.path), ["a-directory"]);
});
