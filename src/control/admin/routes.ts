// What the admin API answers: one function per route, from path segments to a JSON value. On control's thread.
import { fnv1aOf } from "../../base/bytes.js";
import { STORE_COUNTER } from "../../base/counters.js";
import type { ClientStatus, DeviceSummary, EventRow, LastValue, SeriesPoint } from "../../base/messages.js";
import { ApiError } from "./api-error.js";
import { compareIds, mergeDevices } from "./devices.js";
import { allowOnly, readLimit, readRange } from "./parameters.js";
import type { Peers } from "./peers.js";

const DEVICES_DEFAULT = 100;
const DEVICES_MAX = 1000;
const CLIENTS_DEFAULT = 1000;
const CLIENTS_MAX = 10_000;
const EVENTS_DEFAULT = 100;
const EVENTS_MAX = 1000;

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export interface RouteContext {
  readonly peers: Peers;
  readonly shards: number;
  readonly lanes: number;
  readonly hasHistory: boolean;
  readonly version: string;
  readonly storeCounters: Float64Array;
  /** Reasons why the gateway is not ready, as main told last. */
  readonly notReady: () => readonly string[];
  readonly metrics: () => Promise<{ contentType: string; text: string }>;
  /** Unix ms. */
  readonly now: () => number;
}

/** Answers one GET. @throws ApiError */
export async function route(context: RouteContext, segments: readonly string[], parameters: URLSearchParams): Promise<Answer> {
  const [first, second, third] = segments;
  if (segments.length === 1) {
    if (first === "") return json({ name: "penstock", version: context.version, see: ["/api/v1/devices", "/api/v1/clients", "/api/v1/events", "/metrics", "/healthz", "/readyz"] });
    if (first === "healthz") return { status: 200, contentType: "text/plain; charset=utf-8", body: "ok\n" };
    if (first === "readyz") return readiness(context);
    if (first === "metrics") {
      const { contentType, text } = await context.metrics();
      return { status: 200, contentType, body: text };
    }
  }
  if (first === "api" && second === "v1") {
    const rest = segments.slice(3);
    if (third === "devices" && rest.length === 0) return devices(context, parameters);
    if (third === "clients" && rest.length === 0) return clients(context, parameters);
    if (third === "events" && rest.length === 0) return events(context, parameters);
    const [device, name, last] = rest;
    if (third === "series" && device !== undefined && device !== "" && name !== undefined && name !== "") {
      if (rest.length === 2) return series(context, device, name, parameters);
      if (rest.length === 3 && last === "last") return lastValue(context, device, name, parameters);
    }
  }
  throw new ApiError("NOT_FOUND", `there is nothing at /${segments.map(encodeURIComponent).join("/")}`);
}

function json(value: unknown, status = 200): Answer {
  return { status, contentType: "application/json; charset=utf-8", body: `${JSON.stringify(value)}\n` };
}

function readiness(context: RouteContext): Answer {
  const reasons = [...context.notReady()];
  if (context.storeCounters[STORE_COUNTER.BLOCKED] === 1) reasons.push("the journal cannot be written (disk full or failing)");
  return json({ ready: reasons.length === 0, reasons }, reasons.length === 0 ? 200 : 503);
}

/** All shards' clients; shards that do not answer are named instead of failing the whole. */
async function allClients(context: RouteContext): Promise<{ clients: ClientStatus[]; missing: string[] }> {
  const shards = Array.from({ length: context.shards }, (_, shard) => shard);
  const answers = await Promise.allSettled(shards.map((shard) => context.peers.ask("shard", shard, { type: "clients" })));
  const all: ClientStatus[] = [];
  const missing: string[] = [];
  answers.forEach((answer, shard) => {
    if (answer.status === "fulfilled") all.push(...(answer.value as ClientStatus[]));
    else missing.push(`shard ${String(shard)}`);
  });
  if (missing.length === context.shards) throw new ApiError("UNAVAILABLE", "no shard answers");
  return { clients: all, missing };
}

async function devices(context: RouteContext, parameters: URLSearchParams): Promise<Answer> {
  allowOnly(parameters, ["limit", "after"]);
  const limit = readLimit(parameters, DEVICES_DEFAULT, DEVICES_MAX);
  const after = parameters.get("after") ?? "";
  const [stored, live] = await Promise.all([
    context.hasHistory ? (context.peers.ask("history", 0, { type: "devices", limit, after }) as Promise<DeviceSummary[]>) : [],
    allClients(context),
  ]);
  const page = mergeDevices(stored, live.clients, limit, after, context.now());
  return json({ ...page, ...(live.missing.length > 0 ? { incomplete: live.missing } : {}) });
}

async function clients(context: RouteContext, parameters: URLSearchParams): Promise<Answer> {
  allowOnly(parameters, ["limit", "after"]);
  const limit = readLimit(parameters, CLIENTS_DEFAULT, CLIENTS_MAX);
  const after = parameters.get("after") ?? "";
  const live = await allClients(context);
  const sorted = live.clients.filter((client) => compareIds(client.clientId, after) > 0).sort((a, b) => compareIds(a.clientId, b.clientId));
  const page = sorted.slice(0, limit);
  return json({ clients: page, next: sorted.length > limit ? page.at(-1)!.clientId : null, ...(live.missing.length > 0 ? { incomplete: live.missing } : {}) });
}

async function series(context: RouteContext, device: string, name: string, parameters: URLSearchParams): Promise<Answer> {
  allowOnly(parameters, ["from", "to", "step"]);
  if (!context.hasHistory) throw new ApiError("HISTORY_OFF", "history is off: no measurements are kept");
  const range = readRange(parameters, context.now());
  const points = (await context.peers.ask("history", 0, { type: "series", device, name, ...range })) as SeriesPoint[];
  return json({ points });
}

/** From the lane, which knows the moving statistics; from history when the lane has not seen the series since the start. */
async function lastValue(context: RouteContext, device: string, name: string, parameters: URLSearchParams): Promise<Answer> {
  allowOnly(parameters, []);
  const lane = fnv1aOf(device) % context.lanes;
  const fromLane = await context.peers.ask("lane", lane, { type: "last", device, name }).catch((error: unknown) => {
    if (!context.hasHistory) throw error;
    return null;
  });
  const last = (fromLane ?? (context.hasHistory ? await context.peers.ask("history", 0, { type: "storedLast", device, name }) : null)) as LastValue | null;
  if (last === null) throw new ApiError("NOT_FOUND", `no value of ${JSON.stringify(name)} of device ${JSON.stringify(device)} is known`);
  return json({ device, name, ...last });
}

async function events(context: RouteContext, parameters: URLSearchParams): Promise<Answer> {
  allowOnly(parameters, ["limit"]);
  if (!context.hasHistory) throw new ApiError("HISTORY_OFF", "history is off: no events are kept");
  const rows = (await context.peers.ask("history", 0, { type: "events", limit: readLimit(parameters, EVENTS_DEFAULT, EVENTS_MAX) })) as EventRow[];
  return json({ events: rows });
}
