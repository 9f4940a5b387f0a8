// When a worker that died is started again: at once the first time, then after waits that double, until it ran well for a while.

const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 30_000;
/** Running this long without dying makes the next death a first one again. */
const GOOD_RUN_MS = 60_000;

export class RestartPolicy {
  private deaths = 0;
  private startedAt = Number.NEGATIVE_INFINITY;

  /** The worker is ready. @param now monotonic milliseconds */
  started(now: number): void {
    this.startedAt = now;
  }

  /** The worker died. @returns milliseconds to wait before the next start */
  died(now: number): number {
    if (this.startedAt !== Number.NEGATIVE_INFINITY && now - this.startedAt >= GOOD_RUN_MS) this.deaths = 0;
    this.startedAt = Number.NEGATIVE_INFINITY;
    this.deaths++;
    return this.deaths === 1 ? 0 : Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (this.deaths - 2));
  }
}
