// What threads tell each other apart from rings: one discriminated union per direction, over MessagePorts. Never per message of a device.
// Every worker gets its start data as workerData (lanes: as the Piscina task) and holds a port to main and one to control.
import type { MessagePort } from "node:worker_threads";
import type { AccessRuleSet } from "./access.js";
import type { AuthOptions, CertificateIdentity } from "./authenticator.js";
import type { RingPlace } from "./ring-place.js";

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal";
export type Durability = "disk" | "memory";

/** What a listener allows its clients; `mqtt:` and `listeners.{name}.mqtt`. */
export interface ListenerLimits {
  readonly protocolVersions: readonly (4 | 5)[];
  readonly maximumQos: 0 | 1 | 2;
  readonly retainAvailable: boolean;
  readonly allowsEmptyClientId: boolean;
  readonly packetSizeMax: number;
  readonly keepAliveMaxSeconds: number;
  readonly receiveMaximum: number;
  readonly inflightMax: number;
  readonly topicAliasMaximum: number;
  readonly sessionExpiryMaxSeconds: number;
  readonly queueCountMax: number;
  readonly queueBytesMax: number;
  /** 0 = any. */
  readonly queueAgeMaxSeconds: number;
  /** Clients at once. */
  readonly connectionsMax: number;
}

/** Limits a shard applies; from the configuration (defaults: limits.ts). Bytes, counts, milliseconds. */
export interface ShardLimits extends ListenerLimits {
  readonly topicDepthMax: number;
  readonly topicLengthMax: number;
  readonly subscriptionsPerClientMax: number;
  /** About what all subscriptions of a shard, and what it knows of those of others, hold of memory. */
  readonly subscriptionsSizeMax: number;
  readonly retainedCountMax: number;
  readonly retainedBytesMax: number;
  /** Of all shards together: sessions, connected or kept; messages in their queues; bytes of those. */
  readonly sessionsMax: number;
  readonly queuesCountMax: number;
  readonly queuesBytesMax: number;
  /** A payload that says it is UTF-8 and is not gets refused (MQTT 5 §3.3.2.3.2). */
  readonly validatePayloadFormat: boolean;
  /** What MQTT 5 clients that ask for it get as response information; "" = nothing. */
  readonly responseInformation: string;
  /** Sessions belong to their client ids alone: another user that presents one gets its session. */
  readonly isSessionAnybodys: boolean;
  /** Another server that MQTT 5 clients are sent to when this one is full or stops; "" = none. */
  readonly serverReference: string;
}

interface StartCommon {
  readonly main: MessagePort;
  readonly control: MessagePort;
  readonly logLevel: LogLevel;
  /** This thread's counters, COUNTER_BLOCK_COUNT f64. */
  readonly counters: SharedArrayBuffer;
  /** BigUint64 cells (positions.ts). */
  readonly positions: SharedArrayBuffer;
}

export interface ShardStart extends StartCommon {
  readonly role: "shard";
  readonly shard: number;
  readonly shards: number;
  readonly lanes: number;
  readonly durability: Durability;
  readonly wake: "latency" | "throughput";
  readonly inbound: RingPlace;
  readonly commands: { readonly byteOffset: number; readonly size: number };
  readonly reactorCounters: SharedArrayBuffer;
  readonly toStore: RingPlace;
  /** The store's counters: BLOCKED is read before a QoS >= 1 PUBLISH is taken. */
  readonly storeCounters: SharedArrayBuffer;
  /** By target shard; the own entry is unused. */
  readonly toShards: readonly RingPlace[];
  /** By source shard; the own entry is unused. */
  readonly fromShards: readonly RingPlace[];
  /** By lane. */
  readonly toLanes: readonly RingPlace[];
  /** u32[shards * shards]: [i * shards + j] = the last of shard i's interest changes that shard j has applied; for j = i, has made. */
  readonly interestSeen: SharedArrayBuffer;
  /** f64[2 * shards]: by shard, the last id of each of its streams that it has delivered (shard/delivered-ids.ts). */
  readonly deliveredIds: SharedArrayBuffer;
  /** u32[shards]: bit 0 = live, above it how often the shard died (written by main, before a successor is started). */
  readonly shardsLive: SharedArrayBuffer;
  readonly limits: ShardLimits;
  readonly anonymous: "loopback" | "never" | "always";
  /** null: everything is allowed. */
  readonly access: AccessRuleSet | null;
  /** What main has had from certificate files since its start: a shard that is started later judges by it, too. */
  readonly trusts: readonly ClientTrust[];
  readonly auth: AuthOptions;
  readonly listeners: readonly {
    readonly name: string; readonly isTls: boolean; readonly protocol: "mqtt" | "line" | "websocket"; readonly identity: CertificateIdentity;
    /** Missing: `limits` hold. */
    readonly limits?: ListenerLimits;
  }[];
  /** Clients by listener, all shards (shard/listener-limits.ts). */
  readonly listenerClients: SharedArrayBuffer;
  readonly journalDirectory: string;
  /** Wrong attempts by address (security/slow-down.ts). */
  readonly attempts: SharedArrayBuffer;
}

export interface StoreStart extends StartCommon {
  readonly role: "store";
  readonly directory: string;
  readonly durability: Durability;
  readonly fromShards: readonly RingPlace[];
  readonly lanes: number;
  /** Consumers to wait for before trimming. */
  readonly hasHistory: boolean;
  readonly segmentSize: number;
  readonly quotaBytes: number;
  readonly quotaAgeMs: number;
  /** Wait this long for more before a commit; adapts between 0 and this. */
  readonly commitIntervalMaxMs: number;
}

export interface LaneStart extends StartCommon {
  readonly role: "lane";
  readonly lane: number;
  readonly lanes: number;
  readonly journalDirectory: string;
  readonly fromShards: readonly RingPlace[];
  /** Missing when history is off. */
  readonly toHistory?: RingPlace;
  /** Where to go on in the journal when there is no history; else history's position says so. */
  readonly fromLsn: number;
  /**
   * LSNs of frames at which a lane died twice: their messages are taken with care, those that throw are put aside. A frame that is here
   * twice (the lane died at it even so) is passed over, its messages are put aside unread.
   */
  readonly quarantined: readonly number[];
  /** Its predecessor hung: what waits in the rings is taken out before it is looked at, so that no message of QoS 0 makes lane after lane hang. */
  readonly isCareful: boolean;
  readonly statistics: StatisticsOptions;
  readonly seriesMax: number;
}

/** Moving statistics of a series (mission D3). */
export interface StatisticsOptions {
  readonly window: number;
  readonly warmUp: number;
  readonly threshold: number;
}

export interface HistoryStart extends StartCommon {
  readonly role: "history";
  readonly path: string;
  readonly fromLanes: readonly RingPlace[];
  readonly rawRetentionMs: number;
  readonly memoryLimitBytes: number;
  readonly flushIntervalMs: number;
  readonly queryDeadlineMs: number;
}

/** Worker -> main. */
export type ToMain =
  | { readonly type: "ready"; readonly detail?: StoreReady | HistoryReady }
  | { readonly type: "log"; readonly level: LogLevel; readonly area: string; readonly text: string; readonly fields?: Readonly<Record<string, unknown>> }
  | { readonly type: "failed"; readonly code: string; readonly text: string }
  | { readonly type: "shardDrained"; readonly shard: number }
  | { readonly type: "drained" }
  | { readonly type: "stopped" };

export interface StoreReady {
  readonly type: "store";
  readonly firstLsn: number;
  readonly durableLsn: number;
}

export interface HistoryReady {
  readonly type: "history";
  /** Everything before this LSN is in history. */
  readonly committedLsn: number;
}

/** What client certificates of a listener are verified by. PEM; `crl` "" = none. */
export interface ClientTrust {
  readonly listener: string;
  readonly ca: string;
  readonly crl: string;
  /** Who was verified by the secure context of this number, or a later one, was verified by these or later ones. */
  readonly context: number;
}

/** Main -> worker. */
export type FromMain =
  /** A fresh port to control (it was restarted). */
  | { readonly type: "control"; readonly port: MessagePort }
  /** Shard: take no new PUBLISHes, release what becomes durable, say DISCONNECT (0x8B) to MQTT 5, close; then `drained`. */
  | { readonly type: "drain"; readonly deadlineMs: number }
  /** Shard: these access rules hold from now on (null = none). */
  | { readonly type: "access"; readonly rules: AccessRuleSet | null }
  /** Shard: certificates of this listener's clients are verified by these from now on, also of those that are connected. */
  | { readonly type: "trust"; readonly trust: ClientTrust }
  /** Store: answer with `shardDrained` when all that the shard, which died, had sent is on disk. */
  | { readonly type: "shardDrained?"; readonly shard: number }
  /** Shard: liveness of the shards changed (see ShardStart.shardsLive). */
  | { readonly type: "shards" }
  /** Finish what is in the rings, commit, close files; then `stopped`. */
  | { readonly type: "stop" };

/** Control <-> worker: a request, answered once, by `id`. */
export interface Request {
  readonly id: number;
  readonly query: Query;
}
export type Reply = { readonly id: number; readonly result: unknown } | { readonly id: number; readonly error: string; readonly status: number };

/** A retained QoS 0 message of the gateway's own. */
export interface SystemMessage {
  readonly topic: string;
  readonly payload: string;
}

export type Query =
  /** Shard -> ClientStatus[]. */
  | { readonly type: "clients" }
  /** Shard: publish these, to the subscribers and into the retained messages of all shards -> boolean; false = it does not serve yet, ask again. */
  | { readonly type: "publish"; readonly messages: readonly SystemMessage[] }
  /** Lane -> LastValue | null. */
  | { readonly type: "last"; readonly device: string; readonly name: string }
  /** History -> SeriesPoint[]. Times in Unix ms. */
  | { readonly type: "series"; readonly device: string; readonly name: string; readonly from: number; readonly to: number; readonly stepMs: number }
  /** History -> LastValue | null (values only). */
  | { readonly type: "storedLast"; readonly device: string; readonly name: string }
  /** History -> DeviceSummary[]. */
  | { readonly type: "devices"; readonly limit: number; readonly after: string }
  /** History -> EventRow[] (what did not decode, newest first). */
  | { readonly type: "events"; readonly limit: number };

export interface ClientStatus {
  readonly clientId: string;
  /** "" for anonymous clients, and for those that are away. */
  readonly user: string;
  readonly isConnected: boolean;
  readonly protocol: "MQTT 3.1.1" | "MQTT 5.0";
  readonly listener: string;
  readonly peer: string;
  readonly connectedAt: number;
  readonly lastSeenAt: number;
  readonly subscriptions: number;
  readonly queued: number;
}

export interface SeriesPoint {
  readonly time: number;
  readonly mean: number;
  readonly min: number;
  readonly max: number;
  readonly count: number;
}

export interface LastValue {
  readonly time: number;
  readonly value: number | string | boolean;
  /** Present for numbers once the lane has seen the series since it started. */
  readonly statistics?: {
    readonly count: number;
    readonly mean: number;
    readonly standardDeviation: number;
    readonly zScore: number;
    readonly isAnomaly: boolean;
    readonly confidence: number;
  };
}

export interface DeviceSummary {
  readonly id: string;
  readonly series: readonly string[];
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
}

export interface EventRow {
  readonly time: number;
  readonly device: string;
  readonly kind: string;
  readonly text: string;
}
