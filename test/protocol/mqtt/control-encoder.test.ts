import mqttPacket from "mqtt-packet";
import t from "tap";
import { encodeAuth, encodeConnack, encodeDisconnect, encodeSuback, encodeUnsuback } from "../../../src/protocol/mqtt/control-encoder.js";
import { decodeAuth, decodeDisconnect } from "../../../src/protocol/mqtt/control-decoder.js";
import { REASON, REASON_CODES, RETURN_CODE, isReasonCodeOf, reasonName, returnCodeOf } from "../../../src/protocol/mqtt/reason-codes.js";
import { PACKET, PACKET_NAMES } from "../../../src/protocol/mqtt/packet-types.js";
import { frameOf, packetOf } from "./support.js";

const NO_MAXIMUM = 268_435_460;
const hex = (bytes: Buffer): string => bytes.toString("hex");

function parsedBy(version: number, packet: Buffer): mqttPacket.Packet {
  const packets: mqttPacket.Packet[] = [];
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (each) => packets.push(each));
  parser.on("error", (error: Error) => {
    throw error;
  });
  parser.parse(packet);
  return packets[0]!;
}

t.test("CONNACK of 3.1.1 has a return code, and a session only when it accepts", (t) => {
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: REASON.SUCCESS, receiveMaximum: 5 }, 4, NO_MAXIMUM)), hex(packetOf(0x20, "0100")));
  t.equal(hex(encodeConnack({ sessionPresent: false, reasonCode: REASON.SUCCESS }, 4, NO_MAXIMUM)), hex(packetOf(0x20, "0000")));
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: REASON.UNSUPPORTED_VERSION }, 4, NO_MAXIMUM)), hex(packetOf(0x20, "0001")));
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: REASON.SERVER_BUSY, reasonString: "x" }, 4, NO_MAXIMUM)), hex(packetOf(0x20, "0003")));
  t.end();
});

t.test("CONNACK of MQTT 5 says what is given and nothing else", (t) => {
  t.equal(hex(encodeConnack({ sessionPresent: false, reasonCode: REASON.SUCCESS }, 5, NO_MAXIMUM)), hex(packetOf(0x20, "00 00 00")));
  const full = encodeConnack(
    {
      sessionPresent: true, reasonCode: REASON.SUCCESS, sessionExpiry: 3600, receiveMaximum: 20, maximumPacketSize: 65_536, topicAliasMaximum: 10, assignedClientId: "id",
      serverKeepAlive: 30, sharedSubscriptionAvailable: false, responseInformation: "ri", reasonString: "rs", authenticationMethod: "m", authenticationData: Buffer.from("d"),
    },
    5, NO_MAXIMUM,
  );
  const expected = { sessionExpiryInterval: 3600, receiveMaximum: 20, maximumPacketSize: 65_536, topicAliasMaximum: 10, assignedClientIdentifier: "id", serverKeepAlive: 30, sharedSubscriptionAvailable: false, responseInformation: "ri", reasonString: "rs", authenticationMethod: "m", authenticationData: Buffer.from("d") };
  const parsed = parsedBy(5, full) as mqttPacket.IConnackPacket;
  t.same({ ...parsed.properties }, expected);
  t.equal(parsed.sessionPresent, true);
  t.equal(hex(encodeConnack({ sessionPresent: true, reasonCode: REASON.BANNED, serverKeepAlive: undefined }, 5, NO_MAXIMUM)), hex(packetOf(0x20, "00 8a 00")));
  t.end();
});

t.test("a reason string gives way to the client's maximum packet size", (t) => {
  const value = { sessionPresent: false, reasonCode: REASON.NOT_AUTHORIZED, reasonString: "no" };
  t.equal(hex(encodeConnack(value, 5, 10)), hex(packetOf(0x20, "00 87 [1f'no']")));
  t.equal(hex(encodeConnack(value, 5, 9)), hex(packetOf(0x20, "00 87 []")));
  t.equal(hex(encodeDisconnect(REASON.SERVER_SHUTTING_DOWN, "no", 9)), hex(packetOf(0xe0, "8b [1f'no']")));
  t.equal(hex(encodeDisconnect(REASON.SERVER_SHUTTING_DOWN, "no", 8)), hex(packetOf(0xe0, "8b []")));
  t.equal(hex(encodeDisconnect(REASON.SERVER_SHUTTING_DOWN, "", NO_MAXIMUM)), hex(packetOf(0xe0, "8b []")));
  t.end();
});

t.test("SUBACK and UNSUBACK answer each filter in order, in each version's words", (t) => {
  const codes = [REASON.SUCCESS, REASON.GRANTED_QOS_2, REASON.TOPIC_FILTER_INVALID, REASON.GRANTED_QOS_1];
  t.equal(hex(encodeSuback(0x1234, codes, 4)), hex(packetOf(0x90, "1234 00 02 80 01")));
  t.equal(hex(encodeSuback(0x1234, codes, 5)), hex(packetOf(0x90, "1234 [] 00 02 8f 01")));
  const gone = [REASON.SUCCESS, REASON.NO_SUBSCRIPTION_EXISTED];
  t.equal(hex(encodeUnsuback(0xffff, gone, 4)), hex(packetOf(0xb0, "ffff")));
  t.equal(hex(encodeUnsuback(0xffff, gone, 5)), hex(packetOf(0xb0, "ffff [] 00 11")));
  t.end();
});

t.test("AUTH and DISCONNECT come back as they were encoded", (t) => {
  for (const authenticationData of [undefined, Buffer.from("data")]) {
    const packet = encodeAuth({ reasonCode: REASON.CONTINUE_AUTHENTICATION, authenticationMethod: "m", authenticationData });
    t.same(decodeAuth(packet, frameOf(packet), 5), { reasonCode: REASON.CONTINUE_AUTHENTICATION, authenticationMethod: "m", authenticationData, userProperties: [] });
  }
  const packet = encodeDisconnect(REASON.SESSION_TAKEN_OVER, "elsewhere", NO_MAXIMUM);
  t.same(decodeDisconnect(packet, frameOf(packet), 5), { reasonCode: REASON.SESSION_TAKEN_OVER, sessionExpiry: undefined, reasonString: "elsewhere", userProperties: [] });
  t.end();
});

t.test("the table of reason codes agrees with the names, with 3.1.1 and with itself", (t) => {
  t.same(REASON_CODES.map(({ code }) => code), Object.values(REASON), "every code stands in both, in order");
  for (const { code, packets } of REASON_CODES) {
    t.same(PACKET_NAMES.filter((_, type) => isReasonCodeOf(type, code)).sort(), [...packets].sort(), reasonName(code));
  }
  t.equal(isReasonCodeOf(PACKET.PUBACK, 0x7f), false);
  t.equal(reasonName(0x8e), "Session taken over");
  t.equal(reasonName(0x7f), "reason 0x7f");
  t.equal(returnCodeOf(REASON.CLIENT_ID_NOT_VALID), RETURN_CODE.IDENTIFIER_REJECTED);
  t.equal(returnCodeOf(REASON.BAD_CREDENTIALS), RETURN_CODE.BAD_CREDENTIALS);
  t.equal(returnCodeOf(REASON.NOT_AUTHORIZED), RETURN_CODE.NOT_AUTHORIZED);
  t.equal(returnCodeOf(REASON.QUOTA_EXCEEDED), RETURN_CODE.SERVER_UNAVAILABLE);
  for (const reason of [REASON.MALFORMED_PACKET, REASON.PROTOCOL_ERROR, REASON.PACKET_TOO_LARGE, REASON.TOPIC_NAME_INVALID, REASON.QOS_NOT_SUPPORTED]) {
    t.equal(returnCodeOf(reason), null, reasonName(reason));
  }
  t.end();
});
