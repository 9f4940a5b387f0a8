// Sends retained messages to new subscriptions a page at a time, so that a filter over a million topics costs bounded memory and nobody's
// latency. Thread: the shard's.
// Invariant: a message that was replaced or deleted since the subscription began is passed over (its successor went out live), so no stale
// value is sent last.
import type { Clock } from "../base/clock.js";
import { MESSAGE_FLAG } from "../base/message-record.js";
import type { Retained, RetainedStore } from "../broker/retained.js";
import type { Session } from "../broker/session.js";
import { StoredMessage } from "../broker/stored-message.js";
import type { Authorisation } from "./authorisation.js";
import type { ConnectionTable } from "./connection.js";
import type { Deliveries } from "./delivery.js";

const PAGE_COUNT = 256;

interface Feed {
  readonly connection: number;
  readonly session: Session;
  readonly filter: string;
  readonly qosMax: number;
  readonly identifiers: readonly number[] | null;
  readonly matched: readonly Retained[];
  next: number;
}

export class RetainedFeed {
  private readonly store: RetainedStore;
  private readonly connections: ConnectionTable;
  private readonly deliveries: Deliveries;
  private readonly clock: Clock;
  private readonly authorisation: Authorisation;
  private feeds: Feed[] = [];

  constructor(store: RetainedStore, connections: ConnectionTable, deliveries: Deliveries, clock: Clock, authorisation: Authorisation) {
    this.store = store;
    this.connections = connections;
    this.deliveries = deliveries;
    this.clock = clock;
    this.authorisation = authorisation;
  }

  /** Begins to send what is retained under `filter` to the session's present connection. */
  begin(session: Session, filter: string, qosMax: number, identifiers: readonly number[] | null): void {
    const matched: Retained[] = [];
    this.store.match(filter, this.clock.monotonic(), matched);
    if (matched.length > 0) this.feeds.push({ connection: session.connection, session, filter, qosMax, identifiers, matched, next: 0 });
  }

  /** Once per turn: a page for each. @returns false when there is more that could be sent at once */
  turn(): boolean {
    if (this.feeds.length === 0) return true;
    let mayGoOn = false;
    this.feeds = this.feeds.filter((feed) => {
      const connection = this.connections.get(feed.connection);
      if (connection === null || connection.session !== feed.session) return false;
      // [MQTT-3.10.4-2]: nothing more for a filter that was unsubscribed.
      if (!feed.session.subscriptions.has(feed.filter)) return false;
      const end = Math.min(feed.next + PAGE_COUNT, feed.matched.length);
      // A full queue would refuse: wait until the client has taken what it has.
      while (feed.next < end && feed.session.queue.count < PAGE_COUNT && this.deliveries.takes(feed.session, connection)) this.send(feed, feed.matched[feed.next++]!);
      if (feed.next === feed.matched.length) return false;
      if (feed.next === end) mayGoOn = true;
      return true;
    });
    return !mayGoOn;
  }

  private send(feed: Feed, retained: Retained): void {
    if (!retained.isCurrent || retained.expiresAt <= this.clock.monotonic()) return;
    if (this.authorisation.restrictsReading && !this.authorisation.mayRead(feed.session, retained.topic)) return;
    const qos = Math.min(feed.qosMax, retained.record[28]! & MESSAGE_FLAG.QOS_MASK);
    const message = new StoredMessage(retained.topic, retained.record, retained.expiresAt);
    this.deliveries.deliverTo(feed.session, { message, qos, retain: true, identifiers: feed.identifiers });
  }
}
