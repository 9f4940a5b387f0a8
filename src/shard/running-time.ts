// How long gateways have run on this data directory, in all: what session expiries and delayed wills are measured by over restarts. A box
// without a clock battery boots in 1970, and a wall clock jumps; this time only ever goes on while a gateway runs, so neither ends a session.
// Thread: the shard's. Written to the journal with each entry that names a time, and by TIME entries meanwhile.
import type { Clock } from "../base/clock.js";

export class RunningTime {
  private readonly clock: Clock;
  private readonly startedAt: number;
  /** Seconds that had passed when this shard started. */
  private base = 0;

  constructor(clock: Clock) {
    this.clock = clock;
    this.startedAt = clock.monotonic();
  }

  /** Seconds; Infinity for a monotonic time that never comes. */
  at(monotonicMs: number): number {
    return this.base + (monotonicMs - this.startedAt) / 1000;
  }

  now(): number {
    return this.at(this.clock.monotonic());
  }

  /** Monotonic ms at which a running time comes, or came. */
  monotonicOf(seconds: number): number {
    return this.startedAt + (seconds - this.base) * 1000;
  }

  /** The journal says that it had been so late already. */
  saw(seconds: number): void {
    if (seconds > this.base) this.base = seconds;
  }
}
