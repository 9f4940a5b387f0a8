// Every packet but PUBLISH: CONNECT, SUBSCRIBE, UNSUBSCRIBE, acknowledgements, PINGREQ, DISCONNECT. Thread: the shard's.
import { randomUUID } from "node:crypto";
import { fnv1aOf } from "../base/bytes.js";
import { SHARD_COUNTER, STORE_COUNTER } from "../base/counters.js";
import { ProtocolError } from "../base/errors.js";
import { ENTRY } from "../base/journal-entry.js";
import { INFLIGHT_STATE } from "../broker/inflight.js";
import type { Session, Subscription } from "../broker/session.js";
import { depthOf, parseFilter } from "../broker/topic.js";
import { AckHead, checkPingreq, PINGRESP_SIZE, readAck, writePingresp } from "../protocol/mqtt/acks.js";
import { connackVersion, decodeConnect, decodeDisconnect, decodeSubscribe, decodeUnsubscribe } from "../protocol/mqtt/control-decoder.js";
import { encodeConnack, encodeDisconnect, encodeSuback, encodeUnsuback } from "../protocol/mqtt/control-encoder.js";
import type { Connack, Connect, SubscriptionRequest } from "../protocol/mqtt/control-values.js";
import type { Frame } from "../protocol/mqtt/fixed-header.js";
import { PACKET, PACKET_NAMES, type ProtocolVersion } from "../protocol/mqtt/packet-types.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import { CLOSE_REASON, COMMAND } from "../ring/layout.js";
import { type Connection, CONNECTION_STATE } from "./connection.js";
import { PENDING } from "./pending.js";
import type { RetainedFeed } from "./retained-feed.js";
import type { SessionLife } from "./session-life.js";
import type { ShardParts } from "./turn.js";

/** MQTT 5 keep-alive is closed after one and a half times the interval [MQTT-3.1.2-22]. */
const KEEP_ALIVE_FACTOR = 1500;

export class ControlPath {
  private readonly parts: ShardParts;
  private readonly life: SessionLife;
  private readonly feed: RetainedFeed;
  private readonly ack = new AckHead();

  constructor(parts: ShardParts, life: SessionLife, feed: RetainedFeed) {
    this.parts = parts;
    this.life = life;
    this.feed = feed;
  }

  /** The first packet of a connection. Refusals are answered in the client's version [MQTT-3.1.4-1] and closed. */
  connect(connection: Connection, bytes: Uint8Array, frame: Frame): void {
    let connect: Connect;
    try {
      if (frame.type !== PACKET.CONNECT) throw new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, "the first packet is not CONNECT [MQTT-3.1.0-1]");
      connect = decodeConnect(bytes, frame);
      connection.protocolVersion = connect.protocolVersion;
      this.admit(connection, connect);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.refuseConnect(connection, connackVersion(bytes, frame), error);
      return;
    }
    const clientId = connect.clientId === "" ? this.assignClientId() : connect.clientId;
    const owner = fnv1aOf(clientId) % this.parts.start.shards;
    if (owner !== this.parts.start.shard) {
      this.migrate(connection, owner, bytes, frame);
      return;
    }
    this.accept(connection, connect, clientId);
  }

  /** Any packet after CONNECT but PUBLISH. @returns false when a ring is full: the same frame must be given again later */
  take(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): boolean {
    switch (frame.type) {
      case PACKET.PUBACK:
      case PACKET.PUBREC:
      case PACKET.PUBCOMP:
        this.acknowledged(connection, session, bytes, frame);
        return true;
      case PACKET.PUBREL:
        return this.release(connection, session, bytes, frame);
      case PACKET.PINGREQ: {
        checkPingreq(frame);
        writePingresp(this.parts.commands.bytes, this.parts.commands.data(connection.id, PINGRESP_SIZE));
        return true;
      }
      case PACKET.SUBSCRIBE:
        if (!this.mayChangeInterests()) return false;
        this.subscribe(connection, session, bytes, frame);
        return true;
      case PACKET.UNSUBSCRIBE:
        if (!this.mayChangeInterests()) return false;
        this.unsubscribe(connection, session, bytes, frame);
        return true;
      case PACKET.DISCONNECT:
        this.disconnect(connection, session, bytes, frame);
        return true;
      default:
        throw new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, `${PACKET_NAMES[frame.type] ?? "?"} is not a packet that a client may send now`);
    }
  }

  /** Closes a connection for what its peer did: MQTT 5 is told why (§4.13). */
  fail(connection: Connection, error: ProtocolError): void {
    const { counters, log } = this.parts;
    counters[SHARD_COUNTER.PROTOCOL_ERRORS]!++;
    log.warn(`closed a connection: ${error.message}`, { code: error.code, client: connection.session?.clientId ?? "", peer: connection.opened.peer });
    if (connection.protocolVersion === 5 && connection.state === CONNECTION_STATE.CONNECTED) {
      this.write(connection, encodeDisconnect(error.reason, connection.wantsProblemInformation ? error.message : "", connection.packetSizeMax));
    }
    this.close(connection, CLOSE_REASON.PROTOCOL_ERROR);
  }

  /** The gateway stops: MQTT 5 clients hear it. */
  sayShutdown(connection: Connection): void {
    if (connection.protocolVersion === 5 && connection.state === CONNECTION_STATE.CONNECTED) {
      this.write(connection, encodeDisconnect(REASON.SERVER_SHUTTING_DOWN, "", connection.packetSizeMax));
    }
  }

  private admit(connection: Connection, connect: Connect): void {
    const { start, sessions, storeCounters } = this.parts;
    const { opened } = connection;
    const isAllowed = start.anonymous === "always" || opened.tls?.certificate !== undefined || (start.anonymous === "loopback" && opened.isLoopback);
    if (!isAllowed) {
      throw new ProtocolError("MQTT_NOT_AUTHORISED", REASON.NOT_AUTHORIZED, `${opened.peer} gave no certificate, and auth.anonymous is ${start.anonymous}`);
    }
    if (connect.authenticationMethod !== undefined) {
      throw new ProtocolError("MQTT_NOT_AUTHORISED", REASON.BAD_AUTHENTICATION_METHOD, `authentication method ${connect.authenticationMethod} is not known`);
    }
    if (connect.protocolVersion === 4 && storeCounters[STORE_COUNTER.BLOCKED] === 1) {
      // Its next PUBLISH would close it again, since 3.1.1 has no word for that: better it waits outside.
      throw new ProtocolError("STORE_FAILED", REASON.SERVER_UNAVAILABLE, "the journal cannot be written; 3.1.1 clients are let in again when it can");
    }
    const { will } = connect;
    if (will !== undefined && (depthOf(will.topic) > start.limits.topicDepthMax || Buffer.byteLength(will.topic) > start.limits.topicLengthMax)) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.TOPIC_NAME_INVALID, `the will's topic has more than ${start.limits.topicDepthMax} levels or ${start.limits.topicLengthMax} bytes`);
    }
    if (sessions.size >= start.limits.sessionsMax && !sessions.has(connect.clientId)) {
      throw new ProtocolError("MQTT_NOT_AUTHORISED", REASON.QUOTA_EXCEEDED, `${sessions.size} sessions are all that a shard keeps`);
    }
  }

  private refuseConnect(connection: Connection, version: ProtocolVersion | 0, error: ProtocolError): void {
    const { counters, log } = this.parts;
    counters[SHARD_COUNTER.CONNECTS_REFUSED]!++;
    if (error.code === "MQTT_NOT_AUTHORISED") counters[SHARD_COUNTER.REFUSED_NOT_AUTHORISED]!++;
    log.warn(`refused a CONNECT: ${error.message}`, { code: error.code, peer: connection.opened.peer });
    if (version !== 0) this.write(connection, encodeConnack({ sessionPresent: false, reasonCode: error.reason, reasonString: error.message }, version, Number.POSITIVE_INFINITY));
    this.close(connection, error.code === "MQTT_NOT_AUTHORISED" ? CLOSE_REASON.NOT_AUTHORISED : CLOSE_REASON.PROTOCOL_ERROR);
  }

  /** A client id that belongs to this shard (MQTT 5 §3.1.3.1). */
  private assignClientId(): string {
    const { shard, shards } = this.parts.start;
    for (;;) {
      const clientId = `auto-${randomUUID()}`;
      if (fnv1aOf(clientId) % shards === shard) return clientId;
    }
  }

  private migrate(connection: Connection, owner: number, bytes: Uint8Array, frame: Frame): void {
    this.parts.commands.migrate(connection.id, owner, bytes, frame.at, frame.end - frame.at);
    connection.state = CONNECTION_STATE.CLOSING;
  }

  private accept(connection: Connection, connect: Connect, clientId: string): void {
    const { start, commands, deliveries, counters } = this.parts;
    const { limits } = start;
    const { session, isPresent } = this.life.begin(connection, connect, clientId);
    connection.state = CONNECTION_STATE.CONNECTED;
    connection.wantsProblemInformation = connect.requestProblemInformation;
    if (connect.protocolVersion === 5 && connect.maximumPacketSize < MQTT_PACKET_SIZE_MAX) connection.packetSizeMax = connect.maximumPacketSize;
    counters[SHARD_COUNTER.CLIENTS]!++;
    const isKeepAliveOurs = connect.keepAliveSeconds > limits.keepAliveMaxSeconds || (connect.keepAliveSeconds === 0 && limits.keepAliveMaxSeconds < 65535);
    const keepAlive = isKeepAliveOurs && connect.protocolVersion === 5 ? limits.keepAliveMaxSeconds : connect.keepAliveSeconds;
    const connack: Connack = {
      sessionPresent: isPresent,
      reasonCode: REASON.SUCCESS,
      sessionExpiry: connect.sessionExpiry > limits.sessionExpiryMaxSeconds ? limits.sessionExpiryMaxSeconds : undefined,
      receiveMaximum: limits.receiveMaximum,
      maximumPacketSize: limits.packetSizeMax,
      topicAliasMaximum: limits.topicAliasMaximum,
      assignedClientId: connect.clientId === "" ? clientId : undefined,
      serverKeepAlive: keepAlive === connect.keepAliveSeconds ? undefined : keepAlive,
      sharedSubscriptionAvailable: true,
    };
    this.write(connection, encodeConnack(connack, connect.protocolVersion, connection.packetSizeMax));
    if (keepAlive > 0) commands.word(COMMAND.KEEP_ALIVE, connection.id, keepAlive * KEEP_ALIVE_FACTOR);
    commands.plain(COMMAND.ACCEPT, connection.id);
    deliveries.resume(session, connection);
  }

  private acknowledged(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): void {
    const { deliveries, shared } = this.parts;
    const { ack } = this;
    readAck(bytes, frame, connection.protocolVersion, ack);
    // Of a shared subscription: what was answered, with an error too, is nobody else's [MQTT-4.8.2-6].
    const delivery = session.inflight.itemOf(ack.packetId);
    switch (frame.type) {
      case PACKET.PUBACK:
        if (session.inflight.acknowledge(ack.packetId, INFLIGHT_STATE.AWAIT_PUBACK)) shared.done(delivery);
        break;
      case PACKET.PUBREC:
        if (ack.reasonCode >= REASON.UNSPECIFIED) {
          if (session.inflight.acknowledge(ack.packetId, INFLIGHT_STATE.AWAIT_PUBREC)) shared.done(delivery);
        } else if (session.inflight.received(ack.packetId)) {
          shared.done(delivery);
          deliveries.sendAck(connection, PACKET.PUBREL, ack.packetId, REASON.SUCCESS);
        } else deliveries.sendAck(connection, PACKET.PUBREL, ack.packetId, REASON.PACKET_ID_NOT_FOUND);
        break;
      default:
        session.inflight.acknowledge(ack.packetId, INFLIGHT_STATE.AWAIT_PUBCOMP);
    }
    deliveries.pump(session);
  }

  /** PUBREL: gate 2, the release is durable before PUBCOMP says so. */
  private release(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): boolean {
    const { outlets, pending, deliveries } = this.parts;
    const { ack } = this;
    readAck(bytes, frame, connection.protocolVersion, ack);
    const { packetId } = ack;
    if (session.received?.has(packetId) !== true && session.recovered?.has(packetId) !== true) {
      // MQTT 5 §4.3.3 and 3.1.1: the flow ends all the same; 5 is told that the id was not known.
      deliveries.sendAck(connection, PACKET.PUBCOMP, packetId, REASON.PACKET_ID_NOT_FOUND);
      return true;
    }
    const position = outlets.journalSmall(ENTRY.RELEASE, packetId, session.clientIdBytes);
    if (position < 0) return false;
    session.received?.delete(packetId);
    session.recovered?.delete(packetId);
    pending.push(position, PENDING.PUBCOMP, connection.id, packetId, null);
    connection.pending++;
    return true;
  }

  private mayChangeInterests(): boolean {
    if (this.parts.interests.hasRoom && this.parts.shared.hasRoom) return true;
    this.parts.counters[SHARD_COUNTER.STALLS_PEER]!++;
    return false;
  }

  private subscribe(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): void {
    const request = decodeSubscribe(bytes, frame, connection.protocolVersion);
    const { interests, connections, shared } = this.parts;
    const codes: number[] = [];
    const withRetained: { readonly filter: string; readonly qos: number }[] = [];
    for (const one of request.subscriptions) {
      const { code, isNew, isShared } = this.subscribeOne(session, one, request.subscriptionIdentifier);
      codes.push(code);
      // Shared subscriptions get no retained messages (MQTT 5 §3.8.4).
      if (!isShared && code < REASON.UNSPECIFIED && (one.retainHandling === 0 || (one.retainHandling === 1 && isNew))) withRetained.push({ filter: one.filter, qos: code });
    }
    connections.epoch++;
    const { id, protocolVersion } = connection;
    // SUBACK and retained messages wait until all shards know of the interest: nothing published after the SUBACK is missed.
    shared.whenJoined(() => interests.afterAll(() => {
      const present = connections.get(id);
      if (present === null || present.state !== CONNECTION_STATE.CONNECTED) return;
      this.write(present, encodeSuback(request.packetId, codes, protocolVersion));
      const identifiers = request.subscriptionIdentifier === 0 ? null : [request.subscriptionIdentifier];
      // Those that were unsubscribed meanwhile get nothing more [MQTT-3.10.4-2].
      for (const { filter, qos } of withRetained) if (session.subscriptions.has(filter)) this.feed.begin(session, filter, qos, identifiers);
    }));
  }

  private subscribeOne(session: Session, one: SubscriptionRequest, identifier: number): { readonly code: number; readonly isNew: boolean; readonly isShared: boolean } {
    const { start, tree, interests, counters, shared } = this.parts;
    const { limits } = start;
    const parsed = parseFilter(one.filter, limits.topicDepthMax, limits.topicLengthMax);
    if (typeof parsed === "string") return { code: REASON.TOPIC_FILTER_INVALID, isNew: false, isShared: false };
    const isShared = parsed.group !== "";
    const isNew = !session.subscriptions.has(one.filter);
    if (isNew && session.subscriptions.size >= limits.subscriptionsPerClientMax) return { code: REASON.QUOTA_EXCEEDED, isNew: false, isShared };
    const subscription: Subscription = {
      key: session, filter: one.filter, qos: one.qos, noLocal: one.noLocal, retainAsPublished: one.retainAsPublished, identifier,
    };
    session.subscriptions.set(one.filter, subscription);
    if (isNew) counters[SHARD_COUNTER.SUBSCRIPTIONS]!++;
    if (isShared) shared.join(session, subscription);
    else if (tree.add(one.filter, subscription) === "first") interests.change(one.filter, true);
    return { code: one.qos, isNew, isShared };
  }

  private unsubscribe(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): void {
    const request = decodeUnsubscribe(bytes, frame, connection.protocolVersion);
    const { tree, interests, counters, connections } = this.parts;
    const codes: number[] = [];
    for (const filter of request.filters) {
      if (!session.subscriptions.delete(filter)) {
        codes.push(REASON.NO_SUBSCRIPTION_EXISTED);
        continue;
      }
      counters[SHARD_COUNTER.SUBSCRIPTIONS]!--;
      this.parts.shared.leave(session, filter);
      if (tree.remove(filter, session) === "last") interests.change(filter, false);
      codes.push(REASON.SUCCESS);
    }
    connections.epoch++;
    this.write(connection, encodeUnsuback(request.packetId, codes, connection.protocolVersion));
  }

  private disconnect(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): void {
    const request = decodeDisconnect(bytes, frame, connection.protocolVersion);
    if (request.sessionExpiry !== undefined) {
      if (session.expirySeconds === 0 && request.sessionExpiry > 0) {
        throw new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, "a session that ends with its connection cannot be prolonged by DISCONNECT [MQTT-3.14.2-2]");
      }
      session.expirySeconds = Math.min(request.sessionExpiry, this.parts.start.limits.sessionExpiryMaxSeconds);
    }
    this.close(connection, CLOSE_REASON.DISCONNECTED);
    this.parts.counters[SHARD_COUNTER.CLIENTS]!--;
    this.life.leave(connection, request.reasonCode !== REASON.DISCONNECT_WITH_WILL);
  }

  private close(connection: Connection, reason: number): void {
    this.parts.commands.word(COMMAND.CLOSE, connection.id, reason);
    if (connection.state === CONNECTION_STATE.CONNECTED && reason !== CLOSE_REASON.DISCONNECTED) {
      this.parts.counters[SHARD_COUNTER.CLIENTS]!--;
      this.life.leave(connection, false);
    }
    connection.state = CONNECTION_STATE.CLOSING;
  }

  private write(connection: Connection, packet: Buffer): void {
    this.parts.commands.bytes.set(packet, this.parts.commands.data(connection.id, packet.length));
  }
}

/** The most that MQTT can express: no limit asked for. */
const MQTT_PACKET_SIZE_MAX = 268_435_460;
