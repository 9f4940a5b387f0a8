// MQTT 5 reason codes (§2.4) as data, the 3.1.1 CONNACK return codes (§3.2.2.3), and how the former become the latter.
import { PACKET, type PacketName } from "./packet-types.js";

export const REASON = {
  SUCCESS: 0x00,
  GRANTED_QOS_1: 0x01,
  GRANTED_QOS_2: 0x02,
  DISCONNECT_WITH_WILL: 0x04,
  NO_MATCHING_SUBSCRIBERS: 0x10,
  NO_SUBSCRIPTION_EXISTED: 0x11,
  CONTINUE_AUTHENTICATION: 0x18,
  REAUTHENTICATE: 0x19,
  UNSPECIFIED: 0x80,
  MALFORMED_PACKET: 0x81,
  PROTOCOL_ERROR: 0x82,
  IMPLEMENTATION_SPECIFIC: 0x83,
  UNSUPPORTED_VERSION: 0x84,
  CLIENT_ID_NOT_VALID: 0x85,
  BAD_CREDENTIALS: 0x86,
  NOT_AUTHORIZED: 0x87,
  SERVER_UNAVAILABLE: 0x88,
  SERVER_BUSY: 0x89,
  BANNED: 0x8a,
  SERVER_SHUTTING_DOWN: 0x8b,
  BAD_AUTHENTICATION_METHOD: 0x8c,
  KEEP_ALIVE_TIMEOUT: 0x8d,
  SESSION_TAKEN_OVER: 0x8e,
  TOPIC_FILTER_INVALID: 0x8f,
  TOPIC_NAME_INVALID: 0x90,
  PACKET_ID_IN_USE: 0x91,
  PACKET_ID_NOT_FOUND: 0x92,
  RECEIVE_MAXIMUM_EXCEEDED: 0x93,
  TOPIC_ALIAS_INVALID: 0x94,
  PACKET_TOO_LARGE: 0x95,
  MESSAGE_RATE_TOO_HIGH: 0x96,
  QUOTA_EXCEEDED: 0x97,
  ADMINISTRATIVE_ACTION: 0x98,
  PAYLOAD_FORMAT_INVALID: 0x99,
  RETAIN_NOT_SUPPORTED: 0x9a,
  QOS_NOT_SUPPORTED: 0x9b,
  USE_ANOTHER_SERVER: 0x9c,
  SERVER_MOVED: 0x9d,
  SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: 0x9e,
  CONNECTION_RATE_EXCEEDED: 0x9f,
  MAXIMUM_CONNECT_TIME: 0xa0,
  SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: 0xa1,
  WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: 0xa2,
} as const;

export interface ReasonCodeEntry {
  readonly code: number;
  /** The standard's words. */
  readonly name: string;
  /** Packets that may carry it. */
  readonly packets: readonly PacketName[];
}

/** MQTT 5 §2.4, table 2-6. Code 0 has three names in the standard, by packet; it stands here once. */
export const REASON_CODES: readonly ReasonCodeEntry[] = [
  { code: 0x00, name: "Success", packets: ["CONNACK", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "DISCONNECT", "AUTH"] },
  { code: 0x01, name: "Granted QoS 1", packets: ["SUBACK"] },
  { code: 0x02, name: "Granted QoS 2", packets: ["SUBACK"] },
  { code: 0x04, name: "Disconnect with Will Message", packets: ["DISCONNECT"] },
  { code: 0x10, name: "No matching subscribers", packets: ["PUBACK", "PUBREC"] },
  { code: 0x11, name: "No subscription existed", packets: ["UNSUBACK"] },
  { code: 0x18, name: "Continue authentication", packets: ["AUTH"] },
  { code: 0x19, name: "Re-authenticate", packets: ["AUTH"] },
  { code: 0x80, name: "Unspecified error", packets: ["CONNACK", "PUBACK", "PUBREC", "SUBACK", "UNSUBACK", "DISCONNECT"] },
  { code: 0x81, name: "Malformed Packet", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x82, name: "Protocol Error", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x83, name: "Implementation specific error", packets: ["CONNACK", "PUBACK", "PUBREC", "SUBACK", "UNSUBACK", "DISCONNECT"] },
  { code: 0x84, name: "Unsupported Protocol Version", packets: ["CONNACK"] },
  { code: 0x85, name: "Client Identifier not valid", packets: ["CONNACK"] },
  { code: 0x86, name: "Bad User Name or Password", packets: ["CONNACK"] },
  { code: 0x87, name: "Not authorized", packets: ["CONNACK", "PUBACK", "PUBREC", "SUBACK", "UNSUBACK", "DISCONNECT"] },
  { code: 0x88, name: "Server unavailable", packets: ["CONNACK"] },
  { code: 0x89, name: "Server busy", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x8a, name: "Banned", packets: ["CONNACK"] },
  { code: 0x8b, name: "Server shutting down", packets: ["DISCONNECT"] },
  { code: 0x8c, name: "Bad authentication method", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x8d, name: "Keep Alive timeout", packets: ["DISCONNECT"] },
  { code: 0x8e, name: "Session taken over", packets: ["DISCONNECT"] },
  { code: 0x8f, name: "Topic Filter invalid", packets: ["SUBACK", "UNSUBACK", "DISCONNECT"] },
  { code: 0x90, name: "Topic Name invalid", packets: ["CONNACK", "PUBACK", "PUBREC", "DISCONNECT"] },
  { code: 0x91, name: "Packet Identifier in use", packets: ["PUBACK", "PUBREC", "SUBACK", "UNSUBACK"] },
  { code: 0x92, name: "Packet Identifier not found", packets: ["PUBREL", "PUBCOMP"] },
  { code: 0x93, name: "Receive Maximum exceeded", packets: ["DISCONNECT"] },
  { code: 0x94, name: "Topic Alias invalid", packets: ["DISCONNECT"] },
  { code: 0x95, name: "Packet too large", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x96, name: "Message rate too high", packets: ["DISCONNECT"] },
  { code: 0x97, name: "Quota exceeded", packets: ["CONNACK", "PUBACK", "PUBREC", "SUBACK", "DISCONNECT"] },
  { code: 0x98, name: "Administrative action", packets: ["DISCONNECT"] },
  { code: 0x99, name: "Payload format invalid", packets: ["CONNACK", "PUBACK", "PUBREC", "DISCONNECT"] },
  { code: 0x9a, name: "Retain not supported", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x9b, name: "QoS not supported", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x9c, name: "Use another server", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x9d, name: "Server moved", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0x9e, name: "Shared Subscriptions not supported", packets: ["SUBACK", "DISCONNECT"] },
  { code: 0x9f, name: "Connection rate exceeded", packets: ["CONNACK", "DISCONNECT"] },
  { code: 0xa0, name: "Maximum connect time", packets: ["DISCONNECT"] },
  { code: 0xa1, name: "Subscription Identifiers not supported", packets: ["SUBACK", "DISCONNECT"] },
  { code: 0xa2, name: "Wildcard Subscriptions not supported", packets: ["SUBACK", "DISCONNECT"] },
];

/** By reason code: bit per packet type that may carry it. */
const carriers = new Uint16Array(256);
for (const entry of REASON_CODES) for (const name of entry.packets) carriers[entry.code]! |= 1 << PACKET[name];

/** Whether the standard lets packets of this type carry the reason code. */
export function isReasonCodeOf(packetType: number, code: number): boolean {
  return (carriers[code]! & (1 << packetType)) !== 0;
}

/** The standard's words for a reason code, for log lines. */
export function reasonName(code: number): string {
  return REASON_CODES.find((entry) => entry.code === code)?.name ?? `reason 0x${code.toString(16)}`;
}

/** MQTT 3.1.1 §3.2.2.3. */
export const RETURN_CODE = {
  ACCEPTED: 0,
  UNACCEPTABLE_VERSION: 1,
  IDENTIFIER_REJECTED: 2,
  SERVER_UNAVAILABLE: 3,
  BAD_CREDENTIALS: 4,
  NOT_AUTHORIZED: 5,
} as const;

const RETURN_CODES: ReadonlyMap<number, number> = new Map([
  [REASON.SUCCESS, RETURN_CODE.ACCEPTED],
  [REASON.UNSUPPORTED_VERSION, RETURN_CODE.UNACCEPTABLE_VERSION],
  [REASON.CLIENT_ID_NOT_VALID, RETURN_CODE.IDENTIFIER_REJECTED],
  [REASON.BAD_CREDENTIALS, RETURN_CODE.BAD_CREDENTIALS],
  [REASON.NOT_AUTHORIZED, RETURN_CODE.NOT_AUTHORIZED],
  [REASON.BANNED, RETURN_CODE.NOT_AUTHORIZED],
  [REASON.BAD_AUTHENTICATION_METHOD, RETURN_CODE.NOT_AUTHORIZED],
  [REASON.SERVER_UNAVAILABLE, RETURN_CODE.SERVER_UNAVAILABLE],
  [REASON.SERVER_BUSY, RETURN_CODE.SERVER_UNAVAILABLE],
  [REASON.QUOTA_EXCEEDED, RETURN_CODE.SERVER_UNAVAILABLE],
  [REASON.CONNECTION_RATE_EXCEEDED, RETURN_CODE.SERVER_UNAVAILABLE],
  [REASON.USE_ANOTHER_SERVER, RETURN_CODE.SERVER_UNAVAILABLE],
]);

/**
 * The 3.1.1 CONNACK return code for a reason code; null where none is applicable: the connection is closed without a CONNACK
 * [MQTT3-3.2.2-6], above all after a CONNECT that does not conform [MQTT3-3.1.4-1].
 */
export function returnCodeOf(reason: number): number | null {
  return RETURN_CODES.get(reason) ?? null;
}
