// The segment files that the store holds: which there are, how large and how old, which may go, and the one spare file that is used again.
//
// A trimmed file becomes the spare, and the next segment overwrites it: overwriting allocated blocks needs no change of the file system's own
// records, so a commit costs about half the CPU of an append (bench/micro/journal) and flash is spared the file system's log. What the file held
// before is told from frames by its LSNs.
// Invariants: sorted by first LSN; all but the last are closed: their files end where their last durable frame ends.
import type { Clock } from "../../base/clock.js";
import type { Log } from "../../base/log.js";
import { failureCode, type JournalFiles } from "./files.js";

export const SPARE_NAME = "spare";
/** Wall clock times before this come from a box that booted without a clock: an age cannot be told from them. */
const TRUSTED_SINCE = Date.UTC(2024, 0, 1);

export interface HeldSegment {
  readonly name: string;
  readonly firstLsn: number;
  /** Behind its last durable frame. */
  endLsn: number;
  /** Monotonic ms of when it was begun, as well as that can be told. */
  readonly begunAt: number;
}

export class Segments {
  readonly directory: string;
  private readonly files: JournalFiles;
  private readonly log: Log;
  private readonly held: HeldSegment[] = [];
  private spareSize: number;

  /** @param spareSize size of the spare file that is there, 0 when there is none */
  constructor(directory: string, files: JournalFiles, log: Log, spareSize: number) {
    this.directory = directory;
    this.files = files;
    this.log = log;
    this.spareSize = spareSize;
  }

  get count(): number {
    return this.held.length;
  }

  /** First LSN still held, or 0 when nothing is. */
  get firstLsn(): number {
    return this.held.length === 0 ? 0 : this.held[0]!.firstLsn;
  }

  /** Bytes on disk, the spare included. */
  get size(): number {
    let size = this.spareSize;
    for (const segment of this.held) size += segment.endLsn - segment.firstLsn;
    return size;
  }

  path(name: string): string {
    return `${this.directory}/${name}`;
  }

  add(segment: HeldSegment): void {
    this.held.push(segment);
  }

  /**
   * Opens the file for a new segment: the spare one, or a fresh one. Its name is on disk before anything is written: otherwise a power cut could
   * leave new bytes under the name that the spare had as a segment.
   *
   * @returns its descriptor
   * @throws the system's error
   */
  create(name: string): number {
    let fd: number;
    if (this.spareSize === 0) fd = this.files.open(this.path(name), "create");
    else {
      // Whatever comes of the rename, this file is not the spare any more.
      this.spareSize = 0;
      this.files.rename(this.path(SPARE_NAME), this.path(name));
      fd = this.files.open(this.path(name), "write");
    }
    this.files.syncDirectory(this.directory);
    return fd;
  }

  /**
   * Lets go of segments that every consumer has passed; the last one stays.
   *
   * @param consumedLsn   everything before it is needed by nobody
   * @param beforeRemoval called with the new first LSN before a file goes, so that readers never trust what is going
   * @returns bytes trimmed
   */
  trim(consumedLsn: number, spareSizeMax: number, beforeRemoval: (firstLsn: number) => void): number {
    let count = 0;
    while (count < this.held.length - 1 && this.held[count]!.endLsn <= consumedLsn) count++;
    if (count === 0) return 0;
    beforeRemoval(this.held[count]!.firstLsn);
    let trimmed = 0;
    for (const segment of this.held.splice(0, count)) {
      const size = segment.endLsn - segment.firstLsn;
      trimmed += size;
      this.retire(segment.name, size, spareSizeMax);
    }
    return trimmed;
  }

  /** Gives the spare file's room back to the disk. */
  dropSpare(): void {
    if (this.spareSize === 0) return;
    this.spareSize = 0;
    this.remove(SPARE_NAME);
  }

  /** How long the oldest closed segment that a consumer still needs has been closed, in ms; 0 when there is none. @param now monotonic */
  lag(consumedLsn: number, now: number): number {
    for (let i = 0; i + 1 < this.held.length; i++) if (this.held[i]!.endLsn > consumedLsn) return now - this.held[i + 1]!.begunAt;
    return 0;
  }

  private retire(name: string, size: number, spareSizeMax: number): void {
    if (size <= this.spareSize || size > spareSizeMax) {
      this.remove(name);
      return;
    }
    try {
      this.files.rename(this.path(name), this.path(SPARE_NAME));
      this.spareSize = size;
    } catch (error) {
      this.log.warn(`journal: ${name} cannot be kept for use again (${failureCode(error)}); removing it`);
      this.remove(name);
    }
  }

  private remove(name: string): void {
    try {
      this.files.remove(this.path(name));
    } catch (error) {
      this.log.warn(`journal: ${name} is not needed any more but cannot be removed (${failureCode(error)}); remove it by hand`);
    }
  }
}

/** Monotonic time of a wall clock time in the past; `now` when the clocks do not allow to tell. */
export function monotonicOf(wallTime: number, clock: Clock): number {
  const age = clock.wall() - wallTime;
  return wallTime >= TRUSTED_SINCE && age > 0 ? clock.monotonic() - age : clock.monotonic();
}
