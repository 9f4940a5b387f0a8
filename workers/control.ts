// Entry point of the control worker: admin API and metrics.
import { workerData } from "node:worker_threads";
import { runControl } from "../src/control/admin/control.js";
import type { ControlStart } from "../src/control/control-messages.js";

await runControl(workerData as ControlStart);
