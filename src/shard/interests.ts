// Which shards have subscribers for which filter: every shard tells all others when a filter gains its first local subscriber and when it
// loses its last. Thread: the shard's.
//
//   a shard starts:  HELLO, the interests it took up from the journal, INTRODUCED to all
//                    ──>  each forgets what it knew of it, tells its own interests and the retained messages  ──>  WELCOME
//
// Invariants:
//   (1) interestSeen[i * shards + j] = the last of shard i's changes that shard j has applied, in order, and for j = i the last that it has made;
//       written by j alone. So a successor's numbers are above all of its predecessor's, whether anybody has seen those or not.
//   (2) A SUBACK leaves only when every shard that is up has applied the change it depends on, and what those had sent before was read here:
//       subscribe-then-publish never loses, and no retained value is read that was replaced before the SUBSCRIBE.
//   (3) A shard reads nothing from its clients before main calls it live and all that are live have welcomed it: what they publish must reach
//       the subscribers of the others. So whoever serves counts for the SUBACKs of all others (2).
// Changes that find no room in a ring wait in `backlog` (per target, order kept); they are never dropped, but for shards that are down, which
// ask for everything when they are back.
import type { ShardStart } from "../base/messages.js";
import { DOORBELL } from "../ring/layout.js";
import type { Liveness } from "./liveness.js";
import { type Outlets, PEER } from "./outlets.js";

interface Change {
  readonly kind: number;
  readonly id: number;
  /** A function when they are to be what holds at the moment of sending. */
  readonly bytes: Buffer | (() => Buffer);
}

/** Something to do once the other shards have applied change number `change`. */
interface Waiting {
  readonly change: number;
  readonly then: () => void;
}

/** Between the numbers of two lives on a shard. */
const CHANGES_PER_LIFE = 1 << 22;
/** Changes that wait for room at one shard, or SUBACKs, before no more SUBSCRIBEs are read. */
const BACKLOG_COUNT_MAX = 10_000;
/** Of what is told to a shard that starts: not numbered, WELCOME stands for all of it. */
const NO_CHANGE = 0;

export class Interests {
  private readonly shard: number;
  private readonly shards: number;
  private readonly seen: Uint32Array;
  private readonly liveness: Liveness;
  private readonly outlets: Outlets;
  private readonly ring: (slot: number) => void;
  /** Number of our last change. */
  private changes: number;
  /** The last change that all others had applied when the turn began. */
  private seenByAll: number;
  /** Whether all that the others had sent when the turn began was read. */
  isCaughtUp = true;
  /** Filters that this shard took up. */
  private taken: readonly Buffer[] = [];
  /** Our HELLO's number: a WELCOME that answers a predecessor's is none of ours. */
  private helloId = 0;
  /** Bit per shard that has welcomed us. */
  private welcomes: number;
  private isServing = false;
  private readonly backlog: Change[][];
  private readonly waiting: Waiting[] = [];

  constructor(start: ShardStart, liveness: Liveness, outlets: Outlets, ring: (slot: number) => void) {
    this.shard = start.shard;
    this.shards = start.shards;
    this.seen = new Uint32Array(start.interestSeen);
    this.liveness = liveness;
    this.outlets = outlets;
    this.ring = ring;
    this.backlog = Array.from({ length: this.shards }, () => []);
    this.changes = this.seenByAll = (this.seenBy(this.shard) + CHANGES_PER_LIFE) >>> 0;
    this.welcomes = 1 << this.shard;
  }

  /** Tells the others that this shard starts, with these interests, and asks for what they have. */
  hello(filters: Iterable<string>): void {
    this.next();
    this.helloId = this.changes;
    this.taken = [...filters].map((filter) => Buffer.from(filter, "utf8"));
    for (let target = 0; target < this.shards; target++) if (target !== this.shard) this.introduce(target);
  }

  /** The journal was read to its end: tells what is other than `hello` said. */
  complete(filters: Iterable<string>): void {
    const gone = new Set(this.taken.map((filter) => filter.toString("utf8")));
    this.taken = [];
    for (const filter of filters) if (!gone.delete(filter)) this.change(filter, true);
    for (const filter of gone) this.change(filter, false);
  }

  /** First local subscriber of `filter` came (`isAdded`), or its last one left. */
  change(filter: string, isAdded: boolean): void {
    this.next();
    const bytes = Buffer.from(filter, "utf8");
    const others = this.liveness.mask & ~(1 << this.shard);
    for (let target = 0; target < this.shards; target++) {
      if ((others & (1 << target)) !== 0) this.send(target, isAdded ? PEER.INTEREST_ADD : PEER.INTEREST_REMOVE, this.changes, bytes);
    }
  }

  /** A shard said HELLO: begins the answer with all of our interests. */
  answer(target: number, filters: Iterable<string>): void {
    this.forget(target);
    for (const filter of filters) this.send(target, PEER.INTEREST_ADD, NO_CHANGE, Buffer.from(filter, "utf8"));
  }

  /** Ends the answer to HELLO number `helloId`: behind this the shard knows all that we know. */
  welcome(target: number, bytes: () => Buffer): void {
    this.send(target, PEER.WELCOME, this.changes, bytes);
  }

  /** A WELCOME came. @returns whether it is an answer to this shard's HELLO */
  welcomed(from: number, helloId: number): boolean {
    if (helloId !== this.helloId) return false;
    this.welcomes |= 1 << from;
    return true;
  }

  /** Tells all others that they have been sent everything which this shard had put into the journal before the LSN. */
  barrier(lsn: number): void {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(lsn);
    this.tellAll(PEER.BARRIER, bytes);
  }

  /** Tells all others something that is not waited for, in order with the changes. */
  tellAll(kind: number, bytes: Buffer): void {
    const others = this.liveness.mask & ~(1 << this.shard);
    for (let target = 0; target < this.shards; target++) if ((others & (1 << target)) !== 0) this.send(target, kind, NO_CHANGE, bytes);
  }

  /** Whether clients may be read: invariant (3). Once true it stays so. */
  get mayServe(): boolean {
    const { called } = this.liveness;
    if (!this.isServing) this.isServing = (called & (1 << this.shard)) !== 0 && (called & ~this.welcomes) === 0;
    return this.isServing;
  }

  /** Number of this shard's last change; undefined when there is no other shard to hear of it. */
  get lastChange(): number | undefined {
    return this.shards > 1 ? this.changes : undefined;
  }

  /** A number that no predecessor on this shard has had within the last 1000 lives. */
  get life(): number {
    return this.helloId;
  }

  /** Sends a control record; waits for room if it must, behind what waits already. `bytes` may be used again afterwards. */
  tell(target: number, kind: number, id: number, bytes: Uint8Array): void {
    if (this.backlog[target]!.length > 0 || !this.outlets.controlToPeer(target, kind, id, bytes)) this.backlog[target]!.push({ kind, id, bytes: Buffer.from(bytes) });
  }

  /** False while so many changes wait for room, or SUBACKs for the others, that no more should be made. */
  get hasRoom(): boolean {
    if (this.waiting.length > BACKLOG_COUNT_MAX) return false;
    for (const waiting of this.backlog) if (waiting.length > BACKLOG_COUNT_MAX) return false;
    return true;
  }

  /** Calls `then` when all others have applied all changes so far, and what they had sent was read: at once with a single shard. */
  afterAll(then: () => void): void {
    if (this.waiting.length === 0 && this.isCaughtUp && this.reached(this.changes)) then();
    else this.waiting.push({ change: this.changes, then });
  }

  /** At the beginning of a turn, before the others' rings are read: what they had applied by now they had sent before. @param died Liveness.look */
  look(died: number): void {
    const others = this.liveness.mask & ~(1 << this.shard);
    let oldest = this.changes;
    for (let peer = 0; peer < this.shards; peer++) {
      if ((died & (1 << peer)) !== 0) this.lost(peer);
      if ((others & (1 << peer)) === 0) continue;
      const seen = this.seenBy(peer);
      if (((seen - oldest) | 0) < 0) oldest = seen;
    }
    this.seenByAll = oldest;
  }

  /** Once per turn: calls who waited for the others and sends what waited for room. @returns false when something still waits for room */
  turn(): boolean {
    let ready = 0;
    if (this.isCaughtUp) while (ready < this.waiting.length && this.reached(this.waiting[ready]!.change)) this.waiting[ready++]!.then();
    if (ready > 0) this.waiting.splice(0, ready);
    let isIdle = true;
    for (let target = 0; target < this.shards; target++) isIdle = this.flush(target) && isIdle;
    return isIdle;
  }

  /** Says that change `id` of shard `source` was applied here. */
  applied(source: number, id: number): void {
    if (id === NO_CHANGE) return;
    Atomics.store(this.seen, source * this.shards + this.shard, id);
    this.ring(DOORBELL.SHARD + source);
  }

  private next(): void {
    this.changes = (this.changes + 1) >>> 0;
    if (this.changes === NO_CHANGE) this.changes = 1;
    Atomics.store(this.seen, this.shard * this.shards + this.shard, this.changes);
  }

  private seenBy(peer: number): number {
    return Atomics.load(this.seen, this.shard * this.shards + peer);
  }

  private introduce(target: number): void {
    const deaths = Buffer.alloc(4);
    deaths.writeUInt32LE(this.liveness.deaths);
    this.send(target, PEER.HELLO, this.helloId, deaths);
    for (const filter of this.taken) this.send(target, PEER.INTEREST_ADD, NO_CHANGE, filter);
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(this.helloId);
    this.send(target, PEER.INTRODUCED, NO_CHANGE, bytes);
  }

  private lost(peer: number): void {
    if (peer === this.shard) return;
    this.forget(peer);
    this.welcomes &= ~(1 << peer);
    // It may have read our HELLO and died before the answer: its successor gets one too.
    if (!this.isServing) this.introduce(peer);
  }

  /**
   * What waits for a shard that died is void, but for our HELLO, which its successor must answer. Our interests follow in the answer to its own:
   * it publishes nothing before it has that.
   */
  private forget(target: number): void {
    this.backlog[target] = this.backlog[target]!.filter(({ kind }) => kind === PEER.HELLO || kind === PEER.INTRODUCED);
  }

  private send(target: number, kind: number, id: number, bytes: Change["bytes"]): void {
    if (this.backlog[target]!.length > 0 || !this.put(target, kind, id, bytes)) this.backlog[target]!.push({ kind, id, bytes });
  }

  private put(target: number, kind: number, id: number, bytes: Change["bytes"]): boolean {
    return this.outlets.controlToPeer(target, kind, id, typeof bytes === "function" ? bytes() : bytes);
  }

  private flush(target: number): boolean {
    const waiting = this.backlog[target]!;
    let sent = 0;
    while (sent < waiting.length && this.put(target, waiting[sent]!.kind, waiting[sent]!.id, waiting[sent]!.bytes)) sent++;
    if (sent > 0) waiting.splice(0, sent);
    return waiting.length === 0;
  }

  private reached(change: number): boolean {
    if ((this.liveness.mask & ~(1 << this.shard)) === 0) return true;
    return ((this.seenByAll - change) | 0) >= 0;
  }
}
