// Debian's paho.mqtt for Python against a built gateway, over TCP and over TLS. On 1 and 4 shards.
import t from "tap";
import { RunningGateway } from "./gateway.js";
import { PAHO_SCENARIO_COUNT, runPaho } from "./paho.js";

for (const shards of [1, 4]) {
  void t.test(`paho.mqtt for Python on ${String(shards)} shards`, { timeout: 240_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards });
    t.teardown(() => gateway.remove());
    for (const [name, args] of [["TCP", [String(gateway.mqttPort)]], ["TLS", [String(gateway.mqttsPort), gateway.caFile]]] as const) {
      const output = await runPaho(args);
      t.equal([...output.matchAll(/^ok .+$/gm)].length, PAHO_SCENARIO_COUNT, `${name}: ${output}`);
    }
    t.same(await gateway.stop(), { code: 0, signal: null });
  });
}
