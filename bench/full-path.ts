// The row that no broker has: JSON telemetry at a fixed rate through decode, statistics and history, and then the question to the HTTP API
// whether every value is there. Ours alone.
import { setTimeout as delay } from "node:timers/promises";
import { type LoadResult, runGenerator } from "./generator.js";
import { addressOf, type Setting } from "./measure.js";
import { penstock } from "./peers/penstock.js";
import type { Target } from "./peers/target.js";

export interface FullPathOptions {
  readonly devices: number;
  readonly rate: number;
  readonly seconds: number;
  readonly qos: number;
}

export interface FullPathResult {
  readonly load: LoadResult;
  readonly options: FullPathOptions;
  readonly rowsWanted: number;
  readonly rowsFound: number;
  /** From the end of sending until the rows were all there. */
  readonly catchUpSeconds: number;
}

/** The two numbers in each payload (bench/load/payload.h). */
const NAMES = ["temperature", "sequence"];
const CATCH_UP_LIMIT_MS = 120_000;
const NO_PROGRESS_MS = 15_000;
const QUERIES_AT_ONCE = 16;

export async function measureFullPath(setting: Setting, options: FullPathOptions): Promise<FullPathResult> {
  const target = await penstock.start(setting.target);
  try {
    const words = ["ingest", "--telemetry", "--publishers", options.devices, "--qos", options.qos, "--rate", options.rate, "--tick-us", 1000, "--seconds", options.seconds, "--warmup", 0];
    const begin = Date.now();
    const { result } = await runGenerator([...words.map(String), ...addressOf(target, false)], { prefix: setting.generatorPrefix, limitMs: options.seconds * 2000 + 120_000 });
    const sent = Date.now();
    const rowsWanted = result.messages * NAMES.length;
    const committed = await waitForRows(target, rowsWanted);
    const rowsFound = await countRows(target, options.devices, begin);
    return { load: result, options, rowsWanted, rowsFound, catchUpSeconds: (committed - sent) / 1000 };
  } finally {
    await target.stop();
  }
}

export function describeFullPath(found: FullPathResult): string {
  const { load, options, rowsWanted, rowsFound, catchUpSeconds } = found;
  const cores = load.target === undefined ? "" : `, ${load.target.cores} cores, ${load.target.cpu_us_per_message.toFixed(2)} us a message, ${Math.round(load.target.resident_end_kb / 1024)} MB resident`;
  const verdict = rowsFound === rowsWanted ? "nothing lost" : `${rowsWanted - rowsFound} rows missing`;
  return [
    `- QoS ${options.qos}, ${options.devices} devices, asked for ${options.rate}/s over ${options.seconds} s: sent ${load.messages} (${load.rate}/s)${cores}`,
    `- rows in history: ${rowsFound} of ${rowsWanted}, ${verdict}, all there ${catchUpSeconds.toFixed(1)} s after the last message; errors ${load.errors}`,
  ].join("\n");
}

/** Waits until the gateway's own count says that as many rows are committed, or no more come; returns when that was. */
async function waitForRows(target: Target, wanted: number): Promise<number> {
  const deadline = Date.now() + CATCH_UP_LIMIT_MS;
  let committed = 0;
  let progressAt = Date.now();
  while (committed < wanted && Date.now() < deadline && Date.now() - progressAt < NO_PROGRESS_MS) {
    await delay(100);
    const metrics = await (await fetch(`${target.api}/metrics`)).text();
    const now = Number(/^penstock_history_rows_total (\d+)/m.exec(metrics)?.[1] ?? 0);
    if (now > committed) progressAt = Date.now();
    committed = now;
  }
  return Date.now();
}

async function countRows(target: Target, devices: number, from: number): Promise<number> {
  const series = Array.from({ length: devices }, (_, device) => NAMES.map((name) => `${device}/${name}`)).flat();
  let next = 0;
  let total = 0;
  const ask = async (): Promise<void> => {
    while (next < series.length) {
      const one = series[next++]!;
      const answer = await fetch(`${target.api}/api/v1/series/${one}?from=${from - 1000}&to=${Date.now() + 60_000}&step=1h`);
      if (answer.status === 404) continue;
      if (!answer.ok) throw new Error(`GET /api/v1/series/${one} was answered with ${answer.status}: ${await answer.text()}`);
      const { points } = (await answer.json()) as { readonly points: readonly { readonly count: number }[] };
      for (const point of points) total += point.count;
    }
  };
  await Promise.all(Array.from({ length: QUERIES_AT_ONCE }, ask));
  return total;
}
