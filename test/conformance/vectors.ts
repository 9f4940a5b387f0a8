// Test vectors of the server side of MQTT: bytes in, replies out. Driven by vectors.test.ts (shards in one thread) and test/e2e/vectors.e2e.test.ts
// (sockets). Marks: [MQTT-x.y.z-n] is a clause of MQTT 5.0, [MQTT3-x.y.z-n] one of MQTT 3.1.1; vectors that run in both versions bear both.
//
// `packets`: packets separated by ";", each "first byte: body", the body as `bytesOf` of test/protocol/mqtt/support.ts reads it; @ stands for the
// empty property section of MQTT 5, and for nothing in 3.1.1. A client with id "c" has connected before, unless `isFirst`.
// `replies`: what comes back, separated by "; ", then "closed" if the connection ends.
import type { ProtocolVersion } from "../../src/protocol/mqtt/packet-types.js";
import { packetOf } from "../protocol/mqtt/support.js";

export interface Vector {
  readonly name: string;
  readonly versions: readonly ProtocolVersion[];
  readonly packets: string;
  readonly replies: string;
  readonly isFirst: boolean;
}

const BOTH: readonly ProtocolVersion[] = [4, 5];
const ONLY4: readonly ProtocolVersion[] = [4];
const ONLY5: readonly ProtocolVersion[] = [5];

/** The bytes of a vector in one version, a packet each. */
export function packetsOf(packets: string, version: ProtocolVersion): Buffer[] {
  return packets.split(";").map((packet) => {
    const [first, body] = packet.split(/:(.*)/su);
    return packetOf(Number.parseInt(first!.trim(), 16), (body ?? "").replaceAll("@", version === 5 ? "00" : ""));
  });
}

/** What MQTT 5 hears before the connection is closed for this reason; 3.1.1 hears nothing. */
function closedFor(reason: string, version: ProtocolVersion): string {
  return version === 5 ? `DISCONNECT ${reason}; closed` : "closed";
}

/** @param replies "!0x81" stands for a close with that reason code. */
export function repliesOf(vector: Vector, version: ProtocolVersion): string {
  return vector.replies.replace(/!(0x[0-9a-f]{2})/u, (_, reason: string) => closedFor(reason, version));
}

function vector(versions: readonly ProtocolVersion[], name: string, packets: string, replies: string): Vector {
  return { name, versions, packets, replies, isFirst: false };
}

function first(versions: readonly ProtocolVersion[], name: string, packets: string, replies: string): Vector {
  return { name, versions, packets, replies, isFirst: true };
}

const MQTT5 = `10: 'MQTT' 05`;
const MQTT4 = `10: 'MQTT' 04`;

const CONNECTS: readonly Vector[] = [
  first(ONLY4, "CONNECT is answered by CONNACK with return code 0 [MQTT3-3.1.4-4] [MQTT3-3.2.0-1] [MQTT3-3.2.2-1]", `${MQTT4} 02 003c 'c'`, "CONNACK 0x00"),
  first(ONLY5, "CONNECT is answered by CONNACK with Success [MQTT-3.1.4-5] [MQTT-3.2.0-1] [MQTT-3.2.2-2]", `${MQTT5} 02 003c 00 'c'`, "CONNACK 0x00"),
  first(ONLY4, "a session that is not known is begun, session present is 0 [MQTT3-3.2.2-3]", `${MQTT4} 00 003c 'c'`, "CONNACK 0x00"),
  first(ONLY5, "a session that is not known is begun, session present is 0 [MQTT-3.1.2-6] [MQTT-3.2.2-3]", `${MQTT5} 00 003c 00 'c'`, "CONNACK 0x00"),
  first(BOTH, "the first packet is not CONNECT [MQTT-3.1.0-1] [MQTT3-3.1.0-1]", "c0:", "closed"),
  first(BOTH, "a PUBLISH before CONNECT [MQTT-3.1.0-1] [MQTT3-3.1.0-1] [MQTT-3.14.0-1]", `30: 't' @ "x"`, "closed"),
  vector(ONLY4, "a second CONNECT [MQTT3-3.1.0-2] [MQTT3-4.8.0-1]", `${MQTT4} 02 003c 'c'`, "closed"),
  vector(ONLY5, "a second CONNECT [MQTT-3.1.0-2] [MQTT-3.2.0-2] [MQTT-4.13.2-1]", `${MQTT5} 02 003c 00 'c'`, "!0x82"),
  first(ONLY4, "another protocol name [MQTT3-3.1.2-1]", `10: 'MQTQ' 04 02 003c 'c'`, "closed"),
  first(ONLY5, "another protocol name [MQTT-3.1.2-1]", `10: 'MQTQ' 05 02 003c 00 'c'`, "closed"),
  first(ONLY4, "a level that is not spoken here is answered with return code 1 [MQTT3-3.1.2-2] [MQTT3-3.2.2-4] [MQTT3-3.2.2-5]", `10: 'MQTT' 03 02 003c 'c'`, "CONNACK 0x01; closed"),
  first(ONLY5, "a level that is not spoken here is answered with 0x84 [MQTT-3.1.2-2] [MQTT-3.2.2-6] [MQTT-3.2.2-7] [MQTT-3.2.2-8]", `10: 'MQTT' 06 02 003c 00 'c'`, "CONNACK 0x84; closed"),
  first(ONLY4, "an MQTT 3.1 client is served", `10: 'MQIsdp' 03 02 003c 'c'; 82: 0001 't' 00; 8a: 0002 'u' 01; c0:`, "CONNACK 0x00; SUBACK 1 [0]; SUBACK 2 [1]; PINGRESP"),
  first(ONLY4, "an MQTT 3.1 client without an id is refused", `10: 'MQIsdp' 03 02 003c ''`, "CONNACK 0x02; closed"),
  first(ONLY4, "a bridge of mosquitto is served, and does not get back what it publishes", `10: 'MQTT' 84 02 003c 'c'; 82: 0001 '#' 00; 30: 't' "x"; c0:`, "CONNACK 0x00; SUBACK 1 [0]; PINGRESP"),
  first(ONLY4, "the reserved connect flag [MQTT3-3.1.2-3] [MQTT3-3.1.4-1]", `${MQTT4} 03 003c 'c'`, "closed"),
  first(ONLY5, "the reserved connect flag [MQTT-3.1.2-3] [MQTT-3.1.4-1]", `${MQTT5} 03 003c 00 'c'`, "CONNACK 0x81; closed"),
  first(BOTH, "flags in the fixed header of CONNECT [MQTT-2.1.3-1] [MQTT3-2.2.2-2]", `1f: 'MQTT' 04 02 003c 'c'`, "closed"),
  first(ONLY5, "flags in the fixed header of a v5 CONNECT [MQTT-2.1.3-1]", `11: 'MQTT' 05 02 003c 00 'c'`, "CONNACK 0x81; closed"),
  first(ONLY4, "will flags without a will: QoS [MQTT3-3.1.2-11] [MQTT3-3.1.2-13]", `${MQTT4} 0a 003c 'c'`, "closed"),
  first(ONLY4, "will flags without a will: retain [MQTT3-3.1.2-15]", `${MQTT4} 22 003c 'c'`, "closed"),
  first(ONLY5, "will flags without a will: QoS [MQTT-3.1.2-11]", `${MQTT5} 0a 003c 00 'c'`, "CONNACK 0x81; closed"),
  first(ONLY5, "will flags without a will: retain [MQTT-3.1.2-13]", `${MQTT5} 22 003c 00 'c'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a will of QoS 3 [MQTT3-3.1.2-14]", `${MQTT4} 1e 003c 'c' 'w' 'x'`, "closed"),
  first(ONLY5, "a will of QoS 3 [MQTT-3.1.2-12]", `${MQTT5} 1e 003c 00 'c' 00 'w' 'x'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a will that its fields do not follow [MQTT3-3.1.2-9]", `${MQTT4} 06 003c 'c'`, "closed"),
  first(ONLY5, "a will that its fields do not follow [MQTT-3.1.2-9]", `${MQTT5} 06 003c 00 'c'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a user name that the flag does not announce [MQTT3-3.1.2-18]", `${MQTT4} 02 003c 'c' 'me'`, "closed"),
  first(ONLY5, "a user name that the flag does not announce [MQTT-3.1.2-16]", `${MQTT5} 02 003c 00 'c' 'me'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a user name that is announced and missing [MQTT3-3.1.2-19]", `${MQTT4} 82 003c 'c'`, "closed"),
  first(ONLY5, "a user name that is announced and missing [MQTT-3.1.2-17]", `${MQTT5} 82 003c 00 'c'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a password that the flag does not announce [MQTT3-3.1.2-20]", `${MQTT4} 82 003c 'c' 'me' 'pass'`, "closed"),
  first(ONLY5, "a password that the flag does not announce [MQTT-3.1.2-18]", `${MQTT5} 82 003c 00 'c' 'me' 'pass'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a password that is announced and missing [MQTT3-3.1.2-21]", `${MQTT4} c2 003c 'c' 'me'`, "closed"),
  first(ONLY5, "a password that is announced and missing [MQTT-3.1.2-19]", `${MQTT5} c2 003c 00 'c' 'me'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a password without a user name [MQTT3-3.1.2-22]", `${MQTT4} 42 003c 'c' 'pass'`, "closed"),
  first(ONLY4, "fields in their order [MQTT3-3.1.3-1]", `${MQTT4} 06 003c 'c' 'w' 'bye'`, "CONNACK 0x00"),
  first(ONLY5, "fields in their order [MQTT-3.1.3-1]", `${MQTT5} 06 003c 00 'c' 00 'w' 'bye'`, "CONNACK 0x00"),
  first(ONLY4, "no client id at all [MQTT3-3.1.3-3]", `${MQTT4} 02 003c`, "closed"),
  first(ONLY5, "no client id at all [MQTT-3.1.3-3]", `${MQTT5} 02 003c 00`, "CONNACK 0x81; closed"),
  first(ONLY4, "a client id that is no UTF-8 [MQTT3-3.1.3-4] [MQTT3-1.5.3-1]", `${MQTT4} 02 003c 0002 c328`, "closed"),
  first(ONLY5, "a client id that is no UTF-8 [MQTT-3.1.3-4]", `${MQTT5} 02 003c 00 0002 c328`, "CONNACK 0x81; closed"),
  first(ONLY4, "a client id with U+0000 [MQTT3-1.5.3-2]", `${MQTT4} 02 003c 0002 6300`, "closed"),
  first(ONLY4, "a client id of 23 letters and digits [MQTT3-3.1.3-5]", `${MQTT4} 02 003c '0189abyzABYZ0189abyzABY'`, "CONNACK 0x00"),
  first(ONLY5, "a client id of 23 letters and digits [MQTT-3.1.3-5]", `${MQTT5} 02 003c 00 '0189abyzABYZ0189abyzABY'`, "CONNACK 0x00"),
  first(ONLY4, "an empty client id with a clean session [MQTT3-3.1.3-6]", `${MQTT4} 02 003c ''`, "CONNACK 0x00"),
  first(ONLY4, "an empty client id without a clean session [MQTT3-3.1.3-7] [MQTT3-3.1.3-8] [MQTT3-3.1.3-9]", `${MQTT4} 00 003c ''`, "CONNACK 0x02; closed"),
  first(ONLY4, "a will topic that is no UTF-8 [MQTT3-3.1.3-10]", `${MQTT4} 06 003c 'c' 0002 c328 'x'`, "closed"),
  first(ONLY5, "a will topic that is no UTF-8 [MQTT-3.1.3-11]", `${MQTT5} 06 003c 00 'c' 00 0002 c328 'x'`, "CONNACK 0x81; closed"),
  first(ONLY4, "a user name that is no UTF-8 [MQTT3-3.1.3-11]", `${MQTT4} 82 003c 'c' 0002 c328`, "closed"),
  first(ONLY5, "a user name that is no UTF-8 [MQTT-3.1.3-12]", `${MQTT5} 82 003c 00 'c' 0002 c328`, "CONNACK 0x81; closed"),
  first(ONLY5, "a will topic with a wildcard [MQTT-4.7.0-1]", `${MQTT5} 06 003c 00 'c' 00 'w/#' 'x'`, "CONNACK 0x90; closed"),
  first(BOTH, "what follows a refused CONNECT is not looked at [MQTT-3.1.4-6] [MQTT3-3.1.4-5] [MQTT-3.1.4-2]", `10: 'MQTT' 04 00 003c ''; c0:`, "CONNACK 0x02; closed"),
  first(ONLY5, "a property that CONNECT cannot have is malformed (§2.2.2.2)", `${MQTT5} 02 003c [0101] 'c'`, "CONNACK 0x81; closed"),
  first(ONLY5, "an unknown property is malformed (§2.2.2.2)", `${MQTT5} 02 003c [3f01] 'c'`, "CONNACK 0x81; closed"),
  first(ONLY5, "a property that stands twice (§3.1.2.11)", `${MQTT5} 02 003c [1100000001 1100000001] 'c'`, "CONNACK 0x82; closed"),
  first(ONLY5, "a receive maximum of 0 (§3.1.2.11.3)", `${MQTT5} 02 003c [210000] 'c'`, "CONNACK 0x82; closed"),
  first(ONLY5, "a maximum packet size of 0 (§3.1.2.11.4)", `${MQTT5} 02 003c [2700000000] 'c'`, "CONNACK 0x82; closed"),
  first(ONLY5, "request problem information of 2 (§3.1.2.11.7)", `${MQTT5} 02 003c [1702] 'c'`, "CONNACK 0x82; closed"),
  first(ONLY5, "an authentication method that is not known [MQTT-4.12.0-1] [MQTT-4.12.0-4]", `${MQTT5} 02 003c [15'none such'] 'c'`, "CONNACK 0x8c; closed"),
  first(ONLY5, "authentication data without a method (§3.1.2.11.10)", `${MQTT5} 02 003c [16'x'] 'c'`, "CONNACK 0x82; closed"),
  first(ONLY5, "a property section that is cut off [MQTT-2.2.2-1]", `${MQTT5} 02 003c 05 1100`, "CONNACK 0x81; closed"),
];

const PUBLISHES: readonly Vector[] = [
  vector(BOTH, "QoS 0 has no answer [MQTT-3.3.4-1] [MQTT3-3.3.4-1] [MQTT-2.2.1-2] [MQTT3-2.3.1-5]", `30: 't' @ "x"; c0:`, "PINGRESP"),
  vector(BOTH, "QoS 1 is answered by PUBACK with its packet id [MQTT-4.3.2-4] [MQTT3-4.3.2-2] [MQTT-2.2.1-5] [MQTT3-2.3.1-6] [MQTT-3.4.2-1]", `32: 't' 1234 @ "x"`, "PUBACK 4660"),
  vector(BOTH, "QoS 2 takes its four steps [MQTT-4.3.3-8] [MQTT-4.3.3-11] [MQTT3-4.3.3-2] [MQTT-3.5.2-1] [MQTT-3.7.2-1]", `34: 't' 1234 @ "x"; 62: 1234`, "PUBREC 4660; PUBCOMP 4660"),
  vector(BOTH, "a packet id is free again after PUBACK [MQTT-4.3.2-5]", `32: 't' 0001 @ "x"; 3a: 't' 0001 @ "y"`, "PUBACK 1; PUBACK 1"),
  vector(BOTH, "a packet id is free again after PUBCOMP [MQTT-4.3.3-12]", `34: 't' 0001 @; 62: 0001; 34: 't' 0001 @; 62: 0001`, "PUBREC 1; PUBCOMP 1; PUBREC 1; PUBCOMP 1"),
  vector(BOTH, "a repeated QoS 2 PUBLISH gets PUBREC again [MQTT-4.3.3-10] [MQTT3-4.3.3-2]", `34: 't' 0001 @; 3c: 't' 0001 @`, "PUBREC 1; PUBREC 1"),
  vector(BOTH, "acknowledgements leave in the order of the PUBLISHes [MQTT-4.6.0-2] [MQTT-4.6.0-3] [MQTT3-4.6.0-2] [MQTT3-4.6.0-3]", `32: 't' 0007 @; 34: 't' 0003 @; 32: 't' 0005 @; 34: 't' 0001 @`, "PUBACK 7; PUBREC 3; PUBACK 5; PUBREC 1"),
  vector(ONLY4, "PUBREL with an id that is not known ends the flow", "62: 0009", "PUBCOMP 9"),
  vector(ONLY5, "PUBREL with an id that is not known (§4.3.3)", "62: 0009", "PUBCOMP 9 0x92"),
  vector(ONLY4, "PUBREC with an id that is not known goes on", "50: 0009", "PUBREL 9"),
  vector(ONLY5, "PUBREC with an id that is not known [MQTT-3.6.2-1]", "50: 0009", "PUBREL 9 0x92"),
  vector(BOTH, "PUBACK and PUBCOMP with ids that are not known are passed over (§4.3)", "40: 0009; 70: 0009; c0:", "PINGRESP"),
  vector(BOTH, "both QoS bits [MQTT-3.3.1-4] [MQTT3-3.3.1-4] [MQTT-4.13.1-1]", `36: 't' 0001 @`, "!0x81"),
  vector(BOTH, "DUP with QoS 0 [MQTT-3.3.1-2] [MQTT3-3.3.1-2]", `38: 't' @`, "!0x81"),
  vector(BOTH, "packet id 0 [MQTT-2.2.1-3] [MQTT3-2.3.1-1]", `32: 't' 0000 @`, "!0x82"),
  vector(BOTH, "no packet id with QoS 1 [MQTT3-2.3.1-1]", `32: 't'`, "!0x81"),
  vector(BOTH, "a topic that is no UTF-8 [MQTT-3.3.2-1] [MQTT3-3.3.2-1] [MQTT-1.5.4-1] [MQTT3-1.5.3-1]", `30: 0002 c328 @`, "!0x81"),
  vector(BOTH, "a topic with a surrogate [MQTT-1.5.4-1] [MQTT3-1.5.3-1]", `30: 0003 eda080 @`, "!0x81"),
  vector(BOTH, "a topic in overlong form [MQTT-1.5.4-1] [MQTT3-1.5.3-1]", `30: 0002 c0af @`, "!0x81"),
  vector(BOTH, "a topic with U+0000 [MQTT-1.5.4-2] [MQTT3-1.5.3-2] [MQTT-4.7.3-2] [MQTT3-4.7.3-2]", `30: 0003 610062 @`, "!0x81"),
  vector(BOTH, "a topic with # [MQTT-3.3.2-2] [MQTT3-3.3.2-2] [MQTT-4.7.0-1] [MQTT3-4.7.1-1]", `30: 'a/#' @`, "!0x90"),
  vector(BOTH, "a topic with + [MQTT-3.3.2-2] [MQTT3-3.3.2-2] [MQTT-4.7.0-1] [MQTT3-4.7.1-1]", `30: '+/a' @`, "!0x90"),
  vector(ONLY4, "an empty topic [MQTT3-4.7.3-1]", `30: ''`, "closed"),
  vector(ONLY5, "an empty topic without an alias [MQTT-4.7.3-1]", `30: '' 00`, "!0x82"),
  vector(ONLY5, "topic alias 0 [MQTT-3.3.2-8]", `30: 't' [230000]`, "!0x94"),
  vector(ONLY5, "a topic alias above the maximum [MQTT-3.3.2-9] [MQTT-3.2.2-17]", `30: 't' [230021]`, "!0x94"),
  vector(ONLY5, "a topic alias that has no topic yet (§3.3.2.3.4)", `30: '' [230001]`, "!0x82"),
  vector(ONLY5, "every alias up to the maximum is taken [MQTT-3.3.2-12]", `32: 't' 0001 [230001]; 32: 'u' 0002 [230020]; 32: '' 0003 [230001]; 32: '' 0004 [230020]`, "PUBACK 1; PUBACK 2; PUBACK 3; PUBACK 4"),
  vector(ONLY5, "a subscription identifier in a client's PUBLISH [MQTT-3.3.4-6]", `30: 't' [0b01]`, "!0x82"),
  vector(ONLY5, "a payload format of 2 (§3.3.2.3.2)", `30: 't' [0102]`, "!0x82"),
  vector(ONLY5, "a response topic with a wildcard [MQTT-3.3.2-14]", `30: 't' [08'r/+']`, "!0x90"),
  vector(ONLY5, "a response topic that is no UTF-8 [MQTT-3.3.2-13]", `30: 't' [08 0002 c328]`, "!0x81"),
  vector(ONLY5, "a content type that is no UTF-8 [MQTT-3.3.2-19]", `30: 't' [03 0002 c328]`, "!0x81"),
  vector(ONLY5, "a user property whose name is no UTF-8 [MQTT-1.5.7-1]", `30: 't' [26 0002 c328 'v']`, "!0x81"),
  vector(ONLY5, "a user property whose value is no UTF-8 [MQTT-1.5.7-1]", `30: 't' [26 'k' 0002 c328]`, "!0x81"),
  vector(ONLY5, "message expiry twice (§3.3.2.3.3)", `30: 't' [0200000001 0200000001]`, "!0x82"),
  vector(ONLY5, "a property that PUBLISH cannot have (§2.2.2.2)", `30: 't' [1100000001]`, "!0x81"),
  vector(ONLY5, "a property length that is not minimal [MQTT-1.5.5-1]", `30: 't' 8000`, "!0x81"),
  vector(BOTH, "PUBACK with flags [MQTT-2.1.3-1] [MQTT3-2.2.2-1] [MQTT3-2.2.2-2]", "42: 0001", "!0x81"),
  vector(BOTH, "PUBREL without its flags [MQTT-3.6.1-1] [MQTT3-3.6.1-1]", "60: 0001", "!0x81"),
  vector(BOTH, "PUBREL with all flags [MQTT-3.6.1-1] [MQTT3-3.6.1-1]", "6f: 0001", "!0x81"),
  vector(BOTH, "an acknowledgement of packet id 0 [MQTT-2.2.1-5]", "40: 0000", "!0x82"),
  vector(ONLY4, "bytes behind an acknowledgement", "40: 000100", "closed"),
  vector(ONLY5, "PUBACK with a reason code that it cannot have [MQTT-3.4.2-1]", "40: 0001 92", "!0x82"),
  vector(ONLY5, "PUBREC with a reason code that it cannot have [MQTT-3.5.2-1]", "50: 0001 18", "!0x82"),
  vector(ONLY5, "PUBREL with a reason code that it cannot have [MQTT-3.6.2-1]", "62: 0001 87", "!0x82"),
  vector(ONLY5, "PUBCOMP with a reason code that it cannot have [MQTT-3.7.2-1]", "70: 0001 10", "!0x82"),
];

const SUBSCRIPTIONS: readonly Vector[] = [
  vector(BOTH, "SUBSCRIBE is answered by SUBACK with its id and a code for each filter, in order [MQTT-3.8.4-1] [MQTT-3.8.4-2] [MQTT-3.8.4-5] [MQTT-3.8.4-6] [MQTT-3.8.4-7] [MQTT-3.9.3-1] [MQTT-2.2.1-6] [MQTT3-3.8.4-1] [MQTT3-3.8.4-2] [MQTT3-3.8.4-4] [MQTT3-3.8.4-5] [MQTT3-3.9.3-1] [MQTT3-2.3.1-7]", `82: 0009 @ 'a' 02 'b' 00 'c' 01`, "SUBACK 9 [2 0 1]"),
  vector(ONLY4, "# and + are granted where they are placed rightly [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-3.8.3-2]", `82: 0001 '#' 00 '+' 00 'a/#' 00 'a/+/b' 00 '/+' 00 '+/+/#' 00`, "SUBACK 1 [0 0 0 0 0 0]"),
  vector(ONLY5, "# and + are granted where they are placed rightly [MQTT-4.7.1-1] [MQTT-4.7.1-2]", `82: 0001 00 '#' 00 '+' 00 'a/#' 00 'a/+/b' 00 '/+' 00 '+/+/#' 00`, "SUBACK 1 [0 0 0 0 0 0]"),
  vector(ONLY4, "misplaced wildcards are refused, each for itself [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-3.9.3-2]", `82: 0001 'a#' 00 'a/#/b' 01 'a+' 02 'b' 00`, "SUBACK 1 [128 128 128 0]"),
  vector(ONLY5, "misplaced wildcards are refused, each for itself [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-3.9.3-2]", `82: 0001 00 'a#' 00 'a/#/b' 01 'a+' 02 'b' 00`, "SUBACK 1 [143 143 143 0]"),
  vector(BOTH, "SUBSCRIBE without its flags [MQTT-3.8.1-1] [MQTT3-3.8.1-1]", `80: 0001 @ 'a' 00`, "!0x81"),
  vector(BOTH, "SUBSCRIBE with DUP [MQTT-3.8.1-1] [MQTT3-3.8.1-1]", `8a: 0001 @ 'a' 00`, "!0x81"),
  vector(BOTH, "SUBSCRIBE with packet id 0 [MQTT-2.2.1-3] [MQTT3-2.3.1-1]", `82: 0000 @ 'a' 00`, "!0x82"),
  vector(BOTH, "SUBSCRIBE without a filter [MQTT-3.8.3-2] [MQTT3-3.8.3-3]", `82: 0001 @`, "!0x82"),
  vector(BOTH, "SUBSCRIBE with an empty filter [MQTT-4.7.3-1] [MQTT3-4.7.3-1]", `82: 0001 @ '' 00`, "!0x82"),
  vector(BOTH, "SUBSCRIBE with a filter that is no UTF-8 [MQTT-3.8.3-1] [MQTT3-3.8.3-1]", `82: 0001 @ 0002 c328 00`, "!0x81"),
  vector(BOTH, "SUBSCRIBE with QoS 3 (§3.8.3.1) [MQTT3-3.8.3-4]", `82: 0001 @ 'a' 03`, "!0x81"),
  vector(ONLY4, "SUBSCRIBE with reserved bits [MQTT3-3.8.3-4]", `82: 0001 'a' 04`, "closed"),
  vector(ONLY5, "SUBSCRIBE with reserved bits [MQTT-3.8.3-5]", `82: 0001 00 'a' 40`, "!0x81"),
  vector(ONLY5, "SUBSCRIBE with retain handling 3 (§3.8.3.1)", `82: 0001 00 'a' 30`, "!0x82"),
  vector(ONLY5, "SUBSCRIBE with subscription identifier 0 (§3.8.2.1.2)", `82: 0001 [0b00] 'a' 00`, "!0x82"),
  vector(ONLY5, "SUBSCRIBE with two subscription identifiers (§3.8.2.1.2)", `82: 0001 [0b01 0b02] 'a' 00`, "!0x82"),
  vector(ONLY5, "a shared subscription with No Local [MQTT-3.8.3-4]", `82: 0001 00 '$share/g/a' 04`, "!0x82"),
  vector(ONLY5, "shared subscriptions without a name, with wildcards in it, without a filter [MQTT-4.8.2-1] [MQTT-4.8.2-2]", `82: 0001 00 '$share//a' 00 '$share/+/a' 00 '$share/g' 00 '$share/g/' 00`, "SUBACK 1 [143 143 143 143]"),
  vector(ONLY4, "UNSUBSCRIBE is answered by UNSUBACK with its id, also when there was nothing [MQTT3-3.10.4-4] [MQTT3-3.10.4-5] [MQTT3-3.10.4-6]", `82: 0001 'a' 00; a2: 0002 'a' 'b'; a2: 0003 'z'`, "SUBACK 1 [0]; UNSUBACK 2; UNSUBACK 3"),
  vector(ONLY5, "UNSUBSCRIBE is answered by UNSUBACK with its id and a code for each filter, in order [MQTT-3.10.4-4] [MQTT-3.10.4-5] [MQTT-3.10.4-6] [MQTT-3.11.3-1] [MQTT-3.11.3-2] [MQTT-2.2.1-6]", `82: 0001 00 'a' 00; a2: 0002 00 'b' 'a'; a2: 0003 00 'a'`, "SUBACK 1 [0]; UNSUBACK 2 [17 0]; UNSUBACK 3 [17]"),
  vector(BOTH, "UNSUBSCRIBE without its flags [MQTT-3.10.1-1] [MQTT3-3.10.1-1]", `a0: 0001 @ 'a'`, "!0x81"),
  vector(BOTH, "UNSUBSCRIBE without a filter [MQTT-3.10.3-2] [MQTT3-3.10.3-2]", `a2: 0001 @`, "!0x82"),
  vector(BOTH, "UNSUBSCRIBE with a filter that is no UTF-8 [MQTT-3.10.3-1] [MQTT3-3.10.3-1]", `a2: 0001 @ 0002 c328`, "!0x81"),
];

const OTHERS: readonly Vector[] = [
  vector(BOTH, "PINGREQ is answered by PINGRESP [MQTT-3.12.4-1] [MQTT3-3.12.4-1]", "c0:", "PINGRESP"),
  vector(BOTH, "PINGREQ with flags [MQTT-2.1.3-1] [MQTT3-2.2.2-2]", "c1:", "!0x81"),
  vector(BOTH, "PINGREQ with a body (§3.12.1)", "c0: 00", "!0x81"),
  vector(BOTH, "DISCONNECT ends the connection without an answer [MQTT-3.14.4-2] [MQTT3-3.14.4-1]", "e0:", "closed"),
  vector(BOTH, "what follows DISCONNECT is not looked at [MQTT-3.14.4-1] [MQTT3-3.14.4-2]", "e0:; c0:", "closed"),
  vector(BOTH, "DISCONNECT with flags [MQTT-3.14.1-1] [MQTT3-3.14.1-1]", "e1:", "!0x81"),
  vector(ONLY5, "DISCONNECT with a reason code that it cannot have [MQTT-3.14.2-1]", "e0: 03", "!0x82"),
  vector(ONLY5, "DISCONNECT that would prolong a session that ends with its connection (§3.14.2.2.2)", "e0: 00 [1100000005]", "!0x82"),
  vector(ONLY4, "AUTH does not exist in 3.1.1", "f0:", "closed"),
  vector(ONLY5, "AUTH without an authentication method in CONNECT [MQTT-4.12.0-7]", "f0: 19 [15'x']", "!0x82"),
  vector(BOTH, "packets that only a server sends: CONNACK", "20: 0000 @", "!0x82"),
  vector(BOTH, "packets that only a server sends: SUBACK", "90: 0001 @ 00", "!0x82"),
  vector(BOTH, "packets that only a server sends: UNSUBACK", "b0: 0001 @", "!0x82"),
  vector(BOTH, "packets that only a server sends: PINGRESP", "d0:", "!0x82"),
  vector(ONLY4, "packet type 0 is reserved", "00:", "closed"),
  vector(ONLY5, "packet type 0 is reserved [MQTT-4.13.1-1]", "00:", "!0x82"),
];

export const VECTORS: readonly Vector[] = [...CONNECTS, ...PUBLISHES, ...SUBSCRIPTIONS, ...OTHERS];
