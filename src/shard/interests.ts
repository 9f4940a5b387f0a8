// Which shards have subscribers for which filter: every shard tells all others when a filter gains its first local subscriber and when it
// loses its last. Thread: the shard's.
// Invariants:
//   (1) interestSeen[i * shards + j] = how many of shard i's changes shard j has applied, in order; written by j alone.
//   (2) A SUBACK leaves only when every live shard has applied the change it depends on, so that subscribe-then-publish never loses.
// Changes that find no room in a ring wait in `backlog` (order kept); they are never dropped.
import type { ShardStart } from "../base/messages.js";
import { DOORBELL } from "../ring/layout.js";
import { type Outlets, PEER } from "./outlets.js";

interface Change {
  readonly target: number;
  readonly kind: number;
  readonly id: number;
  readonly bytes: Buffer;
}

/** Something to do once the other shards have applied change number `change`. */
interface Waiting {
  readonly change: number;
  readonly then: () => void;
}

export class Interests {
  private readonly shard: number;
  private readonly shards: number;
  private readonly seen: Uint32Array;
  private readonly live: Uint32Array;
  private readonly outlets: Outlets;
  private readonly ring: (slot: number) => void;
  /** Number of our last change. Starts where the counters of a predecessor on this shard stand. */
  private changes: number;
  private readonly backlog: Change[] = [];
  private readonly waiting: Waiting[] = [];

  constructor(start: ShardStart, outlets: Outlets, ring: (slot: number) => void) {
    this.shard = start.shard;
    this.shards = start.shards;
    this.seen = new Uint32Array(start.interestSeen);
    this.live = new Uint32Array(start.shardsLive);
    this.outlets = outlets;
    this.ring = ring;
    let last = 0;
    for (let peer = 0; peer < this.shards; peer++) if (peer !== this.shard) last = Math.max(last, Atomics.load(this.seen, this.shard * this.shards + peer));
    this.changes = last;
  }

  /** Tells the others that this shard starts with nothing, and asks for what they have. */
  hello(): void {
    this.announce(PEER.HELLO, Buffer.alloc(0));
  }

  /** First local subscriber of `filter` came (`isAdded`), or its last one left. */
  change(filter: string, isAdded: boolean): void {
    this.announce(isAdded ? PEER.INTEREST_ADD : PEER.INTEREST_REMOVE, Buffer.from(filter, "utf8"));
  }

  /** Tells one (restarted) shard of an interest; numbered like a change so that its counter goes on, but nothing waits for it. */
  tell(target: number, filter: string): void {
    this.send({ target, kind: PEER.INTEREST_ADD, id: this.changes, bytes: Buffer.from(filter, "utf8") });
  }

  /** Ends what `tell` told: the shard's counter of our changes is up to date behind this, even when there was nothing to tell. */
  synchronise(target: number): void {
    this.send({ target, kind: PEER.INTEREST_REMOVE, id: this.changes, bytes: Buffer.alloc(0) });
  }

  /** Calls `then` when every live shard has applied all changes so far: at once with a single shard. */
  afterAll(then: () => void): void {
    if (this.waiting.length === 0 && this.reached(this.changes)) then();
    else this.waiting.push({ change: this.changes, then });
  }

  /** Once per turn: sends what waited for room and calls who waited for the others. @returns false when something still waits for room */
  turn(): boolean {
    let first = 0;
    while (first < this.backlog.length && this.put(this.backlog[first]!)) first++;
    if (first > 0) this.backlog.splice(0, first);
    let ready = 0;
    while (ready < this.waiting.length && this.reached(this.waiting[ready]!.change)) this.waiting[ready++]!.then();
    if (ready > 0) this.waiting.splice(0, ready);
    return this.backlog.length === 0;
  }

  /** Says that change `id` of shard `source` was applied here. */
  applied(source: number, id: number): void {
    Atomics.store(this.seen, source * this.shards + this.shard, id);
    this.ring(DOORBELL.SHARD + source);
  }

  private announce(kind: number, bytes: Buffer): void {
    this.changes = (this.changes + 1) >>> 0;
    for (let target = 0; target < this.shards; target++) if (target !== this.shard) this.send({ target, kind, id: this.changes, bytes });
  }

  private send(change: Change): void {
    if (this.backlog.length > 0 || !this.put(change)) this.backlog.push(change);
  }

  private put(change: Change): boolean {
    return this.outlets.controlToPeer(change.target, change.kind, change.id, change.bytes);
  }

  /** A shard that is down counts as having seen everything: it asks for all interests when it is back. */
  private reached(change: number): boolean {
    for (let peer = 0; peer < this.shards; peer++) {
      if (peer === this.shard || Atomics.load(this.live, peer) === 0) continue;
      if (((Atomics.load(this.seen, this.shard * this.shards + peer) - change) | 0) < 0) return false;
    }
    return true;
  }
}
