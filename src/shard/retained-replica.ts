// Every shard holds all retained messages; the owner of a topic (hash of the topic) puts its updates in order and tells everybody.
// Thread: the shard's.
// Invariants:
//   (1) All shards apply the updates of one topic in the owner's order, so they end up equal.
//   (2) What finds no room in a ring is remembered by topic only and sent, with the value of then, when there is room: bounded by the
//       number of retained topics, and no shard ever waits for another (draining a ring never needs room in one).
// When the owner is down the lowest live shard stands in.
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { fnv1aOf } from "../base/bytes.js";
import type { MessageView } from "../base/message-record.js";
import { EXPIRES_NEVER } from "../base/message-record.js";
import type { RetainedStore } from "../broker/retained.js";
import { storedMessage, type StoredMessage } from "../broker/stored-message.js";
import { MessageSource, type Outlets, PEER } from "./outlets.js";

const NO_CLIENT = new Uint8Array(0);

export class RetainedReplica {
  private readonly shard: number;
  private readonly shards: number;
  private readonly store: RetainedStore;
  private readonly outlets: Outlets;
  private readonly counters: Float64Array;
  private readonly clock: Clock;
  private readonly turn: { readonly liveMask: number };
  /** Topics whose value some shards (bit mask) have not been told yet. */
  private readonly untold = new Map<string, number>();
  private readonly source = new MessageSource();

  constructor(
    shard: number, shards: number, store: RetainedStore, outlets: Outlets, counters: Float64Array, clock: Clock, turn: { readonly liveMask: number },
  ) {
    this.shard = shard;
    this.shards = shards;
    this.store = store;
    this.outlets = outlets;
    this.counters = counters;
    this.clock = clock;
    this.turn = turn;
  }

  /** The shard that must have room for a RETAIN record of this topic, as a mask; 0 when it is this one. */
  ownerMask(topic: string): number {
    const owner = this.ownerOf(topic);
    return owner === this.shard ? 0 : 1 << owner;
  }

  /** A retained PUBLISH of this shard. @returns false when the owner's ring had no room (QoS 0: the caller counts the drop) */
  publish(message: StoredMessage): boolean {
    const mask = this.ownerMask(message.topic);
    if (mask === 0) {
      this.apply(message.topic, message.record, 0, message.record.length, message.expiresAt);
      this.tell(message.topic, this.outlets.peerMask & this.turn.liveMask);
      return true;
    }
    return this.outlets.toPeers(mask, PEER.RETAIN, this.load(message), NO_CLIENT) === 0;
  }

  /** A RETAIN or RETAINED record, or a live message with the retain flag, came from another shard. */
  received(kind: number, topic: string, bytes: Uint8Array, at: number, length: number, view: MessageView): void {
    const expiresAt = view.expiresIn === EXPIRES_NEVER ? Number.POSITIVE_INFINITY : this.clock.monotonic() + view.expiresIn * 1000;
    if (view.payloadLength === 0) this.store.delete(topic);
    else this.apply(topic, bytes, at, length, expiresAt);
    if (kind === PEER.RETAIN) this.tell(topic, this.outlets.peerMask & this.turn.liveMask);
  }

  /** A shard (re)started: tells it what this shard answers for. */
  tellAll(target: number): void {
    for (const { topic } of this.store.all()) {
      const owner = fnv1aOf(topic) % this.shards;
      if (owner === this.shard || (owner === target && this.isLowestLiveBut(target))) this.untold.set(topic, (this.untold.get(topic) ?? 0) | (1 << target));
    }
  }

  /** Once per turn: tells what had no room. @returns false when something still waits */
  flush(): boolean {
    for (const [topic, mask] of this.untold) {
      this.untold.delete(topic);
      this.tell(topic, mask & this.turn.liveMask);
      if (this.untold.has(topic)) return false;
    }
    return true;
  }

  private apply(topic: string, bytes: Uint8Array, at: number, length: number, expiresAt: number): void {
    // An empty payload removes the message [MQTT-3.3.1-6].
    if (new DataView(bytes.buffer, bytes.byteOffset + at, 16).getUint32(12, true) === 0) this.store.delete(topic);
    else if (this.store.set(topic, bytes, at, length, expiresAt).endsWith("full")) this.counters[SHARD_COUNTER.DROPPED_QUEUE_FULL]!++;
    this.counters[SHARD_COUNTER.RETAINED] = this.store.count;
    this.counters[SHARD_COUNTER.RETAINED_BYTES] = this.store.bytes;
  }

  private tell(topic: string, mask: number): void {
    if (mask === 0) return;
    const retained = this.store.get(topic, this.clock.monotonic());
    const source = this.source;
    if (retained === undefined) this.load(emptyMessage(topic));
    else {
      const { record } = retained;
      source.read(new DataView(record.buffer, record.byteOffset, record.length), 0);
      source.bytes = record;
      source.topicBytes = record.subarray(source.topicAt, source.topicAt + source.topicLength);
      if (retained.expiresAt !== Number.POSITIVE_INFINITY) source.expiresIn = Math.max(1, Math.ceil((retained.expiresAt - this.clock.monotonic()) / 1000));
    }
    for (let target = 0; target < this.shards; target++) {
      const bit = 1 << target;
      if ((mask & bit) !== 0 && this.outlets.toPeers(bit, PEER.RETAINED, source, NO_CLIENT) > 0) {
        this.untold.set(topic, (this.untold.get(topic) ?? 0) | bit);
      }
    }
  }

  private load(message: StoredMessage): MessageSource {
    const source = this.source;
    source.read(message.view, 0);
    source.bytes = message.record;
    source.topicBytes = message.record.subarray(source.topicAt, source.topicAt + source.topicLength);
    return source;
  }

  private ownerOf(topic: string): number {
    if (this.shards === 1) return this.shard;
    const owner = fnv1aOf(topic) % this.shards;
    return (this.turn.liveMask & (1 << owner)) !== 0 ? owner : 31 - Math.clz32(this.turn.liveMask & -this.turn.liveMask);
  }

  private isLowestLiveBut(target: number): boolean {
    const others = this.turn.liveMask & ~(1 << target);
    return 31 - Math.clz32(others & -others) === this.shard;
  }
}

function emptyMessage(topic: string): StoredMessage {
  const nothing = new Uint8Array(0);
  return storedMessage(
    { topic, payload: nothing, properties: nothing, clientId: "", qos: 0, retain: true, expiresIn: EXPIRES_NEVER, receivedAt: 0, deviceHash: 0, isForLane: false },
    Number.POSITIVE_INFINITY,
  );
}
