import t from "tap";
import { RetainedStore, retainedSize, type RetainedWalk } from "../../src/broker/retained.js";
import { matches } from "../../src/broker/topic.js";
import { randomOf } from "../protocol/mqtt/support.js";
import { randomFilter, randomTopic } from "./support.js";

const newStore = (): RetainedStore => new RetainedStore(10_000, 10_000_000);

function put(store: RetainedStore, topic: string, text: string, expiresAt = Infinity): string {
  const bytes = Buffer.from(`..${text}.`);
  return store.set(topic, bytes, 2, bytes.length - 3, expiresAt);
}

/** What a walk still gives, in steps of a few looks. */
function rest(walk: RetainedWalk, now = 0): string[] {
  const list: string[] = [];
  while (!walk.isDone) {
    const budget = { looks: 3 };
    const message = walk.next(now, budget);
    if (message !== undefined) list.push(`${message.topic}=${message.record.toString()}`);
    else if (!walk.isDone && budget.looks > 0) throw new Error("a walk stopped before its budget was used up");
  }
  return list;
}

function found(store: RetainedStore, filter: string, now = 0): string[] {
  return rest(store.walk(filter), now).sort();
}

t.test("a message is stored as a copy, replaced and deleted", (t) => {
  const store = newStore();
  const shared = new Uint8Array(new SharedArrayBuffer(8));
  shared.set(Buffer.from("abcdefgh"));
  t.equal(store.set("a/b", shared, 2, 3, Infinity), "stored");
  shared.fill(0);
  const first = store.get("a/b", 0);
  t.equal(first?.record.toString(), "cde");
  t.notOk(first?.record.buffer instanceof SharedArrayBuffer);
  t.equal(put(store, "a/b", "new"), "replaced");
  t.equal(store.get("a/b", 0)?.record.toString(), "new");
  t.equal(store.get("a", 0), undefined);
  t.equal(store.get("a/b/c", 0), undefined);
  t.equal(store.delete("a"), false);
  t.equal(store.delete("a/b"), true);
  t.equal(store.delete("a/b"), false);
  t.same([store.count, store.bytes], [0, 0]);
  t.end();
});

t.test("filters find messages as subscriptions would", (t) => {
  const store = newStore();
  for (const topic of ["a", "a/b", "a/b/c", "a//c", "$s/a", "/"]) put(store, topic, "x");
  t.same(found(store, "#"), ["/=x", "a//c=x", "a/b/c=x", "a/b=x", "a=x"]);
  t.same(found(store, "a/#"), ["a//c=x", "a/b/c=x", "a/b=x", "a=x"]);
  t.same(found(store, "+/+"), ["/=x", "a/b=x"]);
  t.same(found(store, "+/a"), []);
  t.same(found(store, "$s/+"), ["$s/a=x"]);
  t.same(found(store, "a/+/c"), ["a//c=x", "a/b/c=x"]);
  t.same(found(store, "a/b"), ["a/b=x"]);
  t.same(found(store, "b"), []);
  t.end();
});

t.test("what is full refuses the new and keeps the old", (t) => {
  const byCount = new RetainedStore(2, 1_000_000);
  t.equal(put(byCount, "a", "1"), "stored");
  t.equal(put(byCount, "b", "1"), "stored");
  t.equal(put(byCount, "c", "1"), "count-full");
  t.equal(put(byCount, "b", "2"), "replaced", "replacing is not growing");
  t.same(found(byCount, "#"), ["a=1", "b=2"]);

  const room = 2 * retainedSize("a", 10);
  const byBytes = new RetainedStore(1000, room);
  t.equal(put(byBytes, "a", "x".repeat(10)), "stored");
  t.equal(put(byBytes, "b", "x".repeat(11)), "bytes-full");
  t.equal(put(byBytes, "b", "x".repeat(10)), "stored");
  t.equal(byBytes.bytes, room);
  t.equal(put(byBytes, "a", "y".repeat(11)), "bytes-full");
  t.equal(byBytes.get("a", 0)?.record.toString(), "x".repeat(10));
  t.equal(put(byBytes, "a", "y".repeat(10)), "replaced");
  byBytes.delete("a");
  byBytes.delete("b");
  t.equal(byBytes.bytes, 0);
  t.end();
});

t.test("an expired message is not found, and is removed by sweeps of bounded length", (t) => {
  const store = newStore();
  for (let i = 0; i < 10; i++) put(store, `a/${i}`, "x", i < 5 ? 100 : 200);
  put(store, "b", "x");
  t.equal(store.get("a/0", 99)?.topic, "a/0");
  t.equal(store.get("a/0", 100), undefined);
  t.equal(found(store, "a/+", 100).length, 5);
  t.equal(store.count, 11);
  t.equal(store.removeExpired(99, 100), 0);
  let removed = 0;
  let calls = 0;
  while (removed < 5 && calls < 10) {
    removed += store.removeExpired(100, 3);
    calls++;
  }
  t.equal(removed, 5);
  t.ok(calls >= 2, "one call does not look at more than its budget");
  t.equal(store.count, 6);
  let rest = 0;
  for (let i = 0; i < 10; i++) rest += store.removeExpired(1e9, 3);
  t.equal(rest, 5);
  t.same(found(store, "#", 1e9), ["b=x"]);
  t.end();
});

t.test("a topic of sixty thousand levels does not overflow the stack", (t) => {
  let store = newStore();
  const topic = `a${"/".repeat(60_000)}`;
  t.equal(put(store, topic, "deep"), "bytes-full", "each level counts");
  store = new RetainedStore(10, 100_000_000);
  t.equal(put(store, topic, "deep"), "stored");
  t.equal(found(store, "#").length, 1);
  t.equal(found(store, `a/${"+/".repeat(59_999)}+`).length, 1);
  t.equal([...store.all()].length, 1);
  t.equal(store.delete(topic), true);
  t.equal(store.bytes, 0);
  t.end();
});

t.test("a message that was replaced by one without expiry stays", (t) => {
  const store = newStore();
  put(store, "a", "short", 100);
  put(store, "a", "long");
  t.equal(store.removeExpired(1e9, 100), 0);
  t.same(found(store, "a", 1e9), ["a=long"]);
  t.end();
});

t.test("the store agrees with a Map on random topics, filters and changes", (t) => {
  const random = randomOf(t);
  const store = newStore();
  const model = new Map<string, { text: string; expiresAt: number }>();
  for (let step = 0; step < 3000; step++) {
    const topic = randomTopic(random);
    const now = step;
    if (random.chance(50)) {
      const expiresAt = random.chance(40) ? now + random.below(400) : Infinity;
      const expected = model.has(topic) ? "replaced" : "stored";
      if (put(store, topic, `${step}`, expiresAt) !== expected) t.fail(`step ${step}: ${topic} is not ${expected}`);
      model.set(topic, { text: `${step}`, expiresAt });
    } else if (random.chance(50)) {
      if (store.delete(topic) !== model.delete(topic)) t.fail(`step ${step}: delete ${topic}`);
    } else if (random.chance(20)) {
      store.removeExpired(now, 1e6);
      for (const [each, { expiresAt }] of model) if (expiresAt <= now) model.delete(each);
    }
    const live = [...model].filter(([, { expiresAt }]) => expiresAt > now);
    const filter = randomFilter(random);
    const expected = live.filter(([each]) => matches(filter, each)).map(([each, { text }]) => `${each}=${text}`).sort();
    const got = found(store, filter, now);
    if (got.join(" ") !== expected.join(" ")) t.fail(`step ${step}: ${filter} gives ${got.length} messages, not these ${expected.length}`);
    const one = store.get(topic, now)?.record.toString();
    if (one !== live.find(([each]) => each === topic)?.[1].text) t.fail(`step ${step}: ${topic} gives ${String(one)}`);
  }
  store.removeExpired(1e6, 1e6);
  const lasting = [...model].filter(([, { expiresAt }]) => expiresAt === Infinity);
  t.ok(lasting.length > 50, "the run had something to find");
  t.same([...store.all()].map(({ topic }) => topic).sort(), lasting.map(([topic]) => topic).sort());
  t.equal(store.count, lasting.length);
  t.equal(store.bytes, lasting.reduce((sum, [topic, { text }]) => sum + retainedSize(topic, text.length), 0));
  for (const [topic] of lasting) store.delete(topic);
  t.same([store.count, store.bytes, [...store.all()].length], [0, 0, 0]);
  t.end();
});

t.test("a walk gives what was there at its beginning and was not replaced or deleted since, however the store changes meanwhile", (t) => {
  const random = randomOf(t);
  for (let round = 0; round < 60; round++) {
    const store = new RetainedStore(100_000, 100_000_000);
    const topics = new Set<string>();
    const count = 1 + random.below(400);
    for (let i = 0; i < count; i++) topics.add(`${random.below(3) === 0 ? "deep/" : ""}d${random.below(1000)}/x`);
    for (const topic of topics) put(store, topic, "before");
    const untouched = new Set(topics);
    const walk = store.walk("#");
    const given: string[] = [];
    // Growing, shrinking or both, so that tables are made anew under the walk.
    const deletes = random.pick([0, 30, 60, 95]);
    for (let i = 0; !walk.isDone; i++) {
      const message = walk.next(0, { looks: 1 + random.below(4) });
      if (message !== undefined) {
        t.equal(message.record.toString(), "before", "nothing that came later");
        given.push(message.topic);
      }
      const topic = `${random.below(3) === 0 ? "deep/" : ""}d${random.below(1000)}/x`;
      if (random.chance(deletes)) store.delete(topic);
      else put(store, topic, "later");
      if (!given.includes(topic)) untouched.delete(topic);
    }
    const missing = [...untouched].filter((topic) => !given.includes(topic));
    if (missing.length > 0) t.fail(`round ${round}: ${missing.length} of ${untouched.size} are missing`);
    if (deletes === 0 && new Set(given).size !== given.length) t.fail(`round ${round}: one came twice though nothing was deleted`);
  }
  t.end();
});

t.test("one step of a walk has a bound, also where nothing matches", (t) => {
  const store = new RetainedStore(100_000, 100_000_000);
  for (let i = 0; i < 20_000; i++) put(store, `devices/d${i}/telemetry`, "x");
  const walk = store.walk("devices/+/status");
  let calls = 0;
  for (; !walk.isDone; calls++) {
    const budget = { looks: 100 };
    t.equal(walk.next(0, budget), undefined);
    if (budget.looks < 0) t.fail("it looked more often than it might");
  }
  t.ok(calls > 200, `${calls} calls`);
  t.end();
});

t.test("the gateway's own topics are stored also when clients have filled the store", (t) => {
  const store = new RetainedStore(1, 1_000_000);
  put(store, "a", "1");
  t.equal(put(store, "b", "1"), "count-full");
  t.equal(put(store, "$SYS/broker/uptime", "1"), "stored");
  store.delete("a");
  t.equal(put(store, "b", "1"), "stored", "they take no room from clients");
  t.equal(put(store, "$SYS/broker/connection/x/state", "1"), "count-full", "what clients may publish there counts as any other");
  t.end();
});
