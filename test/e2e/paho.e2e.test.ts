// Debian's paho.mqtt for Python against a built gateway, over TCP and over TLS. On 1 and 4 shards.
import { execFile } from "node:child_process";
import t from "tap";
import { RunningGateway } from "./gateway.js";

/** The script lies beside the source of this test, not under dist. */
const SCRIPT = new URL("../../../test/e2e/paho-scenarios.py", import.meta.url).pathname;
/** Debian's interpreter: others do not see Debian's packages. */
const PYTHON = "/usr/bin/python3";
const SCENARIO_COUNT = 12;

function run(args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(PYTHON, [SCRIPT, ...args], { timeout: 90_000 }, (error, stdout, stderr) => resolve(`${stdout}${stderr}${error === null ? "" : `failed: ${error.message}`}`));
  });
}

for (const shards of [1, 4]) {
  void t.test(`paho.mqtt for Python on ${String(shards)} shards`, { timeout: 240_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards });
    t.teardown(() => gateway.remove());
    for (const [name, args] of [["TCP", [String(gateway.mqttPort)]], ["TLS", [String(gateway.mqttsPort), gateway.caFile]]] as const) {
      const output = await run(args);
      t.equal([...output.matchAll(/^ok .+$/gm)].length, SCENARIO_COUNT, `${name}: ${output}`);
    }
    t.same(await gateway.stop(), { code: 0, signal: null });
  });
}
