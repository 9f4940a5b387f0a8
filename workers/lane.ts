// Entry point of a lane: the task of a Piscina thread, which ends when it is told to stop. Wiring only; the work is in src/lane/lane.ts.
import type { MessagePort } from "node:worker_threads";
import { systemClock } from "../src/base/clock.js";
import { LANE_COUNTER } from "../src/base/counters.js";
import { portLog } from "../src/base/log.js";
import { showLoop } from "../src/base/loop-gauges.js";
import type { FromMain, LaneStart, Reply, Request, ToMain } from "../src/base/messages.js";
import { POSITION, readPosition } from "../src/base/positions.js";
import { Lane } from "../src/lane/lane.js";
import { LaneLoop } from "../src/lane/lane-loop.js";
import { native } from "../src/reactor/reactor.js";
import { DOORBELL } from "../src/ring/layout.js";
import { JournalReader } from "../src/storage/journal/reader.js";

/** Runs one lane until `stop`; rejects with what broke it, and the supervisor starts it again. */
export default function runLane(start: LaneStart): Promise<void> {
  return new Promise((resolve, reject) => {
    const addon = native();
    const log = portLog(start.main, `lane ${start.lane}`, start.logLevel);
    const counters = new Float64Array(start.counters);
    // What this process wrote is intact; what was there before is checked.
    const verifyBelowLsn = readPosition(new BigUint64Array(start.positions), POSITION.JOURNAL_DURABLE);
    const lane = new Lane({
      start,
      openJournal: (fromLsn) => new JournalReader({
        directory: start.journalDirectory,
        fromLsn,
        verifyBelowLsn,
        crc32c: (bytes, at, length) => addon.crc32c(bytes, at, length),
        onFinding: ({ what, text, ...range }) => log.warn(`journal ${what}: ${text}`, range),
      }),
      clock: systemClock,
      log,
      wakeHistory: () => addon.ring(DOORBELL.HISTORY),
    });
    let control = start.control;

    const end = (): void => {
      hideLoop();
      doorbell.close();
      lane.close();
      control.close();
      start.main.close();
    };
    const loop = new LaneLoop(lane, (error) => {
      end();
      reject(error);
    });
    const doorbell = addon.createDoorbell(DOORBELL.LANE + start.lane, () => loop.wake());

    const hideLoop = showLoop(counters, LANE_COUNTER.LOOP_LAG_MS, LANE_COUNTER.HEAP_USED, () => {
      lane.updateGauges();
      lane.beat();
      // Also sees a new epoch of history, which nobody rings for.
      loop.wake();
    });

    const listenToControl = (port: MessagePort): void => {
      control = port;
      port.on("message", ({ id, query }: Request) => {
        const reply: Reply = query.type === "last"
          ? { id, result: lane.last(query.device, query.name) }
          : { id, error: `a lane does not answer ${query.type}`, status: 400 };
        port.postMessage(reply);
      });
    };

    start.main.on("message", (message: FromMain) => {
      switch (message.type) {
        case "control":
          control.close();
          listenToControl(message.port);
          break;
        case "stop":
          loop.finish(() => {
            const stopped: ToMain = { type: "stopped" };
            start.main.postMessage(stopped);
            end();
            resolve();
          });
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
    const ready: ToMain = { type: "ready" };
    start.main.postMessage(ready);
    loop.wake();
  });
}
