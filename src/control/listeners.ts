// Which sockets the front opens, from the configuration, and what to say about those that could not be had.
import { createServer } from "node:net";
import { StartError } from "../base/errors.js";
import type { LogLevel } from "../base/messages.js";
import type { ListenerOptions, ListenerState } from "../reactor/reactor.js";
import type { Config, LoadedConfig } from "./config/config.js";
import { LISTENERS_NOT_BUILT, type ListenerName } from "./config/schema.js";

/** The front's name for the secure context of the TLS listeners. */
export const MQTT_CONTEXT = "mqtt";
/** RFC 7301 ids that MQTT clients may offer; one that offers none is served all the same. */
export const MQTT_ALPN = ["mqtt", "x-amzn-mqtt-ca"] as const;
export const HTTPS_CONTEXT = "https";
/** A browser that was offered HTTP/2 would choose it, and ask for its WebSocket there (RFC 8441). */
export const HTTPS_ALPN = ["http/1.1"] as const;

export interface Note {
  readonly level: LogLevel;
  readonly text: string;
}

/** True when this machine has IPv6 sockets. */
export async function hasIpv6(): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code !== "EAFNOSUPPORT" && error.code !== "EADDRNOTAVAIL"));
    server.listen({ host: "::1", port: 0 }, () => server.close(() => resolve(true)));
  });
}

/** The front's listeners, in the order that connections name them by. Without IPv6, "::" becomes every IPv4 address. */
export function frontListeners(config: Config, isIpv6: boolean): { listeners: readonly ListenerOptions[]; notes: readonly Note[] } {
  const notes: Note[] = [];
  const listeners: ListenerOptions[] = [];
  const add = (name: ListenerName, hosts: readonly string[], port: number, more: Omit<ListenerOptions, "name" | "host" | "port">): void => {
    for (const host of hosts) {
      const isReplaced = host === "::" && !isIpv6;
      if (isReplaced) notes.push({ level: "warn", text: `This machine has no IPv6: ${name} listens on 0.0.0.0 instead of "::". To say so yourself, set listeners.${name}.host` });
      listeners.push({ name, host: isReplaced ? "0.0.0.0" : host, port, ...more });
    }
  };
  const { mqtts, mqtt, https, ws, unix } = config.listeners;
  if (mqtts !== false) add("mqtts", mqtts.host, mqtts.port, { protocol: "mqtt", context: MQTT_CONTEXT });
  if (mqtt !== false) add("mqtt", mqtt.host, mqtt.port, { protocol: "mqtt" });
  if (https !== false) add("https", https.host, https.port, { protocol: "websocket", context: HTTPS_CONTEXT, websocket: { origins: https.origins, isBehindProxy: false } });
  if (ws !== false) add("ws", ws.host, ws.port, { protocol: "websocket", websocket: { origins: ws.origins, isBehindProxy: true } });
  if (unix !== false) listeners.push({ name: "unix", host: "", port: 0, protocol: "mqtt", unix: { path: unix.path, mode: parseInt(String(unix.mode), 8) } });
  return { listeners, notes };
}

/**
 * Judges what the front could open: a default that cannot be had is a warning, what file or environment ask for stops the start.
 *
 * @throws StartError LISTEN_FAILED naming port and key
 */
export function judgeListeners(listeners: readonly ListenerOptions[], states: readonly ListenerState[], asksFor: LoadedConfig["asksFor"]): Note[] {
  const notes: Note[] = [];
  listeners.forEach((listener, index) => {
    const state = states[index];
    if (state === undefined || "port" in state) return;
    const text = listener.unix === undefined ? describeFailure(listener.name, listener.host, listener.port, state.error) : describeUnixFailure(listener.unix.path, state.error);
    if (asksFor(listener.name as ListenerName)) throw new StartError("LISTEN_FAILED", text);
    notes.push({ level: "warn", text: `${text}; going on without it` });
  });
  if (listeners.length > 0 && states.every((state) => "error" in state)) throw new StartError("LISTEN_FAILED", `no MQTT listener can be opened: ${notes.map((note) => note.text).join("; ")}`);
  return notes;
}

/** What an error code of listen() means, with the key to change. */
export function describeFailure(name: string, host: string, port: number, code: string): string {
  const at = `port ${String(port)} on ${host} (listeners.${name})`;
  switch (code) {
    case "EADDRINUSE": return `${at} is taken by another program. Stop that, set listeners.${name}.port to a free one, or listeners.${name} to false`;
    case "EACCES": return `${at} may not be opened by this user. Choose a port from 1024 on, or give the service CAP_NET_BIND_SERVICE`;
    case "EADDRNOTAVAIL": return `${at}: this machine does not have that address. Set listeners.${name}.host to one that it has, or to "::" for all`;
    case "EAFNOSUPPORT": return `${at}: this machine has no such kind of address (IPv6 is off?). Set listeners.${name}.host to 0.0.0.0`;
    default: return `${at} cannot be opened (${code})`;
  }
}

function describeUnixFailure(path: string, code: string): string {
  const at = `the socket ${path} (listeners.unix)`;
  switch (code) {
    case "EADDRINUSE": return `${at} is used by another program. Stop that, set listeners.unix.path to another path, or listeners.unix to false`;
    case "EEXIST": return `${at} is taken by a file that is no socket. Move it away, or set listeners.unix.path to another path`;
    case "EACCES": case "EPERM": case "EROFS": return `${at} may not be made by this user. Set listeners.unix.path to a directory that it may write to`;
    case "ENOENT": case "ENOTDIR": return `${at}: its directory does not exist. Make it, or set listeners.unix.path to another path`;
    case "ENAMETOOLONG": return `${at}: the path has more than 107 bytes. Set listeners.unix.path to a shorter one`;
    default: return `${at} cannot be opened (${code})`;
  }
}

/** Listeners of the schema that this version does not have yet: off; a warning when the file asks for one. */
export function notBuilt(config: Config, asksFor: LoadedConfig["asksFor"]): { off: readonly string[]; notes: readonly Note[] } {
  const wanted = LISTENERS_NOT_BUILT.filter((name) => config.listeners[name] !== false);
  const asked = wanted.filter((name) => asksFor(name));
  return { off: wanted, notes: asked.map((name) => ({ level: "warn", text: `listeners.${name} is not built yet: it stays off. Set it to false to silence this line` })) };
}
