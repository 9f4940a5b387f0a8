// The line of live figures in the log, once a minute: what all threads counted since the last one. On main's thread.
import { monitorEventLoopDelay } from "node:perf_hooks";
import { HISTORY_COUNTER, LANE_COUNTER, MAIN_COUNTER, SHARD_COUNTER, SHARD_DROPS, STORE_COUNTER } from "../base/counters.js";
import type { Clock } from "../base/clock.js";
import { REACTOR_COUNTER } from "../ring/layout.js";
import { listRings, ringBacklog, type Arena, type NamedRing } from "./arena.js";
import { formatSize } from "./config/units.js";

/** How often main's loop is looked at; each look is a wake-up. */
const LOOP_RESOLUTION_MS = 100;

export interface StatsLine {
  readonly text: string;
  readonly fields: Readonly<Record<string, number | string>>;
}

interface Totals {
  readonly at: number;
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly commits: number;
  readonly commitTime: number;
  readonly rows: number;
  readonly dropped: number;
}

export class Stats {
  private readonly clock: Clock;
  private readonly rings: readonly NamedRing[];
  private readonly loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  private readonly shards: readonly Float64Array[];
  private readonly reactors: readonly Float64Array[];
  private readonly lanes: readonly Float64Array[];
  private readonly store: Float64Array;
  private readonly history: Float64Array;
  private readonly main: Float64Array;
  private last: Totals;

  constructor(arena: Arena, clock: Clock) {
    this.clock = clock;
    this.rings = listRings(arena);
    this.shards = arena.shards.map((shard) => new Float64Array(shard.counters));
    this.reactors = arena.shards.map((shard) => new Float64Array(shard.reactorCounters));
    this.lanes = arena.lanes.map((lane) => new Float64Array(lane.counters));
    this.store = new Float64Array(arena.storeCounters);
    this.history = new Float64Array(arena.historyCounters);
    this.main = new Float64Array(arena.mainCounters);
    this.last = this.totals();
    this.loop.enable();
  }

  private totals(): Totals {
    return {
      at: this.clock.monotonic(),
      messagesIn: sum(this.shards, SHARD_COUNTER.MESSAGES_IN),
      messagesOut: sum(this.shards, SHARD_COUNTER.MESSAGES_OUT),
      bytesIn: sum(this.reactors, REACTOR_COUNTER.BYTES_IN),
      bytesOut: sum(this.reactors, REACTOR_COUNTER.BYTES_OUT),
      commits: this.store[STORE_COUNTER.COMMITS]!,
      commitTime: this.store[STORE_COUNTER.COMMIT_TIME_MS]!,
      rows: this.history[HISTORY_COUNTER.ROWS]!,
      dropped:
        SHARD_DROPS.reduce((count, counter) => count + sum(this.shards, counter), 0) + sum(this.shards, SHARD_COUNTER.DROPPED_LANE_RING) + sum(this.reactors, REACTOR_COUNTER.DELIVERIES_DROPPED),
    };
  }

  /** Takes the figures since the last call. */
  take(): StatsLine {
    const before = this.last;
    const now = (this.last = this.totals());
    const seconds = Math.max(0.001, (now.at - before.at) / 1000);
    const rate = (what: keyof Totals): number => Math.round((now[what] - before[what]) / seconds);
    const commits = now.commits - before.commits;
    const commitMean = commits === 0 ? 0 : (now.commitTime - before.commitTime) / commits;
    // The store keeps the longest since it was last taken here.
    const commitMax = this.store[STORE_COUNTER.COMMIT_TIME_MAX_MS]!;
    this.store[STORE_COUNTER.COMMIT_TIME_MAX_MS] = 0;
    const ownLag = Math.max(0, this.loop.max / 1e6 - LOOP_RESOLUTION_MS);
    this.loop.reset();
    this.main[MAIN_COUNTER.LOOP_LAG_MS] = ownLag;
    const lag = Math.max(
      ownLag, this.store[STORE_COUNTER.LOOP_LAG_MS]!, this.history[HISTORY_COUNTER.LOOP_LAG_MS]!,
      ...this.shards.map((shard) => shard[SHARD_COUNTER.LOOP_LAG_MS]!), ...this.lanes.map((lane) => lane[LANE_COUNTER.LOOP_LAG_MS]!),
    );
    const fullest = this.fullestRing();
    const fields = {
      clients: sum(this.shards, SHARD_COUNTER.CLIENTS),
      sessions: sum(this.shards, SHARD_COUNTER.SESSIONS),
      messages_in: rate("messagesIn"), messages_out: rate("messagesOut"), bytes_in: rate("bytesIn"), bytes_out: rate("bytesOut"),
      history_rows: rate("rows"), dropped: now.dropped - before.dropped,
      memory: process.memoryUsage.rss(), loop_lag_ms: round(lag), ring_fill_percent: round(fullest.fill * 100), ring: fullest.name,
      commits, commit_mean_ms: round(commitMean), commit_max_ms: round(commitMax),
    };
    const text =
      `${String(fields.clients)} clients, in ${String(fields.messages_in)} msg/s ${formatSize(fields.bytes_in)}/s, out ${String(fields.messages_out)} msg/s ${formatSize(fields.bytes_out)}/s, ` +
      `history ${String(fields.history_rows)} rows/s, dropped ${String(fields.dropped)}, memory ${formatSize(fields.memory)}, loop lag ${String(fields.loop_lag_ms)} ms, ` +
      `fullest ring ${String(fields.ring_fill_percent)} % (${fields.ring}), commit ${String(fields.commit_mean_ms)} ms mean ${String(fields.commit_max_ms)} ms max`;
    return { text, fields };
  }

  private fullestRing(): { name: string; fill: number } {
    let name = "none";
    let fill = 0;
    for (const ring of this.rings) {
      const here = ringBacklog(ring.place) / ring.place.capacity;
      if (here <= fill) continue;
      fill = here;
      name = `${ring.kind} ${String(ring.from)}-${String(ring.to)}`;
    }
    return { name, fill };
  }

  close(): void {
    this.loop.disable();
  }
}

function sum(blocks: readonly Float64Array[], counter: number): number {
  let total = 0;
  for (const block of blocks) total += block[counter]!;
  return total;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
