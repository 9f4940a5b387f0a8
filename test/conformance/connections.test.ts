// CONNECT, CONNACK and DISCONNECT where more than one packet or more than its code matters. [MQTT-…] is MQTT 5.0, [MQTT3-…] MQTT 3.1.1.
import t from "tap";
import type { Packet } from "mqtt-packet";
import { CLOSE_REASON } from "../../src/ring/layout.js";
import { TestGateway, type TestClient } from "../shard/harness.js";
import { onShards, publish, subscribe } from "../shard/support.js";
import { repliesText } from "./replies.js";

interface ConnackSeen {
  readonly reasonCode: number;
  readonly sessionPresent: boolean;
  readonly properties?: Readonly<Record<string, unknown>>;
}

function connackOf(client: TestClient): ConnackSeen {
  return client.drain("connack")[0] as unknown as ConnackSeen;
}

function resultOf(client: TestClient): string {
  return repliesText(client.received, client.closeReason !== null);
}

const FIVE = { protocolVersion: 5 };

onShards("CONNACK names what is limited, and leaves out what is not: QoS, retain, wildcards and subscription identifiers are all there [MQTT-3.2.2-9]", (t, gateway, { a }) => {
  const { properties } = connackOf(gateway.connect(a, FIVE));
  t.match(properties, { receiveMaximum: 1024, maximumPacketSize: 1_048_576, topicAliasMaximum: 32 });
  for (const name of ["maximumQoS", "retainAvailable", "wildcardSubscriptionAvailable", "subscriptionIdentifiersAvailable", "sessionExpiryInterval", "assignedClientIdentifier", "serverKeepAlive", "responseInformation", "serverReference", "reasonString", "userProperties"]) {
    t.notOk(Object.hasOwn(properties ?? {}, name), name);
  }
});

onShards("an empty client id is given one that no other session has, and CONNACK says which [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16]", (t, gateway) => {
  const ids = [gateway.connect("", FIVE), gateway.connect("", FIVE)].map((client) => connackOf(client).properties?.["assignedClientIdentifier"]);
  t.equal(new Set(ids).size, 2);
  for (const id of ids) t.match(id, /^\S+$/);
});

onShards("a server keep alive is given to who asks for more than is granted [MQTT-3.2.2-22]", (t, gateway, { a, b }) => {
  t.equal(connackOf(gateway.connect(a, { ...FIVE, keepalive: 120 })).properties?.["serverKeepAlive"], 60);
  t.equal(connackOf(gateway.connect(b, { ...FIVE, keepalive: 30 })).properties?.["serverKeepAlive"], undefined);
  t.equal(connackOf(gateway.connect(`${b}-none`, { ...FIVE, keepalive: 0 })).properties?.["serverKeepAlive"], 60);
}, { limits: { keepAliveMaxSeconds: 60 } });

onShards("silence of one and a half times the keep alive closes: the reactor is told the time, which its own tests see it keep [MQTT-3.1.2-22] [MQTT3-3.1.2-24]", (t, gateway, { a, b }) => {
  t.equal(gateway.connect(a, { keepalive: 20 }).keepAliveMs, 30_000);
  t.equal(gateway.connect(b, { ...FIVE, keepalive: 7 }).keepAliveMs, 10_500);
  t.equal(gateway.connect(`${b}-server`, { ...FIVE, keepalive: 120 }).keepAliveMs, 90_000, "the server's counts");
  t.equal(gateway.connect(`${b}-none`, { keepalive: 0 }).keepAliveMs, 0);
}, { limits: { keepAliveMaxSeconds: 60 } });

onShards("a shorter session expiry than was asked for is said in CONNACK (§3.2.2.3.2)", (t, gateway, { a, b }) => {
  t.equal(connackOf(gateway.connect(a, { ...FIVE, properties: { sessionExpiryInterval: 5000 } })).properties?.["sessionExpiryInterval"], 100);
  t.equal(connackOf(gateway.connect(b, { ...FIVE, properties: { sessionExpiryInterval: 50 } })).properties?.["sessionExpiryInterval"], undefined);
}, { limits: { sessionExpiryMaxSeconds: 100 } });

onShards("response information is given when it is configured and asked for [MQTT-3.1.2-28]", (t, gateway, { a, b }) => {
  t.equal(connackOf(gateway.connect(a, { ...FIVE, properties: { requestResponseInformation: true } })).properties?.["responseInformation"], "replies/");
  t.equal(connackOf(gateway.connect(b, { ...FIVE, properties: { requestResponseInformation: false } })).properties?.["responseInformation"], undefined);
  t.equal(connackOf(gateway.connect(`${b}-silent`, FIVE)).properties?.["responseInformation"], undefined);
}, { limits: { responseInformation: "replies/" } });

onShards("another server is named when this one is full (§4.11)", (t, gateway, { a }) => {
  gateway.connect(a, { ...FIVE, properties: { sessionExpiryInterval: 50 } });
  let id = `${a}x`;
  while (gateway.shardOf(id) !== gateway.shardOf(a)) id += "x";
  const other = gateway.connect(id, FIVE);
  t.match(connackOf(other), { reasonCode: 0x9c, properties: { serverReference: "other:1883" } });
  t.equal(other.closeReason, CLOSE_REASON.LIMIT);
}, { limits: { serverReference: "other:1883", sessionsMax: 1 } });

onShards("at the end MQTT 5 clients hear it, with another server where one is configured (§4.11)", (t, gateway, { a, b }) => {
  const five = gateway.connect(a, FIVE);
  const four = gateway.connect(`${b}-four`);
  five.received.length = four.received.length = 0;
  for (const shard of gateway.shards) shard.drain(1000, () => undefined);
  gateway.run();
  t.match(five.drain("disconnect"), [{ reasonCode: 0x9c, properties: { serverReference: "other:1883" } }]);
  t.same(four.received, []);
}, { limits: { serverReference: "other:1883" } });

onShards("a connected client with the same id is told that its session is taken over, and closed [MQTT-3.1.4-3] [MQTT3-3.1.4-2] [MQTT-3.1.3-2] [MQTT3-3.1.3-2]", (t, gateway, { a }) => {
  const five = gateway.connect(a, FIVE);
  five.received.length = 0;
  const four = gateway.connect(a);
  t.equal(resultOf(five), "DISCONNECT 0x8e; closed");
  four.received.length = 0;
  gateway.connect(a);
  t.equal(resultOf(four), "closed");
});

onShards("what MQTT 3.1.1 has no return code for is closed without a CONNACK: 'server unavailable' would be tried again [MQTT3-3.2.2-6]", (t, gateway, { a }) => {
  const will = { topic: "t/".repeat(40), payload: Buffer.from("w"), qos: 0, retain: false } as const;
  t.equal(resultOf(gateway.connect(a, { will })), "closed");
  t.equal(resultOf(gateway.connect(a, { ...FIVE, will })), "CONNACK 0x90; closed");
});

onShards("a client that is not let in is refused and closed [MQTT-3.1.4-2] [MQTT3-3.2.2-5]", (t, gateway, { a }) => {
  for (const [version, expected] of [[4, "CONNACK 0x05; closed"], [5, "CONNACK 0x87; closed"]] as const) {
    const client = gateway.open(gateway.shardOf(a), version, { isLoopback: false, peer: "192.0.2.1" });
    client.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: version, clean: true, keepalive: 0, clientId: a });
    t.equal(resultOf(client), expected);
  }
});

onShards("no packet is larger than the client takes: CONNACK [MQTT-3.1.2-24] [MQTT-3.2.2-19] [MQTT-3.2.2-20]", (t, gateway, { a, b }) => {
  const refused = gateway.open(gateway.shardOf(a), 5, { isLoopback: false, peer: "192.0.2.1" });
  refused.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: a, properties: { maximumPacketSize: 20 } });
  const connack = connackOf(refused);
  t.equal(connack.reasonCode, 0x87);
  t.equal(connack.properties?.["reasonString"], undefined);
  t.equal(resultOf(gateway.connect(b, { ...FIVE, properties: { maximumPacketSize: 12 } })), "closed", "its properties are no use cut off");
  t.equal(resultOf(gateway.connect(`${b}-larger`, { ...FIVE, properties: { maximumPacketSize: 40 } })), "CONNACK 0x00");
});

onShards("no packet is larger than the client takes: SUBACK, UNSUBACK and DISCONNECT [MQTT-3.1.2-24] [MQTT-3.9.2-1] [MQTT-3.11.2-1] [MQTT-3.14.2-3]", (t, gateway, { a, b }) => {
  const many = Array.from({ length: 60 }, (_, i) => ({ topic: `t/${String(i)}`, qos: 0 as const }));
  const client = gateway.connect(a, { ...FIVE, properties: { maximumPacketSize: 40 } });
  client.received.length = 0;
  client.send({ cmd: "subscribe", messageId: 1, subscriptions: many } as unknown as Packet);
  t.equal(resultOf(client), "DISCONNECT 0x95; closed");
  t.equal((client.drain("disconnect")[0] as { properties?: object }).properties, undefined, "the reason string does not fit");
  const other = gateway.connect(b, { ...FIVE, properties: { maximumPacketSize: 40 } });
  other.received.length = 0;
  other.send({ cmd: "unsubscribe", messageId: 1, unsubscriptions: many.map(({ topic }) => topic) });
  t.equal(resultOf(other), "DISCONNECT 0x95; closed");
});

onShards("no packet is larger than the client takes: a PUBLISH that is counts as delivered [MQTT-3.1.2-24] [MQTT-3.1.2-25]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { ...FIVE, properties: { maximumPacketSize: 60, receiveMaximum: 2 } });
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b);
  for (const qos of [0, 1, 2] as const) for (let i = 0; i < 4; i++) publisher.send(publish("t", "x".repeat(100), qos, { messageId: 10 * qos + i + 1 }));
  publisher.send(publish("t", "small", 1, { messageId: 50 }));
  t.same(subscriber.payloads(), ["small"], "the window is not used up by what was not sent");
});

onShards("reason strings stand in DISCONNECT when problem information is wanted, and elsewhere never [MQTT-3.1.2-29] [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2]", (t, gateway, { a, b }) => {
  const reasonOf = (id: string, properties: object): unknown => {
    const client = gateway.connect(id, { ...FIVE, properties });
    client.send(publish("t", "x", 1), { cmd: "pubrel", messageId: 9 }, { cmd: "pubrec", messageId: 9 });
    for (const cmd of ["puback", "pubcomp", "pubrel"] as const) for (const packet of client.drain(cmd)) t.notOk((packet as { properties?: object }).properties, cmd);
    client.sendBytes(Buffer.from([0xc1, 0]));
    return (client.drain("disconnect")[0] as { properties?: { reasonString?: string } }).properties?.reasonString;
  };
  t.match(reasonOf(a, {}), /reserved/);
  t.equal(reasonOf(b, { requestProblemInformation: false }), undefined);
});

onShards("user properties are never sent where they could make a packet too large: the gateway has none of its own [MQTT-3.4.2-3] [MQTT-3.5.2-3] [MQTT-3.6.2-3] [MQTT-3.7.2-3] [MQTT-3.9.2-2] [MQTT-3.11.2-2] [MQTT-3.14.2-4]", (t, gateway, { a }) => {
  const client = gateway.connect(a, FIVE);
  client.send(publish("t", "x", 1), publish("t", "x", 2, { messageId: 2 }), { cmd: "pubrel", messageId: 2 }, { cmd: "pubrec", messageId: 9 }, { cmd: "unsubscribe", messageId: 3, unsubscriptions: ["t"] });
  client.send(subscribe("u"));
  client.sendBytes(Buffer.from([0xc1, 0]));
  t.same(client.received.map(({ cmd }) => cmd).sort(), ["connack", "disconnect", "puback", "pubcomp", "pubrec", "pubrel", "suback", "unsuback"]);
  for (const packet of client.received) t.notOk((packet as { properties?: { userProperties?: object } }).properties?.userProperties, packet.cmd);
});

onShards("a client that gave no authentication method gets none in CONNACK [MQTT-4.12.0-6]", (t, gateway, { a }) => {
  const { properties } = connackOf(gateway.connect(a, FIVE));
  t.equal(properties?.["authenticationMethod"], undefined);
});

onShards("a session expiry in the gateway's own DISCONNECT does not exist [MQTT-3.14.2-2]", (t, gateway, { a }) => {
  const client = gateway.connect(a, { ...FIVE, properties: { sessionExpiryInterval: 50 } });
  client.sendBytes(Buffer.from([0xc1, 0]));
  t.equal((client.drain("disconnect")[0] as { properties?: { sessionExpiryInterval?: number } }).properties?.sessionExpiryInterval, undefined);
});

onShards("CONNACK is the first and only answer to CONNECT, its reserved bits are 0 [MQTT-3.2.0-1] [MQTT-3.2.0-2] [MQTT-3.2.2-1] [MQTT3-3.2.0-1]", (t, gateway, { a, b }) => {
  const first = gateway.connect(a, { clean: false });
  first.send(subscribe("t", 1));
  first.cut();
  gateway.connect(b).send(publish("t", "waited", 1));
  const second = gateway.connect(a, { clean: false });
  t.same(second.received.map(({ cmd }) => cmd), ["connack", "publish"]);
  const raw: Buffer[] = [];
  const client = gateway.open(gateway.shardOf(a), 5);
  const take = client.take.bind(client);
  client.take = (bytes) => {
    raw.push(Buffer.from(bytes));
    take(bytes);
  };
  client.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: a });
  t.equal(raw[0]![2], 0);
});

void t.test("a bridge of mosquitto gets the retain flag as published, and nothing back (its protocol level has the high bit)", (t) => {
  const gateway = new TestGateway();
  t.teardown(() => gateway.stop());
  const bridge = gateway.open(0, 4);
  bridge.sendBytes(Buffer.from([0x10, 18, 0, 4, 0x4d, 0x51, 0x54, 0x54, 0x84, 2, 0, 60, 0, 6, 0x62, 0x72, 0x69, 0x64, 0x67, 0x65]));
  bridge.send(subscribe("#", 1));
  bridge.received.length = 0;
  bridge.send(publish("own", "own", 1));
  gateway.connect("other").send(publish("t", "other", 1, { retain: true }));
  t.equal(resultOf(bridge), "PUBACK 1; PUBLISH t other q1 retain");
  t.end();
});
