// One row, one peer, once: a fresh target, the generator beside it, its answer.
import { runGenerator, type LoadRun } from "./generator.js";
import type { Peer, Target, TargetOptions } from "./peers/target.js";
import type { Row } from "./rows.js";
import { traceWindow, type SystemCalls } from "./strace.js";

export interface Setting {
  readonly target: TargetOptions;
  /** Command before the generator, such as `taskset -c 0`. */
  readonly generatorPrefix: readonly string[];
  readonly seconds: number;
  /** Before it, for the rows that want a warm-up. */
  readonly warmup: number;
}

/** What one run of one row gave; `problem` says in words why its figure does not count. */
export interface Sample {
  readonly run: LoadRun | undefined;
  readonly value: number;
  readonly problem: string;
}

export interface Measured extends Sample {
  readonly version: string;
}

/** The generator's arguments that name the target. */
export function addressOf(target: Target, isTls: boolean, isWebSocket = false): readonly string[] {
  if (isWebSocket && target.wsPort === 0) throw new Error(`${target.name} is not measured over WebSocket`);
  if (isWebSocket) return ["--port", String(target.wsPort), "--websocket", "--target-pid", String(target.pid)];
  const tls = isTls ? ["--tls", "--cafile", target.caFile] : [];
  return ["--port", String(isTls ? target.tlsPort : target.port), ...tls, "--target-pid", String(target.pid)];
}

/** One row against a target of its own. */
export async function measure(peer: Peer, row: Row, setting: Setting): Promise<Measured> {
  const target = await peer.start(targetFor(row, setting));
  try {
    return await measureOn(target, row, setting);
  } finally {
    await target.stop();
  }
}

/** One row against a target that is there. */
export async function measureOn(target: Target, row: Row, setting: Setting): Promise<Measured> {
  const run = await runGenerator(wordsOf(row, target, setting), { prefix: setting.generatorPrefix });
  return { run, value: row.value(run.result), problem: problemOf(run), version: target.version };
}

/** The same with strace on the target: how many system calls a message takes. Its times mean nothing. */
export async function traceRow(peer: Peer, row: Row, setting: Setting): Promise<{ readonly calls: SystemCalls; readonly count: number }> {
  const target = await peer.start(targetFor(row, setting));
  try {
    const tracer = traceWindow(target.pid);
    const { result } = await runGenerator(wordsOf(row, target, setting), { prefix: setting.generatorPrefix, gate: tracer.gate });
    return { calls: tracer.calls(), count: row.unit === "us/delivery" ? result.deliveries : result.messages };
  } finally {
    await target.stop();
  }
}

function targetFor(row: Row, { target }: Setting): TargetOptions {
  return { ...target, configuration: [...target.configuration, ...row.configuration] };
}

function wordsOf(row: Row, target: Target, { seconds, warmup }: Setting): readonly string[] {
  return [...row.arguments, ...addressOf(target, row.isTls, row.isWebSocket), "--seconds", String(row.seconds ?? seconds), "--warmup", String(row.hasWarmup ? warmup : 0)];
}

function problemOf(run: LoadRun): string {
  if (run.exitCode === 0) return "";
  const { errors, lost, duplicates, reason } = run.result;
  const counts = [`${errors} errors`, `${lost} lost`, `${duplicates} duplicates`].filter((count) => !count.startsWith("0 "));
  return `${counts.join(", ")}${reason === "" ? "" : ` (${reason})`}`;
}
