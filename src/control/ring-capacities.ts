// How large each kind of ring is for so many shards and lanes: the defaults of base/limits.ts, larger where the largest packet needs it,
// smaller where so many threads would not fit into one SharedArrayBuffer that signed 32-bit offsets reach.
import { COMMAND_MEMORY, KIB, MIB, RING_CAPACITY, SHARD_RING_SPARE } from "../base/limits.js";
import { RING_CONTROL_SIZE } from "../ring/layout.js";

export interface RingCapacities {
  readonly inbound: number;
  readonly commands: number;
  readonly shardToStore: number;
  readonly shardToShard: number;
  readonly shardToLane: number;
  readonly laneToHistory: number;
}

/** Offsets into the arena are computed with `>> 2` and `>> 6`: they must stay below 2^31. */
export const ARENA_SIZE_MAX = 2 ** 31 - 64 * KIB;

/** What a message record holds beside the packet it came in: head, client id (64 KiB at most), record headers; twice. */
const RECORD_SLACK = 160 * KIB;

/** True when `ringCapacities` has an answer. */
export function fitsArena(shards: number, lanes: number, packetSizeMax: number): boolean {
  return chooseCapacities(shards, lanes, packetSizeMax) !== undefined;
}

/**
 * The capacities to use, powers of two. The inbound ring holds four of the largest packets; every other one holds the largest packet
 * wherever in the ring it comes to lie (twice its size, since records never wrap), so that a record that must not be dropped finds room in the end.
 *
 * @throws RangeError when they cannot fit (the configuration is checked for it first)
 */
export function ringCapacities(shards: number, lanes: number, packetSizeMax: number): RingCapacities {
  const capacities = chooseCapacities(shards, lanes, packetSizeMax);
  if (capacities === undefined) throw new RangeError(`the rings of ${String(shards)} shards and ${String(lanes)} lanes do not fit into one SharedArrayBuffer`);
  return capacities;
}

/** Bytes of the arena that these capacities make. */
export function arenaSize(shards: number, lanes: number, c: RingCapacities): number {
  const ring = (capacity: number): number => RING_CONTROL_SIZE + capacity;
  const perShard = ring(c.inbound) + c.commands + ring(c.shardToStore) + (shards - 1) * ring(c.shardToShard) + lanes * ring(c.shardToLane);
  return shards * perShard + lanes * ring(c.laneToHistory);
}

function chooseCapacities(shards: number, lanes: number, packetSizeMax: number): RingCapacities | undefined {
  const four = powerOfTwo(4 * packetSizeMax);
  const floor = Math.max(MIB, powerOfTwo(2 * packetSizeMax + SHARD_RING_SPARE + RECORD_SLACK));
  const chosen = {
    inbound: Math.max(RING_CAPACITY.INBOUND, four),
    commands: Math.max(COMMAND_MEMORY, four),
    shardToStore: Math.max(RING_CAPACITY.SHARD_TO_STORE, floor),
    shardToShard: Math.max(RING_CAPACITY.SHARD_TO_SHARD, floor),
    shardToLane: Math.max(RING_CAPACITY.SHARD_TO_LANE, floor),
    laneToHistory: RING_CAPACITY.LANE_TO_HISTORY,
  };
  while (arenaSize(shards, lanes, chosen) > ARENA_SIZE_MAX) {
    // The kind that takes most gives way first.
    const toLanes = chosen.shardToLane > floor ? shards * lanes * chosen.shardToLane : 0;
    const toShards = chosen.shardToShard > floor ? shards * (shards - 1) * chosen.shardToShard : 0;
    const toHistory = chosen.laneToHistory > MIB ? lanes * chosen.laneToHistory : 0;
    const most = Math.max(toLanes, toShards, toHistory);
    if (most === 0) return undefined;
    if (most === toLanes) chosen.shardToLane /= 2;
    else if (most === toShards) chosen.shardToShard /= 2;
    else chosen.laneToHistory /= 2;
  }
  return chosen;
}

function powerOfTwo(value: number): number {
  return 2 ** Math.ceil(Math.log2(value));
}
