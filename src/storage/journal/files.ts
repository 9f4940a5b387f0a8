// The few file operations that the journal uses, as an interface, so that tests can put failing disks and power cuts beneath it.
// All are synchronous: the store thread has nothing else to do meanwhile, and a promise per write would cost more than the write.
import * as fs from "node:fs";

export type OpenMode = "read" | "write" | "create";

export interface JournalFiles {
  /** Names of the files in the directory (not of directories). */
  list(directory: string): string[];
  makeDirectory(directory: string): void;
  /** `create` fails when the file is there; `write` when it is not. Both can be read too. */
  open(path: string, mode: OpenMode): number;
  /** @returns bytes read; 0 at the file's end */
  read(fd: number, bytes: Uint8Array, at: number, length: number, position: number): number;
  /** @returns bytes written, perhaps fewer than asked for */
  write(fd: number, bytes: Uint8Array, at: number, length: number, position: number): number;
  /** fdatasync. */
  sync(fd: number): void;
  truncate(fd: number, size: number): void;
  size(fd: number): number;
  close(fd: number): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** Makes created, renamed and removed names last. */
  syncDirectory(directory: string): void;
}

const FLAGS: Readonly<Record<OpenMode, string>> = { read: "r", write: "r+", create: "wx+" };

/** Real files. */
export const nodeFiles: JournalFiles = {
  list: (directory) => fs.readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isFile()).map((entry) => entry.name),
  makeDirectory: (directory) => void fs.mkdirSync(directory, { recursive: true, mode: 0o700 }),
  open: (path, mode) => fs.openSync(path, FLAGS[mode], 0o600),
  read: (fd, bytes, at, length, position) => fs.readSync(fd, bytes, at, length, position),
  write: (fd, bytes, at, length, position) => fs.writeSync(fd, bytes, at, length, position),
  sync: (fd) => fs.fdatasyncSync(fd),
  truncate: (fd, size) => fs.ftruncateSync(fd, size),
  size: (fd) => fs.fstatSync(fd).size,
  close: (fd) => fs.closeSync(fd),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (path) => fs.unlinkSync(path),
  syncDirectory: (directory) => {
    const fd = fs.openSync(directory, "r");
    try {
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  },
};

/** The system's error code (`ENOSPC`, …), or the message where there is none. */
export function failureCode(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error);
}

/** Writes all of it, however the system cuts it up. @throws the system's error; a write of 0 bytes counts as ENOSPC */
export function writeAll(files: JournalFiles, fd: number, bytes: Uint8Array, at: number, length: number, position: number): void {
  for (let done = 0; done < length;) {
    const count = files.write(fd, bytes, at + done, length - done, position + done);
    if (count === 0) throw Object.assign(new Error("the disk takes no more bytes"), { code: "ENOSPC" });
    done += count;
  }
}
