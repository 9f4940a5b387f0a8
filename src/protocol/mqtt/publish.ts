// Reads received PUBLISH packets in place and copies the properties that are forwarded. Called by the shard for every PUBLISH. Hot path.
// What it costs: bench/micro/mqtt-publish.ts.
import { copyBytes } from "../../base/bytes.js";
import type { Frame } from "./fixed-header.js";
import { readUint16, readUint32, readVariableInteger, variableIntegerSize } from "./integers.js";
import type { ProtocolVersion } from "./packet-types.js";
import { PLACE, PROPERTY, SeenProperties, propertyEnd } from "./properties.js";
import { MESSAGE_EXPIRY_NONE, type PublishHead } from "./publish-head.js";
import { REASON } from "./reason-codes.js";
import { malformed, tooLarge, violation, violationWith } from "./refusals.js";
import { TOPIC_FAULT, topicFault } from "./utf8.js";

/** Message records hold the size of the forwarded properties in 16 bits. */
export const FORWARD_LENGTH_MAX = 0xffff;
/** Sizes of the two properties that are not forwarded as they are. */
const TOPIC_ALIAS_SIZE = 3;
const MESSAGE_EXPIRY_SIZE = 5;

const DUP = 0b1000;
const RETAIN = 0b0001;
const seen = new SeenProperties();

/**
 * Reads the head of a PUBLISH (MQTT 3.1.1 §3.3, 5.0 §3.3) into `head`. Copies nothing.
 *
 * @param bytes borrowed; positions in `head` point into it
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81), MQTT_PROTOCOL (0x82, 0x90 for a topic name that is empty or has wildcards, 0x94 for topic
 *   alias 0), MQTT_TOO_LARGE (0x95: more than FORWARD_LENGTH_MAX bytes of properties to forward); the connection is closed
 */
export function readPublish(bytes: Uint8Array, frame: Frame, version: ProtocolVersion, head: PublishHead): void {
  const { flags, end } = frame;
  const qos = (flags >> 1) & 0b11;
  if (qos === 3) throw malformed("both QoS bits are set [MQTT-3.3.1-4]");
  if (qos === 0 && (flags & DUP) !== 0) throw malformed("DUP is set with QoS 0 [MQTT-3.3.1-2]");
  head.qos = qos as 0 | 1 | 2;
  head.dup = (flags & DUP) !== 0;
  head.retain = (flags & RETAIN) !== 0;

  let at = frame.bodyAt;
  if (end - at < 2) throw malformed("the topic's length is cut off");
  const topicLength = readUint16(bytes, at);
  at += 2;
  if (topicLength > end - at) throw malformed("the topic is cut off");
  head.topicAt = at;
  head.topicLength = topicLength;
  at += topicLength;
  const fault = topicFault(bytes, head.topicAt, at);
  if (fault !== TOPIC_FAULT.NONE) refuseTopic(fault);

  if (qos === 0) head.packetId = 0;
  else {
    if (end - at < 2) throw malformed("the packet id is cut off");
    head.packetId = readUint16(bytes, at);
    if (head.packetId === 0) throw violation("the packet id is 0 [MQTT-2.2.1-3]");
    at += 2;
  }

  head.topicAlias = 0;
  head.messageExpiry = MESSAGE_EXPIRY_NONE;
  head.payloadFormat = 0;
  head.topicAliasAt = 0;
  head.messageExpiryAt = 0;
  if (version === 5) at = readPublishProperties(bytes, at, end, head);
  else {
    head.propertiesAt = at;
    head.propertiesLength = 0;
    head.forwardLength = 0;
  }
  if (topicLength === 0 && head.topicAlias === 0) {
    if (version === 5) throw violation("the topic is empty and there is no topic alias (§3.3.2.1)");
    throw violationWith(REASON.TOPIC_NAME_INVALID, "the topic is empty [MQTT-4.7.3-1]");
  }
  head.payloadAt = at;
  head.payloadLength = end - at;
}

/**
 * Copies the properties that go to subscribers: all but topic alias (one hop only) and message expiry (written anew by `writePublish`), in
 * their order [MQTT-3.3.2-18].
 *
 * @param bytes what `head` was read from
 * @returns bytes written: `head.forwardLength`
 */
export function copyForwardProperties(target: Uint8Array, at: number, bytes: Uint8Array, head: PublishHead): number {
  if (head.forwardLength === 0) return 0;
  const end = head.propertiesAt + head.propertiesLength;
  let from = head.propertiesAt;
  let to = at;
  // At most two gaps; positions are never 0, since a fixed header stands before them.
  const isAliasFirst = head.topicAliasAt < head.messageExpiryAt;
  for (let i = 0; i < 2; i++) {
    const isAlias = isAliasFirst === (i === 0);
    const gapAt = isAlias ? head.topicAliasAt : head.messageExpiryAt;
    if (gapAt === 0) continue;
    if (gapAt > from) copyBytes(target, to, bytes, from, gapAt - from);
    to += gapAt - from;
    from = gapAt + (isAlias ? TOPIC_ALIAS_SIZE : MESSAGE_EXPIRY_SIZE);
  }
  if (end > from) copyBytes(target, to, bytes, from, end - from);
  return head.forwardLength;
}

/** @returns position behind the properties */
function readPublishProperties(bytes: Uint8Array, at: number, end: number, head: PublishHead): number {
  const length = readVariableInteger(bytes, at, end);
  const propertiesAt = at + variableIntegerSize(length);
  const propertiesEnd = propertiesAt + length;
  if (propertiesEnd > end) throw malformed("the properties are cut off");
  head.propertiesAt = propertiesAt;
  head.propertiesLength = length;
  let forwardLength = length;
  if (length > 0) {
    seen.clear();
    let next = propertiesAt;
    while (next < propertiesEnd) {
      const idAt = next;
      next = propertyEnd(bytes, idAt, propertiesEnd, PLACE.PUBLISH, seen);
      const id = bytes[idAt]!;
      if (id === PROPERTY.TOPIC_ALIAS) {
        head.topicAlias = readUint16(bytes, idAt + 1);
        head.topicAliasAt = idAt;
        forwardLength -= TOPIC_ALIAS_SIZE;
      } else if (id === PROPERTY.MESSAGE_EXPIRY) {
        // 136 years less a second, so that the greatest value stays apart from "none".
        head.messageExpiry = Math.min(readUint32(bytes, idAt + 1), MESSAGE_EXPIRY_NONE - 1);
        head.messageExpiryAt = idAt;
        forwardLength -= MESSAGE_EXPIRY_SIZE;
      } else if (id === PROPERTY.PAYLOAD_FORMAT) {
        head.payloadFormat = bytes[idAt + 1] as 0 | 1;
      } else if (id === PROPERTY.SUBSCRIPTION_IDENTIFIER) {
        throw violation("a client's PUBLISH has a subscription identifier [MQTT-3.3.4-6]");
      }
    }
    if (forwardLength > FORWARD_LENGTH_MAX) throw tooLarge(`the properties are larger than ${FORWARD_LENGTH_MAX} bytes`);
  }
  head.forwardLength = forwardLength;
  return propertiesEnd;
}

function refuseTopic(fault: number): never {
  if (fault === TOPIC_FAULT.NOT_UTF8) throw malformed("the topic is not well-formed UTF-8 [MQTT-3.3.2-1] [MQTT-1.5.4-1]");
  throw violationWith(REASON.TOPIC_NAME_INVALID, "the topic has wildcards [MQTT-3.3.2-2]");
}
