// What the load generator must find with every target that keeps to MQTT: all of it delivered once, acknowledged once, connections served.
import t, { type Test } from "tap";
import { type LoadRun, runGenerator } from "../../bench/generator.js";
import { addressOf } from "../../bench/measure.js";
import type { Target } from "../../bench/peers/target.js";

/** A short run against the target. */
export function runBriefly(target: Target, words: string, isTls = false): Promise<LoadRun> {
  return runGenerator([...words.split(" "), ...addressOf(target, isTls), "--seconds", "0.3", "--warmup", "0.1", "--deadline", "20"], { limitMs: 60_000 });
}

export function isClean(test: Test, { result, exitCode }: LoadRun): void {
  test.equal(exitCode, 0);
  test.match(result, { lost: 0, duplicates: 0, errors: 0, reason: "" });
  test.ok(result.messages > 0, "it made some load");
}

/** Adds the tests of one target, which runs when they do. */
export function testTarget(target: () => Target): void {
  const run = (words: string, isTls = false): Promise<LoadRun> => runBriefly(target(), words, isTls);

  for (const isTls of [false, true]) {
    const transport = isTls ? "TLS" : "TCP";

    void t.test(`ingest over ${transport} has an acknowledgement for each message`, async (t) => {
      for (const qos of [1, 2]) {
        const found = await run(`ingest --publishers 20 --qos ${qos} --pipeline 3`, isTls);
        isClean(t, found);
        t.equal(found.result.acknowledged, found.result.messages);
        t.equal(found.result.acknowledge_us.count, found.result.messages);
      }
    });

    void t.test(`every message over ${transport} is delivered to each subscriber once`, async (t) => {
      for (const version of [3, 5]) {
        for (const qos of [0, 1, 2]) {
          const pairs = await run(`pairs --publishers 10 --qos ${qos} --mqtt ${version}`, isTls);
          isClean(t, pairs);
          t.equal(pairs.result.deliveries, pairs.result.messages);
          const fan = await run(`fan --publishers 10 --subscribers 4 --qos ${qos} --mqtt ${version}`, isTls);
          isClean(t, fan);
          t.equal(fan.result.deliveries, fan.result.messages * 4);
        }
      }
    });

    void t.test(`connections over ${transport} are held and each is served`, async (t) => {
      const found = await run("hold --connections 100 --interval 0.3", isTls);
      isClean(t, found);
      t.equal(found.result.acknowledged, 100);
    });
  }

  void t.test("every message over WebSocket is acknowledged and delivered once, alone in its frame or with others", async (t) => {
    for (const words of ["ingest --publishers 20 --qos 1 --pipeline 3", "pairs --publishers 10 --qos 2", "pairs --publishers 5 --pipeline 10 --payload 5000", "connect --concurrency 4"]) {
      const found = await runGenerator([...words.split(" "), ...addressOf(target(), false, true), "--seconds", "0.3", "--warmup", "0.1", "--deadline", "20"], { limitMs: 60_000 });
      isClean(t, found);
    }
  });

  void t.test("ingest QoS 0 waits until the target has read everything", async (t) => {
    const found = await run("ingest --publishers 20 --pipeline 20");
    isClean(t, found);
    t.equal(found.result.messages % 20, 0);
  });

  void t.test("the open loop keeps its rate and counts latency from the schedule", async (t) => {
    const { result } = await run("pairs --publishers 10 --rate 1000");
    t.match(result, { lost: 0, errors: 0 });
    t.ok(Math.abs(result.messages - 300) <= 1, `${result.messages} messages in 0.3 s at 1000/s`);
    t.equal(result.deliver_us.count, result.messages);
    t.ok(result.deliver_us.p50 <= result.deliver_us.p99 && result.deliver_us.p99 <= result.deliver_us.max);
  });

  void t.test("TLS sessions are resumed when asked, and only then", async (t) => {
    const full = await run("connect --concurrency 4", true);
    isClean(t, full);
    t.equal(full.result.resumed, 0);
    const resumed = await run("connect --concurrency 4 --resume", true);
    isClean(t, resumed);
    t.ok(resumed.result.resumed > resumed.result.messages / 2, `${resumed.result.resumed} of ${resumed.result.messages}`);
  });

  void t.test("each message among many wildcards reaches the one that matches", async (t) => {
    const found = await run("wildcards --subscriptions 700 --publishers 5");
    isClean(t, found);
    t.equal(found.result.deliveries, found.result.messages);
  });

  void t.test("retained messages all reach the one who subscribes, once", async (t) => {
    const found = await run("retained --count 2000 --topic retained");
    isClean(t, found);
    t.equal(found.result.messages, 2000);
  });

  for (const isTls of [false, true]) {
    void t.test(`who lost the connection over ${isTls ? "TLS" : "TCP"} comes back, and others are served meanwhile`, async (t) => {
      const found = await run("storm --connections 40 --concurrency 40 --publishers 5 --rate 100", isTls);
      isClean(t, found);
      t.equal(found.result.deliveries, 40);
      t.equal(found.result.acknowledged, found.result.messages);
    });
  }

  void t.test("bad clients run to their end beside a broker that lives", async (t) => {
    for (const words of ["reset --count 100", "slow-loris --connections 5", "never-read --connections 2 --rate 500", "blocking --count 500 --qos 1", "ingest --publishers 2 --pipeline 100 --lossy"]) {
      const { result, exitCode } = await run(words);
      t.equal(exitCode, 0, `${words}: ${result.reason}`);
      t.ok(result.messages > 0, words);
    }
  });
}
