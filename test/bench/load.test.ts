// The load generator against mosquitto, in small: what it counts is right. No figure is judged here.
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import t, { type Test } from "tap";
import { buildGenerator, type LoadRun, runGenerator } from "../../bench/generator.js";
import { addressOf } from "../../bench/measure.js";
import { mosquitto } from "../../bench/peers/mosquitto.js";
import type { Target } from "../../bench/peers/target.js";

let target: Target;

t.before(async () => {
  const missing = mosquitto.missing();
  if (missing !== "") throw new Error(`these tests need mosquitto: ${missing}`);
  target = await mosquitto.start({ directory: tmpdir(), prefix: [], configuration: [], nodeArguments: [] });
});

t.after(() => target.stop());

function run(words: string, isTls = false): Promise<LoadRun> {
  return runGenerator([...words.split(" "), ...addressOf(target, isTls), "--seconds", "0.3", "--warmup", "0.1", "--deadline", "20"], { limitMs: 60_000 });
}

function isClean(test: Test, { result, exitCode }: LoadRun): void {
  test.equal(exitCode, 0);
  test.match(result, { lost: 0, duplicates: 0, errors: 0, reason: "" });
  test.ok(result.messages > 0, "it made some load");
}

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

void t.test("ingest QoS 0 waits until the target has read everything", async (t) => {
  const found = await run("ingest --publishers 20 --pipeline 20");
  isClean(t, found);
  t.equal(found.result.messages % 20, 0);
});

void t.test("the open loop keeps its rate and counts latency from the schedule", async (t) => {
  const { result } = await run("pairs --publishers 10 --rate 1000");
  t.match(result, { lost: 0, errors: 0 });
  t.ok(Math.abs(result.messages - 300) <= 3, `${result.messages} messages in 0.3 s at 1000/s`);
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

void t.test("two threads share the connections", async (t) => {
  isClean(t, await run("pairs --publishers 10 --qos 1 --threads 2"));
});

void t.test("a certificate of somebody else is refused", async (t) => {
  const found = await runGenerator(["connect", "--port", String(target.tlsPort), "--tls", "--cafile", "/etc/ssl/certs/ca-certificates.crt", "--seconds", "0.1", "--warmup", "0", "--concurrency", "1"]).catch(
    (error: unknown) => error,
  );
  if (found instanceof Error) t.match(found.message, "cannot read certificates");
  else t.match(found, { exitCode: 1, result: { messages: 0, reason: /certificate verify failed/ } });
});

void t.test("a target that is not there is an error, not a figure", async (t) => {
  const words = ["ingest", "--port", "1", "--publishers", "2", "--deadline", "1", "--seconds", "0.1"];
  t.match(await runGenerator(words), { exitCode: 2, result: { messages: 0, reason: /Connection refused/ } });
});

void t.test("a wrong command line is refused with what is wrong", (t) => {
  const refused = [["dance"], ["ingest", "--qos", "3"], ["ingest", "--payload", "5"], ["ingest", "--no-such-option"], ["ingest", "--rate"], ["ingest", "--tls"], ["fan", "--threads", "2"]];
  for (const words of refused) {
    const { status, stderr } = spawnSync(buildGenerator(), words, { encoding: "utf8" });
    t.equal(status, 2, words.join(" "));
    t.match(stderr, "load: ");
  }
  t.end();
});

void t.test("bad clients run to their end beside a broker that lives", async (t) => {
  for (const words of ["reset --count 100", "slow-loris --connections 5", "never-read --connections 2 --rate 500", "blocking --count 500 --qos 1", "ingest --publishers 2 --pipeline 100 --lossy"]) {
    const { result, exitCode } = await run(words);
    t.equal(exitCode, 0, `${words}: ${result.reason}`);
    t.ok(result.messages > 0, words);
  }
});

// The broker keeps the process alive, so the end has to be said.
t.end();
