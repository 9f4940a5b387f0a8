// The control worker's work: admin API and /metrics. Never on the path of a message; when it dies, only these pause.
import { portLog } from "../../base/log.js";
import type { ControlStart, FromControl, ToControl } from "../control-messages.js";
import { Metrics } from "../metrics.js";
import { AdminServer } from "./http-server.js";
import { startSystemTopics } from "../system-topics/start.js";
import { Peers } from "./peers.js";

/** A little longer than history's own deadline, so that its reason arrives. */
const QUERY_DEADLINE_MS = 11_000;

/** Runs until told to stop. */
export async function runControl(start: ControlStart): Promise<void> {
  const log = portLog(start.main, "control", start.logLevel);
  const peers = new Peers(start.peers, QUERY_DEADLINE_MS);
  let notReady = start.notReady;
  const metrics = new Metrics({ counters: start.counters, positions: start.positions, rings: start.rings, version: start.version, isReady: () => notReady.length === 0 });
  const server = new AdminServer(
    {
      peers, shards: start.shards, lanes: start.lanes, hasHistory: start.hasHistory, version: start.version,
      storeCounters: new Float64Array(start.counters.store), notReady: () => notReady, metrics: () => metrics.text(), now: Date.now,
    },
    log,
  );
  const system = start.systemIntervalMs === 0 ? undefined : startSystemTopics(start, metrics, peers, log);
  start.main.on("message", (message: ToControl) => {
    if (message.type === "peer") {
      peers.set(message.role, message.index, message.port);
      if (message.role === "shard") system?.shardStarted();
    }
    else if (message.type === "state") notReady = message.notReady;
    else {
      system?.close();
      server.close();
      peers.close();
      start.main.postMessage({ type: "stopped" } satisfies FromControl);
      start.main.close();
    }
  });
  const listeners = start.listener === undefined ? [] : await server.listen(start.listener.hosts, start.listener.port);
  start.main.postMessage({ type: "ready", listeners } satisfies FromControl);
}
