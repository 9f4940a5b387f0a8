// People's clients over TLS where the listener wants a client certificate: mosquitto_rr, paho, and the bridge of a real mosquitto.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mqtt, { type IClientOptions } from "mqtt";
import t, { type Test } from "tap";
import { EdgeBroker, freePort } from "./edge-broker.js";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";
import { PAHO_SCENARIO_COUNT, runPaho } from "./paho.js";
import { penstock, run } from "./run.js";

interface Files {
  readonly certificate: string;
  readonly key: string;
}

async function certificateOf(gateway: RunningGateway, name: string): Promise<Files> {
  const { code, output } = await penstock(gateway.configFile, "cert", "client", name);
  if (code !== 0) throw new Error(`no certificate was made: ${output}`);
  const clients = join(gateway.directory, "certs", "clients");
  return { certificate: join(clients, `${name}.pem`), key: join(clients, `${name}-key.pem`) };
}

/** A request by mosquitto_rr is answered by a client on another connection, perhaps another shard. */
async function requestResponse(t: Test, gateway: RunningGateway, { certificate, key }: Files): Promise<void> {
  const tls = ["-p", String(gateway.mqttsPort), "--cafile", gateway.caFile, "--cert", certificate, "--key", key];
  const options = { ca: readFileSync(gateway.caFile), cert: readFileSync(certificate), key: readFileSync(key), protocolVersion: 5, reconnectPeriod: 0, clientId: "responder" };
  const responder = await mqtt.connectAsync(`mqtts://127.0.0.1:${String(gateway.mqttsPort)}`, options as IClientOptions);
  responder.on("message", (_topic, payload, { properties }) => {
    const { responseTopic, correlationData } = properties!;
    void responder.publishAsync(responseTopic!, `answer to ${payload.toString()}`, { qos: 1, properties: { correlationData: correlationData! } });
  });
  await responder.subscribeAsync("requests/#", { qos: 1 });
  for (const [name, how] of [["TLS with a certificate", tls], ["TCP", ["-p", String(gateway.mqttPort)]]] as const) {
    const printed = await run("mosquitto_rr", ["-h", "127.0.0.1", ...how, "-V", "mqttv5", "-q", "1", "-t", "requests/1", "-e", "responses/1", "-m", name, "-W", "20"]);
    t.match(printed, { code: 0, output: `answer to ${name}\n` });
  }
  await responder.endAsync();
}

async function bridge(t: Test, gateway: RunningGateway, { certificate, key }: Files): Promise<void> {
  const edge = new EdgeBroker(await freePort(), gateway.mqttsPort, "mqttv50", [`bridge_cafile ${gateway.caFile}`, `bridge_certfile ${certificate}`, `bridge_keyfile ${key}`]);
  t.teardown(() => edge.remove());
  await edge.start();
  const here = await mqtt.connectAsync(`mqtt://127.0.0.1:${String(gateway.mqttPort)}`, { reconnectPeriod: 0 });
  const there = await mqtt.connectAsync(`mqtt://127.0.0.1:${String(edge.port)}`, { reconnectPeriod: 0 });
  for (const [from, to] of [[here, there], [there, here]] as const) {
    await to.subscribeAsync("over/#", { qos: 1 });
    const came = onceOf(to, "message") as Promise<[string, Buffer]>;
    await from.publishAsync("over/tls", from === here ? "down" : "up", { qos: 1 });
    t.equal((await came)[1].toString(), from === here ? "down" : "up");
    await to.unsubscribeAsync("over/#");
  }
  await here.endAsync();
  await there.endAsync();
}

for (const shards of [1, 4]) {
  void t.test(`clients with certificates on ${String(shards)} shards`, { timeout: 240_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards, environment: { PENSTOCK_LISTENERS_MQTTS_CLIENT_CERTIFICATE: "required" } });
    t.teardown(() => gateway.remove());
    const files = await certificateOf(gateway, "device-1");
    await t.test("mosquitto_rr: request and response", (t) => requestResponse(t, gateway, files));
    await t.test("the bridge of a mosquitto", (t) => bridge(t, gateway, files));
    await t.test("paho", async (t) => {
      const output = await runPaho([String(gateway.mqttsPort), gateway.caFile, files.certificate, files.key]);
      t.equal([...output.matchAll(/^ok .+$/gm)].length, PAHO_SCENARIO_COUNT, output);
    });
  });
}
