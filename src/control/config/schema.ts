// Every option of the gateway: default as written, what is allowed, what it means. The one place; docs/configuration.md names the same
// keys (a test compares), `config show` prints them, and the environment's names (PENSTOCK_…) are made from them.
import { isIP } from "node:net";
import { z } from "zod";
import { CERTIFICATE_IDENTITIES } from "../../base/authenticator.js";
import { KIB, MIB } from "../../base/limits.js";
import { LANE_COUNT_MAX, SHARD_COUNT_MAX } from "../../ring/layout.js";
import { DURATION_UNITS, formatDuration, formatSize, parseDuration, parseSize, SIZE_UNITS } from "./units.js";

/** A default as it would stand in the file. */
export type Written = string | number | boolean | Readonly<Record<string, never>>;

export interface OptionMeta {
  readonly written: Written;
  readonly allowed: string;
  readonly help: string;
}

const metas = new WeakMap<z.ZodType, OptionMeta>();
/** What an option takes, for those that may be given in another place too. */
const parsers = new WeakMap<z.ZodType, (value: unknown) => unknown>();

/** One option: `parse` gives undefined for what is not allowed. */
function option<T>(written: Written, allowed: string, help: string, parse: (value: unknown) => T | undefined): z.ZodType<T> {
  const schema = z
    .unknown()
    .transform((value, context): T => {
      const parsed = parse(value);
      if (parsed !== undefined) return parsed;
      context.issues.push({ code: "custom", message: allowed, input: value });
      return z.NEVER;
    })
    .prefault(written);
  metas.set(schema, { written, allowed, help });
  parsers.set(schema, parse);
  return schema;
}

function text(written: string, allowed: string, help: string): z.ZodType<string> {
  return option(written, allowed, help, (value) => (typeof value === "string" && value.trim() !== "" ? value : undefined));
}

/** Text that says nothing while it is off; "" then. */
function offOr(allowed: string, help: string, isAllowed: (value: string) => boolean = () => true): z.ZodType<string> {
  return option<string>("off", `off, or ${allowed}`, help, (value) => {
    if (value === "off" || value === false) return "";
    return typeof value === "string" && value.trim() !== "" && isAllowed(value) ? value : undefined;
  });
}

function isHttpUrl(value: string): boolean {
  return /^https?:\/\//.test(value) && URL.canParse(value);
}

function oneOf<const T extends string>(words: readonly T[], written: T, help: string): z.ZodType<T> {
  // YAML 1.1 habits: a bare `off` may arrive as false.
  return option(written, words.join(", "), help, (value) => words.find((word) => word === (value === false ? "off" : value)));
}

function yesNo(written: boolean, help: string): z.ZodType<boolean> {
  return option(written, "true, false", help, (value) => (typeof value === "boolean" ? value : undefined));
}

/** A list, or words with commas between them; none twice, at least one. */
function someOf<const T extends string>(words: readonly T[], help: string): z.ZodType<readonly T[]> {
  return option<readonly T[]>(words.join(", "), `one or more of ${words.join(", ")}`, help, (value) => {
    const given: unknown[] = Array.isArray(value) ? value : typeof value === "string" ? value.split(",").map((one) => one.trim()) : [value];
    // YAML takes 5.0 for a number.
    const found = given.map((one) => words.find((word) => word === one || (typeof one === "number" && Number(word) === one)));
    return found.length > 0 && found.every((word) => word !== undefined) && new Set(found).size === found.length ? found : undefined;
  });
}

/** Options of another section that hold for one listener alone; those that are not given are as there. */
function overrides<Shape extends Readonly<Record<string, z.ZodType>>>(shape: Shape): z.ZodType<{ readonly [K in keyof Shape]?: z.infer<Shape[K]> }> {
  type Given = { -readonly [K in keyof Shape]?: z.infer<Shape[K]> };
  const names = Object.keys(shape);
  const allowed = "options of `mqtt`";
  const schema = z
    .unknown()
    .transform((value, context): Given => {
      if (typeof value !== "object" || value === null || Array.isArray(value)) {
        context.issues.push({ code: "custom", message: allowed, input: value });
        return z.NEVER;
      }
      const given: Record<string, unknown> = {};
      for (const [name, one] of Object.entries(value as Readonly<Record<string, unknown>>)) {
        const part = Object.hasOwn(shape, name) ? shape[name] : undefined;
        const parsed = part === undefined ? undefined : parsers.get(part)?.(one);
        if (parsed !== undefined) given[name] = parsed;
        else context.issues.push({ code: "custom", message: part === undefined ? names.join(", ") : (metas.get(part)?.allowed ?? allowed), input: one, path: [name] });
      }
      return given as Given;
    })
    .prefault({});
  metas.set(schema, { written: {}, allowed, help: "Options of `mqtt` that are otherwise on this listener." });
  return schema;
}

function whole(written: number, least: number, most: number, help: string): z.ZodType<number> {
  const allowed = `a whole number from ${String(least)} to ${String(most)}`;
  return option(written, allowed, help, (value) => (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most ? value : undefined));
}

function autoOr(most: number, help: string): z.ZodType<number | "auto"> {
  const allowed = `auto, or a whole number from 1 to ${String(most)}`;
  return option<number | "auto">("auto", allowed, help, (value) => {
    if (value === "auto") return "auto";
    return typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= most ? value : undefined;
  });
}

function duration(written: string, leastMs: number, mostMs: number, help: string): z.ZodType<number> {
  const allowed = `a duration from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}, with its unit (${DURATION_UNITS})`;
  return option(written, allowed, help, (value) => {
    const ms = typeof value === "string" ? parseDuration(value) : undefined;
    return ms !== undefined && ms >= leastMs && ms <= mostMs ? ms : undefined;
  });
}

/** A duration, or none at all: `off`, which YAML may give as false, or 0. The value is 0 then. */
function durationOrOff(written: string, leastMs: number, mostMs: number, help: string): z.ZodType<number> {
  const allowed = `off, or a duration from ${formatDuration(leastMs)} to ${formatDuration(mostMs)}, with its unit (${DURATION_UNITS})`;
  return option(written, allowed, help, (value) => {
    if (value === "off" || value === false || value === 0) return 0;
    const ms = typeof value === "string" ? parseDuration(value) : undefined;
    return ms === 0 || (ms !== undefined && ms >= leastMs && ms <= mostMs) ? ms : undefined;
  });
}

function size(written: string, least: number, most: number, help: string): z.ZodType<number> {
  const allowed = `a size from ${formatSize(least)} to ${formatSize(most)}, with its unit (${SIZE_UNITS})`;
  return option(written, allowed, help, (value) => {
    const bytes = typeof value === "string" ? parseSize(value) : undefined;
    return bytes !== undefined && bytes >= least && bytes <= most ? bytes : undefined;
  });
}

function hosts(written: string, isLoopbackOnly: boolean): z.ZodType<readonly string[]> {
  const allowed = isLoopbackOnly ? "a loopback address (127.0.0.1 or ::1), or a list of them" : "a numeric IPv4 or IPv6 address, or a list of them";
  const help = isLoopbackOnly ? "Address to listen on; there is no login, so loopback only." : "Address or list of addresses to listen on; \"::\" is every address, IPv4 too.";
  return option(written, allowed, help, (value) => {
    const list: unknown[] = Array.isArray(value) ? value : [value];
    const isGood = (host: unknown): host is string => typeof host === "string" && isIP(host) !== 0 && (!isLoopbackOnly || isLoopback(host));
    return list.length > 0 && list.length <= 16 && list.every(isGood) ? list : undefined;
  });
}

function isLoopback(host: string): boolean {
  return host === "::1" || host.startsWith("127.");
}

function port(written: number): z.ZodType<number> {
  return whole(written, 0, 65535, "Port; 0 takes any free one.");
}

function listener(host: string, number: number, isLoopbackOnly = false) {
  return z.strictObject({ host: hosts(host, isLoopbackOnly), port: port(number) });
}

/** What listeners with TLS show, and want to see. */
function certificateOptions() {
  return {
    certificate: text("cert.pem", "a file", "What the gateway shows, perhaps with its chain; a relative path is in certs."),
    key: text("key.pem", "a file", "Its private key, mode 600."),
    client_certificate: oneOf(["off", "optional", "required"], "optional", "Whether clients show a certificate signed by the authority in ca."),
    ca: text("ca.pem", "a file", "Authorities that client certificates are signed by."),
    crl: text("crl.pem", "a file", "List of client certificates that are refused; crl.pem need not exist, another must."),
    identity: oneOf(CERTIFICATE_IDENTITIES, "none", "What of a client's certificate becomes its user."),
  };
}

function origins(): z.ZodType<"any" | "same" | readonly string[]> {
  const allowed = "any, same, or a list of origins such as https://dashboard.example.org";
  const help = "Web pages that may connect: same are those of the very host and port that they connect to. Clients that are no browser name no origin and are not concerned.";
  return option<"any" | "same" | readonly string[]>("same", allowed, help, (value) => {
    if (value === "any" || value === "same") return value;
    const isGood = (origin: unknown): origin is string => typeof origin === "string" && /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/i.test(origin);
    return Array.isArray(value) && value.length > 0 && value.length <= 100 && value.every(isGood) ? value : undefined;
  });
}

/** Connecting takes the right to write; others mean nothing to a socket. */
const SOCKET_MODES: readonly number[] = [600, 660, 606, 666];

const DAY_MS = 86_400_000;
const YEAR_MS = 365 * DAY_MS;

/** Options of `mqtt:` that a listener can have otherwise. */
const PER_LISTENER = {
  protocol_versions: someOf(["3.1.1", "5.0"], "Versions of MQTT that are served; others are refused (return code 1, reason code 0x84)."),
  maximum_qos: whole(2, 0, 2, "Highest QoS of a PUBLISH; a client that sends a higher one is disconnected (0x9B). Subscriptions get at most this one."),
  retain_available: yesNo(true, "Whether messages may be retained; false: who sends one is disconnected (0x9A), and subscriptions get none."),
  packet_size_max: size("1MiB", KIB, 4 * MIB, "Largest MQTT packet taken."),
  keep_alive_max: duration("65535s", 10_000, 65_535_000, "Longest keep-alive granted; MQTT 5 clients that ask for more, or for none, are told this one."),
  receive_maximum: whole(1024, 1, 65535, "Unacknowledged QoS 1 and 2 PUBLISHes taken from one client at once."),
  inflight_max: whole(1024, 1, 65535, "Unacknowledged QoS 1 and 2 PUBLISHes sent to one client at once."),
  topic_alias_maximum: whole(32, 0, 65535, "Topic aliases that an MQTT 5 client may use, and that are used towards one at most."),
  session_expiry_max: duration("7d", 0, 10 * YEAR_MS, "Longest time that a session is kept for a client that is away."),
  queue_count_max: whole(10_000, 1, 10_000_000, "Messages kept for one session that is away or does not keep up."),
  queue_bytes_max: size("16MiB", 64 * KIB, 4096 * MIB, "Bytes kept for one such session."),
  queue_age_max: durationOrOff("off", 1000, 10 * YEAR_MS, "How long a message waits for such a session at most; older ones are dropped. off: as long as the session is kept."),
  connections_max: whole(100_000, 1, 1_000_000, "Connections at once, all listeners together; under a listener: its clients at once."),
  empty_client_id: oneOf(["accept", "refuse"], "accept", "Whether clients may leave their client id to the gateway."),
};

export type ListenerOverrides = { readonly [K in keyof typeof PER_LISTENER]?: z.infer<(typeof PER_LISTENER)[K]> };

function mqttListener(host: string, number: number) {
  return z.strictObject({ host: hosts(host, false), port: port(number), mqtt: overrides(PER_LISTENER) });
}

export const schema = z.strictObject({
  data: text("./data", "a directory", "Everything that must survive a restart."),
  certs: text("./certs", "a directory", "Certificates and keys; made at the first start when the directory holds none."),
  shards: autoOr(SHARD_COUNT_MAX, "Threads that serve connections; auto is the number of cores - 1, at least 1."),
  lanes: autoOr(LANE_COUNT_MAX, "Threads that decode and evaluate telemetry; auto is half as many as shards, at least 1."),
  durability: oneOf(["disk", "memory"], "disk", "What an acknowledgement means: on disk (fdatasync), or only in the gateway's memory."),
  log: oneOf(["trace", "debug", "info", "warn", "error", "fatal"], "info", "Least level that is logged."),
  wake: oneOf(["latency", "throughput"], "throughput", "throughput lets a busy shard wait up to 200 microseconds for more work at once; latency never waits."),
  sys_interval: durationOrOff("10s", 1000, 3_600_000, "How often the $SYS topics are published; off publishes none."),
  listeners: z.strictObject({
    mqtts: z.strictObject({
      host: hosts("::", false),
      port: port(8883),
      ...certificateOptions(),
      mqtt: overrides(PER_LISTENER),
    }),
    mqtt: mqttListener("127.0.0.1", 1883),
    coaps: listener("::", 5684),
    coap: listener("127.0.0.1", 5683),
    https: z.strictObject({
      host: hosts("::", false),
      port: port(8443),
      ...certificateOptions(),
      origins: origins(),
      mqtt: overrides(PER_LISTENER),
    }),
    ws: z.strictObject({ host: hosts("127.0.0.1", false), port: port(8083), origins: origins(), mqtt: overrides(PER_LISTENER) }),
    unix: z.strictObject({
      path: text("mqtt.sock", "a path of at most 107 bytes", "The socket; a relative path starts in the data directory."),
      mode: option(660, "600, 660, 606 or 666", "Who may connect: the gateway's user; its group; others; everybody.", (value) => SOCKET_MODES.find((mode) => String(mode) === String(value).replace(/^0/, ""))),
      mqtt: overrides(PER_LISTENER),
    }),
    jsonl: listener("::", 8080),
    admin_https: listener("::", 9443),
    admin: listener("127.0.0.1", 9080, true),
  }),
  auth: z.strictObject({
    anonymous: oneOf(["loopback", "never", "always"], "loopback", "Who may connect without credentials: clients on this machine, nobody, or everybody."),
    password_file: text("passwords", "a file; a relative path is in the data directory", "Users, their groups and password hashes; `penstock passwd` writes it."),
    jwt: z.strictObject({
      secret_file: offOr("a file with the shared secret (HS256, HS384, HS512)", "Tokens in the place of passwords are signed with this secret."),
      jwks_file: offOr("a file with a JSON Web Key Set", "Tokens in the place of passwords are signed with one of these keys."),
      issuer: offOr("a text", "The claim `iss` that tokens must have."),
      audience: offOr("a text", "The claim `aud` that tokens must have, or have in their list."),
      user_claim: text("sub", "a claim's name", "The claim that becomes the user."),
      groups_claim: text("groups", "a claim's name", "The claim that lists the user's groups."),
      leeway: duration("10s", 0, 3_600_000, "By how much the clocks of issuer and gateway may differ."),
    }),
    http: z.strictObject({
      url: offOr("an http or https URL", "A service that is asked about users whom the password file does not know.", isHttpUrl),
      token_file: offOr("a file", "A token that is sent along as `Authorization: Bearer …`."),
      deadline: duration("2s", 50, 20_000, "How long an answer may take; without one the client is refused."),
      cache: duration("1m", 0, DAY_MS, "How long an answer is used again for the same credentials and client id (a refusal at most 5 s)."),
      stale: duration("0ms", 0, 7 * DAY_MS, "How much longer an answer that let the client in is used while the service fails."),
      valid_for: durationOrOff("off", 1000, YEAR_MS, "How long a client that the service let in stays connected at most; it is then disconnected (0xA0) so that it comes again and is asked about. off: until it goes."),
      concurrency: whole(16, 1, 256, "Requests at once, for each shard."),
    }),
  }),
  acl: z.strictObject({
    file: text("off", "off, or a file of access rules", "Who may publish, retain and subscribe what (docs/access-rules.md); changes apply while running. off: everybody may everything."),
    default: oneOf(["allow", "deny"], "deny", "What holds when no rule of acl.file matches."),
  }),
  mqtt: z.strictObject({
    ...PER_LISTENER,
    sessions_max: whole(200_000, 1, 10_000_000, "Sessions, of clients that are connected or away, all together; a new one beyond it is refused (0x97)."),
    queues_count_max: whole(250_000, 1, 100_000_000, "Messages that wait for sessions, all sessions together."),
    queues_bytes_max: size("256MiB", MIB, 1024 * 1024 * MIB, "Bytes of those."),
    retained_count_max: whole(1_000_000, 0, 100_000_000, "Retained messages kept, all topics together."),
    retained_size_max: size("256MiB", MIB, 1024 * 1024 * MIB, "Memory that retained messages may hold in each shard, topics included."),
    validate_payload_format: oneOf(["off", "refuse"], "off", "refuse checks payloads that MQTT 5 clients call UTF-8 text, and answers 0x99 when they are not."),
    response_information: text("none", "a text, or none", "What MQTT 5 clients that ask for response information are told, such as a topic prefix for replies."),
    session_takeover: oneOf(["same_user", "anyone"], "same_user", "Who may go on with, or end, the session of a client id that a user has: that user alone, or whoever presents the client id. Sessions of anonymous clients are anybody's."),
    server_reference: text("none", "host:port, or none", "Another server that MQTT 5 clients are sent to (0x9C) when this one is full or stops."),
  }),
  journal: z.strictObject({
    quota: size("2GiB", 64 * MIB, 16 * 1024 * 1024 * MIB, "Most bytes of journal on disk; when it is full no QoS 1 or 2 message is accepted."),
    quota_age: duration("7d", 60_000, 10 * YEAR_MS, "When lanes or history lag behind by more than this, no QoS 1 or 2 message is accepted, as when the quota of bytes is full."),
    commit_interval_max: duration("5ms", 0, 1000, "Longest time that a commit waits for more messages: larger spares flash, smaller answers sooner."),
    segment_size: size("64MiB", MIB, 1024 * MIB, "Size of one journal file."),
  }),
  history: z.strictObject({
    engine: oneOf(["duckdb", "off"], "duckdb", "Where measurements are kept."),
    raw: duration("7d", 60_000, 100 * YEAR_MS, "How long raw measurements are kept."),
    memory: size("128MiB", 32 * MIB, 64 * 1024 * MIB, "Memory that the history engine may use."),
    flush_interval: duration("1s", 100, 60_000, "How often measurements are committed to history."),
  }),
  statistics: z.strictObject({
    window: whole(60, 2, 10_000, "Values in the moving window of a series, the current one included."),
    warm_up: whole(10, 2, 10_000, "Values that a series needs before any is called an anomaly."),
    threshold: option(3, "a number above 0, up to 100", "A value this many standard deviations from the mean is an anomaly.", (value) =>
      typeof value === "number" && value > 0 && value <= 100 ? value : undefined,
    ),
  }),
});

/** What the schema makes of a file, before paths are resolved and `auto` is decided. */
export type Parsed = z.infer<typeof schema>;
export type ListenerName = keyof Parsed["listeners"];
export const LISTENER_NAMES = Object.keys(schema.shape.listeners.shape) as readonly ListenerName[];

/** Accepted in the file, built later: off, and the start says so. */
export const LISTENERS_NOT_BUILT: readonly ListenerName[] = ["coaps", "coap", "jsonl", "admin_https"];
/** On only when file or environment speak of them. */
export const LISTENERS_ON_REQUEST: readonly ListenerName[] = ["ws", "unix"];

export interface OptionEntry extends OptionMeta {
  /** Dotted path in the file. */
  readonly key: string;
  readonly path: readonly string[];
  /** Its environment variable. */
  readonly variable: string;
}

/** All options in the order of the schema. */
export const OPTIONS: readonly OptionEntry[] = listOptions(schema, []);

/** Names allowed directly under the section at `path`. */
export function namesUnder(path: readonly string[]): readonly string[] {
  let section: z.ZodType = schema;
  for (const name of path) {
    const next: z.ZodType | undefined = section instanceof z.ZodObject ? (section.shape as Record<string, z.ZodType>)[name] : undefined;
    if (next === undefined) return [];
    section = next;
  }
  return section instanceof z.ZodObject ? Object.keys(section.shape) : [];
}

function listOptions(section: z.ZodObject, path: readonly string[]): OptionEntry[] {
  return Object.entries(section.shape as Record<string, z.ZodType>).flatMap(([name, part]) => {
    const here = [...path, name];
    if (part instanceof z.ZodObject) return listOptions(part, here);
    const meta = metas.get(part);
    if (meta === undefined) throw new Error(`option ${here.join(".")} has no description`);
    return [{ ...meta, key: here.join("."), path: here, variable: `PENSTOCK_${here.join("_").toUpperCase()}` }];
  });
}
