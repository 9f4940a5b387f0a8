// Decodes the control packets that are not hot: our own validation of every byte first, since mqtt-packet lets much through (what,
// stands in the test's vectors), then mqtt-packet for the values, which are copied: what it returns lies in the ring.
import mqttPacket from "mqtt-packet";
import { copyBytes, copyOf } from "../../base/bytes.js";
import { ProtocolError } from "../../base/errors.js";
import { BodyReader, type PropertySection } from "./body-reader.js";
import { SESSION_EXPIRY_NEVER, type Auth, type Connect, type Disconnect, type Subscribe, type SubscriptionRequest, type Unsubscribe, type Will } from "./control-values.js";
import type { Frame } from "./fixed-header.js";
import { VARIABLE_INTEGER_MAX, readUint16 } from "./integers.js";
import { PACKET, PACKET_NAMES, type ProtocolVersion } from "./packet-types.js";
import { MESSAGE_EXPIRY_NONE } from "./publish-head.js";
import { FORWARD_LENGTH_MAX } from "./publish.js";
import { PLACE, PROPERTY } from "./properties.js";
import { REASON, isReasonCodeOf } from "./reason-codes.js";
import { malformed, tooLarge, violation } from "./refusals.js";

/** Fixed header (up to five bytes) and the largest body: what a client takes that names no maximum. */
const PACKET_SIZE_MAX = VARIABLE_INTEGER_MAX + 5;

const USER_NAME = 0x80;
const PASSWORD = 0x40;
const WILL_RETAIN = 0x20;
const WILL = 0x04;
const CLEAN_START = 0x02;
const RESERVED = 0x01;

/** Of the protocol level: set by bridges of mosquitto. */
const BRIDGE = 0x80;

/** "$share/" */
const SHARE_PREFIX = Buffer.from("$share/");

/**
 * Decodes CONNECT (MQTT 3.1.1 §3.1, 5.0 §3.1).
 *
 * @throws ProtocolError MQTT_VERSION (wire 0x84) for another protocol or level, MQTT_CLIENT_ID (0x85), MQTT_MALFORMED (0x81), MQTT_PROTOCOL (0x82),
 *   MQTT_TOO_LARGE (0x95). `connackVersion` says in which version the refusal is to be put
 */
export function decodeConnect(bytes: Uint8Array, frame: Frame): Connect {
  checkFlags(frame, 0);
  const reader = new BodyReader(bytes, frame);
  const { version, isMqtt31, isBridge } = readVersion(bytes, frame, reader);
  const flags = reader.uint8("connect flags");
  checkConnectFlags(flags, version);
  reader.uint16("keep-alive");
  const section = version === 5 ? reader.properties(PLACE.CONNECT) : undefined;
  if (section?.positions.has(PROPERTY.AUTHENTICATION_DATA) === true && !section.positions.has(PROPERTY.AUTHENTICATION_METHOD)) {
    throw violation("there is authentication data without a method (§3.1.2.11.10)");
  }
  const clientIdSize = reader.string();
  if (version === 4 && clientIdSize === 0 && ((flags & CLEAN_START) === 0 || isMqtt31)) {
    throw new ProtocolError("MQTT_CLIENT_ID", REASON.CLIENT_ID_NOT_VALID, "the client id is empty and the session is not clean, or MQTT 3.1's [MQTT3-3.1.3-7] [MQTT3-3.1.3-8]");
  }
  let willSection: PropertySection | undefined;
  if ((flags & WILL) !== 0) {
    if (version === 5) willSection = reader.properties(PLACE.WILL);
    reader.topic();
    reader.binary();
  }
  if ((flags & USER_NAME) !== 0) reader.string();
  if ((flags & PASSWORD) !== 0) reader.binary();
  reader.finish();

  const packet = parsed<mqttPacket.IConnectPacket>(bytes, frame, version);
  const properties = packet.properties ?? {};
  return {
    protocolVersion: version,
    isMqtt31,
    isBridge,
    cleanStart: packet.clean === true,
    keepAliveSeconds: packet.keepalive ?? 0,
    clientId: packet.clientId,
    will: packet.will === undefined ? undefined : willOf(bytes, packet.will, willSection),
    userName: packet.username,
    password: ownedOf(packet.password),
    sessionExpiry: properties.sessionExpiryInterval ?? (version === 4 && packet.clean !== true ? SESSION_EXPIRY_NEVER : 0),
    receiveMaximum: properties.receiveMaximum ?? 0xffff,
    maximumPacketSize: Math.min(properties.maximumPacketSize ?? PACKET_SIZE_MAX, PACKET_SIZE_MAX),
    topicAliasMaximum: properties.topicAliasMaximum ?? 0,
    requestProblemInformation: properties.requestProblemInformation ?? true,
    requestResponseInformation: properties.requestResponseInformation ?? false,
    authenticationMethod: properties.authenticationMethod,
    authenticationData: ownedOf(properties.authenticationData),
    userProperties: section?.userProperties ?? [],
  };
}

/**
 * In which version a CONNACK that refuses this packet is to be written: 4 for levels up to 4, 5 for 5 and above, 0 when it is no MQTT CONNECT:
 * close without an answer. Never throws.
 */
export function connackVersion(bytes: Uint8Array, frame: Frame): ProtocolVersion | 0 {
  if (frame.type !== PACKET.CONNECT || frame.bodyLength < 2) return 0;
  const nameLength = readUint16(bytes, frame.bodyAt);
  if (nameLength > 6 || frame.bodyLength < 2 + nameLength + 1) return 0;
  const name = nameAt(bytes, frame.bodyAt + 2, nameLength);
  if (name === "MQIsdp") return 4;
  if (name !== "MQTT") return 0;
  // Bridges of mosquitto set the high bit; with it, level 4 is still 4.
  return (bytes[frame.bodyAt + 6]! & ~BRIDGE) >= 5 ? 5 : 4;
}

/** Decodes SUBSCRIBE (§3.8). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82) */
export function decodeSubscribe(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Subscribe {
  checkFlags(frame, 0b0010);
  const reader = new BodyReader(bytes, frame);
  const packetId = readPacketId(reader);
  const section = version === 5 ? reader.properties(PLACE.SUBSCRIBE) : undefined;
  if (reader.isAtEnd) throw violation("a SUBSCRIBE has no topic filter [MQTT-3.8.3-2]");
  while (!reader.isAtEnd) {
    const isShared = passFilter(bytes, reader);
    checkSubscriptionOptions(reader.uint8("subscription options"), version, isShared);
  }

  const packet = parsed<mqttPacket.ISubscribePacket>(bytes, frame, version);
  return {
    packetId,
    subscriptionIdentifier: packet.properties?.subscriptionIdentifier ?? 0,
    subscriptions: packet.subscriptions.map(requestOf),
    userProperties: section?.userProperties ?? [],
  };
}

/** Decodes UNSUBSCRIBE (§3.10). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82) */
export function decodeUnsubscribe(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Unsubscribe {
  checkFlags(frame, 0b0010);
  const reader = new BodyReader(bytes, frame);
  const packetId = readPacketId(reader);
  const section = version === 5 ? reader.properties(PLACE.UNSUBSCRIBE) : undefined;
  if (reader.isAtEnd) throw violation("an UNSUBSCRIBE has no topic filter [MQTT-3.10.3-2]");
  while (!reader.isAtEnd) passFilter(bytes, reader);

  const packet = parsed<mqttPacket.IUnsubscribePacket>(bytes, frame, version);
  return { packetId, filters: packet.unsubscriptions, userProperties: section?.userProperties ?? [] };
}

/** Decodes DISCONNECT (§3.14). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82) */
export function decodeDisconnect(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Disconnect {
  checkFlags(frame, 0);
  const reader = new BodyReader(bytes, frame);
  if (version === 4) reader.finish();
  const section = readReasonAndProperties(frame, reader, PLACE.DISCONNECT);

  const packet = parsed<mqttPacket.IDisconnectPacket>(bytes, frame, version);
  return {
    reasonCode: packet.reasonCode ?? 0,
    sessionExpiry: packet.properties?.sessionExpiryInterval,
    reasonString: packet.properties?.reasonString,
    userProperties: section?.userProperties ?? [],
  };
}

/** Decodes AUTH (MQTT 5 §3.15). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82, also in 3.1.1) */
export function decodeAuth(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Auth {
  if (version === 4) throw violation("AUTH does not exist in MQTT 3.1.1 (§2.2.1)");
  checkFlags(frame, 0);
  const reader = new BodyReader(bytes, frame);
  const section = readReasonAndProperties(frame, reader, PLACE.AUTH);
  if (section?.positions.has(PROPERTY.AUTHENTICATION_METHOD) !== true) throw violation("an AUTH has no authentication method (§3.15.2.2.2)");

  const packet = parsed<mqttPacket.IAuthPacket>(bytes, frame, version);
  return {
    reasonCode: packet.reasonCode,
    authenticationMethod: packet.properties?.authenticationMethod ?? "",
    authenticationData: ownedOf(packet.properties?.authenticationData),
    userProperties: section.userProperties,
  };
}

/** Protocol name and level. @throws ProtocolError MQTT_VERSION (wire 0x84) [MQTT-3.1.2-1] [MQTT-3.1.2-2] [MQTT3-3.1.2-1] [MQTT3-3.1.2-2] */
function readVersion(bytes: Uint8Array, frame: Frame, reader: BodyReader): { readonly version: ProtocolVersion; readonly isMqtt31: boolean; readonly isBridge: boolean } {
  const nameLength = reader.string();
  const name = nameAt(bytes, frame.bodyAt + 2, Math.min(nameLength, 16));
  const level = reader.uint8("protocol level");
  const isBridge = (level & BRIDGE) !== 0;
  if (name === "MQTT" && (level & ~BRIDGE) === 4) return { version: 4, isMqtt31: false, isBridge };
  if (name === "MQTT" && level === 5) return { version: 5, isMqtt31: false, isBridge: false };
  if (name === "MQIsdp" && (level & ~BRIDGE) === 3) return { version: 4, isMqtt31: true, isBridge };
  throw new ProtocolError("MQTT_VERSION", REASON.UNSUPPORTED_VERSION, `protocol ${JSON.stringify(name)} level ${level} is not spoken here`);
}

function checkConnectFlags(flags: number, version: ProtocolVersion): void {
  if ((flags & RESERVED) !== 0) throw malformed("the reserved connect flag is set [MQTT-3.1.2-3]");
  const willQos = (flags >> 3) & 0b11;
  if (willQos === 3) throw malformed("the will's QoS is 3 [MQTT-3.1.2-12]");
  if ((flags & WILL) === 0 && (willQos !== 0 || (flags & WILL_RETAIN) !== 0)) throw malformed("there are will flags without a will [MQTT-3.1.2-11] [MQTT-3.1.2-13]");
  if (version === 4 && (flags & USER_NAME) === 0 && (flags & PASSWORD) !== 0) throw malformed("there is a password without a user name [MQTT3-3.1.2-22]");
}

function checkSubscriptionOptions(options: number, version: ProtocolVersion, isShared: boolean): void {
  if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0) throw malformed("reserved bits of the subscription options are set [MQTT-3.8.3-5]");
  if ((options & 0b11) === 3) throw malformed("the subscription's QoS is 3 (§3.8.3.1)");
  if (((options >> 4) & 0b11) === 3) throw violation("the subscription's retain handling is 3 (§3.8.3.1)");
  if (isShared && (options & 0b100) !== 0) throw violation("a shared subscription asks for no-local [MQTT-3.8.3-4]");
}

/** @returns whether the filter belongs to a shared subscription */
function passFilter(bytes: Uint8Array, reader: BodyReader): boolean {
  const at = reader.at + 2;
  const size = reader.string();
  if (size === 0) throw violation("a topic filter is empty [MQTT-4.7.3-1]");
  return size >= SHARE_PREFIX.length && SHARE_PREFIX.every((byte, i) => bytes[at + i] === byte);
}

function readPacketId(reader: BodyReader): number {
  const packetId = reader.uint16("packet id");
  if (packetId === 0) throw violation("the packet id is 0 [MQTT-2.2.1-3]");
  return packetId;
}

/** Body of DISCONNECT and AUTH: a reason code and properties, both of which may be left out at the end. */
function readReasonAndProperties(frame: Frame, reader: BodyReader, place: typeof PLACE.DISCONNECT | typeof PLACE.AUTH): PropertySection | undefined {
  if (reader.isAtEnd) return undefined;
  const reasonCode = reader.uint8("reason code");
  if (!isReasonCodeOf(frame.type, reasonCode)) throw violation(`reason code 0x${reasonCode.toString(16)} is not one of ${String(PACKET_NAMES[frame.type])} [MQTT-3.14.2-1]`);
  if (reader.isAtEnd) return undefined;
  const section = reader.properties(place);
  reader.finish();
  return section;
}

function checkFlags(frame: Frame, flags: number): void {
  if (frame.flags !== flags) throw malformed(`the fixed header's flags of ${String(PACKET_NAMES[frame.type])} are reserved [MQTT-2.1.3-1]`);
}

function willOf(bytes: Uint8Array, will: NonNullable<mqttPacket.IConnectPacket["will"]>, section: PropertySection | undefined): Will {
  const expiry = will.properties?.messageExpiryInterval;
  return {
    topic: will.topic,
    payload: copyOf(will.payload as Buffer, 0, will.payload.length),
    qos: will.qos ?? 0,
    retain: will.retain === true,
    delay: will.properties?.willDelayInterval ?? 0,
    messageExpiry: expiry === undefined ? MESSAGE_EXPIRY_NONE : Math.min(expiry, MESSAGE_EXPIRY_NONE - 1),
    isText: will.properties?.payloadFormatIndicator === true,
    properties: section === undefined ? Buffer.alloc(0) : forwardableOf(bytes, section),
  };
}

/** The will's properties that go to subscribers, in their order [MQTT-3.1.3-10], as on the wire: all but the two numbers that are the gateway's to act on. */
function forwardableOf(bytes: Uint8Array, section: PropertySection): Buffer {
  const gaps = [section.positions.get(PROPERTY.WILL_DELAY), section.positions.get(PROPERTY.MESSAGE_EXPIRY)].filter((at) => at !== undefined).sort((a, b) => a - b);
  const size = section.end - section.at - 5 * gaps.length;
  if (size > FORWARD_LENGTH_MAX) throw tooLarge(`the will's properties are larger than ${FORWARD_LENGTH_MAX} bytes`);
  const kept = Buffer.alloc(size);
  let from = section.at;
  let to = 0;
  for (const gap of [...gaps, section.end]) {
    copyBytes(kept, to, bytes, from, gap - from);
    to += gap - from;
    from = gap + 5;
  }
  return kept;
}

function requestOf(subscription: mqttPacket.ISubscription): SubscriptionRequest {
  return {
    filter: subscription.topic,
    qos: subscription.qos,
    noLocal: subscription.nl === true,
    retainAsPublished: subscription.rap === true,
    retainHandling: (subscription.rh ?? 0) as 0 | 1 | 2,
  };
}

function nameAt(bytes: Uint8Array, at: number, length: number): string {
  let name = "";
  for (let i = 0; i < length; i++) name += String.fromCharCode(bytes[at + i]!);
  return name;
}

/** A copy in memory of its own. */
function ownedOf(bytes: Buffer | undefined): Buffer | undefined {
  return bytes === undefined ? undefined : copyOf(bytes, 0, bytes.length);
}

/**
 * The packet as mqtt-packet reads it. REQUIRES: validated.
 *
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81) when mqtt-packet finds what we did not
 */
function parsed<Packet extends mqttPacket.Packet>(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Packet {
  let result: mqttPacket.Packet | undefined;
  let failure: Error | undefined;
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (packet) => (result = packet));
  parser.on("error", (error: Error) => (failure = error));
  parser.parse(Buffer.from(bytes.buffer, bytes.byteOffset + frame.at, frame.end - frame.at));
  if (failure !== undefined || result === undefined) throw malformed(failure?.message ?? "no packet in the frame");
  return result as Packet;
}
