// A PUBLISH from a client: parsed where it lies, journaled when its QoS asks for it, delivered here, sent to the shards that have
// subscribers, handed to its lane. Hot path. Thread: the shard's.
// Rule: room in every ring is asked for before anything is done, so that a PUBLISH is taken whole or left in the inbound ring ("stall").
import { SHARD_COUNTER, STORE_COUNTER } from "../base/counters.js";
import { ProtocolError } from "../base/errors.js";
import { MESSAGE_FLAG, messageSize } from "../base/message-record.js";
import type { Route } from "../broker/route.js";
import type { Session } from "../broker/session.js";
import type { StoredMessage } from "../broker/stored-message.js";
import type { Frame } from "../protocol/mqtt/fixed-header.js";
import { PACKET } from "../protocol/mqtt/packet-types.js";
import { copyForwardProperties, readPublish } from "../protocol/mqtt/publish.js";
import { PublishHead } from "../protocol/mqtt/publish-head.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import type { Connection } from "./connection.js";
import type { Passable } from "./delivery.js";
import { MessageSource, PEER } from "./outlets.js";
import { type Held, PENDING } from "./pending.js";
import type { ShardParts } from "./turn.js";

const NO_CLIENT = new Uint8Array(0);

export class PublishPath {
  private readonly parts: ShardParts;
  private readonly inboundDataAt: number;
  private readonly head = new PublishHead();
  private readonly source = new MessageSource();
  private readonly passable: Passable = { offset: -1, length: 0, version: 4 };
  /** Stored messages of the gateway's own (wills) that found no room yet; bounded like a session's queue. */
  private readonly waiting: StoredMessage[] = [];
  private waitingSize = 0;

  /** @param inboundDataAt where the inbound ring's data part begins in the shared memory: references to it are relative to that */
  constructor(parts: ShardParts, inboundDataAt: number) {
    this.parts = parts;
    this.inboundDataAt = inboundDataAt;
  }

  /**
   * Takes one PUBLISH.
   *
   * @returns false when a ring is full: nothing was done, the same frame must be given again later
   * @throws ProtocolError the connection is closed with its reason
   */
  take(connection: Connection, session: Session, bytes: Uint8Array, frame: Frame): boolean {
    const { head, source, parts } = this;
    readPublish(bytes, frame, connection.protocolVersion, head);
    const route = this.routeOf(connection, bytes, head);
    const { qos } = head;
    source.bytes = bytes;
    source.topicBytes = route.topicBytes;
    source.receivedAt = parts.turn.wall;
    source.deviceHash = route.deviceHash;
    source.expiresIn = head.messageExpiry;
    source.packetId = head.packetId;
    source.flags = qos | (head.retain ? MESSAGE_FLAG.RETAIN : 0) | (route.isForLane ? MESSAGE_FLAG.LANE : 0);
    source.propertiesAt = head.propertiesAt;
    source.propertiesLength = head.forwardLength;
    source.payloadAt = head.payloadAt;
    source.payloadLength = head.payloadLength;
    const isTaken = qos === 0 ? this.takeUnacknowledged(connection, session, route, frame) : this.takeAcknowledged(connection, session, route);
    if (isTaken) parts.counters[SHARD_COUNTER.MESSAGES_IN]!++;
    return isTaken;
  }

  /** A message held until it was durable (QoS 2) is due. @returns false when a peer's ring is full: try again later */
  deliverHeld(message: StoredMessage, publisher: Session | null): boolean {
    const { routes, outlets, deliveries, replica, liveness, shared } = this.parts;
    const source = this.source;
    source.read(message.view, 0);
    source.bytes = message.record;
    const route = routes.find(message.record, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    const remote = route.remoteMask & liveness.serving;
    if (remote !== 0 && !outlets.peersHaveRoom(remote, message.record.length)) return false;
    if (remote !== 0) outlets.toPeers(remote, PEER.MESSAGE, source, NO_CLIENT);
    if ((route.remoteMask & liveness.absent) !== 0 && source.qos > 0) shared.held.hold(route.remoteMask & liveness.absent, message, "");
    if (source.retain) replica.publish(message);
    deliveries.deliverStored(route, message, publisher);
    return true;
  }

  /** Publishes a message of the gateway's own (a will): journaled when QoS >= 1; waits for room when there is none, dropped when too many do. */
  publishOwn(message: StoredMessage): void {
    if (this.waiting.length === 0 && this.tryPublishOwn(message)) return;
    const { limits } = this.parts.start;
    // A full disk can last, and clients that come, go and leave wills have to be bounded by something.
    if (this.waiting.length >= limits.queueCountMax || this.waitingSize + message.size > limits.queueBytesMax) {
      this.parts.counters[SHARD_COUNTER.DROPPED_QUEUE_FULL]!++;
      return;
    }
    this.waiting.push(message);
    this.waitingSize += message.size;
  }

  /** Once per turn. @returns false when messages of the gateway's own still wait for room */
  flushOwn(): boolean {
    let done = 0;
    while (done < this.waiting.length && this.tryPublishOwn(this.waiting[done]!)) this.waitingSize -= this.waiting[done++]!.size;
    if (done > 0) this.waiting.splice(0, done);
    return this.waiting.length === 0;
  }

  private tryPublishOwn(message: StoredMessage): boolean {
    const { outlets, counters } = this.parts;
    const source = this.source;
    source.read(message.view, 0);
    source.bytes = message.record;
    source.topicBytes = message.record.subarray(source.topicAt, source.topicAt + source.topicLength);
    const clientId = message.record.subarray(source.clientIdAt, source.clientIdAt + source.clientIdLength);
    if (source.qos > 0 && !outlets.storeHasRoom(message.record.length)) return false;
    if (!this.deliverHeld(message, null)) return false;
    if (source.qos > 0) outlets.journal(source, clientId, 0);
    else if ((source.flags & MESSAGE_FLAG.LANE) !== 0 && !outlets.toLane(source, clientId)) counters[SHARD_COUNTER.DROPPED_LANE_RING]!++;
    return true;
  }

  private takeUnacknowledged(connection: Connection, session: Session, route: Route, frame: Frame): boolean {
    const { outlets, counters, deliveries, replica, liveness } = this.parts;
    const { head, source, passable } = this;
    const isForwardedWhole = head.forwardLength === head.propertiesLength;
    if (route.hasReceivers) {
      const canPass = isForwardedWhole && !head.retain && head.topicLength > 0;
      passable.offset = canPass ? frame.at - this.inboundDataAt : -1;
      passable.length = frame.end - frame.at;
      passable.version = connection.protocolVersion;
    }
    if (!isForwardedWhole) this.compactProperties();
    counters[SHARD_COUNTER.PUBLISHES_QOS0]!++;
    if (route.hasReceivers) deliveries.deliver(route, source, session, passable, null);
    const remote = route.remoteMask & liveness.serving;
    if (remote !== 0) counters[SHARD_COUNTER.DROPPED_PEER_RING]! += outlets.toPeers(remote, PEER.MESSAGE, source, NO_CLIENT);
    if (head.retain) replica.publish(deliveries.keep(route.topic, source));
    if (route.isForLane && !outlets.toLane(source, session.clientIdBytes)) counters[SHARD_COUNTER.DROPPED_LANE_RING]!++;
    return true;
  }

  private takeAcknowledged(connection: Connection, session: Session, route: Route): boolean {
    const { outlets, counters, deliveries, replica, liveness, start, storeCounters, shared } = this.parts;
    const { head, source } = this;
    if (head.qos === 2 && this.isKnown(session, head)) {
      // Known already: say so again once what was journaled then is surely durable [MQTT-4.3.3-2].
      counters[SHARD_COUNTER.DUPLICATES_QOS2]!++;
      this.await(connection, outlets.store.position(), PENDING.PUBREC, head.packetId, null);
      return true;
    }
    // Behind the look at known ids: a refusal frees the id for the client, whose next message with it would pass for a repetition here.
    if (storeCounters[STORE_COUNTER.BLOCKED] === 1) {
      this.refuse(connection, head);
      return true;
    }
    const remote = route.remoteMask & liveness.serving;
    const absent = route.remoteMask & liveness.absent;
    const size = messageSize(route.topicBytes.length, session.clientIdBytes.length, head.forwardLength, head.payloadLength);
    if (!outlets.storeHasRoom(size)) {
      counters[SHARD_COUNTER.STALLS_STORE]!++;
      return false;
    }
    if (remote !== 0 && !outlets.peersHaveRoom(remote, size)) {
      counters[SHARD_COUNTER.STALLS_PEER]!++;
      return false;
    }
    if (connection.protocolVersion === 5 && connection.openPublishes >= start.limits.receiveMaximum) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.RECEIVE_MAXIMUM_EXCEEDED, "more unacknowledged PUBLISHes than the receive maximum allows [MQTT-3.3.4-9]");
    }
    if (head.forwardLength !== head.propertiesLength) this.compactProperties();
    connection.openPublishes++;
    if (head.qos === 1) {
      counters[SHARD_COUNTER.PUBLISHES_QOS1]!++;
      const position = outlets.journal(source, session.clientIdBytes, 0);
      if (route.hasReceivers) deliveries.deliver(route, source, session, null, null);
      if (remote !== 0) outlets.toPeers(remote, PEER.MESSAGE, source, NO_CLIENT);
      if (absent !== 0) shared.held.hold(absent, deliveries.keep(route.topic, source), "");
      if (head.retain) replica.publish(deliveries.keep(route.topic, source));
      this.await(connection, position, PENDING.PUBACK, head.packetId, null);
      return true;
    }
    counters[SHARD_COUNTER.PUBLISHES_QOS2]!++;
    (session.received ??= new Set()).add(head.packetId);
    const position = outlets.journal(source, session.clientIdBytes, head.packetId);
    // Gate 1: message and packet id are durable before PUBREC and before anybody gets the message.
    if (route.hasReceivers || remote !== 0 || absent !== 0 || head.retain) this.await(connection, position, PENDING.DELIVER, head.packetId, { message: deliveries.keep(route.topic, source), publisher: session });
    this.await(connection, position, PENDING.PUBREC, head.packetId, null);
    return true;
  }

  /**
   * Whether the packet id was received and not released. Ids that the journal brought back count only with DUP set: the client was told
   * that its session is gone, so it may use the id for a new message, which never has DUP [MQTT-3.3.1-2].
   */
  private isKnown(session: Session, head: PublishHead): boolean {
    if (session.recovered?.delete(head.packetId) === true && head.dup) (session.received ??= new Set()).add(head.packetId);
    return session.received?.has(head.packetId) === true;
  }

  private await(connection: Connection, position: number, kind: number, packetId: number, held: Held | null): void {
    this.parts.pending.push(position, kind, connection.id, packetId, held);
    connection.pending++;
  }

  /** The journal cannot be written: MQTT 5 is told, 3.1.1 has no word for it and is closed (its client will try again). */
  private refuse(connection: Connection, head: PublishHead): void {
    if (connection.protocolVersion === 4) throw new ProtocolError("STORE_FAILED", REASON.QUOTA_EXCEEDED, "the journal cannot be written");
    if (connection.pending === 0) {
      this.parts.deliveries.sendAck(connection, head.qos === 1 ? PACKET.PUBACK : PACKET.PUBREC, head.packetId, REASON.QUOTA_EXCEEDED);
      return;
    }
    // Not before the acknowledgements of what was taken earlier [MQTT-4.6.0-2].
    this.await(connection, this.parts.outlets.store.position(), head.qos === 1 ? PENDING.REFUSED_PUBACK : PENDING.REFUSED_PUBREC, head.packetId, null);
  }

  /** Leaves out what is for one hop only (topic alias, message expiry), in place: the frame is not needed as it was any more. */
  private compactProperties(): void {
    copyForwardProperties(this.source.bytes, this.head.propertiesAt, this.source.bytes, this.head);
  }

  private routeOf(connection: Connection, bytes: Uint8Array, head: PublishHead): Route {
    const { routes, start } = this.parts;
    if (head.topicLength > start.limits.topicLengthMax) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.TOPIC_NAME_INVALID, `the topic has ${head.topicLength} bytes, at most ${start.limits.topicLengthMax} are taken`);
    }
    const route = head.topicAlias === 0
      ? routes.find(bytes, head.topicAt, head.topicLength, connection.lastRoute)
      : this.routeOfAlias(connection, bytes, head);
    if (route.depth > start.limits.topicDepthMax) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.TOPIC_NAME_INVALID, `the topic has ${route.depth} levels, at most ${start.limits.topicDepthMax} are taken`);
    }
    connection.lastRoute = route;
    return route;
  }

  private routeOfAlias(connection: Connection, bytes: Uint8Array, head: PublishHead): Route {
    const { routes, start } = this.parts;
    if (head.topicAlias > start.limits.topicAliasMaximum) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.TOPIC_ALIAS_INVALID, `topic alias ${head.topicAlias} is above the maximum ${start.limits.topicAliasMaximum} [MQTT-3.3.2-9]`);
    }
    const aliases = (connection.aliases ??= []);
    if (head.topicLength > 0) return (aliases[head.topicAlias] = routes.find(bytes, head.topicAt, head.topicLength, connection.lastRoute));
    const known = aliases[head.topicAlias];
    if (known === undefined) throw new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, `topic alias ${head.topicAlias} was never given a topic [MQTT-3.3.2-12]`);
    return routes.fresh(known);
  }
}
