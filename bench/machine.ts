// Says on which machine, from which commit and by which command figures were taken.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, release, totalmem } from "node:os";
import { rootDirectory } from "./generator.js";

/** Lines of Markdown for bench/RESULTS.md. `disk` is the directory the targets' data lay in. */
export function describeMachine(disk: string): string {
  const memory = Math.round(totalmem() / 2 ** 30);
  return [
    `- machine: ${cpus()[0]?.model.trim() ?? "unknown"}, ${availableParallelism()} cores, ${memory} GB, kernel ${release()}`,
    `- data on: ${fileSystemOf(disk)}`,
    `- node ${process.version}, commit ${commit()}`,
  ].join("\n");
}

/** The type of the file system: on tmpfs an fdatasync costs nothing, and the figures of QoS 1 mean nothing. */
export function fileSystemOf(directory: string): string {
  return capture("stat", ["-f", "-c", "%T", directory]);
}

function commit(): string {
  const id = capture("git", ["-C", rootDirectory(), "rev-parse", "--short=12", "HEAD"]);
  const isChanged = capture("git", ["-C", rootDirectory(), "status", "--porcelain", "--untracked-files=no"]) !== "";
  return isChanged ? `${id} with changes` : id;
}

/** The load of the last minute: others' work on the machine spoils figures. */
export function loadAverage(): string {
  return readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).join(" ");
}

function capture(command: string, words: readonly string[]): string {
  try {
    return execFileSync(command, words, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return "unknown"; // no git, or not a clone
  }
}
