// Which other shards can be sent something: those that main says are live, and those that greeted since they died last, whom main has not called
// live yet: they have asked for everything and must miss nothing that comes after the answer. Thread: the shard's.
// Invariant: a death is seen before the HELLO of the successor: main counts it before it starts one, HELLO says after how many deaths it began, and one
// that this shard has not looked at yet is read in the next turn (peer-inlet.ts). What dead shards have said before may still lie in their rings.
import type { ShardStart } from "../base/messages.js";

export class Liveness {
  /** Bit per shard that is up, this one included. */
  mask: number;
  /** Bit per shard that main calls live; this one too only when it does. */
  called = 0;
  private readonly shard: number;
  private readonly words: Uint32Array;
  private readonly shards: number;
  private readonly known: number[] = [];

  constructor(start: ShardStart) {
    this.words = new Uint32Array(start.shardsLive);
    this.shard = start.shard;
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

  /** After how many deaths this shard began. */
  get deaths(): number {
    return this.deathsOf(this.shard);
  }

  /** How often a shard has died, as of the last look. */
  deathsOf(shard: number): number {
    return this.known[shard]! >>> 1;
  }

  /** Whether a shard began after a death that this one has not looked at yet. */
  isAhead(shard: number, deaths: number): boolean {
    return ((deaths - this.deathsOf(shard)) << 1) > 0;
  }

  /** A HELLO came from the shard. @param deaths after which it began. @returns false when it has died since */
  greeted(shard: number, deaths: number): boolean {
    const isUp = deaths === this.deathsOf(shard);
    if (isUp) this.mask |= 1 << shard;
    return isUp;
  }
}
