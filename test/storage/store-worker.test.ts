// The store as a worker, with the native doorbells: started, rung, asked, stopped, as main does it.
import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { MessageChannel, Worker, type MessagePort } from "node:worker_threads";
import t from "tap";
import { COUNTER_BLOCK_COUNT, STORE_COUNTER } from "../../src/base/counters.js";
import { KIB, MIB } from "../../src/base/limits.js";
import type { FromMain, StoreStart, ToMain } from "../../src/base/messages.js";
import { POSITION, POSITION_COUNT, readPosition } from "../../src/base/positions.js";
import { native } from "../../src/reactor/reactor.js";
import { DOORBELL } from "../../src/ring/layout.js";
import { payloadsOf, readEntries, temporaryDirectory, TestShard } from "./support.js";

const WORKER = fileURLToPath(new URL("../../workers/store.js", import.meta.url));

interface Running {
  readonly worker: Worker;
  readonly port: MessagePort;
  readonly counters: Float64Array;
  readonly positions: BigUint64Array;
  /** Waits for a message of this type; log lines in between are passed over. */
  readonly next: (type: ToMain["type"]) => Promise<ToMain>;
  readonly tell: (message: FromMain) => void;
}

function startWorker(directory: string, shards: readonly TestShard[]): Running {
  const main = new MessageChannel();
  const control = new MessageChannel();
  const counters = new SharedArrayBuffer(COUNTER_BLOCK_COUNT * 8);
  const positions = new SharedArrayBuffer(POSITION_COUNT * 8);
  const start: StoreStart = {
    role: "store", main: main.port2, control: control.port2, logLevel: "info", counters, positions, directory, durability: "disk", fromShards: shards.map((shard) => shard.place),
    lanes: 1, hasHistory: true, segmentSize: 1 * MIB, quotaBytes: 64 * MIB, quotaAgeMs: 3600_000, commitIntervalMaxMs: 2,
  };
  const worker = new Worker(WORKER, { workerData: start, transferList: [main.port2, control.port2] });
  const arrived: ToMain[] = [];
  let wake: () => void = () => undefined;
  main.port1.on("message", (message: ToMain) => {
    arrived.push(message);
    wake();
  });
  const next = async (type: ToMain["type"]): Promise<ToMain> => {
    for (;;) {
      const index = arrived.findIndex((message) => message.type === type);
      if (index >= 0) return arrived.splice(index, 1)[0]!;
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  return { worker, port: main.port1, counters: new Float64Array(counters), positions: new BigUint64Array(positions), next, tell: (message) => main.port1.postMessage(message) };
}

t.test("the worker commits when its doorbell rings, rings the shard's, tells that a shard is drained, and stops when told", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const addon = native();
  const shard = new TestShard(256 * KIB);
  let rung: () => void = () => undefined;
  const doorbell = addon.createDoorbell(DOORBELL.SHARD, () => rung());
  const running = startWorker(directory.path, [shard]);
  t.match(await running.next("ready"), { detail: { type: "store", firstLsn: 0 } });
  for (let i = 0; i < 100; i++) {
    const isTwo = i % 10 === 0;
    shard.publish({ payload: String(i), qos: isTwo ? 2 : 1, packetId: isTwo ? i + 1 : 0 });
    // The test's shard publishes record by record and does not look at ARMED: ring in any case.
    addon.ring(DOORBELL.STORE);
    while (i % 20 === 19 && !shard.isDurable) await new Promise<void>((resolve) => (rung = resolve));
  }
  running.tell({ type: "shardDrained?", shard: 0 });
  t.match(await running.next("shardDrained"), { shard: 0 });
  shard.publish({ payload: "100" });
  running.tell({ type: "stop" });
  await running.next("stopped");
  const [code] = (await once(running.worker, "exit")) as [number];
  t.equal(code, 0);
  t.ok(shard.isDurable, "what was in the ring was taken in before the stop");
  const payloads = payloadsOf(readEntries(directory.path, readPosition(running.positions, POSITION.JOURNAL_DURABLE)));
  t.strictSame(payloads, Array.from({ length: 101 }, (_, i) => String(i)));
  t.equal(running.counters[STORE_COUNTER.ENTRIES], 101);
  doorbell.close();
  running.port.close();
});

t.test("a directory that cannot be used is told as a failed start, with what to do", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const path = join(directory.path, "journal");
  writeFileSync(path, "a file where the directory should be");
  const running = startWorker(path, [new TestShard()]);
  t.match(await running.next("failed"), { code: "STORE_FAILED", text: /cannot be used: E/ });
  await running.worker.terminate();
  running.port.close();
  t.strictSame(readdirSync(directory.path), ["journal"]);
});
