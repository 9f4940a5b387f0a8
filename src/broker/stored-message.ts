// A published message in memory of its own: what queues, inflight windows, wills and retained values hold. Pure.
// Ownership: `record` is a message record (base/message-record.ts) that nobody changes; it is shared by all who keep the message.
import { EXPIRES_NEVER, MESSAGE_FLAG, MESSAGE_FLAGS_AT, MESSAGE_ID_AT, messageSize, writeMessageHead } from "../base/message-record.js";

/** `queuedSince` of a message that no session's queue has held yet. */
export const NOT_QUEUED = -1;

export class StoredMessage {
  readonly topic: string;
  readonly record: Buffer;
  readonly view: DataView;
  /** Monotonic milliseconds after which it is not delivered any more; Infinity = never (MQTT 5 §3.3.2.3.3). Set later only by a replay. */
  expiresAt: number;
  /** Number of the last checkpoint that wrote it anew into the journal (shard/checkpoint.ts). */
  keptIn = 0;
  /** Running time in whole seconds since when it waits in queues (their age limit); NOT_QUEUED. */
  queuedSince = NOT_QUEUED;

  constructor(topic: string, record: Buffer, expiresAt: number) {
    this.topic = topic;
    this.record = record;
    this.view = new DataView(record.buffer, record.byteOffset, record.length);
    this.expiresAt = expiresAt;
  }

  /** 0 for QoS 0 that is not retained. */
  get id(): number {
    return this.view.getFloat64(MESSAGE_ID_AT, true);
  }

  get qos(): number {
    return this.record[MESSAGE_FLAGS_AT]! & MESSAGE_FLAG.QOS_MASK;
  }

  get retain(): boolean {
    return (this.record[MESSAGE_FLAGS_AT]! & MESSAGE_FLAG.RETAIN) !== 0;
  }

  /** Bytes it holds, for the limits of queues (the object itself is counted as 128). */
  get size(): number {
    return this.record.length + 128;
  }
}

/** What is left of a message's expiry, in seconds and at least 1; EXPIRES_NEVER. Times are monotonic ms. */
export function secondsLeft(expiresAt: number, now: number): number {
  return expiresAt === Number.POSITIVE_INFINITY ? EXPIRES_NEVER : Math.max(1, Math.ceil((expiresAt - now) / 1000));
}

export interface MessageParts {
  readonly topic: string;
  readonly payload: Uint8Array;
  /** MQTT 5 properties as on the wire, without their length, without topic alias and message expiry. */
  readonly properties: Uint8Array;
  readonly clientId: string;
  readonly qos: number;
  readonly retain: boolean;
  /** Seconds, or EXPIRES_NEVER. */
  readonly expiresIn: number;
  readonly receivedAt: number;
  readonly deviceHash: number;
  readonly isForLane: boolean;
}

/** Builds a message that did not come as a PUBLISH (a will, a value published by the gateway). */
export function storedMessage(parts: MessageParts, expiresAt: number): StoredMessage {
  const topic = Buffer.from(parts.topic, "utf8");
  const clientId = Buffer.from(parts.clientId, "utf8");
  const record = Buffer.alloc(messageSize(topic.length, clientId.length, parts.properties.length, parts.payload.length));
  const flags = parts.qos | (parts.retain ? MESSAGE_FLAG.RETAIN : 0) | (parts.isForLane ? MESSAGE_FLAG.LANE : 0);
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  writeMessageHead(view, 0, parts.receivedAt, parts.deviceHash, parts.expiresIn, 0, flags, topic.length, clientId.length, parts.properties.length, parts.payload.length, 0);
  let at = messageSize(0, 0, 0, 0);
  for (const part of [topic, clientId, parts.properties, parts.payload]) {
    record.set(part, at);
    at += part.length;
  }
  return new StoredMessage(parts.topic, record, expiresAt);
}
