// Logging as seen by all threads: workers send lines to main, which writes them with pino (control/logger.ts). Never on the hot path.
import type { MessagePort } from "node:worker_threads";
import type { LogLevel, ToMain } from "./messages.js";

export type LogFields = Readonly<Record<string, unknown>>;

export interface Log {
  readonly isDebug: boolean;
  debug(text: string, fields?: LogFields): void;
  info(text: string, fields?: LogFields): void;
  warn(text: string, fields?: LogFields): void;
  error(text: string, fields?: LogFields): void;
}

const ORDER: readonly LogLevel[] = ["trace", "debug", "info", "warn", "error", "fatal"];

/** A log that posts its lines to main. @param area what speaks, e.g. `shard 0` */
export function portLog(port: MessagePort, area: string, level: LogLevel): Log {
  const least = ORDER.indexOf(level);
  const post = (lineLevel: LogLevel) => (text: string, fields?: LogFields): void => {
    if (ORDER.indexOf(lineLevel) < least) return;
    const message: ToMain = fields === undefined ? { type: "log", level: lineLevel, area, text } : { type: "log", level: lineLevel, area, text, fields };
    port.postMessage(message);
  };
  return { isDebug: least <= 1, debug: post("debug"), info: post("info"), warn: post("warn"), error: post("error") };
}

/** Lets through `burst` lines per `intervalMs` and counts the rest: for lines that a peer can provoke. */
export class RateLimit {
  private windowStart = Number.NEGATIVE_INFINITY;
  private used = 0;
  /** Lines held back since the last one that was let through. */
  suppressed = 0;
  private readonly burst: number;
  private readonly intervalMs: number;

  constructor(burst: number, intervalMs: number) {
    this.burst = burst;
    this.intervalMs = intervalMs;
  }

  /** @param now monotonic milliseconds */
  allows(now: number): boolean {
    if (now - this.windowStart >= this.intervalMs) {
      this.windowStart = now;
      this.used = 0;
    }
    if (this.used < this.burst) {
      this.used++;
      return true;
    }
    this.suppressed++;
    return false;
  }
}
