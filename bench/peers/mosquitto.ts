// mosquitto, as Debian has it, with the settings that make it comparable: nothing on disk, no log line per message, queues that hold what a
// closed loop keeps on the way.
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificates } from "../certificates.js";
import { freePort } from "../child.js";
import { makeDirectory, type Peer, startTarget } from "./target.js";

const PROGRAM = "/usr/sbin/mosquitto";

export const mosquitto: Peer = {
  name: "mosquitto",

  missing: () => (existsSync(PROGRAM) ? "" : `${PROGRAM} is not installed (Debian: apt-get install mosquitto)`),

  async start(options) {
    const directory = makeDirectory(options.directory, "mosquitto");
    chmodSync(directory, 0o755);
    const files = await makeCertificates(directory);
    const port = await freePort();
    const tlsPort = await freePort();
    const wsPort = await freePort();
    const lines = [
      "persistence false",
      "max_queued_messages 1000000",
      "max_inflight_messages 1024",
      "log_dest stderr",
      "log_type error",
      "connection_messages false",
      "set_tcp_nodelay true",
      "allow_anonymous true",
      `listener ${port} 127.0.0.1`,
      `listener ${tlsPort} 127.0.0.1`,
      `certfile ${files.certificate}`,
      `keyfile ${files.key}`,
      "tls_version tlsv1.3",
      `listener ${wsPort} 127.0.0.1`,
      "protocol websockets",
    ];
    const file = join(directory, "mosquitto.conf");
    writeFileSync(file, lines.join("\n") + "\n");
    return startTarget({ name: "mosquitto", version: version(), port, tlsPort, wsPort, caFile: files.ca, api: "" }, [PROGRAM, "-c", file], { prefix: options.prefix, directory });
  },
};

function version(): string {
  try {
    return execFileSync(PROGRAM, ["-h"], { encoding: "utf8" }).split("\n")[0]!.replace("mosquitto version ", "");
  } catch (error) {
    // It prints its help and exits with a code other than 0.
    const text = error instanceof Error && "stdout" in error ? String(error.stdout) : "";
    return text.split("\n")[0]!.replace("mosquitto version ", "");
  }
}
