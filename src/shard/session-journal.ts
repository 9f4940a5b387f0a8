// Tells the journal what must be known of sessions after a crash: that they are there, what they subscribed to, what is on its way to them. Only of
// sessions that outlive their connection, or whose will does. Thread: the shard's. docs/decisions/0011 is the reasoning.
//
// Entries stand in the ring into the store in the order of what they tell; while the ring is full they wait in memory, and so do the answers behind them
// (`await`). While any waits nothing is read from clients (`hasRoom`), so that there are never many; but for a journal that cannot be written at all,
// which may last: then clients are served on (QoS 0 needs no journal) until WAITING_SIZE_MAX is reached.
import { STORE_COUNTER } from "../base/counters.js";
import { KIB, MIB } from "../base/limits.js";
import { ENTRY } from "../base/journal-entry.js";
import { type Delivery, deliveryKey, type Session, type Subscription } from "../broker/session.js";
import type { Applied } from "./applied.js";
import type { Outlets } from "./outlets.js";
import { type Held, PENDING, type PendingFifo } from "./pending.js";
import type { RunningTime } from "./running-time.js";
import { ACKED_COUNT_MAX, ackedEntry, givenDoneEntry, givenEntry, jsonEntry, numbersEntry, packetEntry, queuedEntry, sentEntry, snapshotPartEntry, subscriptionEntry, timeOrNull, willEntry } from "./session-entries.js";

interface Waiting {
  readonly kind: number;
  readonly bytes: Buffer;
  /** Instead of an entry: called when those in front of it are in the ring, with the position behind them. */
  readonly enter: ((position: number) => void) | null;
}

const NOTHING = Buffer.alloc(0);
/** Bytes of entries that wait while the journal cannot be written: of some 50,000 clients that come or go. */
const WAITING_SIZE_MAX = 16 * MIB;
/** Bytes of entries that may wait, those about dropped messages above all, before no more is taken from the other shards. */
const DROPPED_SIZE_MAX = MIB;
/** Of an ACKED entry beside its ids and the client id. */
const ACKED_HEAD_SIZE = 24;
const ACKED_ID_SIZE = 8;
/** A larger snapshot is written in parts of this size, each of which finds room in the ring. */
const PART_SIZE = 256 * KIB;

/** TIME is written so often while something waits for a time, or messages (which can expire) were journaled. */
const TIME_INTERVAL_S = 60;

export class SessionJournal {
  private readonly shard: number;
  private readonly outlets: Outlets;
  private readonly pending: PendingFifo;
  private readonly time: RunningTime;
  private readonly applied: Applied;
  private readonly storeCounters: Float64Array;
  private waiting: Waiting[] = [];
  private waitingSize = 0;
  private acking: Session[] = [];
  /** Bytes that the entries of `acking` will take. */
  private ackingSize = 0;
  /** By group: ids for GIVEN_DONE. */
  private readonly givenDoneIds = new Map<string, number[]>();
  private timeToldAt = 0;
  private positionTold = 0;

  constructor(shard: number, outlets: Outlets, pending: PendingFifo, time: RunningTime, applied: Applied, storeCounters: Float64Array) {
    this.shard = shard;
    this.storeCounters = storeCounters;
    this.applied = applied;
    this.outlets = outlets;
    this.positionTold = outlets.store.position();
    this.pending = pending;
    this.time = time;
  }

  /** Whether entries can be written now; `size` bytes of them beyond the usual. */
  hasRoom(size = 0): boolean {
    if (this.storeCounters[STORE_COUNTER.BLOCKED] === 1) return this.waitingSize + size <= WAITING_SIZE_MAX;
    return this.waiting.length === 0 && this.outlets.storeHasRoom(size + this.ackingSize);
  }

  /** Whether nothing waits for room in the ring, entries or answers behind them. */
  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  /** Whether more messages may be dropped, each of which needs an entry: asked before messages of other shards are taken, which nobody can turn away. */
  get hasRoomForDrops(): boolean {
    const sizeMax = this.storeCounters[STORE_COUNTER.BLOCKED] === 1 ? WAITING_SIZE_MAX : DROPPED_SIZE_MAX;
    return this.waitingSize + this.ackingSize <= sizeMax;
  }

  /** Calls `then` when everything that this shard has put into the journal so far is on disk: within the turn if it is. */
  whenDurable(then: () => void): void {
    this.await(PENDING.THEN, 0, 0, then);
  }

  /** As PendingFifo.push, for what waits until everything that this shard has put into the journal so far is on disk. */
  await(kind: number, connection: number, packetId: number, value: Held | (() => void) | null, reason = 0): void {
    if (this.waiting.length === 0) this.pending.push(this.outlets.store.position(), kind, connection, packetId, value, reason);
    else this.awaitRoom(kind, connection, packetId, value, reason);
  }

  /** Of its own, so that `await` makes no closure's context for each message. */
  private awaitRoom(kind: number, connection: number, packetId: number, value: Held | (() => void) | null, reason: number): void {
    this.waiting.push({ kind: 0, bytes: NOTHING, enter: (position) => this.pending.push(position, kind, connection, packetId, value, reason) });
  }

  /** An entry of a checkpoint. */
  write(kind: number, bytes: Buffer): void {
    this.append(kind, bytes);
  }

  /** The whole state of a session: one entry, or several for one that would not fit into the ring. */
  snapshot(session: Session, bytes: Buffer): void {
    if (bytes.length <= PART_SIZE) {
      this.append(ENTRY.SNAPSHOT, bytes);
      return;
    }
    const count = Math.ceil(bytes.length / PART_SIZE);
    for (let i = 0; i < count; i++) this.append(ENTRY.SNAPSHOT_PART, snapshotPartEntry(i, count, session.clientIdBytes, bytes.subarray(i * PART_SIZE, (i + 1) * PART_SIZE)));
  }

  begin(session: Session, isNew: boolean): void {
    session.isJournaled = true;
    const { clientId, protocolVersion: version, expirySeconds: expiry, identity } = session;
    this.append(ENTRY.SESSION, jsonEntry({ clientId, version, expiry, isNew, identity, will: willEntry(session.will) }));
  }

  /** The session has lost its connection and goes on without one. */
  left(session: Session): void {
    if (!session.isJournaled) return;
    const { clientId } = session;
    this.append(ENTRY.SESSION_LEFT, jsonEntry({ clientId, endsAt: timeOrNull(this.time.at(session.endsAt)), willAt: timeOrNull(this.time.at(session.willAt)) }));
  }

  end(session: Session): void {
    if (!session.isJournaled) return;
    session.isJournaled = false;
    session.acked = null;
    this.append(ENTRY.SESSION_END, Buffer.from(session.clientIdBytes));
  }

  /** @param change of SubscribeEntry: undefined when no HEARD follows, since this is the only shard, or the subscription is shared */
  subscribed(session: Session, subscription: Subscription, isNew: boolean, change: number | undefined): void {
    if (session.isTransient) return;
    this.append(ENTRY.SUBSCRIBE, jsonEntry({ clientId: session.clientId, ...subscriptionEntry(subscription), isNew, applied: this.applied.list(), ...(change === undefined ? {} : { change, shard: this.shard }) }));
  }

  /** All shards know of new subscriptions: behind this SUBACK may leave. As HeardEntry. */
  heard(session: Session, filters: readonly string[], change: number | null, delivered: Applied): void {
    if (!session.isJournaled) return;
    this.append(ENTRY.HEARD, jsonEntry({ clientId: session.clientId, filters, change, delivered: delivered.list() }));
  }

  unsubscribed(session: Session, filter: string): void {
    if (session.isTransient) return;
    this.append(ENTRY.UNSUBSCRIBE, jsonEntry({ clientId: session.clientId, filter, applied: this.applied.list() }));
  }

  /** A packet id was taken for a QoS 2 delivery: gate 3. @param then may send it */
  sent(session: Session, packetId: number, delivery: Delivery, then: () => void): void {
    this.append(ENTRY.SENT, sentEntry(packetId, deliveryKey(delivery), session.clientIdBytes));
    this.whenDurable(then);
  }

  /** PUBREC came: gate 4. @param then may send PUBREL */
  received(session: Session, packetId: number, then: () => void): void {
    this.append(ENTRY.RECEIVED, packetEntry(packetId, session.clientIdBytes));
    this.whenDurable(then);
  }

  /** The packet id of a QoS 2 delivery is free. */
  done(session: Session, packetId: number): void {
    if (!session.isTransient) this.append(ENTRY.DONE, packetEntry(packetId, session.clientIdBytes));
  }

  /** PUBREL came: gate 2. */
  release(session: Session, packetId: number): void {
    this.append(ENTRY.RELEASE, packetEntry(packetId, session.clientIdBytes));
  }

  /** A QoS 2 PUBLISH is answered with an error: its packet id is free, but for a repetition. */
  refused(session: Session, packetId: number): void {
    if (!session.isTransient) this.append(ENTRY.REFUSED, packetEntry(packetId, session.clientIdBytes));
  }

  /** PUBACK came, or the message will never be sent. Told at the end of the turn. */
  acked(session: Session, delivery: Delivery): void {
    this.ackedById(session, deliveryKey(delivery));
  }

  /** The same by the delivery's key. */
  ackedById(session: Session, key: number): void {
    if (session.isTransient || key === 0) return;
    if (session.acked === null) {
      session.acked = [];
      this.acking.push(session);
      this.ackingSize += ACKED_HEAD_SIZE + session.clientIdBytes.length;
    }
    session.acked.push(key);
    this.ackingSize += ACKED_ID_SIZE;
  }

  /** The same of one message, told now: `then` is called when it is on disk. */
  ackedAtOnce(session: Session, delivery: Delivery, then: () => void): void {
    this.append(ENTRY.ACKED, ackedEntry([deliveryKey(delivery)], session.clientIdBytes));
    this.whenDurable(then);
  }

  /** A group gave the session a message: it is the session's from here on. */
  given(session: Session, delivery: Delivery): void {
    if (!session.isTransient) this.append(ENTRY.GIVEN, this.ofGroup(session, delivery));
  }

  /** It goes back to the group. Said of every session that the journal knows: it may have been given before a DISCONNECT that ended the session. */
  givenBack(session: Session, delivery: Delivery): void {
    if (session.isJournaled) this.append(ENTRY.GIVEN_BACK, this.ofGroup(session, delivery));
  }

  /** A session has come to an end with a message that a group gave it: whatever of that is trimmed, the group has it no more. Told at the end of the turn. */
  givenDone(session: Session, { message, ticket }: Delivery): void {
    if (!session.isJournaled) return;
    const { name } = ticket!;
    const ids = this.givenDoneIds.get(name);
    if (ids === undefined) {
      this.givenDoneIds.set(name, [message.id]);
      this.ackingSize += ACKED_HEAD_SIZE + 3 * name.length;
    } else ids.push(message.id);
    this.ackingSize += ACKED_ID_SIZE;
  }

  /** A delivery that no subscription explains by itself. */
  queued(session: Session, delivery: Delivery): void {
    if (session.isTransient) return;
    this.append(ENTRY.QUEUED, queuedEntry(delivery.qos, delivery.retain, delivery.identifiers?.[0] ?? 0, session.clientIdBytes, delivery.message.record));
  }

  /** Once per turn. @returns false when entries still wait for room */
  flush(): boolean {
    this.flushAcked();
    let done = 0;
    for (; done < this.waiting.length; done++) {
      const { kind, bytes, enter } = this.waiting[done]!;
      if (enter !== null) enter(this.outlets.store.position());
      else if (!this.outlets.journalEntry(kind, bytes)) break;
      this.waitingSize -= bytes.length;
    }
    if (done > 0) this.waiting = this.waiting.slice(done);
    return this.waiting.length === 0;
  }

  /** Once a second. @param isNeeded something waits for a time */
  tell(isNeeded: boolean): void {
    const now = this.time.now();
    if (now - this.timeToldAt < TIME_INTERVAL_S || (!isNeeded && this.outlets.store.position() === this.positionTold)) return;
    this.timeToldAt = now;
    this.append(ENTRY.TIME, numbersEntry(now));
    this.positionTold = this.outlets.store.position();
  }

  private ofGroup(session: Session, { message, qos, retain, identifiers, ticket }: Delivery): Buffer {
    return givenEntry(qos, retain, identifiers?.[0] ?? 0, session.clientIdBytes, ticket!.name, message.record);
  }

  /** At the end of the turn, and before an answer that says what stands in it. */
  flushAcked(): void {
    if (this.acking.length === 0 && this.givenDoneIds.size === 0) return;
    const sessions = this.acking;
    this.acking = [];
    this.ackingSize = 0;
    for (const session of sessions) {
      const ids = session.acked;
      session.acked = null;
      // It may have ended since.
      if (ids === null || !session.isJournaled) continue;
      for (let i = 0; i < ids.length; i += ACKED_COUNT_MAX) this.append(ENTRY.ACKED, ackedEntry(ids.slice(i, i + ACKED_COUNT_MAX), session.clientIdBytes));
    }
    for (const [name, ids] of this.givenDoneIds) {
      for (let i = 0; i < ids.length; i += ACKED_COUNT_MAX) this.append(ENTRY.GIVEN_DONE, givenDoneEntry(ids.slice(i, i + ACKED_COUNT_MAX), name));
    }
    this.givenDoneIds.clear();
  }

  private append(kind: number, bytes: Buffer): void {
    if (this.waiting.length === 0 && this.outlets.journalEntry(kind, bytes)) return;
    this.waiting.push({ kind, bytes, enter: null });
    this.waitingSize += bytes.length;
  }
}
