// Up to which ids each shard has delivered messages of its clients, or seen that nobody wants them, in shared memory: what came before another shard's
// change of interest was applied can be told from what came after. Written by the shard alone. Hot path (note). Thread: the shard's.
// Invariant: a shard notes a message before it applies a change that comes after it, and says that it has applied that (Interests.applied) behind
// both: whoever has heard of the change reads ids that cover all messages from before it.
import type { ShardStart } from "../base/messages.js";
import { Applied } from "./applied.js";

export class DeliveredIds {
  private readonly shard: number;
  private readonly shards: number;
  private readonly ids: Float64Array;

  constructor({ shard, shards, deliveredIds }: Pick<ShardStart, "shard" | "shards" | "deliveredIds">) {
    this.shard = shard;
    this.shards = shards;
    this.ids = new Float64Array(deliveredIds);
  }

  /** It is settled who gets the message. @param isHeld which of the two streams it belongs to (applied.ts) */
  note(isHeld: boolean, id: number): void {
    const cell = 2 * this.shard + (isHeld ? 1 : 0);
    if (id > this.ids[cell]!) this.ids[cell] = id;
  }

  /** Of all shards but this one. One that is down stands where it died. */
  ofOthers(): Applied {
    const others = new Applied();
    for (let shard = 0; shard < this.shards; shard++) {
      if (shard === this.shard) continue;
      others.raise(shard, false, this.ids[2 * shard]!);
      others.raise(shard, true, this.ids[2 * shard + 1]!);
    }
    return others;
  }
}
