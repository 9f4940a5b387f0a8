// Lets the store trim the journal: when it asks (CHECKPOINT_WANTED = an LSN), every shard writes anew what it needs from before that LSN: its sessions,
// the messages they wait for, its share of the retained messages. Thread: the shard's. docs/decisions/0011 is the reasoning.
//
//   asked ──> what was put into the journal so far is on disk and delivered ──> BARRIER to all ──> BARRIER of all is here: everything before the LSN
//   has been taken in ──> write, a share per turn ──> CHECKPOINT ──> on disk: SHARD_CHECKPOINT says so
//
// A session is written whole, at once; what happens to it later follows in entries of its own, as always.
import { INFLIGHT_STATE } from "../broker/inflight.js";
import { ENTRY } from "../base/journal-entry.js";
import { POSITION, readPosition, writePosition } from "../base/positions.js";
import type { Retained } from "../broker/retained.js";
import { isSystemTopic } from "../broker/topic.js";
import type { Delivery, Session } from "../broker/session.js";
import type { SharedGroup } from "../broker/shared-groups.js";
import { NOT_QUEUED, secondsLeft, type StoredMessage } from "../broker/stored-message.js";
import { MessageSource } from "./outlets.js";
import { jsonEntry, keptEntry, numbersEntry, subscriptionEntry, timeOrNull, willEntry, type DeliveryEntry, type SnapshotEntry } from "./session-entries.js";
import { groupSubscription } from "./shared-owner.js";
import type { ShardParts } from "./turn.js";

/** Bytes written in one turn: clients and their PUBLISHes go on meanwhile. */
const TURN_SIZE_MAX = 256 * 1024;
/** What a look at something counts for. */
const LOOK_SIZE = 512;
const NO_CLIENT = new Uint8Array(0);

export class Checkpoint {
  private readonly parts: ShardParts;
  private readonly positions: BigUint64Array;
  /** By shard: the LSN of its last BARRIER. */
  private readonly barriers: number[];
  private wanted = 0;
  private isAnnounced = false;
  private count = 0;
  private retained: Retained[] = [];
  private sessions: Session[] = [];
  private groups: SharedGroup[] = [];
  private isWriting = false;
  private readonly source = new MessageSource();

  constructor(parts: ShardParts) {
    this.parts = parts;
    this.positions = new BigUint64Array(parts.start.positions);
    this.barriers = Array.from({ length: parts.start.shards }, () => 0);
  }

  /** Of this shard's last BARRIER: told to shards that start. */
  get barrier(): number {
    return this.barriers[this.parts.start.shard]!;
  }

  /** A shard has sent us everything that it had put into the journal before `lsn`. */
  passed(from: number, lsn: number): void {
    if (lsn > this.barriers[from]!) this.barriers[from] = lsn;
  }

  /** Once a second. */
  look(): void {
    const wanted = readPosition(this.positions, POSITION.CHECKPOINT_WANTED);
    if (this.wanted !== 0 || wanted <= readPosition(this.positions, POSITION.SHARD_CHECKPOINT + this.parts.start.shard)) return;
    const { journal, interests, start } = this.parts;
    this.wanted = wanted;
    this.isAnnounced = false;
    journal.whenDurable(() => {
      interests.barrier(wanted);
      this.passed(start.shard, wanted);
      this.isAnnounced = true;
    });
  }

  /** Once per turn. @returns false when there is more to write */
  turn(): boolean {
    if (!this.isAnnounced) return true;
    if (!this.isWriting) {
      if (this.barriers.some((lsn) => lsn < this.wanted)) return true;
      this.begin();
    }
    let written = 0;
    while (written < TURN_SIZE_MAX) {
      const size = this.writeNext();
      if (size === 0) return this.end();
      if (size < 0) return false;
      written += size;
    }
    return false;
  }

  private begin(): void {
    const { replica, sessions, shared, start, journal, time } = this.parts;
    this.isWriting = true;
    // The times in what follows count from a running time that may be about to be trimmed.
    journal.write(ENTRY.TIME, numbersEntry(time.now()));
    this.count++;
    this.retained = replica.shareOf(start.shard, start.shards);
    this.sessions = [...sessions.values()].filter((session) => session.isJournaled);
    this.groups = [...shared.owner.kept()];
  }

  private end(): boolean {
    const { journal, start } = this.parts;
    const lsn = this.wanted;
    this.isAnnounced = this.isWriting = false;
    journal.write(ENTRY.CHECKPOINT, numbersEntry(lsn, this.parts.ids.last));
    journal.whenDurable(() => {
      writePosition(this.positions, POSITION.SHARD_CHECKPOINT + start.shard, lsn);
      this.wanted = 0;
    });
    return true;
  }

  /** @returns bytes written; 0 = there is no more; below 0 = no room now */
  private writeNext(): number {
    const retained = this.retained.pop();
    if (retained !== undefined) {
      const size = this.writeRetained(retained);
      if (size < 0) this.retained.push(retained);
      return size;
    }
    const session = this.sessions[this.sessions.length - 1];
    if (session === undefined) return this.writeNextGroup();
    const isThere = session.isJournaled && this.parts.sessions.get(session.clientId) === session;
    const size = isThere ? this.writeSession(session, this.messagesOf(session), () => this.snapshotOf(session)) : LOOK_SIZE;
    if (size > 0) this.sessions.pop();
    return size;
  }

  private writeNextGroup(): number {
    const group = this.groups[this.groups.length - 1];
    if (group === undefined) return 0;
    const { session } = group;
    // What members have of it, they have in entries of their own; a replay takes it off.
    const size = session?.isJournaled === true ? this.writeSession(session, [...group.unanswered()], () => this.snapshotOfGroup(group, session)) : LOOK_SIZE;
    if (size > 0) this.groups.pop();
    return size;
  }

  private writeRetained(retained: Retained): number {
    const { outlets, clock, retained: store } = this.parts;
    const { record, expiresAt, topic } = retained;
    const now = clock.monotonic();
    // Whatever came in its place has entries of its own; what the gateway says of itself it says anew after a start.
    if (store.get(topic, now) !== retained || isSystemTopic(topic)) return LOOK_SIZE;
    if (!outlets.storeIsRoomy(record.length)) return -1;
    const { source } = this;
    source.read(new DataView(record.buffer, record.byteOffset, record.length), 0);
    source.bytes = record;
    source.topicBytes = record.subarray(source.topicAt, source.topicAt + source.topicLength);
    source.expiresIn = secondsLeft(expiresAt, now);
    outlets.journal(ENTRY.RETAINED, source, NO_CLIENT, 0);
    return record.length;
  }

  /** Writes the messages that the session waits for, as far as this checkpoint has not, then the session. */
  private writeSession(session: Session, messages: readonly StoredMessage[], snapshot: () => SnapshotEntry): number {
    let written = 0;
    for (const message of messages) {
      if (message.keptIn === this.count) continue;
      if (written >= TURN_SIZE_MAX || !this.keep(message)) return -1;
      written += message.size;
    }
    // Of any size: what the ring has no room for waits, and nothing is read from clients meanwhile.
    if (!this.parts.outlets.storeIsRoomy(LOOK_SIZE) || !this.parts.journal.hasRoom()) return -1;
    const bytes = jsonEntry(snapshot());
    this.parts.journal.snapshot(session, bytes);
    return written + bytes.length;
  }

  private keep(message: StoredMessage): boolean {
    const { outlets, journal, start, clock, time } = this.parts;
    if (!outlets.storeIsRoomy(message.size)) return false;
    message.keptIn = this.count;
    const since = message.queuedSince <= NOT_QUEUED ? Math.floor(time.now()) : message.queuedSince;
    journal.write(ENTRY.KEPT, keptEntry(start.shard, start.shards, secondsLeft(message.expiresAt, clock.monotonic()), since, message.record));
    return true;
  }

  private messagesOf(session: Session): StoredMessage[] {
    const messages: StoredMessage[] = [];
    if (session.isTransient) return messages;
    session.inflight.forEach((packetId, state) => {
      const delivery = session.inflight.itemOf(packetId);
      if (delivery !== undefined && state !== INFLIGHT_STATE.AWAIT_PUBCOMP) messages.push(delivery.message);
    });
    for (const { message } of session.queue.all()) messages.push(message);
    return messages;
  }

  private snapshotOfGroup(group: SharedGroup, { clientId, protocolVersion, expirySeconds, identity }: Session): SnapshotEntry {
    return {
      clientId, version: protocolVersion, expiry: expirySeconds, isNew: false, identity, will: null, isConnected: false, endsAt: null, willAt: null,
      subscriptions: [subscriptionEntry(groupSubscription(group))],
      inflight: [], received: [], refused: [],
      queue: [...group.unanswered()].map(({ id }) => [id, 2, false, null] as const),
      applied: this.parts.applied.list(),
    };
  }

  private snapshotOf(session: Session): SnapshotEntry {
    const { time, applied } = this.parts;
    const queue: DeliveryEntry[] = [];
    const inflight: [number, number, DeliveryEntry | null][] = [];
    // A session that ends with its connection is here for its will.
    if (!session.isTransient) {session.inflight.forEach((packetId, state) => {
      const delivery = session.inflight.itemOf(packetId);
      if (state === INFLIGHT_STATE.AWAIT_PUBACK) queue.push(entryOf(delivery!));
      // PUBREC was received when its entry is on disk, and that stands in front of this one.
      else if (state === INFLIGHT_STATE.AWAIT_PUBCOMP || state === INFLIGHT_STATE.COMMIT_RECEIVED) inflight.push([packetId, INFLIGHT_STATE.AWAIT_PUBCOMP, null]);
      else inflight.push([packetId, INFLIGHT_STATE.AWAIT_PUBREC, entryOf(delivery!)]);
    });}
    for (const delivery of session.isTransient ? [] : session.queue.all()) queue.push(entryOf(delivery));
    return {
      clientId: session.clientId, version: session.protocolVersion, expiry: session.expirySeconds, isNew: false, identity: session.identity, will: willEntry(session.will),
      isConnected: session.connection !== 0,
      endsAt: timeOrNull(time.at(session.endsAt)),
      willAt: timeOrNull(time.at(session.willAt)),
      subscriptions: session.isTransient ? [] : [...session.subscriptions.values()].map(subscriptionEntry),
      inflight, queue,
      received: [...(session.received ?? [])],
      refused: [...(session.refused ?? [])],
      applied: applied.list(),
    };
  }
}

function entryOf({ message, qos, retain, identifiers, ticket }: Delivery): DeliveryEntry {
  return ticket === undefined ? [message.id, qos, retain, identifiers] : [message.id, qos, retain, identifiers, ticket.name];
}
