// Begin and end of sessions: take-over by the same client id, expiry, wills. Thread: the shard's.
// Invariant: a session is in `sessions` from its CONNECT until it ends; `connection` is 0 or the id of the one connection that has it;
// a session that can have QoS 2 packet ids in the journal leaves with a SESSION_END entry.
import { SHARD_COUNTER } from "../base/counters.js";
import { ENTRY } from "../base/journal-entry.js";
import { EXPIRES_NEVER, setReceivedAt } from "../base/message-record.js";
import { deviceOf } from "../broker/route.js";
import { EXPIRY_NEVER, Session, type Will } from "../broker/session.js";
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
  /** Packet ids that the journal brought back, until their client returns. */
  private readonly recovered: Map<string, readonly number[]>;
  /** SESSION_END entries that found no room. */
  private readonly unended: Session[] = [];

  constructor(parts: ShardParts, publishPath: PublishPath) {
    this.parts = parts;
    this.publishPath = publishPath;
    this.recovered = new Map(parts.start.received);
  }

  /** Gives the connection its session (MQTT 5 §3.1.2.4, §4.1). @returns whether it continues an earlier one */
  begin(connection: Connection, connect: Connect, clientId: string): { readonly session: Session; readonly isPresent: boolean } {
    const { sessions, connections, counters } = this.parts;
    let session = sessions.get(clientId);
    if (session !== undefined) {
      // A session that ends with its connection is not carried on by the next one [MQTT-3.1.2-6], even if that wants to.
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
      const recovered = this.recovered.get(clientId);
      if (recovered !== undefined) {
        this.recovered.delete(clientId);
        session.recovered = new Set(recovered);
        if (connect.cleanStart) this.forgetReceived(session);
      }
    }
    this.waiting.delete(session);
    session.connection = connection.id;
    session.protocolVersion = connect.protocolVersion;
    session.expirySeconds = Math.min(connect.sessionExpiry, this.parts.start.limits.sessionExpiryMaxSeconds);
    session.endsAt = session.willAt = Number.POSITIVE_INFINITY;
    session.window = Math.min(connect.receiveMaximum, this.parts.start.limits.inflightMax);
    session.will = this.willOf(connect, clientId);
    session.connectedAt = session.lastSeenAt = this.parts.turn.wall;
    connection.session = session;
    if (session.subscriptions.size > 0) connections.epoch++;
    this.parts.shared.changed(session);
    counters[SHARD_COUNTER.SESSIONS] = sessions.size;
    return { session, isPresent };
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
  }

  /** Once a second: delayed wills, expired sessions, entries that found no room. */
  expire(): void {
    const now = this.parts.clock.monotonic();
    for (const session of this.waiting) {
      if (session.willAt <= now) this.sendWill(session);
      if (session.endsAt <= now) this.end(session);
    }
    while (this.unended.length > 0 && this.journalEnd(this.unended[0]!)) this.unended.shift();
  }

  /** @param isOver the session ends here, and with it the wait for a delayed will */
  private takeOver(session: Session, isOver: boolean): void {
    const { connections, commands, counters } = this.parts;
    const old = connections.get(session.connection);
    counters[SHARD_COUNTER.TAKE_OVERS]!++;
    if (old !== null) {
      if (old.protocolVersion === 5) {
        const packet = encodeDisconnect(REASON.SESSION_TAKEN_OVER, "", old.packetSizeMax);
        commands.bytes.set(packet, commands.data(old.id, packet.length));
      }
      commands.word(COMMAND.CLOSE, old.id, CLOSE_REASON.TAKEN_OVER);
      old.state = CONNECTION_STATE.CLOSING;
      old.session = null;
      counters[SHARD_COUNTER.CLIENTS]!--;
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
    counters[SHARD_COUNTER.QUEUED]! -= session.queue.count;
    counters[SHARD_COUNTER.QUEUED_BYTES]! -= session.queue.bytes;
    session.subscriptions.clear();
    // Routes that nobody has used since still name the session: they must not keep its messages.
    session.queue.clear();
    session.inflight.clear();
    this.forgetReceived(session);
    this.waiting.delete(session);
    if (sessions.get(session.clientId) === session) sessions.delete(session.clientId);
    counters[SHARD_COUNTER.SESSIONS] = sessions.size;
  }

  private forgetReceived(session: Session): void {
    if (session.received === null && session.recovered === null) return;
    session.received = session.recovered = null;
    if (this.unended.length > 0 || !this.journalEnd(session)) this.unended.push(session);
  }

  private journalEnd(session: Session): boolean {
    return this.parts.outlets.journalSmall(ENTRY.SESSION_END, 0, session.clientIdBytes) >= 0;
  }

  private sendWill(session: Session): void {
    const will = session.will!;
    session.will = null;
    session.willAt = Number.POSITIVE_INFINITY;
    this.parts.counters[SHARD_COUNTER.WILLS_SENT]!++;
    const { topic, record, view } = will.message;
    const { turn, clock } = this.parts;
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
