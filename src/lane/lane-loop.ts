// When a lane works and when it sleeps. Thread: the lane's.
//
//   doorbell ──> turn ──> more to do ──────> turn, as soon as timers and ports had their chance
//                 ^  │
//                 │  ├──> did something ──> turn after PAUSE_MS: what gathers meanwhile costs one wake-up instead of hundreds
//                 │  ├──> nothing to do ──> arm the rings, sleep
//                 └──┴──> history is full > sleep until history rings
import { type Lane, TURN } from "./lane.js";

/** Adds to the age of a last value, saves wake-ups; a client never waits for it. */
const PAUSE_MS = 2;

export class LaneLoop {
  private readonly lane: Lane;
  private readonly onFailure: (error: Error) => void;
  private immediate: NodeJS.Immediate | undefined = undefined;
  private pause: NodeJS.Timeout | undefined = undefined;
  private onFinished: (() => void) | undefined = undefined;
  private hasEnded = false;

  /** @param onFailure called once with what a turn threw; the loop has ended then */
  constructor(lane: Lane, onFailure: (error: Error) => void) {
    this.lane = lane;
    this.onFailure = onFailure;
  }

  /** The doorbell rang (or it is time to begin). */
  wake(): void {
    if (this.hasEnded || this.immediate !== undefined || this.pause !== undefined) return;
    this.run();
  }

  /** Works until nothing is left, then ends and calls `onFinished`. */
  finish(onFinished: () => void): void {
    this.onFinished = onFinished;
    this.wake();
  }

  private run(): void {
    this.immediate = undefined;
    this.pause = undefined;
    try {
      this.turn();
    } catch (error) {
      this.hasEnded = true;
      this.onFailure(error instanceof Error ? error : new Error(String(error)));
    }
  }

  private turn(): void {
    switch (this.lane.turn()) {
      case TURN.MORE:
        this.later();
        break;
      case TURN.DONE:
        if (this.onFinished === undefined) this.pause = setTimeout(() => this.run(), PAUSE_MS);
        else this.later();
        break;
      case TURN.IDLE:
        if (!this.lane.arm()) this.later();
        else if (this.onFinished !== undefined) this.end(this.onFinished);
        break;
      case TURN.WAITING:
        break;
    }
  }

  private later(): void {
    this.immediate = setImmediate(() => this.run());
  }

  private end(onFinished: () => void): void {
    this.hasEnded = true;
    onFinished();
  }
}
