// Files that are read again when they have changed: certificates, access rules, passwords, secrets, keys. They are looked at by name twice a second,
// so that it does not matter on which file system they lie, what links lead there and which directory was put in another's place; a change is acted
// upon when two looks agree, so that the moments in which a file is half written, or gone since another takes its place, are not seen. What is read
// is taken over whole or not at all. Thread: that of whoever made it.
import { statSync } from "node:fs";
import type { Log } from "../base/log.js";

const LOOK_INTERVAL_MS = 500;
/** Looks that may differ each from the one before; then what is there is read all the same. */
const RESTLESS_MAX = 20;
/** What could not be read is tried again after so many looks: it may have been no fault of the files (no descriptor left). */
const RETRY_LOOKS = 10;
/** Before the first reading; no mark of files is like it. */
const UNREAD = "unread";
const GONE = "";

interface CommonOptions<T> {
  /** Looked at together. */
  readonly paths: readonly string[];
  /** @throws Error what is wrong; what was read before stays in force */
  readonly read: () => T;
  /** Takes into use what was read, or does nothing when it is the same. @throws Error why it cannot be used; what was read before stays in force */
  readonly apply: (value: T, before: T) => void;
  /** What the log says when it cannot be used; the reason follows. */
  readonly refusal: string;
  readonly log: Log;
}

/**
 * Either `absent`: in force while there is no file; the files are read at once. Or `current`: what was read of them before, which stays in force when
 * they are gone; they are read again after the first looks, for what has changed since.
 */
export type LiveFileOptions<T> = CommonOptions<T> & ({ readonly absent: T } | { readonly current: T });

export class LiveFile<T> {
  current: T;
  private readonly options: LiveFileOptions<T>;
  private readonly timer: NodeJS.Timeout;
  /** Of what was acted upon. */
  private mark = UNREAD;
  /** Of the last look. */
  private seen = UNREAD;
  private restless = 0;
  /** Why the last reading failed, "" when it did not; and how many looks ago. */
  private fault = "";
  private looksSince = 0;

  constructor(options: LiveFileOptions<T>) {
    this.options = options;
    if ("absent" in options) {
      this.current = options.absent;
      this.mark = this.seen = markOf(options.paths);
      if (this.mark !== GONE) this.attempt(() => (this.current = options.read()));
    } else this.current = options.current;
    this.timer = setInterval(() => this.look(), LOOK_INTERVAL_MS);
    this.timer.unref();
  }

  /** Reads the files when they have changed and the look before this one has seen the same. */
  look(): void {
    const mark = markOf(this.options.paths);
    const isStill = mark === this.seen || ++this.restless >= RESTLESS_MAX;
    this.seen = mark;
    if (!isStill) return;
    this.restless = 0;
    if (mark !== this.mark) this.act(mark);
    else if (this.fault !== "" && ++this.looksSince >= RETRY_LOOKS) this.act(mark, this.fault);
  }

  /** Reads the files now, changed or not. */
  reload(): void {
    this.act(markOf(this.options.paths));
  }

  close(): void {
    clearInterval(this.timer);
  }

  /** @param known a fault that the log has already */
  private act(mark: string, known = ""): void {
    const { options } = this;
    // Before the reading: what changes meanwhile is seen by the next looks.
    this.mark = this.seen = mark;
    this.attempt(() => {
      const isVoid = "absent" in options && mark === GONE;
      if (isVoid) options.log.info(`${options.paths.join(", ")} is gone: what it held is void`);
      const value = isVoid ? options.absent : options.read();
      options.apply(value, this.current);
      this.current = value;
    }, known);
  }

  private attempt(read: () => void, known = ""): void {
    this.looksSince = 0;
    try {
      read();
      this.fault = "";
    } catch (error) {
      this.fault = (error as Error).message;
      if (this.fault !== known) this.options.log.warn(`${this.options.refusal}: ${this.fault}`);
    }
  }
}

/** Differs whenever one of the files does; `GONE` while a single one is not there. */
function markOf(paths: readonly string[]): string {
  return paths.map(markOfOne).join(" ");
}

function markOfOne(path: string): string {
  try {
    const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? GONE : `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
  } catch (error) {
    // A directory that may not be searched any more, links in a circle: reading says the same.
    return (error as NodeJS.ErrnoException).code ?? "unreadable";
  }
}
