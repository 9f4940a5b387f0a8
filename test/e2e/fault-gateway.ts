// A gateway like dist/main.js whose shards, history and control can be made to throw, and whose lanes to hang: the parent process names the worker over IPC.
import { BroadcastChannel } from "node:worker_threads";
import { systemClock } from "../../src/base/clock.js";
import { loadConfig } from "../../src/control/config/config.js";
import { Gateway } from "../../src/control/gateway.js";
import { DEFAULT_DEADLINES } from "../../src/control/supervisor.js";
import { openLog } from "../../src/control/logger.js";

const file = process.argv[process.argv.indexOf("--config") + 1]!;
const loaded = loadConfig({ file, environment: {}, workingDirectory: process.cwd() });
const worker = (name: string): URL => new URL(`../../workers/${name}.js`, import.meta.url);
const faulty = new URL("./fault-worker.js", import.meta.url);
const gateway = new Gateway({
  loaded, log: openLog(loaded.config.log), clock: systemClock, version: "test", print: (text) => console.log(text),
  deadlines: { ...DEFAULT_DEADLINES, laneStuckMs: 4000 },
  files: { shard: faulty, store: worker("store"), lane: new URL("./fault-lane.js", import.meta.url), history: faulty, control: faulty },
  onStoreLost: (reason) => {
    console.error(reason);
    process.exit(3);
  },
});
await gateway.start();
const channel = new BroadcastChannel("penstock-fault");
process.on("message", (name) => channel.postMessage(name));
process.on("SIGTERM", () => void gateway.stop(10_000).then(() => process.exit(0)));
