// Sessions, windows and packet ids across connections: what once went wrong, by its symptom.
import type { Packet } from "mqtt-packet";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import type { TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

function total(gateway: TestGateway, counter: number): number {
  return gateway.counters.reduce((sum, counters) => sum + counters[counter]!, 0);
}

onShards("a take-over does not leave a client too many in the count of clients", (t, gateway, { a }) => {
  gateway.connect(a);
  gateway.connect(a, { protocolVersion: 5 });
  const last = gateway.connect(a, { clean: false });
  t.equal(total(gateway, SHARD_COUNTER.CLIENTS), 1);
  last.cut();
  t.equal(total(gateway, SHARD_COUNTER.CLIENTS), 0);
});

onShards("a clean session ends when its connection is taken over, also by a connection that wants it to go on [MQTT-3.1.2-6]", (t, gateway, { a, b }) => {
  const first = gateway.connect(a);
  first.send(subscribe("t", 1));
  gateway.connect(b).send(publish("t", "unacknowledged", 1));
  t.same(first.payloads(), ["unacknowledged"]);
  const second = gateway.connect(a, { clean: false });
  t.match(second.drain("connack"), [{ sessionPresent: false }]);
  t.same(second.payloads(), []);
  t.equal(total(gateway, SHARD_COUNTER.SUBSCRIPTIONS), 0);
});

onShards("a will sent by a take-over does not follow the DISCONNECT on the old connection", (t, gateway, { a, b }) => {
  const will = { topic: "will/x", payload: Buffer.from("gone"), qos: 0, retain: false };
  const first = gateway.connect(a, { protocolVersion: 5, will });
  first.send(subscribe("will/#"));
  gateway.connect(b).send(publish("will/x", "the list of receivers is made"));
  first.received.length = 0;
  gateway.connect(a, { protocolVersion: 5 });
  t.match(first.received, [{ cmd: "disconnect", reasonCode: 0x8e }] as Packet[]);
});
