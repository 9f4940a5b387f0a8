import t from "tap";
import { RetainedStore, retainedSize, type Retained } from "../../src/broker/retained.js";
import { matches } from "../../src/broker/topic.js";
import { randomOf } from "../protocol/mqtt/support.js";
import { randomFilter, randomTopic } from "./support.js";

const newStore = (): RetainedStore => new RetainedStore(10_000, 10_000_000);

function put(store: RetainedStore, topic: string, text: string, expiresAt = Infinity): string {
  const bytes = Buffer.from(`..${text}.`);
  return store.set(topic, bytes, 2, bytes.length - 3, expiresAt);
}

function found(store: RetainedStore, filter: string, now = 0): string[] {
  const out: Retained[] = [];
  store.match(filter, now, out);
  return out.map(({ topic, record }) => `${topic}=${record.toString()}`).sort();
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
  t.equal(first?.isCurrent, false, "who pages through a match sees that it was replaced");
  t.equal(store.get("a/b", 0)?.record.toString(), "new");
  t.equal(store.get("a/b", 0)?.isCurrent, true);
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
