// A worker that throws is started again: its clients come back, nothing acknowledged is lost, clients of other shards keep their connection.
import mqtt from "mqtt";
import t from "tap";
import { clientIdOn } from "../shard/harness.js";
import { RunningGateway } from "./gateway.js";
import { StubbornPublisher } from "./publisher.js";

const PROGRAM = new URL("./fault-gateway.js", import.meta.url).pathname;
const MESSAGES = 400;

void t.test("workers that throw are started again", { timeout: 240_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2, lanes: 2, program: PROGRAM });
  t.teardown(() => gateway.remove());

  await t.test("a shard: the other shard's clients notice nothing, its own come back", async (t) => {
    const stay = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId: clientIdOn(0, 2, "stay"), reconnectPeriod: 0 });
    let closed = 0;
    stay.on("close", () => closed++);
    await stay.subscribeAsync("t/#", { qos: 1 });
    const got = new Set<string>();
    stay.on("message", (_topic, payload) => got.add(payload.toString()));
    const publisher = new StubbornPublisher(clientIdOn(1, 2, "come-back"), 2, 20, MESSAGES);
    const first = publisher.run(gateway.mqttPort);
    await gateway.until("some are acknowledged", () => Promise.resolve(publisher.acknowledged.size >= 100 ? true : undefined));
    gateway.child.send("shard 1");
    await first;
    t.ok(await gateway.says(/shard 1 runs again/));
    const second = publisher.run(gateway.mqttPort);
    await gateway.until("all are acknowledged", () => Promise.resolve(publisher.acknowledged.size === MESSAGES ? true : undefined));
    publisher.cut();
    await second;
    for (let i = 0; i < 20; i++) await stay.publishAsync("t/x", `own ${i}`, { qos: 1 });
    await gateway.until("its own messages are back", () => Promise.resolve(got.size === 20 ? true : undefined));
    t.equal(closed, 0, "the other shard's client kept its connection");
    const again = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { clientId: clientIdOn(1, 2, "again"), reconnectPeriod: 0 });
    await again.publishAsync("t/y", "from the new shard", { qos: 1 });
    await gateway.until("interest is known to the new shard", () => Promise.resolve(got.has("from the new shard") ? true : undefined));
    await again.endAsync();
    await stay.endAsync();
    await gateway.until("everything acknowledged is in history", () => countOf(gateway, publisher, MESSAGES));
  });

  await t.test("history: what it had not committed comes again from the journal", async (t) => {
    const publisher = new StubbornPublisher("during-history", 1, 20, MESSAGES);
    const run = publisher.run(gateway.mqttPort);
    await gateway.until("some are acknowledged", () => Promise.resolve(publisher.acknowledged.size >= 50 ? true : undefined));
    gateway.child.send("history");
    t.ok(await gateway.says(/history runs again/));
    await gateway.until("all are acknowledged", () => Promise.resolve(publisher.acknowledged.size === MESSAGES ? true : undefined));
    publisher.cut();
    await run;
    await gateway.until("everything acknowledged is in history, once", () => countOf(gateway, publisher, MESSAGES));
  });

  await t.test("a lane that hangs: everything acknowledged is in history once, and other lanes' devices too", async (t) => {
    const publishers = ["hang-a", "hang-b", "hang-c"].map((name) => new StubbornPublisher(name, 1, 20, MESSAGES));
    const runs = publishers.map((publisher) => publisher.run(gateway.mqttPort));
    await gateway.until("some are acknowledged", () => Promise.resolve(publishers.every(({ acknowledged }) => acknowledged.size >= 50) ? true : undefined));
    gateway.child.send("hang lane 0");
    t.ok(await gateway.says(/lane 0 has not come to its turn/));
    t.ok(await gateway.says(/all lanes run again/));
    for (const publisher of publishers) {
      await gateway.until("all are acknowledged", () => Promise.resolve(publisher.acknowledged.size === MESSAGES ? true : undefined));
      publisher.cut();
      await gateway.until("everything acknowledged is in history, once", () => countOf(gateway, publisher, MESSAGES));
    }
    await Promise.all(runs);
  });

  await t.test("a message that makes lane after lane hang is passed over, with QoS 0 as with QoS 1", async (t) => {
    for (const qos of [0, 1] as const) {
      const publisher = new StubbornPublisher(`poison-${qos}`, 1, 20, 10);
      const poisoner = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { reconnectPeriod: 0 });
      await poisoner.publishAsync(`devices/poison-${qos}/telemetry`, '{"hang_the_lane":"yes"}', { qos });
      await poisoner.endAsync();
      const run = publisher.run(gateway.mqttPort);
      await gateway.until("all are acknowledged", () => Promise.resolve(publisher.acknowledged.size === 10 ? true : undefined));
      publisher.cut();
      await run;
      await gateway.until("what came behind it is in history", () => countOf(gateway, publisher, 10), 60_000);
    }
    const { body } = await gateway.get("/api/v1/events?limit=10");
    t.match(JSON.stringify(body), /poison-1/, "what was passed over is kept as an event");
    t.ok((await gateway.metric("penstock_main_lanes_hung_total")) >= 6);
  });

  await t.test("control: the API is back", async (t) => {
    gateway.child.send("control");
    t.ok(await gateway.says(/control runs again/));
    const { status } = await gateway.get("/readyz");
    t.equal(status, 200);
  });

  t.same(await gateway.stop(), { code: 0, signal: null });
});

/** True once history holds `count` values of the publisher's device; more than that is an error. */
async function countOf(gateway: RunningGateway, publisher: StubbornPublisher, count: number): Promise<true | undefined> {
  const { timeBase, clientId } = publisher;
  const { status, body } = await gateway.get(`/api/v1/series/${clientId}/n?from=${timeBase}&to=${timeBase + 60_000}&step=10s`);
  if (status !== 200) return undefined;
  const { points } = body as { readonly points: readonly { readonly count: number }[] };
  const found = points.reduce((sum, point) => sum + point.count, 0);
  if (found > count) throw new Error(`${found} values in history, ${count} published`);
  return found === count ? true : undefined;
}
