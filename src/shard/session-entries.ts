// What the journal's entries about sessions hold (kinds 2 to 14 and 16 to 23 of base/journal-entry.ts): written by session-journal.ts and checkpoint.ts,
// read back by session-replay.ts. Entries that come with every message are binary; those that come with a CONNECT or a SUBSCRIBE are JSON in UTF-8.
import type { Identity } from "../base/identity.js";
import { MESSAGE_EXPIRES_IN_AT, MessageView } from "../base/message-record.js";
import type { Subscription, Will } from "../broker/session.js";
import { groupClientId } from "../broker/shared-groups.js";
import { StoredMessage } from "../broker/stored-message.js";

/** SESSION: the client has connected. Later fields of the same session win. */
export interface SessionEntry {
  readonly clientId: string;
  readonly version: 4 | 5;
  /** Session expiry interval in seconds (EXPIRY_NEVER = never); 0: only its will outlives the connection. */
  readonly expiry: number;
  /** It begins with nothing; else it goes on. */
  readonly isNew: boolean;
  /** Whom access rules see; missing in journals of format version 1. */
  readonly identity?: Identity;
  readonly will: WillEntry | null;
}

export interface WillEntry {
  /** The message record in base64. */
  readonly record: string;
  readonly expiresIn: number;
  readonly delaySeconds: number;
}

/** SESSION_LEFT. Times are of the running time (TIME); null = never. */
export interface SessionLeftEntry {
  readonly clientId: string;
  readonly endsAt: number | null;
  /** null: the will was published or discarded. */
  readonly willAt: number | null;
}

export interface SubscriptionEntry {
  readonly filter: string;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly identifier: number;
}

export interface UnsubscribeEntry {
  readonly clientId: string;
  readonly filter: string;
  /** The shard's `applied`: messages with higher ids that stand before this in the journal came to the session after it. */
  readonly applied: readonly number[];
}

export interface SubscribeEntry extends SubscriptionEntry, UnsubscribeEntry {
  /** The session had no subscription to the filter. */
  readonly isNew: boolean;
  /** Number of the shard's last change of interest before this one (Interests): a HEARD follows. Missing: none does (a single shard; a shared subscription, whose group has entries of its own). */
  readonly change?: number;
  /** The shard that wrote this, when a HEARD follows: of its own messages it has heard. */
  readonly shard?: number;
}

/** HEARD: all shards know of new subscriptions of a session, and SUBACK leaves when this is on disk. */
export interface HeardEntry {
  readonly clientId: string;
  readonly filters: readonly string[];
  /** SUBSCRIBEs up to this `change`; null = all. */
  readonly change: number | null;
  /** As `applied`, but what each other shard had delivered: messages up to these ids did not come to the session by these subscriptions alone, or before their SUBACK. */
  readonly delivered: readonly number[];
}

/** A delivery by its message's id: [id, qos, retain, subscription identifiers], and of a shared subscription the name of the group. */
export type DeliveryEntry = readonly [number, number, boolean, readonly number[] | null, string?];

/** The client id of the group that gave it (broker/shared-groups.ts), or null. */
export function deliveryGroup(delivery: DeliveryEntry): string | null {
  return delivery[4] === undefined ? null : groupClientId(delivery[4]);
}

/** As `deliveryKey`. */
export function keyOfEntry([id, , , , group]: DeliveryEntry): number {
  return group === undefined ? id : -id;
}

/** SNAPSHOT: replaces what was known of the session. */
export interface SnapshotEntry extends SessionEntry {
  readonly isConnected: boolean;
  readonly endsAt: number | null;
  readonly willAt: number | null;
  readonly subscriptions: readonly SubscriptionEntry[];
  /** [packet id, INFLIGHT_STATE, delivery] in the order of sending; QoS 1 stands in `queue`. */
  readonly inflight: readonly (readonly [number, number, DeliveryEntry | null])[];
  readonly queue: readonly DeliveryEntry[];
  /** QoS 2 packet ids received and not released. */
  readonly received: readonly number[];
  /** Those that were answered with an error; missing in journals of format version 1. */
  readonly refused?: readonly number[];
  /** The shard's `applied` when it was taken: messages with higher ids are not in it. */
  readonly applied: readonly number[];
}

/** SNAPSHOT_PART: u32 which part, u32 of how many, u16 length of client id, client id, the part's bytes of the JSON `SnapshotEntry`. */
export function snapshotPartEntry(index: number, count: number, clientId: Uint8Array, part: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(PART_HEAD_SIZE + clientId.length + part.length);
  bytes.writeUInt32LE(index, 0);
  bytes.writeUInt32LE(count, 4);
  bytes.writeUInt16LE(clientId.length, 8);
  bytes.set(clientId, PART_HEAD_SIZE);
  bytes.set(part, PART_HEAD_SIZE + clientId.length);
  return bytes;
}
const PART_HEAD_SIZE = 10;

/** Puts SNAPSHOT_PARTs of all sessions together. What the journal does not have from its first part on is left out: a later snapshot is whole. */
export class SnapshotParts {
  private readonly byClient = new Map<string, Buffer[]>();

  /** @returns the whole JSON after its last part, else null */
  add(entry: Buffer): Buffer | null {
    const index = entry.readUInt32LE(0);
    const count = entry.readUInt32LE(4);
    const partAt = PART_HEAD_SIZE + entry.readUInt16LE(8);
    const clientId = entry.toString("utf8", PART_HEAD_SIZE, partAt);
    let parts = this.byClient.get(clientId);
    if (index === 0) this.byClient.set(clientId, (parts = []));
    if (parts?.length !== index) return null;
    parts.push(Buffer.from(entry.subarray(partAt)));
    if (parts.length < count) return null;
    this.byClient.delete(clientId);
    return Buffer.concat(parts);
  }
}

export function jsonEntry(value: object): Buffer {
  return Buffer.from(JSON.stringify(value), "utf8");
}

export function willEntry(will: Will | null): WillEntry | null {
  return will === null ? null : { record: will.message.record.toString("base64"), expiresIn: will.expiresIn, delaySeconds: will.delaySeconds };
}

export function willOf(entry: WillEntry): Will {
  const record = Buffer.from(entry.record, "base64");
  const view = new MessageView();
  view.read(new DataView(record.buffer, record.byteOffset, record.length), 0);
  const topic = record.toString("utf8", view.topicAt, view.topicAt + view.topicLength);
  return { message: new StoredMessage(topic, record, Number.POSITIVE_INFINITY), expiresIn: entry.expiresIn, delaySeconds: entry.delaySeconds };
}

export function subscriptionEntry(subscription: Subscription): SubscriptionEntry {
  const { filter, qos, noLocal, retainAsPublished, identifier } = subscription;
  return { filter, qos, noLocal, retainAsPublished, identifier };
}

/** RELEASE, RECEIVED, DONE, REFUSED: u16 packet id, client id. */
export function packetEntry(packetId: number, clientId: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(2 + clientId.length);
  bytes.writeUInt16LE(packetId, 0);
  bytes.set(clientId, 2);
  return bytes;
}

/** SENT: u16 packet id, f64 message id (deliveryKey), client id. */
export function sentEntry(packetId: number, messageId: number, clientId: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(10 + clientId.length);
  bytes.writeUInt16LE(packetId, 0);
  bytes.writeDoubleLE(messageId, 2);
  bytes.set(clientId, 10);
  return bytes;
}

/** ACKED: u16 count, f64[count] message ids (deliveryKey), client id. */
export function ackedEntry(messageIds: readonly number[], clientId: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(2 + 8 * messageIds.length + clientId.length);
  bytes.writeUInt16LE(messageIds.length, 0);
  let at = 2;
  for (const id of messageIds) at = bytes.writeDoubleLE(id, at);
  bytes.set(clientId, at);
  return bytes;
}

/** Most ids of one ACKED entry. */
export const ACKED_COUNT_MAX = 4096;

/** QUEUED: u8 qos, u8 retain, u16 length of client id, u32 subscription identifier (0 = none), client id, message record. */
export function queuedEntry(qos: number, isRetained: boolean, identifier: number, clientId: Uint8Array, record: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(QUEUED_HEAD_SIZE + clientId.length + record.length);
  bytes[0] = qos;
  bytes[1] = isRetained ? 1 : 0;
  bytes.writeUInt16LE(clientId.length, 2);
  bytes.writeUInt32LE(identifier, 4);
  bytes.set(clientId, QUEUED_HEAD_SIZE);
  bytes.set(record, QUEUED_HEAD_SIZE + clientId.length);
  return bytes;
}
export const QUEUED_HEAD_SIZE = 8;

/** GIVEN_DONE: u16 count, f64[count] message ids, the group's name. */
export function givenDoneEntry(messageIds: readonly number[], group: string): Buffer {
  return ackedEntry(messageIds, Buffer.from(group, "utf8"));
}

/** GIVEN, GIVEN_BACK: u8 qos, u8 retain, u16 length of client id, u32 subscription identifier (0 = none), u32 length of the group's name, client id, name, message record. */
export function givenEntry(qos: number, isRetained: boolean, identifier: number, clientId: Uint8Array, group: string, record: Uint8Array): Buffer {
  const groupLength = Buffer.byteLength(group);
  const bytes = Buffer.allocUnsafe(GIVEN_HEAD_SIZE + clientId.length + groupLength + record.length);
  bytes[0] = qos;
  bytes[1] = isRetained ? 1 : 0;
  bytes.writeUInt16LE(clientId.length, 2);
  bytes.writeUInt32LE(identifier, 4);
  bytes.writeUInt32LE(groupLength, 8);
  bytes.set(clientId, GIVEN_HEAD_SIZE);
  bytes.write(group, GIVEN_HEAD_SIZE + clientId.length, "utf8");
  bytes.set(record, GIVEN_HEAD_SIZE + clientId.length + groupLength);
  return bytes;
}
export const GIVEN_HEAD_SIZE = 12;

/**
 * KEPT: u8 shard, u8 number of shards, u16 1, u32 running time in seconds since when it waits, message record. With another number of shards
 * everybody may need it. In journals of format version 1: u16 0, and the record follows at once.
 *
 * @param expiresIn what is left of the message's expiry, seconds
 */
export function keptEntry(shard: number, shards: number, expiresIn: number, queuedSince: number, record: Uint8Array): Buffer {
  const bytes = Buffer.alloc(KEPT_HEAD_SIZE + record.length);
  bytes[0] = shard;
  bytes[1] = shards;
  bytes.writeUInt16LE(KEPT_WITH_TIME, 2);
  bytes.writeUInt32LE(queuedSince, 4);
  bytes.set(record, KEPT_HEAD_SIZE);
  bytes.writeUInt32LE(expiresIn, KEPT_HEAD_SIZE + MESSAGE_EXPIRES_IN_AT);
  return bytes;
}
export const KEPT_HEAD_SIZE = 8;
const KEPT_WITH_TIME = 1;

/** Where the record of a KEPT entry at `at` begins. */
export function keptHeadSize(view: DataView, at: number): number {
  return view.getUint16(at + 2, true) === KEPT_WITH_TIME ? KEPT_HEAD_SIZE : 4;
}

/** TIME: f64 seconds. CHECKPOINT: f64 LSN, f64 the last message id: those that are trimmed must not be given out again. */
export function numbersEntry(...values: readonly number[]): Buffer {
  const bytes = Buffer.allocUnsafe(8 * values.length);
  let at = 0;
  for (const value of values) at = bytes.writeDoubleLE(value, at);
  return bytes;
}

/** A time of the running time as JSON can hold it. */
export function timeOrNull(time: number): number | null {
  return time === Number.POSITIVE_INFINITY ? null : time;
}
