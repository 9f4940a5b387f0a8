// Counts the target's system calls during the measured window, by `strace -c -f`.
import { once } from "node:events";
import { Child } from "./child.js";
import type { Gate } from "./generator.js";

/** Calls by name. */
export type SystemCalls = ReadonlyMap<string, number>;

/** The columns of the table, and which calls each sums up. */
export const CALL_GROUPS: readonly (readonly [title: string, names: readonly string[]])[] = [
  ["recv", ["recvfrom", "read", "recvmsg", "readv"]],
  ["send", ["sendto", "write", "sendmsg", "writev"]],
  ["epoll_wait", ["epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"]],
  ["epoll_ctl", ["epoll_ctl"]],
  ["futex", ["futex"]],
  ["fdatasync", ["fdatasync", "fsync"]],
  ["pwrite", ["pwrite64", "pwritev", "pwritev2"]],
];

const ATTACH_LIMIT_MS = 10_000;

/** A gate for the generator that attaches strace where the window begins and takes it away where it ends. */
export function traceWindow(pid: number): { readonly gate: Gate; readonly calls: () => SystemCalls } {
  let child: Child | undefined;
  let output = "";
  const gate: Gate = async (event) => {
    if (event === "window-begins") {
      child = new Child("strace", "strace", ["-c", "-f", "-p", String(pid)]);
      child.process.stderr?.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
      await attached(child);
      return;
    }
    child?.process.kill("SIGINT");
    if ((await child?.ended()) === undefined) throw new Error("strace was never started");
  };
  return { gate, calls: () => parseCounts(output) };
}

async function attached(child: Child): Promise<void> {
  const limit = AbortSignal.timeout(ATTACH_LIMIT_MS);
  while (!child.lastWords.includes("attached")) {
    if (!child.isRunning) throw new Error(`strace could not attach: ${child.lastWords}`);
    await once(child.process.stderr!, "data", { signal: limit });
  }
}

/** Reads the table that `strace -c` prints: per cent, seconds, microseconds a call, calls, errors (may be blank), name. */
export function parseCounts(text: string): SystemCalls {
  const calls = new Map<string, number>();
  for (const line of text.split("\n")) {
    const fields = /^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?([a-z]\w*)$/.exec(line);
    if (fields !== null && fields[2] !== "total") calls.set(fields[2]!, Number(fields[1]));
  }
  return calls;
}
