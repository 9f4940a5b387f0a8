// The control packets of MQTT 3.1.1 (§2.2.1) and 5.0 (§2.1.2), and the versions of the protocol that are spoken.

/** Protocol level in CONNECT: 4 is MQTT 3.1.1, 5 is MQTT 5.0. */
export type ProtocolVersion = 4 | 5;

/** High nibble of a packet's first byte. */
export const PACKET = {
  CONNECT: 1,
  CONNACK: 2,
  PUBLISH: 3,
  PUBACK: 4,
  PUBREC: 5,
  PUBREL: 6,
  PUBCOMP: 7,
  SUBSCRIBE: 8,
  SUBACK: 9,
  UNSUBSCRIBE: 10,
  UNSUBACK: 11,
  PINGREQ: 12,
  PINGRESP: 13,
  DISCONNECT: 14,
  AUTH: 15,
} as const;

export type PacketName = keyof typeof PACKET;

/** Packet names by type, for details of errors and counters; index 0 is reserved by the standard. */
export const PACKET_NAMES: readonly string[] = ["reserved", ...Object.keys(PACKET)];

/** Packets of an acknowledgement: two to five bytes that name a packet id. */
export type AckType = typeof PACKET.PUBACK | typeof PACKET.PUBREC | typeof PACKET.PUBREL | typeof PACKET.PUBCOMP;
