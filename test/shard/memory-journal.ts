// The journal as shards read it, in memory: what a TestGateway has on disk, and what the next one takes up. An LSN is the number of an entry.
import assert from "node:assert/strict";
import { align8 } from "../../src/base/bytes.js";
import type { JournalFrames } from "../../src/base/journal-frames.js";
import { ENTRY_HEADER_SIZE } from "../../src/storage/journal/format.js";

export interface JournalEntry {
  readonly shard: number;
  readonly kind: number;
  readonly bytes: Buffer;
}

export class MemoryJournal {
  readonly entries: JournalEntry[] = [];
  firstLsn = 0;

  get endLsn(): number {
    return this.firstLsn + this.entries.length;
  }

  append(entries: readonly JournalEntry[]): void {
    this.entries.push(...entries);
  }

  /** @returns entries removed */
  trim(lsn: number): number {
    const count = Math.max(0, Math.min(lsn, this.endLsn) - this.firstLsn);
    this.entries.splice(0, count);
    this.firstLsn += count;
    return count;
  }

  /** One entry per frame. */
  read(fromLsn: number): JournalFrames {
    return new MemoryFrames(this, fromLsn);
  }
}

class MemoryFrames implements JournalFrames {
  lsn = 0;
  endLsn: number;
  laneEntryCount = 0;
  bytes: Uint8Array = new Uint8Array(0);
  view = new DataView(new ArrayBuffer(0));
  at = 0;
  end = 0;
  private readonly journal: MemoryJournal;

  constructor(journal: MemoryJournal, fromLsn: number) {
    this.journal = journal;
    this.endLsn = fromLsn;
  }

  next(durableLsn: number): boolean {
    if (this.endLsn >= durableLsn) return false;
    assert.ok(this.endLsn >= this.journal.firstLsn, "nothing is trimmed that a shard still reads");
    const { kind, bytes } = this.journal.entries[this.endLsn - this.journal.firstLsn]!;
    const frame = Buffer.alloc(ENTRY_HEADER_SIZE + align8(bytes.length));
    frame.writeUInt32LE(((kind << 24) | bytes.length) >>> 0, 0);
    frame.set(bytes, ENTRY_HEADER_SIZE);
    this.bytes = frame;
    this.view = new DataView(frame.buffer, frame.byteOffset, frame.length);
    this.end = frame.length;
    this.lsn = this.endLsn++;
    return true;
  }

  close(): void {
    this.bytes = new Uint8Array(0);
  }
}
