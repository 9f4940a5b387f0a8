// Wires $SYS: the counters and metrics of this process to a shard that publishes them. On control's thread.
import type { Log } from "../../base/log.js";
import type { Peers } from "../admin/peers.js";
import type { ControlStart } from "../control-messages.js";
import type { Metrics } from "../metrics.js";
import { BrokerTopics } from "./broker-topics.js";
import { BrokerCounters } from "./figures.js";
import { isTopic, penstockMessage } from "./penstock-topics.js";
import { SystemTopics } from "./system-topics.js";

export function startSystemTopics(start: ControlStart, metrics: Metrics, peers: Peers, log: Log): SystemTopics {
  const counters = new BrokerCounters(start.counters);
  const broker = new BrokerTopics(start.version);
  return new SystemTopics(
    {
      intervalMs: start.systemIntervalMs,
      shards: start.shards,
      take: async () => [...broker.take(counters.take(), process.uptime(), performance.now()), ...(await metrics.samples(isTopic)).map(penstockMessage)],
      publish: async (shard, messages) => (await peers.ask("shard", shard, { type: "publish", messages })) === true,
    },
    log,
  );
}
