// A control worker's parts in this thread: a real HTTP server, real MessagePorts, and workers that answer as a test says.
import { request } from "node:http";
import { MessageChannel } from "node:worker_threads";
import { COUNTER_BLOCK_COUNT } from "../../../src/base/counters.js";
import type { Query, Request } from "../../../src/base/messages.js";
import { AdminServer } from "../../../src/control/admin/http-server.js";
import { Peers } from "../../../src/control/admin/peers.js";
import { createArena, listRings, type Arena } from "../../../src/control/arena.js";
import type { PeerRole } from "../../../src/control/control-messages.js";
import { Metrics } from "../../../src/control/metrics.js";
import { Lines } from "../supervisor-fixture.js";

/** Gives the result, throws `{ status, error }`, or returns SILENT. */
export type Answerer = (role: PeerRole, index: number, query: Query) => unknown;
export const SILENT = Symbol("no answer");

export class WorkerFailure extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface Admin {
  readonly url: string;
  readonly port: number;
  readonly arena: Arena;
  readonly lines: Lines;
  readonly asked: (readonly [string, Query])[];
  answer: Answerer;
  notReady: readonly string[];
  /** Cuts a worker's port, as its death does. */
  cut: (role: PeerRole, index: number) => void;
  close: () => void;
}

export const NOW = Date.parse("2026-11-22T12:00:00Z");
const SHARDS = 2;
const LANES = 2;

export async function openAdmin(options: { readonly hasHistory?: boolean; readonly deadlineMs?: number } = {}): Promise<Admin> {
  const arena = createArena(SHARDS, LANES, 64 * 1024);
  const lines = new Lines();
  const asked: (readonly [string, Query])[] = [];
  const cuts = new Map<string, () => void>();
  const admin = { answer: (() => null) as Answerer, notReady: [] as readonly string[] };
  const peer = (role: PeerRole, index: number) => {
    const { port1, port2 } = new MessageChannel();
    port2.on("message", ({ id, query }: Request) => {
      asked.push([`${role} ${index}`, query]);
      try {
        const result = admin.answer(role, index, query);
        if (result !== SILENT) port2.postMessage({ id, result });
      } catch (error) {
        port2.postMessage({ id, error: (error as Error).message, status: error instanceof WorkerFailure ? error.status : 500 });
      }
    });
    cuts.set(`${role} ${index}`, () => port2.close());
    return { role, index, port: port1 };
  };
  const hasHistory = options.hasHistory ?? true;
  const peers = new Peers([peer("shard", 0), peer("shard", 1), peer("lane", 0), peer("lane", 1), ...(hasHistory ? [peer("history", 0)] : [])], options.deadlineMs ?? 5000);
  const counters = {
    main: arena.mainCounters, front: arena.frontCounters, store: arena.storeCounters, history: arena.historyCounters,
    shards: arena.shards.map((shard) => shard.counters), reactors: arena.shards.map((shard) => shard.reactorCounters), lanes: arena.lanes.map((lane) => lane.counters),
  };
  const metrics = new Metrics({ counters, positions: arena.positions, rings: listRings(arena), version: "1.2.3", isReady: () => admin.notReady.length === 0 });
  const server = new AdminServer(
    {
      peers, shards: SHARDS, lanes: LANES, hasHistory, version: "1.2.3", storeCounters: new Float64Array(arena.storeCounters, 0, COUNTER_BLOCK_COUNT),
      notReady: () => admin.notReady, metrics: () => metrics.text(), now: () => NOW,
    },
    lines.log,
  );
  const [state] = await server.listen(["127.0.0.1"], 0);
  if (state === undefined || !("url" in state)) throw new Error(JSON.stringify(state));
  return Object.assign(admin, {
    url: state.url, port: Number(new URL(state.url).port), arena, lines, asked,
    cut: (role: PeerRole, index: number) => cuts.get(`${role} ${index}`)?.(),
    close: () => {
      server.close();
      peers.close();
    },
  });
}

export interface Response {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  readonly json: unknown;
}

/** Sends the target as it stands: `fetch` would tidy it up. */
export function get(admin: Admin, target: string, options: { readonly method?: string; readonly headers?: Record<string, string>; readonly body?: string } = {}): Promise<Response> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: "127.0.0.1", port: admin.port, path: target, method: options.method ?? "GET", headers: options.headers ?? {}, agent: false }, (incoming) => {
      let text = "";
      incoming.setEncoding("utf8");
      incoming.on("data", (chunk: string) => (text += chunk));
      incoming.on("end", () => {
        const isJson = incoming.headers["content-type"]?.includes("json") === true && text !== "";
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text, json: isJson ? (JSON.parse(text) as unknown) : undefined });
      });
    });
    outgoing.on("error", reject);
    outgoing.end(options.body);
  });
}
