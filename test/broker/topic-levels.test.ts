import t from "tap";
import { LevelTable, TopicLevels, type LevelNode } from "../../src/broker/topic-levels.js";
import { randomOf } from "../protocol/mqtt/support.js";

t.test("levels are cut at slashes, empty ones too", (t) => {
  const levels = new TopicLevels();
  for (const text of ["a", "/", "a//b/", "#/+/$x", "ü/😀"]) {
    levels.read(text);
    const parts = text.split("/");
    t.same(Array.from({ length: levels.count }, (_, i) => levels.levelOf(i)), parts);
    t.same(Array.from({ length: levels.count }, (_, i) => levels.isPlus(i)), parts.map((part) => part === "+"));
    t.same(Array.from({ length: levels.count }, (_, i) => levels.isHash(i)), parts.map((part) => part === "#"));
    t.ok(parts.every((part, i) => levels.equals(i, part)));
    t.notOk(levels.equals(0, `${levels.levelOf(0)}x`));
  }
  t.end();
});

t.test("a level table agrees with a Map, hashes that collide included", (t) => {
  const random = randomOf(t);
  const table = new LevelTable<LevelNode>();
  const model = new Map<string, LevelNode>();
  const levels = new TopicLevels();
  // Few hashes for many names: long runs of neighbours, which removal must close.
  const find = (name: string, hash: number): LevelNode | undefined => {
    levels.read(name);
    levels.hashOf = () => hash;
    return table.find(levels, 0);
  };
  for (let step = 0; step < 20_000; step++) {
    const number = random.below(step < 10_000 ? 120 : 12);
    const name = `n${number}`;
    const hash = (((number % 7) - 3) * 0x2000_0001) | 0;
    const known = model.get(name);
    if (find(name, hash) !== known) t.fail(`step ${step}: ${name}`);
    if (known === undefined) {
      const node = { level: name, hash };
      table.insert(node);
      model.set(name, node);
    } else if (random.chance(60)) {
      table.remove(known);
      model.delete(name);
    }
    if (step === 10_000) {
      for (const node of model.values()) table.remove(node);
      model.clear();
    }
    if (step % 500 === 0) {
      const found = Array.from({ length: table.slotCount }, (_, slot) => table.at(slot)).filter((node) => node !== undefined);
      t.same(found.map((node) => node.level).sort(), [...model.keys()].sort());
      t.equal(table.size, model.size);
    }
  }
  t.end();
});
