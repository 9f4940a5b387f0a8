import t from "tap";
import { ACK_SIZE_MAX, AckHead, PINGRESP_SIZE, checkPingreq, readAck, writeAck, writePingresp } from "../../../src/protocol/mqtt/acks.js";
import { PACKET, type AckType, type ProtocolVersion } from "../../../src/protocol/mqtt/packet-types.js";
import { frameOf, outcomeOf, packetOf, refusesEveryCut } from "./support.js";

function read(packet: Buffer, version: ProtocolVersion): { packetId: number; reasonCode: number } {
  const head = new AckHead();
  readAck(packet, frameOf(packet), version, head);
  return { ...head };
}

const ACCEPTED: readonly { readonly name: string; readonly version: ProtocolVersion; readonly first: number; readonly body: string; readonly value: object }[] = [
  { name: "PUBACK", version: 4, first: 0x40, body: "0001", value: { packetId: 1, reasonCode: 0 } },
  { name: "PUBREC", version: 4, first: 0x50, body: "ffff", value: { packetId: 0xffff, reasonCode: 0 } },
  { name: "PUBREL", version: 4, first: 0x62, body: "0100", value: { packetId: 0x100, reasonCode: 0 } },
  { name: "PUBCOMP", version: 4, first: 0x70, body: "0002", value: { packetId: 2, reasonCode: 0 } },
  { name: "v5 PUBACK without a reason code", version: 5, first: 0x40, body: "0001", value: { packetId: 1, reasonCode: 0 } },
  { name: "v5 PUBACK with a reason code, no property length", version: 5, first: 0x40, body: "0001 10", value: { packetId: 1, reasonCode: 0x10 } },
  { name: "v5 PUBREC refused, with an empty property length", version: 5, first: 0x50, body: "0001 97 00", value: { packetId: 1, reasonCode: 0x97 } },
  { name: "v5 PUBREL packet id not found, with a reason string", version: 5, first: 0x62, body: "0001 92 05 1f'no'", value: { packetId: 1, reasonCode: 0x92 } },
  { name: "v5 PUBCOMP with user properties", version: 5, first: 0x70, body: "0001 00 0e 26'k''v' 26'k''v'", value: { packetId: 1, reasonCode: 0 } },
];

for (const { name, version, first, body, value } of ACCEPTED) {
  t.test(`ack accepts: ${name}`, (t) => {
    const packet = packetOf(first, body);
    t.same(read(packet, version), value);
    refusesEveryCut(t, name, packet, (bytes) => read(bytes, version));
    t.end();
  });
}

const MALFORMED = "MQTT_MALFORMED 0x81";
const VIOLATION = "MQTT_PROTOCOL 0x82";
const REFUSED: readonly { readonly name: string; readonly version: ProtocolVersion; readonly first: number; readonly body: string; readonly refusal: string }[] = [
  { name: "[MQTT-2.1.3-1] flags on PUBACK", version: 4, first: 0x42, body: "0001", refusal: MALFORMED },
  { name: "[MQTT-3.6.1-1] PUBREL without its flags", version: 4, first: 0x60, body: "0001", refusal: MALFORMED },
  { name: "[MQTT-2.2.1-3] packet id 0", version: 4, first: 0x40, body: "0000", refusal: VIOLATION },
  { name: "no packet id", version: 4, first: 0x40, body: "", refusal: MALFORMED },
  { name: "half a packet id", version: 5, first: 0x40, body: "00", refusal: MALFORMED },
  { name: "a third byte in 3.1.1", version: 4, first: 0x40, body: "0001 00", refusal: MALFORMED },
  { name: "v5 a reason code of another packet", version: 5, first: 0x40, body: "0001 92", refusal: VIOLATION },
  { name: "v5 a reason code that does not exist", version: 5, first: 0x62, body: "0001 ff", refusal: VIOLATION },
  { name: "v5 properties longer than the packet", version: 5, first: 0x40, body: "0001 00 05 1f0001", refusal: MALFORMED },
  { name: "v5 bytes behind the properties", version: 5, first: 0x40, body: "0001 00 00 00", refusal: MALFORMED },
  { name: "v5 two reason strings", version: 5, first: 0x40, body: "0001 00 08 1f'a' 1f'b'", refusal: VIOLATION },
  { name: "v5 a property of PUBLISH", version: 5, first: 0x40, body: "0001 00 02 0101", refusal: MALFORMED },
];

for (const { name, version, first, body, refusal } of REFUSED) {
  t.test(`ack refuses: ${name}`, (t) => {
    const outcome = outcomeOf(() => read(packetOf(first, body), version));
    t.equal("refusal" in outcome ? outcome.refusal : JSON.stringify(outcome.value), refusal);
    t.end();
  });
}

t.test("acks are written as they are read", (t) => {
  const target = Buffer.alloc(ACK_SIZE_MAX + 1);
  for (const type of [PACKET.PUBACK, PACKET.PUBREC, PACKET.PUBREL, PACKET.PUBCOMP] satisfies AckType[]) {
    const refusal = type === PACKET.PUBREL || type === PACKET.PUBCOMP ? 0x92 : 0x87;
    for (const [version, reasonCode, size] of [[4, 0, 4], [4, refusal, 4], [5, 0, 4], [5, refusal, 5]] as const) {
      t.equal(writeAck(target, 1, type, version, 0xabcd, reasonCode), size);
      t.same(read(Buffer.from(target.subarray(1, 1 + size)), version), { packetId: 0xabcd, reasonCode: version === 4 ? 0 : reasonCode });
    }
  }
  t.equal(writePingresp(target, 2), PINGRESP_SIZE);
  t.equal(target.toString("hex", 2, 4), "d000");
  t.end();
});

t.test("PINGREQ is taken without flags and body only", (t) => {
  checkPingreq(frameOf(packetOf(0xc0, "")));
  for (const packet of [packetOf(0xc1, ""), packetOf(0xc0, "00")]) {
    const outcome = outcomeOf(() => checkPingreq(frameOf(packet)));
    t.equal("refusal" in outcome ? outcome.refusal : "accepted", MALFORMED);
  }
  t.end();
});
