import t from "tap";
import { MESSAGE_EXPIRY_NONE } from "../../../src/protocol/mqtt/publish-head.js";
import { connackVersion, decodeAuth, decodeConnect, decodeDisconnect, decodeSubscribe, decodeUnsubscribe } from "../../../src/protocol/mqtt/control-decoder.js";
import type { Connect } from "../../../src/protocol/mqtt/control-values.js";
import { PACKET, type ProtocolVersion } from "../../../src/protocol/mqtt/packet-types.js";
import { bytesOf, frameOf, outcomeOf, packetOf, prefixed, refusesEveryCut } from "./support.js";

function decode(packet: Buffer, version: ProtocolVersion): object {
  const frame = frameOf(packet);
  switch (frame.type) {
    case PACKET.CONNECT:
      return decodeConnect(packet, frame);
    case PACKET.SUBSCRIBE:
      return decodeSubscribe(packet, frame, version);
    case PACKET.UNSUBSCRIBE:
      return decodeUnsubscribe(packet, frame, version);
    case PACKET.DISCONNECT:
      return decodeDisconnect(packet, frame, version);
    default:
      return decodeAuth(packet, frame, version);
  }
}

const CONNECT: Connect = {
  protocolVersion: 4, isMqtt31: false, isBridge: false, cleanStart: true, keepAliveSeconds: 60, clientId: "c", will: undefined, userName: undefined, password: undefined, sessionExpiry: 0,
  receiveMaximum: 0xffff, maximumPacketSize: 268_435_460, topicAliasMaximum: 0, requestProblemInformation: true, requestResponseInformation: false,
  authenticationMethod: undefined, authenticationData: undefined, userProperties: [],
};
const CONNECT5: Connect = { ...CONNECT, protocolVersion: 5 };
const WILL = { topic: "w", payload: Buffer.from("bye"), qos: 0, retain: false, delay: 0, messageExpiry: MESSAGE_EXPIRY_NONE, isText: false, properties: Buffer.alloc(0) } as const;
const REQUEST = { filter: "a/b", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

const V4 = `'MQTT' 04`;
const V5 = `'MQTT' 05`;

interface Vector {
  readonly name: string;
  readonly version: ProtocolVersion;
  readonly first: number;
  readonly body: string;
}

const ACCEPTED: readonly (Vector & { readonly value: object })[] = [
  { name: "CONNECT clean", version: 4, first: 0x10, body: `${V4} 02 003c 'c'`, value: CONNECT },
  { name: "CONNECT not clean lasts for ever", version: 4, first: 0x10, body: `${V4} 00 0000 'c'`, value: { ...CONNECT, cleanStart: false, keepAliveSeconds: 0, sessionExpiry: 0xffff_ffff } },
  { name: "CONNECT with an empty client id and clean session", version: 4, first: 0x10, body: `${V4} 02 003c ''`, value: { ...CONNECT, clientId: "" } },
  { name: "CONNECT with a will of QoS 2, retained, user name and password", version: 4, first: 0x10, body: `${V4} f6 003c 'c' 'w' 'bye' 'me' 'pass'`, value: { ...CONNECT, will: { ...WILL, qos: 2, retain: true }, userName: "me", password: Buffer.from("pass") } },
  { name: "CONNECT with empty fields", version: 4, first: 0x10, body: `${V4} c6 003c 'c' 'w' '' '' ''`, value: { ...CONNECT, will: { ...WILL, payload: Buffer.alloc(0) }, userName: "", password: Buffer.alloc(0) } },
  { name: "CONNECT with a password that is no UTF-8", version: 4, first: 0x10, body: `${V4} c2 003c 'c' 'me' 0003 00ff80`, value: { ...CONNECT, userName: "me", password: bytesOf("00ff80") } },
  { name: "CONNECT with a BOM in the client id, which stays [MQTT-1.5.4-3]", version: 4, first: 0x10, body: `${V4} 02 003c 0004 efbbbf "c"`, value: { ...CONNECT, clientId: "\ufeffc" } },
  { name: "CONNECT of MQTT 3.1", version: 4, first: 0x10, body: `'MQIsdp' 03 02 003c 'c'`, value: { ...CONNECT, isMqtt31: true } },
  { name: "CONNECT of a bridge", version: 4, first: 0x10, body: `'MQTT' 84 02 003c 'c'`, value: { ...CONNECT, isBridge: true } },
  { name: "v5 CONNECT", version: 5, first: 0x10, body: `${V5} 02 003c 00 'c'`, value: CONNECT5 },
  { name: "v5 CONNECT with an empty client id that is not clean", version: 5, first: 0x10, body: `${V5} 00 003c 00 ''`, value: { ...CONNECT5, cleanStart: false, clientId: "" } },
  { name: "v5 CONNECT with a password alone", version: 5, first: 0x10, body: `${V5} 42 003c 00 'c' 'pass'`, value: { ...CONNECT5, password: Buffer.from("pass") } },
  {
    name: "v5 CONNECT with every property", version: 5, first: 0x10,
    body: `${V5} 02 003c [1100000e10 210014 2700010000 22000a 1901 1700 15'SCRAM' 16'data' 26'k''v' 26'k''' 26'a'''] 'c'`,
    value: {
      ...CONNECT5, sessionExpiry: 3600, receiveMaximum: 20, maximumPacketSize: 65_536, topicAliasMaximum: 10, requestResponseInformation: true, requestProblemInformation: false,
      authenticationMethod: "SCRAM", authenticationData: Buffer.from("data"), userProperties: [["k", "v"], ["k", ""], ["a", ""]],
    },
  },
  { name: "v5 CONNECT with user properties that mqtt-packet would lose or reorder", version: 5, first: 0x10, body: `${V5} 02 003c [26'a''' 26'b''1' 26'a''2' 26'__proto__''3'] 'c'`, value: { ...CONNECT5, userProperties: [["a", ""], ["b", "1"], ["a", "2"], ["__proto__", "3"]] } },
  { name: "v5 CONNECT with the greatest values", version: 5, first: 0x10, body: `${V5} 02 003c 0d 11ffffffff 21ffff 27ffffffff 'c'`, value: { ...CONNECT5, sessionExpiry: 0xffff_ffff } },
  {
    name: "v5 CONNECT with a will and its properties", version: 5, first: 0x10,
    body: `${V5} 0e 003c 00 'c' [0101 180000000a 26'k''v' 020000003c 03'x' 26'k''w'] 'w' 'bye'`,
    value: { ...CONNECT5, will: { ...WILL, qos: 1, delay: 10, messageExpiry: 60, isText: true, properties: bytesOf(`0101 26'k''v' 03'x' 26'k''w'`) } },
  },
  { name: "v5 CONNECT with a will whose properties all stay", version: 5, first: 0x10, body: `${V5} 06 003c 00 'c' 09 08'r' 09'id' 'w' 'bye'`, value: { ...CONNECT5, will: { ...WILL, properties: bytesOf(`08'r' 09'id'`) } } },

  { name: "SUBSCRIBE", version: 4, first: 0x82, body: `0001 'a/b' 01`, value: { packetId: 1, subscriptionIdentifier: 0, subscriptions: [{ ...REQUEST, qos: 1 }], userProperties: [] } },
  { name: "SUBSCRIBE of three", version: 4, first: 0x82, body: `ffff 'a/b' 00 '#' 01 '$share/g/+' 02`, value: { packetId: 0xffff, subscriptionIdentifier: 0, subscriptions: [REQUEST, { ...REQUEST, filter: "#", qos: 1 }, { ...REQUEST, filter: "$share/g/+", qos: 2 }], userProperties: [] } },
  { name: "v5 SUBSCRIBE with all options", version: 5, first: 0x82, body: `0001 [0b ffffff7f 26'k''v'] 'a/b' 2e 'a/b' 10`, value: { packetId: 1, subscriptionIdentifier: 268_435_455, subscriptions: [{ filter: "a/b", qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 }, { ...REQUEST, retainHandling: 1 }], userProperties: [["k", "v"]] } },
  { name: "v5 SUBSCRIBE shared, with retain as published", version: 5, first: 0x82, body: `0001 00 '$share/g/a/b' 08`, value: { packetId: 1, subscriptionIdentifier: 0, subscriptions: [{ ...REQUEST, filter: "$share/g/a/b", retainAsPublished: true }], userProperties: [] } },
  { name: "v5 SUBSCRIBE to what only looks shared, no-local", version: 5, first: 0x82, body: `0001 00 '$sharing/a' 04`, value: { packetId: 1, subscriptionIdentifier: 0, subscriptions: [{ ...REQUEST, filter: "$sharing/a", noLocal: true }], userProperties: [] } },

  { name: "UNSUBSCRIBE", version: 4, first: 0xa2, body: `0001 'a/b' '#'`, value: { packetId: 1, filters: ["a/b", "#"], userProperties: [] } },
  { name: "v5 UNSUBSCRIBE", version: 5, first: 0xa2, body: `0001 07 26'k''v' 'a/b'`, value: { packetId: 1, filters: ["a/b"], userProperties: [["k", "v"]] } },

  { name: "DISCONNECT", version: 4, first: 0xe0, body: ``, value: { reasonCode: 0, sessionExpiry: undefined, reasonString: undefined, userProperties: [] } },
  { name: "v5 DISCONNECT without a body", version: 5, first: 0xe0, body: ``, value: { reasonCode: 0, sessionExpiry: undefined, reasonString: undefined, userProperties: [] } },
  { name: "v5 DISCONNECT with a reason code alone", version: 5, first: 0xe0, body: `04`, value: { reasonCode: 4, sessionExpiry: undefined, reasonString: undefined, userProperties: [] } },
  { name: "v5 DISCONNECT with properties", version: 5, first: 0xe0, body: `81 10 1100000000 1f'x' 26'k''v'`, value: { reasonCode: 0x81, sessionExpiry: 0, reasonString: "x", userProperties: [["k", "v"]] } },

  { name: "v5 AUTH", version: 5, first: 0xf0, body: `18 0a 15'SC' 16'da'`, value: { reasonCode: 0x18, authenticationMethod: "SC", authenticationData: Buffer.from("da"), userProperties: [] } },
  { name: "v5 AUTH again, without its data", version: 5, first: 0xf0, body: `19 0c 15'SC' 26'k''v'`, value: { reasonCode: 0x19, authenticationMethod: "SC", authenticationData: undefined, userProperties: [["k", "v"]] } },
];

for (const { name, version, first, body, value } of ACCEPTED) {
  t.test(`control accepts: ${name}`, (t) => {
    const packet = packetOf(first, body);
    t.strictSame(decode(packet, version), value);
    refusesEveryCut(t, name, packet, (bytes) => decode(bytes, version));
    if (first === 0x10) {
      const whole = frameOf(packet);
      for (let size = 0; size < whole.bodyLength; size++) {
        const outcome = outcomeOf(() => decode(packetOf(first, Buffer.from(packet.subarray(whole.bodyAt, whole.bodyAt + size))), version));
        if (!("refusal" in outcome)) t.fail(`a CONNECT of ${size} bytes is not refused`);
      }
    }
    t.end();
  });
}

const MALFORMED = "MQTT_MALFORMED 0x81";
const VIOLATION = "MQTT_PROTOCOL 0x82";
const TOPIC_INVALID = "MQTT_PROTOCOL 0x90";
const VERSION = "MQTT_VERSION 0x84";

const REFUSED: readonly (Vector & { readonly refusal: string })[] = [
  { name: "CONNECT of MQTT 3.1 with another level", version: 4, first: 0x10, body: `'MQIsdp' 04 02 003c 'c'`, refusal: VERSION },
  { name: "CONNECT of MQTT 3.1 without a client id", version: 4, first: 0x10, body: `'MQIsdp' 03 02 003c ''`, refusal: "MQTT_CLIENT_ID 0x85" },
  { name: "CONNECT of level 3", version: 4, first: 0x10, body: `'MQTT' 03 02 003c 'c'`, refusal: VERSION },
  { name: "CONNECT of level 6", version: 5, first: 0x10, body: `'MQTT' 06 02 003c 00 'c'`, refusal: VERSION },
  { name: "CONNECT of level 5 with the bridge bit", version: 5, first: 0x10, body: `'MQTT' 85 02 003c 00 'c'`, refusal: VERSION },
  { name: "[MQTT-3.1.2-1] CONNECT of another protocol", version: 4, first: 0x10, body: `'HTTP' 04 02 003c 'c'`, refusal: VERSION },
  { name: "CONNECT of a protocol in lower case", version: 4, first: 0x10, body: `'mqtt' 04 02 003c 'c'`, refusal: VERSION },
  { name: "[MQTT-2.1.3-1] CONNECT with flags", version: 4, first: 0x11, body: `${V4} 02 003c 'c'`, refusal: MALFORMED },
  { name: "[MQTT-3.1.2-3] CONNECT with the reserved flag", version: 4, first: 0x10, body: `${V4} 03 003c 'c'`, refusal: MALFORMED },
  { name: "[MQTT-3.1.2-12] CONNECT with a will of QoS 3", version: 4, first: 0x10, body: `${V4} 1e 003c 'c' 'w' 'bye'`, refusal: MALFORMED },
  { name: "[MQTT-3.1.2-11] CONNECT with a will QoS but no will", version: 4, first: 0x10, body: `${V4} 0a 003c 'c'`, refusal: MALFORMED },
  { name: "[MQTT-3.1.2-13] CONNECT with will retain but no will", version: 5, first: 0x10, body: `${V5} 22 003c 00 'c'`, refusal: MALFORMED },
  { name: "[MQTT3-3.1.2-22] CONNECT with a password but no user name", version: 4, first: 0x10, body: `${V4} 42 003c 'c' 'pass'`, refusal: MALFORMED },
  { name: "[MQTT3-3.1.3-8] CONNECT with an empty client id that is not clean", version: 4, first: 0x10, body: `${V4} 00 003c ''`, refusal: "MQTT_CLIENT_ID 0x85" },
  { name: "[MQTT-1.5.4-1] CONNECT with a client id that is no UTF-8", version: 4, first: 0x10, body: `${V4} 02 003c 0001 ff`, refusal: MALFORMED },
  { name: "[MQTT-1.5.4-2] CONNECT with U+0000 in the client id", version: 4, first: 0x10, body: `${V4} 02 003c 0003 610062`, refusal: MALFORMED },
  { name: "CONNECT with a surrogate in the user name", version: 4, first: 0x10, body: `${V4} 82 003c 'c' 0003 eda080`, refusal: MALFORMED },
  { name: "CONNECT with bytes behind its last field", version: 4, first: 0x10, body: `${V4} 02 003c 'c' 00`, refusal: MALFORMED },
  { name: "CONNECT with wildcards in the will's topic", version: 4, first: 0x10, body: `${V4} 06 003c 'c' 'w/#' 'bye'`, refusal: TOPIC_INVALID },
  { name: "CONNECT with an empty will topic", version: 4, first: 0x10, body: `${V4} 06 003c 'c' '' 'bye'`, refusal: TOPIC_INVALID },
  { name: "CONNECT with a will topic that is no UTF-8", version: 4, first: 0x10, body: `${V4} 06 003c 'c' 0002 c0af 'bye'`, refusal: MALFORMED },
  { name: "v5 CONNECT with a receive maximum of 0", version: 5, first: 0x10, body: `${V5} 02 003c 03 210000 'c'`, refusal: VIOLATION },
  { name: "v5 CONNECT with a maximum packet size of 0", version: 5, first: 0x10, body: `${V5} 02 003c 05 2700000000 'c'`, refusal: VIOLATION },
  { name: "v5 CONNECT with a property twice, the first one 0", version: 5, first: 0x10, body: `${V5} 02 003c 0a 1100000000 1100000001 'c'`, refusal: VIOLATION },
  { name: "v5 CONNECT that requests problem information 2", version: 5, first: 0x10, body: `${V5} 02 003c 02 1702 'c'`, refusal: VIOLATION },
  { name: "v5 CONNECT with a property of PUBLISH", version: 5, first: 0x10, body: `${V5} 02 003c 02 0101 'c'`, refusal: MALFORMED },
  { name: "v5 CONNECT with authentication data but no method", version: 5, first: 0x10, body: `${V5} 02 003c 05 16'da' 'c'`, refusal: VIOLATION },
  { name: "v5 CONNECT with a property length that is not minimal", version: 5, first: 0x10, body: `${V5} 02 003c 8000 'c'`, refusal: MALFORMED },
  { name: "v5 CONNECT with a property that its section's end cuts", version: 5, first: 0x10, body: `${V5} 02 003c 02 210014 'c'`, refusal: MALFORMED },
  { name: "v5 CONNECT with a topic alias in the will", version: 5, first: 0x10, body: `${V5} 06 003c 00 'c' 03 230001 'w' 'bye'`, refusal: MALFORMED },
  { name: "v5 CONNECT with two will delays", version: 5, first: 0x10, body: `${V5} 06 003c 00 'c' 0a 1800000001 1800000001 'w' 'bye'`, refusal: VIOLATION },

  { name: "[MQTT-3.8.1-1] SUBSCRIBE without its flags", version: 4, first: 0x80, body: `0001 'a' 00`, refusal: MALFORMED },
  { name: "[MQTT-2.2.1-3] SUBSCRIBE with packet id 0", version: 4, first: 0x82, body: `0000 'a' 00`, refusal: VIOLATION },
  { name: "[MQTT-3.8.3-2] SUBSCRIBE without a filter", version: 4, first: 0x82, body: `0001`, refusal: VIOLATION },
  { name: "[MQTT-4.7.3-1] SUBSCRIBE with an empty filter", version: 4, first: 0x82, body: `0001 '' 00`, refusal: VIOLATION },
  { name: "SUBSCRIBE without options", version: 4, first: 0x82, body: `0001 'a'`, refusal: MALFORMED },
  { name: "[MQTT3-3.8.3-4] SUBSCRIBE with QoS 3", version: 4, first: 0x82, body: `0001 'a' 03`, refusal: MALFORMED },
  { name: "SUBSCRIBE with options of MQTT 5 in 3.1.1", version: 4, first: 0x82, body: `0001 'a' 04`, refusal: MALFORMED },
  { name: "SUBSCRIBE with a filter that is no UTF-8", version: 4, first: 0x82, body: `0001 0001 80 00`, refusal: MALFORMED },
  { name: "[MQTT-3.8.3-5] v5 SUBSCRIBE with reserved option bits", version: 5, first: 0x82, body: `0001 00 'a' 40`, refusal: MALFORMED },
  { name: "v5 SUBSCRIBE with retain handling 3", version: 5, first: 0x82, body: `0001 00 'a' 30`, refusal: VIOLATION },
  { name: "[MQTT-3.8.3-4] v5 SUBSCRIBE shared with no-local", version: 5, first: 0x82, body: `0001 00 '$share/g/a' 04`, refusal: VIOLATION },
  { name: "v5 SUBSCRIBE with subscription identifier 0", version: 5, first: 0x82, body: `0001 02 0b00 'a' 00`, refusal: VIOLATION },
  { name: "v5 SUBSCRIBE with two subscription identifiers", version: 5, first: 0x82, body: `0001 04 0b01 0b02 'a' 00`, refusal: VIOLATION },
  { name: "v5 SUBSCRIBE with an identifier of five bytes", version: 5, first: 0x82, body: `0001 06 0b8080808001 'a' 00`, refusal: MALFORMED },

  { name: "[MQTT-3.10.1-1] UNSUBSCRIBE without its flags", version: 4, first: 0xa0, body: `0001 'a'`, refusal: MALFORMED },
  { name: "UNSUBSCRIBE with packet id 0", version: 4, first: 0xa2, body: `0000 'a'`, refusal: VIOLATION },
  { name: "[MQTT-3.10.3-2] UNSUBSCRIBE without a filter", version: 5, first: 0xa2, body: `0001 00`, refusal: VIOLATION },
  { name: "UNSUBSCRIBE with an empty filter", version: 4, first: 0xa2, body: `0001 ''`, refusal: VIOLATION },
  { name: "v5 UNSUBSCRIBE with a subscription identifier", version: 5, first: 0xa2, body: `0001 02 0b01 'a'`, refusal: MALFORMED },

  { name: "[MQTT-3.14.1-1] DISCONNECT with flags", version: 4, first: 0xe1, body: ``, refusal: MALFORMED },
  { name: "DISCONNECT with a body in 3.1.1", version: 4, first: 0xe0, body: `00`, refusal: MALFORMED },
  { name: "v5 DISCONNECT with a reason code of another packet", version: 5, first: 0xe0, body: `10`, refusal: VIOLATION },
  { name: "v5 DISCONNECT with a receive maximum", version: 5, first: 0xe0, body: `00 03 210001`, refusal: MALFORMED },
  { name: "v5 DISCONNECT with bytes behind its properties", version: 5, first: 0xe0, body: `00 00 00`, refusal: MALFORMED },

  { name: "AUTH in 3.1.1", version: 4, first: 0xf0, body: `18 05 15'SC'`, refusal: VIOLATION },
  { name: "[MQTT-3.15.1-1] v5 AUTH with flags", version: 5, first: 0xf1, body: `18 05 15'SC'`, refusal: MALFORMED },
  { name: "v5 AUTH without a method", version: 5, first: 0xf0, body: `18 00`, refusal: VIOLATION },
  { name: "v5 AUTH without a body", version: 5, first: 0xf0, body: ``, refusal: VIOLATION },
  { name: "[MQTT-3.15.2-1] v5 AUTH with a reason code of another packet", version: 5, first: 0xf0, body: `80 05 15'SC'`, refusal: VIOLATION },
];

for (const { name, version, first, body, refusal } of REFUSED) {
  t.test(`control refuses: ${name}`, (t) => {
    const outcome = outcomeOf(() => decode(packetOf(first, body), version));
    t.equal("refusal" in outcome ? outcome.refusal : JSON.stringify(outcome.value), refusal);
    t.end();
  });
}

t.test("a refused CONNECT is answered in the version it speaks, and other bytes not at all", (t) => {
  const versions: readonly (readonly [body: string, version: number])[] = [
    [`'MQIsdp' 03 02 003c 'c'`, 4],
    [`'MQTT' 03 02`, 4],
    [`'MQTT' 04`, 4],
    [`'MQTT' 84`, 4],
    [`'MQTT' 05`, 5],
    [`'MQTT' 06`, 5],
    [`'MQTT'`, 0],
    [`'HTTP' 04`, 0],
    [`0040 "MQTT" 04`, 0],
    [`00`, 0],
    [``, 0],
  ];
  for (const [body, version] of versions) {
    const packet = packetOf(0x10, body);
    t.equal(connackVersion(packet, frameOf(packet)), version, body);
  }
  const publish = packetOf(0x30, `'MQTT' 04`);
  t.equal(connackVersion(publish, frameOf(publish)), 0);
  t.end();
});

t.test("what is decoded outlives the shared memory it was read from", (t) => {
  const packet = packetOf(0x10, `${V5} ce 003c [15'm' 16'd' 1100000001] 'client' [09'ab' 08'r'] 'w' 'bye' 'me' 'pass'`);
  const shared = new Uint8Array(new SharedArrayBuffer(packet.length + 20)).fill(0xee);
  shared.set(packet, 10);
  const whole = decodeConnect(packet, frameOf(packet));
  const value = decodeConnect(shared, frameOf(shared.subarray(0, 10 + packet.length), 10));
  shared.fill(0);
  t.strictSame(value, whole);
  t.equal(value.will?.payload.toString(), "bye");
  for (const bytes of [value.password, value.will?.payload, value.will?.properties, value.authenticationData]) t.notOk(bytes?.buffer instanceof SharedArrayBuffer);
  t.end();
});

t.test("a will with more properties than a message record can hold is too large", (t) => {
  const section = (valueSize: number): Buffer => Buffer.concat([bytesOf("26 0001 6b"), prefixed(Buffer.alloc(valueSize, 0x61)), bytesOf("18 0000000a")]);
  const connect = (valueSize: number, length: string): Buffer =>
    packetOf(0x10, Buffer.concat([bytesOf(`${V5} 06 003c 00 'c' ${length}`), section(valueSize), bytesOf("'w' 'bye'")]));
  const atLimit = connect(0xfff9, "848004");
  t.equal(decodeConnect(atLimit, frameOf(atLimit)).will?.properties.length, 0xffff);
  const over = connect(0xfffa, "858004");
  const outcome = outcomeOf(() => decodeConnect(over, frameOf(over)));
  t.equal("refusal" in outcome ? outcome.refusal : "accepted", "MQTT_TOO_LARGE 0x95");
  t.end();
});
