// Which filters lead to sessions whose queue is full, on all shards: the shard that a message comes to can tell its publisher that it is not kept for
// everybody (0x97), although the session is another shard's. Each shard tells the others; what they know lags behind by a turn or two.
// Thread: the shard's. Bounded: filters are told once each, TURN_COUNT a turn, and what changes back meanwhile is not told at all.
import type { Route } from "../broker/route.js";
import { SubscriptionTree, type Keyed } from "../broker/subscription-tree.js";
import type { Interests } from "./interests.js";
import { PEER } from "./outlets.js";

/** Changes told in one turn. */
const TURN_COUNT = 256;
const NOTHING: Keyed<never>[] = [];

export class FullMarks {
  private readonly interests: Interests;
  private readonly hasPeers: boolean;
  /** Filters of what is marked here, and how many lead to more than one. */
  private readonly counts = new Map<string, number>();
  private readonly filtersOf = new Map<object, readonly string[]>();
  private readonly told = new Set<string>();
  /** Filters of which something else may have to be told. */
  private readonly changed = new Set<string>();
  /** What the others told: filters without subscriptions, only with the shards. */
  private readonly others = new SubscriptionTree<never, Keyed<never>>();

  constructor(interests: Interests, shards: number) {
    this.interests = interests;
    this.hasPeers = shards > 1;
  }

  /** A session's queue is full, or a group's. @param filters that lead to it */
  mark(holder: object, filters: readonly string[]): void {
    if (!this.hasPeers || this.filtersOf.has(holder)) return;
    this.filtersOf.set(holder, filters);
    for (const filter of filters) {
      this.counts.set(filter, (this.counts.get(filter) ?? 0) + 1);
      this.changed.add(filter);
    }
  }

  /** It has room again, or is over. */
  unmark(holder: object): void {
    const filters = this.filtersOf.get(holder);
    if (filters === undefined) return;
    this.filtersOf.delete(holder);
    for (const filter of filters) {
      const count = this.counts.get(filter)! - 1;
      if (count > 0) this.counts.set(filter, count);
      else this.counts.delete(filter);
      this.changed.add(filter);
    }
  }

  /** Once per turn. @returns false when there is more to tell */
  turn(): boolean {
    let looked = 0;
    for (const filter of this.changed) {
      if (looked++ === TURN_COUNT) return false;
      this.changed.delete(filter);
      const isFull = this.counts.has(filter);
      if (isFull === this.told.has(filter)) continue;
      if (isFull) this.told.add(filter);
      else this.told.delete(filter);
      this.interests.tellAll(isFull ? PEER.FULL : PEER.NOT_FULL, Buffer.from(filter, "utf8"));
    }
    return true;
  }

  /** A shard (re)started: what its predecessor told is void. */
  forget(from: number): void {
    this.others.clearRemote(from);
  }

  /** … and it knows nothing of ours. */
  tellAll(from: number): void {
    for (const filter of this.told) this.interests.tell(from, PEER.FULL, 0, Buffer.from(filter, "utf8"));
  }

  /** Another shard told. */
  heard(from: number, filter: string, isFull: boolean): void {
    this.others.setRemote(filter, from, isFull);
  }

  /** Whether anything was told by the others: `leadsToFull` need not be asked else. */
  get areAny(): boolean {
    return this.others.nodeCount > 0;
  }

  /** Whether a route leads to a session with a full queue on one of the shards in `mask`. */
  leadsToFull(route: Route, mask: number): boolean {
    if (route.fullEpoch !== this.others.epoch) {
      route.fullMask = this.others.match(route.topic, NOTHING);
      route.fullEpoch = this.others.epoch;
    }
    return (route.fullMask & mask) !== 0;
  }
}
