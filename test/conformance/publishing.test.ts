// What becomes of a PUBLISH on its way: properties, expiry, aliases, payload format, retain, order. [MQTT-…] is MQTT 5.0, [MQTT3-…] MQTT 3.1.1.
import type { Packet } from "mqtt-packet";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import type { TestClient, TestGateway } from "../shard/harness.js";
import { ack, onShards, publish, subscribe } from "../shard/support.js";
import { repliesText } from "./replies.js";

interface Seen {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly messageId: number;
  readonly properties?: Readonly<Record<string, unknown>>;
}

const FIVE = { protocolVersion: 5 };

function publishesOf(client: TestClient): Seen[] {
  return client.drain("publish") as unknown as Seen[];
}

function resultOf(client: TestClient): string {
  return repliesText(client.received, client.closeReason !== null);
}

/** Counts a counter over all shards. */
function total(gateway: TestGateway, counter: number): number {
  return gateway.counters.reduce((sum, counters) => sum + counters[counter]!, 0);
}

onShards("properties reach subscribers unaltered, user properties in their order, at every QoS [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17] [MQTT-3.3.2-18] [MQTT-3.3.2-20]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, FIVE);
  subscriber.send(subscribe("t", 2));
  const bytes: Buffer[] = [];
  const take = subscriber.take.bind(subscriber);
  subscriber.take = (some) => {
    bytes.push(Buffer.from(some));
    take(some);
  };
  const properties = {
    payloadFormatIndicator: true, contentType: "text/plain", responseTopic: "answer/here", correlationData: Buffer.from([0, 1, 255]), userProperties: { k: ["2", "1"], a: "" },
  };
  const publisher = gateway.connect(b, FIVE);
  for (const qos of [0, 1, 2] as const) {
    publisher.send(publish("t", "x", qos, { properties, messageId: 7 }), { cmd: "pubrel", messageId: 7 });
    const [seen] = publishesOf(subscriber);
    t.match(seen, { qos, properties: { payloadFormatIndicator: true, contentType: "text/plain", responseTopic: "answer/here", correlationData: Buffer.from([0, 1, 255]) } });
    t.match({ ...(seen!.properties!["userProperties"] as object) }, { k: ["2", "1"], a: "" });
    const raw = Buffer.concat(bytes).toString("latin1");
    t.ok(raw.indexOf("k\0\u00012") < raw.indexOf("k\0\u00011"), "in their order on the wire");
    bytes.length = 0;
  }
});

onShards("a message's expiry is passed on less the time that it has waited, and an expired one is not delivered [MQTT-3.3.2-5] [MQTT-3.3.2-6]", (t, gateway, { a, b }) => {
  const connect = { ...FIVE, clean: false, properties: { sessionExpiryInterval: 1000 } };
  const first = gateway.connect(a, connect);
  first.send(subscribe("t", 1));
  first.cut();
  gateway.connect(b, FIVE).send(publish("t", "short", 1, { properties: { messageExpiryInterval: 10 } }), publish("t", "long", 1, { messageId: 2, properties: { messageExpiryInterval: 60 } }), publish("t", "for ever", 1, { messageId: 3 }));
  gateway.advance(20_000);
  const seen = publishesOf(gateway.connect(a, connect));
  t.same(seen.map(({ payload, properties }) => [payload.toString(), properties?.["messageExpiryInterval"]]), [["long", 40], ["for ever", undefined]]);
  t.equal(total(gateway, SHARD_COUNTER.DROPPED_EXPIRED), 1);
});

onShards("a live QoS 2 message that waited for the disk has less left, or is dropped and acknowledged all the same [MQTT-3.3.2-5] [MQTT-3.3.2-6] [MQTT-4.3.3-13]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, FIVE);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b, FIVE);
  gateway.isStoreFast = false;
  publisher.send(publish("t", "short", 2, { messageId: 1, properties: { messageExpiryInterval: 10 } }), publish("t", "long", 2, { messageId: 2, properties: { messageExpiryInterval: 60 } }));
  gateway.advance(20_000);
  gateway.commit();
  t.same(publishesOf(subscriber).map(({ payload, properties }) => [payload.toString(), properties?.["messageExpiryInterval"]]), [["long", 40]]);
  publisher.send({ cmd: "pubrel", messageId: 1 });
  gateway.commit();
  t.match(resultOf(publisher), /PUBREC 1; PUBREC 2; PUBCOMP 1$/);
});

onShards("a message that was sent once is sent again although its expiry has passed [MQTT-4.3.3-7]", (t, gateway, { a, b }) => {
  const connect = { ...FIVE, clean: false, properties: { sessionExpiryInterval: 1000 } };
  const first = gateway.connect(a, connect);
  first.send(subscribe("t", 2));
  gateway.connect(b, FIVE).send(publish("t", "sent", 2, { properties: { messageExpiryInterval: 10 } }));
  t.same(first.payloads(), ["sent"]);
  first.cut();
  gateway.advance(20_000);
  t.match(publishesOf(gateway.connect(a, connect)), [{ payload: Buffer.from("sent"), dup: true }]);
});

onShards("a retained message's expiry is counted, and it is gone when that has passed [MQTT-3.3.2-5] [MQTT-3.3.2-6]", (t, gateway, { a, b }) => {
  gateway.connect(b, FIVE).send(publish("r", "kept", 1, { retain: true, properties: { messageExpiryInterval: 60 } }));
  gateway.advance(20_000);
  const early = gateway.connect(a, FIVE);
  early.send(subscribe("r"));
  t.match(publishesOf(early), [{ properties: { messageExpiryInterval: 40 } }]);
  gateway.advance(41_000);
  const late = gateway.connect(`${a}-late`, FIVE);
  late.send(subscribe("r"));
  t.same(publishesOf(late), []);
});

onShards("topic aliases go to receivers that offer some, for the topics used most recently, never above their maximum [MQTT-3.1.2-26] [MQTT-3.3.2-11] [MQTT-3.3.2-10]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { ...FIVE, properties: { topicAliasMaximum: 2 } });
  subscriber.send(subscribe("long/#", 1));
  const publisher = gateway.connect(b);
  const topics = ["long/1", "long/1", "long/2", "long/1", "long/3", "long/1", "long/2", "long/3"];
  topics.forEach((topic, i) => publisher.send(publish(topic, topic, 1, { messageId: i + 1 })));
  const seen = publishesOf(subscriber);
  t.same(seen.map(({ topic, properties }) => [topic, properties?.["topicAlias"]]), [["long/1", 1], ["", 1], ["long/2", 2], ["", 1], ["long/3", 2], ["", 1], ["long/2", 2], ["long/3", 1]]);
  const known = new Map<unknown, string>();
  for (const { topic, payload, properties } of seen) {
    if (topic !== "") known.set(properties?.["topicAlias"], topic);
    t.equal(known.get(properties?.["topicAlias"]), payload.toString(), "the alias stands for its topic");
  }
});

onShards("a receiver that offers no topic aliases gets none [MQTT-3.1.2-27]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, FIVE);
  subscriber.send(subscribe("long/#", 1));
  const publisher = gateway.connect(b);
  for (let i = 1; i < 4; i++) publisher.send(publish("long/topic", "x", 1, { messageId: i }));
  for (const { topic, properties } of publishesOf(subscriber)) t.same([topic, properties?.["topicAlias"]], ["long/topic", undefined]);
});

onShards("aliases end with their connection, and a message is not lost for the bytes of its alias [MQTT-3.3.2-7]", (t, gateway, { a, b }) => {
  const connect = { ...FIVE, clean: false, properties: { sessionExpiryInterval: 100, topicAliasMaximum: 5, maximumPacketSize: 60 } };
  const first = gateway.connect(a, connect);
  first.send(subscribe("long/#", 1));
  const publisher = gateway.connect(b);
  publisher.send(publish("long/topic", "1", 1));
  t.match(publishesOf(first), [{ topic: "long/topic", properties: { topicAlias: 1 } }]);
  first.send(ack("puback", 1));
  first.cut();
  const second = gateway.connect(a, connect);
  publisher.send(publish("long/topic", "2", 1, { messageId: 2 }));
  t.match(publishesOf(second), [{ topic: "long/topic", properties: { topicAlias: 1 } }]);
  // 60 bytes without an alias.
  publisher.send(publish("long/other", "x".repeat(43), 1, { messageId: 3 }));
  t.match(publishesOf(second), [{ topic: "long/other", payload: Buffer.from("x".repeat(43)) }]);
});

onShards("a receiver's aliases survive a full window: what was not sent made nothing known [MQTT-3.3.4-9] [MQTT-4.9.0-1] [MQTT-4.9.0-2]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { ...FIVE, properties: { topicAliasMaximum: 5, receiveMaximum: 1 } });
  subscriber.send(subscribe("long/#", 1));
  const publisher = gateway.connect(b);
  publisher.send(publish("long/1", "1", 1), publish("long/2", "2", 1, { messageId: 2 }), publish("long/2", "3", 1, { messageId: 3 }));
  const topics: string[] = [];
  for (let i = 0; i < 3; i++) {
    const [seen, ...more] = publishesOf(subscriber);
    t.same(more, [], "one at a time");
    topics.push(`${seen!.topic} ${seen!.payload.toString()}`);
    subscriber.send(ack("puback", seen!.messageId));
  }
  t.same(topics, ["long/1 1", "long/2 2", " 3"]);
});

onShards("the quota counts PUBLISHes alone: everything else is answered while it is used up [MQTT-3.3.4-10] [MQTT-4.9.0-3]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { ...FIVE, properties: { receiveMaximum: 1 } });
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "1", 2), { cmd: "pubrel", messageId: 1 });
  publisher.send(publish("t", "2", 1, { messageId: 2 }), publish("t", "QoS 0 is not counted", 0));
  subscriber.received.splice(0, 2);
  t.equal(resultOf(subscriber), "PUBLISH t 1 q2; PUBLISH t QoS 0 is not counted q0");
  subscriber.received.length = 0;
  subscriber.send({ cmd: "pingreq" }, publish("u", "own", 1), ack("pubrec", 1));
  t.equal(resultOf(subscriber).split("; ").sort().join("; "), "PINGRESP; PUBACK 1; PUBREL 1", "PUBREC does not free the place");
  subscriber.received.length = 0;
  subscriber.send(ack("pubcomp", 1));
  t.equal(resultOf(subscriber), "PUBLISH t 2 q1");
});

onShards("PUBREC and PUBACK with an error end their flow: the id is free, nothing is sent again [MQTT-4.4.0-2] [MQTT-4.3.3-4] [MQTT-4.3.3-1]", (t, gateway, { a, b }) => {
  const connect = { ...FIVE, clean: false, properties: { sessionExpiryInterval: 100, receiveMaximum: 1 } };
  const subscriber = gateway.connect(a, connect);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "1", 2), { cmd: "pubrel", messageId: 1 });
  publisher.send(publish("t", "2", 1, { messageId: 2 }), publish("t", "3", 1, { messageId: 3 }));
  const [first] = publishesOf(subscriber);
  subscriber.received.length = 0;
  subscriber.send({ cmd: "pubrec", messageId: first!.messageId, reasonCode: 0x87 } as Packet);
  t.equal(resultOf(subscriber), "PUBLISH t 2 q1", "no PUBREL, and room for the next");
  const [second] = publishesOf(subscriber);
  subscriber.send({ cmd: "puback", messageId: second!.messageId, reasonCode: 0x80 } as Packet);
  t.same(subscriber.payloads(), ["3"]);
  subscriber.cut();
  t.same(publishesOf(gateway.connect(a, connect)).map(({ payload }) => payload.toString()), ["3"]);
});

onShards("a client that sends more QoS 1 and 2 PUBLISHes than the receive maximum allows is closed [MQTT-3.3.4-7]", (t, gateway, { a }) => {
  gateway.isStoreFast = false;
  const client = gateway.connect(a, FIVE);
  client.received.length = 0;
  client.send(publish("t", "1", 1, { messageId: 1 }), publish("t", "2", 2, { messageId: 2 }), publish("t", "3", 1, { messageId: 3 }));
  t.equal(resultOf(client), "DISCONNECT 0x93; closed");
}, { limits: { receiveMaximum: 2 } });

onShards("a payload that is said to be UTF-8 is checked when asked for: 0x99 by acknowledgement, or DISCONNECT for QoS 0 (§3.3.2.3.2)", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b, FIVE);
  publisher.received.length = 0;
  const text = { payloadFormatIndicator: true };
  const bad = { payload: Buffer.from([0xc3, 0x28]), properties: text };
  publisher.send(
    publish("t", "", 1, { ...bad, messageId: 1 }), publish("t", "", 2, { ...bad, messageId: 2 }), publish("t", "", 1, { ...bad, messageId: 3, properties: {} }), publish("t", "größer\0", 1, { messageId: 4, properties: text }),
    publish("t", "", 1, { ...bad, messageId: 5 }),
  );
  t.equal(resultOf(publisher), "PUBACK 1 0x99; PUBREC 2 0x99; PUBACK 3; PUBACK 4; PUBACK 5 0x99");
  publisher.received.length = 0;
  publisher.send(publish("t", "", 0, bad));
  t.equal(resultOf(publisher), "DISCONNECT 0x99; closed");
  t.same(publishesOf(subscriber).map(({ payload }) => payload.toString("latin1")), ["\u00c3(", Buffer.from("größer\0").toString("latin1")]);
  t.equal(total(gateway, SHARD_COUNTER.REFUSED_PAYLOAD_FORMAT), 4);
  const will = { topic: "w", payload: Buffer.from([0xff]), qos: 0, retain: false, properties: text };
  t.match(gateway.connect(b, { ...FIVE, will }).drain("connack"), [{ reasonCode: 0x99 }]);
}, { limits: { validatePayloadFormat: true } });

onShards("a QoS 2 id that was refused is new to the next PUBLISH [MQTT-4.3.3-9]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b, FIVE);
  publisher.send(publish("t", "", 2, { messageId: 2, payload: Buffer.from([0xff]), properties: { payloadFormatIndicator: true } }), publish("t", "good", 2, { messageId: 2 }));
  t.match(publisher.drain("pubrec"), [{ messageId: 2, reasonCode: 0x99 }, { messageId: 2, reasonCode: 0 }]);
  t.same(subscriber.payloads(), ["good"]);
}, { limits: { validatePayloadFormat: true } });

onShards("a retained message replaces the one before, at every QoS; a message that is not retained leaves it [MQTT-3.3.1-5] [MQTT-3.3.1-8] [MQTT3-3.3.1-5] [MQTT3-3.3.1-7] [MQTT3-3.3.1-12]", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  publisher.send(publish("r", "1", 1, { retain: true }), publish("r", "2", 0, { retain: true }), publish("r", "live", 1, { messageId: 2 }));
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("r", 1));
  t.match(publishesOf(subscriber), [{ payload: Buffer.from("2"), qos: 0, retain: true }]);
});

onShards("an empty retained message goes out as a message, removes what was retained and is not kept [MQTT-3.3.1-6] [MQTT-3.3.1-7] [MQTT3-3.3.1-10] [MQTT3-3.3.1-11]", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  const live = gateway.connect(a);
  live.send(subscribe("r"));
  publisher.send(publish("r", "kept", 1, { retain: true }), publish("r", "", 1, { retain: true, messageId: 2 }));
  t.same(publishesOf(live).map(({ payload, retain }) => [payload.toString(), retain]), [["kept", false], ["", false]]);
  const late = gateway.connect(`${a}-late`);
  late.send(subscribe("r"));
  t.same(publishesOf(late), []);
});

onShards("DUP of what came in does not go out: only what is sent again has it [MQTT-3.3.1-1] [MQTT-3.3.1-3] [MQTT3-3.3.1-1] [MQTT3-3.3.1-3] [MQTT-4.3.1-1] [MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT3-4.3.1-1] [MQTT3-4.3.2-1] [MQTT3-4.3.3-1]", (t, gateway, { a, b }) => {
  const first = gateway.connect(a, { clean: false });
  first.send(subscribe("t", 1));
  gateway.connect(b).send(publish("t", "x", 1, { dup: true }), publish("t", "y", 0));
  t.same(publishesOf(first).map(({ dup }) => dup), [false, false]);
  first.cut();
  t.match(publishesOf(gateway.connect(a, { clean: false })), [{ payload: Buffer.from("x"), dup: true }]);
});

onShards("messages of one client on one topic arrive in their order, from any shard to any [MQTT-4.6.0-5] [MQTT-4.6.0-6] [MQTT3-4.6.0-5] [MQTT3-4.6.0-6]", (t, gateway, { a, b }) => {
  const subscribers = [gateway.connect(a, FIVE), gateway.connect(`${b}-s`)];
  for (const subscriber of subscribers) subscriber.send(subscribe("o/#", 2));
  const publisher = gateway.connect(b);
  for (const qos of [0, 1, 2] as const) for (let i = 0; i < 30; i++) publisher.send(publish("o/t", `${String(qos)}/${String(i)}`, qos, { messageId: 100 * qos + i + 1 }));
  for (const subscriber of subscribers) {
    const seen = publishesOf(subscriber).map(({ payload }) => payload.toString());
    for (const qos of [0, 1, 2]) t.same(seen.filter((text) => text.startsWith(`${String(qos)}/`)), Array.from({ length: 30 }, (_, i) => `${String(qos)}/${String(i)}`));
  }
});

onShards("the QoS of a delivery is the lower of the message's and the subscription's [MQTT-3.8.4-8] [MQTT3-3.8.4-6] [MQTT-3.3.2-3] [MQTT3-3.3.2-3]", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  for (const granted of [0, 1, 2] as const) {
    const subscriber = gateway.connect(`${a}${String(granted)}`);
    subscriber.send(subscribe(`q/${String(granted)}`, granted));
    for (const qos of [0, 1, 2] as const) publisher.send(publish(`q/${String(granted)}`, String(qos), qos, { messageId: granted * 10 + qos + 1 }));
    t.same(publishesOf(subscriber).map(({ topic, payload, qos }) => [topic, payload.toString(), qos]).sort(), [0, 1, 2].map((qos) => [`q/${String(granted)}`, String(qos), Math.min(qos, granted)]));
  }
});

onShards("topics are matched byte by byte: case, spaces, slashes and forms of Unicode differ [MQTT-4.7.3-4] [MQTT3-4.7.3-4] [MQTT-1.5.4-3] [MQTT3-1.5.3-3]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  for (const filter of ["A/b", "/a", "a b", "\u00e9", "\ufeffx"]) subscriber.send(subscribe(filter));
  const publisher = gateway.connect(b);
  for (const topic of ["a/b", "A/b", "a", "/a", "a/", "a b", "a  b", "e\u0301", "\u00e9", "x", "\ufeffx"]) publisher.send(publish(topic, topic));
  t.same(subscriber.payloads(), ["A/b", "/a", "a b", "\u00e9", "\ufeffx"]);
});

onShards("a topic of 65,535 bytes is a topic, when it is configured [MQTT-4.7.3-3] [MQTT3-4.7.3-3]", (t, gateway, { a, b }) => {
  const topic = "x".repeat(65_535);
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("+"));
  gateway.connect(b).send(publish(topic, "long"));
  t.same(publishesOf(subscriber).map((seen) => seen.topic.length), [65_535]);
}, { limits: { topicLengthMax: 65_535 } });

onShards("packet ids towards a client are unused ones, never 0 [MQTT-2.2.1-4] [MQTT3-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.2-3]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 1));
  const publisher = gateway.connect(b);
  for (let i = 0; i < 300; i++) publisher.send(publish("t", String(i), 1, { messageId: (i % 1000) + 1 }));
  const ids = publishesOf(subscriber).map(({ messageId }) => messageId);
  t.equal(new Set(ids).size, 300);
  t.notOk(ids.includes(0));
});
