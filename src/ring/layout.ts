// The one definition of everything that TypeScript and C++ share in memory: ring control words, record kinds, flags,
// counters, limits. `npm run build` writes native/core/layout.h from it (src/ring/generate-header.ts); a test fails if that
// file is stale. Positions, lengths and offsets are bytes; integers are little-endian (checked at start).
//
// A ring in memory (one writer, one reader):
//
//   control, 256 bytes (one word per cache line)          data, `capacity` bytes, a power of two
//   +------+------+-------+---------+                     +--------+--------+---------~~~~~~~--------+
//   | HEAD | TAIL | ARMED | DURABLE |                     | record | record | free            filler  |
//   +------+------+-------+---------+                     +--------+--------+---------~~~~~~~--------+
//
//   record = u32 (kind << 24 | length), u32 id, `length` bytes, padding to 8. Records never wrap: a FILLER record covers what is
//   left at the end. HEAD and TAIL only grow and wrap at 2^32; HEAD - TAIL <= capacity.

/** Word indices (u32) in a ring's control block. */
export const RING_WORD = {
  /** Writer's position: everything before it is whole. Stored by the writer alone. */
  HEAD: 0,
  /** Reader's position: everything before it may be overwritten. Stored by the reader alone. */
  TAIL: 16,
  /** 1 while the reader is asleep and wants its doorbell rung; taken (exchanged to 0) by the one who rings. */
  ARMED: 32,
  /** Rings into the store: every record before this position is on disk. Stored by the store alone. */
  DURABLE: 48,
} as const;

export const RING_CONTROL_SIZE = 256;
export const RECORD_HEADER_SIZE = 8;
/** The length field has 24 bits. */
export const RECORD_LENGTH_MAX = 0xff_ffff;
/** Kind of the record that fills a ring's end; its length field says nothing. */
export const RECORD_FILLER = 0xff;

/** Records of the reactor's inbound ring; `id` is the connection id. */
export const INBOUND = {
  /** A connection was adopted; bytes: JSON, see `ConnectionOpened` in src/reactor/reactor.ts. DATA with its first frame follows; then it is held until ACCEPT. */
  OPENED: 1,
  /** One or more whole frames of one connection. */
  DATA: 2,
  /** The connection is gone; bytes: u32 close reason. The id stays taken until FREE. */
  CLOSED: 3,
  /** What waits for the connection passed the delivery mark: deliver nothing more that can wait. */
  PRESSED: 4,
  /** Nothing waits any more after PRESSED. */
  RELIEVED: 5,
  /** What came can never become a frame, or is too large for one; bytes: u32 close reason. Nothing more is read; CLOSE is awaited, so that the peer can be told first. */
  FAULT: 6,
} as const;

/** Commands from JavaScript to the reactor; `id` is a connection id unless said. They run in order when the batch returns. */
export const COMMAND = {
  /** Send the bytes. */
  DATA: 1,
  /** u32 offset, u32 length: send those bytes of the inbound ring's data (as handed to this batch). */
  DATA_REF: 2,
  /** `id` = number of receivers; u32 length, bytes, padding to 4, receivers' connection ids (u32 each). May be lost, and is counted then: at the delivery mark the oldest that wait for a receiver make room for the newest. */
  MULTICAST: 3,
  /** `id` = number of receivers; u32 offset, u32 length (inbound ring data), connection ids. May be lost like MULTICAST. */
  MULTICAST_REF: 4,
  /** No bytes: release the hold after the first frame; reading goes on. */
  ACCEPT: 5,
  /** u32 close reason: send what is queued (bounded by the linger deadline), then close. CLOSED follows. */
  CLOSE: 6,
  /** JavaScript has seen CLOSED and will not use this id again: the slot may be re-used. */
  FREE: 7,
  /** Stop reading the connection (it is exempt from keep-alive meanwhile). */
  PAUSE: 8,
  RESUME: 9,
  /** u32 milliseconds without a byte from the peer after which the connection is closed with KEEP_ALIVE; 0 = never. */
  KEEP_ALIVE: 10,
  /** u32 target shard, then bytes to deliver there first: move the connection to another shard's reactor. CLOSED with MIGRATED follows here. */
  MIGRATE: 11,
  /** u32 framing (FRAMING): how this connection's bytes are delimited from the next read on. */
  FRAMING: 12,
  /** u32 bytes: the largest frame this connection may send (MQTT 5 maximum packet size). */
  FRAME_SIZE_MAX: 13,
  /**
   * `id` = number of receivers; u32 length, u32 offset of two bytes that each receiver has its own of, the bytes, padding to 4, then for each
   * receiver its connection id (u32), its two bytes, and two of padding. Never dropped for slow receivers, as DATA.
   */
  MULTICAST_PATCHED: 14,
} as const;

/** How a connection's bytes are cut into frames. */
export const FRAMING = { MQTT: 0, LINE: 1, RAW: 2 } as const;

/** Why a connection ended. Order is part of the counters' layout: add at the end. */
export const CLOSE_REASON = {
  PEER_CLOSED: 0,
  PEER_RESET: 1,
  KEEP_ALIVE: 2,
  TLS_ERROR: 3,
  FRAME_MALFORMED: 4,
  FRAME_TOO_LARGE: 5,
  /** Its overflow passed the hard mark, or it did not read for the stall deadline. */
  STALLED: 6,
  /** JavaScript asked for it (COMMAND.CLOSE) without a nearer reason. */
  BY_GATEWAY: 7,
  /** Another connection took the session over. */
  TAKEN_OVER: 8,
  PROTOCOL_ERROR: 9,
  NOT_AUTHORISED: 10,
  SHUTDOWN: 11,
  MIGRATED: 12,
  HANDSHAKE_TIMEOUT: 13,
  FIRST_FRAME_TIMEOUT: 14,
  OUT_OF_MEMORY: 15,
  /** The peer said DISCONNECT. */
  DISCONNECTED: 16,
  SHARD_GONE: 17,
  LIMIT: 18,
  /** The peer broke RFC 6455: an unmasked frame, a text frame, a reserved bit, … */
  WEBSOCKET_ERROR: 19,
} as const;
export const CLOSE_REASON_COUNT = 20;

/** Counters that a reactor writes: f64 each, in the order given, in a SharedArrayBuffer handed to it. One writer. */
export const REACTOR_COUNTER = {
  BYTES_IN: 0,
  BYTES_OUT: 1,
  FRAMES_IN: 2,
  BATCHES: 3,
  CONNECTIONS_OPEN: 4,
  CONNECTIONS_OPENED: 5,
  /** Bytes that wait: in overflow buffers, and behind them. */
  OVERFLOW_BYTES: 6,
  /** MULTICAST deliveries dropped at the delivery mark: the oldest that waited, or the new one when they do not make room enough. */
  DELIVERIES_DROPPED: 7,
  RECV_CALLS: 8,
  SEND_CALLS: 9,
  /** Turns that stopped because the inbound ring was full. */
  INBOUND_FULL: 10,
  MODERATED_WAITS: 11,
  /** CLOSED + close reason. */
  CLOSED: 16,
} as const;
export const REACTOR_COUNTER_COUNT = 48;

/** Counters that the front writes: f64 each. One writer. */
export const FRONT_COUNTER = {
  ACCEPTED: 0,
  HANDED_OVER: 1,
  HANDSHAKES_DONE: 2,
  HANDSHAKES_RESUMED: 3,
  /** TLS failed: the peer sent no TLS at all (plain MQTT or HTTP on a TLS port). */
  NOT_TLS: 4,
  HANDSHAKE_FAILED: 5,
  HANDSHAKE_TIMEOUT: 6,
  /** No whole first frame within the deadline (slow loris). */
  FIRST_FRAME_TIMEOUT: 7,
  /** The first frame is no CONNECT, or a malformed one. */
  FIRST_FRAME_REFUSED: 8,
  /** Too many connections that are not yet handed over. */
  PENDING_LIMIT: 9,
  /** Too many connections from one address. */
  ADDRESS_LIMIT: 10,
  /** accept4 failed for want of file descriptors or memory. */
  ACCEPT_FAILED: 11,
  SHARD_DOWN: 12,
  PEER_CLOSED: 13,
  PENDING: 14,
  CLIENT_CERTIFICATE_REFUSED: 15,
  /** The gateway's limit of connections was reached. */
  CONNECTION_LIMIT: 16,
  /** Refusals that were counted but not reported by `onRefused`, which is limited to a few lines a second. */
  REFUSALS_UNREPORTED: 17,
  /** Connections that became a WebSocket. */
  UPGRADED: 18,
  /** What arrived on a WebSocket listener is no proper HTTP request, or no proper upgrade. */
  UPGRADE_REFUSED: 19,
  /** HTTP requests for something else than MQTT. */
  HTTP_NOT_FOUND: 20,
  /** Upgrades by web pages that may not (listeners.*.origins). */
  ORIGIN_REFUSED: 21,
  /** WebSocket frames that broke RFC 6455 before the first packet. */
  WEBSOCKET_REFUSED: 22,
} as const;
export const FRONT_COUNTER_COUNT = 32;

/** A connection id: slot in the low bits, generation above; 0 is never a connection. */
export const CONNECTION_SLOT_BITS = 20;
export const CONNECTION_SLOT_MASK = (1 << CONNECTION_SLOT_BITS) - 1;

/** Doorbells: one per thread that reads rings (process-wide table in the addon). */
export const DOORBELL = { SHARD: 0, STORE: 32, HISTORY: 33, CONTROL: 34, LANE: 64 } as const;
export const DOORBELL_COUNT = 128;

export const SHARD_COUNT_MAX = 32;
export const LANE_COUNT_MAX = 64;

/** Limits of a connection's way out, in bytes. Sum over 10,000 stalled connections: bounded by OVERFLOW_SHARD_MARK. */
export const OVERFLOW_DELIVERY_MARK = 256 * 1024;
/** Own acknowledgements and PINGRESPs may go on until here; then the connection is not read any more. */
export const OVERFLOW_READ_STOP_MARK = 512 * 1024;
/** Beyond this the connection is closed as STALLED. */
export const OVERFLOW_HARD_MARK = 2 * 1024 * 1024;
/** All overflows of a shard together: beyond it a connection that has any overflow is treated as beyond the delivery mark, and the delivery mark is the hard mark. */
export const OVERFLOW_SHARD_MARK = 64 * 1024 * 1024;
/** How long a connection may make no progress out while its reading is stopped. */
export const STALL_DEADLINE_MS = 60_000;
/** Bytes read from one connection in one turn, unless a larger frame is known to be under way. */
export const READ_BUDGET = 8 * 1024;
/** How long CLOSE waits for queued bytes to leave. */
export const LINGER_DEADLINE_MS = 2_000;
