// A real mosquitto as an edge broker in the field: its bridge carries everything both ways with QoS 1 and a session of its own, over restarts of
// either side, and nothing comes twice or goes round in circles.
import mqtt, { type MqttClient } from "mqtt";
import t from "tap";
import { EdgeBroker, freePort } from "./edge-broker.js";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";

/** A client that keeps what it gets. */
class Watcher {
  readonly client: MqttClient;
  readonly got: string[] = [];

  private constructor(client: MqttClient) {
    this.client = client;
    client.on("message", (topic, payload) => this.got.push(`${topic} ${payload.toString()}`));
  }

  static async on(port: number, clientId: string): Promise<Watcher> {
    const watcher = new Watcher(await mqtt.connectAsync(`mqtt://127.0.0.1:${String(port)}`, { clientId, reconnectPeriod: 0 }));
    await watcher.client.subscribeAsync("#", { qos: 1 });
    return watcher;
  }

  async until(text: string): Promise<void> {
    while (!this.got.includes(text) && this.client.connected) await onceOf(this.client, "message");
  }

  async publish(topic: string, payload: string, retain = false): Promise<void> {
    await this.client.publishAsync(topic, payload, { qos: 1, retain });
  }

  async end(): Promise<void> {
    await this.client.endAsync(true);
  }
}

for (const protocol of ["mqttv311", "mqttv50"]) {
  void t.test(`a bridge of mosquitto, ${protocol}`, { timeout: 180_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards: 2 });
    t.teardown(() => gateway.remove());
    const edge = new EdgeBroker(await freePort(), gateway.mqttPort, protocol);
    t.teardown(() => edge.remove());
    await edge.start();

    let here = await Watcher.on(gateway.mqttPort, "here");
    let there = await Watcher.on(edge.port, "there");
    for (let i = 0; i < 20; i++) {
      await here.publish("from/gateway", String(i));
      await there.publish("from/edge", String(i));
    }
    // Behind them on both ways: when these are through, whatever would come twice has come.
    await here.publish("from/gateway", "end");
    await there.publish("from/edge", "end");
    for (const side of [here, there]) for (const from of ["gateway", "edge"]) await side.until(`from/${from} end`);
    await there.publish("from/edge", "last");
    await here.until("from/edge last");
    await here.publish("from/gateway", "last");
    await there.until("from/gateway last");
    for (const side of [here, there]) {
      for (const from of ["gateway", "edge"]) {
        t.same(side.got.filter((text) => text.startsWith(`from/${from}`)), [...Array.from({ length: 20 }, (_, i) => String(i)), "end", "last"].map((text) => `from/${from} ${text}`), `each once, in order, from ${from}`);
      }
    }

    await there.end();
    await edge.stop();
    await here.publish("to/edge", "while the edge was away", true);
    await edge.start();
    there = await Watcher.on(edge.port, "there");
    await there.until("to/edge while the edge was away");
    t.ok(there.got.includes("to/edge while the edge was away"), "the gateway kept it for the bridge");

    await here.end();
    await gateway.stop();
    await there.publish("to/gateway", "while the gateway was away", true);
    edge.forget();
    await gateway.restart();
    await edge.bridged();
    here = await Watcher.on(gateway.mqttPort, "here");
    await here.until("to/gateway while the gateway was away");
    t.ok(here.got.includes("to/gateway while the gateway was away"), "the edge kept it for the gateway");
    await here.end();
    await there.end();
  });
}
