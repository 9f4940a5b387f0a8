// What one turn gives to one connection, and the aliases in it.
import { KIB } from "../../src/base/limits.js";
import type { Packet } from "mqtt-packet";
import { onShards, publish, subscribe } from "./support.js";

type Publish = Packet & { readonly cmd: "publish"; readonly topic: string; readonly payload: Buffer; readonly properties?: { readonly topicAlias?: number } };

const SIZE = 50 * KIB;
const COUNT = 12;
/** What a connection gets in one turn: the message that passes 512 KiB is still sent. */
const SHARE = 11;

/** Messages of `SIZE` bytes on topics of their own, all in one turn. */
function flood(): Packet[] {
  return Array.from({ length: COUNT }, (_, i) => publish(`flood/${String(i)}`, `${String(i)}:`.padEnd(SIZE, "x")));
}

function numbers(packets: readonly Packet[]): number[] {
  return (packets as Publish[]).map(({ payload }) => Number.parseInt(payload.toString(), 10));
}

onShards("QoS 0 that gives an alias its topic, and so must not be lost on its way, gets no more than a connection's share of a turn; what is beyond goes without", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { protocolVersion: 5, properties: { topicAliasMaximum: 32 } });
  subscriber.send({ ...subscribe("flood/#"), properties: { subscriptionIdentifier: 1 } } as Packet);
  const publisher = gateway.connect(b, { protocolVersion: 5 });
  publisher.send(...flood());
  const got = subscriber.drain("publish") as Publish[];
  t.same(numbers(got), Array.from({ length: COUNT }, (_, i) => i));
  t.same(got.map(({ properties }) => properties?.topicAlias), [...Array.from({ length: SHARE }, (_, i) => i + 1), undefined]);
  t.same(got.map(({ topic }) => topic), got.map((_, i) => `flood/${String(i)}`));
  publisher.send(publish(`flood/${String(COUNT - 1)}`, "12:"));
  t.match(subscriber.drain("publish"), [{ properties: { topicAlias: SHARE + 1 } }], "the next turn has a share of its own");
});

onShards("QoS 0 that the reactor may drop is not bounded by the turn: nothing is lost to a member of a group that keeps up", (t, gateway, { a, b }) => {
  const member = gateway.connect(a);
  member.send(subscribe("$share/g/flood/#"));
  gateway.connect(b).send(...flood());
  t.same(numbers(member.drain("publish")), Array.from({ length: COUNT }, (_, i) => i));
});

onShards("a group's QoS 0 messages come to a member that offers aliases under their own topics", (t, gateway, { a, b }) => {
  const member = gateway.connect(a, { protocolVersion: 5, properties: { topicAliasMaximum: 8 } });
  member.send(subscribe("$share/g/long/#"));
  const publisher = gateway.connect(b, { protocolVersion: 5 });
  const topics = ["long/1", "long/2", "long/1", "long/3", "long/3", "long/2"];
  for (const topic of topics) publisher.send(publish(topic, topic));
  const names = new Map<number | undefined, string>();
  const seen = member.drain("publish") as Publish[];
  for (const { topic, payload, properties } of seen) {
    if (topic !== "") names.set(properties?.topicAlias, topic);
    t.equal(names.get(properties?.topicAlias), payload.toString());
  }
  t.same(seen.map(({ topic }) => topic), ["long/1", "long/2", "", "long/3", "", ""]);
});
