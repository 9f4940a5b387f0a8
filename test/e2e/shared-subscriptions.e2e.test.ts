// Shared subscriptions against a built gateway, with mosquitto's clients and MQTT.js, 3.1.1 and 5. On 1, 2 and 4 shards.
import { spawn } from "node:child_process";
import { EventEmitter, once } from "node:events";
import mqtt, { type MqttClient } from "mqtt";
import t, { type Test } from "tap";
import { fnv1aOf } from "../../src/base/bytes.js";
import { clientIdOn } from "../shard/harness.js";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";

/** Says "message" whenever a worker gets one. */
const arrivals = new EventEmitter();

/** What a client of a group got; `until` waits for a number of messages. */
class Worker {
  readonly client: MqttClient;
  readonly got: string[] = [];

  constructor(client: MqttClient) {
    this.client = client;
    client.on("message", (_topic, payload) => {
      this.got.push(payload.toString());
      arrivals.emit("message");
    });
  }
}

async function until(workers: readonly Worker[], count: number): Promise<void> {
  while (workers.reduce((sum, { got }) => sum + got.length, 0) < count) await once(arrivals, "message");
}

async function mosquittoShares(t: Test, gateway: RunningGateway, publisher: MqttClient): Promise<void> {
  for (const version of ["mqttv311", "mqttv5"]) {
    const subscribers = await Promise.all([1, 2].map(async () => {
      const args = ["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", String(gateway.mqttPort), "-V", version, "-q", "1", "-t", `$share/workers/jobs/${version}`, "-C", "10", "-d"];
      const child = spawn("stdbuf", args, { stdio: ["ignore", "pipe", "pipe"] });
      const one = { child, output: "" };
      child.stdout.on("data", (chunk: Buffer) => (one.output += chunk.toString()));
      while (!one.output.includes("SUBACK") && child.exitCode === null) await Promise.race([once(child.stdout, "data"), once(child, "exit")]);
      return one;
    }));
    for (let i = 0; i < 20; i++) await publisher.publishAsync(`jobs/${version}`, `job ${String(i)}.`, { qos: 1 });
    for (const { child } of subscribers) if (child.exitCode === null) await once(child, "exit");
    const jobs = subscribers.map(({ output }) => [...output.matchAll(/job \d+\./g)].map(([job]) => job));
    t.same(jobs.map(({ length }) => length), [10, 10], "both have done as much");
    t.equal(new Set(jobs.flat()).size, 20, "and nothing twice");
  }
}

async function mqttJsShares(t: Test, gateway: RunningGateway, publisher: MqttClient, protocolVersion: 4 | 5): Promise<void> {
  const topic = `js/${String(protocolVersion)}`;
  const filter = `$share/js/js/+`;
  const connect = async (name: string): Promise<Worker> => {
    const properties = protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {};
    const client = mqtt.connect(`mqtt://127.0.0.1:${String(gateway.mqttPort)}`, { protocolVersion, reconnectPeriod: 0, clean: false, clientId: `${name}-${String(protocolVersion)}`, ...properties });
    const worker = new Worker(client);
    await onceOf(client, "connect");
    return worker;
  };
  const workers = await Promise.all(["a", "b", "c"].map(connect));
  for (const { client } of workers) await client.subscribeAsync(filter, { qos: 2 });
  const sent = Array.from({ length: 30 }, (_, i) => String(i));
  for (const text of sent) await publisher.publishAsync(topic, text, { qos: (1 + (Number(text) % 2)) as 1 | 2 });
  await until(workers, sent.length);
  t.same(workers.map(({ got }) => got.length), [10, 10, 10]);
  t.same(workers.flatMap(({ got }) => got).sort(), [...sent].sort());
  for (const { client } of workers) await client.endAsync();
  for (const text of sent) await publisher.publishAsync(topic, `${text} while away`, { qos: 2 });
  const back = await connect("b");
  await until([back], sent.length);
  t.same(back.got, sent.map((text) => `${text} while away`), "in order");
  await back.client.unsubscribeAsync(filter);
  await back.client.endAsync();
}

/** What a member that takes topic aliases hears of a topic is what was published there. */
async function aliasesStandForTheirTopics(t: Test, gateway: RunningGateway, publisher: MqttClient): Promise<void> {
  const member = await mqtt.connectAsync(`mqtt://127.0.0.1:${String(gateway.mqttPort)}`, { protocolVersion: 5, reconnectPeriod: 0, clientId: "aliased", properties: { topicAliasMaximum: 4 } });
  const heard: string[] = [];
  member.on("message", (topic, payload) => {
    heard.push(`${topic} ${payload.toString()}`);
    arrivals.emit("message");
  });
  await member.subscribeAsync("$share/aliased/rooms/#", { qos: 0 });
  const topics = Array.from({ length: 100 }, (_, i) => `rooms/number/${String((i * i) % 7)}`);
  for (const topic of topics) await publisher.publishAsync(topic, topic, { qos: 0 });
  while (heard.length < topics.length) await once(arrivals, "message");
  t.same(heard, topics.map((topic) => `${topic} ${topic}`));
  await member.endAsync();
}

/** A worker that dies with a job in hand: another one gets it. */
async function handOver(t: Test, gateway: RunningGateway, publisher: MqttClient): Promise<void> {
  const url = `mqtt://127.0.0.1:${String(gateway.mqttPort)}`;
  const dying = await mqtt.connectAsync(url, { protocolVersion: 5, reconnectPeriod: 0, clientId: "dying" });
  const taken = new Promise<string>((resolve) => {
    // Without the callback MQTT.js sends no PUBACK.
    dying.handleMessage = (packet) => resolve(packet.payload.toString());
  });
  await dying.subscribeAsync("$share/hands/work", { qos: 1 });
  await publisher.publishAsync("work", "heavy", { qos: 1 });
  t.equal(await taken, "heavy");
  const other = new Worker(await mqtt.connectAsync(url, { protocolVersion: 4, reconnectPeriod: 0, clientId: "other" }));
  await other.client.subscribeAsync("$share/hands/work", { qos: 1 });
  t.same(other.got, []);
  dying.stream.destroy();
  await until([other], 1);
  t.same(other.got, ["heavy"]);
  const metrics = await (await fetch(`${gateway.api}/metrics`)).text();
  const returned = [...metrics.matchAll(/^penstock_shard_shared_returned_total\{.*\} (\d+)$/gm)].reduce((sum, [, value]) => sum + Number(value), 0);
  t.equal(returned, 1);
  t.match(metrics, /^penstock_shard_shared_groups\{shard="0"\} \d+$/m);
  await other.client.endAsync();
}

void t.test("the shard that owns a group dies: the group gets what is published meanwhile", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2, program: new URL("./fault-gateway.js", import.meta.url).pathname });
  t.teardown(() => gateway.remove());
  const filter = ["$share/a/jobs", "$share/b/jobs", "$share/c/jobs", "$share/d/jobs"].find((name) => fnv1aOf(name) % 2 === 1)!;
  const connect = (name: string): Promise<MqttClient> => mqtt.connectAsync(`mqtt://127.0.0.1:${String(gateway.mqttPort)}`, { reconnectPeriod: 0, clientId: clientIdOn(0, 2, name) });
  const workers = [new Worker(await connect("one")), new Worker(await connect("two"))];
  for (const { client } of workers) await client.subscribeAsync(filter, { qos: 2 });
  const publisher = await connect("publisher");
  const sent: string[] = [];
  const send = async (when: string): Promise<void> => {
    for (let i = 0; i < 10; i++) {
      sent.push(`${when} ${String(i)}`);
      await publisher.publishAsync("jobs", sent.at(-1)!, { qos: (1 + (i % 2)) as 1 | 2 });
    }
    t.pass(when);
  };
  await send("before");
  await until(workers, sent.length);
  gateway.child.send("shard 1");
  t.ok(await gateway.says(/shard 1 died/));
  await send("while it is down");
  t.ok(await gateway.says(/shard 1 runs again/));
  await send("after");
  await until(workers, sent.length);
  t.same(workers.flatMap(({ got }) => got).sort(), [...sent].sort(), "each once");
  for (const { client } of workers) await client.endAsync();
  await publisher.endAsync();
  t.same(await gateway.stop(), { code: 0, signal: null });
});

for (const shards of [1, 2, 4]) {
  void t.test(`shared subscriptions of real clients on ${String(shards)} shards`, { timeout: 120_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards });
    t.teardown(() => gateway.remove());
    const publisher = await mqtt.connectAsync(`mqtt://127.0.0.1:${String(gateway.mqttPort)}`, { reconnectPeriod: 0, clientId: "publisher" });
    await t.test("mosquitto_sub -t '$share/…', 3.1.1 and 5", (t) => mosquittoShares(t, gateway, publisher));
    await t.test("MQTT.js 3.1.1", (t) => mqttJsShares(t, gateway, publisher, 4));
    await t.test("MQTT.js 5", (t) => mqttJsShares(t, gateway, publisher, 5));
    await t.test("QoS 0 with topic aliases, MQTT.js 5", (t) => aliasesStandForTheirTopics(t, gateway, publisher));
    await t.test("a message in the hands of a client that dies goes to another", (t) => handOver(t, gateway, publisher));
    await publisher.endAsync();
    t.same(await gateway.stop(), { code: 0, signal: null });
  });
}
