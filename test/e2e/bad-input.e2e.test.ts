// Hostile and broken peers on a built gateway: each gets what the standard says and is counted by reason, and a healthy client beside
// them loses nothing.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { readFileSync } from "node:fs";
import mqtt, { type MqttClient } from "mqtt";
import mqttPacket, { type Packet } from "mqtt-packet";
import t, { type Test } from "tap";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";

const CONNECT = mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 0, clientId: "bad" });
const CONNECT_5 = mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: "bad5" }, { protocolVersion: 5 });

/** Sends bytes and gives what came back until the gateway closed. */
async function send(port: number, ...chunks: readonly Buffer[]): Promise<Buffer> {
  const socket = connect({ port, host: "127.0.0.1" });
  return collect(socket, chunks);
}

async function collect(socket: Socket, chunks: readonly Buffer[]): Promise<Buffer> {
  const received: Buffer[] = [];
  socket.on("data", (chunk) => received.push(chunk));
  socket.on("error", () => socket.destroy());
  for (const chunk of chunks) socket.write(chunk);
  await once(socket, "close");
  return Buffer.concat(received);
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

function packetsOf(bytes: Buffer, protocolVersion: 4 | 5): Packet[] {
  const packets: Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion });
  parser.on("packet", (packet) => packets.push(packet));
  parser.parse(bytes);
  return packets;
}

/** A client that publishes to itself all the time and checks that every message comes back, in order. */
class HealthyClient {
  readonly client: MqttClient;
  private sent = 0;
  private got = 0;
  private isWrong = false;

  constructor(gateway: RunningGateway) {
    this.client = mqtt.connect(`mqtts://127.0.0.1:${gateway.mqttsPort}`, { ca: readFileSync(gateway.caFile), clientId: "healthy", reconnectPeriod: 0 });
  }

  async begin(): Promise<void> {
    await onceOf(this.client, "connect");
    this.client.on("message", (_topic, payload) => {
      if (Number(payload.toString()) !== this.got) this.isWrong = true;
      this.got++;
    });
    await this.client.subscribeAsync("healthy", { qos: 1 });
  }

  /** Publishes some and waits for their acknowledgement and return. */
  async check(t: Test): Promise<void> {
    for (let i = 0; i < 20; i++) await this.client.publishAsync("healthy", String(this.sent++), { qos: 1 });
    while (this.got < this.sent && this.client.connected) await onceOf(this.client, "message");
    t.ok(this.client.connected && !this.isWrong, "the healthy client goes on and loses nothing");
  }
}

void t.test("bad input", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2 });
  t.teardown(() => gateway.remove());
  const healthy = new HealthyClient(gateway);
  await healthy.begin();
  const { mqttPort, mqttsPort } = gateway;

  await t.test("malformed packets close a 3.1.1 connection, and MQTT 5 is told the reason", async (t) => {
    // What it is, the packet as 5 and as 3.1.1 has it, and MQTT 5's reason code.
    const cases: readonly (readonly [string, string, string, number])[] = [
      ["both QoS bits set [MQTT-3.3.1-4]", "360600017400 0100", "36050001740001", 0x81],
      ["a wildcard in the topic of a PUBLISH [MQTT-3.3.2-2]", "300600036 12f2300", "300500036 12f23", 0x90],
      ["a topic that is no UTF-8 [MQTT-1.5.4-1]", "30050002c32800", "30040002c328", 0x81],
      ["reserved flags of SUBSCRIBE [MQTT-3.8.1-1]", "800700010000017400", "8006000100017400", 0x81],
      ["SUBSCRIBE without a filter [MQTT-3.8.3-2]", "8203000100", "82020001", 0x82],
      ["a second CONNECT [MQTT-3.1.0-2]", CONNECT_5.toString("hex"), CONNECT.toString("hex"), 0x82],
      ["a packet that only servers send", "2003000000", "20020000", 0x82],
      ["packet type 0", "0000", "0000", 0x82],
    ];
    for (const [name, five, four, reasonCode] of cases) {
      const [connack, disconnect] = packetsOf(await send(mqttPort, CONNECT_5, hex(five)), 5);
      t.match(connack, { cmd: "connack", reasonCode: 0 }, name);
      t.match(disconnect, { cmd: "disconnect", reasonCode }, name);
      t.match(packetsOf(await send(mqttPort, CONNECT, hex(four)), 4), [{ cmd: "connack" }], name);
    }
    await healthy.check(t);
  });

  await t.test("a length that is too long or malformed closes the connection, and MQTT 5 is told the reason [MQTT-3.2.2-15] [MQTT-1.5.5-1]", async (t) => {
    t.match(packetsOf(await send(mqttPort, CONNECT, Buffer.from("30ffffffff7f", "hex")), 4), [{ cmd: "connack" }]);
    t.match(packetsOf(await send(mqttPort, CONNECT, Buffer.from("30ffffff7f", "hex")), 4), [{ cmd: "connack" }]);
    t.match(packetsOf(await send(mqttPort, CONNECT_5, Buffer.from("30ffffff7f", "hex")), 5), [{ cmd: "connack" }, { cmd: "disconnect", reasonCode: 0x95 }]);
    t.match(packetsOf(await send(mqttPort, CONNECT_5, Buffer.from("30ffffffff7f", "hex")), 5), [{ cmd: "connack" }, { cmd: "disconnect", reasonCode: 0x81 }]);
    t.ok((await gateway.metric("penstock_reactor_closed_total")) > 0, "counted by reason");
    await healthy.check(t);
  });

  await t.test("other protocols on an MQTT port, and MQTT or HTTP on the TLS port, are closed and counted", async (t) => {
    const http = Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    t.equal((await send(mqttPort, http)).length, 0);
    await send(mqttsPort, CONNECT);
    await send(mqttsPort, http);
    await send(mqttsPort, Buffer.from("160301ffff" + "00".repeat(600), "hex"));
    const hello = connectTls({ port: mqttPort, host: "127.0.0.1", rejectUnauthorized: false });
    hello.on("error", () => hello.destroy());
    await new Promise((resolve) => hello.once("close", resolve));
    t.ok((await gateway.metric("penstock_front_not_tls_total")) >= 2);
    t.ok((await gateway.metric("penstock_front_first_frame_refused_total")) >= 2);
    await healthy.check(t);
  });

  await t.test("an unknown protocol version is refused in its own words", async (t) => {
    const mqtt31 = Buffer.from("100f00064d51497364700402003c000161", "hex");
    t.match(packetsOf(await send(mqttPort, mqtt31), 4), [{ cmd: "connack", returnCode: 1 }], "MQTT 3.1 of a level that is not its own");
    const version9 = Buffer.from(CONNECT_5);
    version9[8] = 9;
    t.match(packetsOf(await send(mqttPort, version9), 5), [{ cmd: "connack", reasonCode: 0x84 }]);
    await healthy.check(t);
  });

  await t.test("ten thousand connects and resets leave nothing behind", async (t) => {
    const before = await gateway.metric("penstock_front_accepted_total");
    for (let round = 0; round < 100; round++) {
      await Promise.all(
        Array.from({ length: 100 }, async (_, i) => {
          const socket = connect({ port: i % 2 === 0 ? mqttPort : mqttsPort, host: "127.0.0.1" });
          socket.on("error", () => socket.destroy());
          await Promise.race([once(socket, "connect"), once(socket, "close")]);
          if (i % 4 < 2) socket.write(CONNECT);
          socket.resetAndDestroy();
          if (!socket.closed) await once(socket, "close");
        }),
      );
    }
    t.ok((await gateway.metric("penstock_front_accepted_total")) - before >= 9_900);
    await gateway.until("only the healthy connection is left", async () => ((await gateway.metric("penstock_reactor_connections_open")) === 1 ? true : undefined));
    await healthy.check(t);
  });

  await t.test("a client that floods and one that never reads cost the healthy one nothing", async (t) => {
    const mute = connect({ port: mqttPort, host: "127.0.0.1" });
    mute.on("error", () => mute.destroy());
    mute.write(CONNECT);
    mute.write(mqttPacket.generate({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "flood", qos: 0 }] }));
    await once(mute, "data");
    mute.pause();
    const flood = connect({ port: mqttPort, host: "127.0.0.1" });
    flood.on("error", () => flood.destroy());
    flood.write(mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: true, keepalive: 0, clientId: "flood" }));
    const publishes = Buffer.concat(Array.from({ length: 200 }, () => mqttPacket.generate({ cmd: "publish", topic: "flood", payload: Buffer.alloc(1000), qos: 0, retain: false, dup: false })));
    for (let i = 0; i < 200; i++) {
      if (!flood.write(publishes)) await once(flood, "drain");
      if (i % 50 === 0) await healthy.check(t);
    }
    await gateway.until("deliveries to who does not read are dropped and counted", async () => ((await gateway.metric("penstock_reactor_deliveries_dropped_total")) > 0 ? true : undefined));
    await healthy.check(t);
    flood.destroy();
    mute.destroy();
  });

  await healthy.client.endAsync();
  t.same(await gateway.stop(), { code: 0, signal: null });
});
