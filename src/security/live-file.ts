// A file that is read again when it has changed: looked at once a second (it may lie on any file system, and may be replaced by renaming), and taken
// over whole or not at all. What is wrong at the gateway's start was found before (checkAuthFiles); a shard that starts again later begins with
// nobody rather than not at all. Thread: the shard's.
import { statSync } from "node:fs";
import type { Log } from "../base/log.js";

const LOOK_INTERVAL_MS = 1000;

export interface LiveFileOptions<T> {
  readonly path: string;
  /** @throws Error what is wrong with it; what was read before stays in force */
  readonly read: (path: string) => T;
  /** In force while there is no such file. */
  readonly absent: T;
  readonly log: Log;
  readonly onChange: () => void;
}

export class LiveFile<T> {
  current: T;
  private readonly options: LiveFileOptions<T>;
  private readonly timer: NodeJS.Timeout;
  private mark: string;

  constructor(options: LiveFileOptions<T>) {
    this.options = options;
    this.mark = markOf(options.path);
    this.current = options.absent;
    if (this.mark !== "") this.read();
    this.timer = setInterval(() => this.look(), LOOK_INTERVAL_MS);
    this.timer.unref();
  }

  /** Reads the file if it has changed since the last look. */
  look(): void {
    const mark = markOf(this.options.path);
    if (mark === this.mark) return;
    this.mark = mark;
    const { path, log, absent, onChange } = this.options;
    if (mark === "") {
      this.current = absent;
      log.info(`${path} is gone: what it held is void`);
    } else if (this.read()) log.info(`${path} was read again`);
    onChange();
  }

  private read(): boolean {
    const { path, read, log } = this.options;
    try {
      this.current = read(path);
      return true;
    } catch (error) {
      log.warn(`${path} cannot be used; what was read before stays in force: ${(error as Error).message}`);
      return false;
    }
  }

  close(): void {
    clearInterval(this.timer);
  }
}

/** Differs whenever the file does; "" while it is not there. */
function markOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`;
}
