// The test's side of durable clients: they live in child processes (client-host.ts) that are killed and started again like the gateway is.
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync } from "node:fs";
import type { Order } from "./client-host.js";
import type { ClientSpec, Place, Report } from "./durable-client.js";
import { linesOf } from "./notebook.js";

const HOST = new URL("./client-host.js", import.meta.url).pathname;

export class Clients {
  /** By name. */
  readonly reports = new Map<string, Report>();
  readonly specs: readonly ClientSpec[];
  private readonly directory: string;
  private readonly place: Place;
  readonly hostCount: number;
  private readonly children: ChildProcess[] = [];
  private readonly looks = new Set<() => void>();

  /** @param directory for their notebooks @param hostCount in how many processes they live */
  constructor(specs: readonly ClientSpec[], place: Place, directory: string, hostCount: number) {
    this.hostCount = hostCount;
    this.specs = specs;
    this.place = place;
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    for (let host = 0; host < hostCount; host++) this.startHost(host);
  }

  /** Tells a client of its changed spec. */
  follow(spec: ClientSpec): void {
    this.tell(this.specs.indexOf(spec) % this.hostCount, { do: "follow", spec });
  }

  cut(spec: ClientSpec): void {
    this.tell(this.specs.indexOf(spec) % this.hostCount, { do: "cut", name: spec.name });
  }

  /** kill -9, then a successor. */
  async killHost(host: number): Promise<void> {
    const child = this.children[host]!;
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    this.startHost(host);
  }

  end(): void {
    for (const child of this.children) child.kill("SIGKILL");
  }

  report(spec: ClientSpec): Report | undefined {
    return this.reports.get(spec.name);
  }

  /** Waits for a state that reports tell of. @returns false when it took too long */
  async reach(isReached: () => boolean, deadlineMs: number): Promise<boolean> {
    if (isReached()) return true;
    return new Promise((resolve) => {
      const finish = (wasReached: boolean): void => {
        clearTimeout(timer);
        this.looks.delete(look);
        resolve(wasReached);
      };
      const timer = setTimeout(() => finish(false), deadlineMs);
      const look = (): void => {
        if (isReached()) finish(true);
      };
      this.looks.add(look);
    });
  }

  /** The notebook of a client, as it is now. */
  notesOf(spec: ClientSpec): Iterable<string[]> {
    return linesOf(readFileSync(`${this.directory}/${spec.name}.notes`, "utf8"));
  }

  private startHost(host: number): void {
    const child = fork(HOST, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.children[host] = child;
    child.on("message", (reports: Report[]) => {
      for (const report of reports) this.reports.set(report.name, report);
      for (const look of this.looks) look();
    });
    // It only ends when it is killed here, or has a fault of its own.
    child.on("exit", (code) => {
      if (code !== null) throw new Error(`a process of clients ended with ${code}`);
    });
    // What is sent to a process that was just killed is told to its successor.
    child.on("error", () => undefined);
    this.tell(host, { do: "host", place: this.place, directory: this.directory });
    this.specs.forEach((spec, i) => {
      if (i % this.hostCount === host) this.tell(host, { do: "follow", spec });
    });
  }

  private tell(host: number, order: Order): void {
    this.children[host]!.send(order, () => undefined);
  }
}
