// What the harness measures: a broker in a process of its own, on free ports of 127.0.0.1, with data in a directory of its own.
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Child, waitForPort } from "../child.js";

export interface Target {
  readonly name: string;
  readonly version: string;
  readonly pid: number;
  readonly port: number;
  readonly tlsPort: number;
  /** MQTT over WebSocket; 0 for those without. */
  readonly wsPort: number;
  readonly caFile: string;
  /** Base address of the HTTP API; empty for those without. */
  readonly api: string;
  /** Ends it and removes its files. Throws with its last words when it had died on its own. */
  stop(): Promise<void>;
}

export interface TargetOptions {
  /** Where its data directory is made: on a real disk, or fdatasync would cost nothing. */
  readonly directory: string;
  /** Command before it, such as `taskset -c 1`. */
  readonly prefix: readonly string[];
  /** More keys for the gateway's configuration, as `key: value` lines. */
  readonly configuration: readonly string[];
  /** Arguments for node itself, such as `--cpu-prof`. */
  readonly nodeArguments: readonly string[];
}

export interface Peer {
  readonly name: string;
  /** What keeps it from running here, in words; empty when nothing does. */
  missing(): string;
  start(options: TargetOptions): Promise<Target>;
}

/** The parts of a target that all peers make the same way. */
export async function startTarget(
  parts: Omit<Target, "pid" | "stop">,
  command: readonly string[],
  options: { readonly prefix: readonly string[]; readonly directory: string; readonly environment?: NodeJS.ProcessEnv },
): Promise<Target> {
  const words = [...options.prefix, ...command];
  const child = new Child(parts.name, words[0]!, words.slice(1), { cwd: options.directory, ...(options.environment === undefined ? {} : { environment: options.environment }) });
  const stop = async (): Promise<void> => {
    const hadEnded = !child.isRunning;
    await child.stop();
    rmSync(options.directory, { recursive: true, force: true });
    if (hadEnded) throw new Error(`${parts.name} ended while it was measured:\n${child.lastWords}`);
  };
  try {
    await waitForPort(child, parts.port);
    await waitForPort(child, parts.tlsPort);
    if (parts.wsPort !== 0) await waitForPort(child, parts.wsPort);
  } catch (error) {
    await child.stop();
    rmSync(options.directory, { recursive: true, force: true });
    throw error;
  }
  return { ...parts, pid: child.pid, stop };
}

export function makeDirectory(parent: string, name: string): string {
  return mkdtempSync(join(parent, `penstock-bench-${name}-`));
}
