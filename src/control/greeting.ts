// The first lines on standard output: what listens where, where the data lie, and what to try next. For people; the log says the rest.
import { relative } from "node:path";
import type { ListenerOptions, ListenerState } from "../reactor/reactor.js";
import type { Config } from "./config/config.js";
import type { AdminListenerState } from "./control-messages.js";

export interface GreetingFacts {
  readonly version: string;
  readonly config: Config;
  readonly file: string | undefined;
  readonly listeners: readonly ListenerOptions[];
  readonly states: readonly ListenerState[];
  readonly admin: readonly AdminListenerState[];
  readonly notBuilt: readonly string[];
  /** What clients verify the gateway by; undefined when no file here does. */
  readonly caPath: string | undefined;
  readonly startedInMs: number;
}

/** `mqtts://host:port`, with an address that a client on this machine can use; the path of a Unix socket. */
export function listenerUrl(listener: ListenerOptions, port: number): string {
  if (listener.unix !== undefined) return listener.unix.path;
  const isTls = listener.context !== undefined;
  if (listener.protocol === "websocket") return `${isTls ? "wss" : "ws"}://${urlHost(listener.host)}:${String(port)}/mqtt`;
  return `${isTls ? "mqtts" : "mqtt"}://${urlHost(listener.host)}:${String(port)}`;
}

function listenerTitle(listener: ListenerOptions): string {
  if (listener.unix !== undefined) return "MQTT, Unix socket";
  const carrier = [...(listener.protocol === "websocket" ? ["WebSocket"] : []), ...(listener.context === undefined ? [] : ["TLS"])];
  return carrier.length === 0 ? "MQTT" : `MQTT over ${carrier.join(" and ")}`;
}

function urlHost(host: string): string {
  if (host === "::" || host === "0.0.0.0") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}

export function greeting(facts: GreetingFacts): string {
  const { config } = facts;
  const rows: (readonly [string, string, string])[] = [];
  facts.listeners.forEach((listener, index) => {
    const state = facts.states[index];
    if (state === undefined || !("port" in state)) return;
    rows.push([listenerTitle(listener), listenerUrl(listener, state.port), listener.unix === undefined ? reach(listener.host) : "this machine only"]);
  });
  const api = facts.admin.find((state) => "url" in state);
  if (api !== undefined) rows.push(["API and metrics", api.url, `this machine only; ${api.url}/api/v1/devices, /metrics`]);
  rows.push(["data", config.data, config.durability === "disk" ? "durability: disk (acknowledged means on disk)" : "durability: memory (a power cut loses acknowledged messages)"]);
  rows.push(["history", config.history.engine === "off" ? "off" : config.history.engine, config.history.engine === "off" ? "measurements are not kept" : "raw measurements, in the data directory"]);
  rows.push(["configuration", facts.file ?? "defaults", facts.file === undefined ? "a penstock.yaml beside it changes them; see docs/configuration.md" : ""]);
  rows.push(["threads", `${count(config.shards, "shard")}, ${count(config.lanes, "lane")}`, ""]);
  if (facts.notBuilt.length > 0) rows.push(["not built yet", facts.notBuilt.join(", "), "off"]);
  const width = (column: 0 | 1): number => Math.max(...rows.map((row) => (row[column].length > 40 ? 0 : row[column].length)));
  const lines = rows.map(([name, value, note]) => `  ${name.padEnd(width(0))}  ${value.padEnd(width(1))}  ${note}`.trimEnd());
  return [`Penstock ${facts.version} runs (started in ${(facts.startedInMs / 1000).toFixed(1)} s)`, "", ...lines, "", ...nextCommands(facts, api), ""].join("\n");
}

/** Commands that work as they stand on this machine. */
function nextCommands(facts: GreetingFacts, api: { readonly url: string } | undefined): string[] {
  const { caPath, config } = facts;
  const isTlsOpen = caPath !== undefined && config.listeners.mqtts !== false && config.listeners.mqtts.client_certificate !== "required";
  const at = facts.states.findIndex((state, index) => {
    const listener = facts.listeners[index];
    return "port" in state && listener?.protocol === "mqtt" && listener.unix === undefined && (listener.context === undefined || isTlsOpen);
  });
  const listener = facts.listeners[at];
  const state = facts.states[at];
  if (listener === undefined || state === undefined || !("port" in state)) return [];
  const host = urlHost(listener.host).replace(/^\[|\]$/g, "");
  const tls = listener.context === undefined || caPath === undefined ? "" : ` --cafile ${shortPath(caPath)}`;
  const where = `-h ${host} -p ${String(state.port)}${tls}`;
  const lines = [
    "Try, in another terminal:",
    `  mosquitto_sub ${where} -t 'devices/#' -v`,
    `  mosquitto_pub ${where} -q 1 -t devices/d1/telemetry -m '{"temperature": 21.5}'`,
  ];
  if (api !== undefined) lines.push(`  curl ${api.url}/api/v1/series/d1/temperature/last`);
  return lines;
}

function reach(host: string): string {
  if (host === "::" || host === "0.0.0.0") return "all addresses of this machine";
  return host === "::1" || host.startsWith("127.") ? "this machine only" : "";
}

function shortPath(path: string): string {
  const short = relative(process.cwd(), path);
  return short.startsWith("..") ? path : short;
}

function count(number: number, noun: string): string {
  return `${String(number)} ${noun}${number === 1 ? "" : "s"}`;
}
