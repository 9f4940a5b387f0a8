import t from "tap";
import { MIB, RING_CAPACITY } from "../../src/base/limits.js";
import type { RingPlace } from "../../src/base/ring-place.js";
import { createArena, listRings, resetRing, ringBacklog, type Arena } from "../../src/control/arena.js";
import { ARENA_SIZE_MAX, arenaSize, fitsArena, ringCapacities } from "../../src/control/ring-capacities.js";
import { RING_CONTROL_SIZE } from "../../src/ring/layout.js";
import { RingReader, RingWriter } from "../../src/ring/ring.js";

/** Every part of the arena as [from, to), sorted. */
function parts(arena: Arena): (readonly [number, number])[] {
  const ring = (place: RingPlace): readonly [number, number] => [place.byteOffset, place.byteOffset + RING_CONTROL_SIZE + place.capacity];
  const commands = arena.shards.map(({ commands: { byteOffset, size } }) => [byteOffset, byteOffset + size] as const);
  return [...listRings(arena).map(({ place }) => ring(place)), ...commands].sort((a, b) => a[0] - b[0]);
}

for (const [shards, lanes] of [[1, 1], [2, 1], [3, 2], [4, 4]] as const) {
  t.test(`with ${shards} shards and ${lanes} lanes no two parts overlap, none is left out, and all start on a cache line`, async (t) => {
    const arena = createArena(shards, lanes, MIB);
    const all = parts(arena);
    t.equal(all.length, shards * 3 + shards * (shards - 1) + shards * lanes + lanes);
    let end = 0;
    for (const [from, to] of all) {
      t.equal(from, end);
      t.equal(from % 64, 0);
      end = to;
    }
    t.equal(end, arena.buffer.byteLength);
  });
}

t.test("each ring carries records from its writer to its reader and to no other", async (t) => {
  const rings = listRings(createArena(2, 2, MIB));
  for (const { place } of rings) new RingReader(place).arm();
  rings.forEach(({ place }, index) => {
    const writer = new RingWriter(place);
    writer.reserve(8);
    writer.commit(1, index, 8);
    t.equal(writer.publish(), true, "its reader sleeps");
  });
  rings.forEach(({ place, kind, from, to }, index) => {
    t.equal(ringBacklog(place), 16);
    const reader = new RingReader(place);
    t.ok(reader.next() && reader.id === index && !reader.next(), `${kind} ${from}-${to}`);
    resetRing(place);
    t.equal(ringBacklog(place), 0);
  });
});

t.test("usual numbers of threads have the rings of base/limits.ts", async (t) => {
  const { commands: _, ...capacities } = ringCapacities(3, 2, MIB);
  t.same(Object.values(capacities), [RING_CAPACITY.INBOUND, RING_CAPACITY.SHARD_TO_STORE, RING_CAPACITY.SHARD_TO_SHARD, RING_CAPACITY.SHARD_TO_LANE, RING_CAPACITY.LANE_TO_HISTORY]);
});

t.test("whatever fits stays within signed 32-bit offsets, is a power of two, and holds the largest packet twice", async (t) => {
  let fitting = 0;
  let refused = 0;
  for (const packetSizeMax of [1024, 256 * 1024, MIB, 4 * MIB]) {
    for (let shards = 1; shards <= 32; shards++) {
      for (const lanes of [1, 2, 8, 16, 64]) {
        if (!fitsArena(shards, lanes, packetSizeMax)) {
          refused++;
          t.throws(() => ringCapacities(shards, lanes, packetSizeMax), RangeError);
          continue;
        }
        fitting++;
        const capacities = ringCapacities(shards, lanes, packetSizeMax);
        const { laneToHistory, ...others } = capacities;
        const isGood =
          arenaSize(shards, lanes, capacities) <= ARENA_SIZE_MAX && ARENA_SIZE_MAX < 2 ** 31 && laneToHistory >= MIB && capacities.inbound >= 4 * packetSizeMax &&
          Object.values(capacities as unknown as Record<string, number>).every((capacity) => Number.isInteger(Math.log2(capacity))) && Object.values(others as Record<string, number>).every((capacity) => capacity >= 2 * packetSizeMax);
        if (!isGood) t.fail(`${shards} shards, ${lanes} lanes, packets of ${packetSizeMax}: ${JSON.stringify(capacities)}`);
      }
    }
  }
  t.ok(fitting > 100 && refused > 10, `${fitting} fit, ${refused} do not`);
});
