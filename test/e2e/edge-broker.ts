// A real mosquitto beside the gateway, with a bridge to it. Nothing here waits for time: it waits for what mosquitto says.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const DEADLINE_MS = 60_000;

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A mosquitto with a bridge to a gateway; its data outlive a stop. */
export class EdgeBroker {
  readonly port: number;
  output = "";
  private readonly directory = mkdtempSync(join(tmpdir(), "penstock-mosquitto-"));
  private child: ChildProcess | null = null;

  /** @param more lines of the bridge's configuration */
  constructor(port: number, gatewayPort: number, protocol: string, more: readonly string[] = []) {
    this.port = port;
    writeFileSync(join(this.directory, "mosquitto.conf"), [
      `listener ${String(port)} 127.0.0.1`, "allow_anonymous true", "user root", "persistence true", `persistence_location ${this.directory}/`, "log_dest stderr", "log_type all",
      "connection penstock", `address 127.0.0.1:${String(gatewayPort)}`, "topic # both 1", "cleansession false", "notifications false", "restart_timeout 1", "keepalive_interval 10",
      `bridge_protocol_version ${protocol}`, "remote_clientid edge", ...more, "",
    ].join("\n"));
  }

  /** Starts it and waits until its bridge is subscribed at the gateway. */
  async start(): Promise<void> {
    this.spawnChild();
    await this.bridged();
  }

  async bridged(): Promise<void> {
    await this.says(/Received SUBACK from/);
  }

  /** What it says from now on counts. */
  forget(): void {
    this.output = "";
  }

  private spawnChild(): void {
    this.forget();
    this.child = spawn("mosquitto", ["-c", join(this.directory, "mosquitto.conf")], { stdio: ["ignore", "ignore", "pipe"] });
    this.child.stderr!.on("data", (chunk: Buffer) => (this.output += chunk.toString()));
  }

  private async says(pattern: RegExp): Promise<void> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    while (!pattern.test(this.output)) await once(this.child!.stderr!, "data", { signal });
  }

  async stop(): Promise<void> {
    const child = this.child;
    this.child = null;
    if (child === null || child.exitCode !== null) return;
    child.kill("SIGTERM");
    await once(child, "exit");
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
