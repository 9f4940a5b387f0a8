// What the store does with the journal's directory before it writes: walks all segments, puts damage aside, cuts the end.
// Runs once, at the store's start. docs/journal-format.md says the rules; each branch logs what it met and what was done.
//
// Nothing here stops the gateway but a directory or file that it may not read or write, and a journal of a newer version: going on would lose what
// was acknowledged, and the operator can mend it.
import type { Clock } from "../../base/clock.js";
import { StartError } from "../../base/errors.js";
import type { Log } from "../../base/log.js";
import { failureCode, type JournalFiles } from "./files.js";
import { firstLsnOf, FORMAT_VERSION, readSegmentHeader, SEGMENT_HEADER_SIZE, type Crc32c, type SegmentHeader } from "./format.js";
import { isAside, putAside, repairInPlace } from "./repair.js";
import { monotonicOf, Segments, SPARE_NAME } from "./segments.js";
import { walkSegment, type Walked } from "./walk.js";
import { FileWindow } from "./window.js";
import { align8Lsn } from "./writer.js";

export interface RecoveryOptions {
  readonly directory: string;
  readonly files: JournalFiles;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Durable position that this process has published before (the store worker was restarted), or 0. What the journal holds behind it was not
   * acknowledged, and its entries are still in the rings: it is cut, or they would be journaled twice.
   */
  readonly publishedLsn: number;
  /** No consumer is beyond this: the log goes on behind it even when files are gone, so that nothing new is taken for read. */
  readonly seenLsn: number;
}

export interface Recovered {
  readonly segments: Segments;
  /** Behind the last good frame. */
  readonly endLsn: number;
  /** Where the log goes on. */
  readonly nextLsn: number;
  readonly filesPutAside: number;
}

interface Found {
  readonly name: string;
  readonly path: string;
  readonly firstLsn: number;
  readonly size: number;
  /** null: damaged. */
  readonly header: SegmentHeader | null;
  /** The header is that of the segment which this file was before: it was about to be used again. */
  readonly isUnfinished: boolean;
}

interface Kept {
  readonly found: Found;
  /** Nothing in it from here on counts. */
  readonly limitLsn: number;
}

/** @throws StartError STORE_FAILED (files that may not be used), DATA_FORMAT (a newer version's journal) */
export function recoverJournal(options: RecoveryOptions): Recovered {
  try {
    return new Recovery(options).run();
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (error instanceof StartError || typeof code !== "string") throw error;
    const path = (error as NodeJS.ErrnoException).path ?? options.directory;
    const fix = code === "EACCES" || code === "EPERM" || code === "EROFS" ? "Give the gateway's user the right to read and write it." : "";
    throw new StartError("STORE_FAILED", `The journal in ${options.directory} cannot be used: ${code} at ${path}. ${fix}`.trim());
  }
}

class Recovery {
  private readonly options: RecoveryOptions;
  private readonly window: FileWindow;
  private filesPutAside = 0;
  private spareSize = 0;
  /** Behind every byte that any segment file has. */
  private beyondLsn = 0;

  constructor(options: RecoveryOptions) {
    this.options = options;
    this.window = new FileWindow(options.files);
  }

  run(): Recovered {
    const { directory, files, log, seenLsn, publishedLsn, clock } = this.options;
    files.makeDirectory(directory);
    const kept = this.choose(this.survey());
    const segments = new Segments(directory, files, log, this.spareSize);
    const nextLsn = align8Lsn(Math.max(this.beyondLsn, seenLsn, publishedLsn));
    let endLsn = -1;
    for (const [index, { found, limitLsn }] of kept.entries()) {
      this.reportMissing(found, endLsn);
      const walked = this.recoverSegment(found, limitLsn, index === kept.length - 1);
      if (walked === null) continue;
      endLsn = walked.endLsn;
      const begunAt = found.header === null ? clock.monotonic() : monotonicOf(found.header.createdAt, clock);
      segments.add({ name: found.name, firstLsn: found.firstLsn, endLsn, begunAt });
    }
    files.syncDirectory(directory);
    // Without any segment the log ends where consumers stand: the last file may have been used up and about to be used again.
    return { segments, endLsn: endLsn < 0 ? align8Lsn(seenLsn) : endLsn, nextLsn, filesPutAside: this.filesPutAside };
  }

  /** Looks at every file of the directory; segments come back oldest first. */
  private survey(): Found[] {
    const { directory, files, log } = this.options;
    const found: Found[] = [];
    const foreign: string[] = [];
    for (const name of files.list(directory).sort()) {
      const firstLsn = firstLsnOf(name);
      if (name === SPARE_NAME) this.spareSize = this.sizeOf(`${directory}/${name}`);
      else if (firstLsn >= 0) this.surveySegment(name, firstLsn, found);
      else if (!isAside(name)) foreign.push(name);
    }
    if (foreign.length > 0) log.warn(`journal: left alone what is not the journal's in ${directory}: ${foreign.join(", ")}`);
    return found;
  }

  private surveySegment(name: string, firstLsn: number, found: Found[]): void {
    const { directory, files, log, crc32c } = this.options;
    const path = `${directory}/${name}`;
    // Opened for writing although it is only read here: a file that cannot be mended later must be known now.
    const fd = files.open(path, "write");
    let size: number;
    let header: SegmentHeader | null;
    try {
      size = files.size(fd);
      this.window.reset(fd);
      header = this.window.holds(0, SEGMENT_HEADER_SIZE, size) ? readSegmentHeader(this.window.bytes, this.window.view, this.window.indexOf(0), crc32c) : null;
    } finally {
      files.close(fd);
    }
    if (size === 0) {
      log.info(`journal: removed ${name}, which is empty: it was created and never written`);
      files.remove(path);
      return;
    }
    if (header !== null && header.version > FORMAT_VERSION) {
      throw new StartError("DATA_FORMAT", `${path} has format version ${header.version}; this version reads up to ${FORMAT_VERSION}.`);
    }
    const isUnfinished = header !== null && header.firstLsn !== firstLsn;
    this.beyondLsn = Math.max(this.beyondLsn, firstLsn + size);
    found.push({ name, path, firstLsn, size, header: isUnfinished ? null : header, isUnfinished });
  }

  /** Tells the segments that count, and up to where, newest first; removes those that a newer one declares void and those that hold nothing. */
  private choose(found: readonly Found[]): Kept[] {
    const { files, log, publishedLsn } = this.options;
    const kept: Kept[] = [];
    let limitLsn = publishedLsn > 0 ? publishedLsn : Number.POSITIVE_INFINITY;
    for (const segment of [...found].reverse()) {
      if (segment.firstLsn >= limitLsn) {
        log.info(`journal: removed ${segment.name}: nothing in it was acknowledged, and what was in it has been written again`);
        files.remove(segment.path);
      } else if (segment.header === null && !this.holdsFrames(segment, limitLsn, kept.length === 0)) {
        this.discard(segment);
      } else {
        kept.unshift({ found: segment, limitLsn });
        limitLsn = Math.min(limitLsn, segment.header === null ? segment.firstLsn : segment.header.followsLsn);
      }
    }
    return kept;
  }

  /**
   * Whether a segment with a bad header is worth keeping. In the newest one the header and the first commit were made durable together: without
   * the header that commit was not acknowledged, and only frames of later commits show that the header was damaged afterwards.
   */
  private holdsFrames(found: Found, limitLsn: number, isNewest: boolean): boolean {
    let isProven = false;
    this.walk(found, limitLsn, isNewest, (header) => {
      if (!isNewest || header.lsn - header.commitOffset > found.firstLsn) isProven = true;
    });
    return isProven;
  }

  private discard(found: Found): void {
    const { directory, files, log } = this.options;
    if (found.isUnfinished) {
      log.info(`journal: removed ${found.name}: it was about to be used again and holds nothing yet`);
      files.remove(found.path);
      return;
    }
    const aside = putAside(files, directory, found.name);
    this.filesPutAside++;
    log.warn(`journal: put ${found.name} aside as ${aside}: it holds no frame (${found.size} bytes of zeros or of something else)`);
  }

  private reportMissing(found: Found, endLsn: number): void {
    const followsLsn = found.header?.followsLsn ?? found.firstLsn;
    if (endLsn < 0 || followsLsn <= endLsn) return;
    this.options.log.error(`journal: ${followsLsn - endLsn} bytes are missing in front of ${found.name}: a segment file is gone, or its end is`, { fromLsn: endLsn, toLsn: followsLsn });
  }

  /** Walks, repairs and cuts one segment. @returns null when it had to be given up */
  private recoverSegment(found: Found, limitLsn: number, isNewest: boolean): Walked | null {
    const { files, log } = this.options;
    const walked = this.walk(found, limitLsn, isNewest, () => undefined);
    const endOffset = walked.endLsn - found.firstLsn;
    const countedSize = Math.min(found.size, limitLsn - found.firstLsn);
    const isDamaged = found.header === null || walked.gaps.length > 0 || (!isNewest && endOffset < countedSize);
    if (isDamaged) return this.repair(found, walked, countedSize) ? walked : null;
    if (isNewest && walked.isTorn) {
      log.warn(`journal: cut the torn end of ${found.name}: it was being written and was not acknowledged`, { offset: endOffset, bytes: countedSize - endOffset });
    }
    const fd = files.open(found.path, "write");
    try {
      if (found.size > endOffset) files.truncate(fd, endOffset);
      // What a killed process wrote may be in the page cache only; consumers will be told that it is on disk.
      files.sync(fd);
    } finally {
      files.close(fd);
    }
    return walked;
  }

  private repair(found: Found, walked: Walked, countedSize: number): boolean {
    const { directory, files, log, crc32c, clock } = this.options;
    const cutSize = Math.max(0, countedSize - (walked.endLsn - found.firstLsn));
    const fields = { header: found.header === null ? "damaged" : "good", gaps: walked.gaps.map((gap) => ({ offset: gap.lsn - found.firstLsn, bytes: gap.length })), cutBytes: cutSize };
    this.filesPutAside++;
    try {
      const header = found.header ?? { firstLsn: found.firstLsn, followsLsn: found.firstLsn, createdAt: clock.wall() };
      const aside = repairInPlace({ files, directory, name: found.name, log, crc32c, window: this.window }, header, walked);
      log.error(`journal: ${found.name} is damaged; its ${walked.frameCount} good frames are kept${aside === null ? "" : `, the file as it was is ${aside}`}`, fields);
      return true;
    } catch (error) {
      if (failureCode(error) !== "EIO" && failureCode(error) !== "ENOSPC") throw error;
      const aside = putAside(files, directory, found.name);
      log.error(`journal: ${found.name} is damaged and cannot be mended (${failureCode(error)}); put aside as ${aside}: its entries are lost to consumers`, fields);
      return false;
    }
  }

  private walk(found: Found, limitLsn: number, isNewest: boolean, onFrame: Parameters<typeof walkSegment>[0]["onFrame"]): Walked {
    const { files, crc32c } = this.options;
    const fd = files.open(found.path, "read");
    try {
      this.window.reset(fd);
      // The file's size bounds it too: reads at the end would come back short anyway.
      return walkSegment({ window: this.window, crc32c, firstLsn: found.firstLsn, limitLsn: Math.min(limitLsn, found.firstLsn + found.size), isNewest, onFrame });
    } finally {
      files.close(fd);
    }
  }

  private sizeOf(path: string): number {
    const { files } = this.options;
    const fd = files.open(path, "read");
    try {
      return files.size(fd);
    } finally {
      files.close(fd);
    }
  }
}
