// From a message to its receivers on this shard: who gets it at which QoS, encoded once for many where it can be. Hot path.
// Thread: the shard's. QoS 0 goes out by multicast and is dropped (by the reactor, counted) for receivers that do not read; QoS 1 and 2 go
// within the receiver's window, else into its session's queue. A delivery never stops the reading of anybody.
// Invariant: what one turn gives to one connection and cannot be dropped (QoS 1, 2, retained, what names an alias) is bounded, since the reactor
// can say that it does not keep up (PRESSED) only after the turn: together with what already waits there it stays below the mark at which the
// connection would be closed as stalled.
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { EXPIRES_NEVER, MESSAGE_HEAD_SIZE, MessageView, writeMessageHead } from "../base/message-record.js";
import { KIB } from "../base/limits.js";
import { INFLIGHT_STATE } from "../broker/inflight.js";
import type { Route, RouteTable, Target } from "../broker/route.js";
import type { Delivery, Session, Ticket } from "../broker/session.js";
import { secondsLeft, StoredMessage } from "../broker/stored-message.js";
import { reasonedAckSize, writeAck, writeReasonedAck } from "../protocol/mqtt/acks.js";
import { PACKET, type AckType } from "../protocol/mqtt/packet-types.js";
import { measurePublish, OutgoingPublish, writePublish } from "../protocol/mqtt/publish-writer.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import type { Authorisation } from "./authorisation.js";
import type { CommandWriter } from "./command-writer.js";
import type { Connection, ConnectionTable } from "./connection.js";
import { type Fan, makeFan, type Receiver } from "./fan.js";
import { MessageSource } from "./outlets.js";
import type { SessionJournal } from "./session-journal.js";
import type { SessionQueues } from "./session-queues.js";
import type { SharedSubscriptions } from "./shared-subscriptions.js";

/** Bytes for one connection in one turn; the message that passes it is still sent. REQUIRES: + OVERFLOW_DELIVERY_MARK + a packet <= OVERFLOW_HARD_MARK. */
const TURN_SIZE_MAX = 512 * KIB;

/** A received PUBLISH that may be passed on as it is: QoS 0, no retain flag, nothing that is for one hop only. */
export interface Passable {
  /** Offset in the inbound ring's data part, or -1. */
  offset: number;
  length: number;
  version: 4 | 5;
}

export class Deliveries {
  private readonly commands: CommandWriter;
  private readonly connections: ConnectionTable;
  private readonly counters: Float64Array;
  private readonly queues: SessionQueues;
  private readonly clock: Clock;
  /** Set once, by the shard, before anything is delivered. */
  shared: SharedSubscriptions | null = null;
  private readonly journal: SessionJournal;
  private readonly authorisation: Authorisation;
  private readonly out = new OutgoingPublish();
  private readonly storedSource = new MessageSource();
  /** Of `sendStored`, which runs while `storedSource` is being delivered. */
  private readonly storedView = new MessageView();
  private turn = 0;
  /** Messages that a session which is kept had no room for: grows with each. */
  refusals = 0;
  private readonly one = new Uint32Array(1);
  /** Sessions that could get more but had their share of this turn. */
  private postponed = new Set<Session>();

  constructor(commands: CommandWriter, connections: ConnectionTable, counters: Float64Array, queues: SessionQueues, clock: Clock, journal: SessionJournal, authorisation: Authorisation) {
    this.journal = journal;
    this.commands = commands;
    this.connections = connections;
    this.counters = counters;
    this.queues = queues;
    this.clock = clock;
    this.authorisation = authorisation;
  }

  /** Before anything of a turn is delivered: whoever had its share of the last one goes on. */
  beginTurn(): void {
    this.turn++;
    this.queues.beginTurn();
    if (this.postponed.size === 0) return;
    const sessions = this.postponed;
    this.postponed = new Set();
    for (const session of sessions) this.pump(session);
  }

  /** Once per turn, behind all deliveries. @returns false when queues have more to do at once */
  endTurn(): boolean {
    return this.queues.turn(this.dropOldest);
  }

  /** The oldest of a session's queue has waited too long. */
  private readonly dropOldest = (session: Session): void => {
    const delivery = this.queues.shift(session);
    this.journal.acked(session, delivery);
    this.counters[SHARD_COUNTER.DROPPED_QUEUE_AGE]!++;
    this.shared!.done(session, delivery);
  };

  /** Whether `beginTurn` has something to do. */
  get hasPostponed(): boolean {
    return this.postponed.size > 0;
  }

  /**
   * Delivers a message to this shard's receivers.
   *
   * @param publisher for No Local (MQTT 5 §3.8.3.1); null when it is not of this shard
   * @param kept the message in memory of its own, when there is one already
   */
  deliver(route: Route, source: MessageSource, publisher: Session | null, passable: Passable | null, kept: StoredMessage | null): void {
    const own = route.groups.length > 0 ? this.shared!.owner.publish(route, source, kept) : kept;
    if (route.targets.length === 0) return;
    const fan = this.fanOf(route);
    const qos = source.qos;
    if (qos === 0) {
      this.multicast(fan.all4, fan.all5, source, passable);
      for (const target of fan.allOwn) this.deliverOwn(target, source, publisher, route.topic);
      return;
    }
    this.multicast(fan.low4, fan.low5, source, null);
    for (const target of fan.lowOwn) this.deliverOwn(target, source, publisher, route.topic);
    let stored = own;
    for (const receivers of fan.alike) {
      const late = this.deliverAlike(receivers, source);
      if (late === null) continue;
      stored ??= this.keep(route.topic, source);
      for (const target of late) this.deliverLater(target, stored);
    }
    for (const target of fan.acknowledged) {
      if (target.noLocal && target.session === publisher) continue;
      if (!this.trySendNow(target, route.topic, source, stored)) {
        if (target.session.connection === 0 && target.session.isTransient) continue;
        stored ??= this.keep(route.topic, source);
        this.deliverLater(target, stored);
      }
    }
  }

  /**
   * QoS 1 or 2 to receivers of one protocol version and QoS: encoded once, each with its packet id.
   * @returns those for whom it has to wait (mostly null: none)
   */
  private deliverAlike(receivers: readonly Receiver[], source: MessageSource): Target[] | null {
    const out = this.out;
    const first = receivers[0]!;
    out.version = first.connection.protocolVersion;
    this.fillFromSource(out, source);
    out.qos = Math.min(first.target.qos, source.qos) as 1 | 2;
    const size = measurePublish(out);
    const state = out.qos === 1 ? INFLIGHT_STATE.AWAIT_PUBACK : INFLIGHT_STATE.AWAIT_PUBREC;
    const { commands } = this;
    writePublish(commands.bytes, commands.multicastPatched(receivers.length, size, out.packetIdOffset), out);
    let late: Target[] | null = null;
    let count = 0;
    for (let i = 0; i < receivers.length; i++) {
      const { session, connection } = receivers[i]!;
      const packetId = session.isTransient && this.canSend(session, connection) ? session.inflight.open(state, undefined, session.window) : 0;
      if (packetId === 0) {
        (late ??= []).push(receivers[i]!.target);
        continue;
      }
      commands.patch(connection.id, packetId);
      this.account(connection, size);
      count++;
    }
    commands.endPatched();
    this.counters[SHARD_COUNTER.MESSAGES_OUT]! += count;
    this.counters[SHARD_COUNTER.PAYLOAD_BYTES_OUT]! += count * source.payloadLength;
    return late;
  }

  /** Delivers a message in memory of its own (held QoS 2, will, retained by another shard). */
  deliverStored(route: Route, message: StoredMessage, publisher: Session | null): void {
    const source = this.storedSource;
    source.read(message.view, 0);
    source.bytes = message.record;
    source.topicBytes = route.topicBytes;
    source.expiresIn = secondsLeft(message.expiresAt, this.clock.monotonic());
    this.deliver(route, source, publisher, null, message);
  }

  /** Sends one delivery to one session now or queues it: retained messages for a new subscription. */
  deliverTo(session: Session, delivery: Delivery): void {
    const connection = this.connections.get(session.connection);
    if (delivery.qos === 0) {
      if (connection !== null) this.sendStored(connection, delivery, 0, false);
      return;
    }
    if (connection === null || !this.canSend(session, connection) || !this.sendNext(session, connection, delivery)) this.enqueue(session, delivery);
  }

  /** QoS 0 of a shared subscription. @param routes know its topic, which only they need who get aliases */
  deliverOnce(target: Target, source: MessageSource, routes: RouteTable): void {
    const connection = this.connections.get(target.session.connection);
    const takesAliases = connection !== null && connection.outgoingAliases !== null;
    this.deliverOwn(target, source, null, takesAliases ? routes.find(source.topicBytes, 0, source.topicBytes.length, null).topic : "");
  }

  /** QoS 1 or 2 of a shared subscription. @returns false when the target's QoS made it 0: nobody will acknowledge it */
  deliverShared(target: Target, message: StoredMessage, ticket: Ticket): boolean {
    const qos = Math.min(target.qos, message.qos);
    const retain = target.retainAsPublished && message.retain;
    if (qos === 0) this.deliverTo(target.session, { message, qos, retain, identifiers: target.identifiers });
    else {
      const delivery = { message, qos, retain, identifiers: target.identifiers, ticket };
      this.journal.given(target.session, delivery);
      this.deliverTo(target.session, delivery);
    }
    return qos > 0;
  }

  /** Sends what is to be sent again and what waits in the session's queue as far as its window and its connection allow. */
  pump(session: Session): void {
    const { inflight } = session;
    if (session.queue.count === 0 && !inflight.hasUnsent) return;
    const connection = this.connections.get(session.connection);
    if (connection === null) return;
    while (inflight.hasUnsent && this.takes(session, connection)) {
      const packetId = inflight.takeUnsent(session.window);
      if (packetId === 0) return;
      const delivery = inflight.itemOf(packetId)!;
      if (session.isResendUnchecked && !this.authorisation.mayStillRead(session, delivery.message.topic)) {
        this.settle(session, packetId, delivery);
        this.shared!.done(session, delivery);
        continue;
      }
      this.sendStored(connection, delivery, packetId, !inflight.isFirst || delivery.isRepeat === true);
    }
    if (!inflight.hasUnsent) session.isResendUnchecked = false;
    while (session.queue.count > 0 && this.takes(session, connection)) {
      const delivery = session.queue.peek();
      if (delivery === undefined) return;
      if (delivery.message.expiresAt <= this.clock.monotonic()) {
        this.queues.shift(session);
        this.journal.acked(session, delivery);
        this.counters[SHARD_COUNTER.DROPPED_EXPIRED]!++;
        this.shared!.done(session, delivery);
        continue;
      }
      if (this.queues.isTooOld(session, delivery)) {
        this.dropOldest(session);
        continue;
      }
      if (session.uncheckedCount > 0 && !this.authorisation.mayStillRead(session, delivery.message.topic)) {
        this.queues.shift(session);
        this.journal.acked(session, delivery);
        this.shared!.done(session, delivery);
        continue;
      }
      if (!this.sendNext(session, connection, delivery)) return;
      this.queues.shift(session);
    }
  }

  /** Gives a delivery its packet id and sends it, or has it sent once the journal knows the id (gate 3). @returns false when it has to wait */
  private sendNext(session: Session, connection: Connection, delivery: Delivery): boolean {
    const { inflight } = session;
    if (delivery.qos === 2 && !session.isTransient) {
      if (!this.journal.hasRoom()) {
        this.postponed.add(session);
        return false;
      }
      const packetId = inflight.open(INFLIGHT_STATE.COMMIT_SENT, delivery, session.window);
      if (packetId === 0) return false;
      this.journal.sent(session, packetId, delivery, () => {
        if (inflight.committed(packetId)) this.pump(session);
      });
      return true;
    }
    const packetId = inflight.open(delivery.qos === 1 ? INFLIGHT_STATE.AWAIT_PUBACK : INFLIGHT_STATE.AWAIT_PUBREC, delivery, session.window);
    if (packetId === 0) return false;
    this.sendStored(connection, delivery, packetId, delivery.isRepeat === true);
    return true;
  }

  /**
   * A session got a connection again: sends what was not acknowledged, in the order of sending [MQTT-4.4.0-1], then what waited. No more at once
   * than the new connection's receive maximum allows [MQTT-3.3.4-9].
   */
  resume(session: Session, connection: Connection): void {
    session.inflight.reopen((packetId) => this.sendAck(connection, PACKET.PUBREL, packetId, 0));
    this.pump(session);
  }

  /** Whether the session's connection can get more in this turn; if only its share of the turn is used up, the next turn goes on. */
  takes(session: Session, connection: Connection): boolean {
    if (connection.isPressed) return false;
    if (connection.sentInTurn !== this.turn || connection.sentSize < TURN_SIZE_MAX) return true;
    this.postponed.add(session);
    return false;
  }

  sendAck(connection: Connection, type: 4 | 5 | 6 | 7, packetId: number, reasonCode: number): void {
    const length = connection.protocolVersion === 5 && reasonCode !== 0 ? 5 : 4;
    const at = this.commands.data(connection.id, length);
    writeAck(this.commands.bytes, at, type, connection.protocolVersion, packetId, reasonCode);
  }

  /**
   * PUBACK or PUBREC of a message that was taken, and that not everybody has room for. 0x97 can mean other things too: the reason string says
   * which, to those who want it and take it [MQTT-3.4.2-2] [MQTT-3.5.2-2].
   */
  sendOverQuota(connection: Connection, type: AckType, packetId: number): void {
    const size = reasonedAckSize(OVER_QUOTA);
    if (connection.protocolVersion === 5 && connection.wantsProblemInformation && size <= connection.packetSizeMax) {
      writeReasonedAck(this.commands.bytes, this.commands.data(connection.id, size), type, packetId, REASON.QUOTA_EXCEEDED, OVER_QUOTA);
    } else this.sendAck(connection, type, packetId, REASON.QUOTA_EXCEEDED);
  }

  /** A copy of a message that outlives the batch: queue, inflight window, held QoS 2. */
  keep(topic: string, source: MessageSource): StoredMessage {
    const { topicBytes, propertiesLength, payloadLength } = source;
    const record = Buffer.allocUnsafeSlow(MESSAGE_HEAD_SIZE + topicBytes.length + propertiesLength + payloadLength);
    const view = new DataView(record.buffer, record.byteOffset, record.length);
    writeMessageHead(
      view, 0, source.receivedAt, source.deviceHash, source.expiresIn, 0, source.flags, topicBytes.length, 0, propertiesLength, payloadLength, source.id,
    );
    let at = MESSAGE_HEAD_SIZE;
    record.set(topicBytes, at);
    at += topicBytes.length;
    if (propertiesLength > 0) record.set(source.bytes.subarray(source.propertiesAt, source.propertiesAt + propertiesLength), at);
    record.set(source.bytes.subarray(source.payloadAt, source.payloadAt + payloadLength), at + propertiesLength);
    const expiresAt = source.expiresIn === EXPIRES_NEVER ? Number.POSITIVE_INFINITY : this.clock.monotonic() + source.expiresIn * 1000;
    return new StoredMessage(topic, record, expiresAt);
  }

  private canSend(session: Session, connection: Connection): boolean {
    return session.queue.count === 0 && !session.inflight.hasUnsent && this.takes(session, connection);
  }

  /** QoS >= 1 straight from where the message lies, without a copy for sessions that keep nothing. @returns false when it must wait */
  private trySendNow(target: Target, topic: string, source: MessageSource, stored: StoredMessage | null): boolean {
    const session = target.session;
    const connection = this.connections.get(session.connection);
    if (connection === null || !this.canSend(session, connection)) return false;
    const qos = Math.min(target.qos, source.qos) as 1 | 2;
    if (!session.isTransient) {
      // What may have to be sent again needs memory of its own; deliverLater makes it and pumps at once.
      if (stored === null) return false;
      this.deliverLater(target, stored);
      return true;
    }
    const out = this.prepare(target, connection, source);
    out.qos = qos;
    out.packetId = 1;
    if (!this.fits(out, connection, topic)) return true;
    const packetId = session.inflight.open(qos === 1 ? INFLIGHT_STATE.AWAIT_PUBACK : INFLIGHT_STATE.AWAIT_PUBREC, undefined, session.window);
    if (packetId === 0) return false;
    out.packetId = packetId;
    this.write(connection, out);
    return true;
  }

  private deliverLater(target: Target, message: StoredMessage): void {
    const qos = Math.min(target.qos, message.qos);
    const retain = target.retainAsPublished && message.retain;
    this.deliverTo(target.session, { message, qos, retain, identifiers: target.identifiers });
  }

  private enqueue(session: Session, delivery: Delivery): void {
    if (this.queues.push(session, delivery)) return;
    if (delivery.ticket !== undefined) {
      this.shared!.refused(session, delivery);
      return;
    }
    this.queues.drop(session, delivery);
    if (session.isTransient) return;
    // A replay must not bring it back.
    this.journal.acked(session, delivery);
    this.refusals++;
  }

  private sendStored(connection: Connection, delivery: Delivery, packetId: number, dup: boolean): void {
    const source = this.storedView;
    const { message } = delivery;
    source.read(message.view, 0);
    const out = this.out;
    out.version = connection.protocolVersion;
    this.fill(out, source, message.record);
    out.qos = delivery.qos as 0 | 1 | 2;
    out.retain = delivery.retain;
    out.dup = dup;
    out.packetId = packetId;
    out.topicBytes = message.record;
    out.topicAt = source.topicAt;
    out.topicLength = source.topicLength;
    out.messageExpiry = secondsLeft(message.expiresAt, this.clock.monotonic());
    out.subscriptionIdentifiers = delivery.identifiers ?? NO_IDENTIFIERS;
    if (!this.fits(out, connection, message.topic)) {
      // [MQTT-3.1.2-25]: it is as if it had been delivered.
      if (packetId !== 0) this.settle(connection.session!, packetId, delivery);
      this.shared!.done(connection.session!, delivery);
      return;
    }
    this.write(connection, out);
  }

  /** Nothing more comes of a delivery that has a packet id. */
  private settle(session: Session, packetId: number, delivery: Delivery): void {
    session.inflight.acknowledge(packetId, delivery.qos === 1 ? INFLIGHT_STATE.AWAIT_PUBACK : INFLIGHT_STATE.AWAIT_PUBREC);
    if (delivery.qos === 1) this.journal.acked(session, delivery);
    else this.journal.done(session, packetId);
  }

  /** Measures a packet with bytes of its own. @returns whether its receiver takes one so large [MQTT-3.1.2-24] */
  private fits(out: OutgoingPublish, connection: Connection, topic: string): boolean {
    if (connection.outgoingAliases !== null) connection.outgoingAliases.apply(out, topic, connection.packetSizeMax);
    return measurePublish(out) <= connection.packetSizeMax;
  }

  private write(connection: Connection, out: OutgoingPublish): void {
    const at = this.commands.data(connection.id, out.size);
    writePublish(this.commands.bytes, at, out);
    if (out.topicAlias !== 0) connection.outgoingAliases!.sent(out);
    this.sent(connection, out);
  }

  private sent(connection: Connection, out: OutgoingPublish): void {
    this.account(connection, out.size);
    this.counters[SHARD_COUNTER.MESSAGES_OUT]!++;
    this.counters[SHARD_COUNTER.PAYLOAD_BYTES_OUT]! += out.payloadLength;
  }

  /** What a connection was given counts against its share of the turn. */
  private account(connection: Connection, size: number): void {
    if (connection.sentInTurn !== this.turn) {
      connection.sentInTurn = this.turn;
      connection.sentSize = 0;
    }
    connection.sentSize += size;
  }

  private multicast(receivers4: Uint32Array, receivers5: Uint32Array, source: MessageSource, passable: Passable | null): void {
    if (receivers4.length > 0) this.multicastVersion(4, receivers4, source, passable);
    if (receivers5.length > 0) this.multicastVersion(5, receivers5, source, passable);
  }

  private multicastVersion(version: 4 | 5, receivers: Uint32Array, source: MessageSource, passable: Passable | null): void {
    this.counters[SHARD_COUNTER.MESSAGES_OUT]! += receivers.length;
    this.counters[SHARD_COUNTER.PAYLOAD_BYTES_OUT]! += receivers.length * source.payloadLength;
    if (passable !== null && passable.offset >= 0 && passable.version === version) {
      this.commands.multicastReference(receivers, receivers.length, passable.offset, passable.length);
      return;
    }
    const out = this.out;
    out.version = version;
    this.fillFromSource(out, source);
    measurePublish(out);
    const at = this.commands.multicast(receivers, receivers.length, out.size);
    writePublish(this.commands.bytes, at, out);
  }

  /** QoS 0 to a receiver that needs bytes of its own (No Local, subscription identifiers, Retain As Published, a maximum packet size). */
  private deliverOwn(target: Target, source: MessageSource, publisher: Session | null, topic: string): void {
    if (target.noLocal && target.session === publisher) return;
    const connection = this.connections.get(target.session.connection);
    if (connection === null) return;
    const out = this.prepare(target, connection, source);
    if (!this.fits(out, connection, topic)) return;
    if (out.topicAlias !== 0 && out.topicLength !== 0) {
      // Not to be lost on the way, since it gives an alias its topic: so it counts against the share of the turn like QoS 1.
      if (this.takes(target.session, connection)) {
        this.write(connection, out);
        return;
      }
      out.topicAlias = 0;
      measurePublish(out);
    }
    // As a multicast to one it is among those that the reactor may drop later.
    this.one[0] = connection.id;
    writePublish(this.commands.bytes, this.commands.multicast(this.one, 1, out.size), out);
    this.sent(connection, out);
  }

  /** A QoS 0 PUBLISH of the source for one target, not measured yet. */
  private prepare(target: Target, connection: Connection, source: MessageSource): OutgoingPublish {
    const out = this.out;
    out.version = connection.protocolVersion;
    this.fillFromSource(out, source);
    out.retain = target.retainAsPublished && source.retain;
    out.subscriptionIdentifiers = target.identifiers ?? NO_IDENTIFIERS;
    return out;
  }

  /** QoS 0 without flags; the topic is the caller's. @param bytes where properties and payload of `view` lie */
  private fill(out: OutgoingPublish, view: MessageView, bytes: Uint8Array): void {
    out.qos = 0;
    out.retain = false;
    out.dup = false;
    out.topicAlias = 0;
    out.packetId = 0;
    out.propertiesBytes = bytes;
    out.propertiesAt = view.propertiesAt;
    out.propertiesLength = view.propertiesLength;
    out.payloadBytes = bytes;
    out.payloadAt = view.payloadAt;
    out.payloadLength = view.payloadLength;
    out.messageExpiry = view.expiresIn;
    out.subscriptionIdentifiers = NO_IDENTIFIERS;
  }

  private fillFromSource(out: OutgoingPublish, source: MessageSource): void {
    this.fill(out, source, source.bytes);
    out.topicBytes = source.topicBytes;
    out.topicAt = 0;
    out.topicLength = source.topicBytes.length;
  }

  private fanOf(route: Route): Fan {
    if (route.fanEpoch !== this.connections.epoch) {
      route.fan = makeFan(route.targets, this.connections);
      route.fanEpoch = this.connections.epoch;
    }
    return route.fan as Fan;
  }
}

const NO_IDENTIFIERS: readonly number[] = [];
const OVER_QUOTA = Buffer.from("a subscriber's queue is full; all others get the message", "utf8");
