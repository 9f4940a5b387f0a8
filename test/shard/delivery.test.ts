// What one turn gives to one connection, and the aliases in it.
import { SHARD_COUNTER } from "../../src/base/counters.js";
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

onShards("QoS 0 that names an alias's topic, and so must not be lost on its way, gets no more than a connection's share of a turn", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a, { protocolVersion: 5, properties: { topicAliasMaximum: 32 } });
  subscriber.send({ ...subscribe("flood/#"), properties: { subscriptionIdentifier: 1 } } as Packet);
  const publisher = gateway.connect(b, { protocolVersion: 5 });
  publisher.send(...flood());
  t.same(numbers(subscriber.drain("publish")), Array.from({ length: SHARE }, (_, i) => i));
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_SLOW_RECEIVER), COUNT - SHARE);
  publisher.send(publish("flood/later", "12:"));
  t.same(numbers(subscriber.drain("publish")), [12], "the next turn has a share of its own");
});

onShards("QoS 0 that the reactor may drop is not bounded by the turn: nothing is lost to a member of a group that keeps up", (t, gateway, { a, b }) => {
  const member = gateway.connect(a);
  member.send(subscribe("$share/g/flood/#"));
  gateway.connect(b).send(...flood());
  t.same(numbers(member.drain("publish")), Array.from({ length: COUNT }, (_, i) => i));
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_SLOW_RECEIVER), 0);
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
