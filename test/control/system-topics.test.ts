// What is published under $SYS, and when: arithmetic, names, and that nothing is taken for published that is not.
import t from "tap";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import type { SystemMessage } from "../../src/base/messages.js";
import { BrokerTopics } from "../../src/control/system-topics/broker-topics.js";
import { BrokerCounters, type BrokerFigures } from "../../src/control/system-topics/figures.js";
import { isTopic, penstockMessage } from "../../src/control/system-topics/penstock-topics.js";
import { SystemTopics } from "../../src/control/system-topics/system-topics.js";
import { createArena } from "../../src/control/arena.js";
import { REACTOR_COUNTER } from "../../src/ring/layout.js";
import { Lines } from "./supervisor-fixture.js";

const NOTHING: BrokerFigures = {
  connected: 0, sessions: 0, sessionsExpired: 0, packetsIn: 0, packetsOut: 0, publishesIn: 0, publishesOut: 0, publishesDropped: 0, payloadBytesIn: 0,
  payloadBytesOut: 0, bytesIn: 0, bytesOut: 0, subscriptions: 0, retained: 0, stored: 0, storedBytes: 0, sockets: 0, connects: 0, memory: 0, memoryMax: 0,
};

function taken(topics: BrokerTopics, figures: Partial<BrokerFigures>, at: number): Map<string, string> {
  return new Map(topics.take({ ...NOTHING, ...figures }, at / 1000, at).map(({ topic, payload }) => [topic.replace("$SYS/broker/", ""), payload]));
}

t.test("loads are mosquitto's exponential averages of the rate per minute", (t) => {
  const topics = new BrokerTopics("1.2.3");
  const first = taken(topics, { publishesIn: 1000, sessions: 7 }, 5_900);
  t.equal(first.get("version"), "penstock version 1.2.3");
  t.equal(first.get("uptime"), "5 seconds");
  for (const span of ["1min", "5min", "15min"]) t.equal(first.get(`load/publish/received/${span}`), "0.00", "what came before the first look has no rate");
  // 200 in 10 s are 1200 a minute: mosquitto, calc_load: interval + exp(-t / span) * (current - interval).
  const second = taken(topics, { publishesIn: 1200, sessions: 3 }, 15_900);
  let expected = 1200 + Math.exp(-10 / 60) * (0 - 1200);
  t.equal(second.get("load/publish/received/1min"), expected.toFixed(2));
  t.equal(second.get("load/publish/received/5min"), (1200 - 1200 * Math.exp(-10 / 300)).toFixed(2));
  t.equal(second.get("load/publish/received/15min"), (1200 - 1200 * Math.exp(-10 / 900)).toFixed(2));
  t.equal(second.get("load/publish/sent/1min"), "0.00");
  t.equal(second.get("clients/maximum"), "7", "the most there were, not the present number");
  const third = taken(topics, { publishesIn: 1200 }, 25_900);
  expected *= Math.exp(-10 / 60);
  t.equal(third.get("load/publish/received/1min"), expected.toFixed(2), "it decays when nothing comes");
  t.end();
});

t.test("every topic that mosquitto 2.0 publishes is there", (t) => {
  const loads = ["messages/received", "messages/sent", "publish/dropped", "publish/received", "publish/sent", "bytes/received", "bytes/sent", "sockets", "connections"];
  const expected = [
    "version", "uptime", "clients/total", "clients/maximum", "clients/inactive", "clients/disconnected", "clients/active", "clients/connected", "clients/expired",
    "messages/received", "messages/sent", "messages/stored", "store/messages/count", "store/messages/bytes", "subscriptions/count", "shared_subscriptions/count",
    "retained messages/count", "heap/current", "heap/maximum", "publish/messages/dropped", "publish/messages/received", "publish/messages/sent",
    "publish/bytes/received", "publish/bytes/sent", "bytes/received", "bytes/sent", ...loads.flatMap((load) => ["1min", "5min", "15min"].map((span) => `load/${load}/${span}`)),
  ];
  const topics = [...taken(new BrokerTopics("1"), {}, 0).keys()];
  t.same(expected.filter((topic) => !topics.includes(topic)), []);
  t.same(topics.filter((topic) => !expected.includes(topic)), ["heap/current size", "heap/maximum size"], "and the names that its manual gives them");
  t.end();
});

t.test("figures are sums over shards; retained messages, which all shards hold, are counted once; what the reactor dropped was not sent", (t) => {
  const arena = createArena(2, 1, 64 * 1024);
  const shards = arena.shards.map((shard) => new Float64Array(shard.counters));
  const reactors = arena.shards.map((shard) => new Float64Array(shard.reactorCounters));
  shards.forEach((cells, shard) => {
    cells[SHARD_COUNTER.CLIENTS] = 2 + shard;
    cells[SHARD_COUNTER.SESSIONS] = 5;
    cells[SHARD_COUNTER.RETAINED] = 100;
    cells[SHARD_COUNTER.RETAINED_BYTES] = 5000;
    cells[SHARD_COUNTER.QUEUED] = 3;
    cells[SHARD_COUNTER.QUEUED_BYTES] = 30;
    cells[SHARD_COUNTER.SHARED_QUEUED] = 4;
    cells[SHARD_COUNTER.SHARED_QUEUED_BYTES] = 40;
    cells[SHARD_COUNTER.INFLIGHT] = 1;
    cells[SHARD_COUNTER.PACKETS_OUT] = 50;
    cells[SHARD_COUNTER.MESSAGES_OUT] = 40;
    cells[SHARD_COUNTER.DROPPED_QUEUE_FULL] = 1;
    cells[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER] = 2;
  });
  reactors[1]![REACTOR_COUNTER.DELIVERIES_DROPPED] = 10;
  const figures = new BrokerCounters({ shards: arena.shards.map(({ counters }) => counters), reactors: arena.shards.map(({ reactorCounters }) => reactorCounters), front: arena.frontCounters }).take();
  t.match(figures, { connected: 5, sessions: 10, retained: 100, stored: 116, storedBytes: 5140, packetsOut: 90, publishesOut: 70, publishesDropped: 16 });
  t.ok(figures.memory > 0 && figures.memoryMax >= figures.memory / 2);
  t.end();
});

t.test("names under $SYS/penstock are made from those of the metrics", (t) => {
  const topicOf = (name: string, labels: Record<string, string | number> = {}): string => penstockMessage({ name, labels, value: 1 }).topic;
  t.equal(topicOf("penstock_ready"), "$SYS/penstock/ready");
  t.equal(topicOf("penstock_store_commit_time_ms_total"), "$SYS/penstock/store/commit_time_ms");
  t.equal(topicOf("penstock_shard_acks_pending", { shard: "1" }), "$SYS/penstock/shard/1/acks_pending");
  t.equal(topicOf("penstock_lane_lag_bytes", { lane: 0 }), "$SYS/penstock/lane/0/lag_bytes");
  t.equal(topicOf("penstock_reactor_closed_total", { shard: "0", reason: "stalled" }), "$SYS/penstock/reactor/0/closed/stalled");
  t.equal(topicOf("penstock_front_x_total", { listener: "a/b+#" }), "$SYS/penstock/front/x/a_b__", "a label is one level and no wildcard");
  t.equal(penstockMessage({ name: "x_y", labels: {}, value: 1.23456 }).payload, "1.235");
  t.notOk(isTopic("penstock_ring_backlog_bytes"));
  t.ok(isTopic("penstock_shard_loop_lag_ms"));
  t.end();
});

/** Stands for shards: notes what they were asked to publish, and lets the test wait for it. */
class Shards {
  readonly asked: { readonly shard: number; readonly topics: readonly string[] }[] = [];
  answer: (shard: number) => boolean = () => true;
  private readonly waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  readonly publish = (shard: number, messages: readonly SystemMessage[]): Promise<boolean> => {
    this.asked.push({ shard, topics: messages.map(({ topic }) => topic) });
    for (const { count, resolve } of this.waiting) if (this.asked.length >= count) resolve();
    try {
      return Promise.resolve(this.answer(shard));
    } catch (error) {
      return Promise.reject(error as Error);
    }
  };

  asks(count: number): Promise<void> {
    return new Promise((resolve) => {
      if (this.asked.length >= count) resolve();
      else this.waiting.push({ count, resolve });
    });
  }
}

t.test("publishes all at once at the start, then what changed", async (t) => {
  const shards = new Shards();
  let value = 0;
  const take = (): Promise<SystemMessage[]> => Promise.resolve([{ topic: "still", payload: "x" }, { topic: "moves", payload: String(value++) }]);
  const system = new SystemTopics({ intervalMs: 5, shards: 2, take, publish: shards.publish }, new Lines().log);
  t.teardown(() => system.close());
  await shards.asks(3);
  t.same(shards.asked.slice(0, 3), [{ shard: 0, topics: ["still", "moves"] }, { shard: 0, topics: ["moves"] }, { shard: 0, topics: ["moves"] }]);
});

t.test("many topics go in pages, so that the shard serves its clients between them", async (t) => {
  const shards = new Shards();
  const take = (): Promise<SystemMessage[]> => Promise.resolve(Array.from({ length: 150 }, (_, i) => ({ topic: String(i), payload: "" })));
  const system = new SystemTopics({ intervalMs: 1_000_000, shards: 1, take, publish: shards.publish }, new Lines().log);
  t.teardown(() => system.close());
  await shards.asks(3);
  t.same(shards.asked.map(({ topics }) => topics.length), [64, 64, 22]);
});

for (const [name, answer] of [
  ["does not serve yet", () => false],
  ["does not answer", () => { throw new Error("shard 0 is being started again"); }],
] as const) {
  t.test(`a shard that ${name}: another one is asked, for everything`, async (t) => {
    const shards = new Shards();
    shards.answer = (shard) => (shard === 0 ? answer() : true);
    const take = (): Promise<SystemMessage[]> => Promise.resolve([{ topic: "still", payload: "x" }]);
    const system = new SystemTopics({ intervalMs: 1_000_000, shards: 2, take, publish: shards.publish }, new Lines().log);
    t.teardown(() => system.close());
    await shards.asks(2);
    t.same(shards.asked, [{ shard: 0, topics: ["still"] }, { shard: 1, topics: ["still"] }]);
  });
}

t.test("a shard that was started again gets everything at once", async (t) => {
  const shards = new Shards();
  const take = (): Promise<SystemMessage[]> => Promise.resolve([{ topic: "still", payload: "x" }]);
  const system = new SystemTopics({ intervalMs: 1_000_000, shards: 1, take, publish: shards.publish }, new Lines().log);
  t.teardown(() => system.close());
  await shards.asks(1);
  system.shardStarted();
  await shards.asks(2);
  t.same(shards.asked[1], { shard: 0, topics: ["still"] });
});
