// Shared subscriptions between shards (decision 0010). Each group has one owner, shard hash($share/{name}/{filter}); members live where their
// clients live. Hot path (publish, direct, done). Thread: the shard's.
//
//   member's shard (any)                                  owner
//   SUBSCRIBE, CONNECT, away, UNSUBSCRIBE, end ──MEMBER──> group in the subscription tree, interest told to all shards ──KNOWN──> SUBACK
//   session's window or queue              <──DIRECT────── a message that matched, assigned to this member
//   acknowledged, or not taken             ──ANSWER──────> forgotten, or given to another member
//
// Invariants:
//   (1) Every DIRECT with a sequence gets one ANSWER, unless the member's shard dies; then the owner takes back or gives up (SharedGroup.lose)
//       what it had, once it has read all that the dead one sent.
//   (2) A shard that starts gets, as answer to its HELLO, every member of the groups it owns; and tells the owners that it has announced all it has.
//   (3) Handles and lives are never those of a predecessor: what was meant for one reaches nobody.
//   (4) Nothing here runs a group's queue from within a delivery: answers mark the group, `turn` goes on with it.
import { fnv1aOf } from "../base/bytes.js";
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { SHARED_MEMBER_WINDOW_MAX, SHARED_QUEUES_BYTES_MAX } from "../base/limits.js";
import type { ShardStart } from "../base/messages.js";
import { INFLIGHT_STATE } from "../broker/inflight.js";
import type { Entry, Route, RouteTable, Subscriber, Target } from "../broker/route.js";
import type { Delivery, Session, Subscription, Ticket } from "../broker/session.js";
import { ANSWER, type Courier, type Member, type MemberState, PAUSE, type SharedGroup, SharedGroups } from "../broker/shared-groups.js";
import type { StoredMessage } from "../broker/stored-message.js";
import type { SubscriptionTree } from "../broker/subscription-tree.js";
import type { RingReader } from "../ring/ring.js";
import type { ConnectionTable } from "./connection.js";
import type { Deliveries } from "./delivery.js";
import type { Interests } from "./interests.js";
import type { Liveness } from "./liveness.js";
import { DIRECT_TAIL_SIZE, MessageSource, type Outlets, PEER } from "./outlets.js";

/** A session's place in a group, on the session's shard. */
interface Membership {
  readonly handle: number;
  readonly owner: number;
  readonly name: string;
  readonly session: Session;
  /** How a message of the group is delivered to the session. */
  target: Target;
  /** Requests to the owner that are not answered yet, oldest first. */
  readonly requests: Request[];
}

/** A SUBSCRIBE asks the owner to say when the member counts. */
interface Request {
  readonly id: number;
  readonly membership: Membership;
  readonly joining: Joining;
}

/** A SUBACK that waits for owners. */
interface Joining {
  open: number;
  then: (() => void) | null;
}

/** What SharedSubscriptions works with, of ShardParts. */
export interface SharedParts {
  readonly start: ShardStart;
  readonly clock: Clock;
  readonly counters: Float64Array;
  readonly tree: SubscriptionTree<Subscriber, Entry>;
  readonly routes: RouteTable;
  readonly outlets: Outlets;
  readonly interests: Interests;
  readonly liveness: Liveness;
  readonly connections: ConnectionTable;
  readonly deliveries: Deliveries;
}

const JOINING_COUNT_MAX = 10_000;
const MEMBER_FLAG = { OPEN: 1, GONE: 2 } as const;
const MEMBER_HEAD_SIZE = 12;
const NOTHING = new Uint8Array(0);
const SHARE_PREFIX_LENGTH = "$share/".length;

export class SharedSubscriptions implements Courier {
  private readonly parts: SharedParts;
  private readonly shard: number;
  private readonly shards: number;
  private readonly groups = new SharedGroups();
  /** Groups that something changed for since they were looked at last. */
  private ready = new Set<SharedGroup>();
  private readonly byHandle = new Map<number, Membership>();
  private readonly bySession = new Map<Session, Map<string, Membership>>();
  private lastHandle = 0;
  private lastRequest = 0;
  private joining: Joining | null = null;
  private readonly requests = new Map<number, Request>();
  /** Bit per shard that died and whose last words may still lie in the ring. */
  private dead = 0;
  /** Sessions whose queue is full: members that take nothing until half of it is gone. */
  private readonly full = new Set<Session>();
  private readonly source = new MessageSource();
  private readonly stored = new MessageSource();
  private readonly answerBytes = Buffer.alloc(16);

  constructor(parts: SharedParts) {
    this.parts = parts;
    this.shard = parts.start.shard;
    this.shards = parts.start.shards;
    for (const counter of [SHARD_COUNTER.SHARED_GROUPS, SHARD_COUNTER.SHARED_QUEUED, SHARD_COUNTER.SHARED_QUEUED_BYTES]) parts.counters[counter] = 0;
  }

  // On the member's shard.

  /** A session subscribes; `subscription.filter` is the whole `$share/{name}/{filter}`. Call `whenJoined` afterwards. */
  join(session: Session, subscription: Subscription): void {
    const name = subscription.filter;
    let memberships = this.bySession.get(session);
    if (memberships === undefined) this.bySession.set(session, (memberships = new Map<string, Membership>()));
    const { qos, retainAsPublished, identifier } = subscription;
    const target: Target = { session, qos, noLocal: false, retainAsPublished, identifiers: identifier === 0 ? null : [identifier] };
    let membership = memberships.get(name);
    if (membership === undefined) {
      this.lastHandle = (this.lastHandle + 1) >>> 0;
      membership = { handle: this.lastHandle, owner: fnv1aOf(name) % this.shards, name, session, target, requests: [] };
      memberships.set(name, membership);
      this.byHandle.set(membership.handle, membership);
    } else membership.target = target;
    if (membership.owner !== this.shard) this.request(membership);
    this.announce(membership);
  }

  /** Calls `then` when the owners of all groups that were joined since the last call know it, and all shards know of their interest. */
  whenJoined(then: () => void): void {
    const { joining } = this;
    this.joining = null;
    if (joining === null) then();
    else joining.then = then;
  }

  /** False while so many SUBACKs wait for owners that no more SUBSCRIBEs should be read. */
  get hasRoom(): boolean {
    return this.requests.size < JOINING_COUNT_MAX;
  }

  /** UNSUBSCRIBE. What the session has of the group already is still its own [MQTT-3.10.4-3]. */
  leave(session: Session, name: string): void {
    const memberships = this.bySession.get(session);
    const membership = memberships?.get(name);
    if (memberships === undefined || membership === undefined) return;
    memberships.delete(name);
    if (memberships.size === 0) this.bySession.delete(session);
    this.remove(membership);
  }

  /** A session gained or lost its connection, or its client began or ceased to read. What waits for a client that is away goes back. */
  changed(session: Session): void {
    const memberships = this.bySession.get(session);
    if (memberships === undefined) return;
    for (const membership of memberships.values()) this.announce(membership);
    if (session.connection === 0) this.returnQueued(session);
  }

  /** A session is over: what it has not acknowledged goes to others, but for QoS 2 that was sent [MQTT-4.8.2-5]. */
  ended(session: Session): void {
    const memberships = this.bySession.get(session);
    if (memberships !== undefined) {
      this.bySession.delete(session);
      for (const membership of memberships.values()) this.remove(membership);
    }
    this.returnQueued(session);
    if (session.inflight.count === 0) return;
    session.inflight.forEach((packetId, state) => {
      const ticket = session.inflight.itemOf(packetId)?.ticket;
      if (ticket === undefined) return;
      if (state === INFLIGHT_STATE.AWAIT_PUBACK) this.answer(ticket, ANSWER.RETURNED);
      else {
        this.parts.counters[SHARD_COUNTER.DROPPED_SHARED_QOS2]!++;
        this.answer(ticket, ANSWER.DONE);
      }
    });
  }

  /** A session's queue is full: its groups give it nothing more for now, and what it was given to others. */
  refused(session: Session, ticket: Ticket): void {
    if (!this.full.has(session)) {
      this.full.add(session);
      this.changed(session);
    }
    this.answer(ticket, ANSWER.RETURNED);
  }

  /** A delivery has come to its end: acknowledged, expired, or too large. */
  done(delivery: Delivery | undefined): void {
    if (delivery?.ticket !== undefined) this.answer(delivery.ticket, ANSWER.DONE);
  }

  /** A DIRECT record came from the owner. */
  direct(from: number, reader: RingReader): void {
    const { routes } = this.parts;
    const { source } = this;
    source.read(reader.view, reader.at);
    source.bytes = reader.bytes;
    const route = routes.find(reader.bytes, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    const at = reader.at + reader.length - DIRECT_TAIL_SIZE;
    const group = reader.view.getUint32(at, true);
    const sequence = reader.view.getFloat64(at + 8, true);
    const membership = this.byHandle.get(reader.view.getUint32(at + 4, true));
    if (sequence === 0) {
      this.deliverOnce(membership, source);
      return;
    }
    const ticket: Ticket = { owner: from, life: reader.id, group, sequence };
    if (membership === undefined || !this.isConnected(membership)) this.answer(ticket, ANSWER.RETURNED);
    else this.deliverSurely(membership, this.parts.deliveries.keep(route.topic, source), ticket);
  }

  /** A SHARED_KNOWN record came from the owner: it answers what was asked before too. */
  known(id: number): void {
    const request = this.requests.get(id);
    if (request === undefined) return;
    const { requests } = request.membership;
    for (const { id, joining } of requests.splice(0, requests.indexOf(request) + 1)) {
      this.requests.delete(id);
      joining.open--;
      if (joining.open === 0) joining.then?.();
    }
  }

  // On the owner.

  /** A message reached this shard. @returns the message in memory of its own, if there is one now */
  publish(route: Route, source: MessageSource, kept: StoredMessage | null): StoredMessage | null {
    const { counters, start, deliveries } = this.parts;
    let stored = kept;
    for (const group of route.groups) {
      if (source.qos === 0) {
        this.publishOnce(group, route, source);
        continue;
      }
      if (group.openCount === 0 && group.keepingCount === 0) {
        counters[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER]!++;
        continue;
      }
      stored ??= deliveries.keep(route.topic, source);
      // Behind others it waits for what they wait for.
      const isFirst = group.queueCount === 0;
      const hasRoom = isFirst || counters[SHARD_COUNTER.SHARED_QUEUED_BYTES]! + stored.size <= SHARED_QUEUES_BYTES_MAX;
      if (!hasRoom || !group.push(stored, start.limits.queueCountMax, start.limits.queueBytesMax)) counters[SHARD_COUNTER.DROPPED_SHARED_QUEUE_FULL]!++;
      else if (isFirst) this.pump(group);
      else this.count(group);
    }
    return stored;
  }

  /** A SHARED_MEMBER record came. */
  member(from: number, reader: RingReader): void {
    const { view, at } = reader;
    const name = Buffer.from(reader.bytes.subarray(at + MEMBER_HEAD_SIZE, at + reader.length)).toString("utf8");
    const handle = view.getUint32(at, true);
    const flags = view.getUint8(at + 5);
    if ((flags & MEMBER_FLAG.GONE) !== 0) this.removeMember(name, from, handle);
    else this.putMember(name, from, handle, { qos: view.getUint8(at + 4), window: view.getUint16(at + 6, true), isOpen: (flags & MEMBER_FLAG.OPEN) !== 0 });
    const request = reader.id;
    if (request === 0) return;
    const { interests, liveness } = this.parts;
    interests.afterAll(() => {
      if ((liveness.mask & (1 << from)) !== 0) interests.tell(from, PEER.SHARED_KNOWN, request, NOTHING);
    });
  }

  /** A SHARED_ANSWER record came. */
  answered(from: number, reader: RingReader): void {
    const { view, at } = reader;
    if (reader.id === this.parts.interests.life) this.take(from, view.getUint32(at, true), view.getFloat64(at + 8, true), view.getUint32(at + 4, true));
  }

  /** At the beginning of a turn. @param died Liveness.look */
  look(died: number): void {
    this.dead |= died & ~(1 << this.shard);
  }

  /** A shard (re)started and wants to know the members of the groups that it owns. */
  greeted(from: number): void {
    if ((this.dead & (1 << from)) !== 0) this.lose(from);
    for (const membership of this.byHandle.values()) if (membership.owner === from) this.announce(membership);
  }

  /** A shard that (re)started has announced all members that it has. */
  announced(from: number): void {
    for (const group of [...this.groups.all()]) {
      group.removeLost(from);
      this.settle(group);
    }
  }

  /** This shard starts: tells the others that it has announced all that it has. */
  begin(): void {
    this.lastHandle = this.parts.interests.life;
    for (let target = 0; target < this.shards; target++) if (target !== this.shard) this.parts.interests.tell(target, PEER.SHARED_ANNOUNCED, 0, NOTHING);
  }

  /** Once per turn, behind the rings and the clients. @returns false when something waits for room in a ring or for the next turn */
  turn(): boolean {
    const { interests, start } = this.parts;
    if (this.dead !== 0 && interests.isCaughtUp) {
      for (let shard = 0; shard < this.shards; shard++) if ((this.dead & (1 << shard)) !== 0) this.lose(shard);
    }
    for (const session of this.full) {
      if (session.queue.count > start.limits.queueCountMax >> 1 || session.queue.bytes > start.limits.queueBytesMax / 2) continue;
      this.full.delete(session);
      this.changed(session);
    }
    if (this.ready.size > 0) {
      const groups = this.ready;
      this.ready = new Set();
      for (const group of groups) this.pump(group);
    }
    return this.ready.size === 0;
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

  send(group: SharedGroup, member: Member, sequence: number, message: StoredMessage): void {
    const { counters, interests, outlets, clock } = this.parts;
    counters[SHARD_COUNTER.SHARED_ASSIGNED]!++;
    const isHere = member.shard === this.shard;
    if (isHere && sequence !== 0) {
      const membership = this.byHandle.get(member.handle);
      const ticket: Ticket = { owner: this.shard, life: interests.life, group: group.id, sequence };
      if (membership === undefined || !this.isConnected(membership)) this.answer(ticket, ANSWER.RETURNED);
      else this.deliverSurely(membership, message, ticket);
      return;
    }
    const source = this.stored;
    source.read(message.view, 0);
    source.bytes = message.record;
    source.topicBytes = message.record.subarray(source.topicAt, source.topicAt + source.topicLength);
    if (message.expiresAt !== Number.POSITIVE_INFINITY) source.expiresIn = Math.max(1, Math.ceil((message.expiresAt - clock.monotonic()) / 1000));
    if (isHere) this.deliverOnce(this.byHandle.get(member.handle), source);
    // `reaches` was asked just before.
    else outlets.directToPeer(member.shard, source, interests.life, group.id, member.handle, sequence);
  }

  expired(): void {
    this.parts.counters[SHARD_COUNTER.DROPPED_EXPIRED]!++;
  }

  // Both.

  private publishOnce(group: SharedGroup, route: Route, source: MessageSource): void {
    const { counters, interests, outlets } = this.parts;
    const size = route.topicBytes.length + source.propertiesLength + source.payloadLength + 128;
    const member = group.pick(0, size, this);
    if (member === null) counters[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER]!++;
    else {
      counters[SHARD_COUNTER.SHARED_ASSIGNED]!++;
      if (member.shard === this.shard) this.deliverOnce(this.byHandle.get(member.handle), source);
      else outlets.directToPeer(member.shard, source, interests.life, group.id, member.handle, 0);
    }
  }

  private pump(group: SharedGroup): void {
    const pause = group.pump(this, this.parts.clock.monotonic());
    if (pause === PAUSE.RING || pause === PAUSE.TURN) this.ready.add(group);
    this.count(group);
  }

  /** Brings the sums over all groups up to date with one. */
  private count(group: SharedGroup): void {
    const { counters } = this.parts;
    counters[SHARD_COUNTER.SHARED_QUEUED]! += group.queueCount - group.shownCount;
    counters[SHARD_COUNTER.SHARED_QUEUED_BYTES]! += group.queueSize - group.shownSize;
    group.shownCount = group.queueCount;
    group.shownSize = group.queueSize;
  }

  private isConnected(membership: Membership): boolean {
    return this.parts.connections.get(membership.session.connection) !== null;
  }

  private deliverOnce(membership: Membership | undefined, source: MessageSource): void {
    if (membership === undefined) this.parts.counters[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER]!++;
    else this.parts.deliveries.deliverOnce(membership.target, source);
  }

  private deliverSurely(membership: Membership, message: StoredMessage, ticket: Ticket): void {
    // Its QoS may have become 0 meanwhile.
    if (!this.parts.deliveries.deliverShared(membership.target, message, ticket)) this.answer(ticket, ANSWER.DONE);
  }

  private returnQueued(session: Session): void {
    const { counters } = this.parts;
    if (session.queue.count === 0) return;
    for (const { ticket, message } of session.queue.take((delivery) => delivery.ticket !== undefined)) {
      counters[SHARD_COUNTER.QUEUED]!--;
      counters[SHARD_COUNTER.QUEUED_BYTES]! -= message.size;
      this.answer(ticket!, ANSWER.RETURNED);
    }
  }

  /** Tells the owner. One that died meanwhile has forgotten what it gave. */
  private answer(ticket: Ticket, verdict: number): void {
    const { interests, liveness } = this.parts;
    if (ticket.owner === this.shard) {
      if (ticket.life === interests.life) this.take(this.shard, ticket.group, ticket.sequence, verdict);
      return;
    }
    if ((liveness.mask & (1 << ticket.owner)) === 0) return;
    const bytes = this.answerBytes;
    bytes.writeUInt32LE(ticket.group, 0);
    bytes.writeUInt32LE(verdict, 4);
    bytes.writeDoubleLE(ticket.sequence, 8);
    interests.tell(ticket.owner, PEER.SHARED_ANSWER, ticket.life, bytes);
  }

  private take(from: number, groupId: number, sequence: number, verdict: number): void {
    const group = this.groups.byId(groupId);
    if (group === undefined) return;
    if (group.answer(from, sequence, verdict)) this.parts.counters[SHARD_COUNTER.SHARED_RETURNED]!++;
    this.count(group);
    if (group.queueCount > 0) this.ready.add(group);
  }

  private request(membership: Membership): void {
    this.lastRequest = this.lastRequest === 0xffff_ffff ? 1 : this.lastRequest + 1;
    this.joining ??= { open: 0, then: null };
    this.joining.open++;
    const request: Request = { id: this.lastRequest, membership, joining: this.joining };
    this.requests.set(request.id, request);
    membership.requests.push(request);
  }

  /** Tells the owner how the member is; one that is down asks when it is back. */
  private announce(membership: Membership): void {
    const { connections, liveness } = this.parts;
    const { owner, handle, name, session, target } = membership;
    const connection = connections.get(session.connection);
    const window = Math.max(1, Math.min(session.window, SHARED_MEMBER_WINDOW_MAX));
    const isOpen = connection !== null && !connection.isPressed && !this.full.has(session);
    if (owner === this.shard) {
      this.putMember(name, owner, handle, { qos: target.qos, window, isOpen });
      return;
    }
    if ((liveness.mask & (1 << owner)) === 0) return;
    this.tellMember(membership, isOpen ? MEMBER_FLAG.OPEN : 0, window);
  }

  private remove(membership: Membership): void {
    const { owner, handle, name, requests } = membership;
    this.byHandle.delete(handle);
    if (owner === this.shard) this.removeMember(name, owner, handle);
    else if ((this.parts.liveness.mask & (1 << owner)) !== 0) this.tellMember(membership, MEMBER_FLAG.GONE, 0);
    // Nobody waits for a subscription that is gone.
    const last = requests.at(-1);
    if (last !== undefined) this.known(last.id);
  }

  private tellMember({ owner, handle, name, target, requests }: Membership, flags: number, window: number): void {
    const bytes = Buffer.alloc(MEMBER_HEAD_SIZE + Buffer.byteLength(name));
    bytes.writeUInt32LE(handle, 0);
    bytes.writeUInt8(target.qos, 4);
    bytes.writeUInt8(flags, 5);
    bytes.writeUInt16LE(window, 6);
    bytes.write(name, MEMBER_HEAD_SIZE, "utf8");
    this.parts.interests.tell(owner, PEER.SHARED_MEMBER, requests.at(-1)?.id ?? 0, bytes);
  }

  private putMember(name: string, shard: number, handle: number, state: MemberState): void {
    let group = this.groups.get(name);
    if (group === undefined) {
      const { tree, interests } = this.parts;
      group = this.groups.add(name, name.slice(name.indexOf("/", SHARE_PREFIX_LENGTH) + 1));
      this.parts.counters[SHARD_COUNTER.SHARED_GROUPS] = this.groups.count;
      if (tree.add(group.filter, group) === "first") interests.change(group.filter, true);
    }
    group.put(shard, handle, state);
    if (group.queueCount > 0) this.ready.add(group);
  }

  private removeMember(name: string, shard: number, handle: number): void {
    const group = this.groups.get(name);
    if (group === undefined) return;
    group.remove(shard, handle);
    this.settle(group);
  }

  /** A group without members is over, and what waits in it nobody's. */
  private settle(group: SharedGroup): void {
    if (group.memberCount > 0) {
      if (group.queueCount > 0) this.ready.add(group);
      return;
    }
    const { tree, interests, counters } = this.parts;
    this.groups.remove(group);
    this.ready.delete(group);
    counters[SHARD_COUNTER.SHARED_GROUPS] = this.groups.count;
    counters[SHARD_COUNTER.SHARED_QUEUED]! -= group.shownCount;
    counters[SHARD_COUNTER.SHARED_QUEUED_BYTES]! -= group.shownSize;
    if (tree.remove(group.filter, group) === "last") interests.change(group.filter, false);
  }

  private lose(shard: number): void {
    this.dead &= ~(1 << shard);
    const { counters } = this.parts;
    for (const group of this.groups.all()) {
      counters[SHARD_COUNTER.DROPPED_SHARED_QOS2]! += group.lose(shard);
      this.count(group);
      if (group.queueCount > 0) this.ready.add(group);
    }
  }
}
