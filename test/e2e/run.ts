// Runs a program of a user's to its end: mosquitto's clients, the gateway's own command line.
import { execFile } from "node:child_process";

export interface Outcome {
  /** Exit code; -1 when it was killed for taking longer than `TIMEOUT_MS`, or could not be started. */
  readonly code: number;
  /** What it printed, stdout before stderr. */
  readonly output: string;
}

const TIMEOUT_MS = 40_000;
const MAIN = new URL("../../main.js", import.meta.url).pathname;

export function run(program: string, args: readonly string[]): Promise<Outcome> {
  return new Promise((resolve) => {
    execFile(program, args, { timeout: TIMEOUT_MS }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === "number" ? error.code : -1, output: `${stdout}${stderr}` });
    });
  });
}

/** A command of the gateway's. */
export function penstock(configFile: string, ...args: readonly string[]): Promise<Outcome> {
  return run(process.execPath, [MAIN, "--config", configFile, ...args]);
}
