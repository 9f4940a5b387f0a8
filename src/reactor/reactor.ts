// The typed face of the native addon: the only module that loads it. Who calls what, and on which thread, stands at each function.
// The addon knows bytes and frames, nothing of what they mean.
import { createRequire } from "node:module";
import type { RingPlace } from "../base/ring-place.js";

/** JSON of an OPENED record. */
export interface ConnectionOpened {
  /** Index of the listener (order of `FrontOptions.listeners`). */
  readonly listener: number;
  /** An address, or "unix:pid=…,uid=…". */
  readonly peer: string;
  readonly peerPort: number;
  /** Peer and local address are loopback, or a Unix socket; over WebSocket, nothing says that the request comes from elsewhere. */
  readonly isLoopback: boolean;
  /** Missing on a listener without TLS. */
  readonly tls?: {
    readonly version: string;
    readonly cipher: string;
    readonly serverName?: string;
    /** Number of the secure context that it was verified by (`Front.setContext`). */
    readonly context: number;
    readonly isResumed: boolean;
    /** Verified client certificate. */
    readonly certificate?: {
      readonly commonName: string;
      readonly subject: string;
      /** "DNS:a", "URI:b", … */
      readonly alternativeNames: readonly string[];
      /** SHA-256 of the DER, lower-case hex. */
      readonly fingerprint: string;
    };
  };
}

export interface ReactorOptions {
  readonly shard: number;
  /** The ring the reactor writes and the shard reads (layout INBOUND). Reset to the data part's start whenever it is empty. */
  readonly inbound: RingPlace;
  /** Where JavaScript writes COMMAND records, from offset 0 on; same SharedArrayBuffer as `inbound`. DATA_REF and MULTICAST_REF offsets count from the ring's data part. */
  readonly commands: { readonly byteOffset: number; readonly size: number };
  /** f64 counters, REACTOR_COUNTER_COUNT of them. */
  readonly counters: Float64Array;
  /** "throughput" waits up to 200 us for more while the thread is busy, the rate is high and batches are small; "latency" never waits. */
  readonly wake: "latency" | "throughput";
  /** At most a quarter of the inbound ring's capacity. */
  readonly maximumFrameSize: number;
  /**
   * Called on the shard's thread when the inbound ring holds records, when the shard's doorbell was rung (then perhaps with an empty ring), and
   * after `later`. Returns the number of command bytes written; the reactor runs them, sends, then publishes what that gave rise to.
   */
  readonly onBatch: () => number;
}

/** One per shard worker; lives in its libuv loop. */
export interface Reactor {
  /** Runs `size` bytes of commands now (the command memory is full in the middle of a batch). REQUIRES: called inside onBatch. */
  flush(size: number): void;
  /** Stops reading all connections (the store ring or a peer ring is full) until `resumeAll`. Commands go on. */
  pauseAll(): void;
  resumeAll(): void;
  /** Asks for an onBatch call at the end of this loop turn (records were left unread, or timers fired). Coalesced. */
  later(): void;
  /**
   * Refuses new connections, calls onBatch once more (its commands, a farewell to each client, still go out), then closes every connection
   * with `reason` after what is queued has left, bounded by `lingerMs`; calls `done` when none is left and every CLOSED was told.
   */
  drain(reason: number, lingerMs: number, done: () => void): void;
  /**
   * What certificates of clients that are connected are verified by from now on, when asked for; `key` names it.
   *
   * @throws Error naming what is wrong with CA or CRL ("" = none); what was there before stays
   */
  trust(key: number, ca: string, crl: string): void;
  /** Why a connection's certificate would not be accepted any more, in OpenSSL's words; "" = it would be. Some 0.1 ms; dates are not looked at. */
  peerFault(id: number, key: number): string;
  /** Releases everything at once; the callbacks stop. Also done by the environment's clean-up. */
  destroy(): void;
}

export interface ListenerOptions {
  readonly name: string;
  /** Numeric address. "::" is dual-stack. Empty for a Unix socket. */
  readonly host: string;
  /** 0 = any free port. */
  readonly port: number;
  /** A Unix socket instead of a TCP port; `mode` is its permissions: who may connect. */
  readonly unix?: { readonly path: string; readonly mode: number };
  /** Key of a secure context made by `setContext`; absent without TLS. */
  readonly context?: string;
  readonly protocol: "mqtt" | "line" | "websocket";
  /** REQUIRED for the protocol websocket: MQTT at /mqtt. */
  readonly websocket?: WebSocketOptions;
}

export interface WebSocketOptions {
  /** Web pages that may connect: every one, those of this very host and port, or those of the origins named. */
  readonly origins: "any" | "same" | readonly string[];
  /** A loopback address says nothing about the client: it is the proxy's. */
  readonly isBehindProxy: boolean;
}

/** PEM text. All parts are replaced together; connections live on, new handshakes use the new parts. */
export interface SecureContextOptions {
  readonly certificate: string;
  readonly key: string;
  readonly ca?: string;
  readonly crl?: string;
  readonly clientCertificate: "off" | "optional" | "required";
  /** ALPN protocols offered, in order of preference; a client that offers none of them is served all the same. */
  readonly alpn: readonly string[];
  /** Other certificates, chosen by the name that the client asks for (SNI); "*.example.org" matches one label. */
  readonly names?: readonly { readonly name: string; readonly certificate: string; readonly key: string }[];
}

export interface FrontOptions {
  readonly listeners: readonly ListenerOptions[];
  readonly shards: number;
  readonly counters: Float64Array;
  readonly handshakeDeadlineMs: number;
  readonly firstFrameDeadlineMs: number;
  /** Connections that are in their handshake or before their first frame. */
  readonly pendingMax: number;
  readonly perAddressMax: number;
  readonly connectionsMax: number;
  /** Largest first frame (CONNECT). */
  readonly firstFrameSizeMax: number;
  /** Rate-limited line about a refused connection: listener, peer, reason (stable word), detail. On main's thread. */
  readonly onRefused: (listener: number, peer: string, reason: string, detail: string) => void;
}

/** What a listener became: `port` bound (0 for a path), or the error code (EADDRINUSE, EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, …). */
export type ListenerState = { readonly port: number } | { readonly error: string };

/** One per process, owned by main's environment. A native thread without JavaScript. */
export interface Front {
  /** Binds; does not accept yet. One state per listener, in order. */
  readonly listeners: readonly ListenerState[];
  /** Makes or replaces a secure context. @returns its number, higher than those of all before it. @throws Error naming what is wrong with certificate, key or CA; the old one stays in use */
  setContext(name: string, options: SecureContextOptions): number;
  /** Starts accepting. Contexts named by listeners must exist. */
  start(): void;
  /** Stops accepting and closes what is pending; the listening sockets are closed. */
  stop(): void;
}

/** Wakes the thread that owns it; ringing is coalesced. */
export interface Doorbell {
  close(): void;
  /** Keeps the worker's loop alive (default) or not. */
  ref(): void;
  unref(): void;
}

export interface Native {
  createReactor(options: ReactorOptions): Reactor;
  createFront(options: FrontOptions): Front;
  /** Owns doorbell `slot` (DOORBELL) on this thread; replaces a dead owner. */
  createDoorbell(slot: number, onRing: () => void): Doorbell;
  /** Rings a doorbell from any thread; nothing happens when nobody owns it. Shards' doorbells belong to their reactors. */
  ring(slot: number): void;
  /**
   * Hands a connected socket that Node accepted (nothing read from it yet, or `firstBytes` read) to a shard's reactor: tests, and listeners
   * whose accepting is not the front's. The descriptor is duplicated: the caller destroys its own socket afterwards.
   *
   * @param framing  FRAMING
   * @param openedJson  bytes of the OPENED record, a ConnectionOpened
   * @returns false when the shard is down or too many connections wait for it
   */
  adopt(shard: number, fd: number, framing: number, openedJson: string, firstBytes: Uint8Array): boolean;
  /** CRC-32C (Castagnoli) of a byte range; SSE 4.2 / ARMv8 CRC where there is one. */
  crc32c(bytes: Uint8Array, at: number, length: number): number;
  /** Takes the data directory's lock (OFD lock on `path`, created). @returns false when another process has it. Held until the process ends or `unlock`. */
  lock(path: string): boolean;
  unlock(): void;
  /** Ends the process at once, without waiting for any thread: for ends that are forced. Nothing of Node.js runs any more. */
  endProcess(code: number): never;
  /** Version of OpenSSL the addon runs with. */
  readonly openssl: string;
}

let loaded: Native | undefined;

/**
 * Loads the addon once per thread.
 *
 * @throws Error with what to do when it is missing, was built for another Node.js, or meets another OpenSSL than it was built with
 */
export function native(): Native {
  if (loaded !== undefined) return loaded;
  const require = createRequire(import.meta.url);
  const path = new URL("../../../native/build/Release/penstock.node", import.meta.url).pathname;
  try {
    loaded = require(path) as Native;
  } catch (error) {
    throw new Error(`The native part cannot be loaded from ${path}: ${(error as Error).message}. Build it with \`npm run build\`.`, { cause: error });
  }
  return loaded;
}
