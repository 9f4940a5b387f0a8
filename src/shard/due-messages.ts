// Which messages sessions are due while the journal is read back (session-replay.ts): what their subscriptions match, less what their shard cannot have
// heard of. Thread: the shard's, before its clients are read. docs/decisions/0011 is the reasoning.
//
// A message of another shard that stands behind a SUBSCRIBE may have been published before that shard knew of it: nobody got it. Nobody is owed it
// either, since SUBACK waits until all shards know; and delivered now, it could come behind later ones of its publisher. HEARD, which is on disk before
// SUBACK leaves, says up to which ids that is so; where there is none, SUBACK did not leave.
// What the subscriber's own shard took is due by the order of the entries alone.
import type { ShardLimits } from "../base/messages.js";
import { MESSAGE_FLAG, MessageView } from "../base/message-record.js";
import type { Target } from "../broker/route.js";
import { type Delivery, deliveryKey, type Session, type Subscription } from "../broker/session.js";
import type { StoredMessage } from "../broker/stored-message.js";
import { isShared } from "../broker/topic.js";
import { Applied } from "./applied.js";
import type { RecoveredSession } from "./recovered-session.js";
import type { HeardEntry, SubscribeEntry, SubscriptionEntry, UnsubscribeEntry } from "./session-entries.js";
import type { SessionJournal } from "./session-journal.js";
import type { ShardParts } from "./turn.js";

/** Beyond its limits a session has here: what is in flight, and what was acknowledged or dropped by entries that are still to come. */
const SLACK_COUNT = 65_536;
const SLACK_SIZE = 64 * 1024 * 1024;

export class DueMessages {
  private readonly parts: Pick<ShardParts, "tree" | "routes">;
  private readonly view = new MessageView();
  /**
   * What was dropped live is told by ACKED entries, so limits need not be kept to here; but what came while a shard was down was dropped by nobody.
   * By the widest limits of all listeners, since it is not known by which a client came.
   */
  private readonly countMax: number;
  private readonly bytesMax: number;
  /** What found no room. */
  readonly dropped: { readonly session: Session; readonly key: number }[] = [];

  constructor(parts: Pick<ShardParts, "tree" | "routes">, limits: readonly Pick<ShardLimits, "queueCountMax" | "queueBytesMax">[]) {
    this.parts = parts;
    this.countMax = Math.max(...limits.map(({ queueCountMax }) => queueCountMax)) + SLACK_COUNT;
    this.bytesMax = Math.max(...limits.map(({ queueBytesMax }) => queueBytesMax)) + SLACK_SIZE;
  }

  subscribe(one: RecoveredSession, entry: SubscribeEntry): void {
    this.add(one.session, entry);
    const { isNew, filter, change, shard } = entry;
    if (isNew && change !== undefined && shard !== undefined) one.unheard.set(filter, { change, shard });
    this.matchAnew(one, new Applied(entry.applied));
  }

  unsubscribe(one: RecoveredSession, { filter, applied }: UnsubscribeEntry): void {
    if (!one.session.unsubscribe(filter)) return;
    one.unheard.delete(filter);
    this.parts.tree.remove(filter, one.session);
    this.matchAnew(one, new Applied(applied));
  }

  /** The session's subscription, without a look at what waits for it. */
  add(session: Session, entry: SubscriptionEntry): void {
    const { filter, qos, noLocal, retainAsPublished, identifier } = entry;
    const subscription: Subscription = { key: session, filter, qos, noLocal, retainAsPublished, identifier };
    session.subscribe(subscription);
    // Groups stand for themselves, and what they gave to members stands in GIVEN.
    if (!isShared(filter)) this.parts.tree.add(filter, subscription);
  }

  /** The session is over. */
  remove(session: Session): void {
    for (const filter of session.subscriptions.keys()) this.parts.tree.remove(filter, session);
    session.unsubscribeAll();
  }

  /** All shards knew of subscriptions when they had delivered the messages that the entry names. */
  heard(one: RecoveredSession, { filters, change, delivered }: HeardEntry): void {
    const until = new Applied(delivered);
    for (const filter of filters) {
      const since = one.unheard.get(filter);
      // One that was made anew meanwhile has a HEARD of its own.
      if (since !== undefined && (change === null || ((since.change - change) | 0) <= 0)) one.unheard.delete(filter);
    }
    one.heard(filters, until);
    this.takeAllUndue(one, filters, until);
  }

  /**
   * The journal has come to its end: the SUBACKs of subscriptions that are unheard of did not leave.
   *
   * @param read all that was read
   * @param journal told for which filters, and up to what messages
   */
  settle(one: RecoveredSession, read: Applied, journal: Pick<SessionJournal, "heard">): void {
    const byShard = new Map<number, string[]>();
    for (const [filter, { shard }] of one.unheard) byShard.set(shard, [...(byShard.get(shard) ?? []), filter]);
    one.unheard.clear();
    for (const [shard, filters] of byShard) {
      const until = read.without(shard);
      this.takeAllUndue(one, filters, until);
      journal.heard(one.session, filters, null, until);
    }
  }

  /** The message was given to the session, and stands behind a HEARD that it came about before. */
  check(one: RecoveredSession, key: number, filters: readonly string[]): void {
    const delivery = one.queue.get(key);
    if (delivery !== undefined && !one.unexplained.has(key)) this.takeUndue(one, filters, [[key, delivery.message]]);
  }

  private takeAllUndue(one: RecoveredSession, filters: readonly string[], until: Applied): void {
    const { view } = this;
    const candidates: [number, StoredMessage][] = [];
    for (const [key, { message }] of filters.length === 0 ? [] : one.queue) {
      view.read(message.view, 0);
      // Below 0: a group gave it.
      if (key > 0 && until.has(view) && !one.unexplained.has(key)) candidates.push([key, message]);
    }
    if (candidates.length > 0) this.takeUndue(one, filters, candidates);
  }

  /** Takes away what only these filters of the session match. */
  private takeUndue(one: RecoveredSession, filters: readonly string[], candidates: readonly (readonly [key: number, StoredMessage])[]): void {
    const { tree } = this.parts;
    const { session } = one;
    const subscriptions = filters.flatMap((filter) => session.subscriptions.get(filter) ?? []);
    for (const { filter } of subscriptions) tree.remove(filter, session);
    for (const [key, message] of candidates) if (this.targetOf(session, message) === undefined) one.take(key);
    for (const subscription of subscriptions) tree.add(subscription.filter, subscription);
  }

  /** Messages that came to the session after a change of its subscriptions, and stand before it in the journal, are those of the new ones. */
  private matchAnew(one: RecoveredSession, applied: Applied): void {
    const { view } = this;
    for (const [key, { message }] of [...one.queue]) {
      view.read(message.view, 0);
      if (applied.has(view) || one.unexplained.has(key)) continue;
      one.take(key);
      const target = this.targetOf(one.session, message);
      if (target !== undefined) this.give(one, target, message, view.flags, message.record.toString("utf8", view.clientIdAt, view.clientIdAt + view.clientIdLength));
    }
  }

  private targetOf(session: Session, message: StoredMessage): Target | undefined {
    const { view } = this;
    view.read(message.view, 0);
    const route = this.parts.routes.find(message.record, view.topicAt, view.topicLength, null);
    return route.targets.find((target) => target.session === session);
  }

  /** What a session's subscriptions make of a message. @param flags the message's (message-record.ts) */
  give(one: RecoveredSession, target: Target, message: StoredMessage, flags: number, publisher: string): void {
    const qos = Math.min(target.qos, flags & MESSAGE_FLAG.QOS_MASK);
    if (qos === 0 || (target.noLocal && publisher === target.session.clientId)) return;
    const retain = target.retainAsPublished && (flags & MESSAGE_FLAG.RETAIN) !== 0;
    const delivery: Delivery = { message, qos, retain, identifiers: target.identifiers, ...(one.isConnected && qos === 1 ? { isRepeat: true } : {}) };
    if (!one.enqueue(delivery, this.countMax, this.bytesMax)) this.dropped.push({ session: one.session, key: deliveryKey(delivery) });
  }
}
