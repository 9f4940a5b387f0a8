// A file system in memory that fails and loses power: what was not synced may or may not be there afterwards, sector by sector; names that were not
// synced come back as some prefix of what was done to them. After a failed fdatasync the bytes are still read back, though the disk may
// never have got them (as Linux does).
import type { JournalFiles, OpenMode } from "../../src/storage/journal/files.js";

const SECTOR = 512;

class SimulatedFile {
  /** What programs see. */
  seen = Buffer.alloc(0);
  /** What is on disk. */
  stored = Buffer.alloc(0);
  readonly dirty = new Set<number>();
}

type NameChange = (names: Map<string, SimulatedFile>) => void;

export interface Faults {
  /** Chance of an operation to fail, by kind. */
  readonly write: number;
  readonly sync: number;
  readonly other: number;
  /** The power goes at this operation (counted from `restart` on). */
  readonly powerCutAt: number;
}

export const NO_FAULTS: Faults = { write: 0, sync: 0, other: 0, powerCutAt: Number.POSITIVE_INFINITY };

export class SimulatedFiles implements JournalFiles {
  faults: Faults = NO_FAULTS;
  isDead = false;
  operations = 0;
  failures = 0;
  private names = new Map<string, SimulatedFile>();
  private storedNames = new Map<string, SimulatedFile>();
  private changes: NameChange[] = [];
  private readonly open_ = new Map<number, SimulatedFile>();
  private nextFd = 3;
  private readonly random: () => number;

  constructor(random: () => number) {
    this.random = random;
  }

  /** Takes the power away and gives it back: only what reached the disk is left. */
  restart(): void {
    const kept = Math.floor(this.random() * (this.changes.length + 1));
    for (const change of this.changes.slice(0, kept)) change(this.storedNames);
    this.changes = [];
    const all = new Set([...this.names.values(), ...this.storedNames.values()]);
    for (const file of all) this.storeSome(file);
    for (const file of all) file.seen = Buffer.from(file.stored);
    this.names = new Map(this.storedNames);
    this.open_.clear();
    this.isDead = false;
    this.operations = 0;
    this.faults = NO_FAULTS;
  }

  list = (): string[] => {
    this.step("other");
    return [...this.names.keys()].map((path) => path.slice(path.lastIndexOf("/") + 1));
  };

  makeDirectory = (): void => this.step("other");

  open = (path: string, mode: OpenMode): number => {
    this.step("other");
    let file = this.names.get(path);
    if (mode === "create") {
      if (file !== undefined) throw failure("EEXIST");
      const created = new SimulatedFile();
      file = created;
      this.change((names) => void names.set(path, created));
    }
    if (file === undefined) throw failure("ENOENT");
    this.open_.set(this.nextFd, file);
    return this.nextFd++;
  };

  read = (fd: number, bytes: Uint8Array, at: number, length: number, position: number): number => {
    if (this.isDead) throw failure("EIO");
    const part = this.file(fd).seen.subarray(position, position + length);
    bytes.set(part, at);
    return part.length;
  };

  write = (fd: number, bytes: Uint8Array, at: number, length: number, position: number): number => {
    const isDead = this.isDead;
    try {
      this.step("write");
    } catch (error) {
      if (!isDead) this.put(this.file(fd), bytes, at, Math.floor(this.random() * length), position);
      throw error;
    }
    const count = this.random() < 0.1 ? Math.ceil(length * this.random()) : length;
    this.put(this.file(fd), bytes, at, count, position);
    return count;
  };

  sync = (fd: number): void => {
    const file = this.file(fd);
    try {
      this.step("sync");
    } catch (error) {
      if (!this.isDead) this.storeSome(file);
      throw error;
    }
    // Only what is marked dirty: what a failed fdatasync dropped stays lost.
    this.store(file, file.seen.length, () => true);
  };

  truncate = (fd: number, size: number): void => {
    this.step("other");
    const file = this.file(fd);
    file.seen = Buffer.concat([file.seen.subarray(0, size), Buffer.alloc(Math.max(0, size - file.seen.length))]);
  };

  size = (fd: number): number => this.file(fd).seen.length;

  close = (fd: number): void => void this.open_.delete(fd);

  rename = (from: string, to: string): void => {
    this.step("other");
    const file = this.names.get(from);
    if (file === undefined) throw failure("ENOENT");
    this.change((names) => {
      names.delete(from);
      names.set(to, file);
    });
  };

  remove = (path: string): void => {
    this.step("other");
    if (!this.names.has(path)) throw failure("ENOENT");
    this.change((names) => void names.delete(path));
  };

  syncDirectory = (): void => {
    this.step("other");
    for (const change of this.changes) change(this.storedNames);
    this.changes = [];
  };

  private change(change: NameChange): void {
    change(this.names);
    this.changes.push(change);
  }

  private step(kind: "write" | "sync" | "other"): void {
    if (this.isDead) throw failure("EIO");
    if (++this.operations >= this.faults.powerCutAt) {
      this.isDead = true;
      throw failure("EIO");
    }
    if (this.random() >= this.faults[kind]) return;
    this.failures++;
    throw failure(kind === "sync" || this.random() < 0.3 ? "EIO" : "ENOSPC");
  }

  private file(fd: number): SimulatedFile {
    const file = this.open_.get(fd);
    if (file === undefined) throw failure("EBADF");
    return file;
  }

  private put(file: SimulatedFile, bytes: Uint8Array, at: number, length: number, position: number): void {
    if (position + length > file.seen.length) file.seen = Buffer.concat([file.seen, Buffer.alloc(position + length - file.seen.length)]);
    file.seen.set(bytes.subarray(at, at + length), position);
    for (let sector = Math.floor(position / SECTOR); sector * SECTOR < position + length; sector++) file.dirty.add(sector);
  }

  /** Some dirty sectors reach the disk, some do not; so may the size. */
  private storeSome(file: SimulatedFile): void {
    const size = this.random() < 0.5 ? file.seen.length : Math.min(file.stored.length, file.seen.length) + Math.floor(this.random() * Math.max(0, file.seen.length - file.stored.length));
    this.store(file, this.random() < 0.5 && file.stored.length > size ? file.stored.length : size, () => this.random() < 0.5);
  }

  private store(file: SimulatedFile, size: number, isKept: (sector: number) => boolean): void {
    const stored = Buffer.alloc(size);
    file.stored.copy(stored);
    for (const sector of file.dirty) {
      const from = sector * SECTOR;
      if (isKept(sector) && from < size) stored.set(file.seen.subarray(from, Math.min(from + SECTOR, size)), from);
    }
    file.stored = stored;
    file.dirty.clear();
  }
}

function failure(code: string): Error {
  return Object.assign(new Error(`simulated ${code}`), { code });
}
