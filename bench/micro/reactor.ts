// The reactor alone, under bench/load: us of CPU per message of a process with the front and one shard that only acknowledges, and how many
// receives, sends, epoll_ctl and JavaScript calls a message takes. With --strace the calls are also counted by the kernel (and cost time).
// Run: make -C bench/load && node dist/bench/micro/reactor.js [--strace] [--seconds 5] [--row part-of-a-name]
import { once } from "node:events";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import { native } from "../../src/reactor/reactor.js";
import { FRONT_COUNTER_COUNT, REACTOR_COUNTER, REACTOR_COUNTER_COUNT } from "../../src/ring/layout.js";
import { ringSize } from "../../src/ring/ring.js";
import { runGenerator } from "../generator.js";
import { CALL_GROUPS, traceWindow } from "../strace.js";
import type { WorkerStart } from "./reactor-worker.js";

const { values } = parseArgs({ options: { strace: { type: "boolean", default: false }, seconds: { type: "string", default: "5" }, row: { type: "string", default: "" } } });
const CAPACITY = 4 * 1024 * 1024;
const ROWS: readonly (readonly [name: string, args: readonly string[]])[] = [
  ["QoS 0, 1000 connections", ["--qos", "0", "--publishers", "1000"]],
  ["QoS 0, 1000 connections, 20,000/s", ["--qos", "0", "--publishers", "1000", "--rate", "20000"]],
  ["QoS 0, 1000 connections, 50,000/s", ["--qos", "0", "--publishers", "1000", "--rate", "50000"]],
  ["QoS 0, 100 x 20 pipelined", ["--qos", "0", "--publishers", "100", "--pipeline", "20"]],
  ["QoS 1, 1000 connections", ["--qos", "1", "--publishers", "1000"]],
  ["QoS 1, 10 connections", ["--qos", "1", "--publishers", "10"]],
  ["QoS 1, 1000/s", ["--qos", "1", "--publishers", "100", "--rate", "1000"]],
];

async function run(wake: "latency" | "throughput"): Promise<void> {
  const buffer = new SharedArrayBuffer(ringSize(CAPACITY) + CAPACITY);
  const counters = new SharedArrayBuffer(REACTOR_COUNTER_COUNT * 8);
  const start: WorkerStart = { inbound: { buffer, byteOffset: 0, capacity: CAPACITY }, commands: { byteOffset: ringSize(CAPACITY), size: CAPACITY }, counters, wake };
  const worker = new Worker(new URL("./reactor-worker.js", import.meta.url), { workerData: start });
  await once(worker, "message");
  const front = native().createFront({
    listeners: [{ name: "mqtt", host: "127.0.0.1", port: 0, protocol: "mqtt" }],
    shards: 1,
    counters: new Float64Array(new SharedArrayBuffer(FRONT_COUNTER_COUNT * 8)),
    handshakeDeadlineMs: 10_000,
    firstFrameDeadlineMs: 10_000,
    pendingMax: 10_000,
    perAddressMax: 20_000,
    connectionsMax: 20_000,
    firstFrameSizeMax: 65_536,
    onRefused: () => undefined,
  });
  front.start();
  const state = front.listeners[0]!;
  if (!("port" in state)) throw new Error(state.error);
  const count = new Float64Array(counters);
  for (const [name, args] of ROWS) {
    const before = Float64Array.from(count);
    if (!name.includes(values.row)) continue;
    const trace = values.strace ? traceWindow(process.pid) : undefined;
    const { result } = await runGenerator(["ingest", "--port", String(state.port), "--seconds", values.seconds, "--target-pid", String(process.pid), ...args], trace === undefined ? {} : { gate: trace.gate });
    // The counters hold the warm-up too; ratios to frames are what is looked at.
    const of = (counter: keyof typeof REACTOR_COUNTER): number => count[REACTOR_COUNTER[counter]]! - before[REACTOR_COUNTER[counter]]!;
    const frames = of("FRAMES_IN");
    const per = (value: number): string => (value / frames).toFixed(3);
    const latency = result.acknowledge_us.count > 0 ? `, acknowledged after ${result.acknowledge_us.p50} us, p99 ${result.acknowledge_us.p99}` : "";
    console.log(
      `${wake.padEnd(10)} ${name.padEnd(34)} ${(result.target?.cpu_us_per_message ?? 0).toFixed(2)} us, ${Math.round(result.rate)}/s; recv ${per(of("RECV_CALLS"))} and send ${per(of("SEND_CALLS"))} a frame, ` +
        `${(frames / of("BATCHES")).toFixed(1)} frames a batch, ${of("MODERATED_WAITS")} waits${latency}`,
    );
    if (trace !== undefined) console.log(`           per message: ${CALL_GROUPS.map(([title, names]) => `${title} ${(names.reduce((sum, call) => sum + (trace.calls().get(call) ?? 0), 0) / result.messages).toFixed(4)}`).join(", ")}`);
  }
  front.stop();
  await worker.terminate();
}

await run("latency");
await run("throughput");
