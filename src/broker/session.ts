// What survives a connection: subscriptions, what is on its way to the client, what waits for it, and the QoS 2 packet ids it has sent.
// A client id lives on one shard, so a session has one thread. Pure.
import { ANONYMOUS, type Identity } from "../base/identity.js";
import type { ListenerLimits } from "../base/messages.js";
import type { Access } from "./access-rules.js";
import type { StoredMessage } from "./stored-message.js";
import { Inflight } from "./inflight.js";

export interface Subscription {
  /** Whose it is; at most one per session and filter. */
  readonly key: Session;
  readonly filter: string;
  qos: number;
  noLocal: boolean;
  retainAsPublished: boolean;
  /** MQTT 5 §3.8.2.1.2; 0 = none. */
  identifier: number;
}

/** One message for one receiver: what its subscriptions made of it. */
export interface Delivery {
  readonly message: StoredMessage;
  readonly qos: number;
  readonly retain: boolean;
  readonly identifiers: readonly number[] | null;
  /** Of a shared subscription, with QoS 1 or 2. */
  readonly ticket?: Ticket;
  /** It may have been sent before the gateway's last restart: its first PUBLISH has DUP set [MQTT-3.3.1-1]. */
  readonly isRepeat?: true;
}

/** A message of a shared subscription, for the answer to the shard that owns the group. */
export interface Ticket {
  readonly owner: number;
  readonly life: number;
  readonly group: number;
  /** 0: it was taken up from the journal, the owner waits for no answer. */
  readonly sequence: number;
  /** `$share/{name}/{filter}`. */
  readonly name: string;
}

/** What the journal calls a delivery of a session: its message's id; below 0 when a group gave it, since the session may have the message for itself too. */
export function deliveryKey({ message, ticket }: Delivery): number {
  return ticket === undefined ? message.id : -message.id;
}

export interface Will {
  /** Its time of arrival and expiry count from when it is published (MQTT 5 §3.1.3.2.4). */
  readonly message: StoredMessage;
  /** Seconds, or EXPIRES_NEVER. */
  readonly expiresIn: number;
  /** Seconds between the end of the connection and the will (MQTT 5 §3.1.3.2.2). */
  readonly delaySeconds: number;
}

/** Session expiry interval that never ends (MQTT 5 §3.1.2.11.2); a 3.1.1 session with clean session = 0 has it too. */
export const EXPIRY_NEVER = 0xffff_ffff;

/** Of all sessions that have none: most clients of a gateway are never sent anything. */
const NO_SUBSCRIPTIONS: ReadonlyMap<string, Subscription> = new Map();
const NO_DELIVERIES: readonly undefined[] = [];

/** Bounded FIFO of deliveries that wait for the client or for room in its window. */
export class DeliveryQueue {
  /** Memory of its own from the first delivery on. */
  private items = NO_DELIVERIES as (Delivery | undefined)[];
  private head = 0;
  bytes = 0;

  get count(): number {
    return this.items.length - this.head;
  }

  /** @returns false when a limit forbids it; the caller counts the loss */
  push(delivery: Delivery, countMax: number, bytesMax: number): boolean {
    if (this.count >= countMax || this.bytes + delivery.message.size > bytesMax) return false;
    if (this.items === NO_DELIVERIES) this.items = [delivery];
    else this.items.push(delivery);
    this.bytes += delivery.message.size;
    return true;
  }

  peek(): Delivery | undefined {
    return this.items[this.head];
  }

  shift(): Delivery | undefined {
    const delivery = this.items[this.head];
    if (delivery === undefined) return undefined;
    this.items[this.head++] = undefined;
    this.bytes -= delivery.message.size;
    if (this.head >= 64 && this.head * 2 >= this.items.length) {
      this.items = this.items.slice(this.head);
      this.head = 0;
    }
    return delivery;
  }

  /** Takes out all that `isWanted` names. @returns them, in their order */
  take(isWanted: (delivery: Delivery) => boolean): Delivery[] {
    const all = this.items.slice(this.head) as Delivery[];
    const taken = all.filter(isWanted);
    if (taken.length === 0) return taken;
    this.items = all.filter((delivery) => !isWanted(delivery));
    this.head = 0;
    for (const { message } of taken) this.bytes -= message.size;
    return taken;
  }

  *all(): Iterable<Delivery> {
    for (let i = this.head; i < this.items.length; i++) yield this.items[i]!;
  }

  clear(): void {
    this.items = NO_DELIVERIES as (Delivery | undefined)[];
    this.head = 0;
    this.bytes = 0;
  }
}

export class Session {
  readonly clientId: string;
  /** Connection id, 0 while there is none. */
  connection = 0;
  protocolVersion: 4 | 5 = 4;
  /** Seconds the session outlives its connection; 0 = it ends with it; EXPIRY_NEVER. */
  expirySeconds = 0;
  /** Monotonic ms at which a session without connection ends; Infinity while connected or for ever. */
  endsAt = Number.POSITIVE_INFINITY;
  will: Will | null = null;
  /** Monotonic ms at which the delayed will is published; Infinity = not pending. */
  willAt = Number.POSITIVE_INFINITY;
  private ownSubscriptions: Map<string, Subscription> | null = null;
  private idBytes: Uint8Array | null = null;
  readonly inflight = new Inflight<Delivery>();
  readonly queue = new DeliveryQueue();
  /** The queue, or all of the gateway together, had no place for one message more (shard/session-queues.ts). */
  isQueueFull = false;
  /** QoS 2 packet ids received and not yet released (MQTT 3.1.1 §4.3.3, method B); null until the first QoS 2 PUBLISH. */
  received: Set<number> | null = null;
  /** QoS 2 packet ids whose PUBLISH was taken and answered with an error: its repetition (DUP) gets the same answer, another message may have the id. */
  refused: Set<number> | null = null;
  /** It was taken up from the journal, and its client is not back yet: if it comes back, its will is called off. */
  isTakenUp = false;
  /** The journal knows it, and must be told of its end. */
  isJournaled = false;
  /** Ids of messages that the client acknowledged in this turn: told to the journal at its end. */
  acked: number[] | null = null;
  /** The client's receive maximum (MQTT 5 §3.1.2.11.3), bounded by ours. */
  window = 0;
  /** Who its client is: stays when the connection goes, so that access rules hold for what is kept for it. */
  identity: Identity = ANONYMOUS;
  /** What access rules say for it; null until it is asked for, and after they changed. */
  access: Access | null = null;
  /** Deliveries at the head of `queue` from before access rules or identity changed. */
  uncheckedCount = 0;
  /** What is in flight may be from before such a change: looked at when it is to be sent again. */
  isResendUnchecked = false;
  /** Of the listener that its client came by last; null = none since the gateway started. */
  limits: ListenerLimits | null = null;
  lastSeenAt = 0;
  connectedAt = 0;

  constructor(clientId: string) {
    this.clientId = clientId;
  }

  /** UTF-8. Made when somebody asks for it: not for a client that neither publishes nor is journaled. */
  get clientIdBytes(): Uint8Array {
    return (this.idBytes ??= Buffer.from(this.clientId, "utf8"));
  }

  /** By filter. */
  get subscriptions(): ReadonlyMap<string, Subscription> {
    return this.ownSubscriptions ?? NO_SUBSCRIPTIONS;
  }

  /** Takes the place of the one with the same filter. */
  subscribe(subscription: Subscription): void {
    (this.ownSubscriptions ??= new Map()).set(subscription.filter, subscription);
  }

  /** @returns false when there is none with this filter */
  unsubscribe(filter: string): boolean {
    return this.ownSubscriptions !== null && this.ownSubscriptions.delete(filter);
  }

  unsubscribeAll(): void {
    this.ownSubscriptions = null;
  }

  /** Adds to `refused`. @param countMax a client repeats no more of what it has not heard of than it may have open: the oldest are forgotten */
  refuse(packetId: number, countMax: number): void {
    const refused = (this.refused ??= new Set());
    refused.delete(packetId);
    refused.add(packetId);
    const [oldest] = refused;
    if (refused.size > countMax && oldest !== undefined) refused.delete(oldest);
  }

  /** It ends with its connection, so nothing needs to be kept for redelivery. */
  get isTransient(): boolean {
    return this.expirySeconds === 0;
  }
}
