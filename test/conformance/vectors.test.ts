// The vectors on a shard in one thread: as they are, in one record and packet by packet, split at every byte, cut at every byte.
import t, { type Test } from "tap";
import { Frame, nextFrame } from "../../src/protocol/mqtt/fixed-header.js";
import type { ProtocolVersion } from "../../src/protocol/mqtt/packet-types.js";
import { frameOf, packetOf } from "../protocol/mqtt/support.js";
import { TestGateway, type TestClient } from "../shard/harness.js";
import { repliesText } from "./replies.js";
import { packetsOf, repliesOf, VECTORS, type Vector } from "./vectors.js";

/** Hands over whole frames, as the reactor does. */
class Framer {
  private readonly client: TestClient;
  private held: Buffer = Buffer.alloc(0);

  constructor(client: TestClient) {
    this.client = client;
  }

  take(bytes: Buffer): void {
    this.held = Buffer.concat([this.held, bytes]);
    const frame = new Frame();
    let at = 0;
    while (isWhole(this.held, at) && nextFrame(this.held, at, this.held.length, frame)) at = frame.end;
    if (at > 0 && this.client.closeReason === null) this.client.sendBytes(this.held.subarray(0, at));
    this.held = this.held.subarray(at);
  }
}

function isWhole(bytes: Buffer, at: number): boolean {
  let length = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[at + 1 + i];
    if (byte === undefined) return false;
    length += (byte & 0x7f) * 128 ** i;
    if (byte < 0x80) return bytes.length >= at + 2 + i + length;
  }
  return false;
}

/** Opens a connection on which the vector can begin. */
function begin(gateway: TestGateway, vector: Vector, version: ProtocolVersion): TestClient {
  const client = vector.isFirst ? gateway.open(0, version) : gateway.connect("c", { protocolVersion: version });
  client.received.length = 0;
  return client;
}

/** Ends the connection, and the session that it may leave. */
function end(gateway: TestGateway, client: TestClient): void {
  client.cut();
  gateway.connect("c").cut();
}

function resultOf(client: TestClient): string {
  return repliesText(client.received, client.closeReason !== null);
}

function run(gateway: TestGateway, vector: Vector, version: ProtocolVersion, pieces: readonly Buffer[]): string {
  const client = begin(gateway, vector, version);
  const framer = new Framer(client);
  for (const piece of pieces) framer.take(piece);
  const result = resultOf(client);
  end(gateway, client);
  return result;
}

/** Each packet cut at every byte, with its remaining length put right: answered or refused, and whatever follows is served. */
function cuts(t: Test, gateway: TestGateway, vector: Vector, version: ProtocolVersion): void {
  for (const packet of packetsOf(vector.packets, version)) {
    const whole = frameOf(packet);
    for (let size = 0; size < whole.bodyLength; size++) {
      const client = begin(gateway, vector, version);
      client.sendBytes(packetOf(packet[0]!, packet.subarray(whole.bodyAt, whole.bodyAt + size)));
      end(gateway, client);
    }
    for (let size = 1; size < packet.length; size++) {
      const client = begin(gateway, vector, version);
      new Framer(client).take(packet.subarray(0, size));
      if (resultOf(client) !== "") t.fail(`cut at byte ${String(size)} it is answered: ${resultOf(client)}`);
      end(gateway, client);
    }
  }
}

for (const vector of VECTORS) {
  for (const version of vector.versions) {
    void t.test(`MQTT ${version === 5 ? "5.0" : "3.1.1"}: ${vector.name}`, (t) => {
      const gateway = new TestGateway();
      t.teardown(() => gateway.stop());
      const packets = packetsOf(vector.packets, version);
      const expected = repliesOf(vector, version);
      const bytes = Buffer.concat(packets);
      t.equal(run(gateway, vector, version, [bytes]), expected, "in one piece");
      t.equal(run(gateway, vector, version, packets), expected, "packet by packet");
      for (let at = 1; at < bytes.length; at++) {
        const result = run(gateway, vector, version, [bytes.subarray(0, at), bytes.subarray(at)]);
        if (result !== expected) t.equal(result, expected, `split at byte ${String(at)}`);
      }
      cuts(t, gateway, vector, version);
      const healthy = gateway.connect("healthy", { protocolVersion: version });
      t.equal(repliesText(healthy.received, healthy.closeReason !== null), "CONNACK 0x00", "others are served");
      t.end();
    });
  }
}

void t.test("every vector says what it expects in each of its versions", (t) => {
  t.ok(VECTORS.length > 120, `${String(VECTORS.length)} vectors`);
  t.equal(new Set(VECTORS.flatMap(({ name, versions }) => versions.map((version) => `${String(version)} ${name}`))).size, VECTORS.reduce((sum, { versions }) => sum + versions.length, 0), "names are unique");
  t.end();
});
