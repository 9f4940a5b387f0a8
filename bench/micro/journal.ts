// What the journal costs: CPU per message and fdatasyncs, by batch size; what waiting for larger batches brings, by rate.
//
//   node dist/bench/micro/journal.js [batches|pacing] [--directory DIR]
//
// System calls: strace -f -c -e trace=fdatasync,pwrite64,fsync node dist/bench/micro/journal.js batches
// CPU is user + system time of the process (batches) or of the store's thread (pacing: Linux's schedstat); the file system's kernel threads come on top.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker, isMainThread, parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../../src/base/clock.js";
import { COUNTER_BLOCK_COUNT, STORE_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { KIB, MIB, RING_CAPACITY } from "../../src/base/limits.js";
import type { Log } from "../../src/base/log.js";
import { EXPIRES_NEVER, MESSAGE_FLAG, messageSize, writeMessageHead } from "../../src/base/message-record.js";
import { POSITION, POSITION_COUNT, readPosition, writePosition } from "../../src/base/positions.js";
import type { RingPlace } from "../../src/base/ring-place.js";
import { native } from "../../src/reactor/reactor.js";
import { RingReader, RingWriter, ringSize } from "../../src/ring/ring.js";
import { nodeFiles } from "../../src/storage/journal/files.js";
import { Store } from "../../src/storage/store.js";

/** Entry of 200 bytes: header 8, message head 32, topic 24, client id 8, payload 128. */
const TOPIC = Buffer.from("devices/sensor-01/status", "utf8");
const CLIENT = Buffer.from("sensor01", "utf8");
const PAYLOAD = Buffer.alloc(128, 0x37);
const MESSAGE_SIZE = messageSize(TOPIC.length, CLIENT.length, 0, PAYLOAD.length);

const silent: Log = { isDebug: false, debug: () => undefined, info: () => undefined, warn: (text) => console.warn(text), error: (text) => console.error(text) };

function newRing(): RingPlace {
  return { buffer: new SharedArrayBuffer(ringSize(RING_CAPACITY.SHARD_TO_STORE)), byteOffset: 0, capacity: RING_CAPACITY.SHARD_TO_STORE };
}

function put(ring: RingWriter, receivedAt: number): boolean {
  const at = ring.reserve(MESSAGE_SIZE);
  if (at < 0) return false;
  writeMessageHead(ring.view, at, receivedAt, 7, EXPIRES_NEVER, 0, 1 | MESSAGE_FLAG.LANE, TOPIC.length, CLIENT.length, 0, PAYLOAD.length, 0);
  ring.bytes.set(TOPIC, at + 32);
  ring.bytes.set(CLIENT, at + 32 + TOPIC.length);
  ring.bytes.set(PAYLOAD, at + 32 + TOPIC.length + CLIENT.length);
  ring.commit(ENTRY.PUBLISH, 0, MESSAGE_SIZE);
  return true;
}

interface Bench {
  readonly store: Store;
  readonly positions: BigUint64Array;
  readonly counters: Float64Array;
  /** fdatasyncs so far. */
  readonly syncs: () => number;
}

function open(directory: string, ring: RingPlace, durability: "disk" | "memory", commitIntervalMaxMs: number, segmentSize = 64 * MIB): Bench {
  const addon = native();
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const positions = new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
  const counters = new Float64Array(COUNTER_BLOCK_COUNT);
  let syncs = 0;
  const store = new Store({
    directory, durability, segmentSize, quotaBytes: 4096 * MIB, quotaAgeMs: 7 * 24 * 3600 * 1000, commitIntervalMaxMs, lanes: 1, hasHistory: false,
    sources: [new RingReader(ring)], positions, counters, clock: systemClock, log: silent, crc32c: (bytes, at, length) => addon.crc32c(bytes, at, length),
    files: {
      ...nodeFiles,
      sync: (fd) => {
        syncs++;
        nodeFiles.sync(fd);
      },
    },
    ringShard: () => undefined,
    ringLanes: () => undefined,
    sleep: (milliseconds) => void Atomics.wait(sleeper, 0, 0, milliseconds),
  });
  return { store, positions, counters, syncs: () => syncs };
}

/** Microseconds that this thread has run, user + system. */
function threadTime(): number {
  return Number(readFileSync("/proc/thread-self/schedstat", "latin1").split(" ")[0]) / 1000;
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1]!;
}

/** One batch after the other: what the store's thread spends per message. */
function measureBatches(directory: string, batch: number, durability: "disk" | "memory", isRecycled: boolean): void {
  const ring = newRing();
  const { store, positions, syncs } = open(directory, ring, durability, 0, isRecycled ? 4 * MIB : 1024 * MIB);
  const writer = new RingWriter(ring);
  const perMessage: number[] = [];
  const times: number[] = [];
  let messages = 0;
  const run = (commits: number): number => {
    let cpu = 0;
    for (let commit = 0; commit < commits; commit++) {
      for (let i = 0; i < batch; i++) put(writer, 0);
      writer.publish();
      messages += batch;
      const before = process.cpuUsage();
      const startedAt = performance.now();
      while (store.turn() === 0);
      times.push(performance.now() - startedAt);
      const spent = process.cpuUsage(before);
      cpu += spent.user + spent.system;
      // The consumer keeps up.
      writePosition(positions, POSITION.LANE_READ, readPosition(positions, POSITION.JOURNAL_DURABLE));
      if ((commit & 63) === 63) store.tick();
    }
    return cpu;
  };
  const commits = Math.min(1000, Math.max(200, Math.floor(50_000 / batch)));
  run(commits);
  const syncsBefore = syncs();
  const messagesBefore = messages;
  times.length = 0;
  for (let round = 0; round < 5; round++) perMessage.push(run(commits) / (commits * batch));
  times.sort((a, b) => a - b);
  const sorted = [...perMessage].sort((a, b) => a - b);
  console.log(
    [
      String(batch).padStart(5), durability.padEnd(10), (isRecycled ? "yes" : "no").padEnd(8),
      `${median(perMessage).toFixed(3)} [${sorted[0]!.toFixed(3)}..${sorted.at(-1)!.toFixed(3)}]`.padEnd(26),
      `${(times[times.length >> 1]!).toFixed(3)} / ${times[Math.floor(times.length * 0.99)]!.toFixed(3)}`.padEnd(20),
      ((syncs() - syncsBefore) / (messages - messagesBefore)).toFixed(5),
    ].join("  "),
  );
  store.stop();
}

interface ProducerTask {
  readonly ring: RingPlace;
  readonly bell: SharedArrayBuffer;
  readonly perSecond: number;
  readonly seconds: number;
}

interface ProducerResult {
  readonly sent: number;
  readonly latencies: readonly number[];
}

/** The producer's thread: sends at a steady rate and watches when what it sent is durable. */
function produce(task: ProducerTask): void {
  const ring = new RingWriter(task.ring);
  const bell = new Int32Array(task.bell);
  const pause = new Int32Array(new SharedArrayBuffer(4));
  const latencies: number[] = [];
  const waiting: { readonly position: number; readonly at: number }[] = [];
  const startedAt = performance.now();
  let sent = 0;
  for (;;) {
    const now = performance.now();
    const due = Math.min(task.perSecond * task.seconds, Math.floor(((now - startedAt) * task.perSecond) / 1000));
    const before = sent;
    while (sent < due && put(ring, now)) sent++;
    if (sent > before) {
      waiting.push({ position: ring.position(), at: now });
      if (ring.publish()) {
        Atomics.store(bell, 0, 1);
        Atomics.notify(bell, 0);
      }
    }
    const durable = ring.durable();
    while (waiting.length > 0 && ((durable - waiting[0]!.position) | 0) >= 0) latencies.push(now - waiting.shift()!.at);
    if (sent >= task.perSecond * task.seconds && waiting.length === 0) break;
    Atomics.wait(pause, 0, 0, 0.2);
  }
  Atomics.store(bell, 0, 2);
  Atomics.notify(bell, 0);
  parentPort!.postMessage({ sent, latencies } satisfies ProducerResult);
}

/** A steady stream from another thread, with the store asleep in between as in the worker. */
async function measureRate(directory: string, perSecond: number, intervalMs: number): Promise<void> {
  const seconds = 2;
  const ring = newRing();
  const bell = new Int32Array(new SharedArrayBuffer(4));
  const { store, syncs, counters } = open(directory, ring, "disk", intervalMs);
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { ring, bell: bell.buffer, perSecond, seconds } satisfies ProducerTask });
  const result = new Promise<ProducerResult>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
  const syncsBefore = syncs();
  await new Promise<void>((resolve) => worker.once("online", () => resolve()));
  const cpuBefore = threadTime();
  const deadline = performance.now() + 20_000;
  while (Atomics.load(bell, 0) !== 2 && performance.now() < deadline) {
    Atomics.compareExchange(bell, 0, 1, 0);
    if (store.turn() !== 0) Atomics.wait(bell, 0, 0, 100);
  }
  const cpu = threadTime() - cpuBefore;
  const { sent, latencies } = await result;
  await worker.terminate();
  const sorted = [...latencies].sort((a, b) => a - b);
  const p = (fraction: number): string => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))]!.toFixed(2);
  const commits = syncs() - syncsBefore;
  console.log(
    [
      String(perSecond).padStart(8), String(intervalMs).padStart(11), (cpu / sent).toFixed(2).padStart(14), (sent / commits).toFixed(1).padStart(15),
      (commits / seconds).toFixed(0).padStart(9), `${p(0.5)} / ${p(0.99)}`.padStart(23), counters[STORE_COUNTER.COMMIT_TIME_MAX_MS]!.toFixed(1).padStart(13),
    ].join("  "),
  );
  store.stop();
}

async function main(): Promise<void> {
  const at = process.argv.indexOf("--directory");
  const parent = at > 0 ? process.argv[at + 1]! : tmpdir();
  const directory = mkdtempSync(join(parent, "penstock-bench-"));
  const what = process.argv[2] ?? "all";
  let part = 0;
  try {
    if (what !== "pacing") {
      console.log(`entries of ${8 + MESSAGE_SIZE} bytes, one batch after the other; frame limit 256 KiB = ${((256 * KIB) / (8 + MESSAGE_SIZE)).toFixed(0)} entries`);
      console.log("batch  durability  re-used   CPU us/message             ms/commit p50 / p99   fdatasync/message");
      for (const durability of ["disk", "memory"] as const) {
        for (const isRecycled of [false, true]) for (const batch of [1, 50, 100, 500, 2000]) measureBatches(join(directory, String(part++)), batch, durability, isRecycled);
      }
    }
    if (what !== "batches") {
      console.log("\nsteady stream from another thread, 2 s each");
      console.log("  rate/s  interval ms  CPU us/message  messages/commit  commits/s  ms to durable p50 / p99  longest commit");
      for (const rate of [500, 5_000, 20_000, 50_000, 100_000]) {
        for (const interval of [0, 1, 2, 5]) await measureRate(join(directory, String(part++)), rate, interval);
      }
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

if (isMainThread) await main();
else produce(workerData as ProducerTask);
