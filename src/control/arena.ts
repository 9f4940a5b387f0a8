// All memory that threads share, allocated once by main and kept for the life of the process: it survives every worker, so that a worker
// that is started again goes on where the dead one stopped. All rings, the inbound and the command memories lie in ONE SharedArrayBuffer:
// a copy from any ring to any other needs no new view (base/bytes.ts). Only touched pages cost memory.
import { randomBytes } from "node:crypto";
import { assert } from "../base/assert.js";
import { COUNTER_BLOCK_COUNT } from "../base/counters.js";
import { LISTENER_COUNT_MAX } from "../base/limits.js";
import { POSITION_COUNT } from "../base/positions.js";
import type { RingPlace } from "../base/ring-place.js";
import { FRONT_COUNTER_COUNT, REACTOR_COUNTER_COUNT, RING_WORD } from "../ring/layout.js";
import { ringSize, SharedViews } from "../ring/ring.js";
import { ATTEMPTS_SIZE, initAttempts } from "../security/slow-down.js";
import { arenaSize, ringCapacities } from "./ring-capacities.js";

const CACHE_LINE = 64;

export interface ShardMemory {
  readonly inbound: RingPlace;
  readonly commands: { readonly byteOffset: number; readonly size: number };
  readonly toStore: RingPlace;
  /** By target shard; the own entry stands for itself and is unused (it is the inbound ring's place). */
  readonly toShards: readonly RingPlace[];
  /** By lane. */
  readonly toLanes: readonly RingPlace[];
  readonly counters: SharedArrayBuffer;
  readonly reactorCounters: SharedArrayBuffer;
}

export interface LaneMemory {
  readonly toHistory: RingPlace;
  readonly counters: SharedArrayBuffer;
}

export interface Arena {
  readonly buffer: SharedArrayBuffer;
  readonly shards: readonly ShardMemory[];
  readonly lanes: readonly LaneMemory[];
  readonly storeCounters: SharedArrayBuffer;
  readonly historyCounters: SharedArrayBuffer;
  readonly frontCounters: SharedArrayBuffer;
  readonly mainCounters: SharedArrayBuffer;
  /** BigUint64 cells (base/positions.ts). */
  readonly positions: SharedArrayBuffer;
  /** u32[shards * shards], see ShardStart. */
  readonly interestSeen: SharedArrayBuffer;
  /** f64[2 * shards], see ShardStart. */
  readonly deliveredIds: SharedArrayBuffer;
  /** u32[shards], see ShardStart. */
  readonly shardsLive: SharedArrayBuffer;
  /** Clients by shard and listener, see ShardStart. */
  readonly listenerClients: SharedArrayBuffer;
  /** Wrong attempts by address, see ShardStart. */
  readonly attempts: SharedArrayBuffer;
}

/** Allocates everything. @param packetSizeMax bytes of the largest packet: rings hold several of them */
export function createArena(shards: number, lanes: number, packetSizeMax: number): Arena {
  const capacities = ringCapacities(shards, lanes, packetSizeMax);
  const buffer = new SharedArrayBuffer(arenaSize(shards, lanes, capacities));
  let used = 0;
  const take = (size: number): number => {
    const at = used;
    used += size;
    assert(at % CACHE_LINE === 0 && used <= buffer.byteLength, "parts of the arena are cache-aligned and fit");
    return at;
  };
  const ring = (capacity: number): RingPlace => ({ buffer, byteOffset: take(ringSize(capacity)), capacity });
  const shardMemories: ShardMemory[] = [];
  for (let shard = 0; shard < shards; shard++) {
    const inbound = ring(capacities.inbound);
    shardMemories.push({
      inbound,
      commands: { byteOffset: take(capacities.commands), size: capacities.commands },
      toStore: ring(capacities.shardToStore),
      toShards: Array.from({ length: shards }, (_, target) => (target === shard ? inbound : ring(capacities.shardToShard))),
      toLanes: Array.from({ length: lanes }, () => ring(capacities.shardToLane)),
      counters: counterBlock(COUNTER_BLOCK_COUNT),
      reactorCounters: counterBlock(REACTOR_COUNTER_COUNT),
    });
  }
  const laneMemories = Array.from({ length: lanes }, (): LaneMemory => ({ toHistory: ring(capacities.laneToHistory), counters: counterBlock(COUNTER_BLOCK_COUNT) }));
  assert(used === buffer.byteLength, "the arena is used up exactly");
  return {
    buffer,
    shards: shardMemories,
    lanes: laneMemories,
    storeCounters: counterBlock(COUNTER_BLOCK_COUNT),
    historyCounters: counterBlock(COUNTER_BLOCK_COUNT),
    frontCounters: counterBlock(FRONT_COUNTER_COUNT),
    mainCounters: counterBlock(COUNTER_BLOCK_COUNT),
    positions: new SharedArrayBuffer(POSITION_COUNT * 8),
    interestSeen: new SharedArrayBuffer(shards * shards * 4),
    deliveredIds: new SharedArrayBuffer(shards * 2 * 8),
    shardsLive: new SharedArrayBuffer(shards * 4),
    listenerClients: new SharedArrayBuffer(shards * LISTENER_COUNT_MAX * 4),
    attempts: newAttempts(),
  };
}

function newAttempts(): SharedArrayBuffer {
  const table = new SharedArrayBuffer(ATTEMPTS_SIZE);
  initAttempts(table, randomBytes(16));
  return table;
}

function counterBlock(count: number): SharedArrayBuffer {
  return new SharedArrayBuffer(count * 8);
}

/** Bytes waiting in a ring, as seen by a thread that owns neither end. */
export function ringBacklog(place: RingPlace): number {
  const words = SharedViews.of(place.buffer).words;
  const control = place.byteOffset >> 2;
  // TAIL first: HEAD only grows meanwhile, so the difference is never negative.
  const tail = Atomics.load(words, control + RING_WORD.TAIL);
  return Math.min((Atomics.load(words, control + RING_WORD.HEAD) - tail) >>> 0, place.capacity);
}

/**
 * Empties a ring and forgets its positions.
 * REQUIRES: both its threads are gone (not only told to go).
 */
export function resetRing(place: RingPlace): void {
  const words = SharedViews.of(place.buffer).words;
  const control = place.byteOffset >> 2;
  for (const word of Object.values(RING_WORD)) Atomics.store(words, control + word, 0);
}

/** A ring with its two ends named, for metrics and the stats line. */
export interface NamedRing {
  readonly kind: "inbound" | "shard_to_store" | "shard_to_shard" | "shard_to_lane" | "lane_to_history";
  readonly from: number;
  readonly to: number;
  readonly place: RingPlace;
}

export function listRings(arena: Arena): NamedRing[] {
  const rings: NamedRing[] = [];
  arena.shards.forEach((memory, shard) => {
    rings.push({ kind: "inbound", from: shard, to: shard, place: memory.inbound });
    rings.push({ kind: "shard_to_store", from: shard, to: 0, place: memory.toStore });
    memory.toShards.forEach((place, target) => {
      if (target !== shard) rings.push({ kind: "shard_to_shard", from: shard, to: target, place });
    });
    memory.toLanes.forEach((place, lane) => rings.push({ kind: "shard_to_lane", from: shard, to: lane, place }));
  });
  arena.lanes.forEach((memory, lane) => rings.push({ kind: "lane_to_history", from: lane, to: 0, place: memory.toHistory }));
  return rings;
}
