// Integers of the wire: big-endian words and the variable byte integer (MQTT 5 §1.5.2, §1.5.3, §1.5.5). Hot path.
import { malformed } from "./refusals.js";

/** The largest variable byte integer: four bytes of seven bits. */
export const VARIABLE_INTEGER_MAX = 268_435_455;

/** REQUIRES: two bytes at `at`. */
export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** REQUIRES: four bytes at `at`. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

export function writeUint16(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 8;
  target[at + 1] = value;
}

export function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

/**
 * Reads a variable byte integer. Since only the shortest form is let through, `variableIntegerSize` of the value tells how far it reached.
 *
 * @param end it must end before or at it
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81) when it is cut off, longer than four bytes or not in its shortest form
 */
export function readVariableInteger(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    if (at + i >= end) throw malformed("a variable byte integer is cut off");
    const byte = bytes[at + i]!;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      if (byte === 0 && i > 0) throw malformed("a variable byte integer is not in its shortest form [MQTT-1.5.5-1]");
      return value;
    }
  }
  throw malformed("a variable byte integer has more than four bytes [MQTT-1.5.5-1]");
}

/** Bytes that `writeVariableInteger` takes for the value. */
export function variableIntegerSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  return value < 0x20_0000 ? 3 : 4;
}

/** REQUIRES: 0 <= value <= VARIABLE_INTEGER_MAX. @returns position behind it */
export function writeVariableInteger(target: Uint8Array, at: number, value: number): number {
  let rest = value;
  let i = at;
  while (rest >= 0x80) {
    target[i++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target[i++] = rest;
  return i;
}
