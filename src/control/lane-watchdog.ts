// Sees a lane that hangs (an endless loop in the work on a message): its thread does not beat any more. Pure but for the positions it reads.
import { POSITION, readPosition } from "../base/positions.js";

/** One look counts for this much at most: a process that was suspended, or a busy main, must not look like a hanging lane. */
const STEP_MAX_MS = 2000;

export class LaneWatchdog {
  private readonly positions: BigUint64Array;
  private readonly deadlineMs: number;
  private readonly beats: number[];
  private readonly stuckMs: number[];
  private lookedAt = Number.NaN;

  constructor(positions: BigUint64Array, lanes: number, deadlineMs: number) {
    this.positions = positions;
    this.deadlineMs = deadlineMs;
    this.beats = Array.from({ length: lanes }, () => Number.NaN);
    this.stuckMs = Array.from({ length: lanes }, () => 0);
  }

  /**
   * Looks once; call it every second.
   *
   * @param now monotonic milliseconds
   * @param isReady whether a lane runs: one that does not has no beat to miss
   * @returns a lane that has not beaten for the deadline, or -1
   */
  look(now: number, isReady: (lane: number) => boolean): number {
    const step = Number.isNaN(this.lookedAt) ? 0 : Math.min(now - this.lookedAt, STEP_MAX_MS);
    this.lookedAt = now;
    let stuck = -1;
    for (let lane = 0; lane < this.beats.length; lane++) {
      const beat = isReady(lane) ? readPosition(this.positions, POSITION.LANE_BEAT + lane) : Number.NaN;
      this.stuckMs[lane] = beat === this.beats[lane] ? this.stuckMs[lane]! + step : 0;
      this.beats[lane] = beat;
      if (this.stuckMs[lane]! < this.deadlineMs) continue;
      this.stuckMs[lane] = 0;
      stuck = lane;
    }
    return stuck;
  }
}
