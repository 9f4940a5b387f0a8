// Entry point of history's thread: wiring only. The work is in src/storage/history/history.ts.
import { type MessagePort, workerData } from "node:worker_threads";
import { systemClock } from "../src/base/clock.js";
import { HISTORY_COUNTER } from "../src/base/counters.js";
import { portLog } from "../src/base/log.js";
import { showLoop } from "../src/base/loop-gauges.js";
import type { FromMain, HistoryStart, Reply, Request, ToMain } from "../src/base/messages.js";
import { native } from "../src/reactor/reactor.js";
import { DOORBELL } from "../src/ring/layout.js";
import { RingReader } from "../src/ring/ring.js";
import { History } from "../src/storage/history/history.js";
import { QueryError } from "../src/storage/history/queries.js";

const start = workerData as HistoryStart;
const log = portLog(start.main, "history", start.logLevel);
const counters = new Float64Array(start.counters);
const addon = native();
let control = start.control;

function toMain(message: ToMain): void {
  start.main.postMessage(message);
}

/** Ends the thread with the error; the supervisor starts it again. */
function fail(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

const history = await History.open({
  path: start.path,
  rings: start.fromLanes.map((place) => new RingReader(place)),
  rawRetentionMs: start.rawRetentionMs,
  memoryLimitBytes: start.memoryLimitBytes,
  flushIntervalMs: start.flushIntervalMs,
  queryDeadlineMs: start.queryDeadlineMs,
  counters,
  positions: new BigUint64Array(start.positions),
  clock: systemClock,
  log,
  wakeLane: (lane) => addon.ring(DOORBELL.LANE + lane),
  onFailure: fail,
});
const doorbell = addon.createDoorbell(DOORBELL.HISTORY, () => history.wake());

async function answer({ id, query }: Request): Promise<Reply> {
  if (query.type !== "series" && query.type !== "storedLast" && query.type !== "devices" && query.type !== "events") {
    return { id, error: `history does not answer ${query.type}`, status: 400 };
  }
  try {
    return { id, result: await history.answer(query) };
  } catch (error) {
    return { id, error: (error as Error).message, status: error instanceof QueryError ? error.status : 500 };
  }
}

function listenToControl(port: MessagePort): void {
  control = port;
  port.on("message", (request: Request) => {
    void answer(request).then((reply) => port.postMessage(reply));
  });
}

// The look at the rings is what a lost ring of the doorbell would leave behind.
const hideLoop = showLoop(counters, HISTORY_COUNTER.LOOP_LAG_MS, HISTORY_COUNTER.HEAP_USED, () => history.wake());

async function stop(): Promise<void> {
  hideLoop();
  doorbell.close();
  await history.stop();
  control.close();
  toMain({ type: "stopped" });
  start.main.close();
}

start.main.on("message", (message: FromMain) => {
  switch (message.type) {
    case "control":
      control.close();
      listenToControl(message.port);
      break;
    case "stop":
      void stop().catch(fail);
      break;
    case "drain":
    case "access":
    case "shardDrained?":
    case "shards":
    case "trust":
      break;
  }
});

listenToControl(start.control);
toMain({ type: "ready", detail: { type: "history", committedLsn: history.committed } });
history.wake();
