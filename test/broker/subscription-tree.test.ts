import t from "tap";
import { SubscriptionTree, type Keyed } from "../../src/broker/subscription-tree.js";
import { matches } from "../../src/broker/topic.js";
import { randomOf } from "../protocol/mqtt/support.js";
import { randomFilter, randomTopic } from "./support.js";

interface Entry extends Keyed<string> {
  readonly filter: string;
  readonly qos: number;
}

const newTree = (): SubscriptionTree<string, Entry> => new SubscriptionTree<string, Entry>();
const entry = (key: string, filter: string, qos = 0): Entry => ({ key, filter, qos });

function matched(tree: SubscriptionTree<string, Entry>, topic: string): string[] {
  const out: Entry[] = [];
  tree.match(topic, out);
  return out.map(({ key, filter, qos }) => `${key} ${filter} ${qos}`).sort();
}

t.test("add and remove tell when a filter gains its first and loses its last entry", (t) => {
  const tree = newTree();
  t.equal(tree.add("a/+", entry("k1", "a/+")), "first");
  t.equal(tree.add("a/+", entry("k2", "a/+")), "added");
  t.equal(tree.add("a/+", entry("k1", "a/+", 1)), "replaced");
  t.equal(tree.add("a/#", entry("k1", "a/#")), "first");
  t.same(matched(tree, "a/b"), ["k1 a/# 0", "k1 a/+ 1", "k2 a/+ 0"]);
  t.equal(tree.get("a/+", "k1")?.qos, 1);
  t.equal(tree.get("a/+", "k3"), undefined);
  t.equal(tree.remove("a/+", "k3"), "absent");
  t.equal(tree.remove("b", "k1"), "absent");
  t.equal(tree.remove("a/+", "k1"), "removed");
  t.equal(tree.remove("a/+", "k2"), "last");
  t.equal(tree.remove("a/+", "k2"), "absent");
  t.same(matched(tree, "a/b"), ["k1 a/# 0"]);
  t.equal(tree.remove("a/#", "k1"), "last");
  t.equal(tree.nodeCount, 0, "empty nodes are pruned");
  t.end();
});

t.test("the epoch rises with every change and with nothing else", (t) => {
  const tree = newTree();
  const changes: readonly (readonly [isChange: boolean, act: () => unknown])[] = [
    [true, () => tree.add("a", entry("k", "a"))],
    [true, () => tree.add("a", entry("k", "a", 2))],
    [false, () => tree.remove("a", "other")],
    [false, () => tree.match("a", [])],
    [true, () => tree.setRemote("a", 3, true)],
    [false, () => tree.setRemote("a", 3, true)],
    [false, () => tree.setRemote("b", 3, false)],
    [true, () => tree.setRemote("a", 3, false)],
    [false, () => tree.clearRemote(3)],
    [true, () => tree.remove("a", "k")],
  ];
  for (const [isChange, act] of changes) {
    const { epoch } = tree;
    act();
    t.equal(tree.epoch > epoch, isChange, act.toString());
  }
  t.end();
});

t.test("interest of other shards is found by every kind of filter and goes with its shard", (t) => {
  const tree = newTree();
  tree.setRemote("a/b", 0, true);
  tree.setRemote("a/+", 1, true);
  tree.setRemote("a/#", 31, true);
  tree.setRemote("#", 1, true);
  tree.add("a/b", entry("k", "a/b"));
  t.equal(tree.match("a/b", []), 0x8000_0003);
  t.equal(tree.match("a", []), 0x8000_0002);
  t.equal(tree.match("c", []), 0b10);
  t.equal(tree.match("$c", []), 0);
  t.same([...tree.localFilters()], ["a/b"], "interest of others is not ours to announce");
  tree.clearRemote(1);
  t.equal(tree.match("a/b", []), 0x8000_0001);
  t.equal(tree.match("c", []), 0);
  tree.clearRemote(31);
  tree.clearRemote(0);
  t.equal(tree.match("a/b", []), 0);
  t.same(matched(tree, "a/b"), ["k a/b 0"]);
  t.equal(tree.nodeCount, 2);
  t.end();
});

t.test("leading wildcards do not match topics that begin with $", (t) => {
  const tree = newTree();
  for (const filter of ["#", "+/a", "$x/#", "$x/+", "$x/a"]) tree.add(filter, entry("k", filter));
  t.same(matched(tree, "$x/a"), ["k $x/# 0", "k $x/+ 0", "k $x/a 0"]);
  t.same(matched(tree, "x/a"), ["k # 0", "k +/a 0"]);
  t.end();
});

t.test("a topic of sixty thousand levels goes no deeper than the filters do", (t) => {
  const tree = newTree();
  tree.add("a/#", entry("k", "a/#"));
  t.same(matched(tree, `a${"/".repeat(60_000)}`), ["k a/# 0"]);
  t.end();
});

t.test("ten thousand entries on one filter go one by one, in any order", (t) => {
  const tree = newTree();
  const random = randomOf(t);
  const keys = Array.from({ length: 10_000 }, (_, i) => `k${i}`);
  for (const key of keys) tree.add("a", entry(key, "a"));
  t.equal(matched(tree, "a").length, 10_000);
  let left = keys.length;
  for (const key of keys.map((key) => ({ key, order: random.below(1 << 30) })).sort((a, b) => a.order - b.order)) {
    left--;
    const expected = left === 0 ? "last" : "removed";
    if (tree.remove("a", key.key) !== expected) t.fail(`${key.key} is not ${expected}`);
    if (left % 1000 === 1) t.equal(new Set(matched(tree, "a")).size, left);
  }
  t.equal(tree.entryCount, 0);
  t.equal(tree.nodeCount, 0);
  t.end();
});

t.test("the tree agrees with the plain form on random filters, topics and changes", (t) => {
  const random = randomOf(t);
  const tree = newTree();
  const local = new Map<string, Entry>();
  const remote = new Map<string, number>();
  for (let step = 0; step < 3000; step++) {
    const filter = randomFilter(random);
    const key = `k${random.below(4)}`;
    const name = `${key} ${filter}`;
    if (random.chance(35)) {
      const fresh = entry(key, filter, random.below(3));
      const isFirst = ![...local.values()].some((each) => each.filter === filter);
      const expected = local.has(name) ? "replaced" : isFirst ? "first" : "added";
      if (tree.add(filter, fresh) !== expected) t.fail(`add ${name} is not ${expected}`);
      local.set(name, fresh);
    } else if (random.chance(30) && local.size > 0) {
      const gone = random.pick([...local.values()]);
      local.delete(`${gone.key} ${gone.filter}`);
      const expected = [...local.values()].some((each) => each.filter === gone.filter) ? "removed" : "last";
      if (tree.remove(gone.filter, gone.key) !== expected) t.fail(`remove ${gone.key} ${gone.filter} is not ${expected}`);
    } else if (random.chance(60)) {
      const shard = random.below(32);
      const isInterested = random.chance(50);
      tree.setRemote(filter, shard, isInterested);
      const mask = remote.get(filter) ?? 0;
      remote.set(filter, isInterested ? mask | (1 << shard) : mask & ~(1 << shard));
    } else if (random.chance(3)) {
      const shard = random.below(32);
      tree.clearRemote(shard);
      for (const [each, mask] of remote) remote.set(each, mask & ~(1 << shard));
    }
    const topic = randomTopic(random);
    const out: Entry[] = [];
    const mask = tree.match(topic, out);
    const expected = [...local.values()].filter((each) => matches(each.filter, topic));
    let expectedMask = 0;
    for (const [each, bits] of remote) if (matches(each, topic)) expectedMask |= bits;
    if (mask !== expectedMask >>> 0) t.fail(`step ${step}: mask of ${topic} is ${mask}, not ${expectedMask >>> 0}`);
    const isSame = out.length === expected.length && expected.every((each) => out.includes(each));
    if (!isSame) t.fail(`step ${step}: ${topic} gives ${JSON.stringify(out)}, not ${JSON.stringify(expected)}`);
  }
  t.same([...tree.localFilters()].sort(), [...new Set([...local.values()].map((each) => each.filter))].sort());
  t.equal(tree.entryCount, local.size);
  t.equal(tree.filterCount, new Set([...local.values()].map((each) => each.filter)).size);
  t.ok(local.size > 50, "the run had something to find");

  for (const each of local.values()) tree.remove(each.filter, each.key);
  for (let shard = 0; shard < 32; shard++) tree.clearRemote(shard);
  t.same([tree.nodeCount, tree.size], [0, 0], "an emptied tree holds nothing");
  t.end();
});
