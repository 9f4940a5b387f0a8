// /metrics: every counter of every thread is there under its name, in the text form that Prometheus reads.
import { readdirSync, readFileSync } from "node:fs";
import t from "tap";
import { GAUGES, HISTORY_COUNTER, LANE_COUNTER, MAIN_COUNTER, SHARD_COUNTER, STORE_COUNTER } from "../../src/base/counters.js";
import { POSITION, writePosition } from "../../src/base/positions.js";
import { RingWriter } from "../../src/ring/ring.js";
import { CLOSE_REASON, FRONT_COUNTER, REACTOR_COUNTER } from "../../src/ring/layout.js";
import { get, openAdmin } from "./admin/fixture.js";

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{[a-zA-Z_]\w*="[^"\\]*"(?:,[a-zA-Z_]\w*="[^"\\]*")*\})? (-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;

function parse(text: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of text.split("\n")) {
    if (line === "" || line.startsWith("# HELP ") || line.startsWith("# TYPE ")) continue;
    const match = SAMPLE.exec(line);
    if (match === null) throw new Error(`no sample: ${line}`);
    const key = match[1]! + (match[2] ?? "");
    if (samples.has(key)) throw new Error(`twice: ${key}`);
    samples.set(key, Number(match[3]));
  }
  return samples;
}

t.test("every counter of every thread is there, with its value", async (t) => {
  const admin = await openAdmin();
  t.teardown(() => admin.close());
  const { arena } = admin;
  const roles: readonly (readonly [string, Readonly<Record<string, number>>, readonly SharedArrayBuffer[], string | undefined])[] = [
    ["main", MAIN_COUNTER, [arena.mainCounters], undefined],
    ["front", FRONT_COUNTER, [arena.frontCounters], undefined],
    ["store", STORE_COUNTER, [arena.storeCounters], undefined],
    ["history", HISTORY_COUNTER, [arena.historyCounters], undefined],
    ["shard", SHARD_COUNTER, arena.shards.map(({ counters }) => counters), "shard"],
    ["reactor", REACTOR_COUNTER, arena.shards.map(({ reactorCounters }) => reactorCounters), "shard"],
    ["lane", LANE_COUNTER, arena.lanes.map(({ counters }) => counters), "lane"],
  ];
  let next = 1;
  const expected = new Map<string, number>();
  for (const [role, table, blocks, label] of roles) {
    blocks.forEach((block, thread) => {
      const cells = new Float64Array(block);
      for (const [name, index] of Object.entries(table)) {
        if (role === "reactor" && name === "CLOSED") continue;
        cells[index] = next;
        expected.set(`penstock_${role}_${name.toLowerCase()}${GAUGES.has(name) ? "" : "_total"}${label === undefined ? "" : `{${label}="${thread}"}`}`, next++);
      }
    });
  }
  arena.shards.forEach(({ reactorCounters }, shard) => {
    for (const [reason, index] of Object.entries(CLOSE_REASON)) {
      new Float64Array(reactorCounters)[REACTOR_COUNTER.CLOSED + index] = next;
      expected.set(`penstock_reactor_closed_total{shard="${shard}",reason="${reason.toLowerCase()}"}`, next++);
    }
  });
  t.ok(expected.size > 200, `${expected.size} counters`);
  for (let reading = 0; reading < 2; reading++) {
    const { headers, text } = await get(admin, "/metrics");
    t.match(headers["content-type"], /^text\/plain; version=0\.0\.4/);
    const samples = parse(text);
    for (const [name, value] of expected) if (samples.get(name) !== value) t.fail(`${name} is ${String(samples.get(name))}, not ${value}, at reading ${reading}`);
    for (const name of samples.keys()) if (/^penstock_(main|front|store|history|shard|reactor|lane)_/.test(name) && !expected.has(name) && !/_lag_bytes/.test(name)) t.fail(`${name} is nobody's counter`);
  }
});

t.test("the metrics that documents name are there", async (t) => {
  const admin = await openAdmin();
  t.teardown(() => admin.close());
  const there = new Set([...parse((await get(admin, "/metrics")).text).keys()].map((key) => key.replace(/\{.*/, "")));
  let named = 0;
  const root = new URL("../../../", import.meta.url);
  const pages = readdirSync(new URL("docs", root)).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`);
  for (const page of ["README.md", "ARCHITECTURE.md", ...pages]) {
    for (const [name] of readFileSync(new URL(page, root), "utf8").matchAll(/penstock_[a-z0-9_]+[a-z0-9]/g)) {
      named++;
      if (!there.has(name)) t.fail(`${page}: ${name}`);
    }
  }
  t.ok(named > 60, `${named} were named`);
});

t.test("positions, rings and the process itself are there", async (t) => {
  const admin = await openAdmin();
  t.teardown(() => admin.close());
  const positions = new BigUint64Array(admin.arena.positions);
  writePosition(positions, POSITION.JOURNAL_DURABLE, 5000);
  writePosition(positions, POSITION.JOURNAL_FIRST, 100);
  writePosition(positions, POSITION.HISTORY_COMMITTED, 1000);
  writePosition(positions, POSITION.LANE_READ + 1, 4000);
  const writer = new RingWriter(admin.arena.shards[1]!.toStore);
  writer.reserve(100);
  writer.commit(1, 0, 100);
  writer.publish();
  admin.notReady = ["x"];
  const samples = parse((await get(admin, "/metrics")).text);
  t.equal(samples.get("penstock_journal_durable_position"), 5000);
  t.equal(samples.get("penstock_journal_first_position"), 100);
  t.equal(samples.get("penstock_history_lag_bytes"), 4000);
  t.equal(samples.get('penstock_lane_lag_bytes{lane="0"}'), 5000);
  t.equal(samples.get('penstock_lane_lag_bytes{lane="1"}'), 1000);
  t.equal(samples.get('penstock_ring_backlog_bytes{ring="shard_to_store",from="1",to="0"}'), 112);
  t.equal(samples.get('penstock_ring_backlog_bytes{ring="shard_to_store",from="0",to="0"}'), 0);
  t.equal(samples.get('penstock_ring_capacity_bytes{ring="shard_to_store"}'), admin.arena.shards[0]!.toStore.capacity);
  t.equal(samples.get("penstock_ready"), 0);
  t.equal(samples.get(`penstock_build_info{version="1.2.3",node="${process.versions.node}"}`), 1);
  for (const name of ['process_cpu_seconds_total{mode="user"}', 'process_cpu_seconds_total{mode="system"}', "process_resident_memory_bytes", "process_open_fds", "process_start_time_seconds"]) t.ok(samples.get(name)! > 0, name);
});
