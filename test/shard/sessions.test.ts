// Sessions, windows and packet ids across connections: what once went wrong, by its symptom.
import { ENTRY } from "../../src/base/journal-entry.js";
import type { Packet } from "mqtt-packet";
import { SHARD_COUNTER, STORE_COUNTER } from "../../src/base/counters.js";
import { OVERFLOW_DELIVERY_MARK, OVERFLOW_HARD_MARK } from "../../src/ring/layout.js";
import type { TestGateway } from "./harness.js";
import { clientIdOn } from "./harness.js";
import { ack, onShards, publish, subscribe } from "./support.js";

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

onShards("a clean session ends when its connection is taken over, also by a connection that wants it to go on [MQTT3-3.1.2-6]", (t, gateway, { a, b }) => {
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
  t.same(first.received.map(({ cmd }) => cmd), ["disconnect"]);
});

onShards("a message is not lost behind a repeated one that came while the journal could not be written", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b, { protocolVersion: 5 });
  publisher.send(publish("t", "first", 2, { messageId: 5 }));
  t.match(publisher.drain("pubrec"), [{ messageId: 5, reasonCode: 0 }]);
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 1;
  publisher.send(publish("t", "first", 2, { messageId: 5, dup: true }));
  t.match(publisher.drain("pubrec"), [{ messageId: 5, reasonCode: 0 }], "a refusal would free the packet id on one side only");
  publisher.send(publish("t", "refused", 2, { messageId: 6 }));
  t.match(publisher.drain("pubrec"), [{ messageId: 6, reasonCode: 0x97 }]);
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 0;
  publisher.send(publish("t", "second", 2, { messageId: 6 }));
  t.same(subscriber.payloads(), ["first", "second"]);
});

onShards("a PUBREL that ends a flow of an earlier connection does not raise the receive maximum (MQTT 5 §4.9)", (t, gateway, { a }) => {
  const connect = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100 } };
  const first = gateway.connect(a, connect);
  for (const messageId of [1, 2, 3]) first.send(publish("t", "x", 2, { messageId }));
  first.cut();
  const second = gateway.connect(a, connect);
  for (const messageId of [1, 2, 3]) second.send(ack("pubrel", messageId));
  t.equal(second.drain("pubcomp").length, 3);
  for (let messageId = 11; messageId <= 14; messageId++) second.send(publish("t", "x", 2, { messageId }));
  t.equal(second.drain("disconnect").length, 0, "as many as the receive maximum are taken");
  second.send(publish("t", "x", 2, { messageId: 15 }));
  t.match(second.drain("disconnect"), [{ reasonCode: 0x93 }]);
}, { limits: { receiveMaximum: 4 } });

onShards("a session that resumes sends no more again at once than the new receive maximum allows [MQTT-3.3.4-9]", (t, gateway, { a, b }) => {
  const connect = (receiveMaximum: number): Record<string, unknown> => ({ protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100, receiveMaximum } });
  const first = gateway.connect(a, connect(10));
  first.send(subscribe("t", 2));
  const publisher = gateway.connect(b);
  for (let i = 1; i <= 6; i++) publisher.send(publish("t", String(i), 1, { messageId: i }));
  t.equal(first.payloads().length, 6);
  first.cut();
  publisher.send(publish("t", "7", 1, { messageId: 7 }));
  const second = gateway.connect(a, connect(2));
  const order: string[] = [];
  for (let window = second.drain("publish"); window.length > 0; window = second.drain("publish")) {
    t.ok(window.length <= 2, `${String(window.length)} at once`);
    for (const packet of window as { messageId: number; payload: Buffer; dup: boolean }[]) {
      const text = packet.payload.toString();
      t.equal(packet.dup, text !== "7");
      order.push(text);
      second.send(ack("puback", packet.messageId));
    }
  }
  // Acknowledging one lets the next come, which the loop above takes in the following round.
  t.same(order, ["1", "2", "3", "4", "5", "6", "7"]);
});

onShards("a session full of large messages does not push its client over the hard mark in one turn", (t, gateway, { a, b }) => {
  gateway.turnSizeMax = OVERFLOW_HARD_MARK - OVERFLOW_DELIVERY_MARK;
  const connect = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100 } };
  const first = gateway.connect(a, connect);
  first.send(subscribe("t/#", 1));
  const publisher = gateway.connect(b);
  const payload = "x".repeat(30_000);
  // Half of it unacknowledged, half of it in the queue; and the same retained.
  for (let i = 0; i < 100; i++) {
    if (i === 50) first.cut();
    publisher.send(publish(`t/${String(i)}`, payload, 1, { messageId: i + 1, retain: true }));
  }
  const second = gateway.connect(a, connect);
  t.equal(second.payloads().length, 100);
  second.send(subscribe("t/+", 0));
  t.equal(second.payloads().length, 100);
  t.equal(second.closeReason, null);
});

onShards("a will's expiry and time count from when it is sent, not from CONNECT (MQTT 5 §3.1.3.2.4)", (t, gateway, { a, b }) => {
  const connect = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 1000 } };
  const watcher = gateway.connect(a, connect);
  watcher.send(subscribe("will/#", 1));
  watcher.cut();
  const will = { topic: "will/x", payload: Buffer.from("gone"), qos: 1, retain: false, properties: { messageExpiryInterval: 60 } };
  const client = gateway.connect(b, { protocolVersion: 5, will });
  gateway.advance(100_000);
  client.cut();
  t.equal(gateway.journal.findLast(({ kind }) => kind === ENTRY.PUBLISH)!.bytes.readDoubleLE(0), gateway.clock.wall());
  gateway.advance(10_000);
  t.match(gateway.connect(a, connect).drain("publish"), [{ payload: Buffer.from("gone"), properties: { messageExpiryInterval: 50 } }]);
});

onShards("wills that find no room in the journal's ring wait within a limit, and those beyond it are counted", (t, gateway, { a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("will/#", 0));
  const shard = gateway.shardOf(b);
  const will = { topic: "will/x", payload: Buffer.alloc(60_000), qos: 1, retain: false, properties: { willDelayInterval: 10 } };
  for (let i = 0; i < 30; i++) {
    const client = clientIdOn(shard, gateway.shards.length, `w${String(i)}-`);
    gateway.connect(client, { protocolVersion: 5, will, properties: { sessionExpiryInterval: 100 } }).cut();
  }
  gateway.isStoreStopped = true;
  gateway.advance(10_000);
  const dropped = gateway.counters[shard]![SHARD_COUNTER.DROPPED_QUEUE_FULL]!;
  t.ok(dropped > 0 && dropped < 28, `${String(dropped)} dropped`);
  gateway.isStoreStopped = false;
  gateway.commit();
  t.equal(watcher.payloads().length, 30 - dropped);
}, { limits: { queueBytesMax: 200_000 }, ringCapacity: 512 * 1024 });

onShards("No Local holds also when the publisher has another connection by the time its QoS 2 message is on disk", (t, gateway, { a }) => {
  const connect = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100 } };
  const first = gateway.connect(a, connect);
  first.send(subscribe("t", 1, { nl: true, rap: false, rh: 0 }));
  gateway.isStoreFast = false;
  first.send(publish("t", "own", 2));
  const second = gateway.connect(a, connect);
  gateway.commit();
  t.same(second.payloads(), []);
});

onShards("UNSUBSCRIBE ends the retained messages that were still to come [MQTT-3.10.4-2]", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  for (let i = 0; i < 1000; i++) publisher.send(publish(`t/${String(i)}`, "x", 1, { retain: true }));
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t/+", 1));
  t.equal(subscriber.payloads().length, 256, "the window; a page waits in the queue");
  subscriber.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["t/+"] } as unknown as Packet);
  for (let packetId = 1; packetId <= 1000; packetId++) subscriber.send(ack("puback", packetId));
  t.equal(subscriber.payloads().length, 256, "what was in the queue");
}, { limits: { inflightMax: 256 } });

onShards("receivers that are sent one encoding have packet ids, windows and queues of their own", (t, gateway, { a, b }) => {
  const shards = gateway.shards.length;
  const clients = [0, 1, 2, 3, 4, 5].map((i) => gateway.connect(clientIdOn(0, shards, `alike${String(i)}-`), i < 3 ? {} : { protocolVersion: 5, properties: { receiveMaximum: i === 5 ? 2 : 100 } }));
  for (const [i, client] of clients.entries()) client.send(subscribe("t/#", i === 1 ? 2 : 1));
  const kept = gateway.connect(a, { clean: false });
  kept.send(subscribe("t/+", 2));
  // Packet ids drift apart: one got a message more.
  clients[0]!.send(subscribe("only", 1));
  const publisher = gateway.connect(b);
  publisher.send(publish("only", "0", 1, { messageId: 1 }));
  t.same(clients[0]!.payloads(), ["0"]);
  const wanted: string[] = [];
  for (let i = 1; i <= 4; i++) {
    publisher.send(publish("t/1", `${String(i)}${"x".repeat(i)}`, i === 4 ? 2 : 1, { messageId: i }));
    wanted.push(`${String(i)}${"x".repeat(i)}`);
  }
  for (const [i, client] of [...clients, kept].entries()) {
    const packets = client.drain("publish") as { messageId: number; payload: Buffer; qos: number; dup: boolean; retain: boolean; topic: string }[];
    const count = i === 5 ? 2 : 4;
    t.same(packets.map(({ payload }) => payload.toString()), wanted.slice(0, count), `client ${String(i)}`);
    t.same(packets.map(({ messageId }) => messageId), [1, 2, 3, 4].slice(0, count).map((id) => (i === 0 ? id + 1 : id)));
    t.same(packets.map(({ qos }) => qos), [1, 1, 1, i === 1 || i === 6 ? 2 : 1].slice(0, count));
    t.ok(packets.every(({ topic, dup, retain }) => topic === "t/1" && !dup && !retain));
  }
  // What its window had no room for comes when it has.
  const late = clients[5]!;
  late.send(ack("puback", 1), ack("puback", 2));
  t.same(late.payloads(), wanted.slice(2));
  clients[2]!.cut();
  publisher.send(publish("t/1", "5", 1, { messageId: 5 }));
  t.same(clients.map((client) => client.payloads()), [["5"], ["5"], [], ["5"], ["5"], []]);
});
