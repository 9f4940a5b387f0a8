// Shared subscriptions ($share/{name}/{filter}, MQTT 5 §4.8.2) as the shard that owns a group sees them: who its members are, which message
// went to whom and is not acknowledged yet, and what waits since nobody can take it. Hot path (offer, pump, answer). Pure.
//
//   publish ──> queue ──pump──> assigned to one member ──answer──> done
//                 ^                    │
//                 └──── returned ──────┘   the member left, or went away before it was sent
//
// Invariants:
//   (1) A message is in exactly one place: queue, returned, or assigned (to one member). So it goes to one member at a time.
//   (2) Messages are assigned in the order of `sequence`; what is returned goes back to its place in that order, before what came later.
//   (3) `unacknowledged` and `unacknowledgedSize` of a member are what `assigned` holds of it: no more than its window, so that a member
//       that is slow keeps few messages from the others.
import { fnv1aOf } from "../base/bytes.js";
import { SHARED_MEMBER_BYTES_MAX } from "../base/limits.js";
import type { Session } from "./session.js";
import type { StoredMessage } from "./stored-message.js";

/** What the journal calls a group: no client id can hold U+0000 [MQTT-1.5.4-2]. @param name `$share/{name}/{filter}` */
export function groupClientId(name: string): string {
  return `\0${name}`;
}

export function isGroup(clientId: string): boolean {
  return clientId.charCodeAt(0) === 0;
}

/** The shard that owns a group: as of a client with its client id. */
export function ownerOf(name: string, shards: number): number {
  return fnv1aOf(groupClientId(name)) % shards;
}

/** What a member's shard says of it. */
export interface MemberState {
  readonly qos: number;
  /** QoS 1 and 2 messages that it takes unacknowledged. */
  readonly window: number;
  /** Connected, and it reads what it is sent. */
  readonly isOpen: boolean;
  /** Its session outlives its connection, so what it was given is in the journal. */
  readonly isKept: boolean;
}

export class Member {
  readonly shard: number;
  /** Names it on its shard. */
  readonly handle: number;
  qos = 0;
  window = 0;
  isOpen = false;
  isKept = false;
  /** Its shard died and has not announced it again. */
  isLost = false;
  unacknowledged = 0;
  unacknowledgedSize = 0;

  constructor(shard: number, handle: number) {
    this.shard = shard;
    this.handle = handle;
  }
}

interface Waiting {
  readonly sequence: number;
  readonly message: StoredMessage;
}

export interface Assigned extends Waiting {
  readonly member: Member;
  readonly qos: number;
  /** What the member was when it got the message. */
  readonly isKept: boolean;
}


/** How messages reach members. */
export interface Courier {
  /** Whether a message of `size` bytes can go to the shard now. */
  reaches(shard: number, size: number): boolean;
  /** Hands a message over; `sequence` 0: with QoS 0, nobody answers, else the member's shard answers exactly once unless it dies. */
  send(group: SharedGroup, member: Member, sequence: number, message: StoredMessage, qos: number): void;
  /** A message expired while it waited. */
  expired(group: SharedGroup, message: StoredMessage): void;
}

export const ANSWER = {
  /** Acknowledged, or given up for good: nobody else gets it. */
  DONE: 1,
  /** It was not sent, or with QoS 1 to a client that will not acknowledge it: somebody else gets it. */
  RETURNED: 2,
} as const;

/** Why pumping stopped. */
export const PAUSE = {
  /** Nothing waits. */
  EMPTY: 0,
  /** Until a member acknowledges, connects or joins. */
  MEMBERS: 1,
  /** Until there is room in a ring. */
  RING: 2,
  /** Its share of this turn is used up. */
  TURN: 3,
} as const;

/** Of what waited, to members with QoS 0 in one turn, whom no window protects. */
const UNACKNOWLEDGED_SIZE_PER_TURN = 128 * 1024;

export class SharedGroup {
  /** It stands in the subscription tree as its own entry. */
  readonly key: SharedGroup = this;
  readonly id: number;
  /** `$share/{name}/{filter}`. */
  readonly name: string;
  readonly filter: string;
  /** As the journal knows it; null while nothing is kept for it. */
  session: Session | null = null;
  /** Members with QoS 1 or 2: for them QoS 1 and 2 messages wait. */
  keepingCount = 0;
  openCount = 0;
  queueSize = 0;
  /** What the owner's counters have of `queueCount` and `queueSize`. */
  shownCount = 0;
  shownSize = 0;
  private readonly members: Member[] = [];
  private readonly byId = new Map<number, Member>();
  private readonly assigned = new Map<number, Assigned>();
  /** Of `assigned`, by message id: what members had when this owner or their shard began, as their shard has confirmed. */
  private readonly heldById = new Map<number, Assigned>();
  private queue: (Waiting | undefined)[] = [];
  private head = 0;
  private returned: Waiting[] = [];
  private sequence = 0;
  /** Where the next search for a member begins: round robin. */
  private next = 0;
  private isRingFull = false;

  constructor(id: number, name: string, filter: string) {
    this.id = id;
    this.name = name;
    this.filter = filter;
  }

  get memberCount(): number {
    return this.members.length;
  }

  get assignedCount(): number {
    return this.assigned.size;
  }

  /** Messages that wait for a member. */
  get queueCount(): number {
    return this.queue.length - this.head + this.returned.length;
  }

  /** A member joined, or something about it changed. */
  put(shard: number, handle: number, state: MemberState): void {
    let member = this.byId.get(idOf(shard, handle));
    if (member === undefined) {
      member = new Member(shard, handle);
      this.byId.set(idOf(shard, handle), member);
      this.members.push(member);
    } else this.count(member, -1);
    member.qos = state.qos;
    member.window = state.window;
    member.isOpen = state.isOpen;
    member.isKept = state.isKept;
    member.isLost = false;
    this.count(member, 1);
  }

  /** A member left. What it has not acknowledged is answered by its shard. */
  remove(shard: number, handle: number): void {
    const member = this.byId.get(idOf(shard, handle));
    if (member !== undefined) this.removeMember(member);
  }

  /** A shard died: its members take nothing until its successor has announced them anew. */
  lose(shard: number): void {
    for (const member of this.members) {
      if (member.shard !== shard || member.isLost) continue;
      this.count(member, -1);
      member.isLost = true;
      member.isOpen = false;
      this.count(member, 1);
    }
    // Those that have left, too: nobody will answer for them.
    for (const one of this.assigned.values()) {
      if (one.member.shard !== shard) continue;
      one.member.isLost = true;
      this.heldById.delete(one.message.id);
    }
  }

  /** The successor of a shard has found messages in the sessions of its members: those are theirs. */
  held(shard: number, messageIds: ReadonlySet<number>): void {
    for (const one of this.assigned.values()) if (one.member.shard === shard && one.member.isLost && messageIds.has(one.message.id)) this.heldById.set(one.message.id, one);
    // An owner that began meanwhile could not know of those.
    const waiting = [...this.queue.slice(this.head), ...this.returned] as Waiting[];
    if (!waiting.some(({ message }) => messageIds.has(message.id))) return;
    this.queue = waiting.filter(({ message }) => !messageIds.has(message.id)).sort((a, b) => a.sequence - b.sequence);
    this.head = 0;
    this.returned = [];
    for (const { message } of waiting) {
      if (!messageIds.has(message.id)) continue;
      this.queueSize -= message.size;
      this.heldById.set(message.id, this.restoreAway(message, shard));
    }
  }

  /** What sessions on a shard held, or had when it died, has come to its end. @returns what the group answered for of that */
  heldAreDone(shard: number, messageIds: ReadonlySet<number>): number[] {
    const done: Assigned[] = [];
    for (const id of messageIds) {
      const held = this.heldById.get(id);
      if (held !== undefined) done.push(held);
    }
    // Some may not have been confirmed yet.
    if (done.length < messageIds.size) for (const one of this.assigned.values()) if (one.member.isLost && one.member.shard === shard && messageIds.has(one.message.id) && !this.heldById.has(one.message.id)) done.push(one);
    for (const one of done) this.release(one);
    return done.map(({ message }) => message.id);
  }

  /**
   * The successor of a shard has announced all members it has, and what they hold: the lost ones are gone, and what else they had goes back. But for
   * QoS 2 of sessions that are gone with their shard: it may have been sent, and must not be sent to anybody else then [MQTT-4.8.2-5].
   * @returns how many QoS 2 messages were given up
   */
  removeLost(shard: number): number {
    let abandoned = 0;
    for (const one of this.assigned.values()) {
      if (one.member.shard !== shard || !one.member.isLost || this.heldById.has(one.message.id)) continue;
      this.release(one);
      if (one.qos === 1 || one.isKept) this.giveBack(one);
      else abandoned++;
    }
    for (const member of [...this.members]) if (member.shard === shard && member.isLost) this.removeMember(member);
    return abandoned;
  }

  /** What waits for the group after a start. @param earlier ids of those that members had and gave back */
  restore(messages: readonly StoredMessage[], earlier: ReadonlySet<number>): void {
    for (const message of messages) {
      this.returned.push({ sequence: earlier.has(message.id) ? sequenceOfEarlier(message) : ++this.sequence, message });
      this.queueSize += message.size;
    }
  }

  /** A message that a member on `shard` had when the owner began, as far as the journal says: its shard confirms it (`held`) or it comes back. */
  restoreAway(message: StoredMessage, shard: number): Assigned {
    const member = new Member(shard, 0);
    member.isLost = true;
    return this.assign({ sequence: sequenceOfEarlier(message), message, member, qos: 2, isKept: true });
  }

  /** A message comes back that was given before this owner began. @returns false when the group has it already */
  takeBack(message: StoredMessage): boolean {
    const held = this.heldById.get(message.id);
    if (held !== undefined) {
      this.release(held);
      this.giveBack(held);
      return true;
    }
    for (const one of this.assigned.values()) if (one.message.id === message.id) return false;
    for (const one of this.unanswered()) if (one.id === message.id) return false;
    this.returned.push({ sequence: sequenceOfEarlier(message), message });
    this.queueSize += message.size;
    return true;
  }

  /** Everything that the group answers for after a crash: what waits, and what it has given unless that is spent. */
  *unanswered(): Iterable<StoredMessage> {
    for (const one of this.assigned.values()) if (!isSpent(one.qos, one)) yield one.message;
    for (const { message } of this.returned) yield message;
    for (let at = this.head; at < this.queue.length; at++) yield this.queue[at]!.message;
  }

  /**
   * The member that gets a message, round robin among those that are connected, read, and have room.
   * @returns null when there is none now
   */
  pick(qos: number, size: number, courier: Courier): Member | null {
    const { members } = this;
    this.isRingFull = false;
    if (this.openCount === 0) return null;
    for (let tries = 0; tries < members.length; tries++) {
      if (this.next >= members.length) this.next = 0;
      const member = members[this.next++]!;
      if (!member.isOpen) continue;
      if (qos > 0 && member.qos > 0 && (member.unacknowledged >= member.window || member.unacknowledgedSize >= SHARED_MEMBER_BYTES_MAX)) continue;
      if (courier.reaches(member.shard, size)) return member;
      this.isRingFull = true;
    }
    return null;
  }

  /** Puts a QoS 1 or 2 message behind what waits. @returns false when that is too much: the caller counts the loss */
  push(message: StoredMessage, countMax: number, bytesMax: number): boolean {
    // One that can go at once is none that waits.
    if (this.queueCount > 0 && (this.queueCount >= countMax || this.queueSize + message.size > bytesMax)) return false;
    this.queue.push({ sequence: ++this.sequence, message });
    this.queueSize += message.size;
    return true;
  }

  /** Gives what waits to members as far as they can take it. @returns PAUSE: why it stopped */
  pump(courier: Courier, now: number): number {
    if (this.returned.length > 0) this.settleReturned();
    let unacknowledgedSize = 0;
    for (;;) {
      const first = this.queue[this.head];
      if (first === undefined) return PAUSE.EMPTY;
      const { message, sequence } = first;
      if (message.expiresAt <= now) {
        this.shift();
        courier.expired(this, message);
        continue;
      }
      if (unacknowledgedSize >= UNACKNOWLEDGED_SIZE_PER_TURN) return PAUSE.TURN;
      const messageQos = message.qos;
      const member = this.pick(messageQos, message.size, courier);
      if (member === null) return this.isRingFull ? PAUSE.RING : PAUSE.MEMBERS;
      this.shift();
      const qos = Math.min(messageQos, member.qos);
      if (qos === 0) {
        unacknowledgedSize += message.size;
        courier.send(this, member, 0, message, 0);
        continue;
      }
      this.assign({ sequence, message, member, qos, isKept: member.isKept });
      courier.send(this, member, sequence, message, qos);
    }
  }

  /** A member's shard says what became of a message; what it returns goes to somebody else. @returns what was assigned, null = nothing (any more) */
  answer(shard: number, sequence: number, verdict: number): Assigned | null {
    const one = this.assigned.get(sequence);
    // Its shard died meanwhile, and the message is somebody else's.
    if (one?.member.shard !== shard) return null;
    this.release(one);
    if (verdict === ANSWER.RETURNED) this.giveBack(one);
    return one;
  }

  /** It is over: nothing is kept for it. */
  clear(): void {
    this.queue = [];
    this.returned = [];
    this.head = this.queueSize = 0;
    this.assigned.clear();
    this.heldById.clear();
  }

  private removeMember(member: Member): void {
    const at = this.members.indexOf(member);
    this.count(member, -1);
    this.byId.delete(idOf(member.shard, member.handle));
    this.members.splice(at, 1);
    if (at < this.next) this.next--;
  }

  private count(member: Member, change: 1 | -1): void {
    if (member.isOpen) this.openCount += change;
    if (member.qos > 0) this.keepingCount += change;
  }

  private assign(one: Assigned): Assigned {
    this.assigned.set(one.sequence, one);
    one.member.unacknowledged++;
    one.member.unacknowledgedSize += one.message.size;
    return one;
  }

  private release(one: Assigned): void {
    this.assigned.delete(one.sequence);
    if (this.heldById.get(one.message.id) === one) this.heldById.delete(one.message.id);
    one.member.unacknowledged--;
    one.member.unacknowledgedSize -= one.message.size;
  }

  private giveBack({ sequence, message }: Assigned): void {
    this.returned.push({ sequence, message });
    this.queueSize += message.size;
  }

  private shift(): void {
    this.queueSize -= this.queue[this.head]!.message.size;
    this.queue[this.head++] = undefined;
    if (this.head === this.queue.length) {
      this.queue.length = 0;
      this.head = 0;
    } else if (this.head >= 64 && this.head * 2 >= this.queue.length) {
      this.queue = this.queue.slice(this.head);
      this.head = 0;
    }
  }

  /** Merges what came back into the queue: invariant (2). */
  private settleReturned(): void {
    const all = this.queue.slice(this.head) as Waiting[];
    all.push(...this.returned);
    this.queue = all.sort((a, b) => a.sequence - b.sequence);
    this.head = 0;
    this.returned = [];
  }
}

/** All groups that one shard owns. */
export class SharedGroups {
  private readonly byName = new Map<string, SharedGroup>();
  private readonly byNumber = new Map<number, SharedGroup>();
  private lastId = 0;

  get count(): number {
    return this.byName.size;
  }

  all(): IterableIterator<SharedGroup> {
    return this.byName.values();
  }

  get(name: string): SharedGroup | undefined {
    return this.byName.get(name);
  }

  byId(id: number): SharedGroup | undefined {
    return this.byNumber.get(id);
  }

  add(name: string, filter: string): SharedGroup {
    this.lastId = (this.lastId + 1) >>> 0;
    const group = new SharedGroup(this.lastId, name, filter);
    this.byName.set(name, group);
    this.byNumber.set(group.id, group);
    return group;
  }

  remove(group: SharedGroup): void {
    this.byName.delete(group.name);
    this.byNumber.delete(group.id);
  }
}

function idOf(shard: number, handle: number): number {
  return shard * 2 ** 32 + handle;
}

/** Of messages that were given before the gateway or the owner ended, and come back: in front of all others, in the order of their ids. */
function sequenceOfEarlier(message: StoredMessage): number {
  return message.id - 2 ** 53;
}

/** QoS 2 to a session that ends with its connection: nobody can tell after a crash whether it was sent, so it is never sent again [MQTT-4.8.2-5]. */
export function isSpent(qos: number, { isKept }: { readonly isKept: boolean }): boolean {
  return qos === 2 && !isKept;
}
