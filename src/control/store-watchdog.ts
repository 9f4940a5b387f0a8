// Sees a store that hangs (a disk that answers no more): records wait in its rings, and it neither takes nor commits any, nor says that it is
// blocked. Nothing can be acknowledged then, and only a new process can help. Pure but for the rings it looks at.
import { STORE_COUNTER } from "../base/counters.js";
import type { RingPlace } from "../base/ring-place.js";
import { RING_WORD } from "../ring/layout.js";
import { SharedViews } from "../ring/ring.js";
import { ringBacklog } from "./arena.js";

/** One look counts for this much at most: a process that was suspended, or a busy main, must not look like a hanging store. */
const STEP_MAX_MS = 2000;

export class StoreWatchdog {
  private readonly rings: readonly RingPlace[];
  private readonly counters: Float64Array;
  private readonly deadlineMs: number;
  private progress = Number.NaN;
  private lookedAt = 0;
  private stuckMs = 0;

  constructor(rings: readonly RingPlace[], counters: SharedArrayBuffer, deadlineMs: number) {
    this.rings = rings;
    this.counters = new Float64Array(counters);
    this.deadlineMs = deadlineMs;
  }

  /** Looks once; call it every second. @param now monotonic milliseconds. @returns true when the store has made no progress for the deadline though it has work */
  isStuck(now: number): boolean {
    const progress = this.progressNow();
    const isWaiting = this.rings.some((place) => ringBacklog(place) > 0) && this.counters[STORE_COUNTER.BLOCKED] !== 1;
    const isSame = isWaiting && progress === this.progress;
    this.stuckMs = isSame ? this.stuckMs + Math.min(now - this.lookedAt, STEP_MAX_MS) : 0;
    this.lookedAt = now;
    this.progress = isWaiting ? progress : Number.NaN;
    return this.stuckMs >= this.deadlineMs;
  }

  /** A number that changes whenever the store does anything. */
  private progressNow(): number {
    let sum = this.counters[STORE_COUNTER.COMMITS]! + this.counters[STORE_COUNTER.ENTRIES]! + this.counters[STORE_COUNTER.COMMITS_FAILED]!;
    for (const place of this.rings) sum += Atomics.load(SharedViews.of(place.buffer).words, (place.byteOffset >> 2) + RING_WORD.TAIL);
    return sum;
  }
}
