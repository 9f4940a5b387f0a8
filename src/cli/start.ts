// `start`: runs the gateway until a signal, and decides the process's exit code (src/control/exit-codes.ts).
import { systemClock } from "../base/clock.js";
import { ERRORS, StartError } from "../base/errors.js";
import { EXIT, type ExitCode } from "../control/exit-codes.js";
import { Gateway } from "../control/gateway.js";
import { openLog, type MainLog } from "../control/logger.js";
import type { WorkerFiles } from "../control/supervisor.js";
import { packageVersion } from "../control/version.js";
import { loadAllOrExplain } from "./config-commands.js";

const STOP_DEADLINE_MS = 10_000;
/** For ending threads and handles after the deadline; then the process ends whatever they do. */
const END_DEADLINE_MS = 3_000;

const FILES: WorkerFiles = {
  shard: new URL("../../workers/shard.js", import.meta.url),
  store: new URL("../../workers/store.js", import.meta.url),
  lane: new URL("../../workers/lane.js", import.meta.url),
  history: new URL("../../workers/history.js", import.meta.url),
  control: new URL("../../workers/control.js", import.meta.url),
};

/** @returns an exit code when nothing runs, else undefined: the signals end the process */
export async function start(file: string | undefined): Promise<ExitCode | undefined> {
  const loaded = loadAllOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  const log = openLog(loaded.config.log);
  const ending = new Ending(log);
  const gateway: Gateway = new Gateway({
    loaded, log, clock: systemClock, version: packageVersion(), files: FILES,
    print: (text) => console.log(text),
    onStoreLost: (reason) => ending.now(gateway, EXIT.STORE, `${reason}. Nothing can be acknowledged without the store: the process ends, and starts again under a service manager`),
  });
  ending.watchSignals(gateway);
  try {
    await gateway.start();
    return undefined;
  } catch (error) {
    if (ending.hasBegun) return undefined;
    if (!(error instanceof StartError)) throw error;
    log.fatal(`${error.message}. ${ERRORS[error.code].fix}`, { code: error.code });
    await ending.stop(gateway, EXIT.START);
    return EXIT.START;
  }
}

/** How this process ends: once, in order if it can be, by force if not. */
class Ending {
  hasBegun = false;
  private readonly log: MainLog;

  constructor(log: MainLog) {
    this.log = log;
  }

  watchSignals(gateway: Gateway): void {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        if (this.hasBegun) return this.now(gateway, EXIT.FORCED, `${signal} came again: ended without finishing`);
        this.log.info(`${signal}: stopping (again to force)`);
        void this.stop(gateway, EXIT.OK);
      });
    }
    process.on("SIGHUP", () => gateway.reload());
  }

  async stop(gateway: Gateway, code: ExitCode): Promise<void> {
    this.hasBegun = true;
    const last = setTimeout(() => this.now(gateway, EXIT.FORCED, "the stop was not finished in time"), STOP_DEADLINE_MS + END_DEADLINE_MS);
    const startedAt = performance.now();
    const givenUp = await gateway.stop(STOP_DEADLINE_MS);
    clearTimeout(last);
    for (const text of givenUp) this.log.error(`given up: ${text}`);
    this.log.info(`stopped in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`);
    if (givenUp.length === 0) process.exit(code);
    this.endAtOnce(gateway, code === EXIT.OK ? EXIT.FORCED : code);
  }

  now(gateway: Gateway, code: ExitCode, text: string): void {
    this.hasBegun = true;
    this.log.fatal(text);
    this.endAtOnce(gateway, code);
  }

  /** Whatever still hangs in a system call or a query must not keep the process. Log lines are written by now: the log is synchronous. */
  private endAtOnce(gateway: Gateway, code: ExitCode): never {
    gateway.endProcess(code);
    return process.exit(code);
  }
}
