// The journal's bytes: segment header, frame header, entry header, file names. docs/journal-format.md is the page about them; its worked
// example is checked against this file. Everything is little-endian and starts on 8-byte boundaries.
//
// An LSN is a byte offset in the endless log. A segment file holds the range from its first LSN on, its own header included, so that
// offset in the file = LSN - first LSN.
//
// Frame headers are read and written in commits, a few per hundred entries; entries are only ever walked by their first u32.

/** "PENSTJNL" */
const SEGMENT_MAGIC_LOW = 0x534e4550;
const SEGMENT_MAGIC_HIGH = 0x4c4e4a54;
export const FORMAT_VERSION = 2;
export const SEGMENT_HEADER_SIZE = 64;
const SEGMENT_CRC_AT = 60;

/** "PJF1": a frame of entries. */
export const FRAME_MAGIC = 0x31464a50;
/** "PJV1": what recovery writes over damage: `length` bytes behind the header are to be passed over. Its CRC covers the header alone. */
export const VOID_MAGIC = 0x31564a50;
export const FRAME_HEADER_SIZE = 40;
/** The CRC covers the frame from here to its end. */
export const FRAME_CRC_FROM = 8;
/** A frame is closed at JOURNAL_FRAME_SIZE (256 KiB), but the entry that crosses that mark may have 16 MiB. More is damage. */
export const FRAME_LENGTH_MAX = 32 * 1024 * 1024;

export const ENTRY_HEADER_SIZE = 8;

/** CRC-32C of `length` bytes from `at` on. */
export type Crc32c = (bytes: Uint8Array, at: number, length: number) => number;

export interface SegmentHeader {
  readonly version: number;
  readonly firstLsn: number;
  /** Where the log stood before: whatever an older segment holds from here on was never acknowledged and is void. */
  readonly followsLsn: number;
  /** Unix ms. */
  readonly createdAt: number;
}

const SUFFIX = ".journal";
const NAME = /^\d{20}\.journal$/;

/** File name of the segment that starts at `firstLsn`. */
export function segmentName(firstLsn: number): string {
  return String(firstLsn).padStart(20, "0") + SUFFIX;
}

/** An LSN beyond this (a petabyte of messages) is a mistake in a file name, and would leave too little of the numbers that are exact. */
const LSN_MAX = 2 ** 50;

/** First LSN that a file name stands for, or -1 when the file is no segment. */
export function firstLsnOf(name: string): number {
  const lsn = NAME.test(name) ? Number(name.slice(0, 20)) : -1;
  return lsn <= LSN_MAX ? lsn : -1;
}

/** A u64 as two u32: a BigInt would cost an allocation per frame, and LSNs stay below 2^53. */
export function writeLsn(view: DataView, at: number, lsn: number): void {
  view.setUint32(at, lsn >>> 0, true);
  view.setUint32(at + 4, Math.floor(lsn / 0x1_0000_0000), true);
}

export function readLsn(view: DataView, at: number): number {
  return view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
}

/** Writes SEGMENT_HEADER_SIZE bytes. */
export function writeSegmentHeader(bytes: Uint8Array, view: DataView, at: number, header: Omit<SegmentHeader, "version">, crc32c: Crc32c): void {
  bytes.fill(0, at, at + SEGMENT_HEADER_SIZE);
  view.setUint32(at, SEGMENT_MAGIC_LOW, true);
  view.setUint32(at + 4, SEGMENT_MAGIC_HIGH, true);
  view.setUint32(at + 8, FORMAT_VERSION, true);
  writeLsn(view, at + 16, header.firstLsn);
  writeLsn(view, at + 24, header.followsLsn);
  view.setFloat64(at + 32, header.createdAt, true);
  view.setUint32(at + SEGMENT_CRC_AT, crc32c(bytes, at, SEGMENT_CRC_AT), true);
}

/** @returns null when the bytes are no whole segment header */
export function readSegmentHeader(bytes: Uint8Array, view: DataView, at: number, crc32c: Crc32c): SegmentHeader | null {
  if (bytes.length - at < SEGMENT_HEADER_SIZE) return null;
  if (view.getUint32(at, true) !== SEGMENT_MAGIC_LOW || view.getUint32(at + 4, true) !== SEGMENT_MAGIC_HIGH) return null;
  if (view.getUint32(at + SEGMENT_CRC_AT, true) !== crc32c(bytes, at, SEGMENT_CRC_AT)) return null;
  return { version: view.getUint32(at + 8, true), firstLsn: readLsn(view, at + 16), followsLsn: readLsn(view, at + 24), createdAt: view.getFloat64(at + 32, true) };
}

/** Reads frame headers; one instance is re-used for every frame. */
export class FrameHeader {
  magic = 0;
  crc = 0;
  /** Bytes of the entries behind the header. */
  length = 0;
  entryCount = 0;
  lsn = 0;
  /** Unix ms of the commit. */
  time = 0;
  /** Entries that a lane consumes: a lane may pass over a frame without any. */
  laneEntryCount = 0;
  /** Bytes back to where its commit starts (or, for the first commit of a segment, the segment): one fdatasync covered it all. */
  commitOffset = 0;

  read(view: DataView, at: number): void {
    this.magic = view.getUint32(at, true);
    this.crc = view.getUint32(at + 4, true);
    this.length = view.getUint32(at + 8, true);
    this.entryCount = view.getUint32(at + 12, true);
    this.lsn = readLsn(view, at + 16);
    this.time = view.getFloat64(at + 24, true);
    this.laneEntryCount = view.getUint32(at + 32, true);
    this.commitOffset = view.getUint32(at + 36, true);
  }

  /** True when this can be the header of a frame (or void frame) that stands at `lsn`. Stale bytes of a re-used file never are: their LSN is older. */
  isPlausibleAt(lsn: number): boolean {
    return (this.magic === FRAME_MAGIC || this.magic === VOID_MAGIC) && this.lsn === lsn && this.length <= FRAME_LENGTH_MAX && (this.length & 7) === 0;
  }

  /** True when the CRC of the frame whose header was read from `at` is right. REQUIRES: the whole frame lies in `bytes`. */
  isIntact(bytes: Uint8Array, at: number, crc32c: Crc32c): boolean {
    const covered = this.magic === VOID_MAGIC ? FRAME_HEADER_SIZE : FRAME_HEADER_SIZE + this.length;
    return crc32c(bytes, at + FRAME_CRC_FROM, covered - FRAME_CRC_FROM) === this.crc;
  }
}

/** Writes a frame's header in front of its `length` bytes of entries, which must be in place since the CRC covers them. */
export function writeFrameHeader(
  bytes: Uint8Array, view: DataView, at: number, magic: number, length: number, entryCount: number, lsn: number, time: number,
  laneEntryCount: number, commitOffset: number, crc32c: Crc32c,
): void {
  view.setUint32(at, magic, true);
  view.setUint32(at + 8, length, true);
  view.setUint32(at + 12, entryCount, true);
  writeLsn(view, at + 16, lsn);
  view.setFloat64(at + 24, time, true);
  view.setUint32(at + 32, laneEntryCount, true);
  view.setUint32(at + 36, commitOffset, true);
  const covered = magic === VOID_MAGIC ? FRAME_HEADER_SIZE : FRAME_HEADER_SIZE + length;
  view.setUint32(at + 4, crc32c(bytes, at + FRAME_CRC_FROM, covered - FRAME_CRC_FROM), true);
}
