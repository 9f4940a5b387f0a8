// The gateway itself: `node dist/main.js --config FILE`, with listeners on free ports and everything else as a user would get it.
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { freePort } from "../child.js";
import { rootDirectory } from "../generator.js";
import { makeDirectory, type Peer, startTarget, type Target } from "./target.js";

const MAIN = join(rootDirectory(), "dist", "main.js");

export const penstock: Peer = {
  name: "penstock",

  missing: () => (existsSync(MAIN) ? "" : `${MAIN} is not there (npm run build)`),

  async start(options) {
    const directory = makeDirectory(options.directory, "penstock");
    const port = await freePort();
    const tlsPort = await freePort();
    const wsPort = await freePort();
    const adminPort = await freePort();
    const lines = [
      `data: ${join(directory, "data")}`,
      `certs: ${join(directory, "certs")}`,
      "log: warn",
      // Nobody counts as local on a listener for proxies.
      "auth: { anonymous: always }",
      ...options.configuration,
      "listeners:",
      `  mqtt: { host: 127.0.0.1, port: ${port} }`,
      `  mqtts: { host: 127.0.0.1, port: ${tlsPort} }`,
      `  ws: { host: 127.0.0.1, port: ${wsPort} }`,
      `  admin: { host: 127.0.0.1, port: ${adminPort} }`,
      ...["coaps", "coap", "https", "jsonl", "admin_https"].map((name) => `  ${name}: false`),
    ];
    const file = join(directory, "penstock.yaml");
    writeFileSync(file, lines.join("\n") + "\n");
    const api = `http://127.0.0.1:${adminPort}`;
    const target = await startTarget(
      { name: "penstock", version: version(), port, tlsPort, wsPort, caFile: join(directory, "certs", "ca.pem"), api },
      [process.execPath, ...options.nodeArguments, MAIN, "--config", file],
      { prefix: options.prefix, directory },
    );
    await waitUntilReady(target);
    return target;
  },
};

/** The gateway says by /readyz when all its workers are up. */
async function waitUntilReady(target: Target): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const isReady = await fetch(`${target.api}/readyz`).then(
      (answer) => answer.ok,
      () => false,
    );
    if (isReady) return;
    if (Date.now() > deadline) {
      await target.stop();
      throw new Error("penstock did not become ready within 30 s");
    }
    await delay(50);
  }
}

function version(): string {
  return (JSON.parse(readFileSync(join(rootDirectory(), "package.json"), "utf8")) as { readonly version: string }).version;
}
