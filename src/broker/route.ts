// Where a topic name leads: computed once per topic and change of subscriptions, then found by the bytes of the topic. Hot path (lookup).
// Invariant: `targets`, `remoteMask` hold for the subscription tree's epoch in `epoch`; a route of another epoch is refreshed before use.
import { equalBytes, fnv1a, fnv1aOf } from "../base/bytes.js";
import type { Session, Subscription } from "./session.js";
import { SharedGroup } from "./shared-groups.js";
import { depthOf } from "./topic.js";
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

const NO_GROUPS: readonly SharedGroup[] = [];

export class Route {
  readonly topic: string;
  readonly topicBytes: Uint8Array;
  /** A lane consumes it: devices/{id}/telemetry. */
  readonly isForLane: boolean;
  /** FNV-1a of the device id, else of the topic. */
  readonly deviceHash: number;
  readonly depth: number;
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

  constructor(topic: string, topicBytes: Uint8Array) {
    this.topic = topic;
    this.topicBytes = topicBytes;
    this.depth = depthOf(topic);
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

/** All routes of one shard. Bounded: when `routeCountMax` topics were seen it starts over (a topic bomb costs misses, not memory). */
export class RouteTable {
  misses = 0;
  private readonly tree: SubscriptionTree<Subscriber, Entry>;
  private readonly routeCountMax: number;
  private readonly routes = new Map<number, Route[]>();
  private count = 0;
  private readonly matched: Entry[] = [];

  constructor(tree: SubscriptionTree<Subscriber, Entry>, routeCountMax: number) {
    this.tree = tree;
    this.routeCountMax = routeCountMax;
  }

  /** The up-to-date route of the topic whose bytes lie at `at`; `known` is tried first (the connection's last one). */
  find(bytes: Uint8Array, at: number, length: number, known: Route | null): Route {
    if (known !== null && known.topicBytes.length === length && equalBytes(known.topicBytes, 0, bytes, at, length)) return this.fresh(known);
    const hash = fnv1a(bytes, at, length);
    const bucket = this.routes.get(hash);
    if (bucket !== undefined) {
      for (const route of bucket) if (route.topicBytes.length === length && equalBytes(route.topicBytes, 0, bytes, at, length)) return this.fresh(route);
    }
    return this.add(hash, Buffer.from(bytes.subarray(at, at + length)));
  }

  /** Brings a route up to date with the tree. */
  fresh(route: Route): Route {
    if (route.epoch !== this.tree.epoch) this.refresh(route);
    return route;
  }

  private add(hash: number, topicBytes: Buffer): Route {
    this.misses++;
    if (this.count >= this.routeCountMax) {
      this.routes.clear();
      this.count = 0;
    }
    const route = new Route(topicBytes.toString("utf8"), topicBytes);
    const bucket = this.routes.get(hash);
    if (bucket === undefined) this.routes.set(hash, [route]);
    else bucket.push(route);
    this.count++;
    this.refresh(route);
    return route;
  }

  private refresh(route: Route): void {
    this.matched.length = 0;
    route.remoteMask = this.tree.match(route.topic, this.matched);
    const groups = this.matched.filter((entry) => entry instanceof SharedGroup);
    route.groups = groups.length === 0 ? NO_GROUPS : groups;
    route.targets = mergeBySession(this.matched);
    route.hasReceivers = this.matched.length > 0;
    route.epoch = this.tree.epoch;
    route.fanEpoch = -1;
    route.fan = null;
  }
}

/** One target per session, with the highest QoS of its matching subscriptions (MQTT 3.1.1 §3.3.5, MQTT 5 §3.3.4). */
function mergeBySession(matched: readonly Entry[]): Target[] {
  const bySession = new Map<Session, Target>();
  for (const subscription of matched) {
    if (subscription instanceof SharedGroup) continue;
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
