// How a published message lies in memory between threads and on disk: in shard -> shard, shard -> store and shard -> lane rings, and
// as a PUBLISH entry of the journal (docs/journal-format.md). One layout everywhere, so that no hop re-encodes. Hot path.
//
//   0  f64 receivedAt     Unix ms, wall clock of arrival
//   8  u32 deviceHash     FNV-1a of the device id: which lane it belongs to
//  12  u32 payloadLength
//  16  u32 expiresIn      seconds (MQTT 5 message expiry) or 0xffffffff
//  20  u16 topicLength
//  22  u16 clientIdLength the publisher's
//  24  u16 propertiesLength  MQTT 5 properties to forward (content type, user properties, …), as on the wire without their length
//  26  u16 packetId       of a QoS 2 PUBLISH, else 0
//  28  u8  flags          MESSAGE_FLAG: bits 0-1 QoS, bit 2 retain, bit 4 a lane consumes it, bit 5 held
//  29  u8[3] zero
//  32  f64 id             QoS >= 1 or retained: unique, ascending per shard (broker/message-ids.ts); else 0
//  40  topic, clientId, properties, payload
export const MESSAGE_HEAD_SIZE = 40;
/** Where `expiresIn`, `flags` and `id` lie in a record. */
export const MESSAGE_EXPIRES_IN_AT = 16;
export const MESSAGE_FLAGS_AT = 28;
export const MESSAGE_ID_AT = 32;
export const EXPIRES_NEVER = 0xffff_ffff;
export const MESSAGE_FLAG = {
  QOS_MASK: 0b11,
  RETAIN: 0b100,
  /** A lane consumes this message (its topic feeds history). */
  LANE: 0b1_0000,
  /** A QoS 2 PUBLISH of a client: delivered only when it was on disk, so behind QoS 1 messages that came later. */
  HELD: 0b10_0000,
} as const;

/** Size of a message record with these parts. */
export function messageSize(topicLength: number, clientIdLength: number, propertiesLength: number, payloadLength: number): number {
  return MESSAGE_HEAD_SIZE + topicLength + clientIdLength + propertiesLength + payloadLength;
}

/** Reads message records in place; `at` is the record's first byte in `bytes`. One instance is re-used for every record. */
export class MessageView {
  receivedAt = 0;
  deviceHash = 0;
  expiresIn = EXPIRES_NEVER;
  packetId = 0;
  flags = 0;
  id = 0;
  topicAt = 0;
  topicLength = 0;
  clientIdAt = 0;
  clientIdLength = 0;
  propertiesAt = 0;
  propertiesLength = 0;
  payloadAt = 0;
  payloadLength = 0;

  get qos(): number {
    return this.flags & MESSAGE_FLAG.QOS_MASK;
  }

  get retain(): boolean {
    return (this.flags & MESSAGE_FLAG.RETAIN) !== 0;
  }

  /** @param view a DataView over the same memory as the bytes that are read later */
  read(view: DataView, at: number): void {
    this.receivedAt = view.getFloat64(at, true);
    this.deviceHash = view.getUint32(at + 8, true);
    this.payloadLength = view.getUint32(at + 12, true);
    this.expiresIn = view.getUint32(at + MESSAGE_EXPIRES_IN_AT, true);
    this.topicLength = view.getUint16(at + 20, true);
    this.clientIdLength = view.getUint16(at + 22, true);
    this.propertiesLength = view.getUint16(at + 24, true);
    this.packetId = view.getUint16(at + 26, true);
    this.flags = view.getUint8(at + MESSAGE_FLAGS_AT);
    this.id = view.getFloat64(at + MESSAGE_ID_AT, true);
    this.topicAt = at + MESSAGE_HEAD_SIZE;
    this.clientIdAt = this.topicAt + this.topicLength;
    this.propertiesAt = this.clientIdAt + this.clientIdLength;
    this.payloadAt = this.propertiesAt + this.propertiesLength;
  }
}

/** Writes the fixed head; the caller then copies topic, client id, properties and payload behind it in that order. */
export function writeMessageHead(
  view: DataView, at: number, receivedAt: number, deviceHash: number, expiresIn: number, packetId: number, flags: number,
  topicLength: number, clientIdLength: number, propertiesLength: number, payloadLength: number, id: number,
): void {
  view.setFloat64(at, receivedAt, true);
  view.setUint32(at + 8, deviceHash, true);
  view.setUint32(at + 12, payloadLength, true);
  view.setUint32(at + MESSAGE_EXPIRES_IN_AT, expiresIn, true);
  view.setUint16(at + 20, topicLength, true);
  view.setUint16(at + 22, clientIdLength, true);
  view.setUint16(at + 24, propertiesLength, true);
  view.setUint16(at + 26, packetId, true);
  view.setUint32(at + MESSAGE_FLAGS_AT, flags, true);
  view.setFloat64(at + MESSAGE_ID_AT, id, true);
}

/** Changes the time of arrival of a record that was written before it was published. @param view over the record alone */
export function setReceivedAt(view: DataView, receivedAt: number): void {
  view.setFloat64(0, receivedAt, true);
}

/** Gives a record its id. @param view over the record alone */
export function setMessageId(view: DataView, id: number): void {
  view.setFloat64(MESSAGE_ID_AT, id, true);
}
