// Takes up where the last gateway on this data directory, or the shard's predecessor, ended: reads the journal from its beginning and rebuilds the
// sessions of this shard's clients and all retained messages. Thread: the shard's, before its clients are read. docs/decisions/0011 is the reasoning.
//
//   run: everything that is durable now ──> (another shard welcomes us: what it sent before has to be durable and read too: run again) ──> finish
//
// Which sessions get a message is decided by the order of SUBSCRIBE and PUBLISH entries; what they have had of it by ACKED, SENT, RECEIVED and DONE.
// Replaying an entry twice, or one whose effect is known already, changes nothing.
//
// A journal that was trimmed begins in the middle of sessions; what they were stands in their first SNAPSHOT, which can come behind messages that it
// does not hold yet. So snapshots are looked for first (`seed`), and until a session's own is reached only messages are collected for it.
import { align8, fnv1aOf } from "../base/bytes.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { ANONYMOUS } from "../base/identity.js";
import { ENTRY } from "../base/journal-entry.js";
import type { JournalFrames } from "../base/journal-frames.js";
import { EXPIRES_NEVER, MESSAGE_FLAG, MessageView } from "../base/message-record.js";
import { shardOfId } from "../broker/message-ids.js";
import { EXPIRY_NEVER, type Delivery, deliveryKey, type Ticket } from "../broker/session.js";
import { groupClientId, isGroup } from "../broker/shared-groups.js";
import { NOT_QUEUED, StoredMessage } from "../broker/stored-message.js";
import { RECORD_HEADER_SIZE } from "../ring/layout.js";
import { Applied } from "./applied.js";
import { DueMessages } from "./due-messages.js";
import { GivenMessages } from "./given-messages.js";
import { RecoveredSession } from "./recovered-session.js";
import {
  GIVEN_HEAD_SIZE, KEPT_HEAD_SIZE, keptHeadSize, keyOfEntry, QUEUED_HEAD_SIZE, SnapshotParts, willOf, type DeliveryEntry, type HeardEntry, type SessionEntry, type SessionLeftEntry, type SnapshotEntry, type SubscribeEntry, type UnsubscribeEntry,
} from "./session-entries.js";
import type { SessionLife } from "./session-life.js";
import type { AwayMessage } from "./shared-owner.js";
import type { ShardParts } from "./turn.js";

/** After a restart a client has so long to come back before its will is published (or its will delay, if that is longer). */
const WILL_GRACE_S = 30;
/** Entries of one turn's commits can stand in the journal in another order than they came about, but not farther apart than this, in bytes. */
const DISORDER_MAX = 8 * 1024 * 1024;

/** Something that expires, and which of the times in the journal is the first behind it. */
interface Expiring {
  readonly message: StoredMessage;
  readonly expiresIn: number;
  readonly mark: number;
}

export class SessionReplay {
  private readonly parts: ShardParts;
  private journal: JournalFrames;
  /** Held messages of this shard with higher ids were not delivered by the predecessor. */
  private readonly heldDelivered: number;
  private sessions = new Map<string, RecoveredSession>();
  private kept = new Map<number, StoredMessage>();
  private parted = new SnapshotParts();
  private readonly view = new MessageView();
  private bytes: Buffer = Buffer.alloc(0);
  private dataView: DataView = new DataView(new ArrayBuffer(0));
  private readonly marks: number[] = [];
  private readonly expiring: Expiring[] = [];
  private readonly expiringRetained: Expiring[] = [];
  /** Of snapshots: their messages may be trimmed, those of shards that are no more above all. */
  private readonly snapshots = new Applied();
  /** While snapshots are looked for: sessions that begin in this journal, and subscriptions (client id, filter) that were made in it. */
  private readonly begun = new Set<string>();
  private readonly laterFilters = new Set<string>();
  /** What members of this shard's groups have of them. */
  readonly given: GivenMessages;
  private readonly due: DueMessages;
  private readonly refusedMax: number;
  private forgotAt = 0;
  private lost = 0;
  /** Held messages that are still to be delivered to the other shards. */
  readonly undelivered: StoredMessage[] = [];

  /**
   * Reads what is durable now.
   *
   * @param openJournal the journal from an LSN on
   * @param firstLsn where it begins; 0 = nothing was ever trimmed
   * @param heldDelivered id, or Infinity when the whole gateway starts: then every shard reads them from the journal itself
   */
  constructor(parts: ShardParts, openJournal: (fromLsn: number) => JournalFrames, heldDelivered: number, firstLsn: number, durableLsn: number) {
    this.parts = parts;
    const all = [parts.start.limits, ...parts.start.listeners.map(({ limits }) => limits ?? parts.start.limits)];
    this.due = new DueMessages(parts, all);
    this.refusedMax = Math.max(...all.map(({ receiveMaximum }) => receiveMaximum));
    this.given = new GivenMessages((groupId) => this.isOurs(groupId), (groupId, messageId) => this.known(groupId)?.acked(messageId));
    this.heldDelivered = heldDelivered;
    this.journal = openJournal(firstLsn);
    if (firstLsn > 0) {
      this.walk(this.journal, durableLsn, (kind, at, length) => this.seed(kind, at, length));
      this.journal.close();
      this.begun.clear();
      this.laterFilters.clear();
      this.parted = new SnapshotParts();
      this.journal = openJournal(firstLsn);
    }
    this.run(durableLsn);
  }

  /** Reads on, up to a durable LSN. */
  run(durableLsn: number): void {
    this.walk(this.journal, durableLsn, (kind, at, length) => this.entry(kind, at, length));
  }

  private walk(journal: JournalFrames, durableLsn: number, visit: (kind: number, at: number, length: number) => void): void {
    while (journal.next(durableLsn)) {
      this.bytes = Buffer.from(journal.bytes.buffer, journal.bytes.byteOffset, journal.bytes.byteLength);
      this.dataView = journal.view;
      for (let at = journal.at; at < journal.end; ) {
        const word = this.dataView.getUint32(at, true);
        const length = word & 0xff_ffff;
        visit(word >>> 24, at + RECORD_HEADER_SIZE, length);
        at += RECORD_HEADER_SIZE + align8(length);
      }
      if (journal.endLsn - this.forgotAt > DISORDER_MAX) {
        this.forgotAt = journal.endLsn;
        for (const one of this.sessions.values()) one.forgetEarly();
        this.given.forgetEarly();
      }
    }
  }

  /** Hands over what was found. Nothing is read after this. */
  finish(life: SessionLife): void {
    const { time, replica, retained, log, ids, applied, counters, journal, deliveredIds } = this.parts;
    this.journal.close();
    applied.merge(this.snapshots);
    ids.leaveGap();
    const end = time.now();
    for (const { message, expiresIn, mark } of this.expiring) message.expiresAt = time.monotonicOf((this.marks[mark] ?? end) + expiresIn);
    for (const { message, expiresIn, mark } of this.expiringRetained) {
      const { topic, record, id } = message;
      if (retained.get(topic, Number.NEGATIVE_INFINITY)?.stamp === id) retained.set(topic, record, 0, record.length, time.monotonicOf((this.marks[mark] ?? end) + expiresIn), id);
    }
    replica.recovered();
    let groups = 0;
    const holders = this.given.holders();
    const read = deliveredIds.ofOthers();
    read.merge(applied);
    for (const one of this.sessions.values()) {
      this.due.settle(one, read, journal);
      this.settleAges(one, end);
      if (isGroup(one.session.clientId)) {
        this.adoptGroup(one, holders.get(one.session.clientId));
        groups++;
      } else this.adopt(one, life, end);
    }
    for (const { session, key } of this.due.dropped) {
      counters[SHARD_COUNTER.DROPPED_QUEUE_FULL]!++;
      journal.ackedById(session, key);
    }
    if (this.sessions.size > 0 || retained.count > 0) {
      const ofGroups = groups === 0 ? "" : `, ${String(groups)} groups of shared subscriptions`;
      log.info(`took up ${String(this.sessions.size - groups)} sessions${ofGroups} and ${String(retained.count)} retained messages`);
    }
    if (this.lost > 0) log.error(`${String(this.lost)} messages that sessions wait for are not in the journal any more`);
    this.sessions = new Map();
    this.kept = new Map();
  }

  /** What waits for a group is what its filter has matched, without what was acknowledged, and without what members have. */
  private adoptGroup(one: RecoveredSession, holders: ReadonlyMap<number, string> | undefined): void {
    const { session, queue, unexplained } = one;
    const waiting: StoredMessage[] = [];
    const away: AwayMessage[] = [];
    for (const { message } of queue.values()) {
      const holder = holders?.get(message.id);
      if (this.given.isFinished(session.clientId, message.id)) {
        // The entry that says so may be trimmed before a snapshot without the message is written.
        this.parts.journal.ackedById(session, message.id);
        continue;
      }
      if (holder === undefined) waiting.push(message);
      else away.push({ message, shard: fnv1aOf(holder) % this.parts.start.shards });
    }
    this.parts.shared.owner.adopt(session, waiting, away, unexplained);
  }

  /** Since when messages wait, as a running time. */
  private settleAges(one: RecoveredSession, end: number): void {
    for (const { message } of one.deliveries()) {
      if (message.queuedSince < NOT_QUEUED) message.queuedSince = Math.floor(this.marks[NOT_QUEUED - 1 - message.queuedSince] ?? end);
    }
  }

  private adopt(one: RecoveredSession, life: SessionLife, end: number): void {
    const { time, clock } = this.parts;
    const session = one.complete();
    const { expirySeconds } = session;
    // Whoever was connected lost its connection when the gateway ended.
    const endsAt = !one.isConnected ? one.endsAt : expirySeconds === EXPIRY_NEVER ? Number.POSITIVE_INFINITY : end + expirySeconds;
    if (session.will !== null) {
      const willAt = one.isConnected ? end + session.will.delaySeconds : one.willAt;
      session.willAt = time.monotonicOf(Math.max(willAt, end + WILL_GRACE_S));
    }
    // A session without an expiry of its own is there for its will alone.
    session.endsAt = session.isTransient ? (session.will === null ? clock.monotonic() : session.willAt) : time.monotonicOf(endsAt);
    session.lastSeenAt = clock.wall();
    life.adopt(session);
  }

  /** The first snapshot of a session whose beginning was trimmed says what it is subscribed to, and which messages it holds. */
  private seed(kind: number, at: number, length: number): void {
    if (kind === ENTRY.SESSION) {
      const { clientId, isNew } = this.json<SessionEntry>(at, length);
      if (isNew && !this.sessions.has(clientId)) this.begun.add(clientId);
    } else if (kind === ENTRY.SUBSCRIBE) {
      const { clientId, filter, isNew } = this.json<SubscribeEntry>(at, length);
      if (isNew) this.laterFilters.add(`${clientId}\0${filter}`);
    } else if (kind === ENTRY.SNAPSHOT || kind === ENTRY.SNAPSHOT_PART) this.seedBy(this.wholeSnapshot(kind, at, length));
  }

  private seedBy(entry: SnapshotEntry | null): void {
    if (entry === null) return;
    const { clientId, applied, identity, subscriptions } = entry;
    // Of any shard: the entries that had this shard's own ids may be trimmed, and whoever knows those ids takes no other message by them.
    for (const id of applied) this.parts.ids.saw(id);
    if (this.sessions.has(clientId) || this.begun.has(clientId) || !this.isOurs(clientId)) return;
    const one = this.provide(clientId);
    one.isSeed = true;
    one.session.identity = identity ?? ANONYMOUS;
    one.applied = new Applied(applied);
    for (const subscription of subscriptions) if (!this.laterFilters.has(`${clientId}\0${subscription.filter}`)) this.due.add(one.session, subscription);
  }

  /** @returns null when it stands in parts, and this is not the last of them */
  private wholeSnapshot(kind: number, at: number, length: number): SnapshotEntry | null {
    const bytes = this.bytes.subarray(at, at + length);
    const whole = kind === ENTRY.SNAPSHOT ? bytes : this.parted.add(bytes);
    return whole === null ? null : (JSON.parse(whole.toString("utf8")) as SnapshotEntry);
  }

  private entry(kind: number, at: number, length: number): void {
    switch (kind) {
      case ENTRY.PUBLISH:
        this.publish(at, length);
        break;
      case ENTRY.RELEASE:
        this.find(at + 2, length - 2)?.session.received?.delete(this.dataView.getUint16(at, true));
        break;
      case ENTRY.REFUSED:
        this.refused(at, length);
        break;
      case ENTRY.SESSION_END:
        if (this.given.isNeeded) this.given.sessionEnd(this.text(at, length));
        if (this.known(this.text(at, length)) !== undefined) this.drop(this.text(at, length));
        break;
      case ENTRY.SESSION:
        this.begin(this.json<SessionEntry>(at, length));
        break;
      case ENTRY.SESSION_LEFT:
        this.left(this.json<SessionLeftEntry>(at, length));
        break;
      case ENTRY.SUBSCRIBE:
        this.subscribe(this.json<SubscribeEntry>(at, length));
        break;
      case ENTRY.UNSUBSCRIBE:
        this.unsubscribe(this.json<UnsubscribeEntry>(at, length));
        break;
      case ENTRY.HEARD:
        this.heard(this.json<HeardEntry>(at, length));
        break;
      case ENTRY.SENT:
        if (this.given.isNeeded) this.given.sent(this.text(at + 10, length - 10), this.dataView.getUint16(at, true), this.dataView.getFloat64(at + 2, true));
        this.find(at + 10, length - 10)?.sent(this.dataView.getUint16(at, true), this.dataView.getFloat64(at + 2, true));
        break;
      case ENTRY.RECEIVED:
        if (this.given.isNeeded) this.given.received(this.text(at + 2, length - 2), this.dataView.getUint16(at, true));
        this.find(at + 2, length - 2)?.received(this.dataView.getUint16(at, true));
        break;
      case ENTRY.DONE:
        if (this.given.isNeeded) this.given.received(this.text(at + 2, length - 2), this.dataView.getUint16(at, true));
        this.find(at + 2, length - 2)?.done(this.dataView.getUint16(at, true));
        break;
      case ENTRY.ACKED:
        this.acked(at, length);
        break;
      case ENTRY.QUEUED:
        this.queued(at, length);
        break;
      case ENTRY.GIVEN:
        this.exchange(at, length, true);
        break;
      case ENTRY.GIVEN_BACK:
        this.exchange(at, length, false);
        break;
      case ENTRY.GIVEN_DONE:
        this.givenDone(at, length);
        break;
      case ENTRY.KEPT:
        this.keep(at, length);
        break;
      case ENTRY.SNAPSHOT:
      case ENTRY.SNAPSHOT_PART:
        this.snapshot(this.wholeSnapshot(kind, at, length));
        break;
      case ENTRY.RETAINED:
        this.retained(at, length);
        break;
      case ENTRY.CHECKPOINT:
        // Earlier ones ended with the LSN.
        if (length >= 16) this.parts.ids.saw(this.dataView.getFloat64(at + 8, true));
        break;
      case ENTRY.TIME:
        this.timeIs(this.dataView.getFloat64(at, true));
        break;
      default:
    }
  }

  private publish(at: number, length: number): void {
    const { view, parts } = this;
    const { applied, ids, tree, routes } = parts;
    view.read(this.dataView, at);
    if (applied.has(view)) return;
    ids.saw(view.id);
    applied.add(view);
    if ((view.flags & MESSAGE_FLAG.RETAIN) !== 0) this.retained(at, length);
    const isHeld = (view.flags & MESSAGE_FLAG.HELD) !== 0;
    if (isHeld) {
      if (view.id > this.heldDelivered && shardOfId(view.id) === parts.start.shard) this.undelivered.push(this.message(at, length));
      const publisher = this.find(view.clientIdAt, view.clientIdLength)?.session;
      publisher?.refused?.delete(view.packetId);
      if (publisher?.isTransient === false) (publisher.received ??= new Set()).add(view.packetId);
    }
    if (tree.entryCount === 0) return;
    const route = routes.find(this.bytes, view.topicAt, view.topicLength, null);
    let message: StoredMessage | null = null;
    const toCheck: [RecoveredSession, string[]][] = [];
    for (const target of route.targets) {
      const one = this.sessions.get(target.session.clientId);
      if (one === undefined || target.qos === 0 || one.applied?.has(view) === true) continue;
      message ??= this.message(at, length);
      this.due.give(one, target, message, view.flags, target.noLocal ? this.text(view.clientIdAt, view.clientIdLength) : "");
      const filters = one.undueBy(view);
      if (filters.length > 0) toCheck.push([one, filters]);
    }
    for (const [one, filters] of toCheck) this.due.check(one, message!.id, filters);
  }

  private begin(entry: SessionEntry): void {
    if (!this.isOurs(entry.clientId) || this.sessions.get(entry.clientId)?.isSeed === true) return;
    if (entry.isNew) this.drop(entry.clientId);
    const one = this.provide(entry.clientId);
    this.describe(one, entry);
    one.isConnected = true;
  }

  private describe(one: RecoveredSession, { version, expiry, identity, will }: SessionEntry): void {
    one.session.protocolVersion = version;
    one.session.expirySeconds = expiry;
    this.parts.authorisation.identify(one.session, identity ?? ANONYMOUS);
    one.will = will === null ? null : willOf(will);
  }

  private left({ clientId, endsAt, willAt }: SessionLeftEntry): void {
    const one = this.known(clientId);
    if (one === undefined) return;
    one.isConnected = false;
    one.endsAt = endsAt ?? Number.POSITIVE_INFINITY;
    one.willAt = willAt ?? Number.POSITIVE_INFINITY;
    if (willAt === null) one.will = null;
  }

  private subscribe(entry: SubscribeEntry): void {
    const one = this.sessions.get(entry.clientId);
    if (one !== undefined) this.due.subscribe(one, entry);
  }

  private unsubscribe(entry: UnsubscribeEntry): void {
    const one = this.sessions.get(entry.clientId);
    if (one !== undefined) this.due.unsubscribe(one, entry);
  }

  private heard(entry: HeardEntry): void {
    const one = this.sessions.get(entry.clientId);
    if (one !== undefined) this.due.heard(one, entry);
  }

  private refused(at: number, length: number): void {
    const session = this.find(at + 2, length - 2)?.session;
    if (session === undefined || session.isTransient) return;
    const packetId = this.dataView.getUint16(at, true);
    session.received?.delete(packetId);
    session.refuse(packetId, this.refusedMax);
  }

  private acked(at: number, length: number): void {
    const count = this.dataView.getUint16(at, true);
    const one = this.find(at + 2 + 8 * count, length - 2 - 8 * count);
    if (this.given.isNeeded) this.given.acked(this.text(at + 2 + 8 * count, length - 2 - 8 * count), count, (i) => this.dataView.getFloat64(at + 2 + 8 * i, true));
    for (let i = 0; one !== undefined && i < count; i++) one.acked(this.dataView.getFloat64(at + 2 + 8 * i, true));
  }

  private queued(at: number, length: number): void {
    const clientIdLength = this.dataView.getUint16(at + 2, true);
    const one = this.find(at + QUEUED_HEAD_SIZE, clientIdLength);
    if (one === undefined) return;
    const recordAt = at + QUEUED_HEAD_SIZE + clientIdLength;
    const identifier = this.dataView.getUint32(at + 4, true);
    this.view.read(this.dataView, recordAt);
    const message = this.message(recordAt, at + length - recordAt);
    this.parts.ids.saw(message.id);
    one.unexplained.add(message.id);
    one.put({ message, qos: this.bytes[at]!, retain: this.bytes[at + 1] === 1, identifiers: identifier === 0 ? null : [identifier] });
  }

  /** A group and one of its members have exchanged a message: each may be this shard's. */
  private exchange(at: number, length: number, isGiven: boolean): void {
    const clientIdLength = this.dataView.getUint16(at + 2, true);
    const groupAt = at + GIVEN_HEAD_SIZE + clientIdLength;
    const recordAt = groupAt + this.dataView.getUint32(at + 8, true);
    const clientId = this.text(at + GIVEN_HEAD_SIZE, clientIdLength);
    const name = this.text(groupAt, recordAt - groupAt);
    const groupId = groupClientId(name);
    this.view.read(this.dataView, recordAt);
    const { id } = this.view;
    this.parts.ids.saw(id);
    const member = this.known(clientId);
    if (!isGiven) member?.givenBack(-id);
    else if (member !== undefined) {
      const identifier = this.dataView.getUint32(at + 4, true);
      const message = this.message(recordAt, at + length - recordAt);
      member.unexplained.add(-id);
      member.put({ message, qos: this.bytes[at]!, retain: this.bytes[at + 1] === 1, identifiers: identifier === 0 ? null : [identifier], ticket: recoveredTicket(name) });
    }
    if (isGiven) {
      this.given.add(clientId, id, groupId);
      return;
    }
    this.given.back(clientId, id, groupId);
    const group = this.isOurs(groupId) ? this.known(groupId) : undefined;
    group?.unexplained.add(id);
    group?.put({ message: this.message(recordAt, at + length - recordAt), qos: 2, retain: false, identifiers: null });
  }

  private givenDone(at: number, length: number): void {
    const count = this.dataView.getUint16(at, true);
    const groupId = groupClientId(this.text(at + 2 + 8 * count, length - 2 - 8 * count));
    for (let i = 0; i < count; i++) this.given.finish(groupId, this.dataView.getFloat64(at + 2 + 8 * i, true));
  }

  private keep(at: number, length: number): void {
    const { shard, shards } = this.parts.start;
    if (this.bytes[at + 1] === shards && this.bytes[at] !== shard) return;
    const headSize = keptHeadSize(this.dataView, at);
    this.view.read(this.dataView, at + headSize);
    this.parts.ids.saw(this.view.id);
    const message = this.message(at + headSize, length - headSize);
    if (headSize === KEPT_HEAD_SIZE) message.queuedSince = this.dataView.getUint32(at + 4, true);
    this.kept.set(message.id, message);
  }

  private snapshot(entry: SnapshotEntry | null): void {
    if (entry === null) return;
    this.given.snapshot(entry);
    if (!this.isOurs(entry.clientId)) return;
    const before = this.sessions.get(entry.clientId);
    this.drop(entry.clientId);
    const one = this.provide(entry.clientId);
    this.describe(one, entry);
    one.isConnected = entry.isConnected;
    one.endsAt = entry.endsAt ?? Number.POSITIVE_INFINITY;
    one.willAt = entry.willAt ?? Number.POSITIVE_INFINITY;
    one.applied = new Applied(entry.applied);
    this.snapshots.merge(one.applied);
    if (entry.received.length > 0) one.session.received = new Set(entry.received);
    if ((entry.refused?.length ?? 0) > 0) one.session.refused = new Set(entry.refused);
    for (const subscription of entry.subscriptions) this.due.add(one.session, subscription);
    if (before !== undefined) one.inherit(before);
    for (const [packetId, state, delivery] of entry.inflight) {
      one.inflight.set(packetId, { state, key: delivery === null ? 0 : keyOfEntry(delivery), delivery: delivery === null ? null : this.deliveryOf(delivery, before, one.isConnected) });
    }
    for (const named of entry.queue) {
      // The owner of a group may not have heard of it when it wrote this.
      if (isGroup(entry.clientId) && this.given.isFinished(entry.clientId, named[0])) continue;
      const delivery = this.deliveryOf(named, before, one.isConnected);
      if (delivery !== null) one.put(delivery);
    }
    // Messages that came about before the snapshot in the journal, and after it in the shard.
    for (const delivery of before?.queue.values() ?? []) {
      this.view.read(delivery.message.view, 0);
      if (!one.applied.has(this.view) && before?.unexplained.has(deliveryKey(delivery)) !== true) one.put(delivery);
    }
  }

  private deliveryOf(entry: DeliveryEntry, before: RecoveredSession | undefined, isConnected: boolean): Delivery | null {
    const [id, qos, retain, identifiers, group] = entry;
    const key = keyOfEntry(entry);
    const message = this.kept.get(id) ?? before?.queue.get(key)?.message ?? [...(before?.inflight.values() ?? [])].find((sent) => sent.key === key)?.delivery?.message;
    if (message === undefined) {
      this.lost++;
      return null;
    }
    return { message, qos, retain, identifiers, ...(group === undefined ? {} : { ticket: recoveredTicket(group) }), ...(isConnected && qos === 1 ? { isRepeat: true } : {}) };
  }

  private retained(at: number, length: number): void {
    const { view, parts } = this;
    view.read(this.dataView, at);
    parts.ids.saw(view.id);
    const topic = this.text(view.topicAt, view.topicLength);
    parts.replica.recover(topic, this.bytes, at, length, view.id, Number.POSITIVE_INFINITY);
    if (view.expiresIn === EXPIRES_NEVER || view.payloadLength === 0) return;
    this.expiringRetained.push({ message: this.copy(topic, at, length), expiresIn: view.expiresIn, mark: this.marks.length });
  }

  private timeIs(seconds: number): void {
    this.parts.time.saw(seconds);
    this.marks.push(seconds);
  }

  /** A copy of a message record that `view` has been read from. */
  private message(at: number, length: number): StoredMessage {
    const message = this.copy(this.text(this.view.topicAt, this.view.topicLength), at, length);
    // Since the next time that the journal names.
    message.queuedSince = NOT_QUEUED - 1 - this.marks.length;
    if (this.view.expiresIn !== EXPIRES_NEVER) this.expiring.push({ message, expiresIn: this.view.expiresIn, mark: this.marks.length });
    return message;
  }

  private copy(topic: string, at: number, length: number): StoredMessage {
    const record = Buffer.allocUnsafeSlow(length);
    this.bytes.copy(record, 0, at, at + length);
    return new StoredMessage(topic, record, Number.POSITIVE_INFINITY);
  }

  private drop(clientId: string): void {
    const one = this.sessions.get(clientId);
    if (one === undefined) return;
    this.due.remove(one.session);
    this.sessions.delete(clientId);
  }

  private provide(clientId: string): RecoveredSession {
    let one = this.sessions.get(clientId);
    if (one === undefined) this.sessions.set(clientId, (one = new RecoveredSession(clientId)));
    return one;
  }

  /** The session, if its state is known up to here. */
  private known(clientId: string): RecoveredSession | undefined {
    const one = this.sessions.get(clientId);
    return one?.isSeed === true ? undefined : one;
  }

  private find(at: number, length: number): RecoveredSession | undefined {
    return this.sessions.size === 0 ? undefined : this.known(this.text(at, length));
  }

  private isOurs(clientId: string): boolean {
    return fnv1aOf(clientId) % this.parts.start.shards === this.parts.start.shard;
  }

  private text(at: number, length: number): string {
    return this.bytes.toString("utf8", at, at + length);
  }

  private json<T>(at: number, length: number): T {
    return JSON.parse(this.text(at, length)) as T;
  }
}

/** The group knows nothing of it any more: no answer is waited for, but it can be given back. */
function recoveredTicket(name: string): Ticket {
  return { owner: 0, life: 0, group: 0, sequence: 0, name };
}
