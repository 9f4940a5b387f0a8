// Mutated packets against every decoder: nothing but ProtocolError is thrown, and nothing outside the frame is looked at.
// The second is seen by giving each packet in three surroundings: what is decoded, or why it is refused, must not depend on them.
import t from "tap";
import { AckHead, checkPingreq, readAck } from "../../../src/protocol/mqtt/acks.js";
import { connackVersion, decodeAuth, decodeConnect, decodeDisconnect, decodeSubscribe, decodeUnsubscribe } from "../../../src/protocol/mqtt/control-decoder.js";
import { Frame, nextFrame } from "../../../src/protocol/mqtt/fixed-header.js";
import { PACKET, PACKET_NAMES, type ProtocolVersion } from "../../../src/protocol/mqtt/packet-types.js";
import { PublishHead } from "../../../src/protocol/mqtt/publish-head.js";
import { copyForwardProperties, readPublish } from "../../../src/protocol/mqtt/publish.js";
import { outcomeOf, packetOf, randomOf, type Random } from "./support.js";

const MUTATIONS = 40_000;
/** Another seed by PENSTOCK_SEED. */
const SEED = 20_240_229;
const MARGIN = 16;

const CORPUS: readonly Buffer[] = [
  packetOf(0x10, `'MQTT' 04 f6 003c 'client' 'will/topic' 'bye' 'me' 'pass'`),
  packetOf(0x10, `'MQTT' 05 c6 003c [1100000e10 210014 2700010000 22000a 1901 1700 15'SCRAM' 16'data' 26'k''v' 26'ü''😀'] 'c' [0101 180000000a 26'k''v' 020000003c 03'x' 08'r' 09'id'] 'w' 'bye' 'me' 'pass'`),
  packetOf(0x30, `'devices/d1/telemetry' "{}"`),
  packetOf(0x3d, `'devices/日本/telemetry' 0102 "{}"`),
  packetOf(0x33, `'a/b' 0102 [0101 230005 26'k''v' 020000003c 03'text/plain' 08'r/s' 09'id' 26'k''w'] "hello"`),
  packetOf(0x30, `'' [230005] "x"`),
  packetOf(0x40, "0102"),
  packetOf(0x50, "0102 97 [1f'no' 26'k''v']"),
  packetOf(0x62, "0102 92"),
  packetOf(0x70, "0102 00 []"),
  packetOf(0x82, `0102 'a/b' 01 '$share/g/+' 02`),
  packetOf(0x82, `0102 [0bac02 26'k''v'] 'a/+/#' 2e '$share/g/b' 18`),
  packetOf(0xa2, `0102 'a/b' '#'`),
  packetOf(0xa2, `0102 [26'k''v'] 'a/b'`),
  packetOf(0xc0, ""),
  packetOf(0xe0, ""),
  packetOf(0xe0, `81 [110000000a 1f'x' 26'k''v' 1c'elsewhere']`),
  packetOf(0xf0, `18 [15'SCRAM' 16'data' 1f'x' 26'k''v']`),
];

/** Bytes at which decoders branch. */
const TELLING: readonly number[] = [0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x0b, 0x11, 0x23, 0x26, 0x2b, 0x2f, 0x7f, 0x80, 0x81, 0xc0, 0xc2, 0xe0, 0xed, 0xf0, 0xf4, 0xff];

function mutated(random: Random): Buffer {
  let packet = Buffer.from(random.pick(CORPUS));
  for (let i = random.below(4); i >= 0; i--) {
    const at = random.below(packet.length);
    const how = random.below(6);
    if (how === 0) packet[at]! ^= 1 << random.below(8);
    else if (how === 1) packet[at] = random.pick(TELLING);
    else if (how === 2) packet = Buffer.concat([packet.subarray(0, at), random.bytes(1 + random.below(4)), packet.subarray(at)]);
    else if (how === 3) packet = Buffer.concat([packet.subarray(0, at), packet.subarray(at + 1 + random.below(4))]);
    else if (how === 4) packet = Buffer.concat([packet.subarray(0, at), random.pick(CORPUS).subarray(random.below(4))]);
    else packet = packet.subarray(0, at + 1);
    if (packet.length === 0) packet = Buffer.from([0xc0, 0]);
  }
  // Mostly with the right length in front: else the framer refuses nearly all.
  return random.chance(85) && packet.length > 2 && packet[1]! < 0x80 ? packetOf(packet[0]!, packet.subarray(2)) : packet;
}

function decode(bytes: Buffer, at: number, end: number, version: ProtocolVersion): unknown {
  const frame = new Frame();
  if (!nextFrame(bytes, at, end, frame)) return "nothing";
  switch (frame.type) {
    case PACKET.CONNECT:
      return [connackVersion(bytes, frame), outcomeOf(() => decodeConnect(bytes, frame))];
    case PACKET.PUBLISH: {
      const head = new PublishHead();
      readPublish(bytes, frame, version, head);
      const forward = Buffer.alloc(head.forwardLength);
      copyForwardProperties(forward, 0, bytes, head);
      return { ...head, forward };
    }
    case PACKET.PUBACK:
    case PACKET.PUBREC:
    case PACKET.PUBREL:
    case PACKET.PUBCOMP: {
      const head = new AckHead();
      readAck(bytes, frame, version, head);
      return { ...head };
    }
    case PACKET.SUBSCRIBE:
      return decodeSubscribe(bytes, frame, version);
    case PACKET.UNSUBSCRIBE:
      return decodeUnsubscribe(bytes, frame, version);
    case PACKET.PINGREQ:
      checkPingreq(frame);
      return "ping";
    case PACKET.DISCONNECT:
      return decodeDisconnect(bytes, frame, version);
    case PACKET.AUTH:
      return decodeAuth(bytes, frame, version);
    default:
      return "not for a server";
  }
}

t.test(`${MUTATIONS} mutated packets are decoded or refused, whatever lies around them`, (t) => {
  const random = randomOf(t, SEED);
  const surroundings = [Buffer.alloc(4096), Buffer.alloc(4096, 0xff), random.bytes(4096)];
  const decoded = new Map<number, number>();
  const refused = new Map<number, number>();
  for (let round = 0; round < MUTATIONS; round++) {
    const packet = mutated(random);
    if (packet.length > 4096 - 2 * MARGIN) continue;
    const version = random.pick([4, 5] as const);
    const outcomes = surroundings.map((surrounding) => {
      const bytes = Buffer.from(surrounding);
      packet.copy(bytes, MARGIN);
      try {
        return JSON.stringify(outcomeOf(() => decode(bytes, MARGIN, MARGIN + packet.length, version)));
      } catch (error) {
        t.fail(`round ${round}, version ${version}: ${packet.toString("hex")} threw ${String(error)}`);
        return "";
      }
    });
    if (outcomes[0] !== outcomes[1] || outcomes[0] !== outcomes[2]) t.fail(`round ${round}, version ${version}: ${packet.toString("hex")} depends on what lies around it`);
    const counts = outcomes[0]!.includes('"refusal"') ? refused : decoded;
    const type = packet[0]! >> 4;
    counts.set(type, (counts.get(type) ?? 0) + 1);
    if (!t.passing()) break;
  }
  // A fuzzer that only ever sees one outcome tests nothing.
  for (const type of [PACKET.CONNECT, PACKET.PUBLISH, PACKET.PUBACK, PACKET.PUBREL, PACKET.SUBSCRIBE, PACKET.UNSUBSCRIBE, PACKET.DISCONNECT, PACKET.AUTH]) {
    const counts = [decoded.get(type) ?? 0, refused.get(type) ?? 0] as const;
    t.ok(counts[0] > 20 && counts[1] > 20, `${String(PACKET_NAMES[type])}: ${counts.join(" decoded, ")} refused`);
  }
  t.end();
});
