// Rings a doorbell and ends.
import { workerData } from "node:worker_threads";
import { native } from "../../src/reactor/reactor.js";

native().ring((workerData as { slot: number }).slot);
