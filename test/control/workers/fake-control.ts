// The real control worker, which throws when the first cell behind main's own counters says so.
import { setInterval as every } from "node:timers";
import { workerData } from "node:worker_threads";
import { runControl } from "../../../src/control/admin/control.js";
import type { ControlStart } from "../../../src/control/control-messages.js";

export const THROW_CELL = 63;
const POLL_MS = 2;

if (typeof workerData === "object" && workerData !== null && (workerData as { role?: unknown }).role === "control") {
  const start = workerData as ControlStart;
  const cells = new Float64Array(start.counters.main);
  every(() => {
    if (cells[THROW_CELL] !== 1) return;
    cells[THROW_CELL] = 0;
    throw new Error("the control worker was told to throw");
  }, POLL_MS);
  await runControl(start);
}
