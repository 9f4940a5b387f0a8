// The shard's behaviour towards its clients, on 1, 2 and 4 shards in one thread (harness.ts).
import t from "tap";
import { MESSAGE_FLAG, MESSAGE_FLAGS_AT } from "../../src/base/message-record.js";
import type { Packet } from "mqtt-packet";
import { SHARD_COUNTER, STORE_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { CLOSE_REASON } from "../../src/ring/layout.js";
import { clientIdOn, type TestClient, TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

onShards("a subscriber gets what is published after its SUBACK", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  t.match(subscriber.drain("connack"), [{ returnCode: 0, sessionPresent: false }]);
  subscriber.send(subscribe("devices/+/telemetry"));
  t.match(subscriber.drain("suback"), [{ messageId: 9, granted: [0] }]);
  const publisher = gateway.connect(b);
  publisher.send(publish("devices/d1/telemetry", "one"), publish("other", "no"), publish("devices/d2/telemetry", "two"));
  t.same(subscriber.payloads(), ["one", "two"]);
});

onShards("versions mix: 3.1.1 and 5 receive what the other published", (t, gateway, { a, b }) => {
  const four = gateway.connect(a);
  const five = gateway.connect(`${b}-five`, { protocolVersion: 5 });
  four.send(subscribe("x/#"));
  five.send(subscribe("x/#"));
  gateway.connect(b).send(publish("x/1", "from four"));
  gateway.connect(`${a}-p5`, { protocolVersion: 5 }).send(publish("x/2", "from five", 0, { properties: { contentType: "text/plain", userProperties: { k: "v" } } }));
  t.same(four.payloads(), ["from four", "from five"]);
  t.match(five.drain("publish"), [{ topic: "x/1" }, { topic: "x/2", properties: { contentType: "text/plain", userProperties: { k: "v" } } }]);
});

onShards("PUBACK leaves only when the entry is durable, and in the order of the PUBLISHes [MQTT-4.6.0-2]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 1));
  gateway.isStoreFast = false;
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "1", 1, { messageId: 7 }), publish("t", "2", 1, { messageId: 3 }));
  t.same(publisher.drain("puback"), [], "nothing is acknowledged before the commit");
  t.same(subscriber.payloads(), ["1", "2"], "QoS 1 is delivered at once");
  gateway.commit();
  t.match(publisher.drain("puback"), [{ messageId: 7 }, { messageId: 3 }]);
  t.equal(gateway.journal.filter((entry) => entry.kind === ENTRY.PUBLISH).length, 2);
});

onShards("QoS 2 is neither delivered nor PUBRECed before it is durable, and a repeated PUBLISH is not delivered again", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b, { clean: false });
  gateway.isStoreFast = false;
  publisher.send(publish("t", "once", 2, { messageId: 5 }));
  t.same(subscriber.payloads(), []);
  t.same(publisher.drain("pubrec"), []);
  gateway.commit();
  t.match(publisher.drain("pubrec"), [{ messageId: 5 }]);
  publisher.send(publish("t", "once", 2, { messageId: 5, dup: true }));
  gateway.commit();
  t.match(publisher.drain("pubrec"), [{ messageId: 5 }], "it is acknowledged again");
  const [delivered, ...others] = subscriber.drain("publish");
  t.match(delivered, { payload: Buffer.from("once"), qos: 2 });
  t.same(others, []);
  publisher.send({ cmd: "pubrel", messageId: 5 });
  t.same(publisher.drain("pubcomp"), [], "PUBCOMP waits for the durable release");
  gateway.commit();
  t.match(publisher.drain("pubcomp"), [{ messageId: 5 }]);
  publisher.send(publish("t", "next", 2, { messageId: 5 }));
  gateway.commit();
  const messageId = (delivered as { messageId: number }).messageId;
  subscriber.send({ cmd: "pubrec", messageId });
  t.match(subscriber.drain("pubrel"), [{ messageId }]);
  subscriber.send({ cmd: "pubcomp", messageId });
  t.same(subscriber.payloads(), ["next"], "the packet id is free again");
});

onShards("a session that outlives its connection gets what was published meanwhile, in order", (t, gateway, { a, b }) => {
  const first = gateway.connect(a, { clean: false });
  first.send(subscribe("t/#", 1));
  first.cut();
  const publisher = gateway.connect(b);
  for (let i = 0; i < 50; i++) publisher.send(publish(`t/${i % 3}`, String(i), 1, { messageId: i + 1 }));
  publisher.send(publish("t/0", "qos 0 is not kept"));
  const second = gateway.connect(a, { clean: false });
  t.match(second.drain("connack"), [{ sessionPresent: true }]);
  t.same(second.payloads(), Array.from({ length: 50 }, (_, i) => String(i)));
});

onShards("what was not acknowledged is sent again with DUP, in the order of sending [MQTT-4.4.0-1]", (t, gateway, { a, b }) => {
  const first = gateway.connect(a, { clean: false });
  first.send(subscribe("t", 1));
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "1", 1), publish("t", "2", 1), publish("t", "3", 1));
  const sent = first.drain("publish") as { messageId: number }[];
  first.send({ cmd: "puback", messageId: sent[1]!.messageId });
  first.cut();
  const second = gateway.connect(a, { clean: false });
  t.match(second.drain("publish"), [
    { payload: Buffer.from("1"), dup: true, messageId: sent[0]!.messageId },
    { payload: Buffer.from("3"), dup: true, messageId: sent[2]!.messageId },
  ]);
});

onShards("retained messages reach new subscribers, with the retain flag, and an empty payload removes them", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  publisher.send(publish("r/1", "one", 0, { retain: true }), publish("r/2", "two", 1, { retain: true }), publish("r/1", "one more", 1, { retain: true, messageId: 2 }));
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("r/+", 1));
  const got = subscriber.drain("publish") as { topic: string; payload: Buffer; retain: boolean; messageId: number }[];
  t.same(got.map((packet) => [packet.topic, packet.payload.toString(), packet.retain]).sort(), [["r/1", "one more", true], ["r/2", "two", true]]);
  publisher.send(publish("r/1", "", 0, { retain: true }));
  t.same(subscriber.payloads(), [""], "the removal is a message too, without the retain flag");
  const late = gateway.connect(`${a}-late`);
  late.send(subscribe("r/#"));
  t.same(late.payloads(), ["two"]);
});

onShards("a second connection with the same client id takes the session over", (t, gateway, { a }) => {
  const first = gateway.connect(a, { protocolVersion: 5 });
  const second = gateway.connect(a, { protocolVersion: 5 });
  t.match(first.drain("disconnect"), [{ reasonCode: 0x8e }]);
  t.equal(first.closeReason, CLOSE_REASON.TAKEN_OVER);
  t.match(second.drain("connack"), [{ reasonCode: 0 }]);
});

onShards("the will is sent when the connection breaks, not after DISCONNECT", (t, gateway, { a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("will/#", 1));
  const will = { topic: "will/x", payload: Buffer.from("gone"), qos: 1, retain: false };
  gateway.connect(b, { will }).cut();
  t.same(watcher.payloads(), ["gone"]);
  gateway.connect(b, { will }).send({ cmd: "disconnect" });
  t.same(watcher.payloads(), []);
});

onShards("a delayed will is void when its client returns in time, and sent when it does not", (t, gateway, { a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("will/#"));
  const connect = {
    protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100 },
    will: { topic: "will/x", payload: Buffer.from("gone"), qos: 0, retain: false, properties: { willDelayInterval: 10 } },
  };
  gateway.connect(b, connect).cut();
  gateway.advance(5_000);
  const back = gateway.connect(b, connect);
  gateway.advance(20_000);
  t.same(watcher.payloads(), []);
  back.cut();
  gateway.advance(11_000);
  t.same(watcher.payloads(), ["gone"]);
});

onShards("a receiver that does not read is left out (QoS 0) or served from its session later (QoS 1)", (t, gateway, { a, b }) => {
  const slow = gateway.connect(a, { clean: false });
  slow.send(subscribe("q1", 1), subscribe("q0", 0));
  slow.press(true);
  const publisher = gateway.connect(b);
  publisher.send(publish("q1", "kept", 1));
  t.same(slow.payloads(), []);
  slow.press(false);
  t.same(slow.payloads(), ["kept"]);
});

onShards("more than the client's receive maximum waits until it acknowledges", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { protocolVersion: 5, properties: { receiveMaximum: 2 } });
  subscriber.send(subscribe("t", 1));
  const publisher = gateway.connect(b);
  for (let i = 1; i <= 5; i++) publisher.send(publish("t", String(i), 1, { messageId: i }));
  const first = subscriber.drain("publish") as unknown as { payload: Buffer; messageId: number }[];
  t.same(first.map((packet) => packet.payload.toString()), ["1", "2"]);
  subscriber.send({ cmd: "puback", messageId: first[1]!.messageId, reasonCode: 0 });
  t.same(subscriber.payloads(), ["3"]);
  subscriber.send({ cmd: "puback", messageId: first[0]!.messageId, reasonCode: 0 });
  t.same(subscriber.payloads(), ["4"]);
});

onShards("a full store ring stops the reading and loses nothing", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 0));
  const publisher = gateway.connect(b);
  const payload = "x".repeat(1000);
  for (let i = 0; i < 900; i++) {
    publisher.send(publish("t", `${i} ${payload}`, 1, { messageId: i + 1 }));
  }
  t.equal(subscriber.payloads().length, 900);
  t.equal(publisher.drain("puback").length, 900);
}, { ringCapacity: 512 * 1024 });

onShards("topic aliases stand for their topic, and an unknown one is a protocol error [MQTT-3.2.2-17]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("long/topic"));
  const publisher = gateway.connect(b, { protocolVersion: 5 });
  publisher.send(publish("long/topic", "1", 0, { properties: { topicAlias: 3 } }), publish("", "2", 1, { properties: { topicAlias: 3 } }));
  t.same(subscriber.payloads(), ["1", "2"]);
  publisher.send(publish("", "3", 0, { properties: { topicAlias: 4 } }));
  t.match(publisher.drain("disconnect"), [{ reasonCode: 0x82 }]);
  t.equal(publisher.closeReason, CLOSE_REASON.PROTOCOL_ERROR);
});

onShards("No Local, Retain As Published and subscription identifiers are respected", (t, gateway, { a, b }) => {
  const client = gateway.connect(a, { protocolVersion: 5 });
  client.send({ cmd: "subscribe", messageId: 1, properties: { subscriptionIdentifier: 42 }, subscriptions: [{ topic: "n", qos: 1, nl: true, rap: true, rh: 0 }] } as unknown as Packet);
  client.send(publish("n", "own", 0));
  t.same(client.payloads(), []);
  gateway.connect(b).send(publish("n", "other", 0, { retain: true }));
  t.match(client.drain("publish"), [{ retain: true, properties: { subscriptionIdentifier: 42 } }]);
});

onShards("anonymous clients are let in from loopback only", (t, gateway, { a }) => {
  const refused = (version: 4 | 5, id: string): TestClient => {
    const client = gateway.open(0, version, { isLoopback: false, peer: "192.0.2.1" });
    client.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: version, clean: true, keepalive: 0, clientId: id });
    return client;
  };
  t.match(refused(4, a).drain("connack"), [{ returnCode: 5 }]);
  t.match(refused(5, a).drain("connack"), [{ reasonCode: 0x87 }]);
  t.equal(gateway.counters[0]![SHARD_COUNTER.REFUSED_NOT_AUTHORISED], 2);
});

onShards("topics with too many levels are refused in PUBLISH, SUBSCRIBE and will", (t, gateway, { a, b }) => {
  const deep = "x/".repeat(40);
  const client = gateway.connect(a, { protocolVersion: 5 });
  client.send(subscribe(deep));
  t.match(client.drain("suback"), [{ granted: [0x8f] }]);
  client.send(publish(deep, "x"));
  t.match(client.drain("disconnect"), [{ reasonCode: 0x90 }]);
  const will = { topic: deep, payload: Buffer.from("x"), qos: 0, retain: true };
  t.match(gateway.connect(b, { protocolVersion: 5, will }).drain("connack"), [{ reasonCode: 0x90 }]);
});

onShards("while the journal cannot be written, MQTT 5 is told and 3.1.1 is closed; QoS 0 goes on [MQTT3-4.8.0-2]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t"));
  const four = gateway.connect(`${b}-four`);
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 1;
  const five = gateway.connect(b, { protocolVersion: 5 });
  five.send(publish("t", "refused", 1), publish("t", "goes on"));
  t.match(five.drain("puback"), [{ reasonCode: 0x97 }]);
  four.send(publish("t", "refused", 1));
  t.equal(four.closeReason, CLOSE_REASON.PROTOCOL_ERROR);
  t.match(gateway.connect(`${b}-four`).drain("connack"), [{ returnCode: 3 }], "and not let in again before it can be written");
  t.same(subscriber.payloads(), ["goes on"]);
});

onShards("a refused PUBLISH is not answered before those that were taken earlier [MQTT-4.6.0-2]", (t, gateway, { b }) => {
  const client = gateway.connect(b, { protocolVersion: 5 });
  gateway.isStoreFast = false;
  client.send(publish("t", "taken", 1, { messageId: 1 }));
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 1;
  client.send(publish("t", "refused", 1, { messageId: 2 }), publish("t", "refused", 2, { messageId: 3 }));
  t.same([client.drain("puback"), client.drain("pubrec")], [[], []]);
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 0;
  gateway.commit();
  t.match(client.drain("puback"), [{ messageId: 1, reasonCode: 0 }, { messageId: 2, reasonCode: 0x97 }]);
  t.match(client.drain("pubrec"), [{ messageId: 3, reasonCode: 0x97 }]);
  client.send(publish("t", "later", 2, { messageId: 3 }));
  gateway.commit();
  t.match(client.drain("pubrec"), [{ messageId: 3, reasonCode: 0 }], "the packet id is free again");
});

onShards("UNSUBSCRIBE ends the deliveries; an unknown filter is said so in MQTT 5", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { protocolVersion: 5 });
  subscriber.send(subscribe("t"));
  subscriber.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["t", "never"] } as unknown as Packet);
  t.match(subscriber.drain("unsuback"), [{ messageId: 4, granted: [0, 0x11] }]);
  gateway.connect(b).send(publish("t", "x"));
  t.same(subscriber.payloads(), []);
});

onShards("malformed packets close their connection only", (t, gateway, { a, b }) => {
  const healthy = gateway.connect(a);
  healthy.send(subscribe("t"));
  for (const bytes of ["3603000174", "30060003612f23ff", "c001ff", "f000", "32050001740000"]) {
    const bad = gateway.connect(b);
    bad.sendBytes(Buffer.from(bytes, "hex"));
    t.equal(bad.closeReason, CLOSE_REASON.PROTOCOL_ERROR, bytes);
  }
  gateway.connect(b).send(publish("t", "still here"));
  t.same(healthy.payloads(), ["still here"]);
});

void t.test("telemetry goes to its lane: QoS 0 by ring, QoS 1 by the journal with the lane flag", (t) => {
  const gateway = new TestGateway();
  t.teardown(() => gateway.stop());
  const client = gateway.connect("c");
  client.send(publish("devices/d1/telemetry", "{}"), publish("devices/d1/status", "{}"), publish("devices/d1/telemetry", "{}", 1));
  const lane = gateway.lanes[0]!;
  let count = 0;
  while (lane.next()) count++;
  t.equal(count, 1);
  t.equal(gateway.journal[0]!.bytes[MESSAGE_FLAGS_AT]! & MESSAGE_FLAG.LANE, MESSAGE_FLAG.LANE);
  t.end();
});

void t.test("a shard that restarts learns interests and retained messages from the others", (t) => {
  const gateway = new TestGateway({ shards: 2 });
  t.teardown(() => gateway.stop());
  const a = clientIdOn(0, 2, "a");
  const b = clientIdOn(1, 2, "b");
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t"));
  subscriber.send(publish("r", "kept", 0, { retain: true }));
  gateway.restart(1);
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "after the restart"));
  t.same(subscriber.payloads(), ["after the restart"]);
  publisher.send(subscribe("r"));
  t.same(publisher.payloads(), ["kept"]);
  publisher.send(subscribe("u"));
  subscriber.send(publish("u", "both ways"));
  t.same(publisher.payloads(), ["both ways"]);
  t.end();
});
