// The properties of MQTT 5 (§2.2.2) as data, and the check of one property in place. Hot path.
// All identifiers are below 64, so that what may stand where, and what was seen, are bits in tables and words.
import { readUint16, readUint32, readVariableInteger, variableIntegerSize } from "./integers.js";
import { malformed, violation, violationWith } from "./refusals.js";
import { REASON } from "./reason-codes.js";
import { TOPIC_FAULT, isUtf8, topicFault } from "./utf8.js";

export const PROPERTY = {
  PAYLOAD_FORMAT: 0x01,
  MESSAGE_EXPIRY: 0x02,
  CONTENT_TYPE: 0x03,
  RESPONSE_TOPIC: 0x08,
  CORRELATION_DATA: 0x09,
  SUBSCRIPTION_IDENTIFIER: 0x0b,
  SESSION_EXPIRY: 0x11,
  AUTHENTICATION_METHOD: 0x15,
  AUTHENTICATION_DATA: 0x16,
  REQUEST_PROBLEM_INFORMATION: 0x17,
  WILL_DELAY: 0x18,
  REQUEST_RESPONSE_INFORMATION: 0x19,
  SERVER_REFERENCE: 0x1c,
  REASON_STRING: 0x1f,
  RECEIVE_MAXIMUM: 0x21,
  TOPIC_ALIAS_MAXIMUM: 0x22,
  TOPIC_ALIAS: 0x23,
  USER_PROPERTY: 0x26,
  MAXIMUM_PACKET_SIZE: 0x27,
} as const;

/** Where properties stand, of the packets that a server receives: one bit each. */
export const PLACE = { CONNECT: 1, WILL: 2, PUBLISH: 4, ACK: 8, SUBSCRIBE: 16, UNSUBSCRIBE: 32, DISCONNECT: 64, AUTH: 128 } as const;
export type Place = (typeof PLACE)[keyof typeof PLACE];

const FLAG = 1; // one byte, 0 or 1
const UINT16 = 2;
const UINT32 = 3;
const VARIABLE = 4;
const STRING = 5;
const BINARY = 6;
const PAIR = 7;
const TOPIC = 8; // a string without wildcards

/** Identifier, form of the value, places (table 2-4). */
const TABLE: readonly (readonly [id: number, form: number, places: number])[] = [
  [PROPERTY.PAYLOAD_FORMAT, FLAG, PLACE.PUBLISH | PLACE.WILL],
  [PROPERTY.MESSAGE_EXPIRY, UINT32, PLACE.PUBLISH | PLACE.WILL],
  [PROPERTY.CONTENT_TYPE, STRING, PLACE.PUBLISH | PLACE.WILL],
  [PROPERTY.RESPONSE_TOPIC, TOPIC, PLACE.PUBLISH | PLACE.WILL],
  [PROPERTY.CORRELATION_DATA, BINARY, PLACE.PUBLISH | PLACE.WILL],
  [PROPERTY.SUBSCRIPTION_IDENTIFIER, VARIABLE, PLACE.PUBLISH | PLACE.SUBSCRIBE],
  [PROPERTY.SESSION_EXPIRY, UINT32, PLACE.CONNECT | PLACE.DISCONNECT],
  [PROPERTY.AUTHENTICATION_METHOD, STRING, PLACE.CONNECT | PLACE.AUTH],
  [PROPERTY.AUTHENTICATION_DATA, BINARY, PLACE.CONNECT | PLACE.AUTH],
  [PROPERTY.REQUEST_PROBLEM_INFORMATION, FLAG, PLACE.CONNECT],
  [PROPERTY.WILL_DELAY, UINT32, PLACE.WILL],
  [PROPERTY.REQUEST_RESPONSE_INFORMATION, FLAG, PLACE.CONNECT],
  [PROPERTY.SERVER_REFERENCE, STRING, PLACE.DISCONNECT],
  [PROPERTY.REASON_STRING, STRING, PLACE.ACK | PLACE.DISCONNECT | PLACE.AUTH],
  [PROPERTY.RECEIVE_MAXIMUM, UINT16, PLACE.CONNECT],
  [PROPERTY.TOPIC_ALIAS_MAXIMUM, UINT16, PLACE.CONNECT],
  [PROPERTY.TOPIC_ALIAS, UINT16, PLACE.PUBLISH],
  [PROPERTY.USER_PROPERTY, PAIR, PLACE.CONNECT | PLACE.WILL | PLACE.PUBLISH | PLACE.ACK | PLACE.SUBSCRIBE | PLACE.UNSUBSCRIBE | PLACE.DISCONNECT | PLACE.AUTH],
  [PROPERTY.MAXIMUM_PACKET_SIZE, UINT32, PLACE.CONNECT],
];

const forms = new Uint8Array(64);
const places = new Uint8Array(64);
for (const [id, form, allowed] of TABLE) {
  forms[id] = form;
  places[id] = allowed;
}

/** Which properties a packet has named so far; one instance is re-used. */
export class SeenProperties {
  low = 0;
  high = 0;

  clear(): void {
    this.low = 0;
    this.high = 0;
  }
}

/**
 * Checks the property at `at`: known, allowed in this place, not a second time, its value whole and valid.
 *
 * @returns position of the next property
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82, 0x90 for a response topic with wildcards, 0x94 for topic alias 0)
 */
export function propertyEnd(bytes: Uint8Array, at: number, end: number, place: Place, seen: SeenProperties): number {
  const id = bytes[at]!;
  // The identifier is a variable byte integer, but all that exist fit one byte.
  if (id > 63 || (places[id]! & place) === 0) throw malformed(`property 0x${id.toString(16)} is unknown or not allowed here (§2.2.2.2)`);
  if (id !== PROPERTY.USER_PROPERTY) noteSeen(id, seen);
  const valueAt = at + 1;
  switch (forms[id]) {
    case FLAG:
      need(valueAt, 1, end);
      if (bytes[valueAt]! > 1) throw violation(`property 0x${id.toString(16)} is neither 0 nor 1`);
      return valueAt + 1;
    case UINT16:
      need(valueAt, 2, end);
      if (readUint16(bytes, valueAt) === 0) refuseZero(id);
      return valueAt + 2;
    case UINT32:
      need(valueAt, 4, end);
      if (id === PROPERTY.MAXIMUM_PACKET_SIZE && readUint32(bytes, valueAt) === 0) refuseZero(id);
      return valueAt + 4;
    case VARIABLE: {
      const value = readVariableInteger(bytes, valueAt, end);
      if (value === 0) refuseZero(id);
      return valueAt + variableIntegerSize(value);
    }
    case STRING:
      return stringEnd(bytes, valueAt, end);
    case TOPIC:
      return topicEnd(bytes, valueAt, end);
    case BINARY:
      return binaryEnd(bytes, valueAt, end);
    default:
      return stringEnd(bytes, stringEnd(bytes, valueAt, end), end);
  }
}

/** Checks all properties in [at, end). @throws as `propertyEnd` */
export function checkProperties(bytes: Uint8Array, at: number, end: number, place: Place, seen: SeenProperties): void {
  seen.clear();
  let next = at;
  while (next < end) next = propertyEnd(bytes, next, end, place, seen);
}

/** Where the length-prefixed bytes at `at` end. @throws ProtocolError MQTT_MALFORMED (wire 0x81) when they are cut off */
export function binaryEnd(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 2) throw malformed("a length is cut off");
  const valueEnd = at + 2 + readUint16(bytes, at);
  if (valueEnd > end) throw malformed("a field is cut off");
  return valueEnd;
}

/** As `binaryEnd`, for a UTF-8 string, whose bytes it checks. @throws ProtocolError MQTT_MALFORMED (wire 0x81) */
export function stringEnd(bytes: Uint8Array, at: number, end: number): number {
  const valueEnd = binaryEnd(bytes, at, end);
  if (!isUtf8(bytes, at + 2, valueEnd)) throw malformed("a string is not well-formed UTF-8 [MQTT-1.5.4-1] [MQTT-1.5.4-2]");
  return valueEnd;
}

/** As `stringEnd`, for a topic name: not empty, no wildcards. @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x90) */
export function topicEnd(bytes: Uint8Array, at: number, end: number): number {
  const valueEnd = binaryEnd(bytes, at, end);
  const fault = topicFault(bytes, at + 2, valueEnd);
  if (fault === TOPIC_FAULT.NOT_UTF8) throw malformed("a topic is not well-formed UTF-8 [MQTT-1.5.4-1] [MQTT-1.5.4-2]");
  if (fault === TOPIC_FAULT.WILDCARD) throw violationWith(REASON.TOPIC_NAME_INVALID, "a topic name has wildcards [MQTT-3.3.2-2] [MQTT-3.3.2-14]");
  if (valueEnd === at + 2) throw violationWith(REASON.TOPIC_NAME_INVALID, "a topic name is empty [MQTT-4.7.3-1]");
  return valueEnd;
}

function noteSeen(id: number, seen: SeenProperties): void {
  const bit = 1 << (id & 31);
  if (id < 32) {
    if ((seen.low & bit) !== 0) refuseSecond(id);
    seen.low |= bit;
  } else {
    if ((seen.high & bit) !== 0) refuseSecond(id);
    seen.high |= bit;
  }
}

function need(at: number, length: number, end: number): void {
  if (end - at < length) throw malformed("a property is cut off");
}

function refuseSecond(id: number): never {
  throw violation(`property 0x${id.toString(16)} stands twice`);
}

/** Topic alias maximum is the one number among the two- and variable-byte ones that may be 0. */
function refuseZero(id: number): void {
  if (id === PROPERTY.TOPIC_ALIAS_MAXIMUM) return;
  if (id === PROPERTY.TOPIC_ALIAS) throw violationWith(REASON.TOPIC_ALIAS_INVALID, "the topic alias is 0 [MQTT-3.3.2-8]");
  throw violation(`property 0x${id.toString(16)} is 0`);
}
