// What a shard has taken in of the QoS >= 1 messages of each shard, by id. Messages come in two streams from each: those that are delivered as they
// come, and those that are held until they are on disk (QoS 2), which come later than their ids say. In each stream ids ascend. Pure.
import { MESSAGE_FLAG, type MessageView } from "../base/message-record.js";
import { ID_SHARDS, shardOfId } from "../broker/message-ids.js";

export class Applied {
  readonly ids: Float64Array;

  constructor(ids?: readonly number[]) {
    this.ids = new Float64Array(2 * ID_SHARDS);
    if (ids !== undefined) this.ids.set(ids.slice(0, 2 * ID_SHARDS));
  }

  /** Whether the message was taken in before. REQUIRES: QoS >= 1 */
  has(message: MessageView): boolean {
    return message.id <= this.ids[streamOf(message.id, message.flags)]!;
  }

  add(message: MessageView): void {
    this.ids[streamOf(message.id, message.flags)] = message.id;
  }

  raise(shard: number, isHeld: boolean, id: number): void {
    const stream = 2 * shard + (isHeld ? 1 : 0);
    if (id > this.ids[stream]!) this.ids[stream] = id;
  }

  /** Takes over what is higher in `other`. */
  merge(other: Applied): void {
    for (const [stream, id] of other.ids.entries()) if (id > this.ids[stream]!) this.ids[stream] = id;
  }

  /** Whether everything that `other` has is here as well. */
  covers(other: Applied): boolean {
    return other.ids.every((id, stream) => id <= this.ids[stream]!);
  }

  /** As entries of the journal hold it. */
  list(): number[] {
    let length = this.ids.length;
    while (length > 0 && this.ids[length - 1] === 0) length--;
    return [...this.ids.subarray(0, length)];
  }

  /** The same without what came from one shard. */
  without(shard: number): Applied {
    const others = new Applied([...this.ids]);
    others.ids.fill(0, 2 * shard, 2 * shard + 2);
    return others;
  }

  /** The last id of a shard's stream. */
  of(shard: number, isHeld: boolean): number {
    return this.ids[2 * shard + (isHeld ? 1 : 0)]!;
  }
}

/** The stream that a message with QoS >= 1 belongs to. */
export function streamOf(id: number, flags: number): number {
  return 2 * shardOfId(id) + ((flags & MESSAGE_FLAG.HELD) === 0 ? 0 : 1);
}
