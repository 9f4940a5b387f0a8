// Run by lifecycle.test.ts: a process with a front and a shard that ends in the way its argument says.
import { native } from "../../src/reactor/reactor.js";
import { FRONT_COUNTER_COUNT } from "../../src/ring/layout.js";
import { Shard } from "../reactor/shard.js";
import { Authority } from "./certificates.js";
import { listener, portOf } from "./gateway.js";

const how = process.argv[2];
const isStarted = how !== "unstarted";
const shard = isStarted ? await Shard.start(0, { plainEcho: true }) : undefined;
const server = await (await Authority.create("authority")).issueServer("server");
const front = native().createFront({
  listeners: [listener("mqtt", "device"), listener("mqtt")], shards: 1, counters: new Float64Array(new SharedArrayBuffer(FRONT_COUNTER_COUNT * 8)),
  handshakeDeadlineMs: 60_000, firstFrameDeadlineMs: 60_000, pendingMax: 100, perAddressMax: 100, connectionsMax: 100, firstFrameSizeMax: 4096,
  onRefused: () => {
    throw new Error("thrown inside onRefused");
  },
});
front.setContext("device", { certificate: server.certificate, key: server.key, clientCertificate: "off", alpn: [] });
if (isStarted) front.start();

async function end(): Promise<void> {
  switch (how) {
    case "exit":
      return process.exit(0);
    case "stop":
      front.stop();
      return shard!.stop();
    case "throw":
      throw new Error("thrown by the test");
    case "signal":
      process.kill(process.pid, "SIGUSR2");
      return;
    default:
      return;
  }
}

process.once("SIGUSR2", () => process.exit(7));
process.send!(front.listeners.map(portOf), () => {
  if (!isStarted) process.disconnect();
});
if (isStarted) {
  process.once("message", () => {
    process.disconnect();
    // The connection that sent a CONNECT has been handed over by now, or is about to be: both must end well.
    void end();
  });
}
