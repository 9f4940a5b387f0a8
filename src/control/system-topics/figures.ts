// What the broker topics of $SYS are made from: sums over the counters of all threads. On control's thread; reads shared memory, keeps nothing.
import { SHARD_COUNTER, SHARD_DROPS } from "../../base/counters.js";
import { FRONT_COUNTER, REACTOR_COUNTER } from "../../ring/layout.js";
import type { CounterBlocks } from "../control-messages.js";

/** Since the start, but for what is said to be now. */
export interface BrokerFigures {
  /** Now. */
  readonly connected: number;
  /** Sessions now, connected or not. */
  readonly sessions: number;
  readonly sessionsExpired: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly publishesIn: number;
  readonly publishesOut: number;
  readonly publishesDropped: number;
  readonly payloadBytesIn: number;
  readonly payloadBytesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Now. */
  readonly subscriptions: number;
  /** Retained messages now. */
  readonly retained: number;
  /** Messages held for somebody now: retained, queued, on their way. */
  readonly stored: number;
  readonly storedBytes: number;
  readonly sockets: number;
  readonly connects: number;
  /** Resident bytes of the process now, and the most there ever were. */
  readonly memory: number;
  readonly memoryMax: number;
}

export class BrokerCounters {
  private readonly shards: readonly Float64Array[];
  private readonly reactors: readonly Float64Array[];
  private readonly front: Float64Array;

  constructor(blocks: Pick<CounterBlocks, "shards" | "reactors" | "front">) {
    this.shards = blocks.shards.map((block) => new Float64Array(block));
    this.reactors = blocks.reactors.map((block) => new Float64Array(block));
    this.front = new Float64Array(blocks.front);
  }

  take(): BrokerFigures {
    const shard = (counter: number): number => sum(this.shards, counter);
    const reactor = (counter: number): number => sum(this.reactors, counter);
    // Every shard holds all retained messages.
    const retained = most(this.shards, SHARD_COUNTER.RETAINED);
    const droppedOut = reactor(REACTOR_COUNTER.DELIVERIES_DROPPED);
    return {
      connected: shard(SHARD_COUNTER.CLIENTS),
      sessions: shard(SHARD_COUNTER.SESSIONS),
      sessionsExpired: shard(SHARD_COUNTER.SESSIONS_EXPIRED),
      packetsIn: reactor(REACTOR_COUNTER.FRAMES_IN),
      packetsOut: shard(SHARD_COUNTER.PACKETS_OUT) - droppedOut,
      publishesIn: shard(SHARD_COUNTER.MESSAGES_IN),
      publishesOut: shard(SHARD_COUNTER.MESSAGES_OUT) - droppedOut,
      publishesDropped: SHARD_DROPS.reduce((count, counter) => count + shard(counter), droppedOut),
      payloadBytesIn: shard(SHARD_COUNTER.PAYLOAD_BYTES_IN),
      payloadBytesOut: shard(SHARD_COUNTER.PAYLOAD_BYTES_OUT),
      bytesIn: reactor(REACTOR_COUNTER.BYTES_IN),
      bytesOut: reactor(REACTOR_COUNTER.BYTES_OUT),
      subscriptions: shard(SHARD_COUNTER.SUBSCRIPTIONS),
      retained,
      stored: retained + shard(SHARD_COUNTER.QUEUED) + shard(SHARD_COUNTER.SHARED_QUEUED) + shard(SHARD_COUNTER.INFLIGHT),
      storedBytes: most(this.shards, SHARD_COUNTER.RETAINED_BYTES) + shard(SHARD_COUNTER.QUEUED_BYTES) + shard(SHARD_COUNTER.SHARED_QUEUED_BYTES),
      sockets: this.front[FRONT_COUNTER.ACCEPTED]!,
      connects: this.front[FRONT_COUNTER.HANDED_OVER]!,
      memory: process.memoryUsage.rss(),
      memoryMax: process.resourceUsage().maxRSS * 1024,
    };
  }
}

function sum(blocks: readonly Float64Array[], counter: number): number {
  let total = 0;
  for (const block of blocks) total += block[counter]!;
  return total;
}

function most(blocks: readonly Float64Array[], counter: number): number {
  let highest = 0;
  for (const block of blocks) highest = Math.max(highest, block[counter]!);
  return highest;
}
