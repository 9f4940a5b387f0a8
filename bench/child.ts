// Child processes of the harness: started, waited for, ended by pid, and their last words kept for messages.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

const LAST_WORDS_SIZE = 8192;
const STOP_GRACE_MS = 10_000;

/** A child whose output is kept (its end only) and that never outlives the harness. */
export class Child {
  readonly process: ChildProcess;
  readonly name: string;
  private words = "";
  private hasEnded = false;

  constructor(name: string, command: string, args: readonly string[], options: { readonly cwd?: string; readonly environment?: NodeJS.ProcessEnv } = {}) {
    this.name = name;
    this.process = spawn(command, args, { cwd: options.cwd, env: { ...process.env, ...options.environment }, stdio: ["pipe", "pipe", "pipe"] });
    const keep = (chunk: Buffer): void => {
      this.words = (this.words + chunk.toString()).slice(-LAST_WORDS_SIZE);
    };
    this.process.stdout?.on("data", keep);
    this.process.stderr?.on("data", keep);
    this.process.on("error", (error) => {
      this.words += String(error);
      this.hasEnded = true;
    });
    this.process.on("exit", () => {
      this.hasEnded = true;
    });
    process.once("exit", this.kill);
  }

  get pid(): number {
    return this.process.pid ?? 0;
  }

  get isRunning(): boolean {
    return !this.hasEnded;
  }

  /** The end of what it wrote on stdout and stderr. */
  get lastWords(): string {
    return this.words.trim();
  }

  /** Asks it to end, and kills it when it does not. Returns its exit code; 137 after a kill. */
  async stop(): Promise<number> {
    if (this.isRunning) this.process.kill("SIGTERM");
    const timer = setTimeout(this.kill, STOP_GRACE_MS);
    const code = await this.ended();
    clearTimeout(timer);
    return code;
  }

  async ended(): Promise<number> {
    if (this.isRunning) await once(this.process, "exit");
    process.removeListener("exit", this.kill);
    return this.process.exitCode ?? 137;
  }

  private readonly kill = (): void => {
    this.process.kill("SIGKILL");
  };
}

/** A TCP port that nobody listens on at this moment. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port could be had");
  return address.port;
}

/** Waits until the child accepts TCP connections on the port. Throws with its last words when it ends or takes too long. */
export async function waitForPort(child: Child, port: number, limitMs = 30_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await accepts(port))) {
    if (!child.isRunning) throw new Error(`${child.name} ended before it listened on port ${port}:\n${child.lastWords}`);
    if (Date.now() > deadline) throw new Error(`${child.name} does not listen on port ${port} after ${limitMs} ms:\n${child.lastWords}`);
    await delay(50);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => {
      resolve(false);
    });
  });
}
