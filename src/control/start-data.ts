// What each worker is given at its start, from the configuration and the arena. Pure: ports are handed in by the supervisor.
import { totalmem } from "node:os";
import { join } from "node:path";
import type { MessagePort, ResourceLimits } from "node:worker_threads";
import { DEFAULT_SHARD_LIMITS } from "../base/limits.js";
import type { ClientTrust, HistoryStart, LaneStart, ShardLimits, ShardStart, StoreStart } from "../base/messages.js";
import type { Arena } from "./arena.js";
import { authOptions } from "./auth-options.js";
import type { Config } from "./config/config.js";
import { listenerLimits } from "./config/listener-options.js";

const MIB = 1024 * 1024;
/** Series whose last value and statistics are held, all lanes together. */
const SERIES_MAX = 200_000;
const QUERY_DEADLINE_MS = 10_000;

export interface StartContext {
  readonly config: Config;
  readonly arena: Arena;
  /** In the order of the front's listeners: a connection names its listener by this index. */
  readonly listeners: ShardStart["listeners"];
  /** Access rules in force; main replaces them when their file changes. */
  access: ShardStart["access"];
  /** By listener, what client certificates are verified by since that changed last; main adds to it. */
  readonly trusts: Map<string, ClientTrust>;
}

export interface Ports {
  readonly main: MessagePort;
  readonly control: MessagePort;
}

/** How far the lanes are, without history. */
export function lanePositionsFile(config: Config): string {
  return join(config.data, "lanes.json");
}

export function journalDirectory(config: Config): string {
  return join(config.data, "journal");
}

export function historyPath(config: Config): string {
  return join(config.data, "history.duckdb");
}

export function hasHistory(config: Config): boolean {
  return config.history.engine !== "off";
}

export function storeStart(context: StartContext, ports: Ports): StoreStart {
  const { config, arena } = context;
  return {
    role: "store", ...ports, logLevel: config.log, counters: arena.storeCounters, positions: arena.positions,
    directory: journalDirectory(config),
    durability: config.durability,
    fromShards: arena.shards.map((memory) => memory.toStore),
    lanes: config.lanes,
    hasHistory: hasHistory(config),
    segmentSize: config.journal.segment_size,
    quotaBytes: config.journal.quota,
    quotaAgeMs: config.journal.quota_age,
    commitIntervalMaxMs: config.journal.commit_interval_max,
  };
}

export function historyStart(context: StartContext, ports: Ports): HistoryStart {
  const { config, arena } = context;
  return {
    role: "history", ...ports, logLevel: config.log, counters: arena.historyCounters, positions: arena.positions,
    path: historyPath(config),
    fromLanes: arena.lanes.map((memory) => memory.toHistory),
    rawRetentionMs: config.history.raw,
    memoryLimitBytes: config.history.memory,
    flushIntervalMs: config.history.flush_interval,
    queryDeadlineMs: QUERY_DEADLINE_MS,
  };
}

export function laneStart(context: StartContext, ports: Ports, lane: number, fromLsn: number, quarantined: readonly number[], isCareful: boolean): LaneStart {
  const { config, arena } = context;
  const memory = arena.lanes[lane]!;
  return {
    role: "lane", ...ports, logLevel: config.log, counters: memory.counters, positions: arena.positions,
    lane,
    lanes: config.lanes,
    journalDirectory: journalDirectory(config),
    fromShards: arena.shards.map((shard) => shard.toLanes[lane]!),
    ...(hasHistory(config) ? { toHistory: memory.toHistory } : {}),
    fromLsn,
    quarantined,
    isCareful,
    statistics: { window: config.statistics.window, warmUp: config.statistics.warm_up, threshold: config.statistics.threshold },
    seriesMax: Math.ceil(SERIES_MAX / config.lanes),
  };
}

export function shardStart(context: StartContext, ports: Ports, shard: number): ShardStart {
  const { config, arena } = context;
  const memory = arena.shards[shard]!;
  return {
    role: "shard", ...ports, logLevel: config.log, counters: memory.counters, positions: arena.positions,
    shard,
    shards: config.shards,
    lanes: config.lanes,
    durability: config.durability,
    wake: config.wake,
    inbound: memory.inbound,
    commands: memory.commands,
    reactorCounters: memory.reactorCounters,
    toStore: memory.toStore,
    storeCounters: arena.storeCounters,
    toShards: memory.toShards,
    fromShards: arena.shards.map((source) => source.toShards[shard]!),
    toLanes: memory.toLanes,
    interestSeen: arena.interestSeen,
    deliveredIds: arena.deliveredIds,
    shardsLive: arena.shardsLive,
    limits: shardLimits(config),
    anonymous: config.auth.anonymous,
    access: context.access,
    trusts: [...context.trusts.values()],
    auth: authOptions(config),
    listenerClients: arena.listenerClients,
    attempts: arena.attempts,
    listeners: context.listeners.map((listener) => ({ ...listener, limits: listenerLimits(config, listener.name) })),
    journalDirectory: journalDirectory(config),
  };
}

function shardLimits(config: Config): ShardLimits {
  return {
    ...DEFAULT_SHARD_LIMITS,
    ...listenerLimits(config, null),
    sessionsMax: config.mqtt.sessions_max,
    queuesCountMax: config.mqtt.queues_count_max,
    queuesBytesMax: config.mqtt.queues_bytes_max,
    retainedCountMax: config.mqtt.retained_count_max,
    retainedBytesMax: config.mqtt.retained_size_max,
    validatePayloadFormat: config.mqtt.validate_payload_format === "refuse",
    responseInformation: config.mqtt.response_information === "none" ? "" : config.mqtt.response_information,
    isSessionAnybodys: config.mqtt.session_takeover === "anyone",
    serverReference: config.mqtt.server_reference === "none" ? "" : config.mqtt.server_reference,
  };
}

/** Young generation of threads that make little garbage per second: a small one keeps an idle gateway small. */
const SMALL_YOUNG_MB = 3;

/** Of a shard: three semi-spaces of 4 MB. Those of 16 MB that V8 would take fill up when clients come, hold little, and make nothing faster. */
const SHARD_YOUNG_MB = 12;

/** Heap limits, so that a worker that leaks ends alone instead of the whole process; a share of the machine's memory. */
export function heapLimits(role: "shard" | "store" | "lane" | "history" | "control", config: Config): ResourceLimits {
  const machine = totalmem() / MIB;
  const share = (part: number, least: number, most: number): number => Math.round(Math.min(most, Math.max(least, machine * part)));
  switch (role) {
    case "shard": return { maxOldGenerationSizeMb: share(0.4 / config.shards, 256, 4096), maxYoungGenerationSizeMb: SHARD_YOUNG_MB };
    case "lane": return { maxOldGenerationSizeMb: share(0.2 / config.lanes, 192, 2048) };
    case "store": return { maxOldGenerationSizeMb: share(0.05, 192, 1024), maxYoungGenerationSizeMb: SMALL_YOUNG_MB };
    case "history": return { maxOldGenerationSizeMb: share(0.05, 192, 1024) };
    case "control": return { maxOldGenerationSizeMb: share(0.03, 128, 512), maxYoungGenerationSizeMb: SMALL_YOUNG_MB };
  }
}
