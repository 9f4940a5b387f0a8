// Sessions, retained messages and wills over the death of the whole gateway: what the next one takes up from the journal, whatever its number of shards.
// The seeded simulation does the same at any moment; here each promise stands by its name.
import t, { type Test } from "tap";
import { fnv1aOf } from "../../src/base/bytes.js";
import { STORE_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { CLOSE_REASON } from "../../src/ring/layout.js";
import { type GatewayOptions, TestGateway } from "./harness.js";
import { ack, publish, subscribe } from "./support.js";

const KEPT = { clean: false, protocolVersion: 5, properties: { sessionExpiryInterval: 1000 } };

/** Another gateway on the same disk; nothing of the first is left but what was durable. */
function killed(t: Test, gateway: TestGateway, options: GatewayOptions): TestGateway {
  gateway.stop();
  const next = new TestGateway({ ...options, disk: gateway.disk, now: gateway.clock.now });
  t.teardown(() => next.stop());
  return next;
}

/** With the same number of shards, with fewer and with more. */
function overDeath(name: string, before: (t: Test, gateway: TestGateway) => void, after: (t: Test, gateway: TestGateway) => void, options: GatewayOptions = {}): void {
  for (const [first, second] of [[1, 1], [2, 2], [4, 1], [1, 3]] as const) {
    for (const isTrimmed of [false, true]) {
      void t.test(`${name} (${String(first)}, then ${String(second)} shards${isTrimmed ? ", after a checkpoint" : ""})`, (t) => {
        const gateway = new TestGateway({ ...options, shards: first });
        before(t, gateway);
        if (isTrimmed) t.ok(gateway.checkpoint() > 0, "something was trimmed");
        after(t, killed(t, gateway, { ...options, shards: second }));
        t.end();
      });
    }
  }
}

overDeath("a session goes on: CONNACK says so, its subscriptions hold, what it missed comes in order, acknowledged messages do not", (_t, gateway) => {
  const subscriber = gateway.connect("subscriber", KEPT);
  subscriber.send(subscribe("t/#", 1));
  const publisher = gateway.connect("publisher");
  publisher.send(publish("t/1", "acknowledged", 1));
  const [first] = subscriber.drain("publish") as { messageId: number }[];
  subscriber.send(ack("puback", first!.messageId));
  publisher.send(publish("t/1", "on its way", 1));
  subscriber.cut();
  publisher.send(publish("t/2", "missed 1", 1), publish("t/2", "missed 2", 2, { messageId: 2 }));
}, (t, gateway) => {
  const subscriber = gateway.connect("subscriber", KEPT);
  t.match(subscriber.drain("connack"), [{ sessionPresent: true }]);
  t.same(subscriber.payloads(), ["on its way", "missed 1", "missed 2"]);
  gateway.connect("publisher").send(publish("t/3", "live", 1));
  t.same(subscriber.payloads(), ["live"]);
});

overDeath("a clean session, an UNSUBSCRIBE and the end of a session are remembered as well", (_t, gateway) => {
  gateway.connect("clean").send(subscribe("t", 1));
  const changed = gateway.connect("changed", KEPT);
  changed.send(subscribe("t", 1), subscribe("u", 1));
  changed.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["t"] } as never);
  gateway.connect("ended", KEPT).send(subscribe("t", 1));
  gateway.connect("ended", { protocolVersion: 5, clean: true }).cut();
}, (t, gateway) => {
  gateway.connect("publisher").send(publish("t", "t", 1), publish("u", "u", 1));
  for (const [id, isPresent, payloads] of [["clean", false, []], ["changed", true, ["u"]], ["ended", false, []]] as const) {
    const client = gateway.connect(id, KEPT);
    t.match(client.drain("connack"), [{ sessionPresent: isPresent }], id);
    t.same(client.payloads(), payloads, id);
  }
});

overDeath("QoS 2 to a client goes on where it stood: PUBLISH with its packet id and DUP before PUBREC, PUBREL after it", (t, gateway) => {
  const subscriber = gateway.connect("subscriber", KEPT);
  subscriber.send(subscribe("t", 2));
  gateway.connect("publisher").send(publish("t", "received", 2, { messageId: 1 }), publish("t", "sent", 2, { messageId: 2 }));
  const sent = subscriber.drain("publish") as { messageId: number }[];
  t.same(sent.map(({ messageId }) => messageId), [1, 2]);
  subscriber.send(ack("pubrec", 1));
  t.match(subscriber.drain("pubrel"), [{ messageId: 1 }]);
}, (t, gateway) => {
  const subscriber = gateway.connect("subscriber", KEPT);
  t.match(subscriber.drain("pubrel"), [{ messageId: 1 }]);
  t.match(subscriber.drain("publish"), [{ messageId: 2, dup: true, payload: Buffer.from("sent") }]);
  subscriber.send(ack("pubcomp", 1), ack("pubrec", 2));
  t.match(subscriber.drain("pubrel"), [{ messageId: 2 }]);
});

overDeath("QoS 2 from a client is taken once: a repeated PUBLISH is acknowledged, not delivered again", (_t, gateway) => {
  gateway.connect("subscriber", KEPT).send(subscribe("t", 2));
  gateway.connect("publisher", KEPT).send(publish("t", "once", 2, { messageId: 7 }));
}, (t, gateway) => {
  const publisher = gateway.connect("publisher", KEPT);
  publisher.send(publish("t", "once", 2, { messageId: 7, dup: true }), { cmd: "pubrel", messageId: 7 } as never);
  t.match(publisher.drain("pubrec"), [{ messageId: 7 }]);
  t.match(publisher.drain("pubcomp"), [{ messageId: 7, reasonCode: 0 }]);
  t.same(gateway.connect("subscriber", KEPT).payloads(), ["once"]);
});

overDeath("retained messages of every QoS are there again, removed ones are not, the last one wins", (_t, gateway) => {
  const [a, b] = ["a", "b"].map((id) => gateway.connect(id));
  a!.send(publish("r/0", "zero", 0, { retain: true }), publish("r/1", "one", 1, { retain: true }), publish("r/2", "two", 2, { retain: true, messageId: 2 }));
  a!.send(publish("r/gone", "x", 1, { retain: true }), publish("r/last", "first", 1, { retain: true }));
  b!.send(publish("r/gone", "", 1, { retain: true }), publish("r/last", "last", 0, { retain: true }));
}, (t, gateway) => {
  const reader = gateway.connect("reader");
  reader.send(subscribe("r/#", 0));
  t.same(reader.payloads().sort(), ["last", "one", "two", "zero"]);
});

overDeath("the will of a client that does not come back is published after its time of grace, of one that does it is not", (_t, gateway) => {
  gateway.connect("watcher", KEPT).send(subscribe("will/#", 1));
  for (const id of ["lost", "back", "polite"]) {
    const client = gateway.connect(id, { will: { topic: `will/${id}`, payload: Buffer.from(id), qos: 1, retain: false } });
    if (id === "polite") client.send({ cmd: "disconnect" });
  }
}, (t, gateway) => {
  gateway.connect("back");
  const watcher = gateway.connect("watcher", KEPT);
  gateway.advance(29_000);
  t.same(watcher.payloads(), []);
  gateway.advance(2_000);
  t.same(watcher.payloads(), ["lost"]);
});

overDeath("sessions expire by the time that gateways have run, however the wall clock jumps", (_t, gateway) => {
  const client = gateway.connect("client", { ...KEPT, properties: { sessionExpiryInterval: 100 } });
  client.send(subscribe("t", 1));
  client.cut();
  gateway.advance(61_000);
}, (t, gateway) => {
  (gateway.clock as { wall: () => number }).wall = () => Date.UTC(2099, 0, 1);
  gateway.advance(30_000);
  t.ok(gateway.shards.some(({ parts }) => parts.sessions.has("client")), "not before");
  gateway.advance(75_000);
  t.notOk(gateway.shards.some(({ parts }) => parts.sessions.has("client")), "and no more than a minute late");
});

void t.test("CONNACK for a new session waits until the journal knows it; SUBACK and UNSUBACK too", (t) => {
  const gateway = new TestGateway();
  t.teardown(() => gateway.stop());
  gateway.isStoreFast = false;
  const client = gateway.connect("client", KEPT);
  t.same(client.received, []);
  gateway.commit();
  t.match(client.drain("connack"), [{ sessionPresent: false }]);
  client.send(subscribe("t", 1));
  t.same(client.received, []);
  gateway.commit();
  t.match(client.drain("suback"), [{ granted: [1] }]);
  client.send({ cmd: "unsubscribe", messageId: 4, unsubscriptions: ["t"] } as never);
  t.same(client.received, []);
  gateway.commit();
  t.match(client.drain("unsuback"), [{ messageId: 4 }]);
  gateway.connect("transient").send(subscribe("t", 1));
  t.equal(client.closeReason, null);
  t.end();
});

void t.test("CONNACK waits until a session's end is on disk, also for a later client that finds no session any more", (t) => {
  const gateway = new TestGateway();
  t.teardown(() => gateway.stop());
  gateway.connect("client", KEPT).cut();
  gateway.isStoreFast = false;
  const first = gateway.connect("client");
  t.same(first.drain("connack"), []);
  first.cut();
  const second = gateway.connect("client");
  t.same(second.drain("connack"), [], "the journal would bring the old one back still");
  gateway.commit();
  t.match(second.drain("connack"), [{ returnCode: 0, sessionPresent: false }]);
  second.cut();
  t.equal(gateway.connect("client").drain("connack").length, 1, "at once");
  t.end();
});

void t.test("sessions that end with their connection cost the journal nothing", (t) => {
  const gateway = new TestGateway();
  t.teardown(() => gateway.stop());
  const client = gateway.connect("client");
  client.send(subscribe("t", 2), publish("t", "x", 2, { messageId: 1 }));
  const [delivered] = client.drain("publish") as { messageId: number }[];
  client.send({ cmd: "pubrel", messageId: 1 } as never, ack("pubrec", delivered!.messageId), ack("pubcomp", delivered!.messageId));
  client.cut();
  t.same(gateway.journal.map(({ kind }) => kind), [ENTRY.PUBLISH]);
  t.equal(client.closeReason, CLOSE_REASON.PEER_CLOSED);
  t.end();
});

void t.test("a shard that dies takes up its sessions; the others' messages meanwhile reach them", (t) => {
  const gateway = new TestGateway({ shards: 3 });
  t.teardown(() => gateway.stop());
  const on = (shard: number): string => {
    for (let i = 0; ; i++) if (fnv1aOf(`c${String(i)}`) % 3 === shard) return `c${String(i)}`;
  };
  const subscriber = gateway.connect(on(0), KEPT);
  subscriber.send(subscribe("t", 1));
  const publisher = gateway.connect(on(1));
  publisher.send(publish("t", "before", 1));
  gateway.kill(0);
  gateway.run();
  publisher.send(publish("t", "while it was dead", 1));
  gateway.revive(0);
  gateway.run();
  publisher.send(publish("t", "while it started", 2, { messageId: 2 }));
  gateway.enliven(0);
  gateway.run();
  publisher.send(publish("t", "after", 1));
  t.same(gateway.connect(on(0), KEPT).payloads(), ["before", "while it was dead", "while it started", "after"]);
  t.end();
});

void t.test("message ids are never given out twice, also when the journal holds none of those that were", (t) => {
  const gateway = new TestGateway({ shards: 2 });
  const publisher = gateway.connect("publisher");
  for (let i = 0; i < 5; i++) publisher.send(publish("t", "x", 1));
  const highest = Math.max(...gateway.shards.map(({ parts }) => parts.ids.last));
  t.ok(gateway.checkpoint() > 0, "they are trimmed");
  const next = killed(t, gateway, { shards: 2 });
  for (const { parts } of next.shards) t.ok(parts.ids.next() > highest);
  t.end();
});

void t.test("a QoS 2 message that nobody was to get is not delivered to those who subscribe later, also when its shard dies", (t) => {
  const gateway = new TestGateway({ shards: 2 });
  t.teardown(() => gateway.stop());
  const on = (shard: number): string => {
    for (let i = 0; ; i++) if (fnv1aOf(`c${String(i)}`) % 2 === shard) return `c${String(i)}`;
  };
  gateway.connect(on(0)).send(publish("t", "for nobody", 2));
  const subscriber = gateway.connect(on(1), KEPT);
  subscriber.send(subscribe("t", 2));
  gateway.restart(0);
  t.same(subscriber.payloads(), []);
  gateway.connect(on(0)).send(publish("t", "for it", 2));
  t.same(subscriber.payloads(), ["for it"]);
  t.end();
});

void t.test("while the journal cannot be written and its ring is full, clients come and go and QoS 0 flows; what must be kept is refused", (t) => {
  const gateway = new TestGateway({ ringCapacity: 512 * 1024 });
  t.teardown(() => gateway.stop());
  const reader = gateway.connect("reader");
  reader.send(subscribe("t"));
  const kept = gateway.connect("kept", KEPT);
  gateway.isStoreStopped = true;
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 1;
  for (let i = 0; i < 4000; i++) gateway.connect(`c${String(i)}`, KEPT).cut();
  t.notOk(gateway.shards[0]!.parts.outlets.storeHasRoom(0), "the ring is full");
  gateway.connect("publisher", { protocolVersion: 5 }).send(publish("t", "goes on"));
  t.same(reader.payloads(), ["goes on"]);
  kept.send(subscribe("u", 1));
  t.match(kept.drain("suback"), [{ granted: [0x97] }]);
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 0;
  gateway.isStoreStopped = false;
  gateway.run();
  kept.send(subscribe("u", 1));
  t.match(kept.drain("suback"), [{ granted: [1] }]);
  t.equal(gateway.journal.filter(({ kind }) => kind === ENTRY.SESSION_LEFT).length, 4000, "nothing of it is lost");
  t.end();
});

/** What a gateway of journal version 1 would have written in the place of an entry. */
function asVersion1(kind: number, bytes: Buffer): Buffer {
  if (kind === ENTRY.KEPT) return Buffer.concat([bytes.subarray(0, 2), Buffer.alloc(2), bytes.subarray(8)]);
  if (kind === ENTRY.CHECKPOINT) return bytes.subarray(0, 8);
  if (kind !== ENTRY.SESSION && kind !== ENTRY.SUBSCRIBE && kind !== ENTRY.SNAPSHOT) return bytes;
  const { identity: _, isNew, refused: __, ...rest } = JSON.parse(bytes.toString("utf8")) as Record<string, unknown>;
  return Buffer.from(JSON.stringify(kind === ENTRY.SUBSCRIBE ? rest : { ...rest, isNew }), "utf8");
}

for (const isTrimmed of [false, true]) {
  void t.test(`a journal of format version 1 is taken up${isTrimmed ? ", after a checkpoint" : ""}`, (t) => {
    const gateway = new TestGateway({ shards: 2 });
    const subscriber = gateway.connect("subscriber", KEPT);
    subscriber.send(subscribe("t/#", 2));
    subscriber.cut();
    const publisher = gateway.connect("publisher");
    for (const [i, qos] of ([1, 2, 1] as const).entries()) publisher.send(publish("t/1", String(i), qos, { messageId: i + 1 }));
    if (isTrimmed) {
      t.ok(gateway.checkpoint() > 0);
      t.ok(gateway.disk.entries.some(({ kind }) => kind === ENTRY.KEPT));
    }
    const entries = gateway.disk.entries.splice(0).map(({ shard, kind, bytes }) => ({ shard, kind, bytes: asVersion1(kind, bytes) }));
    gateway.disk.append(entries);
    const next = killed(t, gateway, { shards: 2 });
    const back = next.connect("subscriber", KEPT);
    t.same(back.payloads().sort(), ["0", "1", "2"]);
    next.connect("publisher").send(publish("t/1", "new", 1));
    t.same(back.payloads(), ["new"]);
    t.end();
  });
}
