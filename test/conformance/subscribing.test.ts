// Subscriptions: options, overlaps, replacement, retained messages, UNSUBSCRIBE. [MQTT-…] is MQTT 5.0, [MQTT3-…] MQTT 3.1.1.
import t from "tap";
import type { Packet } from "mqtt-packet";
import { clientIdOn, type TestClient, TestGateway } from "../shard/harness.js";
import { ack, onShards, publish, subscribe } from "../shard/support.js";

const FIVE = { protocolVersion: 5 };

interface Seen {
  readonly payload: Buffer;
  readonly qos: number;
  readonly retain: boolean;
  readonly messageId: number;
  readonly properties?: { readonly subscriptionIdentifier?: number | number[] };
}

function publishesOf(client: TestClient): Seen[] {
  return client.drain("publish") as unknown as Seen[];
}

function identified(topic: string, qos: 0 | 1 | 2, subscriptionIdentifier: number, more: Record<string, unknown> = {}): Packet {
  return { cmd: "subscribe", messageId: 9, subscriptions: [{ topic, qos, ...more }], properties: { subscriptionIdentifier } } as unknown as Packet;
}

onShards("a message that several subscriptions match comes once, at the highest QoS of them [MQTT-3.3.4-2] [MQTT3-3.3.5-1]", (t, gateway, { a, b }) => {
  for (const [id, more] of [[a, {}], [`${a}-five`, FIVE]] as const) {
    const subscriber = gateway.connect(id, more);
    subscriber.send(subscribe("o/+", 0), subscribe("o/#", 2), subscribe("#", 1));
    gateway.connect(b).send(publish("o/1", "x", 2), { cmd: "pubrel", messageId: 1 });
    t.match(publishesOf(subscriber), [{ qos: 2 }]);
  }
});

onShards("the identifiers of all subscriptions that match stand in the message, live, queued and retained [MQTT-3.3.4-3] [MQTT-3.3.4-4] [MQTT-3.3.4-5]", (t, gateway, { a, b }) => {
  const connect = { ...FIVE, clean: false, properties: { sessionExpiryInterval: 100 } };
  const first = gateway.connect(a, connect);
  first.send(identified("i/+", 1, 1), identified("i/#", 0, 268_435_455), subscribe("#", 1));
  const publisher = gateway.connect(b);
  const idsOf = (client: TestClient): unknown => publishesOf(client).map(({ properties }) => [properties?.subscriptionIdentifier].flat().sort());
  publisher.send(publish("i/1", "live", 0), publish("i/1", "live", 1));
  t.same(idsOf(first), [[1, 268_435_455], [1, 268_435_455]]);
  first.send(ack("puback", 1));
  first.cut();
  publisher.send(publish("i/1", "queued", 1, { messageId: 2 }));
  const second = gateway.connect(a, connect);
  t.same(idsOf(second), [[1, 268_435_455]]);
  publisher.send(publish("j/1", "kept", 1, { messageId: 3, retain: true }));
  second.received.length = 0;
  second.send(identified("j/+", 1, 7));
  t.same(idsOf(second), [[7]]);
});

onShards("retain handling: 0 sends, 1 sends if the subscription is new, 2 does not [MQTT-3.3.1-9] [MQTT-3.3.1-10] [MQTT-3.3.1-11] [MQTT-3.8.4-4]", (t, gateway, { a, b }) => {
  gateway.connect(b).send(publish("r", "kept", 1, { retain: true }));
  const subscriber = gateway.connect(a, FIVE);
  const count = (rh: number): number => {
    subscriber.send(subscribe("r", 1, { rh }));
    return publishesOf(subscriber).length;
  };
  t.equal(count(2), 0);
  t.equal(count(1), 0, "it is not new");
  t.equal(count(0), 1);
  t.equal(count(0), 1, "again");
  subscriber.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["r"] });
  t.equal(count(1), 1, "it is new");
});

onShards("Retain As Published decides the flag of live messages; retained ones always have it [MQTT-3.3.1-12] [MQTT-3.3.1-13]", (t, gateway, { a, b }) => {
  const asPublished = gateway.connect(a, FIVE);
  asPublished.send(subscribe("r", 1, { rap: true }));
  const plain = gateway.connect(`${a}-plain`, FIVE);
  plain.send(subscribe("r", 1));
  const publisher = gateway.connect(b);
  for (const qos of [0, 1, 2] as const) publisher.send(publish("r", "x", qos, { retain: true, messageId: qos + 1 }), publish("r", "y", qos, { messageId: qos + 11 }));
  const flagsOf = (client: TestClient): string[] => publishesOf(client).map(({ payload, retain }) => `${payload.toString()} ${String(retain)}`).sort();
  t.same(flagsOf(asPublished), ["x true", "x true", "x true", "y false", "y false", "y false"]);
  t.same(flagsOf(plain), ["x false", "x false", "x false", "y false", "y false", "y false"]);
  plain.send(subscribe("r", 0));
  t.same(flagsOf(plain), ["x true"]);
});

onShards("3.1.1: a new subscription gets the retained message with the flag, an established one without [MQTT3-3.3.1-6] [MQTT3-3.3.1-8] [MQTT3-3.3.1-9] [MQTT3-3.8.4-3]", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  publisher.send(publish("r", "kept", 1, { retain: true }));
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("r", 0));
  publisher.send(publish("r", "live", 1, { retain: true, messageId: 2 }));
  t.same(publishesOf(subscriber).map(({ payload, retain }) => [payload.toString(), retain]), [["kept", true], ["live", false]]);
  subscriber.send(subscribe("r", 1));
  t.match(publishesOf(subscriber), [{ payload: Buffer.from("live"), retain: true, qos: 1 }], "again, when the subscription is replaced");
});

onShards("the same filter again replaces the subscription: its QoS and its options hold, it does not count twice [MQTT-3.8.4-3] [MQTT3-3.8.4-3]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, FIVE);
  subscriber.send(identified("t", 2, 5), identified("t", 0, 6));
  gateway.connect(b).send(publish("t", "x", 2), { cmd: "pubrel", messageId: 1 });
  t.match(publishesOf(subscriber), [{ qos: 0, properties: { subscriptionIdentifier: 6 } }]);
  subscriber.send(subscribe("t", 1));
  gateway.connect(b).send(publish("t", "y", 1));
  t.same(publishesOf(subscriber).map(({ qos, properties }) => [qos, properties?.subscriptionIdentifier]), [[1, undefined]]);
});

onShards("No Local keeps a client's own messages from it, and from it alone [MQTT-3.8.3-3]", (t, gateway, { a, b }) => {
  const own = gateway.connect(a, FIVE);
  own.send(subscribe("t", 2, { nl: true }));
  const other = gateway.connect(b, FIVE);
  other.send(subscribe("t", 2));
  for (const qos of [0, 1, 2] as const) own.send(publish("t", String(qos), qos, { messageId: qos + 1 }));
  t.same(own.payloads(), []);
  t.same(other.payloads().sort(), ["0", "1", "2"]);
  other.send(publish("t", "from the other", 1));
  t.same(own.payloads(), ["from the other"]);
});

onShards("filters that begin with a wildcard do not match topics that begin with $ [MQTT-4.7.2-1] [MQTT3-4.7.2-1]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  for (const filter of ["#", "+/x", "+/#"]) subscriber.send(subscribe(filter));
  const named = gateway.connect(`${a}-named`);
  named.send(subscribe("$other/#"), subscribe("$other/+"));
  gateway.connect(b).send(publish("$other/x", "hidden"), publish("other/$x", "seen", 0, { retain: true }));
  t.same(subscriber.payloads(), ["seen"]);
  t.same(named.payloads(), ["hidden"]);
});

onShards("UNSUBSCRIBE compares filters as they are written, and ends what is new; what was begun is completed [MQTT-3.10.4-1] [MQTT-3.10.4-2] [MQTT-3.10.4-3] [MQTT3-3.10.4-1] [MQTT3-3.10.4-2] [MQTT3-3.10.4-3]", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("a/+", 2));
  const publisher = gateway.connect(b);
  publisher.send(publish("a/b", "begun", 2), { cmd: "pubrel", messageId: 1 });
  const [begun] = publishesOf(subscriber);
  subscriber.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["a/b", "a/#"] });
  publisher.send(publish("a/b", "still subscribed", 0));
  t.same(subscriber.payloads(), ["still subscribed"]);
  subscriber.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["a/+"] });
  publisher.send(publish("a/b", "no more", 1, { messageId: 2 }));
  t.same(subscriber.payloads(), []);
  subscriber.send(ack("pubrec", begun!.messageId));
  t.match(subscriber.drain("pubrel"), [{ messageId: begun!.messageId }]);
});

void t.test("every kind of client that subscribes first and is acknowledged misses nothing that is published afterwards [MQTT-4.5.0-1] [MQTT3-4.5.0-1]", (t) => {
  for (const shards of [1, 2, 4]) {
    const gateway = new TestGateway({ shards });
    const subscribers = Array.from({ length: shards }, (_, shard) => gateway.connect(clientIdOn(shard, shards, "s"), shard % 2 === 0 ? FIVE : { clean: false }));
    for (const subscriber of subscribers) subscriber.send(subscribe("x/+", 2));
    const publisher = gateway.connect("publisher");
    for (let i = 0; i < 20; i++) publisher.send(publish(`x/${String(i)}`, String(i), (i % 3) as 0 | 1 | 2, { messageId: i + 1 }));
    for (const subscriber of subscribers) t.same(subscriber.payloads().map(Number).sort((one, other) => one - other), Array.from({ length: 20 }, (_, i) => i));
    gateway.stop();
  }
  t.end();
});
