// What all shards together keep: messages in queues, their bytes, sessions. So that a limit is the gateway's, whichever shards its use falls on.
// Thread: the shard's; cells in shared memory (base/positions.ts), each written by one shard. Hot path.
// What the others hold is looked at once a turn, so two shards that fill the last place at the same moment pass a limit by what one turn brings.
import { POSITION } from "../base/positions.js";
import type { ShardStart } from "../base/messages.js";

/** A limit that was reached is over when an eighth of it is free again: who waits for that is told seldom. */
export const ROOMY = 7 / 8;

export class GatewayTotals {
  private readonly cells: Float64Array;
  private readonly shard: number;
  private readonly shards: number;
  private readonly countMax: number;
  private readonly bytesMax: number;
  private othersCount = 0;
  private othersBytes = 0;
  private isFresh = false;

  constructor(start: ShardStart) {
    this.cells = new Float64Array(start.positions);
    this.shard = start.shard;
    this.shards = start.shards;
    this.countMax = start.limits.queuesCountMax;
    this.bytesMax = start.limits.queuesBytesMax;
    // Of a predecessor.
    for (const cell of [POSITION.QUEUES_COUNT, POSITION.QUEUES_BYTES, POSITION.SESSIONS]) this.cells[cell + this.shard] = 0;
  }

  beginTurn(): void {
    this.isFresh = false;
  }

  /** Whether all queues together may hold one message more, of `size` bytes. */
  hasRoom(size: number): boolean {
    return this.count < this.countMax && this.bytes + size <= this.bytesMax;
  }

  /** Whether enough is free again for those who were turned away. */
  get isRoomy(): boolean {
    return this.count <= this.countMax * ROOMY && this.bytes <= this.bytesMax * ROOMY;
  }

  /** Messages that came into queues of this shard, or (below 0) left them. */
  add(count: number, bytes: number): void {
    this.cells[POSITION.QUEUES_COUNT + this.shard]! += count;
    this.cells[POSITION.QUEUES_BYTES + this.shard]! += bytes;
  }

  /** @param count of this shard */
  setSessions(count: number): void {
    this.cells[POSITION.SESSIONS + this.shard] = count;
  }

  get sessions(): number {
    return this.sum(POSITION.SESSIONS);
  }

  private get count(): number {
    this.look();
    return this.othersCount + this.cells[POSITION.QUEUES_COUNT + this.shard]!;
  }

  private get bytes(): number {
    this.look();
    return this.othersBytes + this.cells[POSITION.QUEUES_BYTES + this.shard]!;
  }

  private look(): void {
    if (this.isFresh) return;
    this.isFresh = true;
    this.othersCount = this.sum(POSITION.QUEUES_COUNT) - this.cells[POSITION.QUEUES_COUNT + this.shard]!;
    this.othersBytes = this.sum(POSITION.QUEUES_BYTES) - this.cells[POSITION.QUEUES_BYTES + this.shard]!;
  }

  private sum(first: number): number {
    let sum = 0;
    for (let shard = 0; shard < this.shards; shard++) sum += this.cells[first + shard]!;
    return sum;
  }
}
