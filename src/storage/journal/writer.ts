// Appends commits to the journal: one write, one fdatasync. Called by the store's loop alone.
//
// Invariant: `durableLsn` is behind bytes that fdatasync confirmed (with durability `memory`: that were written), and never runs ahead of them.
// When a write or fdatasync fails, the bytes behind `durableLsn` are in an unknown state (after a failed fdatasync the kernel may have dropped
// them and will not say so again), so nothing is appended to that file any more: it is cut at `durableLsn`, and the commit is written anew into
// another segment, whose header says (`followsLsn`) that nothing between the two counts. No LSN that was tried is used again.
import { assert } from "../../base/assert.js";
import type { Clock } from "../../base/clock.js";
import type { Durability } from "../../base/messages.js";
import type { CommitBuffer } from "./commit-buffer.js";
import { failureCode, writeAll, type JournalFiles } from "./files.js";
import { SEGMENT_HEADER_SIZE, segmentName, writeSegmentHeader, type Crc32c } from "./format.js";
import type { HeldSegment, Segments } from "./segments.js";

export interface WriterOptions {
  readonly segments: Segments;
  readonly files: JournalFiles;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly durability: Durability;
  /** A segment is closed when a commit would make it larger than this. */
  readonly segmentSize: number;
  /** … or when it is this old, so that the age of what it holds can be told. */
  readonly segmentAgeMs: number;
  /** Where the log ended and where it goes on (recovery.ts). */
  readonly endLsn: number;
  readonly nextLsn: number;
}

export class JournalWriter {
  /** Everything before this is on disk. */
  durableLsn: number;
  private readonly options: WriterOptions;
  private readonly header = Buffer.alloc(SEGMENT_HEADER_SIZE);
  private readonly headerView: DataView;
  private segment: HeldSegment | null = null;
  private fd = -1;
  /** A file that failed and is not put right yet. */
  private abandoned: { readonly name: string; readonly keptSize: number } | null = null;
  /** The least LSN that may be written next. */
  private nextLsn: number;

  constructor(options: WriterOptions) {
    assert(options.nextLsn % 8 === 0 && options.nextLsn >= options.endLsn, "the log goes on behind its end");
    this.options = options;
    this.headerView = new DataView(this.header.buffer, this.header.byteOffset, SEGMENT_HEADER_SIZE);
    this.durableLsn = options.endLsn;
    this.nextLsn = options.nextLsn;
  }

  /**
   * Writes the buffer's frames and makes them durable; with an empty buffer only makes sure that there is a segment to write to.
   *
   * @returns null, or the system's error code: then nothing of the buffer counts, and the same buffer is to be given again later
   */
  commit(buffer: CommitBuffer): string | null {
    let attemptedTo = this.nextLsn;
    try {
      if (this.abandoned !== null) this.putRight(this.abandoned);
      let commitLsn = this.nextLsn;
      if (this.segment === null || this.isFull(this.segment, buffer.length)) {
        this.closeSegment();
        attemptedTo = this.nextLsn + SEGMENT_HEADER_SIZE;
        commitLsn = this.nextLsn;
        this.openSegment();
      } else if (buffer.isEmpty) return null;
      const { files, clock, crc32c, durability, segments } = this.options;
      const segment = this.segment!;
      const lsn = this.nextLsn;
      attemptedTo = lsn + buffer.length;
      if (buffer.length > 0) {
        buffer.seal(lsn, commitLsn, clock.wall(), crc32c);
        writeAll(files, this.fd, buffer.bytes, 0, buffer.length, lsn - segment.firstLsn);
      }
      if (durability === "disk") files.sync(this.fd);
      // Held only from here on: a segment that is not on disk is none.
      if (segment.endLsn === segment.firstLsn) segments.add(segment);
      segment.endLsn = attemptedTo;
      this.durableLsn = attemptedTo;
      this.nextLsn = attemptedTo;
      return null;
    } catch (error) {
      this.abandon(Math.max(attemptedTo, this.nextLsn));
      return failureCode(error);
    }
  }

  /** Closes the file; what is durable stays so. */
  close(): void {
    this.closeSegment();
  }

  private isFull(segment: HeldSegment, size: number): boolean {
    const { segmentSize, segmentAgeMs, clock } = this.options;
    const used = segment.endLsn - segment.firstLsn;
    return (used + size > segmentSize && used > SEGMENT_HEADER_SIZE) || clock.monotonic() - segment.begunAt > segmentAgeMs;
  }

  /** Starts the segment at `nextLsn` with its header; the commit that follows makes it durable together with its own frames. */
  private openSegment(): void {
    const { segments, files, crc32c, clock } = this.options;
    const firstLsn = this.nextLsn;
    // Set before the file is there, so that a failure in between abandons it too.
    this.segment = { name: segmentName(firstLsn), firstLsn, endLsn: firstLsn, begunAt: clock.monotonic() };
    this.fd = segments.create(this.segment.name);
    writeSegmentHeader(this.header, this.headerView, 0, { firstLsn, followsLsn: this.durableLsn, createdAt: clock.wall() }, crc32c);
    writeAll(files, this.fd, this.header, 0, SEGMENT_HEADER_SIZE, 0);
    this.nextLsn += SEGMENT_HEADER_SIZE;
  }

  /** The file of a closed segment ends with its last frame: readers go on to the next segment there. */
  private closeSegment(): void {
    const segment = this.segment;
    if (segment === null) return;
    const { files } = this.options;
    const size = segment.endLsn - segment.firstLsn;
    if (files.size(this.fd) > size) files.truncate(this.fd, size);
    files.close(this.fd);
    this.fd = -1;
    this.segment = null;
  }

  private abandon(nextLsn: number): void {
    this.nextLsn = align8Lsn(nextLsn);
    const segment = this.segment;
    if (segment === null) return;
    this.segment = null;
    this.abandoned = { name: segment.name, keptSize: segment.endLsn - segment.firstLsn };
    const fd = this.fd;
    this.fd = -1;
    if (fd < 0) return;
    try {
      this.options.files.close(fd);
    } catch {
      // The descriptor is gone either way; whether the file's bytes are right is not assumed.
    }
  }

  /** Cuts a failed file where its durable frames end. Until that has worked nothing else is written: readers must not meet its remains. */
  private putRight(abandoned: { readonly name: string; readonly keptSize: number }): void {
    const { files, segments } = this.options;
    const path = segments.path(abandoned.name);
    if (abandoned.keptSize === 0) {
      removeIfThere(files, path);
    } else {
      const fd = files.open(path, "write");
      try {
        files.truncate(fd, abandoned.keptSize);
      } finally {
        files.close(fd);
      }
    }
    this.abandoned = null;
  }
}

function removeIfThere(files: JournalFiles, path: string): void {
  try {
    files.remove(path);
  } catch (error) {
    if (failureCode(error) !== "ENOENT") throw error;
  }
}

/** `align8` for LSNs, which have more than 32 bits. */
export function align8Lsn(lsn: number): number {
  return Math.ceil(lsn / 8) * 8;
}
