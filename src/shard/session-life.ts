// Begin and end of sessions: take-over by the same client id, expiry, wills. Thread: the shard's.
// Invariant: a session is in `sessions` from its CONNECT until it ends; `connection` is 0 or the id of the one connection that has it;
// what must be known of it after a crash is in the journal (session-journal.ts).
import { SHARD_COUNTER } from "../base/counters.js";
import { EXPIRES_NEVER, MESSAGE_FLAG, MESSAGE_FLAGS_AT, setReceivedAt } from "../base/message-record.js";
import { deviceOf } from "../broker/route.js";
import { EXPIRY_NEVER, Session, type Will } from "../broker/session.js";
import { isSystemTopic } from "../broker/topic.js";
import { StoredMessage, storedMessage } from "../broker/stored-message.js";
import type { Connect } from "../protocol/mqtt/control-values.js";
import { encodeDisconnect } from "../protocol/mqtt/control-encoder.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import { fnv1aOf } from "../base/bytes.js";
import { CLOSE_REASON, COMMAND } from "../ring/layout.js";
import { type Connection, CONNECTION_STATE } from "./connection.js";
import type { PublishPath } from "./publish-path.js";
import type { ShardParts } from "./turn.js";

export class SessionLife {
  private readonly parts: ShardParts;
  private readonly publishPath: PublishPath;
  /** Sessions without a connection: what expiry looks at. */
  private readonly waiting = new Set<Session>();
  /** Client ids of sessions whose end is not on disk yet, and how many of them: a crash would bring them back. */
  private readonly ending = new Map<string, number>();
  /** The gateway stops: connections end, sessions and wills do not; its successor takes them up (a will has time to be called off then). */
  isStopping = false;

  constructor(parts: ShardParts, publishPath: PublishPath) {
    this.parts = parts;
    this.publishPath = publishPath;
  }

  /**
   * Gives the connection its session (MQTT 5 §3.1.2.4, §4.1).
   *
   * @returns isPresent: it continues an earlier one; isTold: the journal was told of a beginning or an end
   */
  begin(connection: Connection, connect: Connect, clientId: string): { readonly session: Session; readonly isPresent: boolean; readonly isTold: boolean } {
    const { sessions, connections } = this.parts;
    let session = sessions.get(clientId);
    let isTold = session?.isJournaled === true || this.ending.has(clientId);
    if (session !== undefined) {
      if (session.isTakenUp) session.will = null;
      session.isTakenUp = false;
      // A session that ends with its connection is not carried on by the next one [MQTT3-3.1.2-6], even if that wants to.
      const isOver = connect.cleanStart || session.isTransient;
      if (session.connection !== 0) this.takeOver(session, isOver);
      if (isOver) {
        this.end(session);
        session = undefined;
      }
    }
    const isPresent = session !== undefined;
    if (session === undefined) {
      session = new Session(clientId);
      sessions.set(clientId, session);
    }
    this.waiting.delete(session);
    session.connection = connection.id;
    session.limits = connection.limits;
    this.parts.authorisation.identify(session, connection.identity);
    session.protocolVersion = connect.protocolVersion;
    session.expirySeconds = Math.min(connect.sessionExpiry, connection.limits.sessionExpiryMaxSeconds);
    session.endsAt = session.willAt = Number.POSITIVE_INFINITY;
    session.window = Math.min(connect.receiveMaximum, connection.limits.inflightMax);
    session.will = this.willOf(connect, clientId);
    session.connectedAt = session.lastSeenAt = this.parts.turn.wall;
    connection.session = session;
    if (!session.isTransient || session.will !== null || session.isJournaled) this.parts.journal.begin(session, !isPresent);
    if (session.subscriptions.size > 0) connections.epoch++;
    this.parts.shared.changed(session);
    this.countSessions();
    isTold ||= session.isJournaled;
    return { session, isPresent, isTold };
  }

  /**
   * The connection is gone. @param wasSaid the client sent DISCONNECT without asking for its will: the will is discarded [MQTT-3.14.4-3]
   */
  leave(connection: Connection, wasSaid: boolean): void {
    const session = connection.session;
    connection.session = null;
    if (session === null || session.connection !== connection.id) return;
    session.connection = 0;
    session.lastSeenAt = this.parts.turn.wall;
    if (session.subscriptions.size > 0) this.parts.connections.epoch++;
    if (this.isStopping) return;
    const now = this.parts.clock.monotonic();
    if (wasSaid) session.will = null;
    if (session.will !== null) {
      const delay = Math.min(session.will.delaySeconds, session.expirySeconds);
      if (delay === 0) this.sendWill(session);
      else session.willAt = now + delay * 1000;
    }
    if (session.isTransient) {
      this.end(session);
      return;
    }
    this.parts.shared.changed(session);
    session.endsAt = session.expirySeconds === EXPIRY_NEVER ? Number.POSITIVE_INFINITY : now + session.expirySeconds * 1000;
    this.waiting.add(session);
    this.parts.journal.left(session);
  }

  /** Takes up a session that the journal has brought back; it has no connection. */
  adopt(session: Session): void {
    const { sessions, counters } = this.parts;
    session.isTakenUp = true;
    // Rules may be others than when the messages came.
    session.uncheckedCount = session.queue.count;
    session.isResendUnchecked = true;
    sessions.set(session.clientId, session);
    this.waiting.add(session);
    this.countSessions();
    counters[SHARD_COUNTER.SUBSCRIPTIONS]! += session.subscriptions.size;
    this.parts.queues.adopt(session);
  }

  /** Once a second: delayed wills, expired sessions, entries that found no room. */
  expire(): void {
    const now = this.parts.clock.monotonic();
    for (const session of this.waiting) {
      if (session.willAt <= now) {
        this.sendWill(session);
        if (session.endsAt > now) this.parts.journal.left(session);
      }
      if (session.endsAt > now) continue;
      this.parts.counters[SHARD_COUNTER.SESSIONS_EXPIRED]!++;
      this.end(session);
    }
    this.parts.journal.tell(this.waiting.size > 0);
  }

  /** @param isOver the session ends here, and with it the wait for a delayed will */
  private takeOver(session: Session, isOver: boolean): void {
    const { connections, commands, counters } = this.parts;
    const old = connections.get(session.connection);
    counters[SHARD_COUNTER.TAKE_OVERS]!++;
    if (old !== null) {
      if (old.protocolVersion === 5 && old.state === CONNECTION_STATE.CONNECTED) {
        const packet = encodeDisconnect(REASON.SESSION_TAKEN_OVER, "", old.packetSizeMax);
        commands.bytes.set(packet, commands.data(old.id, packet.length));
      }
      commands.word(COMMAND.CLOSE, old.id, CLOSE_REASON.TAKEN_OVER);
      if (old.state === CONNECTION_STATE.CONNECTED) counters[SHARD_COUNTER.CLIENTS]!--;
      old.state = CONNECTION_STATE.CLOSING;
      old.session = null;
    }
    session.connection = 0;
    // Before the will, which must not reach the connection that was told good-bye.
    if (session.subscriptions.size > 0) connections.epoch++;
    // A will with a delay is void when the session goes on in time (MQTT 5 §3.1.3.2.2).
    if (session.will !== null && (session.will.delaySeconds === 0 || isOver)) this.sendWill(session);
    session.will = null;
  }

  private end(session: Session): void {
    const { sessions, tree, interests, counters, connections, shared } = this.parts;
    if (session.will !== null && session.willAt !== Number.POSITIVE_INFINITY) this.sendWill(session);
    shared.ended(session);
    for (const subscription of session.subscriptions.values()) {
      if (tree.remove(subscription.filter, session) === "last") interests.change(subscription.filter, false);
    }
    if (session.subscriptions.size > 0) connections.epoch++;
    counters[SHARD_COUNTER.SUBSCRIPTIONS]! -= session.subscriptions.size;
    session.unsubscribeAll();
    // Routes that nobody has used since still name the session: they must not keep its messages.
    this.parts.queues.clear(session);
    session.inflight.clear();
    session.received = session.refused = null;
    if (session.isJournaled) this.tellEnd(session);
    this.waiting.delete(session);
    if (sessions.get(session.clientId) === session) sessions.delete(session.clientId);
    this.countSessions();
  }

  private tellEnd(session: Session): void {
    const { journal } = this.parts;
    const { clientId } = session;
    journal.end(session);
    this.ending.set(clientId, (this.ending.get(clientId) ?? 0) + 1);
    journal.whenDurable(() => {
      const count = this.ending.get(clientId)! - 1;
      if (count > 0) this.ending.set(clientId, count);
      else this.ending.delete(clientId);
    });
  }

  private countSessions(): void {
    const { counters, sessions, queues } = this.parts;
    counters[SHARD_COUNTER.SESSIONS] = sessions.size;
    queues.totals.setSessions(sessions.size);
  }

  private sendWill(session: Session): void {
    const will = session.will!;
    session.will = null;
    session.willAt = Number.POSITIVE_INFINITY;
    const { topic, record, view } = will.message;
    const { turn, clock, authorisation, counters } = this.parts;
    if (isSystemTopic(topic)) {
      counters[SHARD_COUNTER.REFUSED_SYSTEM_TOPIC]!++;
      return;
    }
    // Rules may have changed since CONNECT.
    if (!authorisation.mayLeaveWill(session.identity, session.clientId, topic, (view.getUint8(MESSAGE_FLAGS_AT) & MESSAGE_FLAG.RETAIN) !== 0)) return;
    counters[SHARD_COUNTER.WILLS_SENT]!++;
    // Nobody else has seen the record yet.
    setReceivedAt(view, turn.wall);
    const expiresAt = will.expiresIn === EXPIRES_NEVER ? Number.POSITIVE_INFINITY : clock.monotonic() + will.expiresIn * 1000;
    this.publishPath.publishOwn(new StoredMessage(topic, record, expiresAt));
  }

  private willOf(connect: Connect, clientId: string): Will | null {
    const { will } = connect;
    if (will === undefined) return null;
    const device = deviceOf(will.topic);
    const message = storedMessage(
      {
        topic: will.topic, payload: will.payload, properties: will.properties, clientId, qos: will.qos, retain: will.retain, expiresIn: will.messageExpiry,
        receivedAt: this.parts.turn.wall, deviceHash: fnv1aOf(device ?? will.topic), isForLane: device !== null && will.topic.endsWith("/telemetry"),
      },
      Number.POSITIVE_INFINITY,
    );
    return { message, expiresIn: will.messageExpiry, delaySeconds: will.delay };
  }
}
