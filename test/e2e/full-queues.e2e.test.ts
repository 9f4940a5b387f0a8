// Queues that are full, and subscribers that do not read, on a built gateway with real clients: MQTT.js, mosquitto's, and sockets that are left alone.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import mqtt, { type MqttClient } from "mqtt";
import mqttPacket, { type Packet } from "mqtt-packet";
import t from "tap";
import { binary, OPCODE, WebSocketClient } from "../front/websocket-client.js";
import { clientIdOn } from "../shard/harness.js";
import { RunningGateway } from "./gateway.js";
import { run } from "./run.js";

const KEPT = { protocolVersion: 5, clean: false, properties: { sessionExpiryInterval: 1000 }, reconnectPeriod: 0 } as const;

function open(gateway: RunningGateway, clientId: string, more: object = {}): Promise<MqttClient> {
  return mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { protocolVersion: 5, reconnectPeriod: 0, clientId, ...more });
}

/** @returns the reason code of PUBACK or PUBREC */
async function publish(client: MqttClient, payload: string, qos: 1 | 2): Promise<number> {
  try {
    await client.publishAsync("q/t", payload, { qos });
    return 0;
  } catch (error) {
    return (error as { code: number }).code;
  }
}

for (const shards of [1, 2, 4]) {
  t.test(`publishers hear 0x97 from a full queue, and a kill -9 brings nothing back (${shards} shards)`, { timeout: 120_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards, more: "mqtt: { queue_count_max: 3, sessions_max: 5 }" });
    t.teardown(() => gateway.remove());
    const away = await open(gateway, clientIdOn(shards - 1, shards, "away"), KEPT);
    await away.subscribeAsync("q/#", { qos: 2 });
    await away.endAsync();
    const reader = await open(gateway, "reader");
    const got: string[] = [];
    reader.on("message", (_, payload) => void got.push(payload.toString()));
    await reader.subscribeAsync("q/#", { qos: 1 });
    const publisher = await open(gateway, clientIdOn(0, shards, "publisher"));
    t.same([await publish(publisher, "0", 1), await publish(publisher, "1", 2), await publish(publisher, "2", 1)], [0, 0, 0]);
    const full = await gateway.until("a full queue known to all", async () => ((await publish(publisher, "3", 1)) === 0x97 ? true : undefined));
    t.ok(full);
    t.equal(await publish(publisher, "4", 2), 0x97);
    t.match(await run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(gateway.mqttPort), "-V", "5", "-i", "pub", "-t", "q/t", "-m", "5", "-q", "1", "-d"]), { output: /PUBACK \(Mid: 1, RC:151\)/ });
    await gateway.until("everything at the reader", async () => (got.includes("5") ? true : undefined));
    t.same([...new Set(got)], ["0", "1", "2", "3", "4", "5"]);
    t.equal(got.filter((payload) => payload === "4").length, 1, "a refused QoS 2 message comes once");
    t.ok((await gateway.metric("penstock_shard_dropped_queue_full_total")) >= 3);
    t.ok((await gateway.metric("penstock_shard_publishes_over_quota_total")) >= 3);
    t.equal(await gateway.metric("penstock_shard_queues_full"), 1);
    await gateway.kill();
    await gateway.restart();
    const back: string[] = [];
    const again = mqtt.connect(`mqtt://127.0.0.1:${gateway.mqttPort}`, { ...KEPT, clientId: away.options.clientId! });
    again.on("message", (_, payload) => void back.push(payload.toString()));
    await new Promise<void>((resolve) => again.once("connect", () => resolve()));
    const next = await open(gateway, "next");
    t.equal(await gateway.until("room", async () => ((await publish(next, "end", 1)) === 0 ? 0 : undefined)), 0);
    t.equal(await publish(next, "last", 2), 0);
    // In order per QoS: whatever came back would have come before these.
    await gateway.until("what had been kept", async () => (back.includes("end") && back.includes("last") ? true : undefined));
    t.same(back.filter((payload) => payload !== "end" && payload !== "last").sort(), ["0", "1", "2"]);
    for (const client of [again, next]) await client.endAsync();
    t.same(await gateway.stop(), { code: 0, signal: null });
  });
}

/** A subscriber whose socket nobody reads until `rest` is asked for. */
interface Idle {
  /** The payloads' numbers until `last` came. */
  rest(last: number): Promise<number[]>;
  end(): void;
}

const CONNECT: Packet = { cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clientId: "idle", clean: true, keepalive: 0 };
const SUBSCRIBE: Packet = { cmd: "subscribe", messageId: 1, subscriptions: [{ topic: "flood", qos: 0 }] };

/** @param read the next bytes of the stream */
async function idle(send: (bytes: Buffer) => void, read: () => Promise<Buffer>, end: () => void): Promise<Idle> {
  const parser = mqttPacket.parser({ protocolVersion: 4 });
  const packets: Packet[] = [];
  parser.on("packet", (packet) => packets.push(packet));
  const until = async (cmd: Packet["cmd"]): Promise<void> => {
    while (packets.at(-1)?.cmd !== cmd) parser.parse(await read());
  };
  send(mqttPacket.generate(CONNECT));
  await until("connack");
  send(mqttPacket.generate(SUBSCRIBE));
  await until("suback");
  packets.length = 0;
  const numbers: number[] = [];
  const take = (): number | undefined => {
    for (const packet of packets.splice(0)) if (packet.cmd === "publish") numbers.push((packet.payload as Buffer).readUInt32LE(0));
    return numbers.at(-1);
  };
  return {
    end,
    rest: async (last) => {
      while (take() !== last) parser.parse(await read());
      return numbers;
    },
  };
}

function ofSocket(socket: Socket): Promise<Idle> {
  const read = async (): Promise<Buffer> => {
    for (;;) {
      const bytes = socket.read() as Buffer | null;
      if (bytes !== null) return bytes;
      await once(socket, "readable");
    }
  };
  return idle((bytes) => void socket.write(bytes), read, () => socket.destroy());
}

const WAYS: Readonly<Record<string, (gateway: RunningGateway) => Promise<Idle>>> = {
  TCP: async (gateway) => ofSocket(connect(gateway.mqttPort, "127.0.0.1")),
  TLS: async (gateway) => {
    const socket = connectTls({ host: "127.0.0.1", port: gateway.mqttsPort, ca: readFileSync(gateway.caFile) });
    await once(socket, "secureConnect");
    return ofSocket(socket);
  },
  "WebSocket over TLS": async (gateway) => {
    const port = gateway.portOf(/wss:\/\/127\.0\.0\.1:(\d+)\/mqtt/);
    const socket = connectTls({ host: "127.0.0.1", port, ca: readFileSync(gateway.caFile), ALPNProtocols: ["http/1.1"] });
    await once(socket, "secureConnect");
    const client = await WebSocketClient.open(socket);
    const read = async (): Promise<Buffer> => {
      const frame = await client.next();
      if (frame?.opcode !== OPCODE.BINARY) throw new Error("the stream has ended");
      return frame.payload;
    };
    return idle((bytes) => client.send(binary(bytes)), read, () => socket.destroy());
  },
};

t.test("a subscriber that does not read loses the oldest QoS 0 messages, whatever it came by, and nobody else any", { timeout: 180_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2, listeners: { https: "{ host: 127.0.0.1, port: 0 }" } });
  t.teardown(() => gateway.remove());
  const count = 30_000;
  for (const [way, connectIdle] of Object.entries(WAYS)) {
    const before = await gateway.metric("penstock_reactor_deliveries_dropped_total");
    const lazy = await connectIdle(gateway);
    const healthy = await open(gateway, "healthy");
    let taken = 0;
    const whole = new Promise<void>((resolve) => healthy.on("message", () => {
      if (++taken === count) resolve();
    }));
    await healthy.subscribeAsync("flood", { qos: 1 });
    const publisher = await open(gateway, "flooding");
    const payload = Buffer.alloc(1000);
    for (let number = 0; number < count; number++) {
      payload.writeUInt32LE(number);
      // A copy each: MQTT.js sends it later. QoS 1, so that a ring between shards that is full stops the publisher.
      const sent = publisher.publishAsync("flood", Buffer.from(payload), { qos: 1 });
      if (number % 500 === 499) await sent;
    }
    await whole;
    const numbers = await lazy.rest(count - 1);
    const dropped = (await gateway.metric("penstock_reactor_deliveries_dropped_total")) - before;
    t.ok(dropped > 1000, `${way}: ${String(dropped)} dropped`);
    t.equal(numbers.length + dropped, count, "what did not come was counted");
    t.ok(numbers.every((number, index) => index === 0 || number > numbers[index - 1]!), "in order, none twice");
    t.same(numbers.slice(-150), Array.from({ length: 150 }, (_, index) => count - 150 + index), "the newest are there");
    lazy.end();
    for (const client of [healthy, publisher]) await client.endAsync();
  }
  t.same(await gateway.stop(), { code: 0, signal: null });
});
