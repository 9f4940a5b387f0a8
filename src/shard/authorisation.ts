// What access rules mean for the clients of a shard: asked before a PUBLISH is taken, at SUBSCRIBE, when a route's receivers are found, and
// before something that waited is sent. Hot path (mayPublish). Thread: the shard's.
//
// Costs: without rules one look at a flag per message (`restrictsPublishing`), none per delivery. With rules a PUBLISH costs two comparisons
// while its client goes on with a topic, or its topic with a client; else the rules that concern the client are gone through. Delivery costs
// nothing per message: who may read is decided when a route's receivers are found (broker/route.ts), again after each change of subscriptions,
// and only for subscriptions wider than what is allowed.
// Invariant: `session.access` was made of the present rules and the session's identity, or is null.
import { ACCESS, type AccessRuleSet } from "../base/access.js";
import { SHARD_COUNTER } from "../base/counters.js";
import type { Identity } from "../base/identity.js";
import type { Log } from "../base/log.js";
import { type Access, AccessRules, REACH } from "../broker/access-rules.js";
import type { Route } from "../broker/route.js";
import type { Session, Subscription } from "../broker/session.js";
import { isGroup } from "../broker/shared-groups.js";

const SHARE_PREFIX = "$share/";

/** The subscription tree, as far as it is needed here: routes are found anew. */
export interface Routed {
  touch(): void;
}

export class Authorisation {
  /** False: no message needs to be looked at. */
  restrictsPublishing = false;
  restrictsReading = false;
  private readonly sessions: ReadonlyMap<string, Session>;
  private readonly tree: Routed;
  private readonly counters: Float64Array;
  private readonly log: Log;
  private rules = new AccessRules(null);

  constructor(sessions: ReadonlyMap<string, Session>, tree: Routed, counters: Float64Array, log: Log) {
    this.sessions = sessions;
    this.tree = tree;
    this.counters = counters;
    this.log = log;
  }

  /** New rules: they hold for everybody at once. @param set null = none, everything is allowed */
  use(set: AccessRuleSet | null): void {
    this.rules = new AccessRules(set);
    this.restrictsPublishing = this.rules.restrictsPublishing;
    this.restrictsReading = this.rules.restrictsReading;
    for (const session of this.sessions.values()) this.renew(session);
    // Receivers of all routes are found anew.
    this.tree.touch();
  }

  /** A client is let in: its session goes by this identity from now on. */
  identify(session: Session, identity: Identity): void {
    const isSame = session.identity.user === identity.user && sameGroups(session.identity.groups, identity.groups);
    session.identity = identity;
    if (isSame) return;
    this.renew(session);
    if (this.restrictsReading && session.subscriptions.size > 0) this.tree.touch();
  }

  /** Whether a PUBLISH may be taken. Asked only when `restrictsPublishing`. */
  mayPublish(session: Session, route: Route, retain: boolean): boolean {
    const access = session.access ?? this.accessOf(session);
    const verdict = access.route === route ? access.verdict : this.verdictOf(access, route);
    return (verdict & ACCESS.PUBLISH) !== 0 && (!retain || (verdict & ACCESS.RETAIN) !== 0);
  }

  /** A PUBLISH was refused: counted, and said in the log (which is rate-limited). */
  refused(session: Session, topic: string, retain: boolean): void {
    this.counters[SHARD_COUNTER.PUBLISHES_FORBIDDEN]!++;
    this.log.warn("refused a PUBLISH: access rules do not allow it", { code: "MQTT_FORBIDDEN", client: session.clientId, user: session.identity.user, topic, retain });
  }

  /** Whether the will of a client may be set, and later be sent; a refusal is counted. */
  mayLeaveWill(identity: Identity, clientId: string, topic: string, retain: boolean): boolean {
    if (!this.restrictsPublishing) return true;
    const needed = retain ? ACCESS.PUBLISH | ACCESS.RETAIN : ACCESS.PUBLISH;
    if ((this.rules.of(identity, clientId).publishing(topic) & needed) === needed) return true;
    this.counters[SHARD_COUNTER.WILLS_FORBIDDEN]!++;
    return false;
  }

  /**
   * Whether a SUBSCRIBE is granted: when at least a part of what the filter matches may be read. Of a shared subscription all of it must be, or a
   * client could take from the group's others what it may not read itself.
   */
  maySubscribe(session: Session, filter: string): boolean {
    if (!this.restrictsReading) return true;
    if (filter.startsWith(SHARE_PREFIX) ? this.mayShare(session, filter) : this.accessOf(session).reachOf(filter) !== REACH.NONE) return true;
    this.counters[SHARD_COUNTER.SUBSCRIPTIONS_FORBIDDEN]!++;
    this.log.warn("refused a SUBSCRIBE: access rules allow nothing of it", { code: "MQTT_FORBIDDEN", client: session.clientId, user: session.identity.user, filter });
    return false;
  }

  /** Whether a session may be a member of the group `$share/{name}/{filter}`. */
  mayShare(session: Session, group: string): boolean {
    return !this.restrictsReading || this.accessOf(session).reachOf(withoutShare(group)) === REACH.ALL;
  }

  /** Whether a subscription (not a shared one) gets messages of this topic. */
  mayReceive(subscription: Subscription, topic: string): boolean {
    // A group takes what matches; its members are looked at one by one.
    if (!this.restrictsReading || isGroup(subscription.key.clientId)) return true;
    const access = this.accessOf(subscription.key);
    const reach = access.reachOf(subscription.filter);
    return reach === REACH.ALL || (reach === REACH.SOME && access.mayRead(topic));
  }

  /** Whether a session may be given a message of this topic, by whatever subscription. */
  mayRead(session: Session, topic: string): boolean {
    return !this.restrictsReading || this.accessOf(session).mayRead(topic);
  }

  /** A message has waited, or been in flight, since before rules or identity changed: whether it may be sent (again) now. */
  mayStillRead(session: Session, topic: string): boolean {
    if (this.mayRead(session, topic)) return true;
    this.counters[SHARD_COUNTER.DROPPED_FORBIDDEN]!++;
    return false;
  }

  private renew(session: Session): void {
    session.access = null;
    session.uncheckedCount = session.queue.count;
    session.isResendUnchecked = session.inflight.count > 0;
  }

  private accessOf(session: Session): Access {
    return (session.access ??= this.rules.of(session.identity, session.clientId));
  }

  private verdictOf(access: Access, route: Route): number {
    // A device with several topics comes back to a route that it alone publishes to.
    if (route.publisher !== access) {
      route.publisherVerdict = access.publishing(route.topic);
      route.publisher = access;
    }
    access.route = route;
    return (access.verdict = route.publisherVerdict);
  }
}

function sameGroups(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((group, i) => group === b[i]);
}

/** Of `$share/{group}/{filter}` the filter. */
function withoutShare(filter: string): string {
  return filter.slice(filter.indexOf("/", SHARE_PREFIX.length) + 1);
}
