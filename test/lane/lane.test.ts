import t from "tap";
import { LANE_COUNTER } from "../../src/base/counters.js";
import { POSITION, readPosition, writePosition } from "../../src/base/positions.js";
import { TURN } from "../../src/lane/lane.js";
import { messageBytes } from "../pipeline/support.js";
import { DEVICE_OF_LANE, LanePlace, MemoryJournal, runLane, takeRecords } from "./support.js";

t.test("QoS 0 comes from the ring, the rest from the journal, each with its mark", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.startedLane();
  place.sendLive("d1", '{"t":1}');
  place.sendDurable(["d1", '{"t":2}'], ["d2", '{"s":"x"}']);
  const firstEnd = place.durable;
  place.sendDurable(["d1", '{"t":3}'], ["d2", "{"]);
  place.sendLive("d1", '{"t":4}');
  t.equal(runLane(lane), TURN.IDLE);
  t.equal(place.laneRead, place.durable);
  t.equal(readPosition(place.positions, POSITION.LANE_CURRENT), 0);
  const records = takeRecords(place.toHistory);
  t.same(records.slice(0, -1), [
    "series 0 d1t", "row live 0 = 1", "row live 0 = 4",
    "row journal 0 = 2", "series 1 d2s", "TEXT journal x", `MARKER ${firstEnd}`, "row journal 0 = 3",
    records.at(-2)!,
  ]);
  t.match(records.at(-2), /^EVENT journal d2decodenot JSON/);
  t.equal(records.at(-1), `MARKER ${place.durable}`);
  t.match(lane.last("d1", "t"), { value: 3, statistics: { count: 4 } });
  t.equal(place.counters[LANE_COUNTER.MESSAGES], 6);
});

t.test("nothing of the journal is read before it is durable", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.startedLane();
  place.sendDurable(["d1", '{"t":1}']);
  const { durable } = place;
  writePosition(place.positions, POSITION.JOURNAL_DURABLE, place.beginLsn);
  t.equal(runLane(lane), TURN.IDLE);
  t.same(takeRecords(place.toHistory), []);
  writePosition(place.positions, POSITION.JOURNAL_DURABLE, durable);
  t.equal(lane.arm(), false, "it does not sleep over what came meanwhile");
  t.equal(runLane(lane), TURN.IDLE);
  t.same(takeRecords(place.toHistory), ["series 0 d1t", "row journal 0 = 1", `MARKER ${durable}`]);
  t.equal(lane.arm(), true);
});

t.test("a lane takes its own devices from the journal, and marks every frame", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.startedLane({ lanes: 2, lane: 0 });
  place.sendDurable([DEVICE_OF_LANE[1]!, '{"t":1}']);
  const first = place.durable;
  place.sendDurable([DEVICE_OF_LANE[1]!, '{"t":2}'], [DEVICE_OF_LANE[0]!, '{"t":3}']);
  runLane(lane);
  t.same(takeRecords(place.toHistory), [`MARKER ${first}`, `series 0 ${DEVICE_OF_LANE[0]!}t`, "row journal 0 = 3", `MARKER ${place.durable}`]);
});

t.test("messages that no lane consumes are passed over", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.startedLane();
  place.shardToStore.publish({ topic: "other/topic", lane: false });
  place.shardToStore.release("client", 3);
  place.sendDurable();
  place.shardToStore.publish({ topic: "other/topic", lane: false });
  place.sendDurable(["d1", '{"t":1}']);
  runLane(lane);
  t.same(takeRecords(place.toHistory).filter((line) => !line.startsWith("MARKER")), ["series 0 d1t", "row journal 0 = 1"]);
  t.equal(place.laneRead, place.durable);
});

t.test("without history the lane keeps last values and its place in the journal", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  place.sendDurable(["d1", '{"t":1}']);
  const first = place.durable;
  place.sendDurable(["d1", '{"t":2}']);
  const lane = place.lane({ toHistory: undefined, fromLsn: first });
  place.sendLive("d1", '{"t":7}');
  t.equal(runLane(lane), TURN.IDLE);
  t.match(lane.last("d1", "t"), { value: 2, statistics: { count: 2, mean: 4.5 } });
  t.equal(place.laneRead, place.durable);
  t.same(takeRecords(place.toHistory), []);
});

t.test("when history starts anew, the lane goes back to what history holds", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.startedLane();
  place.sendDurable(["d1", '{"t":1}']);
  const first = place.durable;
  place.sendDurable(["d1", '{"t":2}']);
  runLane(lane);
  takeRecords(place.toHistory);
  writePosition(place.positions, POSITION.HISTORY_COMMITTED, first);
  writePosition(place.positions, POSITION.HISTORY_EPOCH, 1);
  place.sendLive("d1", '{"t":5}');
  runLane(lane);
  t.same(takeRecords(place.toHistory), [`START ${first} epoch 1`, "series 0 d1t", "row live 0 = 5", "row journal 0 = 2", `MARKER ${place.durable}`]);
  t.equal(place.laneRead, place.durable);
});

t.test("a full ring to history stops both sources, loses nothing, and says that the lane waits", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.lane();
  const payload = `{${Array.from({ length: 400 }, (_, i) => `"n${i}":${i}`).join(",")}}`;
  const waiting = (): number => readPosition(place.positions, POSITION.LANE_WAITING);
  let seen: string[] = [];
  let sent = 0;
  let turn: number = TURN.IDLE;
  for (let round = 0; round < 1000 && turn !== TURN.WAITING; round++) {
    if (place.sendLive("live", payload)) sent++;
    place.sendDurable(["durable", payload]);
    sent++;
    turn = runLane(lane);
  }
  t.equal(turn, TURN.WAITING, `after ${sent} messages`);
  t.equal(waiting(), 1);
  t.ok(place.laneRead < place.durable);
  t.equal(lane.turn(), TURN.WAITING, "it goes on waiting");
  const stalls = place.counters[LANE_COUNTER.STALLS_HISTORY]!;
  t.ok(stalls >= 2);
  for (let round = 0; round < 100 && turn === TURN.WAITING; round++) {
    seen = seen.concat(takeRecords(place.toHistory, 40));
    turn = runLane(lane);
  }
  seen = seen.concat(takeRecords(place.toHistory));
  t.equal(turn, TURN.IDLE);
  t.equal(waiting(), 0);
  t.equal(place.laneRead, place.durable);
  t.equal(seen.filter((line) => line.startsWith("row")).length, sent * 400);
  const marks = seen.filter((line) => line.startsWith("MARKER")).map((line) => Number(line.slice(7)));
  t.ok(marks.every((mark, index) => index === 0 || mark > marks[index - 1]!), "each frame has one mark, in order");
  t.equal(marks.at(-1), place.durable);
});

t.test("neither the ring nor the journal waits for the other", async (t) => {
  const place = new LanePlace(1024 * 1024);
  t.teardown(() => place.remove());
  const lane = place.lane();
  for (let n = 0; n < 3000; n++) place.sendLive("live", '{"t":1}');
  for (let n = 0; n < 3; n++) place.sendDurable(...Array.from({ length: 3000 }, () => ["durable", '{"t":1}'] as const));
  t.equal(lane.turn(), TURN.MORE);
  t.match(lane.last("live", "t"), { value: 1 });
  t.match(lane.last("durable", "t"), { value: 1 });
  t.ok(place.counters[LANE_COUNTER.MESSAGES]! <= 1024 + 4096, "a turn is bounded");
  t.equal(runLane(lane), TURN.IDLE);
  t.equal(place.counters[LANE_COUNTER.MESSAGES], 12_000);
});

t.test("the largest message fits", async (t) => {
  const place = new LanePlace(1024 * 1024);
  t.teardown(() => place.remove());
  const lane = place.lane();
  const device = "d".repeat(256);
  const names = Array.from({ length: 4096 }, (_, i) => `${"n".repeat(60)}${String(i).padStart(4, "0")}`);
  place.sendLive(device, `{"${"p".repeat(190)}":{${names.map((name) => `"${name}":1`).join(",")}}}`);
  t.equal(runLane(lane), TURN.IDLE);
  t.equal(takeRecords(place.toHistory).filter((line) => line.startsWith("row")).length, 4096);
  t.equal(place.counters[LANE_COUNTER.DECODE_FAILURES], 0);
});

/** A message that makes decoding throw: its parts reach beyond the memory they lie in. */
function poison(): Buffer {
  const bytes = messageBytes("d1", '{"t":1}', 1);
  bytes.writeUInt32LE(0x7fff_ffff, 12);
  return bytes;
}

t.test("a message that throws ends the lane, whose current frame is known", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const frames = [[messageBytes("d1", '{"t":1}', 1)], [messageBytes("d1", '{"t":2}', 1), poison(), messageBytes("d1", '{"t":3}', 1)], [messageBytes("d1", '{"t":4}', 1)]];
  const openJournal = (fromLsn: number): MemoryJournal => new MemoryJournal(frames, fromLsn);
  writePosition(place.positions, POSITION.JOURNAL_DURABLE, 4000);
  t.throws(() => runLane(place.lane({ openJournal })));
  t.equal(readPosition(place.positions, POSITION.LANE_CURRENT), 2000);
  t.equal(place.laneRead, 2000);
  takeRecords(place.toHistory);

  const careful = place.lane({ openJournal, quarantined: [2000] });
  t.equal(runLane(careful), TURN.IDLE);
  const records = takeRecords(place.toHistory);
  t.same(records.filter((line) => /^(row|MARKER)/.test(line)), ["row journal 0 = 1", "MARKER 2000", "row journal 0 = 2", "row journal 0 = 3", "MARKER 3000", "row journal 0 = 4", "MARKER 4000"]);
  t.match(records.filter((line) => line.startsWith("EVENT")), [/^EVENT journal d1quarantine/]);
  t.equal(place.counters[LANE_COUNTER.QUARANTINED], 1);

  const passing = place.lane({ openJournal, quarantined: [2000, 2000] });
  t.equal(runLane(passing), TURN.IDLE);
  t.same(takeRecords(place.toHistory).filter((line) => /^(row|MARKER)/.test(line)), ["row journal 0 = 1", "MARKER 2000", "MARKER 3000", "row journal 0 = 4", "MARKER 4000"]);
  t.equal(place.counters[LANE_COUNTER.QUARANTINED], 4);
});

t.test("a QoS 0 message that throws is put aside, and the next ones are taken", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.lane();
  place.sendLive("d1", '{"t":1}');
  const bytes = poison();
  const at = place.shard.reserve(bytes.length);
  place.shard.bytes.set(bytes, at);
  place.shard.commit(1, 0, bytes.length);
  place.sendLive("d1", '{"t":2}');
  t.equal(runLane(lane), TURN.IDLE);
  t.match(lane.last("d1", "t"), { value: 2, statistics: { count: 2 } });
  t.equal(place.counters[LANE_COUNTER.QUARANTINED], 1);
  t.match(place.log.texts("error"), ["a message was put aside"]);
});

t.test("a lane that sleeps is rung for what comes", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  const lane = place.lane();
  t.equal(runLane(lane), TURN.IDLE);
  t.equal(lane.arm(), true);
  const bytes = messageBytes("d1", '{"t":1}', 0);
  const at = place.shard.reserve(bytes.length);
  place.shard.bytes.set(bytes, at);
  place.shard.commit(1, 0, bytes.length);
  t.equal(place.shard.publish(), true, "the writer is asked to ring");
  t.equal(lane.arm(), false);
});

t.test("after a lane that hung, what waited is out of the ring before it is looked at; what comes later is taken as ever, however steadily it comes", async (t) => {
  const place = new LanePlace();
  t.teardown(() => place.remove());
  place.sendLive("d1", '{"t":1}');
  const size = place.shard.backlog();
  for (const value of [2, 3]) place.sendLive("d1", `{"t":${value}}`);
  const lane = place.lane({ isCareful: true });
  // How many messages the ring still has while one is looked at.
  const left: number[] = [];
  const { pipeline } = lane as unknown as { readonly pipeline: { take: (...given: unknown[]) => void } };
  const take = pipeline.take.bind(pipeline);
  pipeline.take = (...given) => {
    left.push(place.shard.backlog() / size);
    take(...given);
  };
  lane.turn();
  t.same(left.splice(0), [2, 1, 0]);
  for (const value of [4, 5]) {
    for (let i = 0; i < 2; i++) place.sendLive("d1", `{"t":${value}}`);
    lane.turn();
    t.same(left.splice(0), [2, 2]);
  }
  t.match(lane.last("d1", "t"), { value: 5, statistics: { count: 7 } });
});
