// A file that is read again when it has changed: looked at once a second (it may lie on any file system, and may be replaced by renaming), and taken
// over whole or not at all. Thread: the shard's.
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

  /** @throws Error when the file is there and cannot be used */
  constructor(options: LiveFileOptions<T>) {
    this.options = options;
    this.mark = markOf(options.path);
    this.current = this.mark === "" ? options.absent : options.read(options.path);
    this.timer = setInterval(() => this.look(), LOOK_INTERVAL_MS);
    this.timer.unref();
  }

  /** Reads the file if it has changed since the last look. */
  look(): void {
    const mark = markOf(this.options.path);
    if (mark === this.mark) return;
    this.mark = mark;
    const { path, log, read, absent, onChange } = this.options;
    try {
      this.current = mark === "" ? absent : read(path);
      onChange();
      log.info(mark === "" ? `${path} is gone: nobody is in it any more` : `${path} was read again`);
    } catch (error) {
      log.warn(`${path} has changed but cannot be used; what it said before stays in force: ${(error as Error).message}`);
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
