// Time as a value that is passed in, so that what depends on it can be tested without waiting.

export interface Clock {
  /** Wall clock, Unix milliseconds; may jump. For timestamps only. */
  readonly wall: () => number;
  /** Milliseconds that never go back. For expiries, intervals and deadlines. */
  readonly monotonic: () => number;
}

export const systemClock: Clock = {
  wall: () => Date.now(),
  monotonic: () => performance.now(),
};
