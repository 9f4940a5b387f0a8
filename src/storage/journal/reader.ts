// Reads the journal for a consumer (a lane; later a session's queue), while the store writes it. Hot path: per frame, not per entry; the consumer walks
// the entries in place:
//
//   while (reader.next(readPosition(positions, POSITION.JOURNAL_DURABLE))) {
//     const { bytes, view } = reader;
//     for (let at = reader.at; at < reader.end;) {
//       const word = view.getUint32(at, true);             // kind << 24 | length; the entry's bytes start at `at + 8`
//       at += ENTRY_HEADER_SIZE + align8(word & 0xff_ffff);
//     }
//     // reader.endLsn: everything before it was read
//   }
//
// Invariant: nothing at or behind the given durable LSN is ever read, since those bytes may still change; what lies before never does.
// Thread safety: a reader belongs to one thread; any number of readers may be at work beside the one writer, who cuts and removes files only
// where no reader may be.
import { failureCode, nodeFiles, type JournalFiles } from "./files.js";
import { firstLsnOf, FRAME_HEADER_SIZE, FrameHeader, readSegmentHeader, SEGMENT_HEADER_SIZE, segmentName, VOID_MAGIC, type Crc32c } from "./format.js";
import { FileWindow } from "./window.js";

/** Something that an operator should know; the reader goes on. */
export interface ReaderFinding {
  readonly what: "missing" | "damaged" | "unreadable";
  readonly fromLsn: number;
  readonly toLsn: number;
  readonly text: string;
}

export interface ReaderOptions {
  readonly directory: string;
  /** Where to go on: a frame's LSN or the end of one. */
  readonly fromLsn: number;
  readonly crc32c: Crc32c;
  /** Frames before this LSN have their CRC checked: those that this run of the process did not write. Infinity = all. */
  readonly verifyBelowLsn: number;
  readonly onFinding: (finding: ReaderFinding) => void;
  readonly files?: JournalFiles;
}

/** A segment may be trimmed between listing and opening; more often than this in a row it is no accident. */
const OPEN_ATTEMPTS_MAX = 8;

export class JournalReader {
  /** LSN of the current frame. */
  lsn = 0;
  /** Unix ms of its commit. */
  time = 0;
  entryCount = 0;
  /** Entries that a lane consumes; 0 = nothing in this frame is for any lane. */
  laneEntryCount = 0;
  /** The entries lie in `bytes` from `at` to `end`, until the next call of `next`. */
  at = 0;
  end = 0;
  /** Everything before this LSN was given, or cannot be had. After `next` said false: where the consumer stands. */
  endLsn: number;
  /** Bytes that should have been read and could not: trimmed, missing or damaged. */
  skippedBytes = 0;
  private readonly options: ReaderOptions;
  private readonly files: JournalFiles;
  private readonly window: FileWindow;
  private readonly header = new FrameHeader();
  private fd = -1;
  /** Of the open segment. */
  private firstLsn = 0;
  /** Where damage began that is being passed over, or -1. */
  private damagedFrom = -1;
  /** The segment that was reported as unreadable: once, however often it is tried. */
  private unreadableLsn = -1;

  constructor(options: ReaderOptions) {
    this.options = options;
    this.files = options.files ?? nodeFiles;
    this.window = new FileWindow(this.files);
    this.endLsn = options.fromLsn;
  }

  /** Changes when a frame larger than any before comes: take it anew for each frame. */
  get bytes(): Buffer {
    return this.window.bytes;
  }

  get view(): DataView {
    return this.window.view;
  }

  /**
   * Moves to the next frame that ends at or before `durableLsn`.
   *
   * @returns false when there is none yet
   */
  next(durableLsn: number): boolean {
    const { header, window } = this;
    while (this.endLsn < durableLsn) {
      if (this.fd < 0) {
        // Looks at the durable LSN anew: a segment that holds its header only may end there, and what stands behind it is not to be read yet.
        if (!this.openAt(this.endLsn)) return false;
        continue;
      }
      const offset = this.endLsn - this.firstLsn;
      const limit = durableLsn - this.firstLsn;
      if (!window.holds(offset, FRAME_HEADER_SIZE, limit)) {
        // A closed file ends with its last frame; what is durable behind it lies in the next one.
        if (!this.openNext()) return false;
        continue;
      }
      header.read(window.view, window.indexOf(offset));
      if (!this.isWhole(offset, limit)) {
        this.passOver();
        continue;
      }
      this.endDamage();
      const lsn = this.endLsn;
      this.endLsn = lsn + FRAME_HEADER_SIZE + header.length;
      if (header.magic === VOID_MAGIC) {
        this.skip("damaged", lsn, this.endLsn, "recovery had found this part of the journal damaged");
        continue;
      }
      this.lsn = lsn;
      this.time = header.time;
      this.entryCount = header.entryCount;
      this.laneEntryCount = header.laneEntryCount;
      this.at = window.indexOf(offset) + FRAME_HEADER_SIZE;
      this.end = this.at + header.length;
      return true;
    }
    return false;
  }

  close(): void {
    if (this.fd >= 0) this.files.close(this.fd);
    this.fd = -1;
  }

  private isWhole(offset: number, limit: number): boolean {
    const { header, window } = this;
    if (!header.isPlausibleAt(this.endLsn) || !window.holds(offset, FRAME_HEADER_SIZE + header.length, limit)) return false;
    if (this.endLsn >= this.options.verifyBelowLsn && this.damagedFrom < 0) return true;
    return header.isIntact(window.bytes, window.indexOf(offset), this.options.crc32c);
  }

  /** Looks for the next frame behind bytes that are none: damage that came about after recovery had checked the file. */
  private passOver(): void {
    if (this.damagedFrom < 0) {
      if (!this.list().includes(this.firstLsn)) {
        // No damage: this reader had read the segment to its end, it was trimmed, and its file (still open here) is used again for a later one.
        // Names go before bytes are overwritten, so a name that is still there means that the bytes are the segment's.
        this.close();
        return;
      }
      this.damagedFrom = this.endLsn;
    }
    this.endLsn += 8;
  }

  private endDamage(): void {
    if (this.damagedFrom < 0) return;
    this.skip("damaged", this.damagedFrom, this.endLsn, "this part of the journal is damaged");
    this.damagedFrom = -1;
  }

  /** Opens the segment that holds `lsn`, or the first one behind it. */
  private openAt(lsn: number): boolean {
    for (let attempt = 0; attempt < OPEN_ATTEMPTS_MAX; attempt++) {
      const all = this.list();
      let firstLsn = -1;
      for (const candidate of all) if (candidate <= lsn || firstLsn < 0) firstLsn = candidate;
      if (firstLsn < 0) return false;
      if (this.open(firstLsn)) return true;
    }
    return false;
  }

  private openNext(): boolean {
    for (let attempt = 0; attempt < OPEN_ATTEMPTS_MAX; attempt++) {
      const firstLsn = this.list().find((candidate) => candidate > this.firstLsn);
      if (firstLsn === undefined) return false;
      if (!this.open(firstLsn)) continue;
      return true;
    }
    return false;
  }

  /** First LSNs of the segments that are there, ascending. */
  private list(): number[] {
    return this.files.list(this.options.directory).map(firstLsnOf).filter((lsn) => lsn >= 0).sort((a, b) => a - b);
  }

  private open(firstLsn: number): boolean {
    let fd: number;
    try {
      fd = this.files.open(`${this.options.directory}/${segmentName(firstLsn)}`, "read");
    } catch (error) {
      if (failureCode(error) === "ENOENT") return false;
      if (this.unreadableLsn !== firstLsn) {
        this.unreadableLsn = firstLsn;
        this.options.onFinding({ what: "unreadable", fromLsn: firstLsn, toLsn: firstLsn, text: `the segment cannot be opened (${failureCode(error)})` });
      }
      return false;
    }
    this.close();
    this.fd = fd;
    this.firstLsn = firstLsn;
    this.window.reset(fd);
    this.enter();
    return true;
  }

  /** Steps into the open segment; says what is missing between it and where the consumer stood. */
  private enter(): void {
    const { window, options } = this;
    if (this.endLsn >= this.firstLsn + SEGMENT_HEADER_SIZE) return;
    const isThere = window.holds(0, SEGMENT_HEADER_SIZE, SEGMENT_HEADER_SIZE);
    const segment = isThere ? readSegmentHeader(window.bytes, window.view, window.indexOf(0), options.crc32c) : null;
    const followsLsn = segment?.followsLsn ?? this.firstLsn;
    this.endDamage();
    if (followsLsn > this.endLsn) this.skip("missing", this.endLsn, followsLsn, "these bytes are not held any more");
    this.endLsn = this.firstLsn + SEGMENT_HEADER_SIZE;
  }

  private skip(what: ReaderFinding["what"], fromLsn: number, toLsn: number, text: string): void {
    this.skippedBytes += toLsn - fromLsn;
    this.options.onFinding({ what, fromLsn, toLsn, text });
  }
}
