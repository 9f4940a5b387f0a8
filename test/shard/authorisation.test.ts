// Access rules at work: SUBSCRIBE, PUBLISH, delivery, retained messages, wills, changes while connected; on 1, 2 and 4 shards.
import t from "tap";
import { ACCESS, ACCESS_ALL, type AccessRule, type AccessRuleSet } from "../../src/base/access.js";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import type { Identity } from "../../src/base/identity.js";
import type { TestGateway } from "./harness.js";
import { onShards, publish, subscribe } from "./support.js";

const ANNA: Identity = { user: "anna", groups: [] };
const BEN: Identity = { user: "ben", groups: ["staff"] };

function rule(verb: "allow" | "deny", actions: number, topics: string, more: Partial<AccessRule> = {}): AccessRule {
  return { isAllow: verb === "allow", actions, topics: [topics], users: null, groups: null, clients: null, anonymous: null, ...more };
}

function rules(defaultTo: "allow" | "deny", ...list: readonly AccessRule[]): AccessRuleSet {
  return { isDefaultAllow: defaultTo === "allow", groupsOf: {}, rules: list };
}

const STAFF: AccessRuleSet = rules("deny", rule("allow", ACCESS_ALL, "#", { groups: ["staff"] }), rule("allow", ACCESS_ALL, "own/%u/#"), rule("allow", ACCESS.SUBSCRIBE, "public/+"));

function journaled(gateway: TestGateway): number {
  return gateway.journal.filter(({ kind }) => kind === ENTRY.PUBLISH).length;
}

onShards("SUBSCRIBE: what rules allow nothing of is refused, 0x87 for MQTT 5 and 0x80 for 3.1.1", (t, gateway, { a, b }) => {
  const five = gateway.connectAs(ANNA, a, { protocolVersion: 5 });
  five.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "own/anna/x", qos: 1 }, { topic: "own/ben/x", qos: 1 }, { topic: "#", qos: 0 }, { topic: "private", qos: 0 }] } as never);
  t.match(five.drain("suback"), [{ granted: [1, 0x87, 0, 0x87] }]);
  const four = gateway.connectAs(ANNA, `${b}4`);
  four.send(subscribe("own/ben/#", 1));
  t.match(four.drain("suback"), [{ granted: [0x80] }]);
  t.equal(gateway.counted(SHARD_COUNTER.SUBSCRIPTIONS_FORBIDDEN), 3);
  t.equal(gateway.counted(SHARD_COUNTER.SUBSCRIPTIONS), 2);
}, { access: STAFF });

onShards("a filter wider than what is allowed is granted, and only what is allowed is delivered", (t, gateway, { a, b }) => {
  const anna = gateway.connectAs(ANNA, a);
  anna.send(subscribe("#", 1));
  const ben = gateway.connectAs(BEN, b);
  ben.send(subscribe("#", 0));
  for (const topic of ["own/anna/x", "own/ben/x", "public/1", "public/1/2", "private"]) ben.send(publish(topic, topic), publish(topic, `${topic} 1`, 1));
  t.same(anna.payloads(), ["own/anna/x", "own/anna/x 1", "public/1", "public/1 1"]);
  t.equal(ben.payloads().length, 10);
}, { access: STAFF });

onShards("a shared subscription is granted only when all of it may be read, and a member that loses the right leaves what waits to the others", (t, gateway, { a, b }) => {
  const options = { protocolVersion: 5, properties: { receiveMaximum: 1 } } as const;
  const anna = gateway.connectAs(ANNA, a, options);
  anna.send({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "$share/g/own/anna/#", qos: 1 }, { topic: "$share/g/#", qos: 1 }, { topic: "$share/g/private", qos: 1 }, { topic: "$share/h/public/+", qos: 0 }] } as never);
  t.match(anna.drain("suback"), [{ granted: [1, 0x87, 0x87, 0] }]);
  const ben = gateway.connectAs(BEN, b, options);
  ben.send(subscribe("$share/g/own/anna/#", 1), subscribe("$share/h/public/+", 0));
  const publisher = gateway.connectAs(BEN, `${b}p`);
  for (let i = 0; i < 6; i++) publisher.send(publish("own/anna/1", String(i), 1, { messageId: i + 1 }));
  t.equal(anna.payloads().length, 1);
  gateway.useAccessRules(rules("deny", rule("allow", ACCESS_ALL, "#", { groups: ["staff"] })));
  for (let i = 6; i < 8; i++) publisher.send(publish("own/anna/1", String(i), 1, { messageId: i + 1 }), publish("public/1", `public ${String(i)}`));
  const got: string[] = [];
  for (let round = 0; round < 10; round++) {
    for (const packet of ben.drain("publish")) {
      got.push((packet as unknown as { payload: Buffer }).payload.toString());
      if (packet.messageId !== undefined) ben.send({ cmd: "puback", messageId: packet.messageId });
    }
  }
  t.equal(got.length, 9, "all but the one that was sent before");
  t.same(anna.payloads(), []);
}, { access: STAFF });

onShards("PUBLISH: refused with 0x87 in MQTT 5, acknowledged and dropped in 3.1.1, dropped and counted with QoS 0", (t, gateway, { a, b }) => {
  const ben = gateway.connectAs(BEN, b);
  ben.send(subscribe("#", 2));
  const five = gateway.connectAs(ANNA, a, { protocolVersion: 5 });
  five.send(publish("private", "no", 0), publish("private", "no", 1, { messageId: 4 }), publish("private", "no", 2, { messageId: 5 }), publish("own/anna/1", "yes", 1, { messageId: 6 }));
  t.match(five.drain("puback"), [{ messageId: 4, reasonCode: 0x87 }, { messageId: 6, reasonCode: 0 }]);
  t.match(five.drain("pubrec"), [{ messageId: 5, reasonCode: 0x87 }]);
  const four = gateway.connectAs(ANNA, `${a}4`);
  four.send(publish("private", "no", 0), publish("private", "no", 1, { messageId: 4 }), publish("private", "no", 2, { messageId: 5 }));
  t.match(four.drain("puback"), [{ messageId: 4 }]);
  t.match(four.drain("pubrec"), [{ messageId: 5 }]);
  four.send({ cmd: "pubrel", messageId: 5 });
  t.match(four.drain("pubcomp"), [{ messageId: 5 }]);
  four.send(publish("own/anna/2", "yes too", 1, { messageId: 5 }));
  t.equal(four.closeReason, null);
  t.same(ben.payloads(), ["yes", "yes too"]);
  t.equal(gateway.counted(SHARD_COUNTER.PUBLISHES_FORBIDDEN), 6);
  t.equal(journaled(gateway), 2, "what is refused is not journaled");
}, { access: STAFF });

onShards("a refusal does not overtake the acknowledgements of what was taken before it [MQTT-4.6.0-2]", (t, gateway, { a }) => {
  gateway.isStoreFast = false;
  const five = gateway.connectAs(ANNA, a, { protocolVersion: 5 });
  five.send(publish("own/anna/1", "yes", 1, { messageId: 1 }), publish("private", "no", 1, { messageId: 2 }), publish("own/anna/1", "yes", 1, { messageId: 3 }));
  t.same(five.drain("puback"), []);
  gateway.commit();
  t.match(five.drain("puback"), [{ messageId: 1, reasonCode: 0 }, { messageId: 2, reasonCode: 0x87 }, { messageId: 3, reasonCode: 0 }]);
}, { access: STAFF });

onShards("retained publishing is allowed apart from publishing", (t, gateway, { a, b }) => {
  const publisher = gateway.connectAs(ANNA, a, { protocolVersion: 5 });
  publisher.send(publish("t/1", "kept?", 1, { retain: true, messageId: 1 }), publish("t/1", "plain", 1, { messageId: 2 }), publish("kept/1", "kept", 1, { retain: true, messageId: 3 }));
  t.match(publisher.drain("puback"), [{ messageId: 1, reasonCode: 0x87 }, { messageId: 2, reasonCode: 0 }, { messageId: 3, reasonCode: 0 }]);
  const subscriber = gateway.connect(b);
  subscriber.send(subscribe("#"));
  t.same(subscriber.payloads(), ["kept"]);
}, { access: rules("deny", rule("allow", ACCESS.PUBLISH | ACCESS.SUBSCRIBE, "#"), rule("allow", ACCESS.RETAIN, "kept/#")) });

onShards("retained messages reach a new subscription only where rules allow", (t, gateway, { a, b }) => {
  const ben = gateway.connectAs(BEN, b);
  for (const topic of ["own/anna/x", "own/ben/x", "public/1", "private"]) ben.send(publish(topic, topic, 1, { retain: true }));
  const anna = gateway.connectAs(ANNA, a);
  anna.send(subscribe("#", 1));
  t.same(anna.payloads().sort(), ["own/anna/x", "public/1"]);
}, { access: STAFF });

onShards("a will on a forbidden topic refuses the CONNECT: 0x87 for MQTT 5, return code 5 for 3.1.1", (t, gateway, { a, b }) => {
  const will = { topic: "private", payload: Buffer.from("gone"), qos: 0, retain: false };
  const five = gateway.connectAs(ANNA, a, { protocolVersion: 5, will });
  t.match(five.drain("connack"), [{ reasonCode: 0x87 }]);
  t.not(five.closeReason, null);
  const four = gateway.connectAs(ANNA, b, { will });
  t.match(four.drain("connack"), [{ returnCode: 5 }]);
  t.match(gateway.connectAs(ANNA, `${b}2`, { will: { ...will, topic: "own/anna/will" } }).drain("connack"), [{ returnCode: 0 }]);
  t.equal(gateway.counted(SHARD_COUNTER.WILLS_FORBIDDEN), 2);
  t.equal(gateway.counted(SHARD_COUNTER.WILLS_SENT), 0);
}, { access: STAFF });

onShards("rules that change: a will is not sent, a publish is refused, a subscription gets nothing any more, and all again when they change back", (t, gateway, { a, b }) => {
  const ben = gateway.connectAs(BEN, b);
  ben.send(subscribe("#"));
  const anna = gateway.connectAs(ANNA, a, { protocolVersion: 5, will: { topic: "own/anna/will", payload: Buffer.from("gone"), qos: 0, retain: false } });
  anna.send(subscribe("own/anna/#", 1));
  anna.send(publish("own/anna/x", "1", 1));
  t.same([anna.payloads(), ben.payloads()], [["1"], ["1"]]);
  gateway.useAccessRules(rules("deny", rule("allow", ACCESS_ALL, "#", { groups: ["staff"] })));
  anna.drain("puback");
  anna.send(publish("own/anna/x", "2", 1));
  t.match(anna.drain("puback"), [{ reasonCode: 0x87 }]);
  ben.send(publish("own/anna/x", "3"));
  t.same([anna.payloads(), ben.payloads()], [[], ["3"]]);
  gateway.useAccessRules(STAFF);
  ben.send(publish("own/anna/x", "4"));
  t.same([anna.payloads(), ben.payloads()], [["4"], ["4"]], "the subscription is there still");
  gateway.useAccessRules(rules("deny", rule("allow", ACCESS_ALL, "#", { groups: ["staff"] })));
  anna.cut();
  t.same(ben.payloads(), [], "no will");
  t.equal(gateway.counted(SHARD_COUNTER.WILLS_FORBIDDEN), 1);
  gateway.useAccessRules(null);
  const nobody = gateway.connect(`${a}n`);
  nobody.send(publish("anything", "5"));
  t.same(ben.payloads(), ["5"], "without rules everything is allowed");
}, { access: STAFF });

onShards("rules that come to a gateway without any hold for who is connected", (t, gateway, { a, b }) => {
  const reader = gateway.connect(a);
  reader.send(subscribe("t/#"));
  const writer = gateway.connect(b);
  writer.send(publish("t/1", "1"), publish("t/2", "2"));
  t.same(reader.payloads(), ["1", "2"]);
  gateway.useAccessRules(rules("allow", rule("deny", ACCESS.SUBSCRIBE, "t/1")));
  writer.send(publish("t/1", "3"), publish("t/2", "4"));
  t.same(reader.payloads(), ["4"]);
});

onShards("a session keeps its identity while its client is away; what waits is looked at again when rules changed meanwhile", (t, gateway, { a, b }) => {
  const first = gateway.connectAs(ANNA, a, { clean: false });
  first.send(subscribe("own/#", 1));
  first.send(subscribe("public/#", 1));
  first.cut();
  const ben = gateway.connectAs(BEN, b);
  const send = (topic: string, text: string): void => ben.send(publish(topic, text, 1));
  send("own/anna/x", "1");
  send("own/ben/x", "not hers");
  send("public/1", "2");
  gateway.useAccessRules(rules("deny", rule("allow", ACCESS_ALL, "#", { groups: ["staff"] }), rule("allow", ACCESS_ALL, "public/#")));
  send("own/anna/x", "too late");
  send("public/1", "3");
  const second = gateway.connectAs(ANNA, a, { clean: false });
  t.match(second.drain("connack"), [{ sessionPresent: true }]);
  t.same(second.payloads(), ["2", "3"]);
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_FORBIDDEN), 1);
  t.equal(gateway.counted(SHARD_COUNTER.QUEUED), 0);
}, { access: STAFF });

onShards("a session that somebody else takes up gives only what that one may read", (t, gateway, { a, b }) => {
  const anna = gateway.connectAs(ANNA, a, { clean: false });
  anna.send(subscribe("own/#", 1));
  anna.cut();
  const ben = gateway.connectAs(BEN, b);
  ben.send(publish("own/anna/x", "for anna", 1));
  const other = gateway.connectAs({ user: "carl", groups: [] }, a, { clean: false });
  t.same(other.payloads(), []);
  ben.send(publish("own/anna/x", "for anna", 1), publish("own/carl/x", "for carl", 1));
  t.same(other.payloads(), ["for carl"]);
}, { access: STAFF, limits: { isSessionAnybodys: true } });

onShards("what was sent and not acknowledged is sent again only to who may read it", (t, gateway, { a, b }) => {
  const ben = gateway.connectAs(BEN, b);
  for (const qos of [1, 2] as const) {
    const anna = gateway.connectAs(ANNA, a, { clean: false });
    anna.send(subscribe("#", 2));
    ben.send(publish("own/anna/x", "hers", qos, { messageId: 10 + qos }), publish("public/x", "everybody's", qos, { messageId: 20 + qos }));
    t.same(anna.payloads(), ["hers", "everybody's"]);
    anna.cut();
    const carl = gateway.connectAs({ user: "carl", groups: [] }, a, { clean: false });
    t.same(carl.payloads(), ["everybody's"], `QoS ${String(qos)}`);
    ben.send(publish("own/carl/x", "his", 1, { messageId: 30 + qos }));
    t.same(carl.payloads(), ["his"]);
    carl.cut();
    gateway.connectAs(ANNA, a, { clean: true }).send({ cmd: "disconnect", reasonCode: 0 } as never);
  }
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_FORBIDDEN), 2);
}, { access: STAFF, limits: { isSessionAnybodys: true } });

onShards("a repeated QoS 2 PUBLISH that was taken before the rules changed stays taken", (t, gateway, { a }) => {
  const anna = gateway.connectAs(ANNA, a, { protocolVersion: 5 });
  anna.send(publish("own/anna/x", "1", 2, { messageId: 8 }));
  t.match(anna.drain("pubrec"), [{ messageId: 8, reasonCode: 0 }]);
  gateway.useAccessRules(rules("deny"));
  anna.send(publish("own/anna/x", "1", 2, { messageId: 8, dup: true }));
  t.match(anna.drain("pubrec"), [{ messageId: 8, reasonCode: 0 }]);
  anna.send({ cmd: "pubrel", messageId: 8 });
  t.match(anna.drain("pubcomp"), [{ messageId: 8, reasonCode: 0 }]);
}, { access: STAFF });

onShards("verdicts are not mixed up between clients and topics that alternate", (t, gateway, { a, b }) => {
  const ben = gateway.connectAs(BEN, `${b}-reader`);
  ben.send(subscribe("#"));
  const anna = gateway.connectAs(ANNA, a);
  const writer = gateway.connectAs(BEN, b);
  for (let i = 0; i < 3; i++) {
    anna.send(publish("own/anna/1", "a1"), publish("own/ben/1", "no"), publish("own/anna/2", "a2"), publish("own/anna/1", "no retain?", 0, { retain: true }));
    writer.send(publish("own/ben/1", "b1"));
    anna.send(publish("own/ben/1", "no"));
  }
  t.same(ben.payloads(), Array.from({ length: 3 }, () => ["a1", "a2", "no retain?", "b1"]).flat());
  t.equal(gateway.counted(SHARD_COUNTER.PUBLISHES_FORBIDDEN), 6);
}, { access: STAFF });

onShards("a topic alias does not lead past the rules", (t, gateway, { a, b }) => {
  const ben = gateway.connectAs(BEN, b);
  ben.send(subscribe("#"));
  const anna = gateway.connectAs(ANNA, a, { protocolVersion: 5 });
  anna.send(publish("private", "no", 0, { properties: { topicAlias: 1 } }), publish("", "no", 0, { properties: { topicAlias: 1 } }), publish("own/anna/1", "yes", 0, { properties: { topicAlias: 2 } }));
  anna.send(publish("", "yes too", 0, { properties: { topicAlias: 2 } }));
  t.same(ben.payloads(), ["yes", "yes too"]);
}, { access: STAFF });

t.test("a shard that is started again has the rules in force, not those of its first start", async (t) => {
  const { TestGateway } = await import("./harness.js");
  const gateway = new TestGateway({ shards: 2 });
  t.teardown(() => gateway.stop());
  gateway.useAccessRules(STAFF);
  gateway.restart(0);
  const anna = gateway.connectAs(ANNA, "c", { protocolVersion: 5 });
  const other = gateway.connectAs(ANNA, "d", { protocolVersion: 5 });
  t.not(anna.shard, other.shard, "one on each shard");
  for (const client of [anna, other]) {
    client.send(publish("private", "no", 1));
    t.match(client.drain("puback"), [{ reasonCode: 0x87 }]);
  }
});

for (const isTrimmed of [false, true]) {
  void t.test(`whom a session belongs to outlives the gateway: rules hold for what waits and for what still comes${isTrimmed ? " (after a checkpoint)" : ""}`, async (t) => {
    const { TestGateway } = await import("./harness.js");
    const before = new TestGateway({ shards: 2, access: STAFF });
    const anna = before.connectAs(ANNA, "a", { clean: false });
    anna.send(subscribe("own/#", 1));
    anna.send(subscribe("public/+", 1));
    anna.cut();
    const ben = before.connectAs(BEN, "b");
    ben.send(publish("own/anna/x", "1", 1));
    ben.send(publish("public/1", "2", 1));
    if (isTrimmed) t.ok(before.checkpoint() > 0, "something was trimmed");
    before.stop();
    // The file of rules was changed while nothing ran.
    const changed = rules("deny", rule("allow", ACCESS_ALL, "#", { groups: ["staff"] }), rule("allow", ACCESS_ALL, "own/%u/#"));
    const after = new TestGateway({ shards: 2, access: changed, disk: before.disk, now: before.clock.now });
    t.teardown(() => after.stop());
    const again = after.connectAs(BEN, "b");
    again.send(publish("own/anna/x", "3", 1));
    again.send(publish("own/ben/x", "not hers", 1));
    const back = after.connectAs(ANNA, "a", { clean: false });
    t.match(back.drain("connack"), [{ sessionPresent: true }]);
    t.same(back.payloads(), ["1", "3"]);
  });
}
