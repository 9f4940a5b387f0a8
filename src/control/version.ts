// The version that runs, for the greeting, the command line and /metrics.
import { readFileSync } from "node:fs";

/** Of package.json, beside `dist`. */
export function packageVersion(): string {
  return (JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string }).version;
}
