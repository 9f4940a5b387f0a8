// Access rules against a built gateway, with mosquitto's clients and MQTT.js: what docs/access-rules.md promises, and a change while running.
import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import t from "tap";
import { RunningGateway } from "./gateway.js";
import { type Outcome, run } from "./run.js";

const RULES = `rules:
  - { allow: all, clients: operator, topics: "#" }
  - { allow: [publish, retain], topics: ["devices/%c/telemetry", "devices/%c/status"] }
  - { allow: subscribe, topics: "public/#" }
`;

for (const shards of [1, 2, 4]) {
  void t.test(`access rules on ${shards} shards`, { timeout: 120_000 }, async (t) => {
    const directory = mkdtempSync(join(tmpdir(), "penstock-acl-"));
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const file = join(directory, "access.yaml");
    writeFileSync(file, RULES);
    const gateway = await RunningGateway.start({ shards, more: `acl: { file: ${file} }` });
    t.teardown(() => gateway.remove());
    const port = ["-h", "127.0.0.1", "-p", String(gateway.mqttPort)];
    const operator = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId: "operator", reconnectPeriod: 0 });
    const got: string[] = [];
    operator.on("message", (topic, payload) => got.push(`${topic} ${payload.toString()}`));
    await operator.subscribeAsync("#", { qos: 1 });

    await t.test("mosquitto_pub is refused as the standard says", async (t) => {
      const publish = (id: string, topic: string, version: string): Promise<Outcome> => run("mosquitto_pub", [...port, "-V", version, "-i", id, "-t", topic, "-q", "1", "-m", id, "-d"]);
      t.match(await publish("d1", "devices/d1/telemetry", "mqttv5"), { code: 0, output: /received PUBACK .*RC:0\)/ });
      t.match((await publish("d1", "devices/d2/telemetry", "mqttv5")).output, /received PUBACK .*RC:135\)/);
      t.match(await publish("d2", "devices/d1/telemetry", "mqttv311"), { code: 0 });
      t.match(await publish("d2", "devices/d2/status", "mqttv311"), { code: 0 });
      t.match((await publish("a/b", "devices/a/b/status", "mqttv5")).output, /RC:135\)/, "a client id with a slash");
      const will = await run("mosquitto_pub", [...port, "-V", "mqttv311", "-i", "d3", "-t", "devices/d3/status", "-m", "x", "--will-topic", "devices/d1/status", "--will-payload", "x"]);
      t.match(will, { code: 5 }, "a will on another's topic");
    });

    await t.test("mosquitto_sub gets what it may read, and hears what it may not", async (t) => {
      await operator.publishAsync("public/news", "kept", { qos: 1, retain: true });
      await operator.publishAsync("private/news", "kept too", { qos: 1, retain: true });
      t.match(await run("mosquitto_sub", [...port, "-i", "reader", "-t", "#", "-v", "-W", "10", "-C", "1"]), { code: 0, output: "public/news kept\n" });
      t.match((await run("mosquitto_sub", [...port, "-V", "mqttv5", "-i", "reader", "-t", "private/#", "-W", "10", "-C", "1"])).output, /denied|not authori[sz]ed/i);
    });

    await t.test("a changed file holds for who is connected; a broken one changes nothing", async (t) => {
      const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId: "d9", protocolVersion: 5, reconnectPeriod: 0 });
      const refused = async (): Promise<boolean> => device.publishAsync("devices/d9/telemetry", "x", { qos: 1 }).then(() => false, () => true);
      t.notOk(await refused());
      const replace = (text: string): void => {
        writeFileSync(`${file}.new`, text);
        renameSync(`${file}.new`, file);
      };
      replace(RULES.replace('"devices/%c/telemetry", ', ""));
      t.ok(await gateway.says(/new access rules are in force/), "it says so");
      await gateway.until("the refusal", async () => ((await refused()) ? true : undefined));
      replace("rules: nonsense\n");
      t.ok(await gateway.says(/the old ones stay in force: rules \(/), "it says why");
      t.ok(await refused(), "the rules before are in force still");
      replace(RULES);
      await gateway.until("the permission", async () => ((await refused()) ? undefined : true));
      await device.endAsync();
    });

    t.notOk(got.some((line) => line.startsWith("devices/d2/telemetry") || line === "devices/d1/telemetry d2"), "nothing refused came through");
    t.ok(got.includes("devices/d1/telemetry d1") && got.includes("devices/d2/status d2"), got.join(", "));
    t.ok((await gateway.metric("penstock_shard_publishes_forbidden_total")) >= 3);
    await operator.endAsync();
    t.same(await gateway.stop(), { code: 0, signal: null });
  });
}
