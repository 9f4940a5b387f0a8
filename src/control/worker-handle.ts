// One worker thread as main sees it: the thread, main's end of its port, whether it is ready, and the one report of its end.
import { MessageChannel, Worker, type MessagePort, type ResourceLimits, type Transferable } from "node:worker_threads";

/** What a worker may post; narrower types are the caller's. */
export interface AnyMessage {
  readonly type: string;
}

export interface ThreadOptions {
  readonly resourceLimits: ResourceLimits;
  readonly execArgv?: readonly string[];
}

export interface WorkerHandleOptions<In extends AnyMessage> extends ThreadOptions {
  /** For people, e.g. `shard 0`. */
  readonly name: string;
  readonly file: URL;
  /** Makes the start data around the worker's end of the port. */
  readonly startData: (main: MessagePort) => { readonly start: object; readonly transfer: readonly Transferable[] };
  readonly onMessage: (message: In) => void;
  /** Called once, when the thread is gone. */
  readonly onEnd: (reason: string) => void;
}

/**
 * Runs one worker. Its messages come in order; `ready` settles once, and the end is reported once, after the thread is really gone:
 * whatever it wrote to is free for a successor then.
 */
export class WorkerHandle<In extends AnyMessage, Out extends AnyMessage> {
  readonly name: string;
  /** Resolves when the worker says `ready`; rejects when it ends before. */
  readonly ready: Promise<void>;
  isReady = false;
  hasEnded = false;
  private readonly worker: Worker;
  private readonly port: MessagePort;
  private readonly waiters = new Map<string, () => void>();
  private reason: string | undefined;

  constructor(options: WorkerHandleOptions<In>) {
    this.name = options.name;
    const { port1, port2 } = new MessageChannel();
    const { start, transfer } = options.startData(port2);
    this.port = port1;
    this.worker = new Worker(options.file, { workerData: start, transferList: [port2, ...transfer], name: options.name, ...threadOptions(options) });
    let settle: { resolve: () => void; reject: (error: Error) => void };
    this.ready = new Promise((resolve, reject) => (settle = { resolve, reject }));
    // The rejection is also told by `onEnd`; whoever does not await `ready` must not be ended by it.
    this.ready.catch(() => undefined);
    this.port.on("message", (message: In) => {
      if (message.type === "failed") this.reason = String((message as { text?: unknown }).text);
      if (message.type === "ready") this.isReady = true;
      options.onMessage(message);
      if (message.type === "ready") settle.resolve();
      this.waiters.get(message.type)?.();
    });
    this.worker.on("error", (error: Error & { code?: string }) => {
      this.reason ??= error.code === "ERR_WORKER_OUT_OF_MEMORY" ? "out of memory (its heap reached the limit)" : (error.stack ?? String(error));
    });
    this.worker.on("exit", (code) => {
      this.hasEnded = true;
      this.isReady = false;
      this.port.close();
      if (code !== 0) this.reason ??= `it ended with code ${String(code)}`;
      const reason = this.reason ?? "it ended by itself";
      settle.reject(new Error(`${this.name} ended before it was ready: ${reason}`));
      for (const done of this.waiters.values()) done();
      options.onEnd(reason);
    });
  }

  post(message: Out, transfer: readonly Transferable[] = []): void {
    if (!this.hasEnded) this.port.postMessage(message, transfer);
  }

  /** Resolves true when the worker says `type`, or ends without a fault; false when it dies or `deadlineMs` is over first. */
  async says(type: In["type"], deadlineMs: number): Promise<boolean> {
    if (this.hasEnded) return this.reason === undefined;
    const isDone = await within(deadlineMs, (done) => {
      this.waiters.set(type, done);
      return () => this.waiters.delete(type);
    });
    return isDone && this.reason === undefined;
  }

  /** Resolves true when the worker is ready in time; on false it has ended, or is still busy. */
  async isReadyWithin(deadlineMs: number): Promise<boolean> {
    await within(deadlineMs, (done) => {
      this.ready.then(done, done);
      return () => undefined;
    });
    return this.isReady;
  }

  /** Ends the thread at its next instruction of JavaScript. Never the store, inside a write (base/messages.ts `stop`). */
  async terminate(reason: string): Promise<void> {
    this.reason ??= reason;
    await this.worker.terminate();
  }
}

/** As Node.js and Piscina take them. */
export function threadOptions(options: ThreadOptions): { resourceLimits: ResourceLimits; execArgv?: string[] } {
  return { resourceLimits: { ...options.resourceLimits }, ...(options.execArgv === undefined ? {} : { execArgv: [...options.execArgv] }) };
}

/** Resolves true when `subscribe`'s callback is called, false after `deadlineMs`. */
export function within(deadlineMs: number, subscribe: (done: () => void) => () => unknown): Promise<boolean> {
  return new Promise((resolve) => {
    const finish = (isDone: boolean): void => {
      clearTimeout(timer);
      unsubscribe();
      resolve(isDone);
    };
    const timer = setTimeout(() => finish(false), Math.max(0, deadlineMs));
    const unsubscribe = subscribe(() => finish(true));
  });
}
