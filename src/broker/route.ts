// Where a topic name leads: computed once per topic and change of subscriptions, then found by the bytes of the topic. Hot path (lookup).
// Invariant: `targets`, `remoteMask` hold for the subscription tree's epoch in `epoch`; a route of another epoch is refreshed before use.
import { equalBytes, fnv1a, fnv1aOf } from "../base/bytes.js";
import type { Session, Subscription } from "./session.js";
import { SharedGroup } from "./shared-groups.js";
import { depthOf, isSystemTopic } from "./topic.js";
import type { SubscriptionTree } from "./subscription-tree.js";

/** A session that gets the topic's messages: the union of its matching subscriptions. */
export interface Target {
  readonly session: Session;
  qos: number;
  /** True when every matching subscription says so. */
  noLocal: boolean;
  retainAsPublished: boolean;
  identifiers: number[] | null;
}

/** Who can stand in the subscription tree: a session, or the owner's end of a shared subscription. */
export type Subscriber = Session | SharedGroup;
export type Entry = Subscription | SharedGroup;

/** The generation of a route that has no place in the table. */
const NO_PLACE = -1;
const NO_GROUPS: readonly SharedGroup[] = [];

export class Route {
  readonly topic: string;
  readonly topicBytes: Uint8Array;
  /** A lane consumes it: devices/{id}/telemetry. */
  readonly isForLane: boolean;
  /** FNV-1a of the device id, else of the topic. */
  readonly deviceHash: number;
  readonly depth: number;
  /** Only the gateway itself publishes there. */
  readonly isSystem: boolean;
  epoch = -1;
  targets: Target[] = [];
  /** Shared subscriptions that this shard owns. */
  groups: readonly SharedGroup[] = NO_GROUPS;
  /** There are targets or groups. */
  hasReceivers = false;
  /** Bit per other shard that has a subscriber. */
  remoteMask = 0;
  /** What the shard derived from `targets` (see shard/delivery.ts), and for which epoch of its connections. */
  fanEpoch = -1;
  fan: unknown = null;
  /** Bit per other shard with a full queue that it leads to, and for which epoch of what they told (shard/full-marks.ts). */
  fullMask = 0;
  fullEpoch = -1;
  /** Whose PUBLISH was last looked up in the access rules, and the verdict (shard/authorisation.ts). */
  publisher: unknown = null;
  publisherVerdict = 0;
  /** Which time the table was begun anew it stands in; what of its size the table has counted. */
  generation = NO_PLACE;
  size = 0;

  constructor(topic: string, topicBytes: Uint8Array) {
    this.topic = topic;
    this.topicBytes = topicBytes;
    this.depth = depthOf(topic);
    this.isSystem = isSystemTopic(topic);
    const device = deviceOf(topic);
    this.isForLane = device !== null && topic.endsWith("/telemetry");
    this.deviceHash = device === null ? fnv1a(topicBytes, 0, topicBytes.length) : fnv1aOf(device);
  }
}

/** The `{id}` of `devices/{id}/telemetry|status|commands`, else null. */
export function deviceOf(topic: string): string | null {
  if (!topic.startsWith("devices/")) return null;
  const end = topic.indexOf("/", 8);
  if (end <= 8 || topic.indexOf("/", end + 1) !== -1) return null;
  const kind = topic.slice(end + 1);
  return kind === "telemetry" || kind === "status" || kind === "commands" ? topic.slice(8, end) : null;
}

/** Who may be given what (shard/authorisation.ts). */
export interface ReadGuard {
  readonly restrictsReading: boolean;
  mayReceive(subscription: Subscription, topic: string): boolean;
}

/** Of a route without targets, beside its topic, which it holds as text and as bytes; and of a target, with its part of what is derived. */
const ROUTE_SIZE = 600;
const TOPIC_FACTOR = 3;
const TARGET_SIZE = 150;

/** Of topics that were seen once: a power of two, 256 KiB. A topic that another pushed out is let in a publish later. */
const SEEN_COUNT = 1 << 16;

/**
 * All routes of one shard. A topic gets its place when it comes a second time: clients that never use a topic twice would otherwise fill the old
 * part of the heap with routes that nobody asks for again, at the cost of a collection that grows with the number of subscriptions. Bounded by what they hold, targets included, since many topics that many subscribers match are many times many:
 * when it is more than `sizeMax` the table starts over (a topic bomb costs misses, not memory), and routes that somebody still has hold
 * nothing but their topic.
 */
export class RouteTable {
  misses = 0;
  size = 0;
  private readonly tree: SubscriptionTree<Subscriber, Entry>;
  private readonly sizeMax: number;
  private readonly guard: ReadGuard | null;
  private readonly routes = new Map<number, Route[]>();
  private generation = 0;
  /** By the low bits of the hash: the hash of the last topic that was seen and got no place. */
  private readonly seen = new Uint32Array(SEEN_COUNT);
  private readonly matched: Entry[] = [];

  constructor(tree: SubscriptionTree<Subscriber, Entry>, sizeMax: number, guard: ReadGuard | null = null) {
    this.tree = tree;
    this.sizeMax = sizeMax;
    this.guard = guard;
  }

  /**
   * The up-to-date route of the topic whose bytes lie at `at`; `known` is tried first (the connection's last one).
   * @param isHeld the caller will hold it: it gets a place at once
   */
  find(bytes: Uint8Array, at: number, length: number, known: Route | null, isHeld = false): Route {
    if (known !== null && known.generation === this.generation && known.topicBytes.length === length && equalBytes(known.topicBytes, 0, bytes, at, length)) return this.fresh(known);
    const hash = fnv1a(bytes, at, length);
    const bucket = this.routes.get(hash);
    if (bucket !== undefined) {
      for (const route of bucket) if (route.topicBytes.length === length && equalBytes(route.topicBytes, 0, bytes, at, length)) return this.fresh(route);
    }
    return this.add(hash, Buffer.from(bytes.subarray(at, at + length)), isHeld);
  }

  /** What a connection may remember of a route: nothing of one that has no place, and so is not accounted for. */
  remembered(route: Route): Route | null {
    return route.generation === this.generation ? route : null;
  }

  /** The up-to-date route of a route's topic: itself, unless the table was begun anew since. */
  fresh(route: Route): Route {
    if (route.generation !== this.generation) return this.find(route.topicBytes, 0, route.topicBytes.length, null, true);
    if (route.epoch !== this.tree.epoch) this.refresh(route);
    return route;
  }

  private add(hash: number, topicBytes: Buffer, isHeld: boolean): Route {
    this.misses++;
    const route = new Route(topicBytes.toString("utf8"), topicBytes);
    this.refresh(route);
    if (!isHeld && this.seen[hash & (SEEN_COUNT - 1)] !== hash) {
      this.seen[hash & (SEEN_COUNT - 1)] = hash;
      return route;
    }
    if (this.size > this.sizeMax) this.startOver();
    route.generation = this.generation;
    this.size += route.size;
    const bucket = this.routes.get(hash);
    if (bucket === undefined) this.routes.set(hash, [route]);
    else bucket.push(route);
    return route;
  }

  private startOver(): void {
    for (const bucket of this.routes.values()) {
      for (const route of bucket) {
        // Connections remember their last one.
        route.targets = [];
        route.groups = NO_GROUPS;
        route.fan = route.publisher = null;
        route.fanEpoch = route.epoch = -1;
      }
    }
    this.routes.clear();
    this.generation++;
    this.size = 0;
  }

  private refresh(route: Route): void {
    this.matched.length = 0;
    route.remoteMask = this.tree.match(route.topic, this.matched);
    route.groups = groupsOf(this.matched);
    route.targets = mergeBySession(this.matched, this.guard?.restrictsReading === true ? this.guard : null, route.topic);
    route.hasReceivers = route.targets.length > 0 || route.groups.length > 0;
    route.epoch = this.tree.epoch;
    const size = ROUTE_SIZE + TOPIC_FACTOR * route.topicBytes.length + TARGET_SIZE * route.targets.length;
    if (route.generation === this.generation) this.size += size - route.size;
    route.size = size;
    route.fanEpoch = -1;
    route.fan = null;
  }
}

function groupsOf(matched: readonly Entry[]): readonly SharedGroup[] {
  let groups: SharedGroup[] | null = null;
  for (const entry of matched) if (entry instanceof SharedGroup) (groups ??= []).push(entry);
  return groups ?? NO_GROUPS;
}

/**
 * One target per session, with the highest QoS of its matching subscriptions (MQTT 3.1.1 §3.3.5, MQTT 5 §3.3.4).
 *
 * @param guard asked for each subscription, unless null. Who may be a member of a group is decided elsewhere (shard/shared-subscriptions.ts)
 */
function mergeBySession(matched: readonly Entry[], guard: ReadGuard | null, topic: string): Target[] {
  const bySession = new Map<Session, Target>();
  for (const subscription of matched) {
    if (subscription instanceof SharedGroup || guard?.mayReceive(subscription, topic) === false) continue;
    const { key: session, qos, noLocal, retainAsPublished, identifier } = subscription;
    const target = bySession.get(session);
    if (target === undefined) {
      bySession.set(session, { session, qos, noLocal, retainAsPublished, identifiers: identifier === 0 ? null : [identifier] });
      continue;
    }
    target.qos = Math.max(target.qos, qos);
    target.noLocal &&= noLocal;
    target.retainAsPublished ||= retainAsPublished;
    if (identifier !== 0) (target.identifiers ??= []).push(identifier);
  }
  return [...bySession.values()];
}
