// What every thread counts: f64 each, in a SharedArrayBuffer per thread with one writer; the control worker reads them all and names
// them in /metrics as `penstock_<role>_<name in lower case>` (`…_total` unless listed in GAUGES). Add at the end of a role.
// The reactor's and the front's own counters stand in ring/layout.ts, since C++ writes them.

export const SHARD_COUNTER = {
  MESSAGES_IN: 0,
  MESSAGES_OUT: 1,
  PUBLISHES_QOS0: 2,
  PUBLISHES_QOS1: 3,
  PUBLISHES_QOS2: 4,
  CLIENTS: 5,
  SESSIONS: 6,
  SUBSCRIPTIONS: 7,
  RETAINED: 8,
  RETAINED_BYTES: 9,
  CONNECTS_REFUSED: 10,
  PROTOCOL_ERRORS: 11,
  /** Messages a full session queue refused. */
  DROPPED_QUEUE_FULL: 13,
  DROPPED_PEER_RING: 14,
  DROPPED_LANE_RING: 15,
  DROPPED_EXPIRED: 16,
  QUEUED: 17,
  QUEUED_BYTES: 18,
  ACKS_PENDING: 19,
  /** Times the shard stopped reading since the store, a peer or its own windows were full. */
  STALLS_STORE: 20,
  STALLS_PEER: 21,
  REFUSED_NOT_AUTHORISED: 22,
  TURNS: 23,
  TURN_TIME_MS: 24,
  INFLIGHT: 25,
  TAKE_OVERS: 26,
  WILLS_SENT: 27,
  ROUTE_CACHE_MISSES: 28,
  STALLS_WINDOW: 29,
  /** QoS 2 PUBLISHes with a packet id already received: acknowledged again, not delivered again. */
  DUPLICATES_QOS2: 30,
  HEAP_USED: 31,
  LOOP_LAG_MS: 32,
  /** Messages that came from other shards. */
  PEER_MESSAGES: 33,
  /** Groups of shared subscriptions that this shard owns, and what waits in their queues. */
  SHARED_GROUPS: 80,
  SHARED_QUEUED: 81,
  SHARED_QUEUED_BYTES: 82,
  /** Messages given to a member of a group. */
  SHARED_ASSIGNED: 83,
  /** Messages that a member did not take or acknowledge, and that went back to the group. */
  SHARED_RETURNED: 84,
  /** Messages for a group whose queue is full. */
  DROPPED_SHARED_QUEUE_FULL: 85,
  /** Messages for a group of which nobody could take them, and which nobody keeps (QoS 0). */
  DROPPED_SHARED_NO_MEMBER: 86,
  /** QoS 2 messages that may have been sent to a member that is gone: nobody else gets them [MQTT-4.8.2-5]. */
  DROPPED_SHARED_QOS2: 87,
  /** PUBLISHes whose payload is not the UTF-8 that they say it is (mqtt.validate_payload_format). */
  REFUSED_PAYLOAD_FORMAT: 34,
  /** What access rules refused. */
  PUBLISHES_FORBIDDEN: 40,
  SUBSCRIPTIONS_FORBIDDEN: 41,
  WILLS_FORBIDDEN: 42,
  /** Messages that waited for a client which may not have them any more. */
  DROPPED_FORBIDDEN: 43,
  /** Clients that wait for the answer about their credentials. */
  AUTH_WAITING: 48,
  /** Wrong user name, password, token or SCRAM proof. */
  AUTH_FAILURES: 49,
  /** Attempts that were not looked at, since too many from their address had failed. */
  AUTH_SLOWED: 50,
  /** Attempts refused since too many were being checked. */
  AUTH_BUSY: 51,
  /** Clients whose authentication did not end in time. */
  AUTH_TIMEOUTS: 52,
  /** Connections ended since their token had expired, or the time for which the HTTP back-end had let them in was over. */
  AUTH_EXPIRED: 53,
  /** Requests to the HTTP back-end, and those that failed. */
  AUTH_HTTP_REQUESTS: 54,
  AUTH_HTTP_FAILURES: 55,
  /** Connections ended since what had let their client in holds no more (certificate, user, password, key of tokens). */
  AUTH_REVOKED: 56,
  /** CONNECTs with a client id whose session is another user's (mqtt.session_takeover). */
  REFUSED_SESSION_OWNER: 57,
  /** Packets of any kind to clients, deliveries that the reactor dropped included. */
  PACKETS_OUT: 64,
  /** Payloads of PUBLISHes from and to clients. */
  PAYLOAD_BYTES_IN: 65,
  PAYLOAD_BYTES_OUT: 66,
  SESSIONS_EXPIRED: 67,
  /** PUBLISHes and wills of clients to $SYS. */
  REFUSED_SYSTEM_TOPIC: 68,
  /** Retained messages still to be sent to new subscriptions wait in so many walks (RetainedFeed). */
  RETAINED_FEEDS: 69,
  /** Subscriptions beyond a limit, of the client or of all together. */
  REFUSED_SUBSCRIPTIONS: 70,
  /** Messages that found no room since the queues of all sessions together were full. */
  DROPPED_QUEUES_FULL: 100,
  /** Messages that waited longer than mqtt.queue_age_max. */
  DROPPED_QUEUE_AGE: 101,
  /** Sessions whose queue is full, or was and has no eighth free yet. */
  QUEUES_FULL: 102,
  /** PUBLISHes acknowledged with 0x97: somebody whom they are for has no room for them. */
  PUBLISHES_OVER_QUOTA: 103,
  /** CONNECTs refused since there are as many sessions as there may be. */
  REFUSED_SESSIONS: 104,
} as const;

/** Of a shard: deliveries that were dropped since somebody does not keep up, something is full, or nobody of a group could take them. */
export const SHARD_DROPS: readonly number[] = [
  SHARD_COUNTER.DROPPED_QUEUE_FULL, SHARD_COUNTER.DROPPED_QUEUES_FULL, SHARD_COUNTER.DROPPED_QUEUE_AGE, SHARD_COUNTER.DROPPED_PEER_RING,
  SHARD_COUNTER.DROPPED_SHARED_QUEUE_FULL, SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER, SHARD_COUNTER.DROPPED_SHARED_QOS2,
];

export const STORE_COUNTER = {
  COMMITS: 0,
  ENTRIES: 1,
  BYTES: 2,
  COMMIT_TIME_MS: 3,
  /** Longest commit since the last stats line read it. */
  COMMIT_TIME_MAX_MS: 4,
  SEGMENTS: 5,
  JOURNAL_BYTES: 6,
  TRIMMED_BYTES: 7,
  FILES_PUT_ASIDE: 8,
  COMMITS_FAILED: 9,
  /** 1 while nothing can be written (disk full or failing). */
  BLOCKED: 10,
  HEAP_USED: 11,
  LOOP_LAG_MS: 12,
} as const;

export const LANE_COUNTER = {
  MESSAGES: 0,
  MEASUREMENTS: 1,
  ANOMALIES: 2,
  /** Messages that did not decode; an event with the reason is kept. */
  DECODE_FAILURES: 3,
  QUARANTINED: 4,
  SERIES: 5,
  JOURNAL_BYTES_READ: 6,
  /** Turns that waited for room in the ring to history. */
  STALLS_HISTORY: 7,
  SERIES_EVICTED: 8,
  HEAP_USED: 9,
  LOOP_LAG_MS: 10,
} as const;

export const HISTORY_COUNTER = {
  ROWS: 0,
  EVENTS: 1,
  FLUSHES: 2,
  FLUSH_TIME_MS: 3,
  FLUSHES_FAILED: 4,
  QUERIES: 5,
  QUERY_TIME_MS: 6,
  ROWS_DELETED: 7,
  HEAP_USED: 8,
  LOOP_LAG_MS: 9,
  QUERIES_CANCELLED: 10,
} as const;

/** What main counts of its workers. */
export const MAIN_COUNTER = {
  RESTARTS_SHARD: 0,
  RESTARTS_LANE: 1,
  RESTARTS_HISTORY: 2,
  RESTARTS_CONTROL: 3,
  /** Journal frames that a lane died at twice. */
  FRAMES_QUARANTINED: 4,
  /** Rows that lanes had made and history had not committed when it died: read again from the journal, or lost (QoS 0). */
  HISTORY_ROWS_UNCOMMITTED: 5,
  LOOP_LAG_MS: 6,
  /** Lanes that hung: all lanes were started again. */
  LANES_HUNG: 7,
} as const;

/** Size of every thread's counter block, in f64. */
export const COUNTER_BLOCK_COUNT = 128;

/** Counters that go up and down. */
export const GAUGES: ReadonlySet<string> = new Set([
  "CLIENTS", "SESSIONS", "SUBSCRIPTIONS", "RETAINED", "RETAINED_BYTES", "RETAINED_FEEDS", "QUEUED", "QUEUED_BYTES", "QUEUES_FULL", "ACKS_PENDING", "INFLIGHT", "SHARED_GROUPS", "SHARED_QUEUED", "SHARED_QUEUED_BYTES", "HEAP_USED", "LOOP_LAG_MS",
  "COMMIT_TIME_MAX_MS", "SEGMENTS", "JOURNAL_BYTES", "BLOCKED", "SERIES", "CONNECTIONS_OPEN", "OVERFLOW_BYTES", "PENDING", "AUTH_WAITING",
]);
