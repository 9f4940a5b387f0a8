// The groups of shared subscriptions that this shard owns: their members on all shards, and the way of a message to one of them (the drawing
// stands in shared-subscriptions.ts, the state of a group in broker/shared-groups.ts). Hot path (publish, take). Thread: the shard's.
// Invariant: no group's queue is run from within a delivery: answers mark the group, `turn` goes on with it.
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import type { ShardStart } from "../base/messages.js";
import type { Entry, Route, RouteTable, Subscriber } from "../broker/route.js";
import { type Delivery, EXPIRY_NEVER, Session, type Subscription, type Ticket } from "../broker/session.js";
import { ANSWER, type Courier, groupClientId, isSpent, type Member, type MemberState, PAUSE, type SharedGroup, SharedGroups } from "../broker/shared-groups.js";
import type { StoredMessage } from "../broker/stored-message.js";
import type { SubscriptionTree } from "../broker/subscription-tree.js";
import type { RingReader } from "../ring/ring.js";
import type { Authorisation } from "./authorisation.js";
import type { ConnectionTable } from "./connection.js";
import type { DeliveredIds } from "./delivered-ids.js";
import type { Deliveries } from "./delivery.js";
import type { Interests } from "./interests.js";
import type { Liveness } from "./liveness.js";
import { MessageSource, type Outlets, PEER } from "./outlets.js";
import { ROOMY } from "./gateway-totals.js";
import type { SessionJournal } from "./session-journal.js";
import type { SessionQueues } from "./session-queues.js";

/** What shared subscriptions work with, of ShardParts. */
export interface SharedParts {
  readonly start: ShardStart;
  readonly clock: Clock;
  readonly counters: Float64Array;
  readonly tree: SubscriptionTree<Subscriber, Entry>;
  readonly routes: RouteTable;
  readonly outlets: Outlets;
  readonly interests: Interests;
  readonly deliveredIds: DeliveredIds;
  readonly liveness: Liveness;
  readonly connections: ConnectionTable;
  readonly deliveries: Deliveries;
  readonly journal: SessionJournal;
  readonly queues: SessionQueues;
  readonly authorisation: Authorisation;
}

/** A message that a member has, on its shard. */
export interface AwayMessage {
  readonly message: StoredMessage;
  readonly shard: number;
}

/** Members on this shard. */
export interface LocalMembers {
  /** QoS 0. */
  giveOnce(handle: number, source: MessageSource): void;
  /** QoS 1 or 2: the owner is answered. */
  give(handle: number, message: StoredMessage, ticket: Ticket): void;
}

/** SHARED_MEMBER: u32 handle, u8 QoS, u8 flags, u16 window, u32 zero, then the group's name. */
export const MEMBER_FLAG = { OPEN: 1, GONE: 2, KEPT: 4 } as const;
export const MEMBER_HEAD_SIZE = 12;
export const NO_BYTES = new Uint8Array(0);
/** SHARED_HELD: u32 length of the group's name, u32 zero, f64[] message ids, name. */
const HELD_HEAD_SIZE = 8;
/** SHARED_BACK: u32 length of the group's name, name, message record. */
export const BACK_HEAD_SIZE = 4;
const SHARE_PREFIX_LENGTH = "$share/".length;

export class SharedOwner implements Courier {
  private readonly parts: SharedParts;
  private readonly members: LocalMembers;
  private readonly shard: number;
  private readonly groups = new SharedGroups();
  /** Groups that something changed for since they were looked at last. */
  private ready = new Set<SharedGroup>();
  /** Groups for which a message found no room, until an eighth is free again; of all queues together, too. */
  private readonly full = new Set<SharedGroup>();
  /** Bit per shard that died and whose last words may still lie in the ring. */
  private dead = 0;
  private readonly stored = new MessageSource();
  /** This shard serves: until then groups and members are only noted, since the journal is still being read. */
  private hasBegun = false;
  /** Bit per shard that has not told its members since this shard started: a group without members may still get some. */
  private awaited: number;
  /** What waits for the beginning: SUBACKs elsewhere, messages that came back. */
  private postponed: (() => void)[] = [];

  constructor(parts: SharedParts, members: LocalMembers) {
    this.parts = parts;
    this.members = members;
    this.shard = parts.start.shard;
    this.awaited = 2 ** parts.start.shards - 1;
    for (const counter of [SHARD_COUNTER.SHARED_GROUPS, SHARD_COUNTER.SHARED_QUEUED, SHARD_COUNTER.SHARED_QUEUED_BYTES]) parts.counters[counter] = 0;
  }

  /** A message reached this shard. @returns the message in memory of its own, if there is one now */
  publish(route: Route, source: MessageSource, kept: StoredMessage | null): StoredMessage | null {
    let stored = kept;
    for (const group of route.groups) {
      if (source.qos === 0) this.publishOnce(group, route, source);
      else if (this.isKept(group)) this.enqueue(group, (stored ??= this.parts.deliveries.keep(route.topic, source)));
      // A replay must not bring it back.
      else if (group.session !== null) this.parts.journal.ackedById(group.session, source.id);
    }
    return stored;
  }

  /** A SHARED_MEMBER record came. */
  member(from: number, reader: RingReader): void {
    const { view, at } = reader;
    const name = Buffer.from(reader.bytes.subarray(at + MEMBER_HEAD_SIZE, at + reader.length)).toString("utf8");
    const handle = view.getUint32(at, true);
    const flags = view.getUint8(at + 5);
    if ((flags & MEMBER_FLAG.GONE) !== 0) this.remove(name, from, handle);
    else this.put(name, from, handle, { qos: view.getUint8(at + 4), window: view.getUint16(at + 6, true), isOpen: (flags & MEMBER_FLAG.OPEN) !== 0, isKept: (flags & MEMBER_FLAG.KEPT) !== 0 });
    const request = reader.id;
    if (request === 0) return;
    const { interests, journal, liveness } = this.parts;
    // What is published from the SUBACK on reaches the group, after a crash too.
    const answer = (): void => interests.afterAll(() => {
      journal.whenDurable(() => {
        if ((liveness.mask & (1 << from)) !== 0) interests.tell(from, PEER.SHARED_KNOWN, request, NO_BYTES);
      });
    });
    this.onceBegun(answer);
  }

  /** A SHARED_HELD record came. */
  held(from: number, reader: RingReader): void {
    this.hold(from, heldName(reader), heldIds(reader));
  }

  /** Sessions on a shard hold messages of a group. */
  hold(shard: number, name: string, messageIds: ReadonlySet<number>): void {
    this.whileItLives(shard, () => this.groups.get(name)?.held(shard, messageIds));
  }

  /** A SHARED_DONE record came. */
  heldIsDone(from: number, reader: RingReader): void {
    this.doneWith(from, heldName(reader), heldIds(reader));
  }

  /** Does what needs the groups as the journal has them: at once, or when it has been read. */
  private onceBegun(act: () => void): void {
    if (this.hasBegun) act();
    else this.postponed.push(act);
  }

  /** The same for what a shard said of itself: void when it has died, or does meanwhile; its successor says it anew. */
  private whileItLives(shard: number, act: () => void): void {
    if ((this.dead & (1 << shard)) !== 0) return;
    const { liveness } = this.parts;
    const deaths = liveness.deathsOf(shard);
    this.onceBegun(() => {
      if (liveness.deathsOf(shard) === deaths) act();
    });
  }

  /** Sessions on a shard have come to an end with messages that they were given before it or this one died. */
  doneWith(shard: number, name: string, messageIds: ReadonlySet<number>): void {
    this.onceBegun(() => {
      const group = this.groups.get(name);
      if (group === undefined) return;
      for (const id of group.heldAreDone(shard, messageIds)) if (group.session !== null) this.parts.journal.ackedById(group.session, id);
      this.count(group);
    });
  }

  /** A SHARED_BACK record came. */
  back(reader: RingReader): void {
    const { view, bytes, at, id } = reader;
    const recordAt = at + BACK_HEAD_SIZE + view.getUint32(at, true);
    const name = Buffer.from(bytes.subarray(at + BACK_HEAD_SIZE, recordAt)).toString("utf8");
    const source = this.stored;
    source.read(view, recordAt);
    source.bytes = bytes;
    const route = this.parts.routes.find(bytes, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    this.takeBack(name, this.parts.deliveries.keep(route.topic, source), id === 1);
  }

  /** A message comes back that an earlier owner had given. @param isJournaled the journal says so already */
  takeBack(name: string, message: StoredMessage, isJournaled: boolean): void {
    // The journal may say so too: known when it has been read.
    this.onceBegun(() => {
      const group = this.groups.get(name);
      if (group === undefined) {
        this.parts.counters[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER]!++;
        return;
      }
      if (!group.takeBack(message)) return;
      this.parts.counters[SHARD_COUNTER.SHARED_RETURNED]!++;
      if (!isJournaled) this.keepAgain(group, message);
      this.count(group);
      this.ready.add(group);
    });
  }

  /** A group that the journal has brought back. @param earlier ids of messages that members had and gave back */
  adopt(session: Session, messages: readonly StoredMessage[], away: readonly AwayMessage[], earlier: ReadonlySet<number>): void {
    const { tree } = this.parts;
    const name = session.clientId.slice(1);
    const group = this.groups.get(name) ?? this.create(name);
    group.session = session;
    group.restore(messages, earlier);
    for (const { message, shard } of away) group.restoreAway(message, shard);
    this.count(group);
    for (const { filter } of session.subscriptions.values()) tree.remove(filter, session);
    session.unsubscribeAll();
  }

  /** This shard begins to serve, and its own members have joined. */
  begin(): void {
    this.hasBegun = true;
    for (const group of this.groups.all()) this.keep(group);
    const { postponed } = this;
    this.postponed = [];
    for (const act of postponed) act();
    this.announced(this.shard);
  }

  /** The groups that the journal is told of. */
  *kept(): Iterable<SharedGroup> {
    for (const group of this.groups.all()) if (group.session !== null) yield group;
  }

  /** A SHARED_ANSWER record came. */
  answered(from: number, reader: RingReader): void {
    const { view, at } = reader;
    if (reader.id === this.parts.interests.life) this.take(from, view.getUint32(at, true), view.getFloat64(at + 8, true), view.getUint32(at + 4, true));
  }

  /** A member on this shard or another joined, or something about it changed. */
  put(name: string, shard: number, handle: number, state: MemberState): void {
    const group = this.groups.get(name) ?? this.create(name);
    group.put(shard, handle, state);
    this.keep(group);
    if (group.queueCount > 0) this.ready.add(group);
  }

  /** A member left. */
  remove(name: string, shard: number, handle: number): void {
    const group = this.groups.get(name);
    if (group === undefined) return;
    group.remove(shard, handle);
    this.settle(group);
  }

  /** What became of a message that a member was given. */
  take(from: number, groupId: number, sequence: number, verdict: number): void {
    const group = this.groups.byId(groupId);
    const one = group?.answer(from, sequence, verdict);
    if (group === undefined || one === null || one === undefined) return;
    if (verdict === ANSWER.RETURNED) {
      this.parts.counters[SHARD_COUNTER.SHARED_RETURNED]!++;
      if (isSpent(one.qos, one)) this.keepAgain(group, one.message);
    } else if (!isSpent(one.qos, one)) this.forget(group, one.message);
    this.count(group);
    if (group.queueCount > 0) this.ready.add(group);
  }

  /** At the beginning of a turn. @param died Liveness.look */
  look(died: number): void {
    this.dead |= died & ~(1 << this.shard);
  }

  /** A shard (re)started: its predecessor has said its last. @param isUp it has not died since, itself */
  greeted(from: number, isUp: boolean): void {
    this.lose(from);
    if (isUp) this.dead &= ~(1 << from);
  }

  /** A shard that (re)started has announced all members that it has. */
  announced(from: number): void {
    this.whileItLives(from, () => {
      this.awaited &= ~(1 << from);
      for (const group of [...this.groups.all()]) {
        this.parts.counters[SHARD_COUNTER.DROPPED_SHARED_QOS2]! += group.removeLost(from);
        this.count(group);
        this.settle(group);
      }
    });
  }

  /** Once per turn. @returns false when something waits for room in a ring or for the next turn */
  turn(): boolean {
    const { interests, start } = this.parts;
    if (this.dead !== 0 && interests.isCaughtUp) {
      for (let shard = 0; shard < start.shards; shard++) if ((this.dead & (1 << shard)) !== 0) this.lose(shard);
      this.dead = 0;
    }
    if (this.ready.size > 0) {
      const groups = this.ready;
      this.ready = new Set();
      for (const group of groups) this.pump(group);
    }
    return this.ready.size === 0;
  }

  /** Room in the queues of all sessions comes about elsewhere, too. */
  everySecond(): void {
    for (const group of this.full) this.count(group);
  }

  /** Whether `turn` has something to do. */
  get hasReady(): boolean {
    return this.ready.size > 0;
  }

  // Courier: how a group's messages reach its members.

  reaches(shard: number, size: number): boolean {
    if (shard === this.shard) return true;
    const bit = 1 << shard;
    return (this.parts.liveness.mask & bit) !== 0 && this.parts.outlets.peersHaveRoom(bit, size);
  }

  send(group: SharedGroup, member: Member, sequence: number, message: StoredMessage, qos: number): void {
    this.parts.counters[SHARD_COUNTER.SHARED_ASSIGNED]!++;
    if (group.session === null || !(sequence === 0 || isSpent(qos, member))) {
      this.hand(group, member, sequence, message);
      return;
    }
    // Nobody will say after a crash whether it came: it is not the group's any more before it leaves.
    this.parts.journal.ackedAtOnce(group.session, deliveryOf(message), () => {
      if (this.reaches(member.shard, message.size)) this.hand(group, member, sequence, message);
      else if (sequence === 0) this.takeBack(group.name, message, false);
      else this.take(member.shard, group.id, sequence, ANSWER.RETURNED);
    });
  }

  private hand(group: SharedGroup, member: Member, sequence: number, message: StoredMessage): void {
    const { interests, outlets, clock } = this.parts;
    const isHere = member.shard === this.shard;
    if (isHere && sequence !== 0) {
      this.members.give(member.handle, message, { owner: this.shard, life: interests.life, group: group.id, sequence, name: group.name });
      return;
    }
    const source = this.stored;
    source.load(message, clock.monotonic());
    if (isHere) this.members.giveOnce(member.handle, source);
    // `reaches` was asked just before.
    else outlets.directToPeer(member.shard, source, interests.life, group.id, member.handle, sequence);
  }

  expired(group: SharedGroup, message: StoredMessage): void {
    this.parts.counters[SHARD_COUNTER.DROPPED_EXPIRED]!++;
    this.forget(group, message);
  }

  private create(name: string): SharedGroup {
    const { tree, interests, counters } = this.parts;
    const group = this.groups.add(name, name.slice(name.indexOf("/", SHARE_PREFIX_LENGTH) + 1));
    counters[SHARD_COUNTER.SHARED_GROUPS] = this.groups.count;
    if (tree.add(group.filter, group) === "first") interests.change(group.filter, true);
    return group;
  }

  /** Tells the journal of a group whose first member with QoS 1 or 2 has come. It is told of its end when the last member of any QoS is gone. */
  private keep(group: SharedGroup): void {
    if (!this.hasBegun || group.keepingCount === 0 || group.session !== null) return;
    const { journal, interests, deliveredIds } = this.parts;
    const session = new Session(groupClientId(group.name));
    session.expirySeconds = EXPIRY_NEVER;
    group.session = session;
    const change = interests.lastChange;
    journal.begin(session, true);
    journal.subscribed(session, groupSubscription(group), true, change);
    // In front of what is done once all shards know of the group: to answer its first member.
    if (change !== undefined) interests.afterAll(() => journal.heard(session, [group.filter], change, deliveredIds.ofOthers()));
  }

  /** The group answers for the message no longer. */
  private forget(group: SharedGroup, message: StoredMessage): void {
    if (group.session !== null) this.parts.journal.acked(group.session, deliveryOf(message));
  }

  /** … and does again. */
  private keepAgain(group: SharedGroup, message: StoredMessage): void {
    if (group.session !== null) this.parts.journal.queued(group.session, deliveryOf(message));
  }

  /** Whether somebody takes or waits for QoS 1 and 2. */
  private isKept(group: SharedGroup): boolean {
    if (group.openCount > 0 || group.keepingCount > 0) return true;
    // The journal has brought it back, and the shard that has its members has not said so yet.
    if (this.awaited !== 0 && group.session !== null) return true;
    this.parts.counters[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER]!++;
    return false;
  }

  private enqueue(group: SharedGroup, message: StoredMessage): void {
    const { counters, start, queues, deliveries } = this.parts;
    // Behind others it waits for what they wait for.
    const isFirst = group.queueCount === 0;
    const hasRoom = isFirst || queues.totals.hasRoom(message.size);
    if (hasRoom && group.push(message, start.limits.queueCountMax, start.limits.queueBytesMax)) {
      if (isFirst) this.pump(group);
      else this.count(group);
      return;
    }
    counters[SHARD_COUNTER.DROPPED_SHARED_QUEUE_FULL]!++;
    deliveries.refusals++;
    this.forget(group, message);
    this.full.add(group);
    queues.marks.mark(group, [group.filter]);
  }

  private publishOnce(group: SharedGroup, route: Route, source: MessageSource): void {
    const { counters, interests, outlets } = this.parts;
    const size = route.topicBytes.length + source.propertiesLength + source.payloadLength + 128;
    const member = group.pick(0, size, this);
    if (member === null) counters[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER]!++;
    else {
      counters[SHARD_COUNTER.SHARED_ASSIGNED]!++;
      if (member.shard === this.shard) this.members.giveOnce(member.handle, source);
      else outlets.directToPeer(member.shard, source, interests.life, group.id, member.handle, 0);
    }
  }

  private pump(group: SharedGroup): void {
    // A shard that is still to tell what its sessions hold may have what the journal does not say yet.
    if (this.awaited !== 0) {
      this.count(group);
      return;
    }
    const pause = group.pump(this, this.parts.clock.monotonic());
    if (pause === PAUSE.RING || pause === PAUSE.TURN) this.ready.add(group);
    this.count(group);
  }

  /** Brings the sums over all groups up to date with one. */
  private count(group: SharedGroup): void {
    const { counters, queues, start } = this.parts;
    counters[SHARD_COUNTER.SHARED_QUEUED]! += group.queueCount - group.shownCount;
    counters[SHARD_COUNTER.SHARED_QUEUED_BYTES]! += group.queueSize - group.shownSize;
    queues.totals.add(group.queueCount - group.shownCount, group.queueSize - group.shownSize);
    group.shownCount = group.queueCount;
    group.shownSize = group.queueSize;
    if (!this.full.has(group) || !queues.totals.isRoomy || group.queueCount > start.limits.queueCountMax * ROOMY || group.queueSize > start.limits.queueBytesMax * ROOMY) return;
    this.full.delete(group);
    queues.marks.unmark(group);
  }

  /** A group without members is over, and what waits in it nobody's; but for one that may still get some. */
  private settle(group: SharedGroup): void {
    if (group.memberCount > 0 || this.awaited !== 0) {
      if (group.queueCount > 0) this.ready.add(group);
      return;
    }
    const { tree, interests, counters, queues } = this.parts;
    this.full.delete(group);
    queues.marks.unmark(group);
    queues.totals.add(-group.shownCount, -group.shownSize);
    this.groups.remove(group);
    this.ready.delete(group);
    if (group.session !== null) this.parts.journal.end(group.session);
    counters[SHARD_COUNTER.SHARED_GROUPS] = this.groups.count;
    counters[SHARD_COUNTER.SHARED_QUEUED]! -= group.shownCount;
    counters[SHARD_COUNTER.SHARED_QUEUED_BYTES]! -= group.shownSize;
    if (tree.remove(group.filter, group) === "last") interests.change(group.filter, false);
    // Routes that nobody has used since still name it.
    group.clear();
  }

  private lose(shard: number): void {
    for (const group of this.groups.all()) group.lose(shard);
  }
}

function deliveryOf(message: StoredMessage): Delivery {
  return { message, qos: 2, retain: false, identifiers: null };
}

/** What a replay of the journal matches messages by. */
export function groupSubscription({ filter, session }: SharedGroup): Subscription {
  return { key: session!, filter, qos: 2, noLocal: false, retainAsPublished: true, identifier: 0 };
}

/** SHARED_HELD and SHARED_DONE. */
export function heldBytes(name: string, ids: readonly number[]): Buffer {
  const nameLength = Buffer.byteLength(name);
  const bytes = Buffer.alloc(HELD_HEAD_SIZE + 8 * ids.length + nameLength);
  bytes.writeUInt32LE(nameLength, 0);
  for (const [index, id] of ids.entries()) bytes.writeDoubleLE(id, HELD_HEAD_SIZE + 8 * index);
  bytes.write(name, HELD_HEAD_SIZE + 8 * ids.length, "utf8");
  return bytes;
}

function heldName({ view, bytes, at, length }: RingReader): string {
  return Buffer.from(bytes.subarray(at + length - view.getUint32(at, true), at + length)).toString("utf8");
}

function heldIds({ view, at, length }: RingReader): Set<number> {
  const ids = new Set<number>();
  for (let idAt = at + HELD_HEAD_SIZE; idAt < at + length - view.getUint32(at, true); idAt += 8) ids.add(view.getFloat64(idAt, true));
  return ids;
}
