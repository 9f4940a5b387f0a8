// `npm run bench`: the rows, against each peer in turn, so that all share the machine's good and bad moments; one table. See README.md.
import { appendFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { badClientsTable, measureBadClients } from "./bad-clients.js";
import { describeFullPath, measureFullPath } from "./full-path.js";
import { buildGenerator, rootDirectory } from "./generator.js";
import { describeMachine, fileSystemOf, loadAverage } from "./machine.js";
import { measure, measureOn, type Sample, type Setting, traceRow } from "./measure.js";
import { aedes } from "./peers/aedes.js";
import { mosquitto } from "./peers/mosquitto.js";
import { penstock } from "./peers/penstock.js";
import type { Peer, Target } from "./peers/target.js";
import { chooseRows, FULL_SIZES, makeRows, type Row, SMOKE_SIZES } from "./rows.js";
import { callsTable, detailsTable, figuresTable, problemLines, short, type Samples, type Traces } from "./table.js";

const PEERS: readonly Peer[] = [penstock, mosquitto, aedes];

const HELP = `npm run bench -- [options]
  --rows NAMES          rows, separated by commas, or standard, scale, all, tcp, tls, none (standard)
  --peers NAMES         penstock,mosquitto,aedes (those that are there)
  --seconds S           measured time of each run (5)
  --runs N              runs of each row and peer, interleaved; medians are printed (3)
  --smoke               everything, full path and bad clients too, in tiny sizes: does it work
  --full-path           telemetry into history at --rate for --full-path-seconds, and is every value there
  --full-path-seconds S (60)
  --rate N              messages a second of the full path (100000)
  --qos N               its quality of service (0)
  --bad-clients         a healthy client beside each kind of bad one
  --strace              count the system calls of each row too (a second, slower run)
  --pin-generator LIST  cores for the generator, as taskset -c takes them
  --pin-target LIST     cores for the target
  --directory DIR       where the targets' data lie (the system's temporary directory)
  --set 'KEY: VALUE'    a line for the gateway's configuration; may be repeated
  --node ARGUMENT       an argument for the gateway's node, such as --cpu-prof; may be repeated
  --markdown            append everything to bench/RESULTS.md
`;

const { values: options } = parseArgs({
  options: {
    rows: { type: "string" },
    peers: { type: "string" },
    seconds: { type: "string" },
    runs: { type: "string" },
    smoke: { type: "boolean", default: false },
    "full-path": { type: "boolean", default: false },
    "full-path-seconds": { type: "string" },
    rate: { type: "string" },
    qos: { type: "string", default: "0" },
    "bad-clients": { type: "boolean", default: false },
    strace: { type: "boolean", default: false },
    "pin-generator": { type: "string" },
    "pin-target": { type: "string" },
    directory: { type: "string", default: tmpdir() },
    set: { type: "string", multiple: true, default: [] },
    node: { type: "string", multiple: true, default: [] },
    markdown: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const seconds = Number(options.seconds ?? (options.smoke ? 0.3 : 5));
const runs = Number(options.runs ?? (options.smoke ? 1 : 3));
const setting: Setting = {
  target: { directory: options.directory, prefix: pinned(options["pin-target"]), configuration: options.set, nodeArguments: options.node },
  generatorPrefix: pinned(options["pin-generator"]),
  seconds,
  warmup: options.smoke ? 0.1 : 1,
};

function pinned(cores: string | undefined): readonly string[] {
  return cores === undefined ? [] : ["taskset", "-c", cores];
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** The peers asked for; without a wish those that are there, and a word about the others. */
function choosePeers(words: string | undefined): readonly Peer[] {
  const chosen: Peer[] = [];
  for (const name of words?.split(",") ?? PEERS.map((peer) => peer.name)) {
    const peer = PEERS.find((one) => one.name === name);
    if (peer === undefined) throw new Error(`there is no peer ${name}; there are: ${PEERS.map((one) => one.name).join(", ")}`);
    const missing = peer.missing();
    if (missing === "") chosen.push(peer);
    else if (words === undefined) say(`${name} is left out: ${missing}`);
    else throw new Error(`${name} cannot run: ${missing}`);
  }
  return chosen;
}

/** A failure of one run is that run's problem; the others go on. */
async function measureSafely(peer: Peer, row: Row, target?: Target): Promise<Sample> {
  try {
    const measured = await (target === undefined ? measure(peer, row, setting) : measureOn(target, row, setting));
    say(`  ${peer.name} ${measured.version}: ${measured.problem === "" ? `${short(measured.value)} ${row.unit}, ${short(measured.run!.result.rate)}/s` : measured.problem}`);
    return measured;
  } catch (error) {
    const problem = error instanceof Error ? error.message : String(error);
    say(`  ${peer.name}: ${problem}`);
    return { run: undefined, value: Number.NaN, problem };
  }
}

async function measureRows(rows: readonly Row[], peers: readonly Peer[]): Promise<Samples> {
  const samples = new Map(rows.map((row) => [row, new Map(peers.map((peer) => [peer.name, [] as Sample[]]))]));
  if (options.smoke) {
    await measureTogether(rows, peers, samples);
    return samples;
  }
  for (let run = 1; run <= runs; run++) {
    for (const row of rows) {
      say(`run ${run} of ${runs}: ${row.name} (load ${loadAverage()})`);
      for (const peer of peers) samples.get(row)!.get(peer.name)!.push(await measureSafely(peer, row));
    }
  }
  return samples;
}

/** All rows of a peer on one target: quick, but one row's memory and backlog are the next one's. */
async function measureTogether(rows: readonly Row[], peers: readonly Peer[], samples: ReadonlyMap<Row, ReadonlyMap<string, Sample[]>>): Promise<void> {
  for (const peer of peers) {
    const target = await peer.start(setting.target);
    try {
      for (const row of rows) {
        say(row.name);
        samples.get(row)!.get(peer.name)!.push(await measureSafely(peer, row, target));
      }
    } finally {
      await target.stop();
    }
  }
}

async function traceRows(rows: readonly Row[], peers: readonly Peer[]): Promise<Traces> {
  const traces = new Map(rows.map((row) => [row, new Map<string, Awaited<ReturnType<typeof traceRow>>>()]));
  for (const row of rows) {
    for (const peer of peers) {
      say(`strace: ${row.name}, ${peer.name}`);
      try {
        traces.get(row)!.set(peer.name, await traceRow(peer, row, { ...setting, seconds: Math.min(seconds, 2) }));
      } catch (error) {
        say(`  ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
  return traces;
}

async function run(): Promise<number> {
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  buildGenerator();
  mkdirSync(options.directory, { recursive: true });
  if (fileSystemOf(options.directory) === "tmpfs") say(`${options.directory} is on tmpfs, where fdatasync costs nothing: choose a --directory on a disk`);
  const peers = choosePeers(options.peers);
  const names = peers.map((peer) => peer.name);
  const wanted = options.rows ?? (options.smoke ? "standard,scale" : "standard");
  const rows = wanted === "none" ? [] : chooseRows(makeRows(options.smoke ? SMOKE_SIZES : FULL_SIZES, seconds), wanted);
  const command = `npm run bench -- ${process.argv.slice(2).join(" ")}`.trim();
  const sections: string[] = [`## ${new Date().toISOString().slice(0, 16).replace("T", " ")}`, `${describeMachine(options.directory)}\n- \`${command}\``];
  // What a peer does wrong stands in the table; only what the gateway does wrong is a failure, where it takes part.
  const judged = names.includes(penstock.name) ? [penstock.name] : names;
  let problems = 0;

  if (rows.length > 0) {
    const samples = await measureRows(rows, peers);
    const lines = problemLines(samples);
    problems += problemLines(samples, judged).length;
    sections.push(figuresTable(samples, names), detailsTable(samples, names), ...(lines.length > 0 ? [lines.join("\n")] : []));
    if (options.strace) sections.push("System calls per message (or delivery):", callsTable(await traceRows(rows, peers)));
  }
  if (options["full-path"] || (options.smoke && names.includes(penstock.name))) {
    const found = await measureFullPath(setting, {
      devices: options.smoke ? 10 : 1000,
      rate: Number(options.rate ?? (options.smoke ? 1000 : 100_000)),
      seconds: Number(options["full-path-seconds"] ?? (options.smoke ? 1 : 60)),
      qos: Number(options.qos),
    });
    if (found.rowsFound !== found.rowsWanted) problems++;
    sections.push("Full path:", describeFullPath(found));
  }
  if (options["bad-clients"] || options.smoke) {
    const sizes = options.smoke ? { seconds: 1, publishers: 5, rate: 200, scale: 0.02 } : { seconds, publishers: 10, rate: 1000, scale: 1 };
    for (const peer of options.smoke ? peers.filter(({ name }) => judged.includes(name)) : peers) {
      say(`bad clients: ${peer.name}`);
      const results = await measureBadClients(peer, setting, sizes);
      if (judged.includes(peer.name)) problems += results.filter(({ healthy }) => healthy.lost + healthy.duplicates + healthy.errors > 0).length;
      sections.push(badClientsTable(peer.name, results));
    }
  }
  const text = `${sections.join("\n\n")}\n`;
  process.stdout.write(text);
  if (options.markdown) appendFileSync(join(rootDirectory(), "bench", "RESULTS.md"), `\n${text}`);
  return problems === 0 ? 0 : 1;
}

process.exitCode = await run();
