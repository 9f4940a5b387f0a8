// Sessions, wills and resumption. [MQTT-…] is MQTT 5.0, [MQTT3-…] MQTT 3.1.1.
import type { Packet } from "mqtt-packet";
import type { TestClient } from "../shard/harness.js";
import { ack, onShards, publish, subscribe } from "../shard/support.js";
import { repliesText } from "./replies.js";

const FIVE = { protocolVersion: 5 };
const KEPT = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100 } };

interface Seen {
  readonly payload: Buffer;
  readonly qos: number;
  readonly dup: boolean;
  readonly retain: boolean;
  readonly messageId: number;
  readonly properties?: Readonly<Record<string, unknown>>;
}

function publishesOf(client: TestClient): Seen[] {
  return client.drain("publish") as unknown as Seen[];
}

function isPresent(client: TestClient): boolean {
  return (client.drain("connack")[0] as { sessionPresent: boolean }).sessionPresent;
}

function will(payload: string, more: Record<string, unknown> = {}): { readonly will: object } {
  return { will: { topic: "will/x", payload: Buffer.from(payload), qos: 0, retain: false, ...more } };
}

onShards("a session goes on for who asks for it, and is forgotten for who asks for a clean one [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-3.1.4-4] [MQTT-3.2.2-3] [MQTT3-3.1.2-4] [MQTT3-3.1.4-3] [MQTT3-3.2.2-2] [MQTT3-4.1.0-1] [MQTT3-3.1.2-5] [MQTT-4.1.0-1] [MQTT3-4.1.0-2]", (t, gateway, { a, b }) => {
  for (const [kept, clean] of [[{ clean: false }, { clean: true }], [KEPT, FIVE]]) {
    const first = gateway.connect(a, kept);
    t.notOk(isPresent(first));
    first.send(subscribe("t", 1));
    first.cut();
    const publisher = gateway.connect(b);
    publisher.send(publish("t", "waited", 1));
    const second = gateway.connect(a, kept);
    t.ok(isPresent(second));
    t.match(publishesOf(second), [{ payload: Buffer.from("waited") }]);
    second.cut();
    const fresh = gateway.connect(a, clean);
    t.notOk(isPresent(fresh));
    publisher.send(publish("t", "nobody's", 1));
    t.same(publishesOf(fresh), []);
    fresh.cut();
  }
});

onShards("retained messages are no part of a session [MQTT3-3.1.2-7]", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  publisher.send(publish("r", "kept", 1, { retain: true }));
  publisher.send({ cmd: "disconnect" });
  gateway.connect(b).cut();
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("r"));
  t.same(subscriber.payloads(), ["kept"]);
});

onShards("a session ends when its expiry has passed without a connection, and not before [MQTT-3.1.2-23] [MQTT-4.1.0-2]", (t, gateway, { a }) => {
  gateway.connect(a, KEPT).cut();
  gateway.advance(99_000);
  const second = gateway.connect(a, KEPT);
  t.ok(isPresent(second));
  gateway.advance(200_000);
  t.equal(second.closeReason, null, "it does not expire while connected");
  second.cut();
  gateway.advance(101_000);
  t.notOk(isPresent(gateway.connect(a, KEPT)));
});

onShards("DISCONNECT can change the session's expiry (§3.14.2.2.2)", (t, gateway, { a }) => {
  gateway.connect(a, KEPT).send({ cmd: "disconnect", properties: { sessionExpiryInterval: 10 } });
  gateway.advance(11_000);
  const second = gateway.connect(a, KEPT);
  t.notOk(isPresent(second), "shorter");
  second.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 300 } });
  gateway.advance(200_000);
  const third = gateway.connect(a, KEPT);
  t.ok(isPresent(third), "longer");
  third.send({ cmd: "disconnect", properties: { sessionExpiryInterval: 0 } });
  t.notOk(isPresent(gateway.connect(a, KEPT)), "over at once");
});

onShards("a will is stored and sent when the connection breaks, as it was given: QoS and retain flag [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.1.2-15] [MQTT3-3.1.2-8] [MQTT3-3.1.2-16] [MQTT3-3.1.2-17]", (t, gateway, { a, b }) => {
  for (const version of [4, 5] as const) {
    const watcher = gateway.connect(a);
    watcher.send(subscribe("will/x", 2));
    gateway.connect(b, { protocolVersion: version, ...will("plain", { qos: 1 }) }).cut();
    gateway.connect(b, { protocolVersion: version, ...will("kept", { qos: 2, retain: true }) }).cut();
    t.same(publishesOf(watcher).map(({ payload, qos }) => [payload.toString(), qos]), [["plain", 1], ["kept", 2]]);
    const late = gateway.connect(`${a}-late`);
    late.send(subscribe("will/x", 2));
    t.match(publishesOf(late), [{ payload: Buffer.from("kept"), retain: true }]);
    gateway.connect(b).send(publish("will/x", "", 0, { retain: true }));
  }
});

onShards("a will is sent when the gateway closes the connection for a protocol error, or its client says so [MQTT-3.1.2-8] [MQTT3-3.1.2-8]", (t, gateway, { a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("will/x"));
  gateway.connect(b, will("protocol error")).sendBytes(Buffer.from([0xc1, 0]));
  for (const reasonCode of [0x04, 0x80, 0x98]) gateway.connect(b, { ...FIVE, ...will(String(reasonCode)) }).send({ cmd: "disconnect", reasonCode });
  t.same(watcher.payloads(), ["protocol error", "4", "128", "152"]);
});

onShards("a will is discarded by DISCONNECT with Success, and there is none without the flag [MQTT-3.14.4-3] [MQTT-3.1.2-10] [MQTT3-3.14.4-3] [MQTT3-3.1.2-10] [MQTT3-3.1.2-12]", (t, gateway, { a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("#"));
  for (const version of [4, 5] as const) {
    gateway.connect(b, { protocolVersion: version, ...will("no") }).send({ cmd: "disconnect", reasonCode: 0 });
    gateway.connect(b, { protocolVersion: version }).cut();
    gateway.connect(b, { protocolVersion: version, clean: false, ...will("once"), ...(version === 5 ? { properties: { sessionExpiryInterval: 100 } } : {}) }).cut();
    gateway.connect(b, { protocolVersion: version }).cut();
  }
  t.same(watcher.payloads(), ["once", "once"], "a will that was sent is gone");
});

onShards("a will with a delay waits for it or for the session's end, and is void when its client is back in time [MQTT-3.1.3-9] [MQTT-3.1.2-8]", (t, gateway, { a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("will/#"));
  const delayed = (seconds: number, payload: string): Record<string, unknown> => ({ ...KEPT, ...will(payload, { properties: { willDelayInterval: seconds } }) });
  gateway.connect(b, delayed(10, "void")).cut();
  gateway.advance(9_000);
  gateway.connect(b, delayed(10, "sent")).cut();
  gateway.advance(9_000);
  t.same(watcher.payloads(), []);
  gateway.advance(2_000);
  t.same(watcher.payloads(), ["sent"]);
  gateway.connect(b, delayed(500, "with the session")).cut();
  gateway.advance(101_000);
  t.same(watcher.payloads(), ["with the session"]);
  gateway.connect(b, delayed(500, "by a clean start")).cut();
  gateway.connect(b, FIVE);
  t.same(watcher.payloads(), ["by a clean start"]);
});

onShards("a will has its properties, in their order [MQTT-3.1.3-10]", (t, gateway, { a, b }) => {
  const watcher = gateway.connect(a, FIVE);
  watcher.send(subscribe("will/#"));
  const properties = { contentType: "text/plain", responseTopic: "answer", correlationData: Buffer.from("c"), payloadFormatIndicator: true, messageExpiryInterval: 60, userProperties: { k: ["2", "1"] }, willDelayInterval: 0 };
  gateway.connect(b, { ...FIVE, ...will("gone", { properties }) }).cut();
  const [seen] = publishesOf(watcher);
  t.match(seen!.properties, { contentType: "text/plain", responseTopic: "answer", correlationData: Buffer.from("c"), payloadFormatIndicator: true, messageExpiryInterval: 60 });
  t.same({ ...(seen!.properties!["userProperties"] as object) }, { k: ["2", "1"] });
  t.notOk(Object.hasOwn(seen!.properties!, "willDelayInterval"));
});

onShards("PUBLISH and PUBREL are sent again with their ids when the session resumes, in their order, and at no other time [MQTT-4.4.0-1] [MQTT3-4.4.0-1] [MQTT3-2.3.1-3] [MQTT-4.3.3-3] [MQTT-4.3.3-5] [MQTT-4.3.3-6] [MQTT-4.6.0-1] [MQTT3-4.6.0-1]", (t, gateway, { a, b }) => {
  for (const kept of [{ clean: false }, KEPT]) {
    const first = gateway.connect(a, kept);
    first.send(subscribe("t", 2));
    const publisher = gateway.connect(b);
    for (let i = 1; i <= 4; i++) publisher.send(publish("t", String(i), 2, { messageId: i }), { cmd: "pubrel", messageId: i });
    const sent = publishesOf(first);
    first.send(ack("pubrec", sent[2]!.messageId), ack("pubrec", sent[0]!.messageId));
    first.received.length = 0;
    gateway.advance(50_000);
    t.same(first.received, [], "time alone sends nothing again");
    first.cut();
    const second = gateway.connect(a, kept);
    const ids = sent.map(({ messageId }) => String(messageId));
    second.received.shift();
    t.equal(repliesText(second.received, false), `PUBREL ${ids[0]!}; PUBREL ${ids[2]!}; PUBLISH t 2 q2 dup; PUBLISH t 4 q2 dup`);
    t.same(publishesOf(second).map(({ messageId }) => String(messageId)), [ids[1], ids[3]]);
    second.cut();
    gateway.connect(a).cut();
  }
});

onShards("a QoS 2 message whose connection broke before PUBREL is not delivered twice [MQTT-4.3.3-10] [MQTT3-4.3.3-2] [MQTT3-2.3.1-2]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 2));
  const first = gateway.connect(b, KEPT);
  first.send(publish("t", "once", 2, { messageId: 7 }));
  first.cut();
  const second = gateway.connect(b, KEPT);
  second.received.length = 0;
  second.send(publish("t", "once", 2, { messageId: 7, dup: true }), { cmd: "pubrel", messageId: 7 });
  t.equal(repliesText(second.received, false), "PUBREC 7; PUBCOMP 7");
  t.same(subscriber.payloads(), ["once"]);
});

onShards("PUBREL is answered to PUBRECs in their order [MQTT-4.6.0-4] [MQTT3-4.6.0-4]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b);
  for (let i = 1; i <= 3; i++) publisher.send(publish("t", String(i), 2, { messageId: i }), { cmd: "pubrel", messageId: i });
  const ids = publishesOf(subscriber).map(({ messageId }) => messageId);
  const order = [ids[1]!, ids[2]!, ids[0]!];
  subscriber.send(...order.map((messageId): Packet => ack("pubrec", messageId)));
  t.same(subscriber.drain("pubrel").map((packet) => packet.messageId), order);
});
