// Every packet but PUBLISH: CONNECT, SUBSCRIBE, UNSUBSCRIBE, acknowledgements, PINGREQ, DISCONNECT. Thread: the shard's.
import { randomUUID } from "node:crypto";
import type { Authenticator } from "../base/authenticator.js";
import { fnv1aOf } from "../base/bytes.js";
import { SHARD_COUNTER, STORE_COUNTER } from "../base/counters.js";
import { ProtocolError } from "../base/errors.js";
import type { ListenerLimits } from "../base/messages.js";
import { INFLIGHT_STATE } from "../broker/inflight.js";
import type { Session, Subscription } from "../broker/session.js";
import { parseFilter } from "../broker/topic.js";
import { AckHead, checkPingreq, PINGRESP_SIZE, readAck, writePingresp } from "../protocol/mqtt/acks.js";
import { connackVersion, decodeConnect, decodeDisconnect, decodeSubscribe, decodeUnsubscribe } from "../protocol/mqtt/control-decoder.js";
import { encodeConnack, encodeDisconnect, encodeSuback, encodeUnsuback } from "../protocol/mqtt/control-encoder.js";
import type { Connack, Connect, SubscriptionRequest } from "../protocol/mqtt/control-values.js";
import type { Frame } from "../protocol/mqtt/fixed-header.js";
import { PACKET, PACKET_NAMES } from "../protocol/mqtt/packet-types.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import { violation } from "../protocol/mqtt/refusals.js";
import { CLOSE_REASON, COMMAND } from "../ring/layout.js";
import { Admission, type Proof } from "./admission.js";
import { type Connection, CONNECTION_STATE } from "./connection.js";
import { OutgoingAliases } from "./outgoing-aliases.js";
import { PENDING } from "./pending.js";
import { announced, checkConnect } from "./listener-limits.js";
import type { RetainedFeed } from "./retained-feed.js";
import type { SessionLife } from "./session-life.js";
import type { ShardParts } from "./turn.js";

/** Keep-alive: closed after one and a half times the interval [MQTT-3.1.2-22] [MQTT3-3.1.2-24]. */
const KEEP_ALIVE_FACTOR = 1500;

/** What became of one filter of a SUBSCRIBE. */
interface Subscribed {
  /** The QoS granted, or why not. */
  readonly code: number;
  readonly isNew: boolean;
  readonly isShared: boolean;
}

export class ControlPath {
  readonly admission: Admission;
  private readonly parts: ShardParts;
  private readonly life: SessionLife;
  private readonly feed: RetainedFeed;
  private readonly ack = new AckHead();

  /** @param wake asks for a turn */
  constructor(parts: ShardParts, life: SessionLife, feed: RetainedFeed, authenticator: Authenticator, wake: () => void) {
    this.parts = parts;
    this.life = life;
    this.feed = feed;
    this.admission = new Admission(parts, authenticator, {
      accept: (connection, connect, clientId, proof) => this.accept(connection, connect, clientId, proof),
      expel: (connection, error) => this.expel(connection, error),
      wake,
    });
  }

  /** The first packet of a connection. Refusals are answered in the client's version [MQTT-3.1.4-1] and closed. @returns false as `take` */
  connect(connection: Connection, bytes: Uint8Array, frame: Frame): boolean {
    // Its CONNACK waits for the journal, and it is not held since it has sent AUTH packets.
    if (connection.session !== null) throw violation("between its last AUTH and CONNACK a client sends nothing [MQTT-3.1.2-30]");
    // Its will goes into the journal in base64.
    if (!this.parts.journal.hasRoom(2 * (frame.end - frame.at))) return this.stall();
    if (connection.state === CONNECTION_STATE.WAITING) {
      this.admission.beforeConnack(connection, bytes, frame);
      return true;
    }
    let connect: Connect;
    try {
      if (frame.type !== PACKET.CONNECT) throw new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, "the first packet is not CONNECT [MQTT-3.1.0-1]");
      connect = decodeConnect(bytes, frame);
      connection.protocolVersion = connect.protocolVersion;
      if (connect.maximumPacketSize < MQTT_PACKET_SIZE_MAX) connection.packetSizeMax = connect.maximumPacketSize;
      // First: whoever is refused by its listener need not authenticate.
      checkConnect(connection.limits, connect, frame.end - frame.at, this.listenerOf(connection));
      const clientId = connect.clientId === "" ? this.assignClientId() : connect.clientId;
      const owner = fnv1aOf(clientId) % this.parts.start.shards;
      if (owner !== this.parts.start.shard) this.migrate(connection, owner, bytes, frame);
      else this.admission.begin(connection, connect, clientId, frame.end - frame.at);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.admission.refuse(connection, connackVersion(bytes, frame), error);
    }
    return true;
  }

  /** Any packet after CONNECT but PUBLISH. @returns false when a ring is full: the same frame must be given again later */
  take(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): boolean {
    // MQTT 3.1 marks repeated packets of these kinds; later versions reserve the bit.
    if (connection.isMqtt31) {
      frame.flags &= ~DUP;
      bytes[frame.at]! &= ~DUP;
    }
    switch (frame.type) {
      case PACKET.PUBACK:
      case PACKET.PUBREC:
      case PACKET.PUBCOMP:
        return this.acknowledged(connection, session, bytes, frame);
      case PACKET.PUBREL:
        return this.release(connection, session, bytes, frame);
      case PACKET.PINGREQ: {
        checkPingreq(frame);
        writePingresp(this.parts.commands.bytes, this.parts.commands.data(connection.id, PINGRESP_SIZE));
        return true;
      }
      case PACKET.SUBSCRIBE:
        if (!this.mayChangeInterests() || !this.parts.journal.hasRoom()) return false;
        this.subscribe(connection, session, bytes, frame);
        return true;
      case PACKET.UNSUBSCRIBE:
        if (!this.mayChangeInterests() || !this.parts.journal.hasRoom()) return false;
        this.unsubscribe(connection, session, bytes, frame);
        return true;
      case PACKET.AUTH:
        this.admission.again(connection, bytes, frame);
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
    this.parts.counters[SHARD_COUNTER.PROTOCOL_ERRORS]!++;
    this.expel(connection, error, CLOSE_REASON.PROTOCOL_ERROR);
  }

  /** Closes a connection that may not be here any longer, as `fail`. */
  expel(connection: Connection, error: ProtocolError, closeReason: number = CLOSE_REASON.NOT_AUTHORISED): void {
    this.parts.log.warn(`closed a connection: ${error.message}`, { code: error.code, client: connection.session?.clientId ?? "", peer: connection.opened.peer });
    if (connection.protocolVersion === 5 && connection.state === CONNECTION_STATE.CONNECTED) {
      this.write(connection, encodeDisconnect(error.reason, connection.wantsProblemInformation ? error.message : "", connection.packetSizeMax));
    }
    this.close(connection, closeReason);
  }

  /** The reactor found what can never become a packet, or is too large for one. @param reason its close reason, which stays the reason */
  fault(connection: Connection, reason: number): void {
    const isTooLarge = reason === CLOSE_REASON.FRAME_TOO_LARGE;
    const { log, start } = this.parts;
    log.warn(`closed a connection: ${isTooLarge ? `a packet is larger than ${start.limits.packetSizeMax} bytes` : "a remaining length has more than four bytes"}`, { client: connection.session?.clientId ?? "", peer: connection.opened.peer });
    // [MQTT-3.2.2-15] [MQTT-1.5.5-1]
    if (connection.protocolVersion === 5 && connection.state === CONNECTION_STATE.CONNECTED) {
      this.write(connection, encodeDisconnect(isTooLarge ? REASON.PACKET_TOO_LARGE : REASON.MALFORMED_PACKET, "", connection.packetSizeMax));
    }
    this.close(connection, reason);
  }

  /** The gateway stops: MQTT 5 clients hear it. */
  sayShutdown(connection: Connection): void {
    if (connection.protocolVersion === 5 && connection.state === CONNECTION_STATE.CONNECTED) {
      const { serverReference } = this.parts.start.limits;
      const reason = serverReference === "" ? REASON.SERVER_SHUTTING_DOWN : REASON.USE_ANOTHER_SERVER;
      this.write(connection, encodeDisconnect(reason, "", connection.packetSizeMax, serverReference));
    }
  }

  private listenerOf(connection: Connection): string {
    return this.parts.start.listeners[connection.opened.listener]?.name ?? "?";
  }

  /** What only the client's own shard knows, and only once it is known who the client is. @throws ProtocolError */
  private checkPlace(connection: Connection, connect: Connect, clientId: string): void {
    const { authorisation, listenerClients, sessions, connections } = this.parts;
    const { will } = connect;
    if (will !== undefined && !authorisation.mayLeaveWill(connection.identity, clientId, will.topic, will.retain)) {
      throw new ProtocolError("MQTT_FORBIDDEN", REASON.NOT_AUTHORIZED, `access rules do not allow the will's topic ${will.topic}${will.retain ? ", retained" : ""}`);
    }
    listenerClients.admit(connection, connections.get(sessions.get(clientId)?.connection ?? 0), this.listenerOf(connection));
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

  /** @throws ProtocolError the client is refused */
  private accept(connection: Connection, connect: Connect, clientId: string, proof: Proof | null): void {
    const { start, commands, deliveries, counters, journal, listenerClients } = this.parts;
    const { limits } = connection;
    this.checkPlace(connection, connect, clientId);
    const { session, isPresent, isTold } = this.life.begin(connection, connect, clientId);
    listenerClients.entered(connection);
    connection.wantsProblemInformation = connect.requestProblemInformation;
    connection.isMqtt31 = connect.isMqtt31;
    connection.isBridge = connect.isBridge;
    const aliases = Math.min(connect.topicAliasMaximum, limits.topicAliasMaximum);
    if (aliases > 0) connection.outgoingAliases = new OutgoingAliases(aliases);
    const isKeepAliveOurs = connect.keepAliveSeconds > limits.keepAliveMaxSeconds || (connect.keepAliveSeconds === 0 && limits.keepAliveMaxSeconds < 65535);
    const keepAlive = isKeepAliveOurs && connect.protocolVersion === 5 ? limits.keepAliveMaxSeconds : connect.keepAliveSeconds;
    const connack: Connack = {
      // MQTT 3.1 has no such flag.
      sessionPresent: isPresent && !connect.isMqtt31,
      reasonCode: REASON.SUCCESS,
      sessionExpiry: connect.sessionExpiry > limits.sessionExpiryMaxSeconds ? limits.sessionExpiryMaxSeconds : undefined,
      ...announced(limits),
      assignedClientId: connect.clientId === "" ? clientId : undefined,
      serverKeepAlive: keepAlive === connect.keepAliveSeconds ? undefined : keepAlive,
      responseInformation: connect.requestResponseInformation && start.limits.responseInformation !== "" ? start.limits.responseInformation : undefined,
      sharedSubscriptionAvailable: true,
      authenticationMethod: proof?.method,
      authenticationData: proof?.data,
    };
    const answer = (): void => {
      connection.state = CONNECTION_STATE.CONNECTED;
      counters[SHARD_COUNTER.CLIENTS]!++;
      if (!this.write(connection, encodeConnack(connack, connect.protocolVersion, connection.packetSizeMax))) {
        // Nothing could be said to this client that it would take.
        this.parts.log.warn(`closed a connection: CONNACK is larger than the ${connection.packetSizeMax} bytes that its client takes [MQTT-3.1.2-24]`, { client: clientId, peer: connection.opened.peer });
        session.will = null;
        this.close(connection, CLOSE_REASON.PROTOCOL_ERROR);
        return;
      }
      if (keepAlive > 0) commands.word(COMMAND.KEEP_ALIVE, connection.id, keepAlive * KEEP_ALIVE_FACTOR);
      commands.plain(COMMAND.ACCEPT, connection.id);
      deliveries.resume(session, connection);
    };
    // A client that was told that its session is new must not find the old one after a crash. Nothing more is read from it until then.
    if (isPresent || !isTold || this.isBlocked) {
      answer();
      return;
    }
    journal.whenDurable(() => {
      if (connection.session === session && connection.state !== CONNECTION_STATE.CLOSING) answer();
    });
  }

  private acknowledged(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): boolean {
    const { deliveries, journal, shared } = this.parts;
    const { ack } = this;
    const { inflight } = session;
    readAck(bytes, frame, connection.protocolVersion, ack);
    const { packetId } = ack;
    // Of a shared subscription: what was answered, with an error too, is nobody else's [MQTT-4.8.2-6].
    const delivery = inflight.itemOf(packetId);
    switch (frame.type) {
      case PACKET.PUBACK:
        if (inflight.acknowledge(packetId, INFLIGHT_STATE.AWAIT_PUBACK) && delivery !== undefined) {
          journal.acked(session, delivery);
          shared.done(session, delivery);
        }
        break;
      case PACKET.PUBREC:
        if (!session.isTransient && !journal.hasRoom()) return this.stall();
        if (ack.reasonCode < REASON.UNSPECIFIED) this.received(connection, session, packetId);
        else if (inflight.acknowledge(packetId, INFLIGHT_STATE.AWAIT_PUBREC)) {
          journal.done(session, packetId);
          shared.done(session, delivery);
        }
        break;
      default:
        if (inflight.acknowledge(packetId, INFLIGHT_STATE.AWAIT_PUBCOMP)) journal.done(session, packetId);
    }
    deliveries.pump(session);
    return true;
  }

  /** PUBREC: gate 4, of sessions that are kept it is durable before PUBREL says so. */
  private received(connection: Connection, session: Session, packetId: number): void {
    const { deliveries, journal, connections, shared } = this.parts;
    const { inflight } = session;
    switch (inflight.stateOf(packetId)) {
      case INFLIGHT_STATE.AWAIT_PUBREC:
        shared.done(session, inflight.itemOf(packetId));
        if (session.isTransient) {
          inflight.received(packetId, INFLIGHT_STATE.AWAIT_PUBCOMP);
          deliveries.sendAck(connection, PACKET.PUBREL, packetId, REASON.SUCCESS);
          return;
        }
        inflight.received(packetId, INFLIGHT_STATE.COMMIT_RECEIVED);
        journal.received(session, packetId, () => {
          const present = connections.get(session.connection);
          if (inflight.released(packetId) && present !== null) deliveries.sendAck(present, PACKET.PUBREL, packetId, REASON.SUCCESS);
        });
        return;
      case INFLIGHT_STATE.AWAIT_PUBCOMP:
        deliveries.sendAck(connection, PACKET.PUBREL, packetId, REASON.SUCCESS);
        return;
      case INFLIGHT_STATE.COMMIT_RECEIVED:
        return;
      default:
        deliveries.sendAck(connection, PACKET.PUBREL, packetId, REASON.PACKET_ID_NOT_FOUND);
    }
  }

  /** The journal cannot be written now. */
  private get isBlocked(): boolean {
    return this.parts.storeCounters[STORE_COUNTER.BLOCKED] === 1;
  }

  /** Nothing is consumed: the store must take in what it has first. */
  private stall(): false {
    this.parts.counters[SHARD_COUNTER.STALLS_STORE]!++;
    return false;
  }

  /** PUBREL: gate 2, of sessions that are kept the release is durable before PUBCOMP says so. */
  private release(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): boolean {
    const { deliveries, journal } = this.parts;
    const { ack } = this;
    readAck(bytes, frame, connection.protocolVersion, ack);
    const { packetId } = ack;
    if (session.received?.has(packetId) !== true) {
      // MQTT 5 §4.3.3 and 3.1.1: the flow ends all the same; 5 is told that the id was not known.
      deliveries.sendAck(connection, PACKET.PUBCOMP, packetId, REASON.PACKET_ID_NOT_FOUND);
      return true;
    }
    if (!session.isTransient) {
      if (!journal.hasRoom()) return this.stall();
      journal.release(session, packetId);
    }
    session.received.delete(packetId);
    journal.await(PENDING.PUBCOMP, connection.id, packetId, null);
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
    const { interests, connections, shared, journal, deliveredIds } = this.parts;
    const codes: number[] = [];
    const newFilters: string[] = [];
    const withRetained: { readonly filter: string; readonly qos: number }[] = [];
    for (const one of request.subscriptions) {
      const asked = connection.isBridge ? { ...one, noLocal: true, retainAsPublished: true } : one;
      const { code, isNew, isShared } = this.subscribeOne(connection.limits, session, asked, request.subscriptionIdentifier);
      codes.push(code);
      if (isNew && !isShared) newFilters.push(one.filter);
      // Shared subscriptions get no retained messages (MQTT 5 §3.8.4).
      const wantsRetained = !isShared && connection.limits.retainAvailable && (one.retainHandling === 0 || (one.retainHandling === 1 && isNew));
      if (wantsRetained && code < REASON.UNSPECIFIED) withRetained.push({ filter: one.filter, qos: code });
    }
    connections.epoch++;
    this.parts.queues.resubscribed(session);
    const { id, protocolVersion } = connection;
    const answer = (): void => {
      const present = connections.get(id);
      if (present === null || present.state !== CONNECTION_STATE.CONNECTED) return;
      if (!this.answer(present, encodeSuback(request.packetId, codes, protocolVersion))) return;
      const identifiers = request.subscriptionIdentifier === 0 ? null : [request.subscriptionIdentifier];
      // Those that were unsubscribed meanwhile get nothing more [MQTT-3.10.4-2].
      for (const { filter, qos } of withRetained) if (session.subscriptions.has(filter)) this.feed.begin(session, filter, qos, identifiers);
    };
    const change = interests.lastChange;
    const isKept = !session.isTransient && codes.some((code) => code < REASON.UNSPECIFIED);
    // SUBACK and retained messages wait until all shards know of the interest: nothing published after the SUBACK is missed. And until that is on disk.
    shared.whenJoined(() => interests.afterAll(() => {
      if (isKept && newFilters.length > 0 && change !== undefined) journal.heard(session, newFilters, change, deliveredIds.ofOthers());
      if (isKept) journal.whenDurable(answer);
      else answer();
    }));
  }

  private subscribeOne(ofListener: ListenerLimits, session: Session, one: SubscriptionRequest, identifier: number): Subscribed {
    const { start, tree, interests, counters, authorisation, shared } = this.parts;
    const { limits } = start;
    const parsed = parseFilter(one.filter, limits.topicDepthMax, limits.topicLengthMax);
    if (typeof parsed === "string") return { code: REASON.TOPIC_FILTER_INVALID, isNew: false, isShared: false };
    const isShared = parsed.group !== "";
    if (!authorisation.maySubscribe(session, one.filter)) return { code: REASON.NOT_AUTHORIZED, isNew: false, isShared };
    // It could not be kept: better said now than not answered until it can.
    if (!session.isTransient && this.isBlocked) return { code: REASON.QUOTA_EXCEEDED, isNew: false, isShared };
    const isNew = !session.subscriptions.has(one.filter);
    if (isNew && (session.subscriptions.size >= limits.subscriptionsPerClientMax || tree.size >= limits.subscriptionsSizeMax)) {
      counters[SHARD_COUNTER.REFUSED_SUBSCRIPTIONS]!++;
      return { code: REASON.QUOTA_EXCEEDED, isNew: false, isShared };
    }
    const subscription: Subscription = {
      // A greater QoS is granted as the greatest there is [MQTT-3.2.2-10].
      key: session, filter: one.filter, qos: Math.min(one.qos, ofListener.maximumQos), noLocal: one.noLocal, retainAsPublished: one.retainAsPublished, identifier,
    };
    session.subscribe(subscription);
    this.parts.journal.subscribed(session, subscription, isNew, isShared ? undefined : interests.lastChange);
    if (isNew) counters[SHARD_COUNTER.SUBSCRIPTIONS]!++;
    if (isShared) shared.join(session, subscription);
    else if (tree.add(one.filter, subscription) === "first") interests.change(one.filter, true);
    return { code: subscription.qos, isNew, isShared };
  }

  private unsubscribe(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): void {
    const request = decodeUnsubscribe(bytes, frame, connection.protocolVersion);
    const { tree, interests, counters, connections } = this.parts;
    const codes: number[] = [];
    for (const filter of request.filters) {
      if (!session.unsubscribe(filter)) {
        codes.push(REASON.NO_SUBSCRIPTION_EXISTED);
        continue;
      }
      counters[SHARD_COUNTER.SUBSCRIPTIONS]!--;
      this.parts.shared.leave(session, filter);
      this.parts.journal.unsubscribed(session, filter);
      if (tree.remove(filter, session) === "last") interests.change(filter, false);
      codes.push(REASON.SUCCESS);
    }
    connections.epoch++;
    this.parts.queues.resubscribed(session);
    const { id, protocolVersion } = connection;
    const told = (): void => {
      const present = connections.get(id);
      if (present?.state === CONNECTION_STATE.CONNECTED) this.answer(present, encodeUnsuback(request.packetId, codes, protocolVersion));
    };
    if (session.isTransient || this.isBlocked) told();
    else this.parts.journal.whenDurable(told);
  }

  private disconnect(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): void {
    const request = decodeDisconnect(bytes, frame, connection.protocolVersion);
    if (request.sessionExpiry !== undefined) {
      if (session.expirySeconds === 0 && request.sessionExpiry > 0) {
        throw new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, "a session that ends with its connection cannot be prolonged by DISCONNECT (§3.14.2.2.2)");
      }
      session.expirySeconds = Math.min(request.sessionExpiry, connection.limits.sessionExpiryMaxSeconds);
    }
    this.close(connection, CLOSE_REASON.DISCONNECTED);
    this.parts.counters[SHARD_COUNTER.CLIENTS]!--;
    this.life.leave(connection, request.reasonCode === REASON.SUCCESS);
  }

  private close(connection: Connection, reason: number): void {
    this.parts.commands.word(COMMAND.CLOSE, connection.id, reason);
    if (connection.state === CONNECTION_STATE.CONNECTED && reason !== CLOSE_REASON.DISCONNECTED) {
      this.parts.counters[SHARD_COUNTER.CLIENTS]!--;
      this.life.leave(connection, false);
    }
    connection.state = CONNECTION_STATE.CLOSING;
  }

  /** Sends a packet that the client waits for. @returns false when it takes none so large: the connection is closed, since it would wait for ever */
  private answer(connection: Connection, packet: Buffer): boolean {
    if (this.write(connection, packet)) return true;
    this.fail(connection, new ProtocolError("MQTT_TOO_LARGE", REASON.PACKET_TOO_LARGE, `the answer has ${packet.length} bytes, the client takes ${connection.packetSizeMax} [MQTT-3.1.2-24]`));
    return false;
  }

  /** @returns false when the packet is larger than its receiver takes: it is not sent [MQTT-3.1.2-24] */
  private write(connection: Connection, packet: Buffer): boolean {
    if (packet.length > connection.packetSizeMax) return false;
    this.parts.commands.bytes.set(packet, this.parts.commands.data(connection.id, packet.length));
    return true;
  }
}

/** DUP in the fixed header's flags. */
const DUP = 0b1000;


/** The most that MQTT can express: no limit asked for. */
const MQTT_PACKET_SIZE_MAX = 268_435_460;
