// Runs the scenarios of paho-scenarios.py, which prints a line beginning with `ok` for each that held.
import { execFile } from "node:child_process";

/** The script lies beside the source of this test, not under dist. */
const SCRIPT = new URL("../../../test/e2e/paho-scenarios.py", import.meta.url).pathname;
/** Debian's interpreter: others do not see Debian's packages. */
const PYTHON = "/usr/bin/python3";
export const PAHO_SCENARIO_COUNT = 12;

/** @param args port, then for TLS the CA's file, then for a client certificate its file and its key's. @returns what it printed */
export function runPaho(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(PYTHON, [SCRIPT, ...args], { timeout: 90_000 }, (error, stdout, stderr) => resolve(`${stdout}${stderr}${error === null ? "" : `failed: ${error.message}`}`));
  });
}
