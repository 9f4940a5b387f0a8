// Positions that threads show each other, 64 bits each, in one SharedArrayBuffer for the process. One writer per cell.
// A journal position (LSN) is a byte offset in the endless log: it only grows, over restarts too.

export const POSITION = {
  /** Everything before this LSN is on disk (or, with durability: memory, written). Written by the store. */
  JOURNAL_DURABLE: 0,
  /** First LSN still held. Written by the store. */
  JOURNAL_FIRST: 1,
  /** Everything before this LSN is in history. Written by history; without history the store trims by the lanes' positions. */
  HISTORY_COMMITTED: 2,
  /** + lane: everything before this LSN was read by the lane and handed to history. Written by the lane. */
  LANE_READ: 8,
  /** + lane: what the lane is working on (LSN of the frame, or 0): names the culprit when a lane dies. */
  LANE_CURRENT: 80,
} as const;
export const POSITION_COUNT = 160;

export function readPosition(positions: BigUint64Array, cell: number): number {
  return Number(Atomics.load(positions, cell));
}

export function writePosition(positions: BigUint64Array, cell: number, value: number): void {
  Atomics.store(positions, cell, BigInt(value));
}
