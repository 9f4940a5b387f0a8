// The load generator against mosquitto, in small: what it counts is right. No figure is judged here.
import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import t from "tap";
import { buildGenerator, runGenerator } from "../../bench/generator.js";
import { mosquitto } from "../../bench/peers/mosquitto.js";
import type { Target } from "../../bench/peers/target.js";
import { isClean, runBriefly, testTarget } from "./targets.js";

let target: Target;

t.before(async () => {
  const missing = mosquitto.missing();
  if (missing !== "") throw new Error(`these tests need mosquitto: ${missing}`);
  target = await mosquitto.start({ directory: tmpdir(), prefix: [], configuration: [], nodeArguments: [] });
});

t.after(() => target.stop());

testTarget(() => target);

void t.test("two threads share the connections", async (t) => {
  isClean(t, await runBriefly(target, "pairs --publishers 10 --qos 1 --threads 2"));
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
  const refused = [["dance"], ["ingest", "--qos", "3"], ["ingest", "--payload", "5"], ["ingest", "--no-such-option"], ["ingest", "--rate"], ["ingest", "--tls"], ["fan", "--threads", "2"], ["storm"], ["wildcards", "--threads", "2"], ["wildcards", "--subscriptions", "0"]];
  for (const words of refused) {
    const { status, stderr } = spawnSync(buildGenerator(), words, { encoding: "utf8" });
    t.equal(status, 2, words.join(" "));
    t.match(stderr, "load: ");
  }
  t.end();
});

// The broker keeps the process alive, so the end has to be said.
t.end();
