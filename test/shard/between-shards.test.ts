// What shards tell each other: interests, retained messages, restarts; what once went wrong, by its symptom.
import t from "tap";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { clientIdOn, TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

onShards("a QoS 1 PUBLISH of the largest size does not stop its shard for ever when another shard has a subscriber", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t/#", 0));
  const publisher = gateway.connect(b);
  // Like the gateway's: a ring holds two of the largest packets, and what is kept free in it.
  publisher.send(publish("t/plain", "x".repeat(350_000), 1), publish("t/retained", "x".repeat(350_000), 1, { retain: true }));
  t.equal(publisher.drain("puback").length, 2);
  t.equal(subscriber.payloads().length, 2);
}, { ringCapacity: 1024 * 1024 });

onShards("who publishes a retained message and then subscribes gets it, also when its shard has the interest already", (t, gateway, { b }) => {
  const shard = gateway.shardOf(b);
  const shards = gateway.shards.length;
  gateway.connect(clientIdOn(shard, shards, "first")).send(subscribe("r/+"));
  for (let i = 0; i < 20; i++) {
    const client = gateway.connect(clientIdOn(shard, shards, `client-${String(i)}-`));
    client.send(publish(`r/${String(i)}`, "own", 0, { retain: true }), subscribe("r/+"));
    t.equal(client.payloads().length, i + 1);
  }
});

onShards("retained messages end up equal on all shards, whoever hears of which first", (t, gateway) => {
  const shards = gateway.shards.length;
  const clients = Array.from({ length: shards }, (_, shard) => gateway.connect(clientIdOn(shard, shards, "c")));
  for (const client of clients) client.send(subscribe("#", 1));
  for (let round = 0; round < 50; round++) {
    for (const [shard, client] of clients.entries()) {
      const payload = (round + shard) % 5 === 0 ? "" : `${String(shard)}-${String(round)}`;
      gateway.put(client, publish(`r/${String(round % 3)}`, payload, (round % 2) as 0 | 1, { retain: true }));
    }
    // Some shards take their turn, in an order that changes, before the others have had theirs.
    for (let i = 0; i < shards; i++) if ((round + i) % 3 !== 0) gateway.turn((round * 7 + i * 3) % shards);
  }
  gateway.run();
  const states = gateway.shards.map((shard) => [...shard.parts.retained.all()].map(({ topic, record }) => `${topic} ${record.toString("hex")}`).sort());
  for (const state of states) t.same(state, states[0]);
});

onShards("a shard that restarts knows all retained messages before main calls it live, also those of another that is down", (t, gateway) => {
  const shards = gateway.shards.length;
  const clients = Array.from({ length: shards }, (_, shard) => gateway.connect(clientIdOn(shard, shards, "c")));
  for (let i = 0; i < 40; i++) clients[i % shards]!.send(publish(`r/${String(i)}`, "kept", 0, { retain: true }));
  clients[0]!.send(publish("r/7", "", 0, { retain: true }));
  gateway.kill(shards - 1);
  gateway.kill(1);
  gateway.run();
  clients[0]!.send(publish("r/8", "", 0, { retain: true }), publish("r/9", "newer", 0, { retain: true }));
  gateway.revive(1);
  gateway.run();
  const late = gateway.connect(clientIdOn(1, shards, "late"));
  late.send(subscribe("r/#"));
  t.same(late.received, [], "it serves nobody before main calls it live");
  gateway.enliven(1);
  gateway.run();
  t.equal(late.drain("suback").length, 1);
  const got = late.payloads();
  t.equal(got.length, 38);
  t.ok(got.includes("newer"));
  gateway.revive(shards - 1);
  gateway.enliven(shards - 1);
  gateway.run();
  for (const shard of gateway.shards) t.equal(shard.parts.retained.count, 38);
}, {}, [3, 4]);

onShards("a subscriber on a shard that comes back is served only when the others send there", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  gateway.kill(0);
  gateway.run();
  gateway.revive(0);
  gateway.run();
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 1));
  t.same(subscriber.received, [], "main has not called it live");
  gateway.enliven(0);
  gateway.run();
  t.equal(subscriber.drain("suback").length, 1);
  publisher.send(publish("t", "heard", 1));
  t.same(subscriber.payloads(), ["heard"]);
}, {}, [2, 4]);

onShards("a client that is back on a restarted shard at once reaches the subscribers of the others", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 1));
  gateway.kill(gateway.shards.length - 1);
  gateway.revive(gateway.shards.length - 1);
  gateway.enliven(gateway.shards.length - 1);
  // Its first batch holds CONNECT and PUBLISH already.
  const publisher = gateway.open(gateway.shardOf(b), 4);
  gateway.put(publisher, { cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 60, clientId: b }, publish("t", "first thing", 1));
  gateway.run();
  t.same(subscriber.payloads(), ["first thing"]);
}, {}, [2, 4]);

onShards("a SUBACK waits until every other shard knows of the interest", (t, gateway, { a, b }) => {
  const publisher = gateway.connect(b);
  const subscriber = gateway.connect(a);
  subscriber.drain("connack");
  const others = gateway.shards.map((_, shard) => shard).filter((shard) => shard !== subscriber.shard);
  gateway.put(subscriber, subscribe("r", 1));
  gateway.turn(subscriber.shard);
  gateway.put(publisher, publish("r", "in its turn", 1, { retain: true }));
  for (let i = 0; i < 3; i++) gateway.turn(subscriber.shard);
  for (const shard of others) {
    t.same(subscriber.received, [], "somebody has not seen it yet");
    gateway.turn(shard);
    if (shard !== others.at(-1)) for (let i = 0; i < 3; i++) gateway.turn(subscriber.shard);
  }
  gateway.turn(subscriber.shard);
  gateway.run();
  t.match(subscriber.received, [{ cmd: "publish", retain: false }, { cmd: "suback" }, { cmd: "publish", retain: true }]);
}, {}, [2, 4]);

onShards("a QoS 2 message that needs no commit is with the other shards when its PUBREC leaves", (t, gateway, { a, b }) => {
  const subscriber = gateway.connect(a);
  subscriber.send(subscribe("t", 2));
  const publisher = gateway.connect(b);
  gateway.put(publisher, publish("t", "held", 2));
  gateway.turn(publisher.shard);
  t.equal(publisher.drain("pubrec").length, 1);
  gateway.kill(publisher.shard);
  gateway.run();
  t.same(subscriber.payloads(), ["held"]);
}, { durability: "memory" }, [2, 4]);

void t.test("SUBACKs do not wait, and memory does not grow, for a shard that is down and whose ring is full", (t) => {
  const gateway = new TestGateway({ shards: 3, ringCapacity: 512 * 1024 });
  t.teardown(() => gateway.stop());
  gateway.kill(2);
  gateway.run();
  const client = gateway.connect(clientIdOn(0, 3, "c"), { protocolVersion: 5 });
  const filter = "f".repeat(2000);
  for (let i = 0; i < 600; i++) {
    client.send(subscribe(`${filter}/${String(i)}`));
    client.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: [`${filter}/${String(i)}`] } as never);
  }
  client.send(subscribe("last"));
  t.equal(client.drain("suback").length, 601);
  const publisher = gateway.connect(clientIdOn(1, 3, "p"));
  publisher.send(publish("last", "heard"));
  t.same(client.payloads(), ["heard"]);
  gateway.revive(2);
  gateway.enliven(2);
  gateway.run();
  gateway.connect(clientIdOn(2, 3, "p")).send(publish("last", "and from the third"));
  t.same(client.payloads(), ["and from the third"]);
  t.equal(gateway.counters[0]![SHARD_COUNTER.STALLS_PEER], 0);
  t.end();
});

void t.test("an answer to the HELLO of a shard that died at once is none to its successor's, however little the others had seen of it", (t) => {
  const gateway = new TestGateway({ shards: 2 });
  t.teardown(() => gateway.stop());
  const subscriber = gateway.connect(clientIdOn(0, 2, "s"));
  subscriber.send(subscribe("t", 1));
  gateway.kill(1);
  gateway.revive(1);
  gateway.turn(1);
  const before = gateway.shards[1]!.parts.interests.life;
  gateway.kill(1);
  gateway.revive(1);
  gateway.enliven(1);
  t.not(gateway.shards[1]!.parts.interests.life, before);
  const publisher = gateway.open(1, 4);
  gateway.put(publisher, { cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 60, clientId: clientIdOn(1, 2, "p") }, publish("t", "x", 1));
  // Shard 0 takes its turns late: what the first life said is there when the second one asks.
  for (let i = 0; i < 3; i++) gateway.turn(0);
  gateway.turn(1);
  gateway.run();
  t.same(subscriber.payloads(), ["x"]);
  t.end();
});

void t.test("a SUBACK waits for the last of many interests that a restarted shard is told", (t) => {
  const gateway = new TestGateway({ shards: 2, limits: { subscriptionsPerClientMax: 10_000 } });
  t.teardown(() => gateway.stop());
  const subscriber = gateway.connect(clientIdOn(0, 2, "s"));
  for (let i = 0; i < 5000; i++) subscriber.send(subscribe(`t/${String(i)}`, 1));
  gateway.kill(1);
  gateway.revive(1);
  gateway.enliven(1);
  const publisher = gateway.open(1, 4);
  const messages = Array.from({ length: 5000 }, (_, i) => publish(`t/${String(i)}`, "x", 1, { messageId: i + 1 }));
  gateway.put(publisher, { cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 60, clientId: clientIdOn(1, 2, "p") }, ...messages);
  gateway.run();
  t.equal(subscriber.payloads().length + gateway.shards[0]!.clients()[0]!.queued, 5000);
  t.end();
});

void t.test("a retained message that a shard could tell only some of the others before it died reaches the rest when it is back", (t) => {
  const gateway = new TestGateway({ shards: 3, ringCapacity: 512 * 1024 });
  t.teardown(() => gateway.stop());
  const publisher = gateway.connect(clientIdOn(0, 3, "p"));
  for (let i = 0; i < 20; i++) {
    gateway.put(publisher, publish(`r/${String(i)}`, "x".repeat(30_000), 0, { retain: true }));
    gateway.turn(0);
    gateway.turn(1);
    gateway.commitShard(0);
  }
  gateway.kill(0);
  gateway.run();
  const counts = (): number[] => gateway.shards.map(({ parts }) => parts.retained.count);
  t.equal(counts()[1], 20);
  t.ok(counts()[2]! < 20, `${String(counts()[2])} on the shard whose ring was full`);
  gateway.revive(0);
  gateway.enliven(0);
  gateway.run();
  t.same(counts(), [20, 20, 20]);
  t.end();
});
