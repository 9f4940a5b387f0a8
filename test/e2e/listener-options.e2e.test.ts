// Options of `mqtt:` on a built gateway, one listener with its own, as mosquitto's clients meet them.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import mqtt from "mqtt";
import mqttPacket, { type Packet } from "mqtt-packet";
import t from "tap";
import { RunningGateway } from "./gateway.js";
import { run } from "./run.js";

/** A client that does not care what CONNACK announced. */
async function rawClient(port: number): Promise<{ readonly client: Socket; readonly packets: Packet[] }> {
  const packets: Packet[] = [];
  const client = connect(port, "127.0.0.1");
  const parser = mqttPacket.parser({ protocolVersion: 5 });
  parser.on("packet", (packet) => packets.push(packet));
  client.on("data", (bytes) => parser.parse(bytes));
  client.write(mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clientId: "raw", clean: true, keepalive: 0 }));
  while (packets.length === 0) await once(client, "data");
  return { client, packets };
}

t.test("a listener with options of its own beside one with those of mqtt:", { timeout: 60_000 }, async (t) => {
  const gateway = await RunningGateway.start({
    more: "mqtt: { receive_maximum: 5 }",
    environment: { PENSTOCK_LISTENERS_MQTT_MQTT: "{ protocol_versions: [5.0], maximum_qos: 1, retain_available: false, empty_client_id: refuse, packet_size_max: 2KiB }" },
  });
  t.teardown(() => gateway.remove());
  const plain = ["-h", "127.0.0.1", "-p", String(gateway.mqttPort), "-i", "c1", "-t", "t", "-d"];
  const tls = ["-h", "127.0.0.1", "-p", String(gateway.mqttsPort), "--cafile", gateway.caFile, "-i", "c1", "-t", "t", "-d"];
  t.match((await run("mosquitto_pub", [...plain, "-V", "mqttv311", "-m", "x"])).output, /unacceptable protocol version/i);
  t.match(await run("mosquitto_pub", [...tls, "-V", "mqttv311", "-q", "2", "-r", "-m", "x"]), { code: 0 });
  t.match(await run("mosquitto_pub", [...plain, "-V", "mqttv5", "-q", "1", "-m", "x"]), { code: 0, output: /PUBACK/ });
  // mosquitto_pub knows what CONNACK announced and does not even send what is not taken; it gets no PUBACK or PUBREC.
  for (const refused of [["-q", "2", "-m", "x"], ["-q", "1", "-m", "x".repeat(3000)]]) {
    const { output } = await run("mosquitto_pub", [...plain, "-V", "mqttv5", ...refused]);
    t.match(output, /CONNACK \(0\)/);
    t.notMatch(output, /PUBACK|PUBREC/, refused.slice(0, 3).join(" "));
  }
  t.match((await run("mosquitto_pub", [...plain, "-V", "mqttv5", "-q", "1", "-r", "-m", "x"])).output, /sending PUBLISH \(d0, q1, r0/, "it takes the retain flag off");
  t.match(await run("mosquitto_pub", [...tls, "-V", "mqttv5", "-q", "2", "-r", "-m", "x".repeat(3000)]), { code: 0 });
  await t.rejects(mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { protocolVersion: 5, clientId: "", reconnectPeriod: 0 }), { code: 0x85 });
  const { client, packets } = await rawClient(gateway.mqttPort);
  client.write(mqttPacket.generate({ cmd: "publish", topic: "t", payload: "x".repeat(3000), qos: 0, dup: false, retain: false }, { protocolVersion: 5 }));
  await once(client, "close");
  t.match(packets, [{ cmd: "connack", reasonCode: 0 }, { cmd: "disconnect", reasonCode: 0x95 }], "who sends it all the same is told why it is closed");
  t.same(await gateway.stop(), { code: 0, signal: null });
});
