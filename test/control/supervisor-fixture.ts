// A supervisor over fake workers, with what it logs and what they report.
import { availableParallelism } from "node:os";
import type { LogFields } from "../../src/base/log.js";
import type { LogLevel } from "../../src/base/messages.js";
import { systemClock, type Clock } from "../../src/base/clock.js";
import { createArena, type Arena } from "../../src/control/arena.js";
import { loadConfig } from "../../src/control/config/config.js";
import type { MainLog } from "../../src/control/logger.js";
import { DEFAULT_DEADLINES, Supervisor, type Deadlines } from "../../src/control/supervisor.js";

const FAKE = new URL("./workers/fake-worker.js", import.meta.url);
const CONTROL = new URL("./workers/fake-control.js", import.meta.url);
const WAIT_MS = 20_000;

export interface Line {
  readonly level: LogLevel;
  readonly area: string;
  readonly text: string;
  readonly fields: LogFields;
}

/** Collects log lines and lets tests wait for one. */
export class Lines {
  readonly all: Line[] = [];
  private readonly waiters = new Set<() => void>();
  readonly log: MainLog;

  constructor() {
    const add = (level: LogLevel, area: string, text: string, fields: LogFields = {}): void => {
      this.all.push({ level, area, text, fields });
      for (const check of this.waiters) check();
    };
    const own = (level: LogLevel) => (text: string, fields?: LogFields) => add(level, "main", text, fields);
    this.log = { isDebug: true, line: add, debug: own("debug"), info: own("info"), warn: own("warn"), error: own("error"), fatal: own("fatal") };
  }

  /** Resolves with the first line from index `from` on that `fits`. */
  async find(what: string, fits: (line: Line) => boolean, from = 0): Promise<Line> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.waiters.delete(check);
        reject(new Error(`no line says ${what}; there are:\n${this.all.map((line) => `${line.level} ${line.area}: ${line.text} ${JSON.stringify(line.fields)}`).join("\n")}`));
      }, WAIT_MS);
      const check = (): void => {
        const line = this.all.slice(from).find(fits);
        if (line === undefined) return;
        clearTimeout(timer);
        this.waiters.delete(check);
        resolve(line);
      };
      this.waiters.add(check);
      check();
    });
  }

  /** Resolves with the start data of the next start of a fake worker, from line `from` on. */
  started(role: string, index = 0, from = 0): Promise<Line> {
    return this.find(`${role} ${String(index)} started`, (line) => line.text === "started" && line.fields["role"] === role && (line.fields["shard"] ?? line.fields["lane"] ?? 0) === index, from);
  }
}

/** A clock that stands unless the test moves it. */
export class StillClock implements Clock {
  now = 1_000_000;
  readonly wall = (): number => 1_700_000_000_000 + this.now;
  readonly monotonic = (): number => this.now;
}

export interface Fixture {
  readonly supervisor: Supervisor;
  readonly arena: Arena;
  readonly lines: Lines;
  readonly lost: string[];
  /** The supervisor looks at each when it begins to wait for something: a test makes one short for what shall fail, and long again. */
  readonly deadlines: { -readonly [K in keyof Deadlines]: Deadlines[K] };
}

export function makeSupervisor(options: { shards?: number; lanes?: number; history?: "duckdb" | "off"; deadlines?: Partial<Deadlines>; clock?: Clock } = {}): Fixture {
  const environment = {
    PENSTOCK_SHARDS: String(options.shards ?? 2), PENSTOCK_LANES: String(options.lanes ?? 2), PENSTOCK_HISTORY_ENGINE: options.history ?? "duckdb",
    PENSTOCK_LISTENERS_ADMIN_PORT: "0", PENSTOCK_LOG: "debug",
  };
  const { config } = loadConfig({ environment, workingDirectory: "/nowhere", cores: availableParallelism() });
  const arena = createArena(config.shards, config.lanes, config.mqtt.packet_size_max);
  const lines = new Lines();
  const lost: string[] = [];
  const deadlines = { ...DEFAULT_DEADLINES, ...options.deadlines };
  const supervisor = new Supervisor({
    context: { config, arena, access: null, trusts: new Map(), listeners: [{ name: "mqtt", isTls: false, protocol: "mqtt", identity: "none" }] },
    files: { shard: FAKE, store: FAKE, lane: FAKE, history: FAKE, control: CONTROL },
    log: lines.log, clock: options.clock ?? systemClock, version: "0.0.0-test", deadlines,
    // The test runner's loader would make each thread a second slower; small heaps fill quickly.
    execArgv: [], limits: () => ({ maxOldGenerationSizeMb: 48 }),
    onStoreLost: (reason) => lost.push(reason),
  });
  return { supervisor, arena, lines, lost, deadlines };
}

/** The admin API's address once the supervisor has started. */
export function apiUrl(supervisor: Supervisor): string {
  const state = supervisor.adminListeners[0];
  if (state === undefined || !("url" in state)) throw new Error(`the admin API does not listen: ${JSON.stringify(state)}`);
  return state.url;
}
