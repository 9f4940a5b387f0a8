// The admin HTTP API under load, by autocannon: `node dist/bench/http.js [--seconds S] [--connections N]`. Telemetry is published first, so
// that the queries have something to answer.
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import autocannon from "autocannon";
import { runGenerator } from "./generator.js";
import { addressOf } from "./measure.js";
import { penstock } from "./peers/penstock.js";
import { markdownTable, short } from "./table.js";

const PATHS = ["/healthz", "/metrics", "/api/v1/devices", "/api/v1/series/0/temperature/last", "/api/v1/series/0/temperature?step=1s"];

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "5" },
    connections: { type: "string", default: "10" },
    directory: { type: "string", default: tmpdir() },
  },
});

const target = await penstock.start({ directory: options.directory, prefix: [], configuration: [], nodeArguments: [] });
try {
  await runGenerator(["ingest", "--telemetry", "--publishers", "100", "--qos", "1", "--rate", "5000", "--seconds", "5", "--warmup", "0", ...addressOf(target, false)]);
  const lines = [["path", "requests/s", "p50 ms", "p99 ms", "max ms", "not 2xx", "errors"]];
  for (const path of PATHS) {
    const found = await autocannon({ url: target.api + path, connections: Number(options.connections), duration: Number(options.seconds) });
    lines.push([path, short(found.requests.average), short(found.latency.p50), short(found.latency.p99), short(found.latency.max), String(found.non2xx), String(found.errors)]);
  }
  process.stdout.write(`${markdownTable(lines)}\n`);
} finally {
  await target.stop();
}
