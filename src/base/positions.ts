// Positions that threads show each other, 64 bits each, in one SharedArrayBuffer for the process. One writer per cell.
// A journal position (LSN) is a byte offset in the endless log: it only grows, over restarts too.

export const POSITION = {
  /** Everything before this LSN is on disk (or, with durability: memory, written). Written by the store. */
  JOURNAL_DURABLE: 0,
  /** First LSN still held. Written by the store. */
  JOURNAL_FIRST: 1,
  /** Everything before this LSN is in history. Written by history; without history the store trims by the lanes' positions. */
  HISTORY_COMMITTED: 2,
  /** How often history has started in this process: when it changes, the lanes begin anew at HISTORY_COMMITTED. Written by history. */
  HISTORY_EPOCH: 3,
  /** Shards are asked for a checkpoint: everything before this LSN is to be trimmed. Written by the store. */
  CHECKPOINT_WANTED: 4,
  /** + lane: everything before this LSN was read by the lane and handed to history. Written by the lane. */
  LANE_READ: 8,
  /** + lane: what the lane is working on (LSN of the frame, or 0): names the culprit when a lane dies. */
  LANE_CURRENT: 80,
  /** + lane: 1 while the lane waits for room in its ring to history, which then rings the lane's doorbell. Written by the lane. */
  LANE_WAITING: 160,
  /** + shard: it needs nothing from before this LSN to take up its sessions and retained messages. Written by the shard. */
  SHARD_CHECKPOINT: 224,
  /** + shard: id of the last held message (QoS 2) that it has delivered; what its successor finds behind it in the journal is still to be. */
  HELD_DELIVERED: 256,
  /** + lane: grows twice a second as long as its thread comes to its turn. Written by the lane. */
  LANE_BEAT: 288,
  // Of these the cells hold f64 (shard/gateway-totals.ts):
  /** + shard: messages in the queues of its sessions. */
  QUEUES_COUNT: 352,
  /** + shard: their bytes. */
  QUEUES_BYTES: 384,
  /** + shard: its sessions. */
  SESSIONS: 416,
} as const;
export const POSITION_COUNT = 448;

export function readPosition(positions: BigUint64Array, cell: number): number {
  return Number(Atomics.load(positions, cell));
}

export function writePosition(positions: BigUint64Array, cell: number, value: number): void {
  Atomics.store(positions, cell, BigInt(value));
}
