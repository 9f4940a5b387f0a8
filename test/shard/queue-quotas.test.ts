// Limits of what waits for sessions: count and bytes of one and of all, age; what publishers hear when something is full; how many sessions there may be.
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { TestGateway, type TestClient } from "./harness.js";
import { ack, onShards, publish, subscribe } from "./support.js";

const KEPT = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100_000 } };
const QUOTA = 0x97;

/** A session that is kept, subscribed and away. */
function leave(gateway: TestGateway, id: string, filter: string, qos: 1 | 2 = 2): void {
  const client = gateway.connect(id, KEPT);
  client.send(subscribe(filter, qos));
  client.cut();
}

/** QoS 1 PUBLISHes one by one. @returns their reason codes */
function publishEach(client: TestClient, topic: string, payloads: readonly string[]): (number | undefined)[] {
  return payloads.map((payload) => {
    client.send(publish(topic, payload, 1));
    return (client.drain("puback")[0] as { reasonCode?: number } | undefined)?.reasonCode;
  });
}

/** A new gateway on what the old one had on disk. */
function restart(gateway: TestGateway, shards: number, limits: Record<string, number>): TestGateway {
  gateway.stop();
  return new TestGateway({ shards, limits, disk: gateway.disk });
}

onShards("a full queue: its session's publishers hear 0x97 with a reason, all others get the message, and it is counted", (t, gateway, { a, b }) => {
  leave(gateway, b, "t/+");
  const reader = gateway.connect(`${a}r`);
  reader.send(subscribe("t/1", 1));
  const five = gateway.connect(a, { protocolVersion: 5 });
  t.same(publishEach(five, "t/1", ["0", "1", "2"]), [0, 0, 0]);
  five.send(publish("t/1", "3", 1));
  t.match(five.drain("puback"), [{ reasonCode: QUOTA, messageId: 1, properties: { reasonString: /queue is full/ } }]);
  const quiet = gateway.connect(`${a}q`, { protocolVersion: 5, properties: { requestProblemInformation: false } });
  quiet.send(publish("t/1", "4", 1));
  const told = quiet.drain("puback");
  t.match(told, [{ reasonCode: QUOTA }]);
  t.notOk((told[0] as { properties?: unknown }).properties, "no reason string for those who do not want one");
  const four = gateway.connect(`${a}4`);
  four.send(publish("t/1", "5", 1));
  t.equal(four.drain("puback").length, 1, "3.1.1 has no reason codes");
  t.same(publishEach(five, "elsewhere", ["x"]), [0], "other topics are not concerned");
  t.same(reader.payloads(), ["0", "1", "2", "3", "4", "5"]);
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_FULL), 3);
  t.equal(gateway.counted(SHARD_COUNTER.PUBLISHES_OVER_QUOTA), 2);
  t.equal(gateway.counted(SHARD_COUNTER.QUEUES_FULL), 1);
  t.equal(gateway.logged.filter((line) => /queue is full/.test(line)).length, 1, "said once in a while");
  const back = gateway.connect(b, KEPT);
  t.same(back.payloads(), ["0", "1", "2"]);
  t.equal(gateway.counted(SHARD_COUNTER.QUEUES_FULL), 0);
  t.same(publishEach(five, "t/1", ["6"]), [0], "there is room again");
  t.same(back.payloads(), ["6"]);
}, { limits: { queueCountMax: 3 } });

onShards("QoS 2 to a full queue: PUBREC 0x97 ends the flow; its repetition gets the same answer and reaches nobody again; the id serves another message", (t, gateway, { a, b }) => {
  leave(gateway, b, "t");
  const reader = gateway.connect(`${a}r`);
  reader.send(subscribe("t", 1));
  const publisher = gateway.connect(a, { ...KEPT, properties: { sessionExpiryInterval: 1000 } });
  publisher.send(publish("t", "0", 2));
  t.match(publisher.drain("pubrec"), [{ reasonCode: 0 }]);
  publisher.send(ack("pubrel", 1));
  publisher.send(publish("t", "1", 2, { messageId: 2 }));
  t.match(publisher.drain("pubrec"), [{ messageId: 2, reasonCode: QUOTA, properties: { reasonString: /queue is full/ } }]);
  publisher.send(publish("t", "1", 2, { messageId: 2, dup: true }));
  t.match(publisher.drain("pubrec"), [{ messageId: 2, reasonCode: QUOTA }]);
  publisher.cut();
  const again = gateway.connect(a, KEPT);
  again.send(publish("t", "1", 2, { messageId: 2, dup: true }));
  t.match(again.drain("pubrec"), [{ messageId: 2, reasonCode: QUOTA }], "also by another connection");
  t.same(reader.payloads(), ["0", "1"]);
  again.send(publish("t", "2", 2, { messageId: 2 }));
  t.match(again.drain("pubrec"), [{ messageId: 2, reasonCode: QUOTA }]);
  t.same(reader.payloads(), ["2"], "without DUP it is another message");
  t.same(gateway.connect(b, KEPT).payloads(), ["0"]);
}, { limits: { queueCountMax: 1 } });

onShards("of refused QoS 2 PUBLISHes as many are remembered as a client may have open, the newest, after a restart too", (t, gateway, { a, b }) => {
  const limits = { queueCountMax: 1, receiveMaximum: 4 };
  leave(gateway, b, "t");
  const publisher = gateway.connect(a, KEPT);
  for (let i = 0; i <= 20; i++) publisher.send(publish("t", String(i), 2, { messageId: i + 1 }));
  t.equal(publisher.drain("pubrec").filter((packet) => (packet as { reasonCode?: number }).reasonCode === QUOTA).length, 20);
  const known = (gateway: TestGateway): number[] => [...(gateway.shards[gateway.shardOf(a)]!.parts.sessions.get(a)!.refused ?? [])];
  t.same(known(gateway), [18, 19, 20, 21]);
  let next = restart(gateway, gateway.shards.length, limits);
  t.same(known(next), [18, 19, 20, 21]);
  next.checkpoint();
  next = restart(next, gateway.shards.length, limits);
  t.teardown(() => next.stop());
  t.same(known(next), [18, 19, 20, 21]);
}, { limits: { queueCountMax: 1, receiveMaximum: 4 } });

onShards("a group that found no room since all queues together were full has room again when others have read", (t, gateway, { a, b }) => {
  const member = gateway.connect(`${b}m`, KEPT);
  member.send(subscribe("$share/g/t", 1));
  member.cut();
  leave(gateway, a, "filler");
  const publisher = gateway.connect(`${a}p`, { protocolVersion: 5 });
  t.same(publishEach(publisher, "t", ["0"]), [0]);
  t.same(publishEach(publisher, "filler", ["1", "2", "3"]), [0, 0, 0]);
  publishEach(publisher, "t", ["4", "5"]);
  t.same(publishEach(publisher, "t", ["6"]), [QUOTA]);
  t.ok(gateway.counted(SHARD_COUNTER.DROPPED_SHARED_QUEUE_FULL) > 0);
  const reader = gateway.connect(a, KEPT);
  reader.send(ack("puback", 1), ack("puback", 2), ack("puback", 3));
  gateway.advance(1000);
  t.same(publishEach(publisher, "t", ["7"]), [0]);
}, { limits: { queuesCountMax: 4 } });

onShards("acknowledgements keep their order when one of them has to wait for its refusal to be on disk [MQTT-4.6.0-2] [MQTT-4.6.0-3]", (t, gateway, { a, b }) => {
  leave(gateway, b, "t");
  const publisher = gateway.connect(a, KEPT);
  publisher.send(publish("t", "0", 2, { messageId: 1 }));
  publisher.send(ack("pubrel", 1));
  publisher.received.length = 0;
  publisher.send(
    publish("t", "1", 2, { messageId: 11 }), publish("u", "2", 2, { messageId: 12 }), publish("u", "3", 1, { messageId: 13 }), publish("t", "4", 2, { messageId: 14 }), publish("u", "5", 2, { messageId: 15 }),
  );
  t.match(publisher.drain("pubrec"), [
    { messageId: 11, reasonCode: QUOTA }, { messageId: 12, reasonCode: 0 }, { messageId: 14, reasonCode: QUOTA }, { messageId: 15, reasonCode: 0 },
  ]);
  t.match(publisher.drain("puback"), [{ messageId: 13, reasonCode: 0 }]);
  // Nothing is left open of them: the whole receive maximum is there for others.
  for (let i = 0; i < 6; i++) publisher.send(publish("t", "x", 2, { messageId: 20 + i }));
  t.equal(publisher.drain("pubrec").length, 6);
  t.equal(publisher.closeReason, null);
}, { limits: { queueCountMax: 1, receiveMaximum: 5 } });

for (const shards of [1, 2, 4]) {
  onShards(`after a restart: what was dropped stays dropped, and a refused QoS 2 PUBLISH is known`, (t, gateway, { a, b }) => {
    leave(gateway, b, "t");
    const publisher = gateway.connect(a, KEPT);
    t.same(publishEach(publisher, "t", ["0", "1", "2"]), [0, 0, QUOTA]);
    publisher.send(publish("t", "3", 2, { messageId: 7 }));
    t.match(publisher.drain("pubrec"), [{ reasonCode: QUOTA }]);
    gateway.run();
    const limits = { queueCountMax: 2 };
    let next = restart(gateway, shards, limits);
    const reader = next.connect(`${b}r`);
    reader.send(subscribe("t", 1));
    const again = next.connect(a, KEPT);
    again.send(publish("t", "3", 2, { messageId: 7, dup: true }));
    t.match(again.drain("pubrec"), [{ reasonCode: QUOTA }]);
    t.same(reader.payloads(), [], "it is not delivered a second time");
    t.same(publishEach(again, "t", ["4"]), [QUOTA], "the queue is as full as before");
    // The same from snapshots.
    next.checkpoint();
    next = restart(next, shards, limits);
    t.teardown(() => next.stop());
    const last = next.connect(a, KEPT);
    last.send(publish("t", "3", 2, { messageId: 7, dup: true }));
    t.match(last.drain("pubrec"), [{ reasonCode: QUOTA }]);
    t.same(next.connect(b, KEPT).payloads(), ["0", "1"]);
  }, { limits: { queueCountMax: 2 } }, [shards]);
}

onShards("a session that was full when its shard died is known to the other shards as full when it is back", (t, gateway, { a, b }) => {
  leave(gateway, b, "t/#");
  const publisher = gateway.connect(a, { protocolVersion: 5 });
  t.same(publishEach(publisher, "t/1", ["0", "1", "2"]), [0, 0, QUOTA]);
  gateway.restart(gateway.shardOf(b));
  t.same(publishEach(publisher, "t/1", ["3"]), [QUOTA]);
  gateway.restart(gateway.shardOf(a));
  const next = gateway.connect(a, { protocolVersion: 5 });
  t.same(publishEach(next, "t/1", ["4"]), [QUOTA], "a shard that starts is told");
  const back = gateway.connect(b, KEPT);
  t.same(back.payloads(), ["0", "1"]);
  back.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["t/#"] } as never);
  t.same(publishEach(next, "t/1", ["5"]), [0]);
}, { limits: { queueCountMax: 2 } }, [2, 4]);

onShards("what a session that is full is subscribed to later is told as well, and what it is not any more is withdrawn", (t, gateway, { a, b }) => {
  const slow = gateway.connect(b, { ...KEPT, properties: { sessionExpiryInterval: 1000, receiveMaximum: 1 } });
  slow.send(subscribe("t", 1));
  const other = gateway.connect(`${b}o`);
  other.send(subscribe("#", 1));
  const publisher = gateway.connect(a, { protocolVersion: 5 });
  t.same(publishEach(publisher, "t", ["0", "1", "2", "3"]), [0, 0, 0, QUOTA]);
  t.same(publishEach(publisher, "u", ["4"]), [0]);
  slow.send(subscribe("u", 1));
  t.same(publishEach(publisher, "u", ["5"]), [QUOTA]);
  slow.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["t"] } as never);
  t.same(publishEach(publisher, "t", ["6"]), [0]);
}, { limits: { queueCountMax: 2 } });

onShards("a session that ends with its connection was promised nothing: no 0x97 when its queue is full", (t, gateway, { a, b }) => {
  const slow = gateway.connect(b, { protocolVersion: 5, properties: { receiveMaximum: 1 } });
  slow.send(subscribe("t", 1));
  const publisher = gateway.connect(a, { protocolVersion: 5 });
  t.same(publishEach(publisher, "t", ["0", "1", "2", "3", "4"]), [0, 0, 0, 0, 0]);
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_FULL), 2);
}, { limits: { queueCountMax: 2 } });

onShards("all queues together have a limit of count, wherever their sessions live", (t, gateway, { a, b }) => {
  for (const id of [a, b, `${a}2`, `${b}2`]) leave(gateway, id, `t/${id}`);
  const publisher = gateway.connect(`${a}p`, { protocolVersion: 5 });
  const three = ["0", "1", "2"];
  t.same(publishEach(publisher, `t/${a}`, three), [0, 0, 0]);
  t.same(publishEach(publisher, `t/${b}`, three), [0, 0, 0]);
  t.same(publishEach(publisher, `t/${a}2`, ["6", "7"]), [0, 0]);
  // The one place too many: of a session on another shard its publisher hears from the second message on.
  const codes = publishEach(publisher, `t/${b}2`, ["8", "9"]);
  t.equal(codes[1], QUOTA);
  t.equal(gateway.counted(SHARD_COUNTER.QUEUED), 8);
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUES_FULL), 2);
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_FULL), 0);
  const back = gateway.connect(a, KEPT);
  t.same(back.payloads(), three);
  back.send(ack("puback", 1));
  gateway.advance(1000);
  gateway.advance(1000);
  t.same(publishEach(publisher, `t/${b}2`, ["10"]), [0], "there is room again for everybody");
  t.equal(gateway.counted(SHARD_COUNTER.QUEUES_FULL), 0);
}, { limits: { queuesCountMax: 8 } });

onShards("all queues together have a limit of bytes, and a restart counts what there is", (t, gateway, { a, b }) => {
  leave(gateway, a, "t");
  leave(gateway, b, "t");
  const publisher = gateway.connect(`${a}p`, { protocolVersion: 5 });
  const payload = "x".repeat(10_000);
  const codes = publishEach(publisher, "t", Array.from({ length: 12 }, () => payload));
  t.equal(codes[0], 0);
  t.equal(codes[11], QUOTA);
  const bytes = gateway.counted(SHARD_COUNTER.QUEUED_BYTES);
  t.ok(bytes <= 100_000 && bytes > 80_000, `${String(bytes)} bytes`);
  const count = gateway.counted(SHARD_COUNTER.QUEUED);
  for (let shard = 0; shard < gateway.shards.length; shard++) gateway.restart(shard);
  t.equal(gateway.counted(SHARD_COUNTER.QUEUED), count);
  const again = gateway.connect(`${a}p`, { protocolVersion: 5 });
  publishEach(again, "t", [payload]);
  t.equal(gateway.counted(SHARD_COUNTER.QUEUED), count);
}, { limits: { queuesBytesMax: 100_000 } });

onShards("messages that wait longer than queue_age_max are dropped oldest first, a bounded number a turn, and a replay knows it", (t, gateway, { a, b }) => {
  leave(gateway, b, "t");
  const publisher = gateway.connect(a, { protocolVersion: 5 });
  for (let i = 0; i < 3000; i += 500) {
    for (let j = 0; j < 500; j++) gateway.put(publisher, publish("t", String(i + j), 1));
    gateway.run();
  }
  gateway.advance(60_000);
  publisher.send(publish("t", "young", 1));
  t.equal(gateway.counted(SHARD_COUNTER.QUEUED), 3001);
  gateway.advance(41_000);
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_AGE), 3000);
  t.equal(gateway.counted(SHARD_COUNTER.QUEUED), 1);
  const acked = gateway.journal.filter(({ kind, shard }) => kind === ENTRY.ACKED && shard === gateway.shardOf(b));
  t.ok(acked.length >= 3, `${String(acked.length)} turns`);
  const next = restart(gateway, gateway.shards.length, { queueAgeMaxSeconds: 100 });
  t.teardown(() => next.stop());
  t.same(next.connect(b, KEPT).payloads(), ["young"]);
}, { limits: { queueAgeMaxSeconds: 100 } });

onShards("the age goes on over restarts by the gateway's running time, from snapshots too, and a wall clock that jumps changes nothing", (t, gateway, { a, b }) => {
  leave(gateway, b, "t");
  const publisher = gateway.connect(a, { protocolVersion: 5 });
  publishEach(publisher, "t", ["old"]);
  gateway.advance(61_000);
  gateway.checkpoint();
  gateway.advance(61_000);
  let next = restart(gateway, gateway.shards.length, { queueAgeMaxSeconds: 250 });
  next.clock.wallOffset = 10 * 365 * 86_400_000;
  next.advance(20_000);
  t.equal(next.counted(SHARD_COUNTER.DROPPED_QUEUE_AGE), 0);
  publishEach(next.connect(a, { protocolVersion: 5 }), "t", ["new"]);
  next.advance(61_000);
  next.checkpoint();
  t.equal(next.counted(SHARD_COUNTER.DROPPED_QUEUE_AGE), 0);
  next = restart(next, gateway.shards.length, { queueAgeMaxSeconds: 250 });
  t.teardown(() => next.stop());
  next.advance(20_000);
  t.equal(next.counted(SHARD_COUNTER.DROPPED_QUEUE_AGE), 0);
  next.advance(40_000);
  t.equal(next.counted(SHARD_COUNTER.DROPPED_QUEUE_AGE), 1);
  t.same(next.connect(b, KEPT).payloads(), ["new"]);
}, { limits: { queueAgeMaxSeconds: 250 } });

onShards("a message that is too old is not sent, even when its client comes back just then", (t, gateway, { a, b }) => {
  leave(gateway, b, "t");
  publishEach(gateway.connect(a, { protocolVersion: 5 }), "t", ["old"]);
  gateway.clock.now += 100_000;
  t.same(gateway.connect(b, KEPT).payloads(), []);
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_AGE), 1);
}, { limits: { queueAgeMaxSeconds: 100 } });

onShards("sessions_max counts all shards; those who have a session come back", (t, gateway, { a, b }) => {
  leave(gateway, a, "t");
  leave(gateway, b, "t");
  const third = gateway.connect(`${a}3`, { protocolVersion: 5 });
  t.match(third.drain("connack"), [{ reasonCode: 0 }]);
  t.match(gateway.connect(`${b}4`, { protocolVersion: 5 }).drain("connack"), [{ reasonCode: QUOTA }]);
  t.match(gateway.connect(`${b}4`).drain("connack"), [{ returnCode: 3 }]);
  t.equal(gateway.counted(SHARD_COUNTER.REFUSED_SESSIONS), 2);
  t.match(gateway.connect(b, KEPT).drain("connack"), [{ reasonCode: 0 }]);
  third.cut();
  t.match(gateway.connect(`${b}4`, { protocolVersion: 5 }).drain("connack"), [{ reasonCode: 0 }]);
}, { limits: { sessionsMax: 3 } });
