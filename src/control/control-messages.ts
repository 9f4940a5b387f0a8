// What main and the control worker tell each other, beside what every worker hears (base/messages.ts). Only these two import it.
import type { MessagePort } from "node:worker_threads";
import type { LogLevel, StatisticsOptions, ToMain } from "../base/messages.js";
import type { NamedRing } from "./arena.js";

export type PeerRole = "shard" | "lane" | "history";

/** The end of a channel whose other end a worker answers requests on. */
export interface Peer {
  readonly role: PeerRole;
  readonly index: number;
  readonly port: MessagePort;
}

/** Every thread's counters, by role. */
export interface CounterBlocks {
  readonly main: SharedArrayBuffer;
  readonly front: SharedArrayBuffer;
  readonly store: SharedArrayBuffer;
  readonly history: SharedArrayBuffer;
  readonly shards: readonly SharedArrayBuffer[];
  readonly reactors: readonly SharedArrayBuffer[];
  readonly lanes: readonly SharedArrayBuffer[];
}

export interface ControlStart {
  readonly role: "control";
  readonly main: MessagePort;
  readonly logLevel: LogLevel;
  readonly peers: readonly Peer[];
  readonly counters: CounterBlocks;
  readonly positions: SharedArrayBuffer;
  readonly rings: readonly NamedRing[];
  readonly shards: number;
  readonly lanes: number;
  readonly hasHistory: boolean;
  readonly statistics: StatisticsOptions;
  readonly version: string;
  /** Between two publications of $SYS; 0 = none. */
  readonly systemIntervalMs: number;
  /** Where the admin API listens; missing when it is off. */
  readonly listener?: { readonly hosts: readonly string[]; readonly port: number };
  /** Reasons why the gateway is not ready, at this moment. */
  readonly notReady: readonly string[];
}

/** Main -> control. */
export type ToControl =
  /** A worker was started (again): ask it here from now on. */
  | { readonly type: "peer"; readonly role: PeerRole; readonly index: number; readonly port: MessagePort }
  /** Reasons why the gateway is not ready; none = ready. */
  | { readonly type: "state"; readonly notReady: readonly string[] }
  | { readonly type: "stop" };

export type AdminListenerState = { readonly url: string } | { readonly host: string; readonly error: string };

/** Control -> main. */
export type FromControl = Exclude<ToMain, { type: "ready" }> | { readonly type: "ready"; readonly listeners: readonly AdminListenerState[] };
