// Every shard holds all retained messages. A retained PUBLISH is applied where it came in and told to all other shards in the same turn; which
// of two is the later one is said by their stamps, so that all shards end up with the same, in whatever order they hear of them.
// Thread: the shard's.
//
//   stamp = the message's id (broker/message-ids.ts): a PUBLISH whose publisher can have known another is later than it
//
// Invariants:
//   (1) A shard's value of a topic is the one with the highest stamp that it was told; a removal has a stamp too, and is remembered (TOMBSTONE_MS)
//       for longer than an update can be under way.
//   (2) What finds no room in a ring is remembered by topic only and told, with the value of then, when there is room: bounded by the number
//       of retained topics, and no shard ever waits for another (draining a ring never needs room in one).
//   (3) A shard that starts reads what the journal has (`recover`) and is told everything by everybody before it serves (Interests, WELCOME);
//       and it tells on what not everybody told it: the predecessor died with some still untold.
import { fnv1aOf } from "../base/bytes.js";
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { EXPIRES_NEVER, type MessageView } from "../base/message-record.js";
import type { Retained, RetainedStore } from "../broker/retained.js";
import { storedMessage, type StoredMessage } from "../broker/stored-message.js";
import type { Liveness } from "./liveness.js";
import { MessageSource, type Outlets } from "./outlets.js";

const TOMBSTONE_MS = 60_000;
const TOMBSTONE_COUNT_MAX = 100_000;
/** Expired messages looked for at once. */
const EXPIRED_PER_SECOND = 1000;

interface Tombstone {
  readonly stamp: number;
  readonly until: number;
}

/** Everything for a shard that started, a page at a time. */
interface Telling {
  readonly helloId: number;
  readonly topics: readonly string[];
  next: number;
}

export class RetainedReplica {
  private readonly store: RetainedStore;
  private readonly outlets: Outlets;
  private readonly counters: Float64Array;
  private readonly clock: Clock;
  private readonly liveness: Liveness;
  /** Called when a shard that started was told everything. */
  private readonly onTold: (target: number, helloId: number) => void;
  private readonly tombstones = new Map<string, Tombstone>();
  /** Topics whose value some shards (bit mask) have not been told yet. */
  private readonly untold = new Map<string, number>();
  /** While this shard starts: which shards (bit mask) told it a topic's present value. */
  private heard: Map<string, number> | null = new Map();
  /** An update in the journal can stand before one that it removes: no removal is forgotten before the journal's end. */
  private isRecovering = true;
  private readonly tellings = new Map<number, Telling>();
  private readonly source = new MessageSource();

  constructor(
    store: RetainedStore, outlets: Outlets, counters: Float64Array, clock: Clock, liveness: Liveness, onTold: (target: number, helloId: number) => void,
  ) {
    this.store = store;
    this.outlets = outlets;
    this.counters = counters;
    this.clock = clock;
    this.liveness = liveness;
    this.onTold = onTold;
  }

  /** A retained PUBLISH of this shard, or a will. */
  publish(message: StoredMessage): void {
    this.apply(message.topic, message.record, 0, message.record.length, message.expiresAt, message.id);
    this.tellOthers(message.topic);
  }

  /** What this shard knows of the topic is told to all others. */
  tellOthers(topic: string): void {
    this.tell(topic, this.outlets.peerMask & this.liveness.mask);
  }

  /** A RETAINED record came: `length` bytes of message record at `at`. */
  received(from: number, topic: string, bytes: Uint8Array, at: number, length: number, view: MessageView): void {
    if (this.heard !== null) this.note(from, topic, view.id);
    const expiresAt = view.expiresIn === EXPIRES_NEVER ? Number.POSITIVE_INFINITY : this.clock.monotonic() + view.expiresIn * 1000;
    this.apply(topic, bytes, at, length, expiresAt, view.id);
  }

  /** The journal has a retained message, or the removal of one. @param expiresAt monotonic ms, or Infinity */
  recover(topic: string, bytes: Uint8Array, at: number, length: number, id: number, expiresAt: number): void {
    this.apply(topic, bytes, at, length, expiresAt, id);
  }

  /** The journal was read to its end: removals are forgotten as time goes on from here. */
  recovered(): void {
    this.isRecovering = false;
    const until = this.clock.monotonic() + TOMBSTONE_MS;
    for (const [topic, { stamp }] of this.tombstones) this.tombstones.set(topic, { stamp, until });
  }

  /** What shard `shard` of `shards` writes into checkpoints. */
  shareOf(shard: number, shards: number): Retained[] {
    const share: Retained[] = [];
    for (const retained of this.store.all()) if (fnv1aOf(retained.topic) % shards === shard) share.push(retained);
    return share;
  }

  /** This shard begins to serve: what only some of the others knew, or the journal alone, is told to the rest. */
  settle(): void {
    const { heard } = this;
    if (heard === null) return;
    const { peerMask } = this.outlets;
    const settleTopic = (topic: string): void => {
      const mask = peerMask & ~(heard.get(topic) ?? 0);
      if (mask !== 0) this.untold.set(topic, (this.untold.get(topic) ?? 0) | mask);
    };
    if (peerMask !== 0) {
      for (const topic of this.tombstones.keys()) settleTopic(topic);
      for (const { topic } of this.store.all()) settleTopic(topic);
    }
    this.heard = null;
  }

  /** A shard (re)started: tells it everything, then calls `onTold`. */
  tellAll(target: number, helloId: number): void {
    const topics = [...this.tombstones.keys()];
    for (const { topic } of this.store.all()) topics.push(topic);
    this.tellings.set(target, { helloId, topics, next: 0 });
  }

  /** Once per turn: tells what had no room. @returns false when something still waits */
  flush(): boolean {
    let isIdle = true;
    for (const [target, telling] of this.tellings) isIdle = this.tellMore(target, telling) && isIdle;
    for (const [topic, mask] of this.untold) {
      this.untold.delete(topic);
      this.tell(topic, mask & this.liveness.mask);
      if (this.untold.has(topic)) return false;
    }
    return isIdle;
  }

  everySecond(): void {
    const now = this.clock.monotonic();
    this.store.removeExpired(now, EXPIRED_PER_SECOND);
    for (const [topic, { until }] of this.tombstones) {
      if (until > now) break;
      this.tombstones.delete(topic);
    }
    this.showSizes();
  }

  /** Applies an update unless a later one is known. */
  private apply(topic: string, bytes: Uint8Array, at: number, length: number, expiresAt: number, stamp: number): void {
    if (stamp <= this.stampOf(topic)) return;
    // An empty payload removes the message [MQTT-3.3.1-6].
    const isRemoval = new DataView(bytes.buffer, bytes.byteOffset + at, 16).getUint32(12, true) === 0;
    if (isRemoval) this.remove(topic, stamp);
    else if (this.store.set(topic, bytes, at, length, expiresAt, stamp).endsWith("full")) {
      this.counters[SHARD_COUNTER.DROPPED_QUEUE_FULL]!++;
      // What was there is older than what its publisher believes to be retained.
      this.remove(topic, stamp);
    } else this.tombstones.delete(topic);
    this.showSizes();
  }

  private remove(topic: string, stamp: number): void {
    this.store.delete(topic);
    // Anew, so that they stay in the order of their time.
    this.tombstones.delete(topic);
    this.tombstones.set(topic, { stamp, until: this.clock.monotonic() + TOMBSTONE_MS });
    const oldest = this.tombstones.keys().next();
    if (this.tombstones.size > TOMBSTONE_COUNT_MAX && !this.isRecovering && oldest.done !== true) this.tombstones.delete(oldest.value);
  }

  private note(from: number, topic: string, stamp: number): void {
    const known = this.stampOf(topic);
    if (stamp > known) this.heard!.set(topic, 1 << from);
    else if (stamp === known) this.heard!.set(topic, (this.heard!.get(topic) ?? 0) | (1 << from));
  }

  /** Of the topic's last update, expired ones included; 0 = none is known. */
  private stampOf(topic: string): number {
    return this.store.get(topic, Number.NEGATIVE_INFINITY)?.stamp ?? this.tombstones.get(topic)?.stamp ?? 0;
  }

  /** Tells shards what the topic's value is now; those whose ring is full later. */
  private tell(topic: string, mask: number): void {
    if (mask === 0) return;
    const isKnown = this.load(topic);
    for (let target = 0; isKnown && mask >>> target !== 0; target++) {
      const bit = 1 << target;
      if ((mask & bit) !== 0 && !this.outlets.retainedToPeer(target, this.source)) this.untold.set(topic, (this.untold.get(topic) ?? 0) | bit);
    }
  }

  private tellMore(target: number, telling: Telling): boolean {
    const { topics, helloId } = telling;
    // Without room for a dead shard there is nothing to wait for.
    if ((this.liveness.mask & (1 << target)) === 0) return this.tellings.delete(target);
    for (; telling.next < topics.length; telling.next++) {
      if (this.load(topics[telling.next]!) && !this.outlets.retainedToPeer(target, this.source)) return false;
    }
    this.tellings.delete(target);
    this.onTold(target, helloId);
    return true;
  }

  /** Makes `source` the topic's present value. @returns false when there is nothing to tell */
  private load(topic: string): boolean {
    const { source } = this;
    const now = this.clock.monotonic();
    const retained = this.store.get(topic, now);
    if (retained === undefined) {
      const stamp = this.tombstones.get(topic)?.stamp ?? 0;
      if (stamp === 0) return false;
      const { record, view } = removalOf(topic);
      source.read(view, 0);
      source.bytes = record;
      source.topicBytes = record.subarray(source.topicAt, source.topicAt + source.topicLength);
      source.id = stamp;
      return true;
    }
    const { record } = retained;
    source.read(new DataView(record.buffer, record.byteOffset, record.length), 0);
    source.bytes = record;
    source.topicBytes = record.subarray(source.topicAt, source.topicAt + source.topicLength);
    if (retained.expiresAt !== Number.POSITIVE_INFINITY) source.expiresIn = Math.max(1, Math.ceil((retained.expiresAt - now) / 1000));
    return true;
  }

  private showSizes(): void {
    this.counters[SHARD_COUNTER.RETAINED] = this.store.count;
    this.counters[SHARD_COUNTER.RETAINED_BYTES] = this.store.bytes;
  }
}

function removalOf(topic: string): StoredMessage {
  const nothing = new Uint8Array(0);
  return storedMessage(
    { topic, payload: nothing, properties: nothing, clientId: "", qos: 0, retain: true, expiresIn: EXPIRES_NEVER, receivedAt: 0, deviceHash: 0, isForLane: false },
    Number.POSITIVE_INFINITY,
  );
}
