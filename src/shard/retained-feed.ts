// Sends retained messages to new subscriptions a page at a time, so that a filter over a million topics costs bounded memory and nobody's
// latency. Thread: the shard's.
// Invariants:
//   (1) A message that was replaced or deleted since the subscription began is passed over (its successor went out live), so no stale value
//       is sent last.
//   (2) One walk per session is under way, its other filters wait: memory is bounded by subscriptions, of which a client has so many at most.
//   (3) One turn looks at, and sends, so much at most for all sessions together, in rotation.
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { MIB } from "../base/limits.js";
import { MESSAGE_FLAG } from "../base/message-record.js";
import type { Retained, RetainedStore, RetainedWalk } from "../broker/retained.js";
import type { Session } from "../broker/session.js";
import { StoredMessage } from "../broker/stored-message.js";
import type { ConnectionTable } from "./connection.js";
import type { Deliveries } from "./delivery.js";
import type { SessionJournal } from "./session-journal.js";

/** Messages for one session in a turn, and of its queue's room what it may use. */
const PAGE_COUNT = 256;
/** In one turn, for all sessions: messages, their bytes, steps of walks (about 1 ms each), sessions. */
const TURN_COUNT = 1024;
const TURN_SIZE = 4 * MIB;
const TURN_LOOKS = 16_384;
const TURN_SESSIONS = 1024;

const PAGE = { DONE: 0, MORE: 1, BLOCKED: 2 } as const;

interface Feed {
  readonly connection: number;
  readonly filter: string;
  readonly qosMax: number;
  readonly identifiers: readonly number[] | null;
  readonly walk: RetainedWalk;
}

export class RetainedFeed {
  private readonly store: RetainedStore;
  private readonly connections: ConnectionTable;
  private readonly deliveries: Deliveries;
  private readonly clock: Clock;
  private readonly journal: SessionJournal;
  private readonly counters: Float64Array;
  /** In rotation: whoever had its page goes to the end. */
  private readonly waiting = new Map<Session, Feed[]>();
  private count = 0;
  private readonly budget = { looks: 0, messages: 0, bytes: 0 };

  constructor(store: RetainedStore, connections: ConnectionTable, deliveries: Deliveries, clock: Clock, counters: Float64Array, journal: SessionJournal) {
    this.journal = journal;
    this.store = store;
    this.connections = connections;
    this.deliveries = deliveries;
    this.clock = clock;
    this.counters = counters;
  }

  /** Begins to send what is retained under `filter` to the session's present connection. */
  begin(session: Session, filter: string, qosMax: number, identifiers: readonly number[] | null): void {
    let feeds = this.waiting.get(session);
    if (feeds === undefined) this.waiting.set(session, (feeds = []));
    // Subscribed again meanwhile: from the beginning, under the new options [MQTT-3.8.4-3].
    const earlier = feeds.findIndex((feed) => feed.filter === filter);
    if (earlier >= 0) this.take(feeds, earlier);
    feeds.push({ connection: session.connection, filter, qosMax, identifiers, walk: this.store.walk(filter) });
    this.count++;
  }

  /** Once per turn: pages for some. @returns false when there is more that could be sent at once */
  turn(): boolean {
    if (this.waiting.size === 0) return true;
    const { budget } = this;
    budget.looks = TURN_LOOKS;
    budget.messages = TURN_COUNT;
    budget.bytes = TURN_SIZE;
    const sessions = Math.min(this.waiting.size, TURN_SESSIONS);
    let looked = 0;
    let mayGoOn = false;
    for (const [session, feeds] of this.waiting) {
      if (looked === sessions || this.isSpent) break;
      looked++;
      this.waiting.delete(session);
      const page = this.page(session, feeds);
      if (page !== PAGE.DONE) this.waiting.set(session, feeds);
      if (page !== PAGE.BLOCKED) mayGoOn = true;
    }
    this.counters[SHARD_COUNTER.RETAINED_FEEDS] = this.count;
    // When all that were looked at wait for their clients, the others get their look with the next turn, at the latest the tick's.
    return this.waiting.size === 0 || !(mayGoOn || this.isSpent);
  }

  private get isSpent(): boolean {
    return this.budget.looks <= 0 || this.budget.messages <= 0 || this.budget.bytes <= 0;
  }

  /** The next messages for one session. */
  private page(session: Session, feeds: Feed[]): number {
    const connection = this.connections.get(session.connection);
    const end = Math.max(0, this.budget.messages - PAGE_COUNT);
    while (feeds.length > 0) {
      const feed = feeds[0]!;
      // [MQTT-3.10.4-2]: nothing more for a filter that was unsubscribed.
      if (connection === null || connection.id !== feed.connection || !session.subscriptions.has(feed.filter)) {
        this.take(feeds, 0);
        continue;
      }
      // A full queue would refuse: wait until the client has taken what it has.
      if (session.queue.count >= PAGE_COUNT || !this.deliveries.takes(session, connection)) return PAGE.BLOCKED;
      if (!session.isTransient && !this.journal.hasRoom()) return PAGE.BLOCKED;
      if (this.isSpent || this.budget.messages <= end) return PAGE.MORE;
      const retained = feed.walk.next(this.clock.monotonic(), this.budget);
      if (retained !== undefined) this.send(session, feed, retained);
      else if (feed.walk.isDone) this.take(feeds, 0);
    }
    return PAGE.DONE;
  }

  private take(feeds: Feed[], index: number): void {
    feeds.splice(index, 1);
    this.count--;
  }

  private send(session: Session, feed: Feed, retained: Retained): void {
    this.budget.messages--;
    this.budget.bytes -= retained.record.length;
    const qos = Math.min(feed.qosMax, retained.record[28]! & MESSAGE_FLAG.QOS_MASK);
    const message = new StoredMessage(retained.topic, retained.record, retained.expiresAt);
    const delivery = { message, qos, retain: true, identifiers: feed.identifiers };
    // No subscription explains it to a replay: it was published before.
    if (qos > 0) this.journal.queued(session, delivery);
    this.deliveries.deliverTo(session, delivery);
  }
}
