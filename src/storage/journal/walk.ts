// Walks one segment file from its first frame to its last, checking every CRC: what recovery knows of a file comes from here.
//
// What may be met behind the last frame: nothing, zeros, a torn commit, or what a re-used file held before. None of these is a frame that stands at its
// own LSN with a right CRC. When such a frame does follow on bytes that are none, those bytes are damage in the middle (`gaps`): recovery was
// cheated out of something that had been written before.
import { FRAME_HEADER_SIZE, FRAME_MAGIC, FrameHeader, SEGMENT_HEADER_SIZE, VOID_MAGIC, type Crc32c } from "./format.js";
import type { FileWindow } from "./window.js";

export interface Gap {
  readonly lsn: number;
  readonly length: number;
}

export interface Walked {
  /** Behind the last good frame. */
  readonly endLsn: number;
  readonly frameCount: number;
  /** Damage with good frames behind it. */
  readonly gaps: readonly Gap[];
  /** What stands at `endLsn` is a frame of this log that is not whole: a torn write, or damage. */
  readonly isTorn: boolean;
}

export interface WalkOptions {
  readonly window: FileWindow;
  readonly crc32c: Crc32c;
  readonly firstLsn: number;
  /** Nothing from here on counts. */
  readonly limitLsn: number;
  /** In the newest segment frames of the commit that was torn are no proof of damage: its bytes reach the disk in any order. */
  readonly isNewest: boolean;
  /** Called for each good frame, in order; entries lie in the window from `at` to `end`. */
  readonly onFrame: (header: FrameHeader, at: number, end: number) => void;
}

/** Walks the file that `window` was reset to. */
export function walkSegment(options: WalkOptions): Walked {
  const { window, firstLsn, onFrame } = options;
  const header = new FrameHeader();
  const gaps: Gap[] = [];
  let frameCount = 0;
  let lsn = firstLsn + SEGMENT_HEADER_SIZE;
  for (;;) {
    if (isFrameAt(options, header, lsn)) {
      if (header.magic === FRAME_MAGIC) {
        const at = window.indexOf(lsn - firstLsn) + FRAME_HEADER_SIZE;
        onFrame(header, at, at + header.length);
        frameCount++;
      }
      lsn += FRAME_HEADER_SIZE + header.length;
      continue;
    }
    const isTorn = lsn < options.limitLsn && headerStandsAt(options, header, lsn);
    const goodLsn = nextGoodFrame(options, header, lsn);
    if (goodLsn < 0) return { endLsn: lsn, frameCount, gaps, isTorn };
    gaps.push({ lsn, length: goodLsn - lsn });
    lsn = goodLsn;
  }
}

/** Reads the header at `lsn`. @returns true when a whole, undamaged frame (or void) stands there, within the limit */
function isFrameAt(options: WalkOptions, header: FrameHeader, lsn: number): boolean {
  const { window, crc32c, firstLsn, limitLsn } = options;
  if (!headerStandsAt(options, header, lsn)) return false;
  const size = FRAME_HEADER_SIZE + header.length;
  if (!window.holds(lsn - firstLsn, size, limitLsn - firstLsn)) return false;
  return header.isIntact(window.bytes, window.indexOf(lsn - firstLsn), crc32c);
}

function headerStandsAt(options: WalkOptions, header: FrameHeader, lsn: number): boolean {
  const { window, firstLsn, limitLsn } = options;
  const offset = lsn - firstLsn;
  if (!window.holds(offset, FRAME_HEADER_SIZE, limitLsn - firstLsn)) return false;
  header.read(window.view, window.indexOf(offset));
  return header.isPlausibleAt(lsn);
}

/** Looks for the next good frame behind damage at `badLsn`. @returns its LSN, or -1 when the log ends at the damage */
function nextGoodFrame(options: WalkOptions, header: FrameHeader, badLsn: number): number {
  const { window, firstLsn, limitLsn, isNewest } = options;
  for (let lsn = badLsn + 8; window.holds(lsn - firstLsn, FRAME_HEADER_SIZE, limitLsn - firstLsn); lsn += 8) {
    const magic = window.words[window.indexOf(lsn - firstLsn) >> 2]!;
    if (magic !== FRAME_MAGIC && magic !== VOID_MAGIC) continue;
    if (!isFrameAt(options, header, lsn)) continue;
    if (!isNewest || header.magic === VOID_MAGIC || lsn - header.commitOffset > badLsn) return lsn;
  }
  return -1;
}
