// Shared subscriptions on 1, 2 and 4 shards: members and owner wherever their hashes put them.
import t from "tap";
import type { Packet } from "mqtt-packet";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { DEFAULT_SHARD_LIMITS, SHARED_MEMBER_WINDOW_MAX } from "../../src/base/limits.js";
import { ownerOf, type SharedGroups } from "../../src/broker/shared-groups.js";
import { clientIdOn, type TestClient, TestGateway } from "./harness.js";
import { ack, onShards, publish, subscribe } from "./support.js";

type Publish = Packet & { readonly cmd: "publish"; readonly qos: number; readonly messageId: number; readonly payload: Buffer; readonly dup: boolean; readonly retain: boolean };

/** A group over `filter` that the given shard owns. */
function groupOn(shard: number, shards: number, filter = "t"): string {
  for (let i = 0; ; i++) if (ownerOf(`$share/g${String(i)}/${filter}`, shards) === shard) return `$share/g${String(i)}/${filter}`;
}

function total(gateway: TestGateway, counter: number): number {
  return gateway.counters.reduce((sum, counters) => sum + counters[counter]!, 0);
}

/** Members on all shards in turn. */
function members(gateway: TestGateway, count: number, group: string, qos: 0 | 1 | 2, more: Record<string, unknown> = {}): TestClient[] {
  const shards = gateway.shards.length;
  return Array.from({ length: count }, (_, i) => {
    const client = gateway.connect(clientIdOn(i % shards, shards, `member-${String(i)}-`), more);
    client.send(subscribe(group, qos));
    return client;
  });
}

function publishes(client: TestClient): Publish[] {
  return client.drain("publish") as Publish[];
}

function texts(packets: readonly Publish[]): string[] {
  return packets.map(({ payload }) => payload.toString());
}

/** Acknowledges with PUBACK. @returns what was acknowledged */
function acknowledge(client: TestClient): string[] {
  const packets = publishes(client);
  if (packets.length > 0) client.send(...packets.map(({ messageId }) => ack("puback", messageId)));
  return texts(packets);
}

const PERSISTENT = { clean: false };

for (const qos of [0, 1, 2] as const) {
  onShards(`messages with QoS ${String(qos)} are spread evenly over the members, each to one`, (t, gateway, { b }) => {
    const all = members(gateway, 4, "$share/g/t/#", qos);
    const publisher = gateway.connect(b);
    for (let i = 0; i < 80; i++) publisher.send(publish(`t/${String(i % 3)}`, String(i), qos, { messageId: i + 1 }));
    const got = all.map((client) => publishes(client));
    t.same(got.map(({ length }) => length), [20, 20, 20, 20]);
    t.ok(got.flat().every((packet) => packet.qos === qos && !packet.dup && !packet.retain));
    t.same(texts(got.flat()).sort(), Array.from({ length: 80 }, (_, i) => String(i)).sort());
    for (const packets of got) for (const [i, packet] of packets.entries()) if (i > 0) t.ok(Number(packet.payload.toString()) > Number(packets[i - 1]!.payload.toString()), "in order");
  });
}

onShards("SUBACK comes when a message published after it is sure to arrive, whoever owns the group", (t, gateway) => {
  const shards = gateway.shards.length;
  for (let owner = 0; owner < shards; owner++) {
    for (let from = 0; from < shards; from++) {
      const topic = `s/${String(owner)}/${String(from)}`;
      const member = gateway.connect(clientIdOn((owner + 1) % shards, shards, `member-${topic}-`));
      const publisher = gateway.connect(clientIdOn(from, shards, `publisher-${topic}-`));
      gateway.put(member, subscribe(groupOn(owner, shards, topic), 1));
      for (let i = 0; i < 20 && member.drain("suback").length === 0; i++) for (let shard = 0; shard < shards; shard++) gateway.turn(shard);
      gateway.put(publisher, publish(topic, "after", 1));
      gateway.run();
      t.same(acknowledge(member), ["after"]);
    }
  }
});

onShards("the granted QoS is the most a member gets, and its subscription identifier comes along [MQTT-4.8.2-3]", (t, gateway, { a, b }) => {
  const low = gateway.connect(a, { protocolVersion: 5 });
  low.send(subscribe("$share/g/t", 1, { rap: true }));
  const publisher = gateway.connect(b, { protocolVersion: 5 });
  publisher.send({ ...publish("t", "two", 2), properties: { userProperties: { k: "v" }, contentType: "text" } } as Packet);
  const [packet] = publishes(low);
  t.match(packet, { qos: 1, properties: { contentType: "text" } });
  low.send(ack("puback", packet!.messageId));
  low.send({ ...subscribe("$share/g/t", 2, { rap: true }), properties: { subscriptionIdentifier: 77 } } as Packet);
  publisher.send(publish("t", "kept", 1, { retain: true }));
  t.match(publishes(low)[0], { qos: 1, retain: true, properties: { subscriptionIdentifier: 77 } });
  t.equal(total(gateway, SHARD_COUNTER.SHARED_GROUPS), 1);
  t.equal(total(gateway, SHARD_COUNTER.SUBSCRIPTIONS), 1);
});

onShards("retained messages are not sent for a shared subscription", (t, gateway, { a, b }) => {
  gateway.connect(b).send(publish("t", "retained", 1, { retain: true }));
  const member = gateway.connect(a);
  member.send(subscribe("$share/g/t", 1));
  t.equal(member.drain("suback").length, 1);
  t.same(member.payloads(), []);
});

onShards("a client in a group gets its own overlapping subscription's messages too", (t, gateway, { a, b }) => {
  const both = gateway.connect(a);
  both.send(subscribe("$share/g/t", 1), subscribe("t", 1), subscribe("$share/h/#", 1));
  const other = gateway.connect(b);
  other.send(subscribe("$share/g/t", 1));
  for (let i = 0; i < 4; i++) other.send(publish("t", String(i), 1));
  const got = acknowledge(both);
  const shared = 4 - acknowledge(other).length;
  t.equal(shared, 2);
  t.equal(got.length, 4 + 4 + shared, "its own, those of the group it is alone in, and its share");
});

onShards("filters that are no shared subscriptions are refused: 0x8F, and 0x80 in 3.1.1 [MQTT-4.8.2-1] [MQTT-4.8.2-2]", (t, gateway, { a, b }) => {
  const bad = ["$share/g", "$share//t", "$share/g+/t", "$share/#/t", "$share/g/", "$share/g/t#"];
  for (const [id, version, code] of [[a, 4, 0x80], [`${b}x`, 5, 0x8f]] as const) {
    const client = gateway.connect(clientIdOn(0, gateway.shards.length, id), { protocolVersion: version });
    client.send({ cmd: "subscribe", messageId: 3, subscriptions: bad.map((topic) => ({ topic, qos: 1 })) } as unknown as Packet);
    t.same((client.drain("suback")[0] as { granted: number[] }).granted, bad.map(() => code));
  }
});

onShards("[MQTT-3.8.3-4] no local on a shared subscription is a protocol error", (t, gateway, { a }) => {
  const client = gateway.connect(a, { protocolVersion: 5 });
  client.send(subscribe("$share/g/t", 1, { nl: true }));
  t.match(client.drain("disconnect"), [{ reasonCode: 0x82 }]);
});

onShards("CONNACK says that shared subscriptions are available", (t, gateway, { a }) => {
  const client = gateway.connect(a, { protocolVersion: 5 });
  const [connack] = client.drain("connack") as { properties?: { sharedSubscriptionAvailable?: boolean } }[];
  t.not(connack?.properties?.sharedSubscriptionAvailable, false);
});

onShards("messages wait while all members are away, and come in order when one is back", (t, gateway, { b }) => {
  const [one, two] = members(gateway, 2, "$share/g/t", 1, PERSISTENT);
  const publisher = gateway.connect(b);
  one!.cut();
  publisher.send(publish("t", "while one is there", 1));
  t.same(acknowledge(two!), ["while one is there"]);
  two!.cut();
  for (let i = 0; i < 10; i++) publisher.send(publish("t", String(i), (1 + (i % 2)) as 1 | 2, { messageId: i + 1 }));
  publisher.send(publish("t", "nobody keeps it", 0));
  t.equal(total(gateway, SHARD_COUNTER.SHARED_QUEUED), 10);
  t.equal(total(gateway, SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER), 1);
  const again = gateway.connect(clientIdOn(0, gateway.shards.length, "member-0-"), PERSISTENT);
  t.same(acknowledge(again), Array.from({ length: 10 }, (_, i) => String(i)));
  t.equal(total(gateway, SHARD_COUNTER.SHARED_QUEUED), 0);
  t.equal(total(gateway, SHARD_COUNTER.SHARED_QUEUED_BYTES), 0);
});

onShards("what a member that leaves for good has not acknowledged goes to the others, but for QoS 2 that was sent [MQTT-4.8.2-5]", (t, gateway, { b }) => {
  const [one, two] = members(gateway, 2, "$share/g/t", 2);
  const publisher = gateway.connect(b);
  for (let i = 0; i < 6; i++) publisher.send(publish("t", `one-${String(i)}`, 1));
  for (let i = 0; i < 6; i++) publisher.send(publish("t", `two-${String(i)}`, 2, { messageId: i + 10 }));
  const hers = texts(publishes(one!));
  const his = texts(publishes(two!));
  t.equal(hers.length, 6);
  one!.cut();
  const more = publishes(two!);
  t.same(texts(more), hers.filter((text) => text.startsWith("one")));
  t.ok(more.every(({ dup }) => !dup), "for the other it is the first time");
  t.equal(total(gateway, SHARD_COUNTER.DROPPED_SHARED_QOS2), hers.filter((text) => text.startsWith("two")).length);
  t.equal(total(gateway, SHARD_COUNTER.SHARED_RETURNED), more.length);
  t.equal(his.length, 6);
});

onShards("a member that is away and comes back has what was sent to it; what was not sent goes to the others [MQTT-4.8.2-4]", (t, gateway, { b }) => {
  const shards = gateway.shards.length;
  const id = clientIdOn(0, shards, "away");
  const away = gateway.connect(id, { ...PERSISTENT, protocolVersion: 5, properties: { sessionExpiryInterval: 1000, receiveMaximum: 2 } });
  // Its own subscription takes the window too, so that some of the group waits in its session's queue.
  away.send(subscribe("$share/g/t", 2), subscribe("own", 1));
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "sent-1", 1), publish("own", "own", 1), publish("t", "queued-1", 1));
  t.same(away.payloads().sort(), ["own", "sent-1"]);
  const [other] = members(gateway, 1, "$share/g/t", 2);
  away.cut();
  t.same(texts(publishes(other!)), ["queued-1"]);
  publisher.send(publish("t", "new", 2));
  t.same(texts(publishes(other!)), ["new"]);
  const back = gateway.connect(id, { ...PERSISTENT, protocolVersion: 5, properties: { sessionExpiryInterval: 1000, receiveMaximum: 2 } });
  t.match(publishes(back), [{ dup: true }, { dup: true }]);
});

onShards("a member that refuses a message with a reason code is taken at its word [MQTT-4.8.2-6]", (t, gateway, { b }) => {
  const all = members(gateway, 2, "$share/g/t", 2, { protocolVersion: 5 });
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "a", 1), publish("t", "b", 2, { messageId: 2 }));
  for (const client of all) {
    for (const { qos, messageId } of publishes(client)) client.send({ cmd: qos === 1 ? "puback" : "pubrec", messageId, reasonCode: 0x80 } as Packet);
  }
  for (const client of all) client.cut();
  t.equal(total(gateway, SHARD_COUNTER.SHARED_RETURNED), 0);
  t.same(all.flatMap((client) => client.payloads()), []);
});

onShards("a member that does not acknowledge keeps no more than its window; the others get the rest", (t, gateway, { b }) => {
  const shards = gateway.shards.length;
  const slow = gateway.connect(clientIdOn(0, shards, "slow"), { protocolVersion: 5, properties: { receiveMaximum: 5 } });
  slow.send(subscribe("$share/g/t", 1));
  const [quick] = members(gateway, 1, "$share/g/t", 1);
  const publisher = gateway.connect(b);
  let quickCount = 0;
  for (let i = 0; i < 300; i++) {
    publisher.send(publish("t", String(i), 1));
    quickCount += acknowledge(quick!).length;
  }
  t.equal(slow.payloads().length, 5);
  t.equal(quickCount, 295);
  slow.cut();
  t.equal(acknowledge(quick!).length, 5);
});

onShards("a member that does not read gets nothing while others do, QoS 0 either", (t, gateway, { b }) => {
  const [one, two] = members(gateway, 2, "$share/g/t", 1);
  const publisher = gateway.connect(b);
  one!.press(true);
  for (let i = 0; i < 10; i++) publisher.send(publish("t", String(i), (i % 2) as 0 | 1));
  t.equal(publishes(two!).length, 10);
  two!.press(true);
  publisher.send(publish("t", "waits", 1));
  t.same([...one!.payloads(), ...two!.payloads()], []);
  one!.press(false);
  t.same(one!.payloads(), ["waits"]);
});

onShards("nobody acknowledges: the group's queue is bounded, and what it refuses is counted", (t, gateway, { b }) => {
  const [one] = members(gateway, 1, "$share/g/t", 1, PERSISTENT);
  const publisher = gateway.connect(b);
  one!.cut();
  for (let i = 0; i < 30; i++) publisher.send(publish("t", String(i), 1));
  t.equal(total(gateway, SHARD_COUNTER.SHARED_QUEUED), 20);
  t.equal(total(gateway, SHARD_COUNTER.DROPPED_SHARED_QUEUE_FULL), 10);
  const back = gateway.connect(clientIdOn(0, gateway.shards.length, "member-0-"), PERSISTENT);
  t.equal(acknowledge(back).length, 20);
}, { limits: { queueCountMax: 20 } });

onShards("unsubscribing ends membership: nothing new comes, what was sent can still be acknowledged", (t, gateway, { b }) => {
  const [one, two] = members(gateway, 2, "$share/g/t", 1);
  const publisher = gateway.connect(b);
  publisher.send(publish("t", "1", 1), publish("t", "2", 1));
  one!.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["$share/g/t"] } as Packet);
  t.equal(one!.drain("unsuback").length, 1);
  t.equal(acknowledge(one!).length, 1);
  for (let i = 0; i < 10; i++) publisher.send(publish("t", String(i), 1));
  t.same(one!.payloads(), []);
  t.equal(publishes(two!).length, 11);
  two!.cut();
  t.equal(total(gateway, SHARD_COUNTER.SHARED_GROUPS), 0);
  for (const shard of gateway.shards) t.equal(shard.parts.tree.nodeCount, 0, "no interest is left");
});

onShards("messages that expire while they wait are not delivered", (t, gateway, { b }) => {
  const [one] = members(gateway, 1, "$share/g/t", 1, { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 1000 } });
  one!.cut();
  const publisher = gateway.connect(b, { protocolVersion: 5 });
  publisher.send({ ...publish("t", "short", 1), properties: { messageExpiryInterval: 5 } } as Packet, { ...publish("t", "long", 1), properties: { messageExpiryInterval: 100 } } as Packet);
  gateway.advance(10_000);
  const back = gateway.connect(clientIdOn(0, gateway.shards.length, "member-0-"), { protocolVersion: 5, clean: false });
  t.match(publishes(back), [{ properties: { messageExpiryInterval: 90 } }]);
  t.equal(total(gateway, SHARD_COUNTER.DROPPED_EXPIRED), 1);
});

onShards("when a member's shard dies, its unacknowledged QoS 1 messages go to members elsewhere once its successor has said that it has none of them", (t, gateway) => {
  const shards = gateway.shards.length;
  const group = groupOn(0, shards);
  const dying = gateway.connect(clientIdOn(1, shards, "dying"));
  dying.send(subscribe(group, 1));
  const staying = gateway.connect(clientIdOn(0, shards, "staying"));
  staying.send(subscribe(group, 1));
  const publisher = gateway.connect(clientIdOn(0, shards, "publisher"));
  for (let i = 0; i < 6; i++) publisher.send(publish("t", String(i), 1));
  t.equal(acknowledge(staying).length, 3);
  const lost = dying.payloads();
  gateway.kill(1);
  gateway.run();
  t.same(acknowledge(staying), []);
  gateway.revive(1);
  gateway.enliven(1);
  gateway.run();
  t.same(acknowledge(staying), lost);
  publisher.send(publish("t", "a", 1), publish("t", "b", 1));
  t.same(acknowledge(staying), ["a", "b"]);
  const again = gateway.connect(clientIdOn(1, shards, "dying"));
  again.send(subscribe(group, 1));
  publisher.send(publish("t", "c", 1), publish("t", "d", 1));
  t.equal(acknowledge(staying).length, 1);
  t.equal(acknowledge(again).length, 1);
}, {}, [2, 4]);

onShards("when the owner's shard dies, its successor is told the members; SUBACKs that wait for it come then", (t, gateway) => {
  const shards = gateway.shards.length;
  const owner = shards - 1;
  const group = groupOn(owner, shards);
  const member = gateway.connect(clientIdOn(0, shards, "member"));
  member.send(subscribe(group, 1));
  const publisher = gateway.connect(clientIdOn(0, shards, "publisher"));
  publisher.send(publish("t", "done", 1));
  t.same(acknowledge(member), ["done"]);
  publisher.send(publish("t", "before", 1));
  t.same(member.payloads(), ["before"]);
  gateway.kill(owner);
  gateway.run();
  publisher.send(publish("t", "meanwhile", 1));
  const late = gateway.connect(clientIdOn(0, shards, "late"));
  late.send(subscribe(group, 1));
  t.same(late.drain("suback"), [], "nobody knows of it yet");
  gateway.revive(owner);
  gateway.enliven(owner);
  gateway.run();
  t.equal(late.drain("suback").length, 1);
  t.same([...acknowledge(member), ...acknowledge(late)].sort(), ["meanwhile"], "what was published while nobody owned the group; what the member has is still its own");
  member.send(ack("puback", 2));
  publisher.send(publish("t", "1", 1), publish("t", "2", 1));
  t.equal(acknowledge(member).length, 1);
  t.equal(acknowledge(late).length, 1);
}, {}, [2, 4]);

onShards("sessions that are kept are members again after a restart of their shard, of the owner's, and keep what they were given", (t, gateway) => {
  const shards = gateway.shards.length;
  for (const owner of [0, shards - 1]) {
    const topic = `t${String(owner)}`;
    const group = groupOn(owner, shards, topic);
    const id = clientIdOn(1, shards, `kept-${topic}-`);
    const kept = gateway.connect(id, PERSISTENT);
    kept.send(subscribe(group, 1));
    const publisher = gateway.connect(clientIdOn(0, shards, `publisher-${topic}-`));
    publisher.send(publish(topic, "given", 1));
    t.same(kept.payloads(), ["given"]);
    gateway.restart(1);
    const back = gateway.connect(id, PERSISTENT);
    t.ok(back.payloads().includes("given"), "it was not acknowledged");
    back.cut();
    const again = gateway.connect(clientIdOn(0, shards, `publisher-${topic}-`));
    again.send(publish(topic, "waits", 1));
    const third = gateway.connect(id, PERSISTENT);
    const got = publishes(third);
    t.ok(texts(got).includes("waits"), `${texts(got).join()} came`);
    third.send(...got.map(({ messageId }) => ack("puback", messageId)));
    gateway.restart(1);
    const fourth = gateway.connect(id, PERSISTENT);
    t.same(fourth.payloads(), [], "acknowledged");
    again.cut();
    const last = gateway.connect(clientIdOn(0, shards, `last-${topic}-`));
    last.send(publish(topic, "new", 1));
    t.same(acknowledge(fourth), ["new"]);
  }
}, {}, [2, 4]);

/** The whole gateway is killed; another one starts on what is on disk. */
function crash(gateway: TestGateway, shards: number): TestGateway {
  gateway.stop();
  return new TestGateway({ shards, disk: gateway.disk, now: gateway.clock.now });
}

for (const [before, after] of [[1, 1], [2, 2], [4, 4], [4, 1], [1, 4], [2, 3]] as const) {
  void t.test(`what waits for a group and what its members hold is there after a crash (${String(before)} shards, then ${String(after)})`, (t) => {
    const first = new TestGateway({ shards: before });
    const ids = ["kept-1", "kept-2"];
    const options = { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 1000, receiveMaximum: 2 } } as const;
    const [one, two] = ids.map((id) => first.connect(id, options));
    one!.send(subscribe("$share/g/t/#", 2));
    two!.send(subscribe("$share/g/t/#", 2));
    const publisher = first.connect("publisher");
    for (let i = 0; i < 10; i++) publisher.send(publish(`t/${String(i % 2)}`, String(i), 2, { messageId: i + 1 }));
    const sent = [one!, two!].map((client) => publishes(client));
    t.same(sent.map(({ length }) => length), [2, 2]);
    // One of them had its PUBREC, whose PUBREL may come or not.
    one!.send(ack("pubrec", sent[0]![0]!.messageId));
    const done = sent[0]![0]!.payload.toString();
    const second = crash(first, after);
    t.teardown(() => second.stop());
    second.run();
    t.equal(total(second, SHARD_COUNTER.SHARED_QUEUED), 6);
    const got: string[] = [];
    const [again, other] = ids.map((id) => second.connect(id, options));
    for (let round = 0; round < 20; round++) {
      for (const client of [again!, other!]) {
        const packets = publishes(client);
        for (const packet of packets) {
          if (round === 0) t.equal(packet.dup, true, "sent before the crash: to the same client, with the same packet id");
          got.push(packet.payload.toString());
        }
        client.drain("pubrel").forEach((packet) => client.send(ack("pubcomp", packet.messageId!)));
        client.send(...packets.map(({ messageId }) => ack("pubrec", messageId)));
      }
    }
    t.same(got.sort(), Array.from({ length: 10 }, (_, i) => String(i)).filter((text) => text !== done), "each once");
    const third = crash(second, before);
    t.teardown(() => third.stop());
    const last = ids.map((id) => third.connect(id, options));
    t.same(last.flatMap((client) => client.payloads()), [], "nothing comes twice");
    third.connect("new").send(publish("t/x", "new", 1));
    t.same(last.flatMap((client) => client.payloads()), ["new"]);
    t.end();
  });
}

onShards("what a group was given for nobody who is there waits over crashes, in order, and ends with its last member", (t, gateway) => {
  const shards = gateway.shards.length;
  const member = gateway.connect("member", PERSISTENT);
  member.send(subscribe("$share/g/t", 1));
  member.cut();
  const publisher = gateway.connect("publisher");
  for (let i = 0; i < 5; i++) publisher.send(publish("t", String(i), 1, { messageId: i + 1 }));
  const second = crash(gateway, shards);
  second.connect("publisher").send(publish("t", "5", 1));
  const third = crash(second, shards);
  t.teardown(() => third.stop());
  const back = third.connect("member", PERSISTENT);
  t.same(acknowledge(back), ["0", "1", "2", "3", "4", "5"]);
  back.send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["$share/g/t"] });
  third.connect("publisher").send(publish("t", "nobody's", 1));
  const fourth = crash(third, shards);
  t.teardown(() => fourth.stop());
  t.equal(total(fourth, SHARD_COUNTER.SHARED_GROUPS), 0);
  for (const shard of fourth.shards) t.equal(shard.parts.tree.nodeCount, 0);
});

onShards("what a session gives back when DISCONNECT ends it at once is the group's after a crash too", (t, gateway, { a, b }) => {
  const shards = gateway.shards.length;
  const options = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 1000 } };
  const owners = shards === 1 ? [0] : [0, shards - 1];
  for (const shard of owners) {
    const topic = `t${String(shard)}`;
    const group = groupOn(shard, shards, topic);
    const member = gateway.connect(a, options);
    member.send(subscribe(group, 2));
    const waiting = gateway.connect(b, options);
    waiting.send(subscribe(group, 2));
    waiting.cut();
    const publisher = gateway.connect("publisher");
    publisher.send(publish(topic, "one", 1, { messageId: 1 }), publish(topic, "two", 1, { messageId: 2 }));
    t.same(texts(publishes(member)), ["one", "two"]);
    member.send({ cmd: "disconnect", reasonCode: 0, properties: { sessionExpiryInterval: 0 } });
    gateway.run();
  }
  const next = crash(gateway, shards);
  t.teardown(() => next.stop());
  const got = next.connect(b, options);
  t.same(acknowledge(got).sort(), owners.flatMap(() => ["one"]).concat(owners.flatMap(() => ["two"])));
});

onShards("a session that is taken over only to end with its connection: what it may have been sent with QoS 2 is nobody else's after a crash", (t, gateway, { a, b }) => {
  const kept = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 1000, receiveMaximum: 1 } };
  const member = gateway.connect(a, kept);
  member.send(subscribe("own", 1));
  member.send(subscribe("$share/g/t", 2));
  const publisher = gateway.connect("publisher");
  publisher.send(publish("own", "fills its window", 1, { messageId: 1 }));
  publisher.send(publish("t", "exactly once", 2, { messageId: 2 }));
  t.same(texts(publishes(member)), ["fills its window"]);
  const successor = gateway.connect(a, { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 0, receiveMaximum: 2 } });
  t.same(texts(publishes(successor)), ["fills its window", "exactly once"]);
  const other = gateway.connect(b, kept);
  other.send(subscribe("$share/g/t", 2));
  other.cut();
  const next = crash(gateway, gateway.shards.length);
  t.teardown(() => next.stop());
  t.same(texts(publishes(next.connect(b, kept))), []);
  t.equal(total(next, SHARD_COUNTER.DROPPED_SHARED_QOS2), 1);
});

onShards("what a session that is not kept had when the owner died goes to others when it ends after the owner is back", (t, gateway, { b }) => {
  const shards = gateway.shards.length;
  const group = groupOn(0, shards);
  const member = gateway.connect(b);
  member.send(subscribe(group, 1));
  gateway.connect(`${b}p`).send(publish("t", "one", 1));
  t.same(texts(publishes(member)), ["one"]);
  gateway.restart(0);
  const other = gateway.connect(clientIdOn(shards - 1, shards, "other-"));
  other.send(subscribe(group, 1));
  t.same(acknowledge(other), [], "its session has it");
  member.cut();
  t.same(acknowledge(other), ["one"]);
  gateway.restart(0);
  t.same(acknowledge(other), [], "and now it is done with");
  t.equal(total(gateway, SHARD_COUNTER.SHARED_QUEUED), 0);
}, {}, [2, 4]);

onShards("a member whose own queue is full, by the limits of its listener, is not given the same message again and again", (t, gateway, { a, b }) => {
  const kept = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 1000, receiveMaximum: 1 } };
  const member = gateway.connect(a, kept);
  member.send(subscribe("own", 1));
  member.send(subscribe("$share/g/t", 1));
  const publisher = gateway.connect(b);
  for (let i = 0; i < 6; i++) publisher.send(publish("own", String(i), 1));
  publisher.send(publish("t", "the group's", 1));
  for (let i = 0; i < 20; i++) gateway.advance(1000);
  const given = gateway.journal.filter(({ kind }) => kind === ENTRY.GIVEN).length;
  t.ok(given <= 2, `given ${String(given)} times`);
  t.equal(total(gateway, SHARD_COUNTER.SHARED_QUEUED), 1, "it waits in the group");
  const got: string[] = [];
  for (let i = 0; i < 10; i++) got.push(...acknowledge(member));
  t.same(got.filter((text) => text === "the group's").length, 1);
}, {
  limits: { queueCountMax: 1000 },
  listeners: [{ name: "narrow", isTls: false, protocol: "mqtt", identity: "none", limits: { ...DEFAULT_SHARD_LIMITS, queueCountMax: 4 } }],
});

onShards("what comes while no member takes or keeps anything is dropped for good", (t, gateway, { a, b }) => {
  const member = gateway.connect(a, PERSISTENT);
  member.send(subscribe("$share/g/t", 1));
  member.send(subscribe("$share/g/t", 0));
  member.cut();
  gateway.connect(b).send(publish("t", "nobody's", 1));
  t.equal(total(gateway, SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER), 1);
  const next = crash(gateway, gateway.shards.length);
  t.teardown(() => next.stop());
  t.equal(total(next, SHARD_COUNTER.SHARED_QUEUED), 0);
  t.same(next.connect(a, PERSISTENT).payloads(), []);
});

onShards("what comes for a group while its members' shard is still down, and its owner is back already, waits for them", (t, gateway, { b }) => {
  const shards = gateway.shards.length;
  const member = gateway.connect(b, PERSISTENT);
  member.send(subscribe(groupOn(0, shards), 1));
  for (const shard of [0, shards - 1]) gateway.kill(shard);
  gateway.run();
  gateway.revive(0);
  gateway.run();
  gateway.enliven(0);
  gateway.run();
  const publisher = gateway.connect(clientIdOn(0, shards, "publisher-"));
  publisher.send(publish("t", "waits", 1));
  t.equal(publisher.drain("puback").length, 1);
  gateway.revive(shards - 1);
  gateway.run();
  gateway.enliven(shards - 1);
  gateway.run();
  t.same(acknowledge(gateway.connect(b, PERSISTENT)), ["waits"]);
  t.equal(total(gateway, SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER), 0);
}, {}, [2, 4]);

onShards("a group that ends keeps nothing in memory, whoever still names it", (t, gateway, { a, b }) => {
  const member = gateway.connect(a, PERSISTENT);
  member.send(subscribe("$share/g/t", 1));
  member.cut();
  gateway.connect(b).send(publish("t", "waits", 1), publish("t", "waits too", 1, { messageId: 2 }));
  const { owner } = gateway.shards[ownerOf("$share/g/t", gateway.shards.length)]!.parts.shared;
  const group = (owner as unknown as { readonly groups: SharedGroups }).groups.get("$share/g/t")!;
  t.equal(group.queueCount, 2);
  gateway.connect(a, PERSISTENT).send({ cmd: "unsubscribe", messageId: 3, unsubscriptions: ["$share/g/t"] });
  t.same([group.queueCount, group.queueSize, group.assignedCount], [0, 0, 0]);
});

void t.test("a full ring to a member's shard: QoS 1 waits in the group, and members elsewhere go on", (t) => {
  const gateway = new TestGateway({ shards: 2, ringCapacity: 512 * 1024 });
  t.teardown(() => gateway.stop());
  const group = groupOn(0, 2);
  const far = gateway.connect(clientIdOn(1, 2, "far"));
  far.send(subscribe(group, 1));
  const publisher = gateway.connect(clientIdOn(0, 2, "publisher"));
  // Only shard 0 takes its turns: the ring to shard 1 fills.
  for (let i = 0; i < 30; i++) {
    gateway.put(publisher, publish("t", `${String(i)}:${"x".repeat(20_000)}`, 1, { messageId: i + 1 }));
    gateway.turn(0);
    gateway.commitShard(0);
  }
  const queued = total(gateway, SHARD_COUNTER.SHARED_QUEUED);
  t.ok(queued > 0, `${String(queued)} wait`);
  const near = gateway.open(0, 4);
  gateway.put(near, { cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 60, clientId: clientIdOn(0, 2, "near") }, subscribe(group, 1));
  for (let i = 0; i < 5; i++) gateway.turn(0);
  t.equal(near.payloads().length, queued);
  gateway.run();
  t.equal(far.payloads().length, 30 - queued);
  t.end();
});

void t.test("no member holds more than the window for shared subscriptions, whatever its receive maximum", (t) => {
  const gateway = new TestGateway({ shards: 2 });
  t.teardown(() => gateway.stop());
  const [one] = members(gateway, 1, "$share/g/t", 1);
  const publisher = gateway.connect(clientIdOn(1, 2, "p"));
  for (let i = 0; i < 200; i++) publisher.send(publish("t", String(i), 1));
  t.equal(publishes(one!).length, SHARED_MEMBER_WINDOW_MAX);
  t.equal(total(gateway, SHARD_COUNTER.SHARED_QUEUED), 200 - SHARED_MEMBER_WINDOW_MAX);
  t.end();
});
