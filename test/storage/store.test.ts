// The store's loop over real files: commits, positions, trimming, quotas, QoS 2 state.
import t from "tap";
import { STORE_COUNTER } from "../../src/base/counters.js";
import { KIB } from "../../src/base/limits.js";
import { POSITION, readPosition, writePosition } from "../../src/base/positions.js";
import { openStore, payloadsOf, readEntries, segmentFiles, settle, temporaryDirectory, TestShard } from "./support.js";

t.test("what shards put into their rings is read back from the journal, in order per shard, and is durable then", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const shards = [new TestShard(), new TestShard(), new TestShard()];
  const { store, positions, counters } = openStore(directory.path, { shards });
  for (let i = 0; i < 500; i++) shards[i % 3]!.publish({ payload: `${i % 3}:${i}` });
  t.notOk(shards[0]!.isDurable);
  settle(store);
  for (const shard of shards) {
    t.ok(shard.isDurable);
    t.ok(shard.rung > 0, "the shard's doorbell was rung");
    t.equal(shard.writer.backlog(), 0, "the ring's room was given back");
  }
  const payloads = payloadsOf(readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE)));
  t.equal(payloads.length, 500);
  for (let shard = 0; shard < 3; shard++) {
    const own = payloads.filter((text) => text.startsWith(`${shard}:`)).map((text) => Number(text.slice(2)));
    t.strictSame(own, [...own].sort((a, b) => a - b));
  }
  t.equal(counters[STORE_COUNTER.ENTRIES], 500);
  store.stop();
});

t.test("a ring that wraps many times loses nothing and its filler is left out", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const shard = new TestShard(4 * KIB);
  const { store, positions } = openStore(directory.path, { shards: [shard] });
  const sent: string[] = [];
  for (let i = 0; i < 2000; i++) {
    const payload = `${i}-${"x".repeat((i * 37) % 300)}`;
    if (!shard.publish({ payload })) {
      settle(store);
      shard.publish({ payload });
    }
    sent.push(payload);
  }
  settle(store);
  t.strictSame(payloadsOf(readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE))), sent);
  store.stop();
});

t.test("a restart goes on behind everything, with larger LSNs", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  let last = 0;
  for (let round = 0; round < 4; round++) {
    const { store, shards, positions } = openStore(directory.path);
    t.ok(store.ready().durableLsn > last || round === 0);
    shards[0]!.publish({ payload: `round ${round}` });
    settle(store);
    const durable = readPosition(positions, POSITION.JOURNAL_DURABLE);
    t.ok(durable > last);
    last = durable;
    store.stop();
  }
  t.strictSame(payloadsOf(readEntries(directory.path, last)), ["round 0", "round 1", "round 2", "round 3"]);
});

t.test("a stop commits what is still in the rings", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { store, shards, positions } = openStore(directory.path);
  shards[0]!.publish({ payload: "last words" });
  store.stop();
  t.ok(shards[0]!.isDurable);
  t.strictSame(payloadsOf(readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE))), ["last words"]);
});

t.test("segments are trimmed once the slowest lane has passed them, and their file is used again", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { store, shards, positions, counters } = openStore(directory.path, { segmentSize: 16 * KIB, lanes: 2 });
  const fill = (): void => {
    for (let i = 0; i < 60; i++) {
      shards[0]!.publish({ payload: "y".repeat(900) });
      settle(store);
    }
  };
  fill();
  t.ok(segmentFiles(directory.path).length >= 3);
  const durable = readPosition(positions, POSITION.JOURNAL_DURABLE);
  writePosition(positions, POSITION.LANE_READ, durable);
  store.tick();
  t.equal(counters[STORE_COUNTER.TRIMMED_BYTES], 0, "lane 1 has read nothing yet");
  writePosition(positions, POSITION.LANE_READ + 1, durable);
  store.tick();
  t.equal(segmentFiles(directory.path).length, 1, "the active segment stays");
  t.ok(counters[STORE_COUNTER.TRIMMED_BYTES]! > 30 * KIB);
  t.equal(readPosition(positions, POSITION.JOURNAL_FIRST), Number(segmentFiles(directory.path)[0]!.slice(0, 20)));
  // The next segments overwrite the spare file; what it held before is never read.
  fill();
  const entries = readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE), { fromLsn: durable });
  t.equal(payloadsOf(entries).length, 60);
  store.stop();
  const again = openStore(directory.path, { segmentSize: 16 * KIB });
  t.equal(payloadsOf(readEntries(directory.path, again.store.ready().durableLsn, { fromLsn: durable })).length, 60);
  t.strictSame(again.log.texts("error"), []);
  again.store.stop();
});

t.test("with history, its committed position alone decides what is trimmed", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { store, shards, positions } = openStore(directory.path, { segmentSize: 16 * KIB, hasHistory: true });
  for (let i = 0; i < 40; i++) {
    shards[0]!.publish({ payload: "y".repeat(900) });
    settle(store);
  }
  writePosition(positions, POSITION.LANE_READ, readPosition(positions, POSITION.JOURNAL_DURABLE));
  store.tick();
  const before = segmentFiles(directory.path);
  t.ok(before.length >= 2);
  writePosition(positions, POSITION.HISTORY_COMMITTED, Number(before[1]!.slice(0, 20)));
  store.tick();
  t.strictSame(segmentFiles(directory.path), before.slice(1));
  store.stop();
});

t.test("over the quota of bytes nothing is written or dropped; it goes on when consumers have caught up", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { store, shards, positions, counters, clock, log } = openStore(directory.path, { segmentSize: 64 * KIB, quotaBytes: 64 * KIB });
  const shard = shards[0]!;
  let sent = 0;
  while (counters[STORE_COUNTER.BLOCKED] === 0) {
    t.ok(sent < 100, "the quota is reached");
    shard.publish({ payload: `${sent++}:${"z".repeat(1000)}` });
    settle(store);
  }
  t.notOk(shard.isDurable);
  t.match(log.texts("error").join(), /STORE_FAILED.*quota of bytes/);
  const durable = readPosition(positions, POSITION.JOURNAL_DURABLE);
  t.equal(payloadsOf(readEntries(directory.path, durable)).length, sent - 1, "all that was acknowledged is there");
  clock.now += 10_000;
  settle(store);
  t.equal(readPosition(positions, POSITION.JOURNAL_DURABLE), durable, "still blocked");
  writePosition(positions, POSITION.LANE_READ, durable);
  clock.now += 10_000;
  settle(store);
  t.equal(counters[STORE_COUNTER.BLOCKED], 0);
  t.ok(shard.isDurable);
  t.equal(payloadsOf(readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE), { fromLsn: durable })).length, 1);
  store.stop();
});

t.test("over the quota of age it is blocked as well, but only by what a consumer still needs", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const hour = 3600 * 1000;
  const { store, shards, positions, counters, clock } = openStore(directory.path, { quotaAgeMs: 8 * hour });
  const publish = (): void => {
    shards[0]!.publish({});
    settle(store);
  };
  publish();
  for (let i = 0; i < 20; i++) {
    clock.now += hour;
    writePosition(positions, POSITION.LANE_READ, readPosition(positions, POSITION.JOURNAL_DURABLE));
    publish();
    t.equal(counters[STORE_COUNTER.BLOCKED], 0, "consumers keep up");
  }
  for (let i = 0; i < 12; i++) {
    clock.now += hour;
    publish();
  }
  t.equal(counters[STORE_COUNTER.BLOCKED], 1);
  t.notOk(shards[0]!.isDurable);
  writePosition(positions, POSITION.LANE_READ, readPosition(positions, POSITION.JOURNAL_DURABLE));
  clock.now += hour;
  settle(store);
  t.equal(counters[STORE_COUNTER.BLOCKED], 0);
  t.ok(shards[0]!.isDurable);
  store.stop();
});

t.test("a shard that is held back by nothing but its own ring is drained when that was taken in", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { store, shards } = openStore(directory.path, { shards: [new TestShard(), new TestShard()] });
  shards[1]!.publish({});
  t.strictSame([store.isDrained(0), store.isDrained(1)], [true, false]);
  settle(store);
  t.ok(store.isDrained(1));
  store.stop();
});

t.test("what a shard may still need is not trimmed; when that grows large the shards are asked for a checkpoint, once", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { store, shards, positions } = openStore(directory.path, { segmentSize: 16 * KIB });
  writePosition(positions, POSITION.SHARD_CHECKPOINT, 0);
  const publish = (count: number): void => {
    for (let i = 0; i < count; i++) {
      shards[0]!.publish({ payload: "y".repeat(900) });
      settle(store);
    }
    writePosition(positions, POSITION.LANE_READ, readPosition(positions, POSITION.JOURNAL_DURABLE));
    store.tick();
  };
  publish(10);
  t.equal(readPosition(positions, POSITION.CHECKPOINT_WANTED), 0, "not for a few");
  publish(40);
  const wanted = readPosition(positions, POSITION.CHECKPOINT_WANTED);
  t.equal(wanted, readPosition(positions, POSITION.JOURNAL_DURABLE));
  t.ok(segmentFiles(directory.path).length > 3, "nothing is trimmed before the shard has written it anew");
  publish(40);
  t.equal(readPosition(positions, POSITION.CHECKPOINT_WANTED), wanted, "asked once");
  writePosition(positions, POSITION.SHARD_CHECKPOINT, wanted);
  store.tick();
  t.equal(readPosition(positions, POSITION.JOURNAL_FIRST) > 0, true);
  t.ok(readPosition(positions, POSITION.JOURNAL_FIRST) <= wanted, "and no further than the shard allows");
  store.stop();
});

t.test("lanes are woken at once by entries for them, and by the tick for others", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const bench = openStore(directory.path);
  bench.store.tick();
  const before = bench.laneBells;
  bench.shards[0]!.publish({ lane: false });
  settle(bench.store);
  t.equal(bench.laneBells, before);
  bench.store.tick();
  t.equal(bench.laneBells, before + 1);
  bench.store.tick();
  t.equal(bench.laneBells, before + 1, "nothing new");
  bench.shards[0]!.publish({ lane: true });
  settle(bench.store);
  t.equal(bench.laneBells, before + 2);
  bench.store.stop();
});

t.test("a store that takes over from a dead one journals nothing twice and loses nothing", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const shards = [new TestShard()];
  const first = openStore(directory.path, { shards });
  shards[0]!.publish({ payload: "acknowledged" });
  settle(first.store);
  // The first store dies between its write and the publication: the frame is in the file, the entry still in the ring.
  shards[0]!.publish({ payload: "written, not published" });
  const copy = new BigUint64Array(first.positions);
  const tail = shards[0]!.reader();
  settle(first.store);
  first.store.stop();
  first.positions.set(copy);
  tail.setDurable(tail.position());
  tail.release();
  const second = openStore(directory.path, { shards, positions: first.positions });
  settle(second.store);
  const payloads = payloadsOf(readEntries(directory.path, readPosition(second.positions, POSITION.JOURNAL_DURABLE)));
  t.strictSame(payloads, ["acknowledged", "written, not published"]);
  second.store.stop();
});

t.test("with durability memory nothing is synced and positions advance all the same", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { nodeFiles } = await import("../../src/storage/journal/files.js");
  let syncs = 0;
  const files = { ...nodeFiles, sync: (fd: number) => (syncs++, nodeFiles.sync(fd)) };
  const { store, shards, positions } = openStore(directory.path, { durability: "memory", files });
  syncs = 0;
  shards[0]!.publish({ payload: "volatile" });
  settle(store);
  t.ok(shards[0]!.isDurable);
  t.equal(syncs, 0);
  t.strictSame(payloadsOf(readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE))), ["volatile"]);
  store.stop();
});
