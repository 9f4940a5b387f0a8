// The rings a shard writes into: to the store, to the other shards, to the lanes; and the doorbells that go with them. Hot path.
// Thread: the shard's. Nothing waits: `…HasRoom` is asked before a message is taken, so that it goes everywhere or stays in the inbound ring.
import { copyBytes } from "../base/bytes.js";
import { ENTRY } from "../base/journal-entry.js";
import { SHARD_RING_SPARE } from "../base/limits.js";
import { MESSAGE_HEAD_SIZE, MessageView, writeMessageHead } from "../base/message-record.js";
import type { ShardStart } from "../base/messages.js";
import { secondsLeft, type StoredMessage } from "../broker/stored-message.js";
import { DOORBELL } from "../ring/layout.js";
import { RingWriter } from "../ring/ring.js";

/** Records of the shard -> shard rings. */
export const PEER = {
  /** A message record for the target's subscribers. */
  MESSAGE: 1,
  /** UTF-8 filter: the source has a first subscriber; `id` = its change number, counted when applied; 0 within the answer to HELLO. */
  INTEREST_ADD: 2,
  /** UTF-8 filter: its last subscriber left; `id` = change number. */
  INTEREST_REMOVE: 3,
  /** The source (re)started: forget its interests, tell it yours. `id` = change number; u32 after how many deaths it began (liveness.ts). */
  HELLO: 4,
  /** Ends the answer to HELLO (peer-inlet.ts, welcomeBytes); `id` = the last change number, counted when read. */
  WELCOME: 5,
  /** The last word on a retained topic: a message record (an empty payload removes it). */
  RETAINED: 6,
  /** f64 LSN: whatever the source had put into the journal before it, it has sent before this (shard/checkpoint.ts). */
  BARRIER: 7,
  /** u32 number of a HELLO: the interests that the source has taken up from the journal were told. Tell it the retained messages, then WELCOME. */
  INTRODUCED: 8,
  // Of shared subscriptions (shared-subscriptions.ts), to the owner of a group:
  /** A member is there, changed or left (shared-owner.ts, MEMBER_HEAD_SIZE); `id` = request to answer with SHARED_KNOWN; 0 = none. */
  SHARED_MEMBER: 9,
  /** The source, which (re)started, has told all members that it has. */
  SHARED_ANNOUNCED: 10,
  /** What became of a DIRECT message; `id` = the owner's life as there; u32 group, u32 verdict, f64 sequence. */
  SHARED_ANSWER: 11,
  /** The source (re)started and found messages of a group in its sessions: u32 length of the group's name, f64[] message ids, name. Before SHARED_ANNOUNCED. */
  SHARED_HELD: 14,
  /** A message comes back that an earlier owner had given; `id` 1 = the journal knows of it; u32 length of the group's name, name, message record. */
  SHARED_BACK: 15,
  /** Messages that SHARED_HELD named, or that a shard had when it died, have come to their end: as SHARED_HELD. */
  SHARED_DONE: 16,
  // from the owner:
  /** The member of request `id` counts: the group's interest is known to all shards. */
  SHARED_KNOWN: 12,
  /** A message record for one member, then u32 group, u32 handle of the member, f64 sequence; `id` = the owner's life. */
  DIRECT: 13,
  /** UTF-8 filter: a session of the source that it leads to has a full queue (full-marks.ts). */
  FULL: 20,
  /** UTF-8 filter: none has any more. */
  NOT_FULL: 21,
} as const;

const NOTHING = new Uint8Array(0);
/** Of what stands behind a DIRECT record's message. */
export const DIRECT_TAIL_SIZE = 16;
/** Room kept free in the store ring for entries about sessions, which must not be refused. */
const STORE_RING_SPARE = 256 * 1024;

/**
 * A message on its way through the shard: payload and properties lie in `bytes` (inbound ring, peer ring or a StoredMessage), the topic
 * in its route. One re-used instance per reader; borrowed until the batch ends.
 */
export class MessageSource extends MessageView {
  bytes: Uint8Array = NOTHING;
  topicBytes: Uint8Array = NOTHING;

  /** Takes a message in memory of its own. @param now monotonic */
  load(message: StoredMessage, now: number): void {
    this.read(message.view, 0);
    this.bytes = message.record;
    this.topicBytes = message.record.subarray(this.topicAt, this.topicAt + this.topicLength);
    this.expiresIn = secondsLeft(message.expiresAt, now);
  }
}

export class Outlets {
  readonly store: RingWriter;
  private readonly storeCapacity: number;
  private readonly shard: number;
  private readonly shards: number;
  private readonly peers: (RingWriter | null)[];
  private readonly lanes: RingWriter[];
  private readonly ring: (slot: number) => void;
  /** Lanes and peers written to since the last `publish`. */
  private dirtyLanes = 0;
  private dirtyPeers = 0;
  private putAt = 0;

  constructor(start: ShardStart, ring: (slot: number) => void) {
    this.shard = start.shard;
    this.shards = start.shards;
    this.store = new RingWriter(start.toStore);
    this.storeCapacity = start.toStore.capacity;
    this.peers = start.toShards.map((place, target) => (target === start.shard ? null : new RingWriter(place)));
    this.lanes = start.toLanes.map((place) => new RingWriter(place));
    this.ring = ring;
  }

  storeHasRoom(size: number): boolean {
    return this.store.hasRoom(size, STORE_RING_SPARE);
  }

  /** Whether an entry fits and half of the ring is free, for those that clients wait for: one of any size that clients can send has its time. */
  storeIsRoomy(size: number): boolean {
    return this.store.hasRoom(0, this.storeCapacity >> 1) && this.storeHasRoom(size);
  }

  /** True when all shards in `mask` have room for a record of `size`. */
  peersHaveRoom(mask: number, size: number): boolean {
    for (let target = 0; target < this.shards; target++) {
      if ((mask & (1 << target)) !== 0 && !this.peers[target]!.hasRoom(size, SHARD_RING_SPARE)) return false;
    }
    return true;
  }

  /** Appends a PUBLISH or RETAINED entry. REQUIRES: storeHasRoom */
  journal(kind: number, message: MessageSource, clientId: Uint8Array, packetId: number): void {
    const length = this.put(this.store, message, clientId, packetId, 0);
    this.store.commit(kind, 0, length);
  }

  /** Appends an entry about a session. @returns false when even the spare room is used up: try again later */
  journalEntry(kind: number, bytes: Uint8Array): boolean {
    const at = this.store.reserve(bytes.length);
    if (at < 0) return false;
    this.store.bytes.set(bytes, at);
    this.store.commit(kind, 0, bytes.length);
    return true;
  }

  /** Sends a message to the shards in `mask`. @returns how many had no room */
  toPeers(mask: number, kind: number, message: MessageSource, clientId: Uint8Array): number {
    let refused = 0;
    for (let target = 0; target < this.shards; target++) {
      if ((mask & (1 << target)) === 0) continue;
      const peer = this.peers[target]!;
      const length = this.put(peer, message, clientId, 0, SHARD_RING_SPARE);
      if (length < 0) {
        refused++;
        continue;
      }
      peer.commit(kind, 0, length);
      this.dirtyPeers |= 1 << target;
    }
    return refused;
  }

  /** Tells one shard of a retained message. @returns false when there is no room */
  retainedToPeer(target: number, message: MessageSource): boolean {
    const peer = this.peers[target]!;
    const length = this.put(peer, message, NOTHING, 0, SHARD_RING_SPARE);
    if (length < 0) return false;
    peer.commit(PEER.RETAINED, 0, length);
    this.dirtyPeers |= 1 << target;
    return true;
  }

  /** Sends a message for one member of a shared subscription. @returns false when there is no room */
  directToPeer(target: number, message: MessageSource, life: number, group: number, handle: number, sequence: number): boolean {
    const peer = this.peers[target]!;
    const length = this.put(peer, message, NOTHING, 0, SHARD_RING_SPARE, DIRECT_TAIL_SIZE);
    if (length < 0) return false;
    const at = this.putAt + length;
    peer.view.setUint32(at, group, true);
    peer.view.setUint32(at + 4, handle, true);
    peer.view.setFloat64(at + 8, sequence, true);
    peer.commit(PEER.DIRECT, life, length + DIRECT_TAIL_SIZE);
    this.dirtyPeers |= 1 << target;
    return true;
  }

  /** Sends a control record to one shard. @returns false when even the spare room is used up: try again later */
  controlToPeer(target: number, kind: number, id: number, bytes: Uint8Array): boolean {
    const peer = this.peers[target]!;
    const at = peer.reserve(bytes.length);
    if (at < 0) return false;
    peer.bytes.set(bytes, at);
    peer.commit(kind, id, bytes.length);
    this.dirtyPeers |= 1 << target;
    return true;
  }

  /** Hands a QoS 0 message to its lane. @returns false when the lane's ring is full (the message is dropped and counted by the caller) */
  toLane(message: MessageSource, clientId: Uint8Array): boolean {
    const lane = message.deviceHash % this.lanes.length;
    const writer = this.lanes[lane]!;
    const length = this.put(writer, message, clientId, 0, 0);
    if (length < 0) return false;
    writer.commit(ENTRY.PUBLISH, 0, length);
    this.dirtyLanes |= 1 << (lane & 31);
    return true;
  }

  /** Makes everything visible and wakes who sleeps. Once per batch. */
  publish(): void {
    if (this.store.publish()) this.ring(DOORBELL.STORE);
    if (this.dirtyPeers !== 0) {
      for (let target = 0; target < this.shards; target++) {
        if ((this.dirtyPeers & (1 << target)) !== 0 && this.peers[target]!.publish()) this.ring(DOORBELL.SHARD + target);
      }
      this.dirtyPeers = 0;
    }
    if (this.dirtyLanes !== 0) {
      for (let lane = 0; lane < this.lanes.length; lane++) {
        if ((this.dirtyLanes & (1 << (lane & 31))) !== 0 && this.lanes[lane]!.publish()) this.ring(DOORBELL.LANE + lane);
      }
      this.dirtyLanes = 0;
    }
  }

  /** All other shards. */
  get peerMask(): number {
    return (this.shards === 32 ? -1 : (1 << this.shards) - 1) & ~(1 << this.shard);
  }

  /** Writes a message record into a reserved place with `extra` bytes behind it. @returns its length (it begins at `putAt`), or -1 when the ring is full */
  private put(writer: RingWriter, message: MessageSource, clientId: Uint8Array, packetId: number, spare: number, extra = 0): number {
    const { topicBytes, propertiesLength, payloadLength } = message;
    const topicLength = topicBytes.length;
    const length = MESSAGE_HEAD_SIZE + topicLength + clientId.length + propertiesLength + payloadLength;
    const start = writer.reserve(length + extra, spare);
    if (start < 0) return -1;
    this.putAt = start;
    writeMessageHead(
      writer.view, start, message.receivedAt, message.deviceHash, message.expiresIn, packetId, message.flags,
      topicLength, clientId.length, propertiesLength, payloadLength, message.id,
    );
    let at = start + MESSAGE_HEAD_SIZE;
    writer.bytes.set(topicBytes, at);
    at += topicLength;
    writer.bytes.set(clientId, at);
    at += clientId.length;
    if (propertiesLength > 0) copyBytes(writer.bytes, at, message.bytes, message.propertiesAt, propertiesLength);
    copyBytes(writer.bytes, at + propertiesLength, message.bytes, message.payloadAt, payloadLength);
    return length;
  }
}
