// Prints what was measured as Markdown tables, which read well on a terminal too.
import type { Row } from "./rows.js";
import type { Sample } from "./measure.js";
import { CALL_GROUPS, type SystemCalls } from "./strace.js";

/** The samples of each row and peer, in the order they were taken. */
export type Samples = ReadonlyMap<Row, ReadonlyMap<string, readonly Sample[]>>;
export type Traces = ReadonlyMap<Row, ReadonlyMap<string, { readonly calls: SystemCalls; readonly count: number }>>;

const OURS = "penstock";
const COMPARED = "mosquitto";

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return Number.NaN;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Three significant digits; NaN is a dash. */
export function short(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return value >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}

/** Columns padded to the same width; the first is aligned left, the rest right. */
export function markdownTable(lines: readonly (readonly string[])[]): string {
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const draw = (line: readonly string[]): string => `| ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join(" | ")} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? "-".repeat(width) : "-".repeat(width - 1) + ":")).join(" | ")} |`;
  return [draw(lines[0]!), rule, ...lines.slice(1).map(draw)].join("\n");
}

/** One line a row: each peer's median [least..most], its rate, and ours / mosquitto of the same run. */
export function figuresTable(samples: Samples, peers: readonly string[]): string {
  const lines = [["row", "unit", ...peers, "goal", ...(hasRatio(peers) ? ["ours/mosquitto"] : [])]];
  for (const [row, ofPeers] of samples) {
    const ours = medianOf(ofPeers.get(OURS));
    const theirs = medianOf(ofPeers.get(COMPARED));
    const cells = peers.map((peer) => cellOf(ofPeers.get(peer) ?? []));
    lines.push([row.title, row.unit, ...cells, row.goal === 0 ? "" : String(row.goal), ...(hasRatio(peers) ? [short(ours / theirs)] : [])]);
  }
  return markdownTable(lines);
}

/** Rates, latencies, memory and the generator's own cost: what is needed to judge the first table. */
export function detailsTable(samples: Samples, peers: readonly string[]): string {
  const lines = [["row", "peer", "messages/s", "cores", "p50 us", "p99 us", "p99.9 us", "max us", "resident MB", "generator us/message"]];
  for (const [row, ofPeers] of samples) {
    for (const peer of peers) {
      const results = (ofPeers.get(peer) ?? []).flatMap((sample) => (sample.run === undefined ? [] : [sample.run.result]));
      if (results.length === 0) continue;
      const of = (value: (result: (typeof results)[number]) => number): string => short(median(results.map(value)));
      const latency = (pick: "p50" | "p99" | "p999" | "max"): string => of((result) => (result.deliver_us.count > 0 ? result.deliver_us[pick] : result.acknowledge_us.count > 0 ? result.acknowledge_us[pick] : Number.NaN));
      lines.push([
        row.name,
        peer,
        of((result) => result.rate),
        of((result) => result.target?.cores ?? Number.NaN),
        latency("p50"),
        latency("p99"),
        latency("p999"),
        latency("max"),
        of((result) => (result.target?.resident_end_kb ?? Number.NaN) / 1024),
        of((result) => result.own_cpu_us_per_message),
      ]);
    }
  }
  return markdownTable(lines);
}

/** System calls per message of each row and peer. */
export function callsTable(traces: Traces): string {
  const lines = [["row", "peer", ...CALL_GROUPS.map(([title]) => title), "all"]];
  for (const [row, ofPeers] of traces) {
    for (const [peer, { calls, count }] of ofPeers) {
      const sum = (names: Iterable<string>): string => {
        let total = 0;
        for (const name of names) total += calls.get(name) ?? 0;
        return (total / Math.max(1, count)).toFixed(3);
      };
      lines.push([row.name, peer, ...CALL_GROUPS.map(([, names]) => sum(names)), sum(calls.keys())]);
    }
  }
  return markdownTable(lines);
}

/** Why figures are missing, a line each; empty when none are. Of the given peers only, when there are some given. */
export function problemLines(samples: Samples, peers?: readonly string[]): readonly string[] {
  const lines: string[] = [];
  for (const [row, ofPeers] of samples) {
    for (const [peer, taken] of ofPeers) {
      if (peers !== undefined && !peers.includes(peer)) continue;
      for (const { problem } of taken) if (problem !== "") lines.push(`- ${row.name}, ${peer}: ${problem}`);
    }
  }
  return [...new Set(lines)];
}

function hasRatio(peers: readonly string[]): boolean {
  return peers.includes(OURS) && peers.includes(COMPARED);
}

function medianOf(taken: readonly Sample[] | undefined): number {
  return median((taken ?? []).filter((sample) => sample.problem === "").map((sample) => sample.value));
}

function cellOf(taken: readonly Sample[]): string {
  const values = taken.filter((sample) => sample.problem === "").map((sample) => sample.value);
  if (values.length === 0) return taken.length === 0 ? "" : "failed";
  const spread = values.length > 1 ? ` [${short(Math.min(...values))}..${short(Math.max(...values))}]` : "";
  return short(median(values)) + spread;
}
