import t from "tap";
import { Frame, nextFrame } from "../../../src/protocol/mqtt/fixed-header.js";
import { bytesOf, outcomeOf, packetOf } from "./support.js";

t.test("frames of one record follow each other up to its end", (t) => {
  const record = Buffer.concat([bytesOf("eeee"), packetOf(0xc0, ""), packetOf(0x30, Buffer.alloc(200)), packetOf(0x62, "0001"), bytesOf("ee")]);
  const frame = new Frame();
  const found: object[] = [];
  let at = 2;
  while (nextFrame(record, at, record.length - 1, frame)) {
    found.push({ ...frame });
    at = frame.end;
  }
  t.same(found, [
    { at: 2, type: 12, flags: 0, bodyAt: 4, bodyLength: 0, end: 4 },
    { at: 4, type: 3, flags: 0, bodyAt: 7, bodyLength: 200, end: 207 },
    { at: 207, type: 6, flags: 2, bodyAt: 209, bodyLength: 2, end: 211 },
  ]);
  t.end();
});

t.test("a fixed header accepts lengths of one to four bytes", (t) => {
  for (const size of [0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152]) {
    const frame = new Frame();
    const packet = packetOf(0x30, Buffer.alloc(size));
    t.ok(nextFrame(packet, 0, packet.length, frame));
    t.equal(frame.bodyLength, size);
    t.equal(frame.end, packet.length);
  }
  t.end();
});

const REFUSED: readonly (readonly [name: string, bytes: string])[] = [
  ["the first byte alone", "30"],
  ["a length that is cut off", "30 80"],
  ["a length of five bytes [MQTT-1.5.5-1]", "30 80808080 01"],
  ["a length of four bytes that wants a fifth", "30 ffffffff"],
  ["a length that is not minimal, two bytes", "30 8000"],
  ["a length that is not minimal, four bytes", "30 81808000"],
  ["a body that is cut off", "30 02 00"],
  ["the largest length without a body", "30 ffffff7f 00"],
];

for (const [name, bytes] of REFUSED) {
  t.test(`a fixed header refuses: ${name}`, (t) => {
    const packet = bytesOf(bytes);
    const outcome = outcomeOf(() => nextFrame(packet, 0, packet.length, new Frame()));
    t.equal("refusal" in outcome ? outcome.refusal : "accepted", "MQTT_MALFORMED 0x81");
    t.end();
  });
}
