// README.md as a reader follows it: every command of every `sh` block runs, in order, against a gateway of its own (`npm start` of the README
// itself, with free ports and a folder of its own), and every `text` or `json` block after it is what the command printed.
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { promisify } from "node:util";
import t from "tap";
import { foldersOf, hasProgram, markdownBlocks, ROOT, sameShape } from "../readme-reader.js";

const DEADLINE_MS = 60_000;
const run = promisify(execFile);
const README = readFileSync(`${ROOT}README.md`, "utf8");

/** Commands that go on until they are ended, or until something comes. */
const LASTING = /^(npm start|mosquitto_sub )/;
const missing = ["mosquitto_sub", "mosquitto_pub", "curl"].filter((program) => !hasProgram(program));
// A machine without the clients may skip; continuous integration must have them.
const skip = missing.length > 0 && process.env["CI"] === undefined ? `${missing.join(", ")}: not installed` : false;

/** Asks again until `probe` is satisfied, without a pause of its own: each probe is a process or a request. */
async function until<T>(what: string, probe: () => Promise<T | undefined>, explain: () => string): Promise<T> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (Date.now() > deadline) throw new Error(`${what} did not come about:\n${explain()}`);
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map(async (server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map(async (server) => once(server.close(), "close")));
  return ports;
}

/** A command of the README that lasts, in a process group of its own. */
class Lasting {
  output = "";
  readonly child: ChildProcess;
  private readonly ended: Promise<unknown>;

  constructor(command: string, environment: NodeJS.ProcessEnv) {
    this.child = spawn("sh", ["-c", `exec ${command}`], { cwd: ROOT, env: environment, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout!, this.child.stderr!]) stream.on("data", (chunk: Buffer) => void (this.output += chunk.toString()));
    this.ended = once(this.child, "close");
  }

  get hasEnded(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** Waits until it ends by itself; kills it when that takes too long. */
  async end(): Promise<number | null> {
    const timer = setTimeout(() => process.kill(-this.child.pid!, "SIGKILL"), DEADLINE_MS);
    await this.ended;
    clearTimeout(timer);
    return this.child.exitCode;
  }

  /** As Ctrl-C in a terminal: the whole group gets it. */
  async interrupt(): Promise<number | null> {
    if (!this.hasEnded) process.kill(-this.child.pid!, "SIGINT");
    return this.end();
  }
}

t.test("README: every command runs, and answers what it shows", { skip, timeout: 240_000 }, async (t) => {
  const { folder, remove } = foldersOf();
  const [mqtts = 0, mqtt = 0, admin = 0] = await freePorts(3);
  const environment: NodeJS.ProcessEnv = {
    ...process.env,
    NODE_OPTIONS: "",
    PENSTOCK_DATA: `${folder}data`,
    PENSTOCK_CERTS: `${folder}certs`,
    PENSTOCK_LISTENERS_MQTTS_PORT: String(mqtts),
    PENSTOCK_LISTENERS_MQTT_PORT: String(mqtt),
    PENSTOCK_LISTENERS_ADMIN_PORT: String(admin),
  };
  const here = (command: string): string => command.replaceAll("8883", String(mqtts)).replaceAll("1883", String(mqtt)).replaceAll("9080", String(admin)).replaceAll("certs/ca.pem", `${folder}certs/ca.pem`);
  const started: Lasting[] = [];
  t.teardown(async () => {
    for (const lasting of started.reverse()) await lasting.interrupt();
    remove();
  });

  const gatewayReady = async (gateway: Lasting): Promise<void> => {
    await until("the start", async () => {
      if (gateway.hasEnded) throw new Error(`npm start ended:\n${gateway.output}`);
      const { stdout } = await run("curl", ["-s", `http://127.0.0.1:${admin}/readyz`]).catch(() => ({ stdout: "" }));
      return stdout.includes('"ready":true') ? true : undefined;
    }, () => gateway.output);
  };
  const subscribed = async (subscriber: Lasting): Promise<void> => {
    await until("the subscription", async () => {
      if (subscriber.hasEnded) throw new Error(`mosquitto_sub ended:\n${subscriber.output}`);
      const { stdout } = await run("curl", ["-s", `http://127.0.0.1:${admin}/api/v1/clients`]);
      return stdout.includes('"subscriptions":1') ? true : undefined;
    }, () => subscriber.output);
  };

  let commands = 0;
  let answers = 0;
  let last = "";
  for (const block of markdownBlocks(README)) {
    if (block.language === "sh") {
      for (const line of block.lines) {
        commands++;
        last = here(line);
        if (LASTING.test(line)) {
          const lasting = new Lasting(last, environment);
          started.push(lasting);
          await (line.startsWith("npm") ? gatewayReady(lasting) : subscribed(lasting));
          t.pass(line);
        } else {
          const { stdout } = await run("sh", ["-c", last], { cwd: ROOT, env: environment, timeout: DEADLINE_MS });
          if (/^(curl|node) /.test(line)) t.not(stdout, "", `${line}: prints something`);
          else t.pass(line);
        }
      }
    } else if (block.language === "text") {
      answers++;
      const subscriber = started.at(-1)!;
      await subscriber.end();
      t.equal(subscriber.output.trim(), block.lines.join("\n"), "the subscriber prints what the README shows");
    } else if (block.language === "json") {
      answers++;
      const shown = JSON.parse(block.lines.join("\n")) as unknown;
      const command = last;
      let answer = "";
      const difference = async (): Promise<string> => {
        answer = (await run("sh", ["-c", command], { timeout: DEADLINE_MS })).stdout;
        return sameShape(shown, JSON.parse(answer) as unknown);
      };
      await until(command, async () => ((await difference()) === "" ? true : undefined), () => `${sameShape(shown, JSON.parse(answer) as unknown)} in ${answer}`);
      t.pass(`${command}: answers as shown`);
    }
  }
  t.ok(commands >= 9 && answers >= 4, `${commands} commands, ${answers} answers`);

  const { stdout: metrics } = await run("curl", ["-s", `http://127.0.0.1:${admin}/metrics`]);
  const named = new Set(["README.md", "ARCHITECTURE.md", "docs/running.md"].flatMap((page) => readFileSync(ROOT + page, "utf8").match(/\bpenstock_[a-z_]{3,}\b/g) ?? []));
  t.ok(named.size >= 3, `${named.size} metrics are named in documents`);
  for (const metric of named) t.ok(metrics.includes(`# TYPE ${metric} `), `${metric} is in /metrics`);

  const gateway = started[0]!;
  await gateway.interrupt();
  t.match(gateway.output, /stopped in \d/, "Ctrl-C ends npm start in order");
});
