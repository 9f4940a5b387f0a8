// A built gateway (dist/main.js) as a child process, with a configuration, data directory and certificates of its own under a temporary
// folder, and free ports on 127.0.0.1. Nothing here waits for time: it waits for what the gateway says.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const START_DEADLINE_MS = 60_000;
const PROBE_INTERVAL_MS = 5;

export interface GatewayOptions {
  readonly shards?: number;
  readonly lanes?: number;
  readonly durability?: "disk" | "memory";
  /** More of penstock.yaml, as YAML text of top-level keys other than data, certs, shards, lanes, durability and listeners. */
  readonly more?: string;
  /** Options of listeners that are off otherwise, as YAML: `{ https: "{ port: 0 }" }`. */
  readonly listeners?: Readonly<Record<string, string>>;
  readonly environment?: Readonly<Record<string, string>>;
  /** Another program in the place of dist/main.js. */
  readonly program?: string;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const MAIN = new URL("../../main.js", import.meta.url).pathname;

export class RunningGateway {
  readonly directory: string;
  mqttPort = 0;
  mqttsPort = 0;
  /** `http://127.0.0.1:port` of the admin API. */
  api = "";
  /** Everything it printed since its last start. */
  output = "";
  child!: ChildProcess;
  private readonly options: GatewayOptions;
  private exited!: Promise<Exit>;

  private constructor(directory: string, options: GatewayOptions) {
    this.directory = directory;
    this.options = options;
  }

  /** Starts a gateway and waits until it serves. */
  static async start(options: GatewayOptions = {}): Promise<RunningGateway> {
    const gateway = new RunningGateway(mkdtempSync(join(tmpdir(), "penstock-e2e-")), options);
    await gateway.restart();
    return gateway;
  }

  get caFile(): string {
    return join(this.directory, "certs", "ca.pem");
  }

  get configFile(): string {
    return join(this.directory, "penstock.yaml");
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Starts it again on the same data directory and the same ports. REQUIRES: it has ended. */
  async restart(): Promise<void> {
    this.configure();
    this.spawnChild();
    const isUp = await this.says(/started in/);
    if (!isUp) throw new Error(`the gateway did not start:\n${this.output}`);
    this.mqttPort = this.portOf(/mqtt:\/\/127\.0\.0\.1:(\d+)/);
    this.mqttsPort = this.portOf(/mqtts:\/\/127\.0\.0\.1:(\d+)/);
    this.api = /http:\/\/127\.0\.0\.1:\d+/.exec(this.output)![0];
  }

  /** Starts it without waiting, for starts that are to fail. */
  spawnChild(): void {
    this.output = "";
    this.child = spawn(process.execPath, [this.options.program ?? MAIN, "start", "--config", this.configFile], {
      cwd: this.directory,
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, NODE_OPTIONS: "", ...this.options.environment },
    });
    this.exited = once(this.child, "exit").then(([code, signal]) => ({ code: code as number | null, signal: signal as NodeJS.Signals | null }));
    const add = (chunk: Buffer): void => void (this.output += chunk.toString());
    this.child.stdout!.on("data", add);
    this.child.stderr!.on("data", add);
  }

  /** Another gateway with the same configuration, started without waiting. */
  again(): RunningGateway {
    const other = new RunningGateway(this.directory, this.options);
    other.spawnChild();
    return other;
  }

  /** Starts it without waiting, with a changed configuration. REQUIRES: it has ended. */
  useConfig(change: (text: string) => string): void {
    this.configure();
    writeFileSync(this.configFile, change(readFileSync(this.configFile, "utf8")));
    this.spawnChild();
  }

  /** Waits until its output matches. @returns false when it ended or took too long instead */
  async says(pattern: RegExp, deadlineMs = START_DEADLINE_MS): Promise<boolean> {
    if (pattern.test(this.output)) return true;
    return new Promise((resolve) => {
      const look = (): void => {
        if (pattern.test(this.output)) finish(true);
      };
      const finish = (isSaid: boolean): void => {
        clearTimeout(timer);
        this.child.stdout!.off("data", look);
        this.child.stderr!.off("data", look);
        resolve(isSaid);
      };
      const timer = setTimeout(() => finish(false), deadlineMs);
      this.child.stdout!.on("data", look);
      this.child.stderr!.on("data", look);
      void this.exited.then(() => finish(pattern.test(this.output)));
    });
  }

  /** SIGTERM, in order. */
  async stop(): Promise<Exit> {
    this.child.kill("SIGTERM");
    return this.exited;
  }

  /** SIGKILL, at once: nothing of the process survives but what it wrote. */
  async kill(): Promise<Exit> {
    this.child.kill("SIGKILL");
    return this.exited;
  }

  ended(): Promise<Exit> {
    return this.exited;
  }

  /** Ends it and removes its folder. */
  async remove(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }

  async get(path: string): Promise<{ readonly status: number; readonly body: unknown }> {
    const response = await fetch(this.api + path);
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    return { status: response.status, body: isJson ? (JSON.parse(text) as unknown) : text };
  }

  /** One metric's value, summed over its labels; 0 when it is not there. */
  async metric(name: string): Promise<number> {
    const { body } = await this.get("/metrics");
    let sum = 0;
    for (const line of (body as string).split("\n")) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{[^}]*\})? (\S+)$/.exec(line);
      if (match?.[1] === name) sum += Number(match[2]);
    }
    return sum;
  }

  /** Asks `probe` until it gives something, bounded by a deadline. */
  async until<T>(what: string, probe: () => Promise<T | undefined>, deadlineMs = 60_000): Promise<T> {
    const deadline = Date.now() + deadlineMs;
    for (;;) {
      const found = await probe();
      if (found !== undefined) return found;
      if (Date.now() > deadline) throw new Error(`${what} did not come about within ${deadlineMs} ms; the gateway said:\n${this.output.slice(-4000)}`);
      // The gateway needs the processor more than this loop.
      await new Promise((resolve) => setTimeout(resolve, PROBE_INTERVAL_MS));
    }
  }

  private configure(): void {
    const { shards = 2, lanes = 1, durability = "disk", more = "" } = this.options;
    const listeners = { admin_https: "false", coaps: "false", coap: "false", https: "false", jsonl: "false", ...this.options.listeners };
    writeFileSync(
      this.configFile,
      `data: ${join(this.directory, "data")}
certs: ${join(this.directory, "certs")}
shards: ${shards}
lanes: ${lanes}
durability: ${durability}
listeners:
  mqtts: { host: 127.0.0.1, port: ${this.mqttsPort} }
  mqtt: { host: 127.0.0.1, port: ${this.mqttPort} }
  admin: { host: 127.0.0.1, port: ${this.api === "" ? 0 : new URL(this.api).port} }
${Object.entries(listeners).map(([name, options]) => `  ${name}: ${options}`).join("\n")}
${more}
`,
    );
  }

  /** The first group of `pattern` in what it said at its start. */
  portOf(pattern: RegExp): number {
    const match = pattern.exec(this.output);
    if (match === null) throw new Error(`no ${String(pattern)} in what the gateway said:\n${this.output}`);
    return Number(match[1]);
  }
}
