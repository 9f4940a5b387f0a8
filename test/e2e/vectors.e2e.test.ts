// The vectors of test/conformance over sockets, through front and reactor: in one piece, and split in two at a byte that the seed chooses.
// Then what nobody thought of: sequences of vectors' packets, in any order and mutated, beside a client that must not notice.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import mqtt from "mqtt";
import mqttPacket, { type Packet } from "mqtt-packet";
import t, { type Test } from "tap";
import type { ProtocolVersion } from "../../src/protocol/mqtt/packet-types.js";
import { repliesText } from "../conformance/replies.js";
import { packetsOf, repliesOf, VECTORS, type Vector } from "../conformance/vectors.js";
import { type Random, randomOf } from "../protocol/mqtt/support.js";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";

const PINGREQ = Buffer.from([0xc0, 0]);
const FUZZ_ROUNDS = 1200;
/** Connections at once. */
const TOGETHER = 20;

function connectOf(version: ProtocolVersion, clientId: string): Buffer {
  return mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: version, clean: true, keepalive: 0, clientId }, { protocolVersion: version });
}

/** A reset is an end like another. */
function closeOf(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/**
 * Sends pieces, each in a segment of its own where the network allows. Ends when the gateway closed, or when all replies came that are awaited.
 * @param awaited how many, PINGRESP included; acknowledgements wait for the disk, so that PINGRESP may come before them
 */
async function converse(port: number, version: ProtocolVersion, pieces: readonly Buffer[], awaited: number): Promise<{ readonly packets: Packet[]; readonly isClosed: boolean }> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  const packets: Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion: version });
  let isDone = false;
  parser.on("packet", (packet) => {
    packets.push(packet);
    if (packets.length < awaited) return;
    isDone = true;
    socket.destroy();
  });
  // A server's packets are always whole; an error here would be seen as a missing reply.
  parser.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => void parser.parse(chunk));
  socket.on("error", () => socket.destroy());
  const closed = closeOf(socket);
  await Promise.race([once(socket, "connect").catch(() => undefined), closed]);
  for (const piece of pieces) {
    if (socket.destroyed || !socket.writable) break;
    await new Promise<void>((resolve) => socket.write(piece, () => setImmediate(resolve)));
  }
  await closed;
  return { packets, isClosed: !isDone };
}

async function check(t: Test, port: number, vector: Vector, version: ProtocolVersion, random: Random, number: number): Promise<void> {
  const packets = packetsOf(vector.packets, version);
  const expected = repliesOf(vector, version);
  const bytes = Buffer.concat(packets);
  const at = 1 + random.below(bytes.length);
  const isClosing = expected.endsWith("closed");
  const before = vector.isFirst ? [] : [connectOf(version, `v${String(number)}`)];
  const count = before.length + expected.split("; ").filter((reply) => reply !== "").length + 1;
  for (const [how, pieces] of [["in one piece", [bytes]], [`split at byte ${String(at)}`, [bytes.subarray(0, at), bytes.subarray(at)]]] as const) {
    const { packets: got, isClosed } = await converse(port, version, [...before, ...pieces, ...(isClosing ? [] : [PINGREQ])], isClosing ? Number.POSITIVE_INFINITY : count);
    const result = sorted(repliesText(got.slice(before.length), isClosed));
    // What a vector left of a session is not the next one's.
    if (vector.isFirst) await converse(port, 4, [connectOf(4, "c")], 1);
    // The front closes what is no CONNECT without a word (§4.13.1 leaves it free).
    if (result === "closed" && vector.isFirst && expected.endsWith("closed")) continue;
    if (result !== sorted(expected)) t.equal(result, sorted(expected), `MQTT ${String(version)}: ${vector.name}, ${how}`);
  }
}

/** The replies but PINGRESP. Some wait for the disk, some for other shards: their order is looked at where nothing waits (vectors.test.ts). */
function sorted(replies: string): string {
  return replies.split("; ").filter((reply) => reply !== "PINGRESP").sort().join("; ");
}

/** Changes a packet in a few places. */
function mutated(packet: Buffer, random: Random): Buffer {
  let bytes = Buffer.from(packet);
  for (let changes = 1 + random.below(3); changes > 0 && bytes.length > 0; changes--) {
    const at = random.below(bytes.length);
    const kind = random.below(4);
    if (kind === 0) bytes[at] = random.below(256);
    else if (kind === 1) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    else if (kind === 2) bytes = Buffer.concat([bytes.subarray(0, at), random.bytes(1 + random.below(8)), bytes.subarray(at)]);
    else bytes[at]! ^= 1 << random.below(8);
  }
  return bytes;
}

/** One hostile connection: whatever it sends, it ends, by the gateway or by itself. */
async function fuzzOne(port: number, random: Random, number: number): Promise<void> {
  const version = random.pick([4, 5] as const);
  const connectPacket = connectOf(version, random.chance(70) ? `f${String(number)}` : "shared-id");
  const pieces = [random.chance(90) ? connectPacket : mutated(connectPacket, random)];
  for (let count = random.below(12); count > 0; count--) {
    const vector = random.pick(VECTORS);
    for (const packet of packetsOf(vector.packets, random.chance(90) ? version : random.pick([4, 5] as const))) pieces.push(random.chance(40) ? mutated(packet, random) : packet);
  }
  const bytes = Buffer.concat(pieces);
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  socket.on("error", () => socket.destroy());
  socket.resume();
  const closed = closeOf(socket);
  await Promise.race([once(socket, "connect").catch(() => undefined), closed]);
  for (let at = 0; at < bytes.length && !socket.destroyed && socket.writable; ) {
    const size = 1 + random.below(random.chance(50) ? 8 : 200);
    const piece = bytes.subarray(at, at + size);
    await new Promise<void>((resolve) => socket.write(piece, () => setImmediate(resolve)));
    at += size;
  }
  if (random.chance(20)) socket.resetAndDestroy();
  else socket.end();
  await closed;
}

void t.test("vectors and fuzzing over sockets", { timeout: 240_000 }, async (t) => {
  const random = randomOf(t);
  const gateway = await RunningGateway.start({ shards: 2 });
  t.teardown(() => gateway.remove());
  const port = gateway.mqttPort;

  await t.test("every vector has its replies, in one piece and in two", async (t) => {
    let count = 0;
    for (const vector of VECTORS) for (const version of vector.versions) await check(t, port, vector, version, random, count++);
    t.ok(count > 150, `${String(count)} vectors`);
  });

  await t.test(`${String(FUZZ_ROUNDS)} connections with packets out of order and mutated: a healthy client beside them loses nothing`, async (t) => {
    const healthy = await mqtt.connectAsync(`mqtt://127.0.0.1:${String(port)}`, { clientId: "healthy", protocolVersion: 5, reconnectPeriod: 0 });
    await healthy.subscribeAsync("healthy/+", { qos: 2 });
    const got: string[] = [];
    healthy.on("message", (_topic, payload) => got.push(payload.toString()));
    const sent: string[] = [];
    for (let round = 0; round < FUZZ_ROUNDS && healthy.connected; round += TOGETHER) {
      const hostile = Array.from({ length: TOGETHER }, (_, i) => fuzzOne(port, random, round + i));
      for (const qos of [1, 2] as const) {
        sent.push(`${String(round)}/${String(qos)}`);
        await healthy.publishAsync(`healthy/${String(qos)}`, sent.at(-1)!, { qos });
      }
      await Promise.all(hostile);
    }
    while (got.length < sent.length && healthy.connected) await onceOf(healthy, "message");
    t.ok(healthy.connected, "it is still connected");
    t.same([...got].sort(), [...sent].sort(), "every message once");
    await healthy.endAsync();
    const metrics = String((await gateway.get("/metrics")).body);
    t.match(metrics, /^penstock_main_restarts_shard_total(\{[^}]*\})? 0$/m, "no shard was restarted");
  });
  t.same(await gateway.stop(), { code: 0, signal: null });
});
