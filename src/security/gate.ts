// Lets so many jobs run at once, and so many wait. Thread: the shard's.

export class Gate {
  private readonly runningMax: number;
  private readonly waitingMax: number;
  private running = 0;
  private readonly waiting: (() => void)[] = [];

  constructor(runningMax: number, waitingMax: number) {
    this.runningMax = runningMax;
    this.waitingMax = waitingMax;
  }

  /** Runs the job when it is its turn. @returns null when too many wait already */
  async run<T>(job: () => Promise<T>): Promise<T | null> {
    if (this.running >= this.runningMax) {
      if (this.waiting.length >= this.waitingMax) return null;
      // The job that ends hands its place over: `running` stays as it is.
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    } else this.running++;
    try {
      return await job();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.running--;
      else next();
    }
  }
}
