// A PUBLISH from a client: parsed where it lies, journaled when its QoS asks for it, delivered here, sent to the shards that have
// subscribers, handed to its lane. Hot path. Thread: the shard's.
// Rule: room in every ring is asked for before anything is done, so that a PUBLISH is taken whole or left in the inbound ring ("stall").
import { SHARD_COUNTER, STORE_COUNTER } from "../base/counters.js";
import { ProtocolError } from "../base/errors.js";
import { ENTRY } from "../base/journal-entry.js";
import { MESSAGE_FLAG, messageSize, setMessageId } from "../base/message-record.js";
import type { Route } from "../broker/route.js";
import { isSystemTopic } from "../broker/topic.js";
import type { Session } from "../broker/session.js";
import type { StoredMessage } from "../broker/stored-message.js";
import type { Frame } from "../protocol/mqtt/fixed-header.js";
import { PACKET } from "../protocol/mqtt/packet-types.js";
import { copyForwardProperties, readPublish } from "../protocol/mqtt/publish.js";
import { PublishHead } from "../protocol/mqtt/publish-head.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import { isText } from "../protocol/mqtt/utf8.js";
import type { Connection } from "./connection.js";
import type { Passable } from "./delivery.js";
import { beyond, isWithin } from "./listener-limits.js";
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
  /** The message that `deliverHeld` delivered last found no room with somebody, and its publisher is to hear it. */
  isOverQuota = false;
  /** Id of the last held message that was delivered. */
  heldDelivered = 0;
  /** Id of the last message (QoS 1, wills) that was delivered as it came: by this shard, not by a predecessor. */
  published = 0;

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
    if (!isWithin(connection.limits, head)) throw beyond(connection.limits, head);
    const route = this.routeOf(connection, bytes, head);
    const { qos } = head;
    if (head.payloadFormat === 1 && parts.start.limits.validatePayloadFormat && !isText(bytes, head.payloadAt, frame.end)) {
      this.refusePayload(connection, head);
      return true;
    }
    source.bytes = bytes;
    source.topicBytes = route.topicBytes;
    source.receivedAt = parts.turn.wall;
    source.deviceHash = route.deviceHash;
    source.expiresIn = head.messageExpiry;
    source.packetId = head.packetId;
    source.flags = qos | (head.retain ? MESSAGE_FLAG.RETAIN : 0) | (route.isForLane ? MESSAGE_FLAG.LANE : 0) | (qos === 2 ? MESSAGE_FLAG.HELD : 0);
    source.id = 0;
    source.propertiesAt = head.propertiesAt;
    source.propertiesLength = head.forwardLength;
    source.payloadAt = head.payloadAt;
    source.payloadLength = head.payloadLength;
    if (route.isSystem) {
      this.deny(connection, head);
      return true;
    }
    const isTaken = qos === 0 ? this.takeUnacknowledged(connection, session, route, frame) : this.takeAcknowledged(connection, session, route);
    if (!isTaken) return false;
    parts.counters[SHARD_COUNTER.MESSAGES_IN]!++;
    parts.counters[SHARD_COUNTER.PAYLOAD_BYTES_IN]! += head.payloadLength;
    return true;
  }

  /** A message held until it was durable (QoS 2) is due. @returns false when a peer's ring is full: try again later */
  deliverHeld(message: StoredMessage, publisher: Session | null): boolean {
    const { routes, outlets, deliveries, replica, liveness } = this.parts;
    const source = this.source;
    source.read(message.view, 0);
    source.bytes = message.record;
    const route = routes.find(message.record, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    this.isOverQuota = false;
    if (message.expiresAt !== Number.POSITIVE_INFINITY && !this.age(message)) {
      this.note();
      return true;
    }
    const remote = route.remoteMask & liveness.mask;
    if (remote !== 0 && !outlets.peersHaveRoom(remote, message.record.length)) return false;
    if (remote !== 0) outlets.toPeers(remote, PEER.MESSAGE, source, NO_CLIENT);
    if (source.retain) replica.publish(message);
    this.note();
    const { refusals } = deliveries;
    deliveries.deliverStored(route, message, publisher);
    this.isOverQuota = publisher?.protocolVersion === 5 && this.foundNoRoom(route, remote, refusals);
    return true;
  }

  /**
   * The message that `deliverHeld` delivered is not for everybody: PUBREC says so with an error, which ends its flow. But who did not hear it sends
   * the PUBLISH again (DUP), and nobody may get that once more: the packet id is remembered until another message has it.
   */
  refuseHeld(publisher: Session, connection: Connection | null, packetId: number): void {
    const { journal, counters } = this.parts;
    counters[SHARD_COUNTER.PUBLISHES_OVER_QUOTA]!++;
    // Its session has ended meanwhile.
    if (publisher.received?.delete(packetId) !== true) return;
    publisher.refuse(packetId, (publisher.limits ?? this.parts.start.limits).receiveMaximum);
    // In this order: a crash between them must not leave a publisher that heard nothing of a loss.
    journal.refused(publisher, packetId);
    journal.flushAcked();
    if (connection !== null) connection.refusedId = packetId;
  }

  /** A held message that the shard's predecessor had on disk and did not deliver: the sessions here have it already. @returns false when a ring is full */
  deliverToOthers(message: StoredMessage): boolean {
    const { routes, outlets, replica, liveness } = this.parts;
    const source = this.source;
    source.read(message.view, 0);
    source.bytes = message.record;
    const route = routes.find(message.record, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    const remote = route.remoteMask & liveness.mask;
    if (!outlets.peersHaveRoom(remote, message.record.length)) return false;
    outlets.toPeers(remote, PEER.MESSAGE, source, NO_CLIENT);
    if (source.retain) replica.tellOthers(message.topic);
    this.parts.deliveredIds.note(true, source.id);
    this.heldDelivered = source.id;
    return true;
  }

  /** What was delivered is known to snapshots and to a successor. */
  private note(): void {
    const { source } = this;
    if (source.qos === 0) return;
    this.parts.applied.add(source);
    const isHeld = (source.flags & MESSAGE_FLAG.HELD) !== 0;
    this.parts.deliveredIds.note(isHeld, source.id);
    if (isHeld) this.heldDelivered = source.id;
    else this.published = source.id;
  }

  /** Takes the time that a message has waited from its expiry interval [MQTT-3.3.2-6]. @returns false when nothing is left of it [MQTT-3.3.2-5] */
  private age(message: StoredMessage): boolean {
    const left = message.expiresAt - this.parts.clock.monotonic();
    this.source.expiresIn = Math.ceil(left / 1000);
    if (left > 0) return true;
    this.parts.counters[SHARD_COUNTER.DROPPED_EXPIRED]!++;
    // It takes its predecessor's place all the same, for nobody to see.
    if (this.source.retain) this.parts.replica.publish(message);
    return false;
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
    const { outlets, counters, ids, journal } = this.parts;
    const source = this.source;
    source.read(message.view, 0);
    const hasId = source.qos > 0 || source.retain;
    const isJournaled = hasId && !isSystemTopic(message.topic);
    // At the moment of publishing: ids of a shard reach the others in their order.
    if (hasId) setMessageId(message.view, (source.id = ids.next()));
    source.bytes = message.record;
    source.topicBytes = message.record.subarray(source.topicAt, source.topicAt + source.topicLength);
    const clientId = message.record.subarray(source.clientIdAt, source.clientIdAt + source.clientIdLength);
    if (isJournaled && !(outlets.storeHasRoom(message.record.length) && journal.hasRoomForDrops)) return false;
    if (!this.deliverHeld(message, null)) return false;
    if (isJournaled) outlets.journal(source.qos > 0 ? ENTRY.PUBLISH : ENTRY.RETAINED, source, clientId, 0);
    if (source.qos === 0 && (source.flags & MESSAGE_FLAG.LANE) !== 0 && !outlets.toLane(source, clientId)) counters[SHARD_COUNTER.DROPPED_LANE_RING]!++;
    return true;
  }

  private takeUnacknowledged(connection: Connection, session: Session, route: Route, frame: Frame): boolean {
    const { outlets, counters, deliveries, replica, liveness, ids, authorisation } = this.parts;
    const { head, source, passable } = this;
    if (authorisation.restrictsPublishing && !authorisation.mayPublish(session, route, head.retain)) {
      authorisation.refused(session, route.topic, head.retain);
      return true;
    }
    if (head.retain) {
      if (!this.retainedHasRoom(session, route)) return false;
      source.id = ids.next();
    }
    counters[SHARD_COUNTER.PUBLISHES_QOS0]!++;
    const isForwardedWhole = head.forwardLength === head.propertiesLength;
    if (route.hasReceivers) {
      const canPass = isForwardedWhole && !head.retain && head.topicLength > 0;
      passable.offset = canPass ? frame.at - this.inboundDataAt : -1;
      passable.length = frame.end - frame.at;
      passable.version = connection.protocolVersion;
    }
    if (!isForwardedWhole) this.compactProperties();
    if (route.hasReceivers) deliveries.deliver(route, source, session, passable, null);
    const remote = route.remoteMask & liveness.mask;
    if (remote !== 0) counters[SHARD_COUNTER.DROPPED_PEER_RING]! += outlets.toPeers(remote, PEER.MESSAGE, source, NO_CLIENT);
    if (head.retain) {
      if (this.parts.storeCounters[STORE_COUNTER.BLOCKED] !== 1) outlets.journal(ENTRY.RETAINED, source, NO_CLIENT, 0);
      replica.publish(deliveries.keep(route.topic, source));
    }
    if (route.isForLane && !outlets.toLane(source, session.clientIdBytes)) counters[SHARD_COUNTER.DROPPED_LANE_RING]!++;
    return true;
  }

  private takeAcknowledged(connection: Connection, session: Session, route: Route): boolean {
    const { outlets, counters, deliveries, replica, liveness, storeCounters, ids, authorisation, journal } = this.parts;
    const { head, source } = this;
    if (head.qos === 2 && this.isKnown(connection, session)) {
      counters[SHARD_COUNTER.DUPLICATES_QOS2]!++;
      return true;
    }
    // Behind the look at known ids too: what was taken before the rules changed stays taken.
    if (authorisation.restrictsPublishing && !authorisation.mayPublish(session, route, head.retain)) {
      authorisation.refused(session, route.topic, head.retain);
      this.forbid(connection, head);
      return true;
    }
    // Behind the look at known ids: a refusal frees the id for the client, whose next message with it would pass for a repetition here.
    if (storeCounters[STORE_COUNTER.BLOCKED] === 1) {
      // 3.1.1 has no word for it: it is closed, its client will try again.
      if (connection.protocolVersion === 4) throw new ProtocolError("STORE_FAILED", REASON.QUOTA_EXCEEDED, "the journal cannot be written");
      this.refuse(connection, head, REASON.QUOTA_EXCEEDED);
      return true;
    }
    const remote = route.remoteMask & liveness.mask;
    const size = messageSize(route.topicBytes.length, session.clientIdBytes.length, head.forwardLength, head.payloadLength);
    // Those who have no room for it each need an entry, too. (`hasRoom` looks at BLOCKED again, and by then it may be set.)
    if (!outlets.storeHasRoom(size) || !journal.hasRoom(size)) {
      counters[SHARD_COUNTER.STALLS_STORE]!++;
      return false;
    }
    if (remote !== 0 && !outlets.peersHaveRoom(remote, size)) {
      counters[SHARD_COUNTER.STALLS_PEER]!++;
      return false;
    }
    if (connection.protocolVersion === 5 && connection.openPublishes >= connection.limits.receiveMaximum) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.RECEIVE_MAXIMUM_EXCEEDED, "more unacknowledged PUBLISHes than the receive maximum allows [MQTT-3.3.4-7]");
    }
    if (head.forwardLength !== head.propertiesLength) this.compactProperties();
    connection.openPublishes++;
    source.id = ids.next();
    if (head.qos === 1) {
      counters[SHARD_COUNTER.PUBLISHES_QOS1]!++;
      this.note();
      outlets.journal(ENTRY.PUBLISH, source, session.clientIdBytes, 0);
      const { refusals } = deliveries;
      if (route.hasReceivers) deliveries.deliver(route, source, session, null, null);
      if (remote !== 0) outlets.toPeers(remote, PEER.MESSAGE, source, NO_CLIENT);
      if (head.retain) replica.publish(deliveries.keep(route.topic, source));
      if (connection.protocolVersion === 5 && this.foundNoRoom(route, remote, refusals)) this.awaitOverQuota(connection, head.packetId);
      else this.await(connection, PENDING.PUBACK, head.packetId, null);
      return true;
    }
    counters[SHARD_COUNTER.PUBLISHES_QOS2]!++;
    session.refused?.delete(head.packetId);
    (session.received ??= new Set()).add(head.packetId);
    outlets.journal(ENTRY.PUBLISH, source, session.clientIdBytes, head.packetId);
    // Gate 1: message and packet id are durable before PUBREC and before anybody gets the message.
    if (route.hasReceivers || remote !== 0 || head.retain) this.await(connection, PENDING.DELIVER, head.packetId, { message: deliveries.keep(route.topic, source), publisher: session });
    else this.passLater(source.id);
    this.await(connection, PENDING.PUBREC, head.packetId, null);
    return true;
  }

  /** A QoS 2 PUBLISH that was taken before: says again what was said then, once what was journaled then is surely durable [MQTT-4.3.3-10]. */
  private isKnown(connection: Connection, session: Session): boolean {
    const { packetId, dup } = this.head;
    if (session.received?.has(packetId) === true) {
      this.await(connection, PENDING.PUBREC, packetId, null);
      return true;
    }
    // Without DUP it is another message: whoever has heard the error may use the id again (MQTT 5 §4.3.3).
    if (!dup || session.refused?.has(packetId) !== true) return false;
    this.await(connection, PENDING.REFUSED_PUBREC, packetId, null, REASON.QUOTA_EXCEEDED);
    return true;
  }

  /**
   * Whether a session that is kept had no room for the message: here as it was delivered, on other shards (in `remote`) as far as they have told.
   *
   * @param refusals of Deliveries, before
   */
  private foundNoRoom(route: Route, remote: number, refusals: number): boolean {
    const { deliveries, queues } = this.parts;
    return deliveries.refusals !== refusals || (remote !== 0 && queues.marks.areAny && queues.marks.leadsToFull(route, remote));
  }

  /** PUBACK for a message that somebody has no room for: when it is on disk that it was dropped, so that a replay drops it too. */
  private awaitOverQuota(connection: Connection, packetId: number): void {
    this.parts.counters[SHARD_COUNTER.PUBLISHES_OVER_QUOTA]!++;
    this.parts.journal.flushAcked();
    this.await(connection, PENDING.PUBACK, packetId, null, REASON.QUOTA_EXCEEDED);
  }

  /** A held message that nobody gets counts as delivered all the same, in its turn: nobody who subscribes later is owed it. */
  private passLater(id: number): void {
    // Who subscribes before that does not get it.
    this.parts.deliveredIds.note(true, id);
    this.parts.journal.whenDurable(() => {
      this.parts.applied.raise(this.parts.start.shard, true, id);
      this.heldDelivered = id;
    });
  }

  /** A retained message is journaled whatever its QoS; while nothing can be written at all, QoS 0 goes on without. */
  private retainedHasRoom(session: Session, route: Route): boolean {
    const { outlets, storeCounters, counters } = this.parts;
    const size = messageSize(route.topicBytes.length, session.clientIdBytes.length, this.head.forwardLength, this.head.payloadLength);
    if (storeCounters[STORE_COUNTER.BLOCKED] === 1 || outlets.storeHasRoom(size)) return true;
    counters[SHARD_COUNTER.STALLS_STORE]!++;
    return false;
  }

  /** An answer, or the delivery in front of it, waits until what stands in the journal is on disk. */
  private await(connection: Connection, kind: number, packetId: number, held: Held | null, reason = 0): void {
    this.parts.journal.await(kind, connection.id, packetId, held, reason);
    connection.pending++;
  }

  /** Answers a PUBLISH of QoS 1 or 2 of an MQTT 5 client with an error. */
  private refuse(connection: Connection, head: PublishHead, reason: number): void {
    if (connection.pending === 0) {
      this.parts.deliveries.sendAck(connection, head.qos === 1 ? PACKET.PUBACK : PACKET.PUBREC, head.packetId, reason);
      return;
    }
    // Not before the acknowledgements of what was taken earlier [MQTT-4.6.0-2].
    this.await(connection, head.qos === 1 ? PENDING.REFUSED_PUBACK : PENDING.REFUSED_PUBREC, head.packetId, null, reason);
  }

  /** The payload is not the text that its format indicator says it is. */
  private refusePayload(connection: Connection, head: PublishHead): void {
    this.parts.counters[SHARD_COUNTER.REFUSED_PAYLOAD_FORMAT]!++;
    if (head.qos > 0) this.refuse(connection, head, REASON.PAYLOAD_FORMAT_INVALID);
    else throw new ProtocolError("MQTT_PAYLOAD_FORMAT", REASON.PAYLOAD_FORMAT_INVALID, "the payload is said to be UTF-8 and is not (§3.3.2.3.2)");
  }

  /** A PUBLISH to $SYS. */
  private deny(connection: Connection, head: PublishHead): void {
    this.parts.counters[SHARD_COUNTER.REFUSED_SYSTEM_TOPIC]!++;
    if (head.qos > 0) this.forbid(connection, head);
  }

  /** Nobody gets it. MQTT 5 is told; 3.1.1 has no word for it and hears what it would hear of any other [MQTT3-3.3.5-2] (a close would only be repeated). */
  private forbid(connection: Connection, head: PublishHead): void {
    if (connection.protocolVersion === 5) this.refuse(connection, head, REASON.NOT_AUTHORIZED);
    // In its turn [MQTT-4.6.0-2].
    else this.await(connection, head.qos === 1 ? PENDING.PUBACK : PENDING.PUBREC, head.packetId, null);
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
    connection.lastRoute = routes.remembered(route);
    return route;
  }

  private routeOfAlias(connection: Connection, bytes: Uint8Array, head: PublishHead): Route {
    const { routes } = this.parts;
    if (head.topicAlias > connection.limits.topicAliasMaximum) {
      throw new ProtocolError("MQTT_PROTOCOL", REASON.TOPIC_ALIAS_INVALID, `topic alias ${head.topicAlias} is above the maximum ${connection.limits.topicAliasMaximum} [MQTT-3.3.2-9]`);
    }
    const aliases = (connection.aliases ??= []);
    if (head.topicLength > 0) return (aliases[head.topicAlias] = routes.find(bytes, head.topicAt, head.topicLength, connection.lastRoute, true));
    const known = aliases[head.topicAlias];
    if (known === undefined) throw new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, `topic alias ${head.topicAlias} was never given a topic (§3.3.2.3.4)`);
    return routes.fresh(known);
  }
}
