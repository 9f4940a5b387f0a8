// A change of a file that several processes may change, each by what it reads there first. The new file is written beside the old one and takes its
// place whole or not at all; while it lies there nobody else can begin a change, so that none is lost.
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { type ErrorCode, StartError } from "../base/errors.js";

export class FileChange {
  private readonly path: string;
  private readonly fresh: string;
  private readonly fd: number;
  private readonly mode: number;
  private isCommitted = false;

  /**
   * @param command what changes such files, for the words when another change is under way
   * @throws StartError `code`
   */
  constructor(path: string, mode: number, code: ErrorCode, command: string) {
    this.path = path;
    this.fresh = `${path}.new`;
    try {
      this.fd = openSync(this.fresh, "wx", mode);
    } catch (error) {
      const { code: fault } = error as NodeJS.ErrnoException;
      throw new StartError(code, fault === "EEXIST" ? `${this.fresh} is there: another \`${command}\` runs, or one was cut off; then remove it` : `${this.fresh} cannot be written (${fault ?? "?"})`);
    }
    this.mode = mode;
  }

  commit(text: string): void {
    // Whatever the umask is.
    fchmodSync(this.fd, this.mode);
    writeFileSync(this.fd, text);
    fsyncSync(this.fd);
    renameSync(this.fresh, this.path);
    this.isCommitted = true;
  }

  /** Ends the change: without `commit` everything is as it was. */
  end(): void {
    closeSync(this.fd);
    if (!this.isCommitted) rmSync(this.fresh, { force: true });
  }
}
