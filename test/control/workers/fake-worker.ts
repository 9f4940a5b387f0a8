// A worker of any role that does nothing but keep the supervisor's contract, and misbehaves when its counter block says so.
// As a thread for shard, store and history; as a Piscina task (the default export) for lanes.
import { setInterval as every } from "node:timers";
import { workerData, type MessagePort } from "node:worker_threads";
import type { FromMain, HistoryStart, LaneStart, Query, Request, ShardStart, StoreStart, ToMain } from "../../../src/base/messages.js";
import { POSITION, readPosition, writePosition } from "../../../src/base/positions.js";

/** Cells of the worker's counter block, written by the test. */
export const CELL = {
  /** A COMMAND, while it runs. */
  COMMAND: 63,
  /** A COMMAND, before it says ready. */
  AT_START: 62,
  /** 1: `drain`, `stop` and `shardDrained?` are not answered. */
  MUTE: 61,
  /** Written by the worker: how often it was started. */
  STARTS: 60,
} as const;
export const DO = { THROW: 1, EXIT: 2, FILL_HEAP: 3, HANG: 4, SPIN: 5 } as const;

type Start = ShardStart | StoreStart | LaneStart | HistoryStart;
const POLL_MS = 2;

function obey(command: number): void {
  if (command === DO.THROW) throw new Error("the fake worker was told to throw");
  if (command === DO.SPIN) for (;;);
  if (command === DO.EXIT) process.exit(7);
  if (command === DO.FILL_HEAP) {
    const kept: unknown[] = [];
    for (;;) kept.push(new Array(10_000).fill(Math.random()).map(String));
  }
}

/** What of the start data the tests look at. */
function summary(start: Start): Readonly<Record<string, unknown>> {
  if (start.role === "shard") return { role: start.role, shard: start.shard, journalDirectory: start.journalDirectory, listeners: start.listeners, trusts: start.trusts };
  if (start.role === "lane") return { role: start.role, lane: start.lane, fromLsn: start.fromLsn, quarantined: start.quarantined, isCareful: start.isCareful };
  return { role: start.role };
}

function run(start: Start, onStopped: () => void): void {
  const counters = new Float64Array(start.counters);
  const positions = new BigUint64Array(start.positions);
  const { main } = start;
  const post = (message: ToMain): void => main.postMessage(message);
  counters[CELL.STARTS]!++;
  post({ type: "log", level: "debug", area: start.role, text: "started", fields: summary(start) });
  const poll = every(() => {
    const command = counters[CELL.COMMAND]!;
    // Not over one that the test writes right now.
    if (command !== 0) counters[CELL.COMMAND] = 0;
    if (start.role === "lane") writePosition(positions, POSITION.LANE_BEAT + start.lane, readPosition(positions, POSITION.LANE_BEAT + start.lane) + 1);
    obey(command);
  }, POLL_MS);
  serve(start.control);
  main.on("message", (message: FromMain) => {
    post({ type: "log", level: "debug", area: start.role, text: `heard ${message.type}`, fields: summary(start) });
    if (message.type === "control") serve(message.port);
    if (counters[CELL.MUTE] === 1) return;
    if (message.type === "shardDrained?") post({ type: "shardDrained", shard: message.shard });
    if (message.type === "drain") post({ type: "drained" });
    if (message.type === "stop") {
      post({ type: "stopped" });
      clearInterval(poll);
      main.close();
      onStopped();
    }
  });
  const atStart = counters[CELL.AT_START]!;
  counters[CELL.AT_START] = 0;
  obey(atStart);
  if (atStart !== DO.HANG) post(ready(start));
}

function ready(start: Start): ToMain {
  if (start.role === "store") return { type: "ready", detail: { type: "store", firstLsn: 64, durableLsn: 4096 } };
  if (start.role !== "history") return { type: "ready" };
  writePosition(new BigUint64Array(start.positions), POSITION.HISTORY_COMMITTED, 1024);
  return { type: "ready", detail: { type: "history", committedLsn: 1024 } };
}

function serve(port: MessagePort): void {
  port.on("message", (request: Request) => port.postMessage({ id: request.id, result: answer(request.query) }));
}

function answer(query: Query): unknown {
  return query.type === "clients" || query.type === "devices" || query.type === "events" || query.type === "series" ? [] : null;
}

/** A lane. */
export default function lane(start: LaneStart): Promise<void> {
  return new Promise((resolve) => run(start, resolve));
}

const threadStart = workerData as Start | null | undefined;
if (typeof threadStart === "object" && threadStart !== null && "role" in threadStart) run(threadStart, () => undefined);
