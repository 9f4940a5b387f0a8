// A healthy client beside each kind of bad one: it has to lose nothing, and its p99 has to stay within five times of what it is alone.
import { spawnSync } from "node:child_process";
import { type LoadResult, runGenerator } from "./generator.js";
import { addressOf, type Setting } from "./measure.js";
import type { Peer, Target } from "./peers/target.js";
import { markdownTable, short } from "./table.js";

export interface BadClientResult {
  readonly name: string;
  readonly healthy: LoadResult;
  /** What the bad client itself counted; absent for the baseline. */
  readonly bad?: LoadResult;
}

interface BadClient {
  readonly name: string;
  readonly words: string;
}

export interface BadClientSizes {
  readonly seconds: number;
  readonly publishers: number;
  readonly rate: number;
  /** Scales connections and messages of the bad clients. */
  readonly scale: number;
}

function badClients({ scale }: BadClientSizes): readonly BadClient[] {
  const scaled = (count: number): number => Math.max(1, Math.round(count * scale));
  return [
    { name: `flood, ${scaled(20)} connections, QoS 0 pipelined`, words: `ingest --publishers ${scaled(20)} --pipeline 100 --lossy --warmup 0` },
    { name: `never reads, ${scaled(20)} subscribers`, words: `never-read --connections ${scaled(20)} --rate ${scaled(5000)} --payload 1000` },
    { name: `slow loris, ${scaled(200)} connections`, words: `slow-loris --connections ${scaled(200)}` },
    { name: `${scaled(10_000)} connects and resets`, words: `reset --count ${scaled(10_000)} --warmup 0` },
    { name: "blocking I/O, QoS 0 to itself", words: `blocking --count ${scaled(20_000)} --lossy --warmup 0` },
    { name: "blocking I/O, QoS 1 to itself", words: `blocking --count ${scaled(20_000)} --qos 1 --lossy --warmup 0` },
  ];
}

/** The baseline first, then one result for each bad client, all against one running target. */
export async function measureBadClients(peer: Peer, setting: Setting, sizes: BadClientSizes): Promise<readonly BadClientResult[]> {
  const target = await peer.start(setting.target);
  try {
    const results: BadClientResult[] = [{ name: "alone", healthy: await runHealthy(target, setting, sizes) }];
    for (const { name, words } of badClients(sizes)) {
      // It starts with the healthy client's warm-up and ends no earlier than its window.
      const bad = runGenerator([...words.split(" "), "--port", String(target.port), "--client", "bad", "--topic", "bad", "--seconds", String(sizes.seconds + 2)], { prefix: setting.generatorPrefix });
      const [healthy, { result }] = await Promise.all([runHealthy(target, setting, sizes), bad]);
      results.push({ name, healthy, bad: result });
    }
    return results;
  } finally {
    await target.stop();
  }
}

/**
 * Before the healthy client's command: on a machine of two cores the flood, the target and the healthy client have less than a core each, and what
 * is to be measured is how long the target makes it wait, not how long the scheduler does. Empty where it is not allowed (it takes root or CAP_SYS_NICE).
 */
export function realTimePrefix(): readonly string[] {
  const command = ["chrt", "--fifo", "10"];
  return spawnSync(command[0]!, [...command.slice(1), "true"], { stdio: "ignore" }).status === 0 ? command : [];
}

async function runHealthy(target: Target, setting: Setting, { publishers, rate, seconds }: BadClientSizes): Promise<LoadResult> {
  const words = ["pairs", "--publishers", publishers, "--rate", rate, "--qos", 1, "--client", "healthy", "--topic", "healthy", "--seconds", seconds, "--warmup", 1].map(String);
  return (await runGenerator([...words, ...addressOf(target, false)], { prefix: [...realTimePrefix(), ...setting.generatorPrefix] })).result;
}

export function badClientsTable(peer: string, results: readonly BadClientResult[]): string {
  const baseline = results[0]!.healthy.deliver_us.p99;
  const lines = [[`${peer}: beside it`, "p50 us", "p99 us", "x alone", "lost", "errors", "resident MB", "bad client: messages", "refused", "errors"]];
  for (const { name, healthy, bad } of results) {
    const { p50, p99 } = healthy.deliver_us;
    const memory = short((healthy.target?.resident_end_kb ?? Number.NaN) / 1024);
    const ofBad = bad === undefined ? ["", "", ""] : [String(bad.messages), String(bad.refused), bad.reason === "" ? String(bad.errors) : `${bad.errors} (${bad.reason})`];
    lines.push([name, short(p50), short(p99), short(p99 / baseline), String(healthy.lost), String(healthy.errors), memory, ...ofBad]);
  }
  const priority = realTimePrefix().length > 0 ? "The healthy client has real-time priority." : "The healthy client competes with the bad ones for the processor: it may not have real-time priority here.";
  return `${markdownTable(lines)}\n\n${priority}`;
}
