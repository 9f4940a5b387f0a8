// The process that store-kill.test.ts kills: writes the journal as fast as it can and prints what was reported durable, line by line.
import { writeSync } from "node:fs";
import { KIB } from "../../src/base/limits.js";
import { POSITION, POSITION_COUNT, writePosition } from "../../src/base/positions.js";
import { openStore, seeded, settle, TestShard } from "./support.js";

const [directory, seed, committedLsn, ...first] = process.argv.slice(2);
const random = seeded(Number(seed));
const shards = first.map(() => new TestShard(64 * KIB));
const positions = new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
writePosition(positions, POSITION.HISTORY_COMMITTED, Number(committedLsn));
const { store } = openStore(directory!, { shards, positions, hasHistory: true, segmentSize: 256 * KIB });
const next = first.map(Number);
/** Bounds the child's life should nobody kill it. */
const COMMITS_MAX = 200_000;

for (let commit = 0; commit < COMMITS_MAX; commit++) {
  for (let i = Math.floor(random() * 40); i >= 0; i--) {
    const shard = Math.floor(random() * shards.length);
    if (shards[shard]!.publish({ payload: `${shard}:${next[shard]!}:${"k".repeat(Math.floor(random() * 300))}` })) next[shard]!++;
  }
  settle(store);
  writeSync(1, `${next.map((number) => number - 1).join(" ")}\n`);
}
