// Every queue's limit in one place; the memory that all rings imply is summed in control/ring-capacities.ts. Bytes unless the name says otherwise.
// Defaults: the configuration may set those that ShardLimits names.
import type { ShardLimits } from "./messages.js";

export const KIB = 1024;
export const MIB = 1024 * 1024;

/** Capacities of the rings (powers of two). */
export const RING_CAPACITY = {
  /** reactor -> shard; emptied every turn, so it stays cache-warm at its beginning. Must hold 4 of the largest frames. */
  INBOUND: 4 * MIB,
  SHARD_TO_STORE: 4 * MIB,
  SHARD_TO_SHARD: 4 * MIB,
  SHARD_TO_LANE: 8 * MIB,
  LANE_TO_HISTORY: 8 * MIB,
} as const;

/** Memory for one batch's commands to the reactor (not a ring: run and emptied within the turn). */
export const COMMAND_MEMORY = 4 * MIB;

/** Kept free in shard -> shard rings for control records, which are never dropped. */
export const SHARD_RING_SPARE = 256 * KIB;

/** Listening sockets: clients are counted for each listener. */
export const LISTENER_COUNT_MAX = 256;

/** Payload bytes of one journal frame after which the store starts another. */
export const JOURNAL_FRAME_SIZE = 256 * KIB;

/** Values that one message may hold; more are refused as undecodable. */
export const MEASUREMENTS_PER_MESSAGE_MAX = 4096;

/** Length of a device id whose telemetry is understood, in bytes. */
export const DEVICE_ID_SIZE_MAX = 256;

/** How deep objects and arrays of a payload may be nested. */
export const PAYLOAD_DEPTH_MAX = 16;

/** Length of a measurement's dotted name, in UTF-8 bytes. */
export const MEASUREMENT_NAME_SIZE_MAX = 256;

/** Length of a measurement's text, in UTF-8 bytes. */
export const MEASUREMENT_TEXT_SIZE_MAX = 1024;

/** Unacknowledged messages of a shared subscription that one member is given, if its receive maximum allows as many: what a slow one keeps from the others. */
export const SHARED_MEMBER_WINDOW_MAX = 128;
/** The same in bytes; the message that passes it is still given. */
export const SHARED_MEMBER_BYTES_MAX = 1 * MIB;
export const DEFAULT_SHARD_LIMITS: ShardLimits = {
  protocolVersions: [4, 5],
  maximumQos: 2,
  retainAvailable: true,
  allowsEmptyClientId: true,
  connectionsMax: 100_000,
  packetSizeMax: 1 * MIB,
  keepAliveMaxSeconds: 65535,
  receiveMaximum: 1024,
  inflightMax: 1024,
  topicAliasMaximum: 32,
  topicDepthMax: 32,
  topicLengthMax: 4096,
  subscriptionsPerClientMax: 1000,
  subscriptionsSizeMax: 128 * MIB,
  sessionExpiryMaxSeconds: 7 * 24 * 3600,
  queueCountMax: 10_000,
  queueBytesMax: 16 * MIB,
  queueAgeMaxSeconds: 0,
  queuesCountMax: 250_000,
  queuesBytesMax: 256 * MIB,
  retainedCountMax: 1_000_000,
  retainedBytesMax: 256 * MIB,
  sessionsMax: 200_000,
  validatePayloadFormat: false,
  responseInformation: "",
  isSessionAnybodys: false,
  serverReference: "",
};
