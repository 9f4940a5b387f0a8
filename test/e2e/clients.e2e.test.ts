// Clients that people use, against a built gateway: mosquitto's over TLS, MQTT.js as 3.1.1 and 5. On 1, 2 and 4 shards.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import mqtt from "mqtt";
import t, { type Test } from "tap";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";
import { run } from "./run.js";

async function mosquittoOverTls(t: Test, gateway: RunningGateway): Promise<void> {
  const tls = ["-h", "127.0.0.1", "-p", String(gateway.mqttsPort), "--cafile", gateway.caFile];
  for (const version of ["mqttv311", "mqttv5"]) {
    for (const qos of ["0", "1", "2"]) {
      const topic = `m/${version}/${qos}`;
      const subscriber = spawn("stdbuf", ["-oL", "mosquitto_sub", ...tls, "-V", version, "-t", topic, "-q", qos, "-C", "3", "-d"], { stdio: ["ignore", "pipe", "pipe"] });
      let output = "";
      subscriber.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
      while (!output.includes("SUBACK") && subscriber.exitCode === null) await Promise.race([once(subscriber.stdout, "data"), once(subscriber, "exit")]);
      for (let i = 0; i < 3; i++) {
        const published = await run("mosquitto_pub", [...tls, "-V", version, "-t", topic, "-q", qos, "-m", `message ${i}`]);
        t.equal(published.code, 0, published.output);
      }
      if (subscriber.exitCode === null) await once(subscriber, "exit");
      // Three clients published, perhaps on different shards: the order is theirs alone.
      for (let i = 0; i < 3; i++) t.match(output, `message ${i}`, `${version} QoS ${qos}`);
    }
  }
  const wrongCa = await run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(gateway.mqttsPort), "--cafile", "/etc/ssl/certs/ca-certificates.crt", "-t", "x", "-m", "x"]);
  t.not(wrongCa.code, 0, "a client that does not know the CA refuses the gateway");
}

async function mqttJs(t: Test, gateway: RunningGateway, protocolVersion: 4 | 5): Promise<void> {
  const url = `mqtts://127.0.0.1:${gateway.mqttsPort}`;
  const options = { ca: readFileSync(gateway.caFile), protocolVersion, reconnectPeriod: 0 };
  const subscriber = await mqtt.connectAsync(url, { ...options, clientId: `js-sub-${protocolVersion}`, clean: false, ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}) });
  const got: string[] = [];
  const three = new Promise<void>((resolve) => {
    subscriber.on("message", (topic, payload) => {
      got.push(`${topic} ${payload.toString()}`);
      if (got.length === 3) resolve();
    });
  });
  await subscriber.subscribeAsync("js/+/x", { qos: 2 });
  const publisher = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { protocolVersion, reconnectPeriod: 0, clientId: `js-pub-${protocolVersion}` });
  for (const qos of [0, 1, 2] as const) await publisher.publishAsync(`js/${qos}/x`, `with QoS ${qos}`, { qos });
  await three;
  t.same([...got].sort(), ["js/0/x with QoS 0", "js/1/x with QoS 1", "js/2/x with QoS 2"]);
  await subscriber.endAsync(true);
  await publisher.publishAsync("js/1/x", "while away", { qos: 1 });
  const back = mqtt.connect(url, { ...options, clientId: `js-sub-${protocolVersion}`, clean: false, ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}) });
  const [, payload] = (await onceOf(back, "message")) as [string, Buffer];
  t.equal(payload.toString(), "while away");
  await back.endAsync();
  await publisher.endAsync();
}

for (const shards of [1, 2, 4]) {
  void t.test(`real clients on ${shards} shards`, { timeout: 120_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards });
    t.teardown(() => gateway.remove());
    await t.test("mosquitto_pub and mosquitto_sub over TLS, every QoS, 3.1.1 and 5 [MQTT-4.2-1] [MQTT3-7.1.1-1]", (t) => mosquittoOverTls(t, gateway));
    await t.test("MQTT.js 3.1.1 over TLS, with a session that outlives its connection", (t) => mqttJs(t, gateway, 4));
    await t.test("MQTT.js 5 over TLS, with a session that outlives its connection", (t) => mqttJs(t, gateway, 5));
    t.same(await gateway.stop(), { code: 0, signal: null });
  });
}
