// Lets so many jobs run at once, and so many wait, for so long. Thread: the shard's.
import type { Clock } from "../base/clock.js";

/** A client that has waited longer than this has probably given up: its job is not begun, so that those behind it are served in time. */
const WAIT_MAX_MS = 10_000;

export class Gate {
  private readonly clock: Clock;
  private readonly runningMax: number;
  private readonly waitingMax: number;
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(clock: Clock, runningMax: number, waitingMax: number) {
    this.clock = clock;
    this.runningMax = runningMax;
    this.waitingMax = waitingMax;
  }

  /** Runs the job when it is its turn. @returns null when too many wait already, or its turn came too late */
  async run<T>(job: () => Promise<T>): Promise<T | null> {
    const began = this.clock.monotonic();
    if (this.running >= this.runningMax) {
      if (this.waiting.length >= this.waitingMax) return null;
      // The job that ends hands its place over: `running` stays as it is.
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else this.running++;
    try {
      return this.clock.monotonic() - began > WAIT_MAX_MS ? null : await job();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}
