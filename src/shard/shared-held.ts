// What the owner of a group missed while it was down: messages that were published meanwhile, those that lay unread in the ring when it died, and
// what members of its groups gave back. Every shard keeps its part and hands it over when the successor serves. QoS 1 and 2 only; bounded per owner like a session's queue; what finds no
// room is counted as lost. Thread: the shard's.
import { SHARD_COUNTER } from "../base/counters.js";
import type { ShardLimits } from "../base/messages.js";
import type { StoredMessage } from "../broker/stored-message.js";
import { SHARD_COUNT_MAX } from "../ring/layout.js";
import type { Deliveries } from "./delivery.js";
import type { Liveness } from "./liveness.js";
import { MessageSource, type Outlets, PEER } from "./outlets.js";

interface Held {
  readonly message: StoredMessage;
  /** Of the one group that it is for; "" = all that match. */
  readonly group: string;
}

interface List {
  items: Held[];
  size: number;
}

export class SharedHeld {
  private readonly outlets: Outlets;
  private readonly liveness: Liveness;
  private readonly limits: ShardLimits;
  private readonly counters: Float64Array;
  private readonly lists = new Map<number, List>();
  /** By shard that does not serve yet: ring position up to which its predecessor's unread messages were kept; it can die before it has passed them. */
  private readonly salvagedTo = new Map<number, number>();
  private readonly source = new MessageSource();

  constructor(outlets: Outlets, liveness: Liveness, limits: ShardLimits, counters: Float64Array) {
    this.outlets = outlets;
    this.liveness = liveness;
    this.limits = limits;
    this.counters = counters;
  }

  /** Keeps a message for the shards in `mask`. @param group its name, or "" for all that match */
  hold(mask: number, message: StoredMessage, group: string): void {
    for (let target = 0; target < SHARD_COUNT_MAX; target++) {
      if ((mask & (1 << target)) === 0) continue;
      let list = this.lists.get(target);
      if (list === undefined) this.lists.set(target, (list = { items: [], size: 0 }));
      if (list.items.length >= this.limits.queueCountMax || list.size + message.size > this.limits.queueBytesMax) {
        this.counters[SHARD_COUNTER.DROPPED_SHARED_QUEUE_FULL]!++;
        continue;
      }
      list.items.push({ message, group });
      list.size += message.size;
    }
  }

  /** A shard died: keeps the messages that it has not read. */
  salvage(target: number, deliveries: Deliveries): void {
    const reader = this.outlets.unread(target);
    const { source } = this;
    const before = this.salvagedTo.get(target);
    while (reader.next()) {
      if (before !== undefined && ((reader.position() - before) | 0) <= 0) continue;
      if (reader.kind !== PEER.MESSAGE && reader.kind !== PEER.MISSED) continue;
      source.read(reader.view, reader.at);
      if (source.qos === 0) continue;
      source.bytes = reader.bytes;
      source.topicBytes = reader.bytes.slice(source.topicAt, source.topicAt + source.topicLength);
      const group = reader.bytes.slice(source.payloadAt + source.payloadLength, reader.at + reader.length);
      this.hold(1 << target, deliveries.keep(Buffer.from(source.topicBytes).toString("utf8"), source), Buffer.from(group).toString("utf8"));
    }
    this.salvagedTo.set(target, reader.position());
  }

  /** Once per turn: hands over what owners that serve again have missed. @returns false when something waits for room in a ring */
  turn(now: number): boolean {
    let isIdle = true;
    for (const target of this.salvagedTo.keys()) if ((this.liveness.serving & (1 << target)) !== 0) this.salvagedTo.delete(target);
    for (const [target, list] of this.lists) {
      if ((this.liveness.serving & (1 << target)) === 0) continue;
      if (this.handOver(target, list, now)) this.lists.delete(target);
      else isIdle = false;
    }
    return isIdle;
  }

  private handOver(target: number, list: List, now: number): boolean {
    let done = 0;
    for (; done < list.items.length; done++) {
      const { message, group } = list.items[done]!;
      if (message.expiresAt <= now) {
        this.counters[SHARD_COUNTER.DROPPED_EXPIRED]!++;
        continue;
      }
      this.source.load(message, now);
      if (!this.outlets.missedToPeer(target, this.source, Buffer.from(group, "utf8"))) break;
    }
    for (const { message } of list.items.splice(0, done)) list.size -= message.size;
    return list.items.length === 0;
  }
}
