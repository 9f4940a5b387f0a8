// The frames of one commit in memory: entries are copied here from the rings, verbatim and in runs, then headers are written in front of them,
// and the whole goes to the disk with one write. Hot path: one u32 and one flags byte are read per entry (bench/micro/journal).
//
//   | room for a header | entries ... | room for a header | entries ... |
//   0                                 frame 1
//
// Headers are written last (`seal`), since only the attempt to write knows the LSN, and a failed commit is written again elsewhere.
import { align8, copyBytes } from "../../base/bytes.js";
import { ENTRY } from "../../base/journal-entry.js";
import { JOURNAL_FRAME_SIZE } from "../../base/limits.js";
import { MESSAGE_FLAG, MESSAGE_FLAGS_AT } from "../../base/message-record.js";
import { ENTRY_HEADER_SIZE, FRAME_HEADER_SIZE, FRAME_MAGIC, writeFrameHeader, type Crc32c } from "./format.js";

/** A ring of entries as the store reads it (a RingReader is one; positions wrap at 2^32). */
export interface EntrySource {
  readonly bytes: Uint8Array;
  readonly capacity: number;
  readonly kind: number;
  /** Where the entry's bytes start in `bytes`; its header lies right in front. */
  readonly at: number;
  readonly length: number;
  next(): boolean;
  unread(): void;
  release(): void;
  arm(): boolean;
  backlog(): number;
  position(): number;
  durable(): number;
  setDurable(position: number): void;
}

export class CommitBuffer {
  readonly bytes: Buffer;
  /** Bytes used, headers included. */
  length = 0;
  entryCount = 0;
  laneEntryCount = 0;
  /** Bytes of entries that shards write for a checkpoint. */
  stateBytes = 0;
  private readonly view: DataView;
  private readonly sizeMax: number;
  private frameCount = 0;
  private readonly frameAt: Uint32Array;
  private readonly frameEntries: Uint32Array;
  private readonly frameLaneEntries: Uint32Array;

  /**
   * @param sizeMax       bytes of entries in one commit; only an entry that is larger by itself exceeds it
   * @param entrySizeMax  the largest entry that can come
   */
  constructor(sizeMax: number, entrySizeMax: number) {
    const frameCountMax = Math.ceil(sizeMax / JOURNAL_FRAME_SIZE) + 2;
    this.sizeMax = sizeMax;
    this.bytes = Buffer.allocUnsafeSlow(align8(sizeMax + entrySizeMax + frameCountMax * FRAME_HEADER_SIZE));
    this.view = new DataView(this.bytes.buffer);
    this.frameAt = new Uint32Array(frameCountMax);
    this.frameEntries = new Uint32Array(frameCountMax);
    this.frameLaneEntries = new Uint32Array(frameCountMax);
  }

  get isEmpty(): boolean {
    return this.entryCount === 0;
  }

  clear(): void {
    this.length = 0;
    this.entryCount = 0;
    this.laneEntryCount = 0;
    this.stateBytes = 0;
    this.frameCount = 0;
  }

  /**
   * Copies entries from `source` until it is empty, `share` bytes were taken from it (one entry at least), or the buffer is full. The source
   * is not released: its writer may not overwrite what is not on disk.
   *
   * @returns number of entries taken
   */
  take(source: EntrySource, share: number): number {
    const bytes = source.bytes;
    const taken = this.entryCount;
    let takenSize = 0;
    let runAt = -1;
    let runEnd = -1;
    let entries = 0;
    let laneEntries = 0;
    let frameRoom = this.frameRoom();
    while (this.length + (runEnd - runAt) < this.sizeMax && source.next()) {
      const at = source.at;
      const size = ENTRY_HEADER_SIZE + align8(source.length);
      if (takenSize + size > share && takenSize > 0) {
        source.unread();
        break;
      }
      if (at - ENTRY_HEADER_SIZE !== runEnd || runEnd - runAt >= frameRoom) {
        // The ring begins anew, or the frame is full: what was walked so far goes over as one run of bytes.
        this.copyRun(bytes, runAt, runEnd, entries, laneEntries);
        frameRoom = this.frameRoom();
        runAt = at - ENTRY_HEADER_SIZE;
        entries = 0;
        laneEntries = 0;
      }
      if (source.kind === ENTRY.PUBLISH) {
        if ((bytes[at + MESSAGE_FLAGS_AT]! & MESSAGE_FLAG.LANE) !== 0) laneEntries++;
      } else if (source.kind >= ENTRY.KEPT && source.kind <= ENTRY.RETAINED) this.stateBytes += size;
      runEnd = at + size - ENTRY_HEADER_SIZE;
      takenSize += size;
      entries++;
    }
    this.copyRun(bytes, runAt, runEnd, entries, laneEntries);
    return this.entryCount - taken;
  }

  /**
   * Writes the frames' headers for a first frame at `lsn`. May be called again with another LSN.
   *
   * @param commitLsn where the bytes start that the same fdatasync covers: `lsn`, or the segment's start for the first commit in it
   */
  seal(lsn: number, commitLsn: number, time: number, crc32c: Crc32c): void {
    for (let i = 0; i < this.frameCount; i++) {
      const at = this.frameAt[i]!;
      const end = i + 1 < this.frameCount ? this.frameAt[i + 1]! : this.length;
      const length = end - at - FRAME_HEADER_SIZE;
      writeFrameHeader(this.bytes, this.view, at, FRAME_MAGIC, length, this.frameEntries[i]!, lsn + at, time, this.frameLaneEntries[i]!, lsn + at - commitLsn, crc32c);
    }
  }

  private copyRun(source: Uint8Array, from: number, end: number, entries: number, laneEntries: number): void {
    if (end === from) return;
    const at = this.beginRun();
    copyBytes(this.bytes, at, source, from, end - from);
    this.endRun(end - from, entries, laneEntries);
  }

  /** @returns where the next entries go; starts a frame where there is none or the last one is full */
  private beginRun(): number {
    if (this.frameRoom() === JOURNAL_FRAME_SIZE) {
      this.frameAt[this.frameCount] = this.length;
      this.frameEntries[this.frameCount] = 0;
      this.frameLaneEntries[this.frameCount] = 0;
      this.frameCount++;
      this.length += FRAME_HEADER_SIZE;
    }
    return this.length;
  }

  private endRun(size: number, entries: number, laneEntries: number): void {
    this.length += size;
    this.entryCount += entries;
    this.laneEntryCount += laneEntries;
    this.frameEntries[this.frameCount - 1]! += entries;
    this.frameLaneEntries[this.frameCount - 1]! += laneEntries;
  }

  /** Bytes of entries that the current frame still takes; the whole of JOURNAL_FRAME_SIZE means that the next run starts a frame. */
  private frameRoom(): number {
    if (this.frameCount === 0) return JOURNAL_FRAME_SIZE;
    const left = JOURNAL_FRAME_SIZE - (this.length - this.frameAt[this.frameCount - 1]! - FRAME_HEADER_SIZE);
    return left <= 0 ? JOURNAL_FRAME_SIZE : left;
  }
}
