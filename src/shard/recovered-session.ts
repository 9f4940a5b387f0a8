// A session while it is read back from the journal (session-replay.ts): the same entries as live, looked up by message id rather than in order.
import { MESSAGE_FLAGS_AT, type MessageView } from "../base/message-record.js";
import { INFLIGHT_STATE } from "../broker/inflight.js";
import { type Delivery, deliveryKey, Session, type Will } from "../broker/session.js";
import type { StoredMessage } from "../broker/stored-message.js";
import { Applied, streamOf } from "./applied.js";

interface Sent {
  state: number;
  /** deliveryKey. */
  readonly key: number;
  /** null: the message is not needed any more, or has not been met yet. */
  delivery: Delivery | null;
}

/** All shards knew of these subscriptions when they had delivered these messages. */
interface Heard {
  readonly filters: readonly string[];
  readonly until: Applied;
}

export class RecoveredSession {
  readonly session: Session;
  isConnected = true;
  /** Its snapshot is still to come: until then it collects messages that came about before that in the journal, and after it in the shard. */
  isSeed = false;
  /** Running times; Infinity = never. */
  endsAt = Number.POSITIVE_INFINITY;
  willAt = Number.POSITIVE_INFINITY;
  will: Will | null = null;
  /** By deliveryKey, in the order in which they wait. */
  readonly queue = new Map<number, Delivery>();
  queueBytes = 0;
  /** deliveryKeys of messages that no subscription explains: none of these takes them away again. */
  readonly unexplained = new Set<number>();
  /** QoS 2 by packet id, in the order of sending. */
  readonly inflight = new Map<number, Sent>();
  /** What the last snapshot held: older messages are none of its business. */
  applied: Applied | null = null;
  /** Subscriptions without a HEARD so far: by filter, of which change and of which shard (SubscribeEntry). */
  readonly unheard = new Map<string, { readonly change: number; readonly shard: number }>();
  /** Acknowledgements that stand in the journal in front of their messages: two generations, the older forgotten first. */
  private early = new Set<number>();
  private earlier = new Set<number>();
  /** HEARDs that may stand in the journal in front of messages that they are about, in the same way. */
  private heards: Heard[] = [];
  private heardsEarlier: Heard[] = [];
  /** What any of them covers. */
  private heardUntil: Applied | null = null;

  constructor(clientId: string) {
    this.session = new Session(clientId);
    this.session.isJournaled = true;
  }

  /** @returns false when a limit forbids it */
  enqueue(delivery: Delivery, countMax: number, bytesMax: number): boolean {
    const { message } = delivery;
    for (const sent of this.inflight.values()) {
      if (sent.key !== message.id) continue;
      if (sent.state === INFLIGHT_STATE.AWAIT_PUBREC) sent.delivery = delivery;
      return true;
    }
    if (this.early.has(message.id) || this.earlier.has(message.id)) return true;
    if (this.queue.size >= countMax || this.queueBytes + message.size > bytesMax) return false;
    this.put(delivery);
    return true;
  }

  /** An acknowledged message is gone. */
  acked(key: number): void {
    if (this.take(key) === undefined) this.early.add(key);
  }

  /** Its group has it back, sent or not: it was given back since the client never had it. */
  givenBack(key: number): void {
    this.take(key);
    for (const [packetId, sent] of this.inflight) if (sent.key === key) this.inflight.delete(packetId);
  }

  /**
   * QoS 2 messages of a stream (applied.ts) are sent in its order: those in front of this one were published while the session was still
   * subscribing, and its shard did not hear of them.
   */
  sent(packetId: number, key: number): void {
    const sent = this.queue.get(key);
    if (sent !== undefined && key > 0) this.dropInFrontOf(sent.message);
    this.inflight.set(packetId, { state: INFLIGHT_STATE.AWAIT_PUBREC, key, delivery: this.take(key) ?? null });
  }

  private dropInFrontOf({ id: sentId, record: sentRecord }: StoredMessage): void {
    const stream = streamOf(sentId, sentRecord[MESSAGE_FLAGS_AT]!);
    for (const [id, { message, qos, retain }] of this.queue) {
      if (id === sentId) return;
      if (id > 0 && qos === 2 && !retain && id < sentId && streamOf(id, message.record[MESSAGE_FLAGS_AT]!) === stream) this.take(id);
    }
  }

  heard(filters: readonly string[], until: Applied): void {
    this.heards.push({ filters, until });
    (this.heardUntil ??= new Applied()).merge(until);
  }

  /** Subscriptions by which a message is none of the session's: a HEARD says so that stands in front of it. */
  undueBy(message: MessageView): string[] {
    if (this.heardUntil?.has(message) !== true) return [];
    return [...this.heards, ...this.heardsEarlier].flatMap(({ filters, until }) => (until.has(message) ? filters : []));
  }

  /** A snapshot has taken the place of what was known of the session. */
  inherit({ unheard, heards, heardsEarlier, heardUntil }: RecoveredSession): void {
    for (const [filter, since] of unheard) if (this.session.subscriptions.has(filter)) this.unheard.set(filter, since);
    this.heards = heards;
    this.heardsEarlier = heardsEarlier;
    this.heardUntil = heardUntil;
  }

  received(packetId: number): void {
    const sent = this.inflight.get(packetId);
    if (sent === undefined) return;
    sent.state = INFLIGHT_STATE.AWAIT_PUBCOMP;
    sent.delivery = null;
  }

  done(packetId: number): void {
    const sent = this.inflight.get(packetId);
    if (sent === undefined) return;
    this.inflight.delete(packetId);
    this.early.add(sent.key);
  }

  put(delivery: Delivery): void {
    const key = deliveryKey(delivery);
    if (!this.queue.has(key)) this.queueBytes += delivery.message.size;
    this.queue.set(key, delivery);
  }

  take(key: number): Delivery | undefined {
    const delivery = this.queue.get(key);
    if (delivery === undefined) return undefined;
    this.queue.delete(key);
    this.unexplained.delete(key);
    this.queueBytes -= delivery.message.size;
    return delivery;
  }

  *deliveries(): Iterable<Delivery> {
    yield* this.queue.values();
    for (const { delivery } of this.inflight.values()) if (delivery !== null) yield delivery;
  }

  /** So much of the journal was read that what was early before the last call has met its messages, if it ever does. */
  forgetEarly(): void {
    if (this.early.size > 0 || this.earlier.size > 0) {
      this.earlier = this.early;
      this.early = new Set();
    }
    if (this.heardUntil !== null) {
      if (this.heards.length === 0) this.heardUntil = null;
      this.heardsEarlier = this.heards;
      this.heards = [];
    }
  }

  /** Fills the session with what was found. A message whose PUBLISH the journal does not have any more cannot be sent again: its packet id is kept. */
  complete(): Session {
    const { session } = this;
    for (const [packetId, { state, delivery }] of this.inflight) {
      session.inflight.restore(packetId, delivery === null ? INFLIGHT_STATE.AWAIT_PUBCOMP : state, delivery ?? undefined);
    }
    for (const delivery of this.queue.values()) session.queue.push(delivery, Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
    session.will = this.will;
    return session;
  }
}
