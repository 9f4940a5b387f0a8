// Ids of messages with QoS 1 and 2 and of retained messages: unique over all shards and restarts. A Lamport clock: id = count * 32 + shard, and
// count grows beyond every count that was seen. So the ids that one shard gives out ascend, and of two updates of a retained topic the one whose
// publisher can have known the other has the higher id. Pure.
// Invariant: no id is given out twice: a shard that starts has seen every id of its predecessor that can be in the journal, and leaves a gap for
// those that were given out and not journaled.

/** Shards that an id can name. */
export const ID_SHARDS = 32;
/** More ids than the ring into the store can hold. */
const IDS_PER_RING = 1 << 20;

export class MessageIds {
  private readonly shard: number;
  private count = 0;

  constructor(shard: number) {
    this.shard = shard;
  }

  next(): number {
    return ++this.count * ID_SHARDS + this.shard;
  }

  saw(id: number): void {
    const count = Math.floor(id / ID_SHARDS);
    if (count > this.count) this.count = count;
  }

  /** Leaves out what a predecessor can have given out without a trace. */
  leaveGap(): void {
    this.count += IDS_PER_RING;
  }
}

/** The shard that gave out the id. */
export function shardOfId(id: number): number {
  return id % ID_SHARDS;
}
