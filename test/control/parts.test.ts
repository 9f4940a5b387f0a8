// The small parts of main: back-off, store watchdog, data directory, listeners, log, stats line, first lines.
import { mkdirSync, readFileSync, writeFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { HISTORY_COUNTER, SHARD_COUNTER, STORE_COUNTER } from "../../src/base/counters.js";
import { StartError } from "../../src/base/errors.js";
import { createArena } from "../../src/control/arena.js";
import { usesMadeCertificates } from "../../src/control/certificate-reach.js";
import { loadConfig } from "../../src/control/config/config.js";
import { openDataDirectory } from "../../src/control/data-directory.js";
import { greeting } from "../../src/control/greeting.js";
import { describeFailure, frontListeners, judgeListeners, notBuilt } from "../../src/control/listeners.js";
import { humanLine, openLog } from "../../src/control/logger.js";
import { RestartPolicy } from "../../src/control/restart-policy.js";
import { Stats } from "../../src/control/stats-line.js";
import { StoreWatchdog } from "../../src/control/store-watchdog.js";
import { REACTOR_COUNTER } from "../../src/ring/layout.js";
import { RingReader, RingWriter } from "../../src/ring/ring.js";

function load(environment: Record<string, string> = {}) {
  return loadConfig({ environment, workingDirectory: "/nowhere", cores: 2 });
}

t.test("back-off: at once, then doubling waits up to 30 s; a good run forgets", async (t) => {
  const policy = new RestartPolicy();
  const waits: number[] = [];
  for (let death = 0; death < 12; death++) waits.push(policy.died(death));
  t.same(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
  policy.started(1000);
  t.equal(policy.died(1000 + 59_999), 30_000, "a short run forgets nothing");
  policy.started(100_000);
  t.equal(policy.died(100_000 + 60_000), 0);
});

t.test("the watchdog sees a store that has work and does nothing, and no other", async (t) => {
  const arena = createArena(1, 1, 64 * 1024);
  const place = arena.shards[0]!.toStore;
  const counters = new Float64Array(arena.storeCounters);
  const watchdog = new StoreWatchdog([place], arena.storeCounters, 7000);
  let now = 0;
  /** Whether it is stuck at any of the next `seconds` looks. */
  const look = (seconds: number): boolean => Array.from({ length: seconds }, () => watchdog.isStuck((now += 1000))).includes(true);
  t.notOk(look(10), "nothing to do");
  const writer = new RingWriter(place);
  writer.reserve(8);
  writer.commit(1, 1, 8);
  writer.publish();
  t.notOk(look(5), "work has come");
  now += 3_600_000;
  t.notOk(look(1), "the process was suspended for an hour");
  t.ok(look(1));
  counters[STORE_COUNTER.COMMITS]!++;
  t.notOk(look(5), "it has committed");
  counters[STORE_COUNTER.BLOCKED] = 1;
  t.notOk(look(20), "a blocked store says so itself");
  counters[STORE_COUNTER.BLOCKED] = 0;
  t.notOk(look(5), "it has only just been unblocked");
  const reader = new RingReader(place);
  reader.next();
  reader.release();
  t.notOk(look(20), "it has taken everything");
});

t.test("the data directory is made, locked and marked; a second gateway and a newer format are refused", async (t) => {
  const directory = join(t.testdir({}), "deep", "data");
  openDataDirectory(directory, () => true);
  t.equal(readFileSync(join(directory, "format"), "utf8"), "1\n");
  openDataDirectory(directory, () => true);
  const refused = (lock: boolean, code: string, words: RegExp): void => {
    try {
      openDataDirectory(directory, () => lock);
      t.fail("it was accepted");
    } catch (error) {
      t.ok(error instanceof StartError);
      t.equal((error as StartError).code, code);
      t.match((error as StartError).message, words);
    }
  };
  refused(false, "DATA_IN_USE", /in use by another gateway/);
  writeFileSync(join(directory, "format"), "2\n");
  refused(true, "DATA_FORMAT", /says format 2; this version knows up to 1/);
  writeFileSync(join(directory, "format"), "noise");
  refused(true, "DATA_FORMAT", /noise/);
  writeFileSync(join(directory, "format"), "");
  openDataDirectory(directory, () => true);
  t.equal(readFileSync(join(directory, "format"), "utf8"), "1\n", "what a power cut left is mended");
  const file = join(directory, "file");
  writeFileSync(file, "");
  t.throws(() => openDataDirectory(join(file, "data"), () => true), { code: "DATA_UNUSABLE" });
});

t.test("a taken data directory is not written to", async (t) => {
  const directory = t.testdir({});
  mkdirSync(join(directory, "data"));
  t.throws(() => openDataDirectory(join(directory, "data"), () => false), { code: "DATA_IN_USE" });
  t.notOk(existsSync(join(directory, "data", "format")));
});

t.test("listeners: each address is one, without IPv6 \"::\" becomes IPv4 with a warning, false is none", async (t) => {
  const { config } = load({ PENSTOCK_LISTENERS_MQTT_HOST: "[127.0.0.1, '::1']" });
  t.same(frontListeners(config, true), {
    notes: [],
    listeners: [
      { name: "mqtts", host: "::", port: 8883, protocol: "mqtt", context: "mqtt" },
      { name: "mqtt", host: "127.0.0.1", port: 1883, protocol: "mqtt" },
      { name: "mqtt", host: "::1", port: 1883, protocol: "mqtt" },
      { name: "https", host: "::", port: 8443, protocol: "websocket", context: "https", websocket: { origins: "same", isBehindProxy: false } },
    ],
  });
  const without = frontListeners(config, false);
  t.equal(without.listeners[0]?.host, "0.0.0.0");
  t.match(without.notes, [{ level: "warn", text: /no IPv6.*listeners\.mqtts\.host/ }]);
  t.same(frontListeners(load({ PENSTOCK_LISTENERS_MQTT: "false", PENSTOCK_LISTENERS_MQTTS: "false", PENSTOCK_LISTENERS_HTTPS: "false" }).config, true).listeners, []);
  const asked = load({ PENSTOCK_LISTENERS_WS_ORIGINS: "[https://app.example]", PENSTOCK_LISTENERS_UNIX_MODE: "606", PENSTOCK_DATA: "/srv/penstock" }).config;
  t.same(frontListeners(asked, true).listeners.slice(3), [
    { name: "ws", host: "127.0.0.1", port: 8083, protocol: "websocket", websocket: { origins: ["https://app.example"], isBehindProxy: true } },
    { name: "unix", host: "", port: 0, protocol: "mqtt", unix: { path: "/srv/penstock/mqtt.sock", mode: 0o606 } },
  ]);
});

t.test("a default port that is taken is a warning; one that was asked for stops the start, naming port and key; none left stops it too", async (t) => {
  const { config, asksFor } = load();
  const { listeners } = frontListeners(config, true);
  t.match(judgeListeners(listeners, [{ port: 8883 }, { error: "EADDRINUSE" }], asksFor), [{ level: "warn", text: /port 1883 on 127\.0\.0\.1 \(listeners\.mqtt\) is taken/ }]);
  t.same(judgeListeners(listeners, [{ port: 8883 }, { port: 1883 }], asksFor), []);
  t.throws(() => judgeListeners(listeners, [{ port: 8883 }, { error: "EADDRINUSE" }], (name) => name === "mqtt"), { code: "LISTEN_FAILED", message: /port 1883 on 127\.0\.0\.1 \(listeners\.mqtt\)/ });
  t.throws(() => judgeListeners(listeners, [{ error: "EACCES" }, { error: "EADDRINUSE" }], asksFor), { code: "LISTEN_FAILED", message: /no MQTT listener/ });
  for (const code of ["EADDRINUSE", "EACCES", "EADDRNOTAVAIL", "EAFNOSUPPORT"]) t.match(describeFailure("mqtt", "10.0.0.1", 1883, code), /port 1883 on 10\.0\.0\.1 \(listeners\.mqtt\).{20}/, code);
  t.match(describeFailure("mqtt", "10.0.0.1", 1883, "EWHATEVER"), /EWHATEVER/);
  const unix = frontListeners(load({ PENSTOCK_LISTENERS_UNIX_PATH: "/run/mqtt.sock" }).config, true).listeners.slice(-1);
  const words = { EADDRINUSE: /used by another program/, EEXIST: /no socket/, EACCES: /may not be made/, ENOENT: /does not exist/, ENAMETOOLONG: /107 bytes/, EIO: /\(EIO\)/ };
  for (const [code, text] of Object.entries(words)) {
    t.throws(() => judgeListeners(unix, [{ error: code }], () => true), { code: "LISTEN_FAILED", message: text });
    t.throws(() => judgeListeners(unix, [{ error: code }], () => true), { message: /\/run\/mqtt\.sock \(listeners\.unix\)/ });
  }
});

t.test("listeners that are not built yet are off; the file's wish for one is answered with a warning", async (t) => {
  const plain = load();
  t.same(notBuilt(plain.config, plain.asksFor), { off: ["coaps", "coap", "jsonl", "admin_https"], notes: [] });
  const asking = load({ PENSTOCK_LISTENERS_COAP_PORT: "5683", PENSTOCK_LISTENERS_JSONL: "false" });
  const { off, notes } = notBuilt(asking.config, asking.asksFor);
  t.same(off, ["coaps", "coap", "admin_https"]);
  t.match(notes, [{ level: "warn", text: /listeners\.coap is not built yet/ }]);
});

t.test("the log is JSON lines off a terminal and readable lines on one; levels below the least are dropped", async (t) => {
  const written: string[] = [];
  const json = openLog("info", { write: (line) => written.push(line) });
  json.info("ready", { shards: 2 });
  json.debug("hidden");
  json.line("warn", "shard 1", "slow", { peer: "192.0.2.1" });
  t.equal(written.length, 2);
  t.match(JSON.parse(written[0]!), { level: "info", area: "main", msg: "ready", shards: 2, time: /^\d{4}-\d\d-\d\dT/ });
  t.match(JSON.parse(written[1]!), { level: "warn", area: "shard 1", msg: "slow", peer: "192.0.2.1" });
  written.length = 0;
  openLog("debug", { isTTY: true, write: (line) => written.push(line) }).line("error", "store", "failed", { code: "STORE_FAILED", tries: 3 });
  t.match(written, [/^\d\d:\d\d:\d\d\.\d{3} error store: failed {2}code=STORE_FAILED {2}tries=3\n$/]);
  t.match(humanLine('{"level":"info","time":"2026-11-22T12:00:00.123Z","area":"main","msg":"x"}'), /\.123 info {2}main: x\n$/);
});

t.test("the stats line says what was counted since the last one", async (t) => {
  const arena = createArena(2, 1, 64 * 1024);
  let now = 0;
  const stats = new Stats(arena, { wall: () => 0, monotonic: () => now });
  t.teardown(() => stats.close());
  const store = new Float64Array(arena.storeCounters);
  arena.shards.forEach(({ counters, reactorCounters }) => {
    const shard = new Float64Array(counters);
    shard[SHARD_COUNTER.CLIENTS] = 5;
    shard[SHARD_COUNTER.MESSAGES_IN] = 30_000;
    shard[SHARD_COUNTER.MESSAGES_OUT] = 6000;
    shard[SHARD_COUNTER.DROPPED_QUEUE_FULL] = 2;
    shard[SHARD_COUNTER.DROPPED_SHARED_QUEUE_FULL] = 1;
    shard[SHARD_COUNTER.DROPPED_LANE_RING] = 3;
    shard[SHARD_COUNTER.LOOP_LAG_MS] = 77;
    new Float64Array(reactorCounters)[REACTOR_COUNTER.BYTES_IN] = 3_072_000;
  });
  new Float64Array(arena.historyCounters)[HISTORY_COUNTER.ROWS] = 600;
  store[STORE_COUNTER.COMMITS] = 10;
  store[STORE_COUNTER.COMMIT_TIME_MS] = 25;
  store[STORE_COUNTER.COMMIT_TIME_MAX_MS] = 9;
  const { capacity } = arena.lanes[0]!.toHistory;
  const writer = new RingWriter(arena.lanes[0]!.toHistory);
  writer.reserve(capacity / 4 - 8);
  writer.commit(1, 1, capacity / 4 - 8);
  writer.publish();
  now = 60_000;
  const first = stats.take();
  t.match(first.fields, {
    clients: 10, messages_in: 1000, messages_out: 200, bytes_in: 102_400, history_rows: 10, dropped: 12, loop_lag_ms: 77,
    commits: 10, commit_mean_ms: 2.5, commit_max_ms: 9, ring_fill_percent: 25, ring: "lane_to_history 0-0",
  });
  t.match(first.text, /^10 clients, in 1000 msg\/s 100 KiB\/s, out 200 msg\/s .* memory \d+(\.\d+)? MiB, loop lag 77 ms, fullest ring 25 % .* commit 2\.5 ms mean 9 ms max$/);
  now = 120_000;
  t.match(stats.take().fields, { clients: 10, messages_in: 0, dropped: 0, commits: 0, commit_mean_ms: 0, commit_max_ms: 0 }, "the longest commit was taken");
});

t.test("certificates are made for listeners that use them", async (t) => {
  const off = { PENSTOCK_LISTENERS_HTTPS: "false" };
  const own = { PENSTOCK_LISTENERS_MQTTS_CERTIFICATE: "/own/cert.pem", PENSTOCK_LISTENERS_MQTTS_KEY: "/own/key.pem" };
  t.equal(usesMadeCertificates(load({}).config), true);
  t.equal(usesMadeCertificates(load(off).config), true);
  t.equal(usesMadeCertificates(load({ ...off, PENSTOCK_LISTENERS_MQTTS: "false" }).config), false);
  t.equal(usesMadeCertificates(load({ ...off, ...own }).config), true, "its clients' authority is the made one");
  t.equal(usesMadeCertificates(load({ ...off, ...own, PENSTOCK_LISTENERS_MQTTS_CA: "clients.pem" }).config), false);
  t.equal(usesMadeCertificates(load({ ...own, PENSTOCK_LISTENERS_MQTTS_CA: "clients.pem" }).config), true, "the other listener");
});

t.test("the first lines name what listens where, the data, what an acknowledgement means, and commands that work", async (t) => {
  const { config } = load({ PENSTOCK_LISTENERS_MQTT_PORT: "0" });
  const { listeners } = frontListeners(config, true);
  const facts = { version: "1.2.3", config, file: undefined, listeners, states: [{ port: 8883 }, { port: 40_001 }], admin: [{ url: "http://127.0.0.1:9080" }], notBuilt: ["coap"], caPath: "/nowhere/certs/ca.pem", startedInMs: 420 };
  const text = greeting(facts);
  for (const words of [
    /^Penstock 1\.2\.3 .*started in 0\.4 s/, /MQTT over TLS +mqtts:\/\/localhost:8883/, /MQTT +mqtt:\/\/127\.0\.0\.1:40001/, /http:\/\/127\.0\.0\.1:9080/, /\/nowhere\/data .*durability: disk/,
    /not built yet +coap/, /mosquitto_sub -h localhost -p 8883 --cafile \S*nowhere\/certs\/ca\.pem -t/, /mosquitto_pub -h localhost/, /curl http:\/\/127\.0\.0\.1:9080\/api\/v1\/series/,
  ]) t.match(text, words);
  const plain = greeting({ ...facts, states: [{ error: "EADDRINUSE" }, { port: 40_001 }], admin: [] });
  t.notMatch(plain, /mqtts:|curl|9080/);
  t.match(plain, /mosquitto_pub -h 127\.0\.0\.1 -p 40001 -q 1/);
  const unverified = greeting({ ...facts, caPath: undefined });
  t.match(unverified, /mosquitto_pub -h 127\.0\.0\.1 -p 40001 -q 1/, "without a file to verify the gateway by, the listener that needs none");
  const closed = greeting({ ...facts, config: { ...config, listeners: { ...config.listeners, mqtts: { ...(config.listeners.mqtts as object), client_certificate: "required" } } } as typeof config });
  t.match(closed, /mosquitto_pub -h \S+ -p 40001 -q 1/, "the listener that wants certificates is not the one to try without");
  t.notMatch(greeting({ ...facts, caPath: undefined, states: [{ port: 8883 }, { error: "EADDRINUSE" }] }), /mosquitto/, "no command rather than one that fails");
});
