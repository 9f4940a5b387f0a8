// Which other shards can be sent something: those that main says are live, and those that greeted since they died last, whom main has not called
// live yet: they have asked for everything and must miss nothing that comes after the answer. Thread: the shard's.
// Invariant: a death is seen before the HELLO of the successor, since main counts it before it starts one; `look` comes first in every turn.
import type { ShardStart } from "../base/messages.js";

export class Liveness {
  /** Bit per shard that is up, this one included. */
  mask: number;
  /** Bit per shard that main calls live; this one too only when it does. */
  called = 0;
  private readonly words: Uint32Array;
  private readonly shards: number;
  private readonly known: number[] = [];

  constructor(start: ShardStart) {
    this.words = new Uint32Array(start.shardsLive);
    this.shards = start.shards;
    this.mask = 1 << start.shard;
    for (let shard = 0; shard < this.shards; shard++) {
      const word = Atomics.load(this.words, shard);
      this.known.push(word);
      if ((word & 1) !== 0) this.called |= 1 << shard;
    }
    this.mask |= this.called;
  }

  /** Once per turn, before anything is read. @returns bit per shard that died since the last look, be it back or not */
  look(): number {
    let died = 0;
    for (let shard = 0; shard < this.shards; shard++) {
      const word = Atomics.load(this.words, shard);
      const before = this.known[shard]!;
      if (word === before) continue;
      this.known[shard] = word;
      if (word >>> 1 !== before >>> 1) {
        died |= 1 << shard;
        this.mask &= ~(1 << shard);
      }
      if ((word & 1) !== 0) this.called |= 1 << shard;
      else this.called &= ~(1 << shard);
    }
    this.mask |= this.called;
    return died;
  }

  /** A HELLO came from the shard. */
  greeted(shard: number): void {
    this.mask |= 1 << shard;
  }
}
