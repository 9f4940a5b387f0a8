// The gateway's log, on standard error: one line a record, for people on a terminal, as JSON otherwise (journald, a container, a file).
// Only main loads this (and pino); workers post their lines to main (base/log.ts).
import { pino } from "pino";
import type { Log, LogFields } from "../base/log.js";
import type { LogLevel } from "../base/messages.js";

export interface MainLog extends Log {
  /** A line that came from a worker. */
  line(level: LogLevel, area: string, text: string, fields?: LogFields): void;
  fatal(text: string, fields?: LogFields): void;
}

export interface LogTarget {
  readonly isTTY?: boolean;
  write(line: string): unknown;
}

/** Opens the log. Lines are written before the call returns: nothing is lost when the process ends. */
export function openLog(level: LogLevel, target: LogTarget = process.stderr): MainLog {
  const isHuman = target.isTTY === true;
  const stream = { write: (line: string): void => void target.write(isHuman ? humanLine(line) : line) };
  const logger = pino({ level, base: null, timestamp: () => `,"time":"${new Date().toISOString()}"`, formatters: { level: (label) => ({ level: label }) } }, stream);
  const line = (lineLevel: LogLevel, area: string, text: string, fields?: LogFields): void => {
    logger[lineLevel]({ area, ...fields }, text);
  };
  const own = (lineLevel: LogLevel) => (text: string, fields?: LogFields) => line(lineLevel, "main", text, fields);
  return {
    isDebug: logger.isLevelEnabled("debug"),
    line, debug: own("debug"), info: own("info"), warn: own("warn"), error: own("error"), fatal: own("fatal"),
  };
}

/** `15:04:05.123 warn  shard 0: text  key=value`, from one of pino's JSON lines. */
export function humanLine(json: string): string {
  const { time, level, area, msg, ...fields } = JSON.parse(json) as { time: string; level: string; area: string; msg: string } & Record<string, unknown>;
  const clock = new Date(time).toTimeString().slice(0, 8) + time.slice(19, 23);
  const rest = Object.entries(fields).map(([name, value]) => `  ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return `${clock} ${level.padEnd(5)} ${area}: ${msg}${rest.join("")}\n`;
}
