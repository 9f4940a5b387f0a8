import t from "tap";
import { MESSAGE_EXPIRY_NONE, PublishHead } from "../../../src/protocol/mqtt/publish-head.js";
import { copyForwardProperties, readPublish } from "../../../src/protocol/mqtt/publish.js";
import { OutgoingPublish, measurePublish, patchPacketId, writePublish } from "../../../src/protocol/mqtt/publish-writer.js";
import type { ProtocolVersion } from "../../../src/protocol/mqtt/packet-types.js";
import { bytesOf, frameOf, outcomeOf, packetOf, refusesEveryCut } from "./support.js";

/** What a PublishHead points at, as values. */
interface Publish {
  readonly topic: string;
  readonly payload: string;
  readonly qos: number;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
  readonly topicAlias: number;
  readonly messageExpiry: number;
  readonly payloadFormat: number;
  /** Hex. */
  readonly properties: string;
  /** Hex of what is forwarded. */
  readonly forward: string;
}

const PLAIN: Publish = {
  topic: "a/b", payload: "", qos: 0, retain: false, dup: false, packetId: 0, topicAlias: 0, messageExpiry: MESSAGE_EXPIRY_NONE, payloadFormat: 0, properties: "", forward: "",
};

function read(packet: Buffer, version: ProtocolVersion): Publish {
  const head = new PublishHead();
  readPublish(packet, frameOf(packet), version, head);
  const forward = Buffer.alloc(head.forwardLength + 2, 0xee);
  t.equal(copyForwardProperties(forward, 1, packet, head), head.forwardLength);
  t.equal(forward[0], 0xee);
  t.equal(forward.at(-1), 0xee);
  return {
    topic: packet.toString("utf8", head.topicAt, head.topicAt + head.topicLength),
    payload: packet.toString("latin1", head.payloadAt, head.payloadAt + head.payloadLength),
    qos: head.qos, retain: head.retain, dup: head.dup, packetId: head.packetId, topicAlias: head.topicAlias, messageExpiry: head.messageExpiry, payloadFormat: head.payloadFormat,
    properties: packet.toString("hex", head.propertiesAt, head.propertiesAt + head.propertiesLength),
    forward: forward.toString("hex", 1, forward.length - 1),
  };
}

const ACCEPTED: readonly { readonly name: string; readonly version: ProtocolVersion; readonly first: number; readonly body: string; readonly value: Partial<Publish> }[] = [
  { name: "QoS 0", version: 4, first: 0x30, body: `'a/b' "hello"`, value: { payload: "hello" } },
  { name: "no payload", version: 4, first: 0x30, body: `'a/b'`, value: {} },
  { name: "QoS 1", version: 4, first: 0x32, body: `'a/b' 0001 "x"`, value: { qos: 1, packetId: 1, payload: "x" } },
  { name: "QoS 2, DUP, RETAIN", version: 4, first: 0x3d, body: `'a/b' ffff "x"`, value: { qos: 2, packetId: 0xffff, dup: true, retain: true, payload: "x" } },
  { name: "a topic with $, spaces, empty levels", version: 4, first: 0x30, body: `'$x// y/'`, value: { topic: "$x// y/" } },
  { name: "UTF-8 of two, three and four bytes", version: 4, first: 0x30, body: `'ü/日/😀'`, value: { topic: "ü/日/😀" } },
  { name: "a BOM, which stays [MQTT-1.5.4-3]", version: 4, first: 0x30, body: `0003 efbbbf`, value: { topic: "\ufeff" } },
  { name: "the characters beside the surrogates", version: 4, first: 0x30, body: `0006 ed9fbf ee8080`, value: { topic: "\ud7ff\ue000" } },
  { name: "the last character, U+10FFFF", version: 4, first: 0x30, body: `0004 f48fbfbf`, value: { topic: "\u{10ffff}" } },
  { name: "v5 without properties", version: 5, first: 0x30, body: `'a/b' 00 "x"`, value: { payload: "x" } },
  { name: "v5 QoS 1 with a content type", version: 5, first: 0x32, body: `'a/b' 0007 05 03'ab' "x"`, value: { qos: 1, packetId: 7, payload: "x", properties: "0300026162", forward: "0300026162" } },
  { name: "v5 a topic alias alone", version: 5, first: 0x30, body: `'' 03 230005 "x"`, value: { topic: "", topicAlias: 5, payload: "x", properties: "230005" } },
  { name: "v5 alias and expiry around a user property", version: 5, first: 0x30, body: `'a/b' 0f 230005 26'k''v' 020000003c`, value: { topicAlias: 5, messageExpiry: 60, properties: "2300052600016b000176020000003c", forward: "2600016b000176" } },
  { name: "v5 expiry and alias with properties before, between and behind", version: 5, first: 0x30, body: `'a/b' 16 0101 0200000000 26'k''v' 2300ff 09'zz'`, value: { topicAlias: 255, messageExpiry: 0, payloadFormat: 1, properties: "010102000000002600016b0001762300ff0900027a7a", forward: "01012600016b0001760900027a7a" } },
  { name: "v5 the greatest expiry, read as one second less", version: 5, first: 0x30, body: `'a/b' 05 02ffffffff`, value: { messageExpiry: 0xffff_fffe, properties: "02ffffffff" } },
  { name: "v5 the same user property three times", version: 5, first: 0x30, body: `'a/b' 15 26'k''v' 26'k''v' 26'k''v'`, value: { properties: "2600016b000176".repeat(3), forward: "2600016b000176".repeat(3) } },
  { name: "v5 response topic and empty correlation data", version: 5, first: 0x30, body: `'a/b' 07 08'r' 09''`, value: { properties: "08000172090000", forward: "08000172090000" } },
];

for (const { name, version, first, body, value } of ACCEPTED) {
  t.test(`publish accepts: ${name}`, (t) => {
    const packet = packetOf(first, body);
    t.same(read(packet, version), { ...PLAIN, ...value });
    refusesEveryCut(t, name, packet, (bytes) => read(bytes, version));
    t.end();
  });
}

const MALFORMED = "MQTT_MALFORMED 0x81";
const VIOLATION = "MQTT_PROTOCOL 0x82";
const TOPIC_INVALID = "MQTT_PROTOCOL 0x90";
const REFUSED: readonly { readonly name: string; readonly version: ProtocolVersion; readonly first: number; readonly body: string; readonly refusal: string }[] = [
  { name: "[MQTT-3.3.1-4] both QoS bits", version: 4, first: 0x36, body: `'a/b' 0001`, refusal: MALFORMED },
  { name: "[MQTT-3.3.1-2] DUP with QoS 0", version: 4, first: 0x38, body: `'a/b'`, refusal: MALFORMED },
  { name: "[MQTT-2.2.1-3] packet id 0", version: 4, first: 0x32, body: `'a/b' 0000`, refusal: VIOLATION },
  { name: "a packet id that is cut off", version: 4, first: 0x32, body: `'a/b' 00`, refusal: MALFORMED },
  { name: "no body", version: 4, first: 0x30, body: ``, refusal: MALFORMED },
  { name: "a topic longer than the packet", version: 4, first: 0x30, body: `0004 "a/b"`, refusal: MALFORMED },
  { name: "[MQTT-4.7.3-1] an empty topic in 3.1.1", version: 4, first: 0x30, body: `'' "x"`, refusal: TOPIC_INVALID },
  { name: "[MQTT-3.3.2-2] + in the topic", version: 4, first: 0x30, body: `'a/+'`, refusal: TOPIC_INVALID },
  { name: "[MQTT-3.3.2-2] # in the topic", version: 5, first: 0x30, body: `'a#b' 00`, refusal: TOPIC_INVALID },
  { name: "[MQTT-1.5.4-2] U+0000 in the topic", version: 4, first: 0x30, body: `0003 610062`, refusal: MALFORMED },
  { name: "[MQTT-1.5.4-1] a surrogate", version: 4, first: 0x30, body: `0003 eda080`, refusal: MALFORMED },
  { name: "an overlong slash", version: 4, first: 0x30, body: `0002 c0af`, refusal: MALFORMED },
  { name: "an overlong form of three bytes", version: 4, first: 0x30, body: `0003 e09fbf`, refusal: MALFORMED },
  { name: "an overlong form of four bytes", version: 4, first: 0x30, body: `0004 f08fbfbf`, refusal: MALFORMED },
  { name: "beyond U+10FFFF", version: 4, first: 0x30, body: `0004 f4908080`, refusal: MALFORMED },
  { name: "a continuation byte alone", version: 4, first: 0x30, body: `0002 6180`, refusal: MALFORMED },
  { name: "a sequence that the topic's end cuts, though bytes follow", version: 4, first: 0x30, body: `0002 61c3 a9`, refusal: MALFORMED },
  { name: "a third byte that is none", version: 4, first: 0x30, body: `0003 e28228`, refusal: MALFORMED },
  { name: "v5 without a property length", version: 5, first: 0x30, body: `'a/b'`, refusal: MALFORMED },
  { name: "v5 properties longer than the packet", version: 5, first: 0x30, body: `'a/b' 05 0101`, refusal: MALFORMED },
  { name: "v5 a property length that is not minimal", version: 5, first: 0x30, body: `'a/b' 8000`, refusal: MALFORMED },
  { name: "v5 a property length of five bytes", version: 5, first: 0x30, body: `'a/b' 8080808000`, refusal: MALFORMED },
  { name: "v5 an unknown property", version: 5, first: 0x30, body: `'a/b' 02 0401`, refusal: MALFORMED },
  { name: "v5 an identifier above 127", version: 5, first: 0x30, body: `'a/b' 03 810101`, refusal: MALFORMED },
  { name: "v5 a property of CONNECT", version: 5, first: 0x30, body: `'a/b' 03 21000a`, refusal: MALFORMED },
  { name: "v5 the will delay, which belongs to wills", version: 5, first: 0x30, body: `'a/b' 05 1800000001`, refusal: MALFORMED },
  { name: "v5 payload format twice", version: 5, first: 0x30, body: `'a/b' 04 0101 0101`, refusal: VIOLATION },
  { name: "v5 topic alias twice", version: 5, first: 0x30, body: `'a/b' 06 230001 230001`, refusal: VIOLATION },
  { name: "v5 payload format 2", version: 5, first: 0x30, body: `'a/b' 02 0102`, refusal: VIOLATION },
  { name: "v5 [MQTT-3.3.2-8] topic alias 0", version: 5, first: 0x30, body: `'a/b' 03 230000`, refusal: "MQTT_PROTOCOL 0x94" },
  { name: "v5 an empty topic without alias", version: 5, first: 0x30, body: `'' 00 "x"`, refusal: VIOLATION },
  { name: "v5 [MQTT-3.3.4-6] a subscription identifier from a client", version: 5, first: 0x30, body: `'a/b' 02 0b01`, refusal: VIOLATION },
  { name: "v5 [MQTT-3.3.2-14] wildcards in the response topic", version: 5, first: 0x30, body: `'a/b' 06 08'r/#'`, refusal: TOPIC_INVALID },
  { name: "v5 a content type that is no UTF-8", version: 5, first: 0x30, body: `'a/b' 04 03 0001 ff`, refusal: MALFORMED },
  { name: "v5 a user property without its value", version: 5, first: 0x30, body: `'a/b' 04 26'k' "xxxx"`, refusal: MALFORMED },
  { name: "v5 an expiry that the properties' end cuts, though bytes follow", version: 5, first: 0x30, body: `'a/b' 03 020000 003c`, refusal: MALFORMED },
];

for (const { name, version, first, body, refusal } of REFUSED) {
  t.test(`publish refuses: ${name}`, (t) => {
    const outcome = outcomeOf(() => read(packetOf(first, body), version));
    t.equal("refusal" in outcome ? outcome.refusal : JSON.stringify(outcome.value), refusal);
    t.end();
  });
}

t.test("publish refuses more properties than a message record can hold", (t) => {
  const pair = Buffer.concat([bytesOf("26 0001 6b ffff"), Buffer.alloc(0xffff, 0x61)]);
  const atLimit = Buffer.concat([bytesOf("'a/b' ffff03 26 0001 6b fff9"), Buffer.alloc(0xfff9, 0x61)]);
  t.equal(read(packetOf(0x30, atLimit), 5).forward.length, 2 * 0xffff);
  const outcome = outcomeOf(() => read(packetOf(0x30, Buffer.concat([bytesOf("'a/b' 858004"), pair])), 5));
  t.equal("refusal" in outcome ? outcome.refusal : "accepted", "MQTT_TOO_LARGE 0x95");
  t.end();
});

t.test("a head that is used again keeps nothing of the packet before", (t) => {
  const head = new PublishHead();
  const rich = packetOf(0x3d, `'a/b' 0009 0f 230005 26'k''v' 020000003c "x"`);
  readPublish(rich, frameOf(rich), 5, head);
  const plain = packetOf(0x30, `'c'`);
  readPublish(plain, frameOf(plain), 4, head);
  const fresh = new PublishHead();
  readPublish(plain, frameOf(plain), 4, fresh);
  t.same({ ...head }, { ...fresh });
  t.end();
});

t.test("a PUBLISH is written as it is read, from parts that lie in different memory", (t) => {
  const out = new OutgoingPublish();
  out.version = 5;
  out.qos = 1;
  out.retain = true;
  out.packetId = 0x1234;
  out.topicBytes = bytesOf(`"..a/b"`);
  out.topicAt = 2;
  out.topicLength = 3;
  out.propertiesBytes = bytesOf(`ee 26'k''v'`);
  out.propertiesAt = 1;
  out.propertiesLength = 7;
  out.messageExpiry = 60;
  out.subscriptionIdentifiers = [5, 300];
  out.payloadBytes = bytesOf(`"..hello"`);
  out.payloadAt = 2;
  out.payloadLength = 5;
  const target = Buffer.alloc(100, 0xee);
  const size = measurePublish(out);
  t.equal(writePublish(target, 10, out), size);
  t.equal(target.toString("hex", 10, 10 + size), packetOf(0x33, `'a/b' 1234 11 020000003c 0b05 0bac02 26'k''v' "hello"`).toString("hex"));
  t.equal(target[9], 0xee);
  t.equal(target[10 + size], 0xee);
  patchPacketId(target, 10, out.packetIdOffset, 0x4321);
  t.equal(target.toString("hex", 10, 10 + size), packetOf(0x33, `'a/b' 4321 11 020000003c 0b05 0bac02 26'k''v' "hello"`).toString("hex"));

  out.version = 4;
  out.dup = true;
  out.qos = 2;
  t.equal(writePublish(target, 0, (measurePublish(out), out)), out.size);
  t.equal(target.toString("hex", 0, out.size), packetOf(0x3d, `'a/b' 1234 "hello"`).toString("hex"), "nothing of MQTT 5 goes to 3.1.1");
  t.end();
});

t.test("sizes are right where the remaining length grows by a byte", (t) => {
  const out = new OutgoingPublish();
  out.topicBytes = bytesOf(`"t"`);
  out.topicLength = 1;
  out.payloadBytes = Buffer.alloc(0x20_0002, 0x61);
  for (const version of [4, 5] as const) {
    for (const remaining of [127, 128, 16_383, 16_384, 0x1f_ffff, 0x20_0000]) {
      out.version = version;
      out.payloadLength = remaining - 3 - (version === 5 ? 1 : 0);
      const target = Buffer.alloc(measurePublish(out));
      writePublish(target, 0, out);
      t.equal(frameOf(target).bodyLength, remaining);
      t.equal(frameOf(target).end, target.length);
    }
  }
  t.end();
});
