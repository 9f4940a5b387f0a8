// Shared subscriptions between shards (decision 0010). Each group has one owner, shard hash($share/{name}/{filter}); members live where their
// clients live. Hot path (publish, direct, done). Thread: the shard's.
//
//   member's shard (any)                                  owner
//   SUBSCRIBE, CONNECT, away, UNSUBSCRIBE, end ──MEMBER──> group in the subscription tree, interest told to all shards ──KNOWN──> SUBACK
//   session's window or queue              <──DIRECT────── a message that matched, assigned to this member
//   acknowledged, or not taken             ──ANSWER──────> forgotten, or given to another member
//
// Invariants:
//   (1) Every DIRECT with a sequence gets one ANSWER, unless the member's shard dies; then the owner waits for what its successor says it holds
//       (HELD), and takes back or gives up the rest (SharedGroup.removeLost). What is held comes to its end by DONE, or comes BACK.
//   (2) A shard that starts gets, as answer to its HELLO, every member of the groups it owns and what those hold; and tells the owners the same of
//       its own. ANNOUNCED ends both.
//   (3) Handles and lives are never those of a predecessor: what was meant for one reaches nobody.
import { SHARD_COUNTER } from "../base/counters.js";
import { SHARED_MEMBER_WINDOW_MAX } from "../base/limits.js";
import { MESSAGE_EXPIRES_IN_AT } from "../base/message-record.js";
import { INFLIGHT_STATE } from "../broker/inflight.js";
import type { Target } from "../broker/route.js";
import type { Delivery, Session, Subscription, Ticket } from "../broker/session.js";
import { ANSWER, ownerOf } from "../broker/shared-groups.js";
import { isShared } from "../broker/topic.js";
import { secondsLeft, type StoredMessage } from "../broker/stored-message.js";
import type { RingReader } from "../ring/ring.js";
import { DIRECT_TAIL_SIZE, MessageSource, PEER } from "./outlets.js";
import { BACK_HEAD_SIZE, heldBytes, type LocalMembers, MEMBER_FLAG, MEMBER_HEAD_SIZE, NO_BYTES, SharedOwner, type SharedParts } from "./shared-owner.js";

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

const JOINING_COUNT_MAX = 10_000;
/** Message ids of one SHARED_HELD or SHARED_DONE record. */
const HELD_IDS_MAX = 4096;

export class SharedSubscriptions implements LocalMembers {
  /** The groups of this shard. */
  readonly owner: SharedOwner;
  private readonly parts: SharedParts;
  private readonly shard: number;
  private readonly shards: number;
  private readonly byHandle = new Map<number, Membership>();
  private readonly bySession = new Map<Session, Map<string, Membership>>();
  /** 0 = none was given yet; the first follows on the life, which is known when the shard has greeted the others. */
  private lastHandle = 0;
  private lastRequest = 0;
  private joining: Joining | null = null;
  private readonly requests = new Map<number, Request>();
  /** Sessions whose queue is full: members that take nothing until half of it is gone. */
  private readonly full = new Set<Session>();
  private readonly source = new MessageSource();
  private hasBegun = false;
  private sessions: ReadonlyMap<string, Session> = new Map();
  /** By shard: its life, as far as it is known. */
  private readonly lives = new Map<number, number>();
  private readonly answerBytes = Buffer.alloc(16);

  constructor(parts: SharedParts) {
    this.parts = parts;
    this.shard = parts.start.shard;
    this.shards = parts.start.shards;
    this.owner = new SharedOwner(parts, this);
  }

  /** A session subscribes; `subscription.filter` is the whole `$share/{name}/{filter}`. Call `whenJoined` afterwards. */
  join(session: Session, subscription: Subscription): void {
    const name = subscription.filter;
    let memberships = this.bySession.get(session);
    if (memberships === undefined) this.bySession.set(session, (memberships = new Map<string, Membership>()));
    const { qos, retainAsPublished, identifier } = subscription;
    const target: Target = { session, qos, noLocal: false, retainAsPublished, identifiers: identifier === 0 ? null : [identifier] };
    let membership = memberships.get(name);
    if (membership === undefined) {
      this.lastHandle = ((this.lastHandle === 0 ? this.parts.interests.life : this.lastHandle) + 1) >>> 0;
      membership = { handle: this.lastHandle, owner: ownerOf(name, this.shards), name, session, target, requests: [] };
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

  /** Access rules changed: who may be a member has to be asked anew, and what waits for those who may not goes to others. */
  rulesChanged(): void {
    const { authorisation } = this.parts;
    for (const [session, memberships] of this.bySession) {
      for (const membership of memberships.values()) this.announce(membership);
      if (authorisation.restrictsReading) this.returnQueued(session, ({ message }) => !authorisation.mayRead(session, message.topic));
    }
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
      const delivery = session.inflight.itemOf(packetId);
      if (delivery?.ticket === undefined) return;
      // Not sent yet, or QoS 1.
      if (state === INFLIGHT_STATE.AWAIT_PUBACK || state === INFLIGHT_STATE.COMMIT_SENT) this.giveBack(session, delivery, delivery.ticket);
      else if (state === INFLIGHT_STATE.AWAIT_PUBREC) {
        this.parts.counters[SHARD_COUNTER.DROPPED_SHARED_QOS2]!++;
        this.done(session, delivery);
      }
    });
  }

  /** A session's queue is full: its groups give it nothing more for now, and what it was given to others. */
  refused(session: Session, delivery: Delivery): void {
    if (!this.full.has(session)) {
      this.full.add(session);
      this.changed(session);
    }
    this.giveBack(session, delivery, delivery.ticket!);
  }

  /** A delivery has come to its end: acknowledged, expired, or too large. */
  done(session: Session, delivery: Delivery | undefined): void {
    if (delivery?.ticket === undefined) return;
    this.parts.journal.givenDone(session, delivery);
    if (this.isKnown(delivery.ticket)) this.answer(delivery.ticket, ANSWER.DONE);
    else this.tellHeld(PEER.SHARED_DONE, delivery.ticket.name, [delivery.message.id]);
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
    const handle = reader.view.getUint32(at + 4, true);
    this.lives.set(from, reader.id);
    if (sequence === 0) this.giveOnce(handle, source);
    else this.give(handle, this.parts.deliveries.keep(route.topic, source), { owner: from, life: reader.id, group, sequence, name: this.byHandle.get(handle)?.name ?? "" });
  }

  /**
   * This shard begins to serve: the sessions it has taken up join their groups; tells the others that it has announced all members that it has.
   * @param done by group: messages that sessions were done with, of which an owner may not have heard when this shard died
   */
  begin(sessions: ReadonlyMap<string, Session>, done: Iterable<readonly [name: string, messageIds: ReadonlySet<number>]>): void {
    this.hasBegun = true;
    this.sessions = sessions;
    for (const session of sessions.values()) {
      for (const subscription of session.subscriptions.values()) if (isShared(subscription.filter)) this.join(session, subscription);
    }
    this.whenJoined(() => undefined);
    this.tellAllHeld(() => true);
    for (const [name, ids] of done) this.tellHeld(PEER.SHARED_DONE, name, [...ids]);
    for (let target = 0; target < this.shards; target++) if (target !== this.shard) this.parts.interests.tell(target, PEER.SHARED_ANNOUNCED, 0, NO_BYTES);
    this.owner.begin();
    // Nobody is connected yet: what was not sent is for others.
    for (const session of sessions.values()) this.returnQueued(session);
  }

  /** A shard (re)started. @param isUp it has not died since */
  greeted(from: number, life: number, isUp: boolean): void {
    this.lives.set(from, life);
    this.owner.greeted(from, isUp);
  }

  /** … and wants to know the members of the groups that it owns. */
  introduce(from: number): void {
    for (const membership of this.byHandle.values()) if (membership.owner === from) this.announce(membership);
    if (!this.hasBegun) return;
    this.tellAllHeld((owner) => owner === from);
    this.parts.interests.tell(from, PEER.SHARED_ANNOUNCED, 0, NO_BYTES);
  }

  /** Once per turn, behind the rings and the clients. @returns false when something waits for room in a ring or for the next turn */
  turn(): boolean {
    for (const session of this.full) {
      if (!this.parts.queues.isHalfFree(session)) continue;
      this.full.delete(session);
      this.changed(session);
    }
    return this.owner.turn();
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

  // LocalMembers.

  giveOnce(handle: number, source: MessageSource): void {
    const membership = this.byHandle.get(handle);
    const { counters, routes, authorisation } = this.parts;
    if (membership === undefined) counters[SHARD_COUNTER.DROPPED_SHARED_NO_MEMBER]!++;
    else if (authorisation.restrictsReading && !authorisation.mayRead(membership.session, routes.find(source.topicBytes, 0, source.topicBytes.length, null).topic)) counters[SHARD_COUNTER.DROPPED_FORBIDDEN]!++;
    else this.parts.deliveries.deliverOnce(membership.target, source, routes);
  }

  give(handle: number, message: StoredMessage, ticket: Ticket): void {
    const { connections, deliveries, authorisation } = this.parts;
    const membership = this.byHandle.get(handle);
    // It left, went away, or lost the right while the message was under way.
    if (membership === undefined || connections.get(membership.session.connection) === null || !authorisation.mayRead(membership.session, message.topic)) this.giveBack(null, { message, qos: message.qos, retain: false, identifiers: null }, ticket);
    // Its QoS may have become 0 meanwhile.
    else if (!deliveries.deliverShared(membership.target, message, ticket)) this.answer(ticket, ANSWER.DONE);
  }

  /** Gives back what waits in a session's queue of its groups' messages. */
  private returnQueued(session: Session, isMeant: (delivery: Delivery) => boolean = () => true): void {
    if (session.queue.count === 0) return;
    for (const delivery of this.parts.queues.take(session, (delivery) => delivery.ticket !== undefined && isMeant(delivery))) {
      this.giveBack(session, delivery, delivery.ticket!);
    }
  }

  /**
   * Somebody else is to get the message. If the journal knows the session, it is told first: after a crash the message is either's, never both's.
   *
   * @param session that had it, null when it never came so far
   */
  private giveBack(session: Session | null, delivery: Delivery, ticket: Ticket): void {
    const { journal, counters } = this.parts;
    if (session?.isJournaled !== true) {
      this.handBack(delivery, ticket, false);
      return;
    }
    // It ceased to outlive its connection before the gateway ended: from then on nothing says what was sent to it [MQTT-4.8.2-5].
    if (session.isTakenUp && session.isTransient && delivery.qos === 2) {
      counters[SHARD_COUNTER.DROPPED_SHARED_QOS2]!++;
      this.done(session, delivery);
      return;
    }
    journal.givenBack(session, delivery);
    journal.whenDurable(() => {
      this.handBack(delivery, ticket, true);
    });
  }

  private handBack({ message, qos }: Delivery, ticket: Ticket, isJournaled: boolean): void {
    const { liveness, counters } = this.parts;
    const { name } = ticket;
    // One that was taken up from the journal names no owner; the number of shards may be another now.
    const owner = ticket.sequence === 0 ? ownerOf(name, this.shards) : ticket.owner;
    const isHere = owner === this.shard;
    const isUp = isHere || (liveness.mask & (1 << owner)) !== 0;
    if (this.isKnown(ticket)) this.answer(ticket, ANSWER.RETURNED);
    // The successor of an owner that died was told that a session here holds it.
    else if (isHere) this.owner.takeBack(name, message, isJournaled);
    else if (isUp) this.sendBack(owner, name, message, isJournaled);
    else if (!isJournaled && qos === 2) counters[SHARD_COUNTER.DROPPED_SHARED_QOS2]!++;
  }

  /** Whether the owner that gave the message is still there. */
  private isKnown({ owner, life, sequence }: Ticket): boolean {
    const { interests, liveness } = this.parts;
    if (sequence === 0) return false;
    return owner === this.shard ? life === interests.life : (liveness.mask & (1 << owner)) !== 0 && this.lives.get(owner) === life;
  }

  private sendBack(owner: number, name: string, message: StoredMessage, isJournaled: boolean): void {
    const nameLength = Buffer.byteLength(name);
    const recordAt = BACK_HEAD_SIZE + nameLength;
    const bytes = Buffer.alloc(recordAt + message.record.length);
    bytes.writeUInt32LE(nameLength, 0);
    bytes.write(name, BACK_HEAD_SIZE, "utf8");
    bytes.set(message.record, recordAt);
    bytes.writeUInt32LE(secondsLeft(message.expiresAt, this.parts.clock.monotonic()), recordAt + MESSAGE_EXPIRES_IN_AT);
    this.parts.interests.tell(owner, PEER.SHARED_BACK, isJournaled ? 1 : 0, bytes);
  }

  private tellAllHeld(isMeant: (owner: number) => boolean): void {
    const held = new Map<string, number[]>();
    for (const session of this.sessions.values()) collectHeld(session, held);
    for (const [name, ids] of held) if (isMeant(ownerOf(name, this.shards))) this.tellHeld(PEER.SHARED_HELD, name, ids);
  }

  /** Tells an owner that has seen this shard die what its sessions hold of a group, or hold no more. */
  private tellHeld(kind: number, name: string, ids: readonly number[]): void {
    const owner = ownerOf(name, this.shards);
    if (owner === this.shard) {
      if (kind === PEER.SHARED_HELD) this.owner.hold(owner, name, new Set(ids));
      else this.owner.doneWith(owner, name, new Set(ids));
      return;
    }
    if ((this.parts.liveness.mask & (1 << owner)) === 0) return;
    for (let i = 0; i < ids.length; i += HELD_IDS_MAX) this.parts.interests.tell(owner, kind, 0, heldBytes(name, ids.slice(i, i + HELD_IDS_MAX)));
  }

  /** Tells the owner. One that died meanwhile has forgotten what it gave. */
  private answer(ticket: Ticket, verdict: number): void {
    const { interests, liveness } = this.parts;
    if (ticket.owner === this.shard) {
      if (ticket.life === interests.life) this.owner.take(this.shard, ticket.group, ticket.sequence, verdict);
      return;
    }
    if ((liveness.mask & (1 << ticket.owner)) === 0) return;
    const bytes = this.answerBytes;
    bytes.writeUInt32LE(ticket.group, 0);
    bytes.writeUInt32LE(verdict, 4);
    bytes.writeDoubleLE(ticket.sequence, 8);
    interests.tell(ticket.owner, PEER.SHARED_ANSWER, ticket.life, bytes);
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
    const isOpen = connection !== null && !connection.isPressed && !this.full.has(session) && this.parts.authorisation.mayShare(session, name);
    if (owner === this.shard) {
      this.owner.put(name, owner, handle, { qos: target.qos, window, isOpen, isKept: !session.isTransient });
      return;
    }
    if ((liveness.mask & (1 << owner)) === 0) return;
    this.tellMember(membership, (isOpen ? MEMBER_FLAG.OPEN : 0) | (session.isTransient ? 0 : MEMBER_FLAG.KEPT), window);
  }

  private remove(membership: Membership): void {
    const { owner, handle, name, requests } = membership;
    this.byHandle.delete(handle);
    if (owner === this.shard) this.owner.remove(name, owner, handle);
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
}

/** Adds the ids of what a session holds of each group, sent or not. */
function collectHeld(session: Session, held: Map<string, number[]>): void {
  const add = (delivery: Delivery | undefined): void => {
    if (delivery?.ticket === undefined) return;
    const ids = held.get(delivery.ticket.name);
    if (ids === undefined) held.set(delivery.ticket.name, [delivery.message.id]);
    else ids.push(delivery.message.id);
  };
  session.inflight.forEach((packetId) => {
    add(session.inflight.itemOf(packetId));
  });
  for (const delivery of session.queue.all()) add(delivery);
}
