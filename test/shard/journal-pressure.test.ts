// The ring into the store is full, or nearly: what must still get through it, what has to wait, and that what waits is bounded.
import t from "tap";
import { SHARD_COUNTER, STORE_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { KIB } from "../../src/base/limits.js";
import { jsonEntry, snapshotPartEntry, SnapshotParts } from "../../src/shard/session-entries.js";
import { clientIdOn, TestGateway } from "./harness.js";
import { ack, publish, subscribe } from "./support.js";

const KEPT = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 100_000 } };

/** What a shard would tell the journal and has no room for, in bytes. */
function waitingIn(gateway: TestGateway, shard: number): number {
  const { waitingSize, ackingSize } = gateway.shards[shard]!.parts.journal as unknown as { readonly waitingSize: number; readonly ackingSize: number };
  return waitingSize + ackingSize;
}

/** So many sessions on a shard that are kept, away, and full. @returns a client on the first shard that publishes to them */
function fullSessions(gateway: TestGateway, count: number, shard: number): ReturnType<TestGateway["connect"]> {
  for (let i = 0; i < count; i++) {
    const client = gateway.connect(clientIdOn(shard, gateway.shards.length, `full-${String(i)}-`), KEPT);
    client.send(subscribe("t", 1));
    client.cut();
  }
  const publisher = gateway.connect(clientIdOn(0, gateway.shards.length, "publisher"));
  publisher.send(publish("t", "fills them", 1));
  return publisher;
}

void t.test("a checkpoint writes the largest messages that clients can send, waiting and retained", (t) => {
  const gateway = new TestGateway();
  const subscriber = gateway.connect("subscriber", KEPT);
  subscriber.send(subscribe("t/#", 1));
  subscriber.cut();
  // As much of the ring as a packet of packet_size_max takes of the ring that is made for it.
  const large = "x".repeat(370 * KIB);
  const publisher = gateway.connect("publisher");
  publisher.send(publish("t/1", large, 1, { retain: true }));
  t.equal(publisher.drain("puback").length, 1);
  t.ok(gateway.checkpoint() > 0, "the journal can be trimmed");
  gateway.stop();
  const next = new TestGateway({ disk: gateway.disk });
  t.teardown(() => next.stop());
  t.same(next.connect("subscriber", KEPT).payloads(), [large]);
  const late = next.connect("late");
  late.send(subscribe("t/#", 1));
  t.same(late.payloads(), [large]);
  t.end();
});

for (const shards of [1, 2]) {
  void t.test(`a session whose snapshot would take more of the ring than is ever free is written in parts, and taken up whole (${String(shards)} shards)`, (t) => {
    const options = { shards, ringCapacity: 512 * KIB, limits: { queueCountMax: 50_000 } };
    const gateway = new TestGateway(options);
    const subscriber = gateway.connect("subscriber", KEPT);
    subscriber.send(subscribe("t", 1));
    subscriber.cut();
    const publisher = gateway.connect("publisher");
    const count = 20_000;
    for (let i = 0; i < count; i += 500) {
      for (let j = 0; j < 500; j++) gateway.put(publisher, publish("t", String(i + j), 1));
      gateway.run();
    }
    t.ok(gateway.checkpoint() > count, "the journal can be trimmed");
    const parts = gateway.disk.entries.filter(({ kind }) => kind === ENTRY.SNAPSHOT_PART);
    t.ok(parts.length > 1, `${String(parts.length)} parts`);
    publisher.send(publish("t", "later", 1));
    // A later checkpoint can leave the end of these parts, without their beginning, in front of its own.
    let next = new TestGateway({ ...options, disk: gateway.disk });
    gateway.stop();
    t.ok(next.checkpoint() > 0);
    next.stop();
    gateway.disk.entries.unshift(...parts.slice(1));
    gateway.disk.firstLsn -= parts.length - 1;
    next = new TestGateway({ ...options, disk: gateway.disk });
    t.teardown(() => next.stop());
    const back = next.connect("subscriber", { ...KEPT, properties: { sessionExpiryInterval: 100_000, receiveMaximum: 1000 } });
    const got: string[] = [];
    for (;;) {
      const packets = back.drain("publish") as unknown as { readonly payload: Buffer; readonly messageId: number }[];
      if (packets.length === 0) break;
      got.push(...packets.map(({ payload }) => payload.toString()));
      back.send(...packets.map(({ messageId }) => ack("puback", messageId)));
    }
    t.same(got, [...Array.from({ length: count }, (_, i) => String(i)), "later"]);
    t.end();
  });
}

void t.test("parts of snapshots: of several clients at once, begun anew, without a beginning", (t) => {
  const parts = new SnapshotParts();
  const part = (client: string, index: number, text: string): string | undefined => parts.add(snapshotPartEntry(index, 2, Buffer.from(client), Buffer.from(text)))?.toString();
  t.equal(part("a", 1, "end"), undefined, "no beginning");
  t.equal(part("a", 0, "[1,"), undefined);
  t.equal(part("b", 0, "[3,"), undefined);
  t.equal(part("a", 1, "2]"), "[1,2]");
  t.equal(part("a", 1, "2]"), undefined, "once");
  t.equal(part("b", 0, "[5,"), undefined, "begun anew");
  t.equal(part("b", 1, "6]"), "[5,6]");
  t.equal(parts.add(snapshotPartEntry(0, 1, Buffer.from("c"), jsonEntry([7])))?.toString(), "[7]");
  t.end();
});

void t.test("PUBCOMP waits for the entry that says so, also when that found no room in the ring", (t) => {
  const gateway = new TestGateway({ ringCapacity: 512 * KIB });
  t.teardown(() => gateway.stop());
  const publisher = gateway.connect("publisher", KEPT);
  publisher.send(publish("t", "x", 2, { messageId: 5 }));
  t.equal(publisher.drain("pubrec").length, 1);
  gateway.isStoreStopped = true;
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 1;
  for (let i = 0; waitingIn(gateway, 0) === 0; i++) gateway.connect(`c${String(i)}`, KEPT).cut();
  publisher.send(ack("pubrel", 5));
  const isReleased = (): boolean => gateway.disk.entries.some(({ kind }) => kind === ENTRY.RELEASE);
  gateway.storeCounters[STORE_COUNTER.BLOCKED] = 0;
  let answeredAt = 0;
  for (let round = 1; answeredAt === 0 && round < 100; round++) {
    gateway.commitShard(0);
    const wasReleased = isReleased();
    gateway.turn(0);
    if (publisher.drain("pubcomp").length === 0) continue;
    answeredAt = round;
    t.ok(wasReleased, "it is on disk");
  }
  t.ok(answeredAt > 1, "the ring had to be emptied first");
  t.end();
});

void t.test("publishers wait when those who have no room are so many that the journal cannot take in what is dropped", (t) => {
  const gateway = new TestGateway({ ringCapacity: 512 * KIB, limits: { queueCountMax: 1, receiveMaximum: 65_535 } });
  t.teardown(() => gateway.stop());
  const publisher = fullSessions(gateway, 300, 0);
  gateway.isStoreStopped = true;
  for (let i = 0; i < 1500; i++) gateway.put(publisher, publish("t", String(i), 1));
  gateway.run();
  t.ok(waitingIn(gateway, 0) <= 256 * KIB, `${String(waitingIn(gateway, 0))} bytes wait`);
  t.ok(gateway.counted(SHARD_COUNTER.STALLS_STORE) > 0);
  gateway.isStoreStopped = false;
  gateway.run();
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_FULL), 300 * 1500, "all were taken in the end");
  t.equal(waitingIn(gateway, 0), 0);
  t.end();
});

void t.test("… and no more is taken from other shards meanwhile", (t) => {
  const gateway = new TestGateway({ shards: 2, limits: { queueCountMax: 1, receiveMaximum: 65_535 } });
  t.teardown(() => gateway.stop());
  const publisher = fullSessions(gateway, 500, 1);
  gateway.isStoreStopped = true;
  for (let i = 0; i < 1500; i++) gateway.put(publisher, publish("t", String(i), 1));
  gateway.run();
  t.ok(waitingIn(gateway, 1) <= 1100 * KIB, `${String(waitingIn(gateway, 1))} bytes wait`);
  t.ok(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_FULL) < 500 * 1500, "some are still on their way");
  gateway.isStoreStopped = false;
  gateway.run();
  t.equal(gateway.counted(SHARD_COUNTER.DROPPED_QUEUE_FULL), 500 * 1500, "all were taken in the end");
  t.equal(waitingIn(gateway, 1), 0);
  t.end();
});
