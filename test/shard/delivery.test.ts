// Topic aliases of what is delivered.
import type { Packet } from "mqtt-packet";
import { onShards, publish, subscribe } from "./support.js";

type Publish = Packet & { readonly cmd: "publish"; readonly topic: string; readonly payload: Buffer; readonly properties?: { readonly topicAlias?: number } };

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
