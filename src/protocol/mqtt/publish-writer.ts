// Writes PUBLISH packets straight into memory for the reactor. Called by the shard for every delivery. Hot path.
import { copyBytes } from "../../base/bytes.js";
import { variableIntegerSize, writeUint16, writeUint32, writeVariableInteger } from "./integers.js";
import { PACKET, type ProtocolVersion } from "./packet-types.js";
import { PROPERTY } from "./properties.js";
import { MESSAGE_EXPIRY_NONE } from "./publish-head.js";

const NO_BYTES = new Uint8Array(0);
const NO_IDENTIFIERS: readonly number[] = [];

/**
 * A PUBLISH to be written; one instance is re-used. Set the fields, call `measurePublish`, make room for `size`, call `writePublish`.
 * The parts may lie in different memory (the topic of an alias, a payload in the ring).
 */
export class OutgoingPublish {
  version: ProtocolVersion = 4;
  qos: 0 | 1 | 2 = 0;
  retain = false;
  dup = false;
  packetId = 0;
  topicBytes: Uint8Array = NO_BYTES;
  topicAt = 0;
  topicLength = 0;
  /** As `copyForwardProperties` wrote them; not sent to 3.1.1. */
  propertiesBytes: Uint8Array = NO_BYTES;
  propertiesAt = 0;
  propertiesLength = 0;
  /** Seconds left, or MESSAGE_EXPIRY_NONE; not sent to 3.1.1. */
  messageExpiry = MESSAGE_EXPIRY_NONE;
  /** Stands for the topic; 0 = none. With `topicLength` 0 the receiver knows it already. Not sent to 3.1.1. */
  topicAlias = 0;
  /** Of the subscriptions that match [MQTT-3.3.4-3] [MQTT-3.3.4-4]; not sent to 3.1.1. */
  subscriptionIdentifiers: readonly number[] = NO_IDENTIFIERS;
  payloadBytes: Uint8Array = NO_BYTES;
  payloadAt = 0;
  payloadLength = 0;
  /** Set by `measurePublish`: size of the whole packet. */
  size = 0;
  /** Set by `measurePublish`: where the packet id stands, from the packet's first byte, so that one encoded packet serves many receivers. */
  packetIdOffset = 0;
  /** Set by `measurePublish`: the fixed header's length field. */
  remainingLength = 0;
  /** Set by `measurePublish`: the properties' length field. */
  allPropertiesLength = 0;
}

/** Computes the fields of `out` that say so. @returns `out.size` */
export function measurePublish(out: OutgoingPublish): number {
  let remaining = 2 + out.topicLength + (out.qos > 0 ? 2 : 0) + out.payloadLength;
  if (out.version === 5) {
    let properties = out.propertiesLength;
    if (out.messageExpiry !== MESSAGE_EXPIRY_NONE) properties += 5;
    if (out.topicAlias !== 0) properties += 3;
    const identifiers = out.subscriptionIdentifiers;
    for (let i = 0; i < identifiers.length; i++) properties += 1 + variableIntegerSize(identifiers[i]!);
    out.allPropertiesLength = properties;
    remaining += variableIntegerSize(properties) + properties;
  }
  const headerSize = 1 + variableIntegerSize(remaining);
  out.remainingLength = remaining;
  out.packetIdOffset = headerSize + 2 + out.topicLength;
  out.size = headerSize + remaining;
  return out.size;
}

/**
 * Writes the packet at `at`. REQUIRES: `measurePublish(out)` since the last change; `out.size` bytes of room.
 *
 * @returns bytes written: `out.size`
 */
export function writePublish(target: Uint8Array, at: number, out: OutgoingPublish): number {
  target[at] = (PACKET.PUBLISH << 4) | (out.dup ? 0b1000 : 0) | (out.qos << 1) | (out.retain ? 1 : 0);
  let to = writeVariableInteger(target, at + 1, out.remainingLength);
  writeUint16(target, to, out.topicLength);
  to += 2;
  copyBytes(target, to, out.topicBytes, out.topicAt, out.topicLength);
  to += out.topicLength;
  if (out.qos > 0) {
    writeUint16(target, to, out.packetId);
    to += 2;
  }
  if (out.version === 5) to = writeProperties(target, to, out);
  if (out.payloadLength > 0) copyBytes(target, to, out.payloadBytes, out.payloadAt, out.payloadLength);
  return out.size;
}

/** Puts another packet id into a written PUBLISH (QoS 1, 2). @param packetAt the packet's first byte */
export function patchPacketId(target: Uint8Array, packetAt: number, packetIdOffset: number, packetId: number): void {
  writeUint16(target, packetAt + packetIdOffset, packetId);
}

function writeProperties(target: Uint8Array, at: number, out: OutgoingPublish): number {
  let to = writeVariableInteger(target, at, out.allPropertiesLength);
  if (out.messageExpiry !== MESSAGE_EXPIRY_NONE) {
    target[to] = PROPERTY.MESSAGE_EXPIRY;
    writeUint32(target, to + 1, out.messageExpiry);
    to += 5;
  }
  if (out.topicAlias !== 0) {
    target[to] = PROPERTY.TOPIC_ALIAS;
    writeUint16(target, to + 1, out.topicAlias);
    to += 3;
  }
  const identifiers = out.subscriptionIdentifiers;
  for (let i = 0; i < identifiers.length; i++) {
    target[to] = PROPERTY.SUBSCRIPTION_IDENTIFIER;
    to = writeVariableInteger(target, to + 1, identifiers[i]!);
  }
  if (out.propertiesLength > 0) {
    copyBytes(target, to, out.propertiesBytes, out.propertiesAt, out.propertiesLength);
    to += out.propertiesLength;
  }
  return to;
}
