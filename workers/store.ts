// Thread entry of the store: wires the journal's loop (src/storage/store.ts) to its doorbell, timers and messages. No decisions here.
// It is stopped by message only: ending it in the middle of a write would leave a torn frame (which recovery copes with) and shards without an answer.
import { workerData } from "node:worker_threads";
import { systemClock } from "../src/base/clock.js";
import { STORE_COUNTER } from "../src/base/counters.js";
import { StartError } from "../src/base/errors.js";
import { portLog } from "../src/base/log.js";
import { showLoop } from "../src/base/loop-gauges.js";
import type { FromMain, StoreStart, ToMain } from "../src/base/messages.js";
import { native } from "../src/reactor/reactor.js";
import { DOORBELL } from "../src/ring/layout.js";
import { RingReader } from "../src/ring/ring.js";
import { nodeFiles } from "../src/storage/journal/files.js";
import { Store } from "../src/storage/store.js";

const TICK_MS = 1000;

const start = workerData as StoreStart;
const log = portLog(start.main, "store", start.logLevel);
const counters = new Float64Array(start.counters);
const addon = native();

function tell(message: ToMain): void {
  start.main.postMessage(message);
}

function run(): void {
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const store = new Store({
    ...start,
    sources: start.fromShards.map((place) => new RingReader(place)),
    positions: new BigUint64Array(start.positions),
    counters,
    clock: systemClock,
    log,
    files: nodeFiles,
    crc32c: (bytes, at, length) => addon.crc32c(bytes, at, length),
    ringShard: (shard) => addon.ring(DOORBELL.SHARD + shard),
    ringLanes: () => {
      for (let lane = 0; lane < start.lanes; lane++) addon.ring(DOORBELL.LANE + lane);
    },
    sleep: (milliseconds) => void Atomics.wait(sleeper, 0, 0, milliseconds),
  });

  let soon: NodeJS.Immediate | null = null;
  let later: NodeJS.Timeout | null = null;
  const asked = new Set<number>();

  const turn = (): void => {
    if (soon !== null) clearImmediate(soon);
    if (later !== null) clearTimeout(later);
    const nextMs = store.turn();
    soon = nextMs === 0 ? setImmediate(turn) : null;
    later = nextMs > 0 && nextMs < Number.POSITIVE_INFINITY ? setTimeout(turn, nextMs) : null;
    for (const shard of asked) if (answer(shard)) asked.delete(shard);
  };
  const answer = (shard: number): boolean => {
    const isDrained = store.isDrained(shard);
    if (isDrained) tell({ type: "shardDrained", shard });
    return isDrained;
  };
  const stop = (): void => {
    if (soon !== null) clearImmediate(soon);
    if (later !== null) clearTimeout(later);
    clearInterval(ticking);
    hideLoop();
    doorbell.close();
    store.stop();
    tell({ type: "stopped" });
    start.main.close();
    start.control.close();
  };

  const ticking = setInterval(() => store.tick(), TICK_MS);
  const hideLoop = showLoop(counters, STORE_COUNTER.LOOP_LAG_MS, STORE_COUNTER.HEAP_USED);

  const doorbell = addon.createDoorbell(DOORBELL.STORE, turn);
  start.main.on("message", (message: FromMain) => {
    if (message.type === "stop") stop();
    else if (message.type === "shardDrained?") {
      asked.add(message.shard);
      turn();
    }
  });
  tell({ type: "ready", detail: store.ready() });
  turn();
}

try {
  run();
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  tell({ type: "failed", code: error.code, text: error.message });
}
