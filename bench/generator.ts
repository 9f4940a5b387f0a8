// The load generator (bench/load, C++): built on first use, run with arguments, its one JSON line read.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Child } from "./child.js";

export interface Latency {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** What the generator prints; see bench/load/result.h. Latencies in microseconds. */
export interface LoadResult {
  readonly event: "result";
  readonly mode: string;
  readonly messages: number;
  readonly deliveries: number;
  readonly acknowledged: number;
  readonly seconds: number;
  readonly rate: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly errors: number;
  readonly refused: number;
  readonly resumed: number;
  readonly reason: string;
  readonly own_cpu_us_per_message: number;
  readonly deliver_us: Latency;
  readonly acknowledge_us: Latency;
  readonly target?: {
    readonly cpu_us: number;
    readonly user_us: number;
    readonly cpu_us_per_message: number;
    readonly cpu_us_per_delivery: number;
    readonly cores: number;
    readonly resident_start_kb: number;
    readonly resident_ready_kb: number;
    readonly resident_end_kb: number;
  };
}

export interface LoadRun {
  readonly result: LoadResult;
  readonly exitCode: number;
}

/** The two moments at which a gated generator waits for the harness. */
export type Gate = (event: "window-begins" | "window-ended") => Promise<void>;

/** The repository's root, from the built file's place (dist/bench) or the source's (bench). */
export function rootDirectory(): string {
  let directory = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(directory, "package.json"))) directory = dirname(directory);
  return directory;
}

/** Builds the generator when it is missing or older than its sources; returns its path. */
export function buildGenerator(): string {
  const directory = join(rootDirectory(), "bench", "load");
  try {
    // Under a lock: two that build at once would run a program that the other is still writing.
    mkdirSync(join(rootDirectory(), "bench", "build"), { recursive: true });
    execFileSync("flock", [join(rootDirectory(), "bench", "build", "lock"), "make", "-s", "-j4", "-C", directory], { stdio: ["ignore", "pipe", "pipe"] });
  } catch (error) {
    const words = error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
    throw new Error(`the load generator could not be built; it needs make, g++ and libssl-dev:\n${words}`, { cause: error });
  }
  return join(rootDirectory(), "bench", "build", "load");
}

/**
 * Runs the generator to its end.
 *
 * @param prefix  command before it, such as `taskset -c 0`
 * @param gate    when given, the generator runs with --gate and waits for it at both ends of the window
 * @throws Error when it printed no result within the time limit
 */
export async function runGenerator(args: readonly string[], options: { readonly prefix?: readonly string[]; readonly gate?: Gate; readonly limitMs?: number } = {}): Promise<LoadRun> {
  const words = [...(options.prefix ?? []), buildGenerator(), ...args, ...(options.gate === undefined ? [] : ["--gate"])];
  const child = new Child("the load generator", words[0]!, words.slice(1));
  const limit = setTimeout(() => void child.stop(), options.limitMs ?? 300_000);
  let result: LoadResult | undefined;
  const lines = createInterface({ input: child.process.stdout! });
  try {
    for await (const line of lines) {
      const message = JSON.parse(line) as LoadResult | { readonly event: "window-begins" | "window-ended" };
      if (message.event === "result") {
        result = message;
      } else {
        await options.gate?.(message.event);
        child.process.stdin?.write("\n");
      }
    }
    const exitCode = await child.ended();
    if (result === undefined) throw new Error(`the load generator printed no result (exit code ${exitCode}, ${args.join(" ")}):\n${child.lastWords}`);
    return { result, exitCode };
  } finally {
    clearTimeout(limit);
    await child.stop();
  }
}
