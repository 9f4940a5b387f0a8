// The configuration: what is accepted, what is refused and with which words, origins, units.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { ConfigError, type ConfigFinding } from "../../../src/base/errors.js";
import { DEFAULT_SHARD_LIMITS } from "../../../src/base/limits.js";
import { loadConfig, type LoadedConfig } from "../../../src/control/config/config.js";
import { listenerLimits } from "../../../src/control/config/listener-options.js";
import { OPTIONS } from "../../../src/control/config/schema.js";
import { createArena } from "../../../src/control/arena.js";
import { shardStart, type Ports } from "../../../src/control/start-data.js";

const CERTIFICATES = { certificate: "cert.pem", key: "key.pem", ca: "ca.pem", crl: "crl.pem" };
const directory = mkdtempSync(join(tmpdir(), "penstock-config-"));
t.teardown(() => rmSync(directory, { recursive: true, force: true }));

function load(text: string | undefined, environment: Record<string, string> = {}, cores = 4): LoadedConfig {
  const file = join(directory, "test.yaml");
  if (text !== undefined) writeFileSync(file, text);
  return loadConfig({ ...(text === undefined ? {} : { file }), environment, workingDirectory: directory, cores });
}

function findings(text: string | undefined, environment: Record<string, string> = {}): readonly ConfigFinding[] {
  try {
    load(text, environment);
  } catch (error) {
    if (error instanceof ConfigError) return error.findings;
    throw error;
  }
  return [];
}

t.test("without a file and variables everything has its default", async (t) => {
  const { config, file, warnings, values } = load(undefined);
  t.equal(file, undefined);
  t.same(warnings, []);
  t.equal(config.data, join(directory, "data"));
  t.equal(config.certs, join(directory, "certs"));
  t.equal(config.durability, "disk");
  t.same(config.listeners.mqtts, { host: ["::"], port: 8883, ...CERTIFICATES, client_certificate: "optional", identity: "none", mqtt: {} });
  t.same(config.listeners.mqtt, { host: ["127.0.0.1"], port: 1883, mqtt: {} });
  t.same(config.history, { engine: "duckdb", raw: 7 * 86_400_000, memory: 128 * 1024 ** 2, flush_interval: 1000 });
  t.ok(values.every(({ origin }) => origin === "default"));
  const shown = OPTIONS.map(({ key }) => key.replace(/^(listeners\.(?:ws|unix))\..*/, "$1"));
  t.same(values.map(({ key }) => key), [...new Set(shown)], "listeners that are on only when asked for are false");
  t.same([config.listeners.ws, config.listeners.unix], [false, false]);
});

t.test("the defaults for shards are those of base/limits.ts", async (t) => {
  const { config } = load(undefined);
  const context = { config, arena: createArena(config.shards, config.lanes, config.mqtt.packet_size_max), access: null, trusts: new Map(), listeners: [] };
  t.same(shardStart(context, {} as Ports, 0).limits, DEFAULT_SHARD_LIMITS);
});

t.test("an empty file, and sections without anything in them, are the defaults", async (t) => {
  for (const text of ["", "# nothing\n", "mqtt:\nlisteners:\n  mqtt:\n", "---\n", "listeners: { mqtt: true }"]) {
    t.same(load(text).config.mqtt, load(undefined).config.mqtt, JSON.stringify(text));
  }
});

t.test("auto follows the number of cores", async (t) => {
  for (const [cores, shards, lanes] of [[1, 1, 1], [2, 1, 1], [4, 3, 2], [8, 7, 4]] as const) {
    const { config } = load(undefined, {}, cores);
    t.same([config.shards, config.lanes], [shards, lanes], `${cores} cores`);
  }
  const { config } = load(undefined, {}, 128);
  t.ok(config.shards > 8 && config.shards <= 32, "many cores: as many as the rings of all fit into their memory");
});

const ACCEPTED: readonly (readonly [string, (loaded: LoadedConfig) => unknown, unknown])[] = [
  ["shards: 2", ({ config }) => config.shards, 2],
  ["durability: memory", ({ config }) => config.durability, "memory"],
  ["log: trace", ({ config }) => config.log, "trace"],
  ["sys_interval: off", ({ config }) => config.sys_interval, 0],
  ["sys_interval: 0", ({ config }) => config.sys_interval, 0],
  ["sys_interval: 2m", ({ config }) => config.sys_interval, 120_000],
  ["wake: latency", ({ config }) => config.wake, "latency"],
  ["listeners: { mqtt: false }", ({ config }) => config.listeners.mqtt, false],
  ["listeners: { mqtts: { host: [127.0.0.1, '::1'], port: 0 } }", ({ config }) => config.listeners.mqtts, { host: ["127.0.0.1", "::1"], port: 0, ...CERTIFICATES, client_certificate: "optional", identity: "none", mqtt: {} }],
  ["listeners: { mqtts: { client_certificate: off } }", ({ config }) => config.listeners.mqtts, { host: ["::"], port: 8883, ...CERTIFICATES, client_certificate: "off", identity: "none", mqtt: {} }],
  ["listeners: { mqtts: { client_certificate: false } }", ({ config }) => config.listeners.mqtts, { host: ["::"], port: 8883, ...CERTIFICATES, client_certificate: "off", identity: "none", mqtt: {} }],
  ["listeners: { https: { origins: any } }", ({ config }) => config.listeners.https, { host: ["::"], port: 8443, ...CERTIFICATES, client_certificate: "optional", identity: "none", origins: "any", mqtt: {} }],
  ["listeners: { ws: true }", ({ config }) => config.listeners.ws, { host: ["127.0.0.1"], port: 8083, origins: "same", mqtt: {} }],
  ["listeners: { ws: { origins: ['https://a.example', 'http://b:8080'] } }", ({ config }) => config.listeners.ws, { host: ["127.0.0.1"], port: 8083, origins: ["https://a.example", "http://b:8080"], mqtt: {} }],
  ["listeners: { ws: false }", ({ config }) => config.listeners.ws, false],
  ["data: /srv/p\nlisteners: { unix: }", ({ config }) => config.listeners.unix, { path: "/srv/p/mqtt.sock", mode: 660, mqtt: {} }],
  ["listeners: { unix: { path: /run/p.sock, mode: '0600' } }", ({ config }) => config.listeners.unix, { path: "/run/p.sock", mode: 600, mqtt: {} }],
  ["listeners: { unix: { path: /run/p.sock, mode: 0666 } }", ({ config }) => config.listeners.unix, { path: "/run/p.sock", mode: 666, mqtt: {} }],
  ["listeners: { coaps: { port: 5684 }, jsonl: false }", ({ config }) => config.listeners.jsonl, false],
  ["auth: { anonymous: never }", ({ config }) => config.auth.anonymous, "never"],
  ["listeners: { mqtts: { identity: common_name } }", ({ config }) => config.listeners.mqtts !== false && config.listeners.mqtts.identity, "common_name"],
  ["data: /d", ({ config }) => config.auth.password_file, "/d/passwords"],
  ["data: /d\nauth: { password_file: /etc/p }", ({ config }) => config.auth.password_file, "/etc/p"],
  ["auth: { jwt: { secret_file: /etc/s, jwks_file: off, issuer: me } }", ({ config }) => config.auth.jwt, { secret_file: "/etc/s", jwks_file: "", issuer: "me", audience: "", user_claim: "sub", groups_claim: "groups", leeway: 10_000 }],
  ["auth: { http: { url: 'https://a.example/x', deadline: 500ms } }", ({ config }) => config.auth.http, { url: "https://a.example/x", token_file: "", deadline: 500, cache: 60_000, stale: 0, valid_for: 0, concurrency: 16 }],
  ["auth: { http: { valid_for: 1h } }", ({ config }) => config.auth.http.valid_for, 3_600_000],
  ["history: { engine: off }", ({ config }) => config.history.engine, "off"],
  ["history: { raw: 90d }", ({ config }) => config.history.raw, 90 * 86_400_000],
  ["history: { memory: 64 MiB }", ({ config }) => config.history.memory, 64 * 1024 ** 2],
  ["mqtt: { packet_size_max: 256kB }", ({ config }) => config.mqtt.packet_size_max, 256_000],
  ["mqtt: { keep_alive_max: 1.5h }", ({ config }) => config.mqtt.keep_alive_max, 5_400_000],
  ["mqtt: { session_expiry_max: 0s }", ({ config }) => config.mqtt.session_expiry_max, 0],
  ["journal: { quota: 1GB, segment_size: 16MB, commit_interval_max: 500ms, quota_age: 2w }", ({ config }) => config.journal, { quota: 1e9, segment_size: 16e6, commit_interval_max: 500, quota_age: 14 * 86_400_000 }],
  ["statistics: { window: 20, warm_up: 5, threshold: 2.5 }", ({ config }) => config.statistics, { window: 20, warm_up: 5, threshold: 2.5 }],
  ["data: /var/lib/penstock", ({ config }) => config.data, "/var/lib/penstock"],
];
for (const [text, read, expected] of ACCEPTED) {
  t.test(`accepts ${text}`, async (t) => t.same(read(load(text)), expected));
}

/** Text, then key, and a piece of what is said about it. */
const REFUSED: readonly (readonly [string, string, RegExp])[] = [
  ["shards: 0", "shards (line 1)", /auto, or a whole number from 1 to 32/],
  ["shards: 33", "shards (line 1)", /auto, or a whole number/],
  ["shards: 1.5", "shards (line 1)", /whole number/],
  ["shards: many", "shards (line 1)", /whole number/],
  ["durability: ram", "durability (line 1)", /disk, memory/],
  ["log: loud", "log (line 1)", /trace, debug, info/],
  ["sys_interval: 10", "sys_interval (line 1)", /off, or a duration .* with its unit/],
  ["sys_interval: 100ms", "sys_interval (line 1)", /from 1s to 1h/],
  ["data: ''", "data (line 1)", /a directory/],
  ["data: 7", "data (line 1)", /a directory/],
  ["mqtt: { packet_size_max: 1000 }", "mqtt.packet_size_max (line 1)", /with its unit/],
  ["mqtt: { packet_size_max: 100MB }", "mqtt.packet_size_max (line 1)", /to 4 MiB/],
  ["mqtt: { packet_size_max: 1 parsec }", "mqtt.packet_size_max (line 1)", /with its unit/],
  ["mqtt: { keep_alive_max: 60 }", "mqtt.keep_alive_max (line 1)", /a duration .* with its unit/],
  ["mqtt: { receive_maximum: 65536 }", "mqtt.receive_maximum (line 1)", /from 1 to 65535/],
  ["mqtt: { inflight_max: null }", "mqtt.inflight_max (line 1)", /from 1 to 65535/],
  ["listeners: { mqtt: { port: 70000 } }", "listeners.mqtt.port (line 1)", /from 0 to 65535/],
  ["listeners: { mqtt: { port: '1883' } }", "listeners.mqtt.port (line 1)", /whole number/],
  ["listeners: { mqtt: { host: localhost } }", "listeners.mqtt.host (line 1)", /numeric/],
  ["listeners: { mqtt: { host: [] } }", "listeners.mqtt.host (line 1)", /numeric/],
  ["listeners: { admin: { host: 0.0.0.0 } }", "listeners.admin.host (line 1)", /loopback/],
  ["listeners: { mqtts: { identity: serial } }", "listeners.mqtts.identity (line 1)", /common_name/],
  ["auth: { http: { url: 'ftp://a.example' } }", "auth.http.url (line 1)", /http or https URL/],
  ["auth: { http: { url: 'http://' } }", "auth.http.url (line 1)", /http or https URL/],
  ["auth: { http: { valid_for: 500ms } }", "auth.http.valid_for (line 1)", /off, or a duration from 1s to 365d/],
  ["auth: { jwt: { secret_file: a, jwks_file: b } }", "auth.jwt.jwks_file", /off while auth.jwt.secret_file is given/],
  ["auth: { jwt: true }", "auth.jwt (line 1)", /options/],
  ["listeners: { https: { origins: gateway.example } }", "listeners.https.origins (line 1)", /any, same, or a list of origins/],
  ["listeners: { https: { origins: [] } }", "listeners.https.origins (line 1)", /any, same/],
  ["listeners: { https: { origins: ['https://a/path'] } }", "listeners.https.origins (line 1)", /any, same/],
  ["listeners: { unix: { mode: 0o660 } }", "listeners.unix.mode (line 1)", /600, 660, 606 or 666/],
  ["listeners: { unix: { mode: 777 } }", "listeners.unix.mode (line 1)", /600, 660/],
  ["listeners: { unix: { path: '' } }", "listeners.unix.path (line 1)", /a path/],
  ["listeners: { mqtt: 1883 }", "listeners.mqtt (line 1)", /false, or options/],
  ["listeners: [mqtt]", "listeners (line 1)", /options/],
  ["history: on", "history (line 1)", /options/],
  ["statistics: { threshold: 0 }", "statistics.threshold (line 1)", /above 0/],
  ["statistics: { window: 5, warm_up: 10 }", "statistics.warm_up", /at most statistics.window/],
  ["journal: { quota: 100MB, segment_size: 64MB }", "journal.segment_size", /quarter/],
  ["shards: 32\nlanes: 64", "shards", /2 GiB/],
  ["just words", "test.yaml", /key: value/],
  ["- a\n- b", "test.yaml", /key: value/],
];
for (const [text, key, words] of REFUSED) {
  t.test(`refuses ${JSON.stringify(text)}`, async (t) => {
    const found = findings(text);
    t.equal(found.length, 1, JSON.stringify(found));
    const [finding] = found;
    t.ok(finding?.key.endsWith(key), `${finding?.key ?? ""} ends with ${key}`);
    t.match(`${finding?.allowed ?? ""} ${finding?.fix ?? ""}`, words);
    t.not(finding?.fix, "", "says what to do");
  });
}

t.test("a mistyped key is refused with the one that was meant", async (t) => {
  for (const [text, key, meant] of [
    ["shrads: 2", "shrads (line 1)", /shards/],
    ["listeners:\n  mqtt:\n    prot: 1\n", "listeners.mqtt.prot (line 3)", /port/],
    ["listeners: { mqqt: false }", "listeners.mqqt (line 1)", /mqtt/],
    ["mqtt: { packetsizemax: 1MB }", "mqtt.packetsizemax (line 1)", /packet_size_max/],
    ["packet_size_max: 1MB", "packet_size_max (line 1)", /belongs at `mqtt.packet_size_max`/],
    ["nothing_like_it_at_all: 1", "nothing_like_it_at_all (line 1)", /Remove it/],
  ] as const) {
    const [finding, ...others] = findings(text);
    t.same(others, []);
    t.equal(finding?.key, key);
    t.match(finding?.fix, meant);
  }
});

t.test("all mistakes are found at once, with their lines", async (t) => {
  const found = findings("shards: none\nlog: loud\nlisteners:\n  mqtts:\n    port: -1\n    client_certificate: maybe\nhistory:\n  raw: 7\nunknown: 1\nauth: 5\n");
  t.same(found.map(({ key }) => key).sort(), ["auth (line 10)", "history.raw (line 8)", "listeners.mqtts.client_certificate (line 6)", "listeners.mqtts.port (line 5)", "log (line 2)", "shards (line 1)", "unknown (line 9)"]);
  for (const finding of found) t.ok(finding.value !== "" && finding.allowed !== "" && finding.fix !== "", finding.key);
});

t.test("a back-end that would be told passwords in clear over the network is a warning", async (t) => {
  for (const [url, isDoubted] of [["http://accounts.example/x", true], ["http://10.0.0.7:8080/", true], ["http://127.evil.example/", true], ["https://accounts.example/x", false], ["http://127.0.0.1:9/", false], ["http://[::1]:9/", false], ["http://localhost/", false], ["off", false]] as const) {
    t.match(load(`auth: { http: { url: "${url}" } }`).warnings, isDoubted ? [/in clear/] : { length: 0 }, url);
  }
});

t.test("a value that contains itself is a finding, not a failure", async (t) => {
  t.match(findings("log: info\nshards: &s [*s]\n"), [{ key: "shards (line 2)", value: "a value that contains itself" }]);
});

t.test("broken YAML is refused with line and column", async (t) => {
  const [finding] = findings("shards: 2\nlisteners:\n  mqtt: { port: 1883\n");
  t.match(finding?.key, /test\.yaml:\d+:\d+$/);
  t.match(findings("data: *elsewhere\n"), [{ key: /test\.yaml$/, fix: /quotes/ }]);
  const [twice] = findings("shards: 2\nshards: 3\n");
  t.match(twice?.key, /test\.yaml:2:1$/);
});

t.test("a file that was asked for and is not there is refused", async (t) => {
  for (const source of [{ file: "none.yaml", environment: {} }, { environment: { PENSTOCK_CONFIG: "none.yaml" } }]) {
    t.throws(() => loadConfig({ ...source, workingDirectory: directory }), { name: "ConfigError", findings: [{ key: "--config", value: "none.yaml" }] });
  }
});

t.test("penstock.yaml in the working directory is found by itself; its paths are relative to it", async (t) => {
  const folder = t.testdir({ "penstock.yaml": "data: here\n" });
  const { config, file } = loadConfig({ environment: { PENSTOCK_CERTS: "there" }, workingDirectory: folder });
  t.equal(file, join(folder, "penstock.yaml"));
  t.equal(config.data, join(folder, "here"));
  t.equal(config.certs, join(folder, "there"));
});

t.test("the environment goes over the file, and the origin of each value is told", async (t) => {
  const loaded = load("log: debug\nshards: 3\nlisteners:\n  mqtt: { port: 1884 }\n  admin: false\n", {
    PENSTOCK_LOG: "warn", PENSTOCK_LISTENERS_MQTT_PORT: "1885", PENSTOCK_LISTENERS_MQTTS: "false", PENSTOCK_MQTT_PACKET_SIZE_MAX: "2MB", PENSTOCK_DATA: "elsewhere",
  });
  t.equal(loaded.config.log, "warn");
  t.equal(loaded.config.shards, 3);
  t.same(loaded.config.listeners.mqtt, { host: ["127.0.0.1"], port: 1885, mqtt: {} });
  t.equal(loaded.config.listeners.mqtts, false);
  t.equal(loaded.config.mqtt.packet_size_max, 2_000_000);
  const origins = new Map(loaded.values.map(({ key, origin }) => [key, origin]));
  t.equal(origins.get("log"), "environment");
  t.equal(origins.get("shards"), "file");
  t.equal(origins.get("lanes"), "default");
  t.equal(origins.get("listeners.mqtt.port"), "environment");
  t.equal(origins.get("listeners.mqtt.host"), "default");
  t.equal(origins.get("listeners.mqtts"), "environment");
  t.equal(origins.get("listeners.admin"), "file");
  t.equal(loaded.asksFor("mqtt"), true);
  t.equal(loaded.asksFor("coap"), false);
});

t.test("a listener that the file turns off is on again when the environment sets its port", async (t) => {
  const { config } = load("listeners: { mqtt: false }", { PENSTOCK_LISTENERS_MQTT_PORT: "1999" });
  t.same(config.listeners.mqtt, { host: ["127.0.0.1"], port: 1999, mqtt: {} });
});

t.test("a wrong value from the environment names its variable", async (t) => {
  const [finding] = findings(undefined, { PENSTOCK_SHARDS: "zero" });
  t.equal(finding?.key, "shards (PENSTOCK_SHARDS)");
  t.match(finding?.fix, /PENSTOCK_SHARDS=auto/);
});

t.test("a variable that names no option is a warning with the one that was meant", async (t) => {
  const { warnings } = load(undefined, { PENSTOCK_SHARD: "2", HOME: "/nowhere" });
  t.match(warnings, [/PENSTOCK_SHARD names no option; did you mean PENSTOCK_SHARDS\?/]);
});

t.test("a listener can have options of mqtt otherwise; what it does not say is as under mqtt", async (t) => {
  const { config } = load("mqtt: { maximum_qos: 1, receive_maximum: 7, keep_alive_max: 60s }\nlisteners: { mqtts: { mqtt: { receive_maximum: 9, retain_available: false, protocol_versions: [5.0], empty_client_id: refuse } } }");
  t.match(listenerLimits(config, "mqtts"), { maximumQos: 1, receiveMaximum: 9, keepAliveMaxSeconds: 60, retainAvailable: false, protocolVersions: [5], allowsEmptyClientId: false });
  t.match(listenerLimits(config, "mqtt"), { maximumQos: 1, receiveMaximum: 7, keepAliveMaxSeconds: 60, retainAvailable: true, protocolVersions: [4, 5], allowsEmptyClientId: true });
  const { listeners } = load(undefined, { PENSTOCK_LISTENERS_MQTT_MQTT: "{ maximum_qos: 0, protocol_versions: 3.1.1 }" }).config;
  t.same(listeners.mqtt !== false && listeners.mqtt.mqtt, { maximum_qos: 0, protocol_versions: ["3.1.1"] });
  for (const [written, versions] of [["3.1.1", [4]], ["5.0", [5]], ["5", [5]], ["[3.1.1, 5.0]", [4, 5]], ["'5.0, 3.1.1'", [5, 4]]] as const) {
    t.same(listenerLimits(load(`mqtt: { protocol_versions: ${written} }`).config, null).protocolVersions, versions, written);
  }
});

t.test("wrong options of a listener are found like those under mqtt, each with its line", async (t) => {
  const found = findings("listeners:\n  mqtt:\n    mqtt:\n      maximum_qos: 3\n      maximum_qso: 1\n      keep_alive_max: 5\n      protocol_versions: [3]\n");
  t.match(found, [
    { key: "listeners.mqtt.mqtt.maximum_qos (line 4)", allowed: /from 0 to 2/, fix: /`maximum_qos: 2`/ },
    { key: "listeners.mqtt.mqtt.maximum_qso (line 5)", allowed: /maximum_qos/ },
    { key: "listeners.mqtt.mqtt.keep_alive_max (line 6)", allowed: /duration/ },
    { key: "listeners.mqtt.mqtt.protocol_versions (line 7)", allowed: "one or more of 3.1.1, 5.0" },
  ]);
  t.equal(found.length, 4);
  t.match(findings("listeners: { mqtt: { mqtt: 5 } }"), [{ key: /^listeners\.mqtt\.mqtt/, allowed: "options of `mqtt`" }]);
  t.match(findings("listeners: { mqtt: { mqtt: { packet_size_max: 2MiB } } }"), [{ key: "listeners.mqtt.mqtt.packet_size_max", allowed: /at most mqtt.packet_size_max/ }]);
  for (const wrong of ["[]", "''", "[3.1.1, 3.1.1]", "3.1"]) t.equal(findings(`mqtt: { protocol_versions: ${wrong} }`).length, 1, wrong);
});
