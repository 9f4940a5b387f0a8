// $SYS as mosquitto's users read it: values against what really happened, and that it goes on when control or a shard is started again.
import { execFile } from "node:child_process";
import mqtt, { type MqttClient } from "mqtt";
import t from "tap";
import { clientIdOn } from "../shard/harness.js";
import { RunningGateway } from "./gateway.js";

const PROGRAM = new URL("./fault-gateway.js", import.meta.url).pathname;
const MOSQUITTO_SUB = "mosquitto_sub";

/** The last payload of each topic, and a way to wait for one. */
class Board {
  readonly values = new Map<string, string>();
  private readonly waiters = new Set<() => void>();

  constructor(client: MqttClient) {
    client.on("message", (topic, payload) => {
      this.values.set(topic.replace("$SYS/", ""), payload.toString());
      for (const look of this.waiters) look();
    });
  }

  get(topic: string): string | undefined {
    return this.values.get(topic);
  }

  async reads(topic: string, isGood: (value: string) => boolean): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${topic} is ${String(this.get(topic))}`)), 20_000);
      const look = (): void => {
        const value = this.get(topic);
        if (value === undefined || !isGood(value)) return;
        clearTimeout(timer);
        this.waiters.delete(look);
        resolve(value);
      };
      this.waiters.add(look);
      look();
    });
  }
}

function mosquittoSub(port: number, ...words: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(MOSQUITTO_SUB, ["-h", "127.0.0.1", "-p", String(port), ...words], { timeout: 30_000 }, (error, output) => (error === null ? resolve(output) : reject(new Error(`mosquitto_sub: ${error.message}`))));
  });
}

void t.test("$SYS tells what happens", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2, more: "sys_interval: 1s", program: PROGRAM });
  t.teardown(() => gateway.remove());
  const connect = (clientId: string, clean = true): Promise<MqttClient> => mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId, clean, reconnectPeriod: 0 });

  await t.test("a dashboard's values are those of reality", async (t) => {
    const watcher = await connect(clientIdOn(0, 2, "watcher"));
    const board = new Board(watcher);
    await watcher.subscribeAsync("$SYS/#");
    const kept = await connect(clientIdOn(1, 2, "kept"), false);
    await kept.subscribeAsync("$SYS/broker/nothing", { qos: 1 });
    await kept.endAsync();
    const subscriber = await connect(clientIdOn(1, 2, "subscriber"));
    await subscriber.subscribeAsync(["x/#", "y"]);
    const publisher = await connect(clientIdOn(0, 2, "publisher"));
    for (let i = 0; i < 10; i++) await publisher.publishAsync("x/1", "1234567", { qos: 1 });
    await publisher.publishAsync("kept", "7 bytes", { qos: 1, retain: true });
    await board.reads("broker/publish/messages/received", (value) => value === "11");
    await board.reads("broker/publish/bytes/received", (value) => value === "77");
    await board.reads("broker/clients/connected", (value) => value === "3");
    await board.reads("broker/clients/total", (value) => value === "4");
    await board.reads("broker/clients/disconnected", (value) => value === "1");
    await board.reads("broker/subscriptions/count", (value) => value === "4");
    await board.reads("broker/clients/maximum", (value) => value === "4");
    await board.reads("broker/load/publish/received/1min", (value) => Number(value) > 0);
    const retained = Number(await board.reads("broker/retained messages/count", (value) => Number(value) > 100));
    t.equal(retained, [...board.values.keys()].length + 1, "all of $SYS, and one more");
    t.match(board.get("broker/version"), /^penstock version /);
    t.ok(Number(board.get("broker/heap/current")) > 20_000_000);
    t.ok(Number(board.get("broker/bytes/received")) > 11 * 13);
    t.ok(Number(board.get("broker/messages/received")) >= 11 + 4 + 3);
    await board.reads("penstock/shard/0/publishes_qos1", (value) => value === "11");
    await board.reads("penstock/store/commits", (value) => Number(value) > 0);
    for (const topic of ["penstock/lane/0/lag_bytes", "penstock/history/rows", "penstock/shard/1/loop_lag_ms", "penstock/reactor/0/deliveries_dropped"]) t.ok(board.values.has(topic), topic);
    for (const client of [watcher, subscriber, publisher]) await client.endAsync();
  });

  await t.test("mosquitto_sub gets the retained values at once, and none by #", async (t) => {
    const output = await mosquittoSub(gateway.mqttPort, "-t", "$SYS/broker/version", "-t", "$SYS/broker/uptime", "-v", "-C", "2");
    t.match(output, /\$SYS\/broker\/version penstock version /);
    t.match(output, /\$SYS\/broker\/uptime \d+ seconds/);
    const all = await mosquittoSub(gateway.mqttPort, "-t", "#", "-v", "-C", "1");
    t.equal(all, "kept 7 bytes\n");
  });

  for (const worker of ["control", "shard 0", "shard 1"]) {
    await t.test(`it goes on when ${worker} is started again`, async (t) => {
      gateway.output = "";
      gateway.child.send(worker);
      t.ok(await gateway.says(new RegExp(`${worker} runs again`)));
      const watcher = await connect(clientIdOn(0, 2, "watcher"));
      const board = new Board(watcher);
      await watcher.subscribeAsync("$SYS/#");
      const before = Number.parseInt(await board.reads("broker/uptime", () => true), 10);
      await board.reads("broker/uptime", (value) => Number.parseInt(value, 10) > before + 1);
      t.ok(board.get("penstock/shard/1/loop_lag_ms") !== undefined, "and those that did not change are there too");
      await watcher.endAsync();
    });
  }

  t.same(await gateway.stop(), { code: 0, signal: null });
});

void t.test("sys_interval: off publishes nothing", { timeout: 60_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 1, more: "sys_interval: off" });
  t.teardown(() => gateway.remove());
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { reconnectPeriod: 0 });
  await client.subscribeAsync("$SYS/#");
  t.equal(await gateway.metric("penstock_shard_retained"), 0);
  await client.endAsync();
});
