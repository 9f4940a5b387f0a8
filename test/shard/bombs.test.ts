// Hostile subscribers and publishers on 1, 2 and 4 shards: what each can cost has a limit, and others are served meanwhile.
import t from "tap";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { RouteTable } from "../../src/broker/route.js";
import { Session, type Subscription } from "../../src/broker/session.js";
import { SubscriptionTree } from "../../src/broker/subscription-tree.js";
import { clientIdOn, type TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

function counted(gateway: TestGateway, counter: number): number {
  return gateway.counters.reduce((sum, counters) => sum + counters[counter]!, 0);
}

/** Retained messages under r/, published in pieces that fit into rings. */
function retain(gateway: TestGateway, clientId: string, count: number): void {
  const publisher = gateway.connect(clientId);
  for (let at = 0; at < count; at += 50) publisher.send(...Array.from({ length: Math.min(50, count - at) }, (_, i) => publish(`r/${String(at + i)}`, "x", 0, { retain: true })));
}

onShards("subscriptions of all clients together have a limit, beyond which they are refused and counted", (t, gateway, { a, b }) => {
  const bomber = gateway.connect(a, { protocolVersion: 5 });
  let refused = 0;
  for (let i = 0; i < 120; i++) {
    bomber.send(subscribe(`${String(i)}/${"x".repeat(4000)}`));
    const { granted } = bomber.drain("suback")[0] as { granted: number[] };
    if (granted[0] === 0x97) refused++;
    else if (granted[0] !== 0 || refused > 0) t.fail(`subscription ${String(i)} got ${String(granted[0])}`);
  }
  t.ok(refused > 0 && refused < 20, `${String(refused)} were refused`);
  t.equal(counted(gateway, SHARD_COUNTER.REFUSED_SUBSCRIPTIONS), refused);
  const other = gateway.connect(b);
  bomber.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: Array.from({ length: 5 }, (_, i) => `${String(i)}/${"x".repeat(4000)}`) });
  other.send(subscribe("fits"));
  t.match(other.drain("suback"), [{ granted: [0] }], "what was given back can be had");
}, { limits: { subscriptionsSizeMax: 900_000 } });

onShards("a client that subscribes to # again and again, over many retained messages, costs one walk, and then has all", (t, gateway, { a, b }) => {
  retain(gateway, b, 3000);
  const bomber = gateway.connect(a);
  bomber.press(true);
  for (let i = 0; i < 200; i++) bomber.send(subscribe("#"), subscribe("r/+"));
  t.equal(counted(gateway, SHARD_COUNTER.RETAINED_FEEDS), 2, "one for each filter waits for the client to read");
  bomber.press(false);
  const got = bomber.payloads().length;
  t.equal(got, 6000);
  t.equal(counted(gateway, SHARD_COUNTER.RETAINED_FEEDS), 0);
});

onShards("many who subscribe to many retained messages at once, and one who does not read: others are served between their pages", (t, gateway, { a, b }) => {
  retain(gateway, b, 2000);
  const shards = gateway.shards.length;
  const crowd = Array.from({ length: 20 }, (_, i) => gateway.connect(clientIdOn(0, shards, `crowd${String(i)}-`)));
  const slow = gateway.connect(`${a}-slow`);
  slow.press(true);
  for (const client of [slow, ...crowd]) gateway.put(client, subscribe("#"));
  const live = gateway.connect(`${a}-live`);
  live.send(subscribe("live"));
  for (const client of [live, ...crowd]) client.drain("suback");
  for (const client of crowd) t.equal(client.payloads().length, 2000);
  t.same(slow.payloads(), [], "who does not read is not given more");
  slow.press(false);
  t.equal(slow.payloads().length, 2000);
});

onShards("a turn sends only so many retained messages, however many clients ask", (t, gateway, { a }) => {
  retain(gateway, a, 2000);
  const shards = gateway.shards.length;
  const crowd = Array.from({ length: 10 }, (_, i) => gateway.connect(clientIdOn(0, shards, `crowd${String(i)}-`)));
  for (const client of crowd) gateway.put(client, subscribe("#"));
  let most = 0;
  for (let turn = 0; turn < 1000; turn++) {
    const before = crowd.reduce((sum, client) => sum + client.received.length, 0);
    for (let shard = 0; shard < shards; shard++) gateway.turn(shard);
    most = Math.max(most, crowd.reduce((sum, client) => sum + client.received.length, 0) - before);
  }
  gateway.run();
  for (const client of crowd) t.equal(client.payloads().length, 2000);
  t.ok(most <= 1024 + 10, `${String(most)} packets in a turn`);
  t.ok(most > 1000, "the run had something to bound");
});

t.test("routes of many topics that many subscribers match are forgotten before they hold too much, and found again", (t) => {
  const tree = new SubscriptionTree<Session, Subscription>();
  for (let i = 0; i < 100; i++) {
    tree.add("#", { key: new Session(`s${String(i)}`), filter: "#", qos: 0, noLocal: false, retainAsPublished: false, identifier: 0 });
  }
  const sizeMax = 1_000_000;
  const routes = new RouteTable(tree, sizeMax);
  const topics = Array.from({ length: 1000 }, (_, i) => Buffer.from(`devices/${String(i)}/${"x".repeat(100)}`));
  for (const topic of topics) {
    const once = routes.find(topic, 0, topic.length, null);
    t.equal(once.targets.length, 100);
    t.equal(routes.remembered(once), null, "a topic that came once has no place");
  }
  t.equal(routes.size, 0);
  const first = routes.find(topics[0]!, 0, topics[0]!.length, null);
  t.equal(routes.remembered(first), first, "one that comes again has");
  t.equal(routes.find(topics[0]!, 0, topics[0]!.length, null), first);
  for (const topic of topics) {
    t.equal(routes.find(topic, 0, topic.length, null).targets.length, 100);
    if (routes.size > sizeMax + 20_000) t.fail(`${String(routes.size)} bytes`);
  }
  t.equal(first.targets.length, 0, "whoever kept a route keeps nothing but the topic");
  const again = routes.find(topics[0]!, 0, topics[0]!.length, first);
  t.equal(again.targets.length, 100);
  t.equal(routes.fresh(first).targets.length, 100, "also by topic alias");
  t.end();
});
