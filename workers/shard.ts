// Entry point of a shard's thread: wiring only. The work is in src/shard/shard.ts.
import { type MessagePort, workerData } from "node:worker_threads";
import { systemClock } from "../src/base/clock.js";
import { SHARD_COUNTER } from "../src/base/counters.js";
import { portLog } from "../src/base/log.js";
import { showLoop } from "../src/base/loop-gauges.js";
import type { FromMain, Reply, Request, ShardStart, ToMain } from "../src/base/messages.js";
import { native } from "../src/reactor/reactor.js";
import { GatewayAuthenticator } from "../src/security/authenticator.js";
import { Shard } from "../src/shard/shard.js";
import { JournalReader } from "../src/storage/journal/reader.js";

const start = workerData as ShardStart;
const log = portLog(start.main, `shard ${start.shard}`, start.logLevel);
const addon = native();
const counters = new Float64Array(start.counters);
const authenticator = new GatewayAuthenticator({ options: start.auth, clock: systemClock, log, counters, attempts: start.attempts });
const shard = new Shard(start, addon, systemClock, log, authenticator, (fromLsn) => new JournalReader({
  directory: start.journalDirectory,
  fromLsn,
  crc32c: (bytes, at, length) => addon.crc32c(bytes, at, length),
  verifyBelowLsn: Number.POSITIVE_INFINITY,
  onFinding: (finding) => log.warn(`journal: ${finding.text}`, { what: finding.what, fromLsn: finding.fromLsn, toLsn: finding.toLsn }),
}));
let control = start.control;

function toMain(message: ToMain): void {
  start.main.postMessage(message);
}

function listenToControl(port: MessagePort): void {
  control = port;
  port.on("message", ({ id, query }: Request) => {
    const reply: Reply = query.type === "clients"
      ? { id, result: shard.clients() }
      : query.type === "publish" ? { id, result: shard.publish(query.messages) } : { id, error: `a shard does not answer ${query.type}`, status: 400 };
    port.postMessage(reply);
  });
}

const hideLoop = showLoop(counters, SHARD_COUNTER.LOOP_LAG_MS, SHARD_COUNTER.HEAP_USED);

start.main.on("message", (message: FromMain) => {
  switch (message.type) {
    case "control":
      control.close();
      listenToControl(message.port);
      break;
    case "access":
      shard.useAccessRules(message.rules);
      break;
    case "trust":
      shard.useTrust(message.trust);
      break;
    case "shards":
      shard.shardsChanged();
      break;
    case "drain":
      shard.drain(message.deadlineMs, () => toMain({ type: "drained" }));
      break;
    case "stop":
      hideLoop();
      shard.stop();
      authenticator.close();
      control.close();
      toMain({ type: "stopped" });
      start.main.close();
      break;
    case "shardDrained?":
      break;
  }
});

listenToControl(start.control);
toMain({ type: "ready" });
