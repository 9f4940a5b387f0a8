// PUBACK, PUBREC, PUBREL, PUBCOMP and PINGRESP: read in place and written straight into memory. Hot path.
import type { Frame } from "./fixed-header.js";
import { readUint16, readVariableInteger, variableIntegerSize, writeUint16 } from "./integers.js";
import { PACKET, type AckType, type ProtocolVersion } from "./packet-types.js";
import { PLACE, PROPERTY, SeenProperties, checkProperties } from "./properties.js";
import { isReasonCodeOf } from "./reason-codes.js";
import { malformed, violation } from "./refusals.js";

/** What an acknowledgement says; one instance is re-used. */
export class AckHead {
  packetId = 0;
  /** 0 in 3.1.1. */
  reasonCode = 0;
}

/** The most that `writeAck` writes. */
export const ACK_SIZE_MAX = 5;
export const PINGRESP_SIZE = 2;

const seen = new SeenProperties();

/**
 * Reads a PUBACK, PUBREC, PUBREL or PUBCOMP (MQTT 5 §3.4 to §3.7) into `head`. Copies nothing.
 *
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82); the connection is closed
 */
export function readAck(bytes: Uint8Array, frame: Frame, version: ProtocolVersion, head: AckHead): void {
  // [MQTT-3.6.1-1]: PUBREL alone has flags 0010.
  if (frame.flags !== (frame.type === PACKET.PUBREL ? 0b0010 : 0)) throw malformed("the fixed header's flags are reserved [MQTT-2.1.3-1]");
  const { bodyAt, bodyLength, end } = frame;
  if (bodyLength < 2) throw malformed("the packet id is cut off");
  if (version === 4 && bodyLength > 2) throw malformed("bytes follow the packet id");
  head.packetId = readUint16(bytes, bodyAt);
  if (head.packetId === 0) throw violation("the packet id is 0 [MQTT-2.2.1-3]");
  head.reasonCode = 0;
  if (bodyLength === 2) return;
  head.reasonCode = bytes[bodyAt + 2]!;
  if (!isReasonCodeOf(frame.type, head.reasonCode)) throw violation(`reason code 0x${head.reasonCode.toString(16)} is not one of this packet's [MQTT-3.4.2-1]`);
  if (bodyLength === 3) return;
  const length = readVariableInteger(bytes, bodyAt + 3, end);
  const propertiesAt = bodyAt + 3 + variableIntegerSize(length);
  if (propertiesAt + length !== end) throw malformed("the properties do not end with the packet");
  checkProperties(bytes, propertiesAt, end, PLACE.ACK, seen);
}

/**
 * Writes an acknowledgement at `at`: 4 bytes, or 5 in MQTT 5 when the reason code is not 0.
 *
 * @returns bytes written, at most ACK_SIZE_MAX
 */
export function writeAck(target: Uint8Array, at: number, type: AckType, version: ProtocolVersion, packetId: number, reasonCode: number): number {
  target[at] = (type << 4) | (type === PACKET.PUBREL ? 0b0010 : 0);
  writeUint16(target, at + 2, packetId);
  if (version === 4 || reasonCode === 0) {
    target[at + 1] = 2;
    return 4;
  }
  target[at + 1] = 3;
  target[at + 4] = reasonCode;
  return 5;
}

/** What `writeReasonedAck` writes. REQUIRES: the text has less than 120 bytes, so that all lengths have one */
export function reasonedAckSize(text: Uint8Array): number {
  return 9 + text.length;
}

/** Writes an MQTT 5 acknowledgement with a reason string (§3.4.2.2.2). */
export function writeReasonedAck(target: Uint8Array, at: number, type: AckType, packetId: number, reasonCode: number, text: Uint8Array): void {
  writeAck(target, at, type, 5, packetId, reasonCode);
  target[at + 1] = 7 + text.length;
  target[at + 5] = 3 + text.length;
  target[at + 6] = PROPERTY.REASON_STRING;
  writeUint16(target, at + 7, text.length);
  target.set(text, at + 9);
}

/** Writes a PINGRESP at `at`. @returns PINGRESP_SIZE */
export function writePingresp(target: Uint8Array, at: number): number {
  target[at] = PACKET.PINGRESP << 4;
  target[at + 1] = 0;
  return PINGRESP_SIZE;
}

/** Checks that a PINGREQ has no flags and no body. @throws ProtocolError MQTT_MALFORMED (wire 0x81) */
export function checkPingreq(frame: Frame): void {
  if (frame.flags !== 0) throw malformed("the fixed header's flags are reserved [MQTT-2.1.3-1]");
  if (frame.bodyLength !== 0) throw malformed("a PINGREQ has a body (§3.12)");
}
