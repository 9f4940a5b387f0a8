// Run by process-wide.test.ts, as a process (path as argument) or as a worker: tries the lock, tells, and a process holds on.
import { parentPort, workerData } from "node:worker_threads";
import { native } from "../../src/reactor/reactor.js";

if (parentPort !== null) parentPort.postMessage(native().lock(workerData as string));
else {
  process.on("disconnect", () => process.exit(0));
  process.send!(native().lock(process.argv[2]!));
}
