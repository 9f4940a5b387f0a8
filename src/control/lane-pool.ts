// The lanes: one Piscina task each, which ends only when it is told to stop. A pool is used for one life of all lanes: when they must all
// go (one hangs), the pool is destroyed, which waits until its threads are gone, and a new one is made.
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { Piscina } from "piscina";
import type { FromMain, LaneStart, ToMain } from "../base/messages.js";
import { threadOptions, within, type ThreadOptions } from "./worker-handle.js";

export interface LanePoolOptions extends ThreadOptions {
  readonly file: URL;
  readonly lanes: number;
  readonly onMessage: (lane: number, message: ToMain) => void;
  /** A lane's task ended without having been told to. */
  readonly onEnd: (lane: number, reason: string) => void;
}

interface RunningLane {
  readonly port: MessagePort;
  isReady: boolean;
  readonly onReady: (() => void)[];
  /** Resolves when the task has ended, whatever way. */
  ended: Promise<void>;
}

export class LanePool {
  private readonly pool: Piscina;
  private readonly options: LanePoolOptions;
  private readonly running = new Map<number, RunningLane>();
  private isEnding = false;

  constructor(options: LanePoolOptions) {
    this.options = options;
    this.pool = new Piscina({
      filename: options.file.href,
      minThreads: options.lanes,
      maxThreads: options.lanes,
      concurrentTasksPerWorker: 1,
      idleTimeout: Infinity,
      // The default makes an idle worker block in Atomics.wait, which stops its event loop: doorbells and ports would not be heard.
      atomics: "disabled",
      ...threadOptions(options),
    });
    // A thread that dies without a task is replaced by Piscina; there is nothing to report.
    this.pool.on("error", () => undefined);
  }

  /** Starts one lane. REQUIRES: it does not run. */
  start(lane: number, startData: (main: MessagePort) => { readonly start: LaneStart; readonly transfer: readonly MessagePort[] }): void {
    const { port1, port2 } = new MessageChannel();
    const entry: RunningLane = { port: port1, isReady: false, onReady: [], ended: Promise.resolve() };
    port1.on("message", (message: ToMain) => {
      if (message.type === "ready") {
        entry.isReady = true;
        for (const done of entry.onReady.splice(0)) done();
      }
      this.options.onMessage(lane, message);
    });
    const { start, transfer } = startData(port2);
    const task: Promise<unknown> = this.pool.run(start, { transferList: [port2, ...transfer] });
    entry.ended = task.then(
      () => this.ended(lane, entry, "its task returned"),
      (error: unknown) => this.ended(lane, entry, reasonOf(error)),
    );
    this.running.set(lane, entry);
  }

  private ended(lane: number, entry: RunningLane, reason: string): void {
    entry.port.close();
    if (this.running.get(lane) === entry) this.running.delete(lane);
    for (const done of entry.onReady.splice(0)) done();
    if (!this.isEnding) this.options.onEnd(lane, reason);
  }

  isRunning(lane: number): boolean {
    return this.running.has(lane);
  }

  isReady(lane: number): boolean {
    return this.running.get(lane)?.isReady === true;
  }

  /** Resolves when the lane says `ready`, its task ends, or the deadline is over. @returns whether it is ready */
  async isReadyWithin(lane: number, deadlineMs: number): Promise<boolean> {
    const entry = this.running.get(lane);
    if (entry === undefined) return false;
    if (entry.isReady) return true;
    await within(deadlineMs, (done) => {
      entry.onReady.push(done);
      return () => undefined;
    });
    return entry.isReady && this.running.get(lane) === entry;
  }

  post(lane: number, message: FromMain, transfer: readonly MessagePort[] = []): void {
    this.running.get(lane)?.port.postMessage(message, transfer);
  }

  /** Tells all lanes to finish. @returns the lanes that had not ended when the deadline was over */
  async stop(deadlineMs: number): Promise<number[]> {
    this.isEnding = true;
    for (const lane of this.running.keys()) this.post(lane, { type: "stop" });
    const entries = [...this.running.values()];
    await within(deadlineMs, (done) => {
      void Promise.all(entries.map((entry) => entry.ended)).then(done);
      return () => undefined;
    });
    return [...this.running.keys()];
  }

  /** Ends all threads and waits until they are gone. */
  async destroy(): Promise<void> {
    this.isEnding = true;
    await this.pool.destroy();
    for (const entry of this.running.values()) entry.port.close();
    this.running.clear();
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if ((error as { code?: string }).code === "ERR_WORKER_OUT_OF_MEMORY") return "out of memory (its heap reached the limit)";
  return error.stack ?? error.message;
}
