// Mends a damaged segment: the file as it was is copied to `<name>.bad`, then damage is covered in place by void frames, so that every good frame keeps
// its LSN and its consumers, before the damage and behind it. Mending in place needs no room on a disk that may be full; if it is
// interrupted, the next start finds the same damage and does the same again. Used by recovery alone.
import { assert } from "../../base/assert.js";
import type { Log } from "../../base/log.js";
import { failureCode, writeAll, type JournalFiles } from "./files.js";
import { FRAME_HEADER_SIZE, SEGMENT_HEADER_SIZE, VOID_MAGIC, writeFrameHeader, writeSegmentHeader, type Crc32c, type SegmentHeader } from "./format.js";
import type { Walked } from "./walk.js";
import type { FileWindow } from "./window.js";

export interface RepairParts {
  readonly files: JournalFiles;
  readonly directory: string;
  readonly name: string;
  readonly log: Log;
  readonly crc32c: Crc32c;
  /** Lent for the copy; free again afterwards. */
  readonly window: FileWindow;
}

const ASIDE_NAME = /^\d{20}\.journal\.bad(\.\d+)?$/;
const COPY_SIZE = 64 * 1024;

/** True for what was put aside before. */
export function isAside(name: string): boolean {
  return ASIDE_NAME.test(name);
}

/** Renames a file that is of no use. @returns its new name */
export function putAside(files: JournalFiles, directory: string, name: string): string {
  const aside = asideName(files, directory, name);
  files.rename(`${directory}/${name}`, `${directory}/${aside}`);
  return aside;
}

/**
 * Mends the file so that walking it meets good and void frames only, and ends at `walked.endLsn`.
 *
 * @returns the name of the copy of the file as it was, or null when there was no room for it
 * @throws the system's error when the file cannot be written
 */
export function repairInPlace(parts: RepairParts, header: Omit<SegmentHeader, "version">, walked: Walked): string | null {
  const { files, directory, name, crc32c } = parts;
  const aside = copyAside(parts);
  const bytes = Buffer.alloc(SEGMENT_HEADER_SIZE);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const fd = files.open(`${directory}/${name}`, "write");
  try {
    writeSegmentHeader(bytes, view, 0, header, crc32c);
    writeAll(files, fd, bytes, 0, SEGMENT_HEADER_SIZE, 0);
    for (const gap of walked.gaps) {
      assert(gap.length >= FRAME_HEADER_SIZE, "a gap held at least one frame");
      writeFrameHeader(bytes, view, 0, VOID_MAGIC, gap.length - FRAME_HEADER_SIZE, 0, gap.lsn, 0, 0, 0, crc32c);
      writeAll(files, fd, bytes, 0, FRAME_HEADER_SIZE, gap.lsn - header.firstLsn);
    }
    const size = walked.endLsn - header.firstLsn;
    if (files.size(fd) > size) files.truncate(fd, size);
    files.sync(fd);
  } finally {
    files.close(fd);
  }
  return aside;
}

/** Copies the file as it is; what cannot be read becomes zeros. The copy is for a person to look at: that it fails stops nothing. */
function copyAside(parts: RepairParts): string | null {
  const { files, directory, name, log, window } = parts;
  const aside = asideName(files, directory, name);
  const path = `${directory}/${aside}`;
  let to = -1;
  const from = files.open(`${directory}/${name}`, "read");
  try {
    to = files.open(path, "create");
    const size = files.size(from);
    window.reset(from);
    for (let offset = 0; offset < size; offset += COPY_SIZE) {
      const length = Math.min(COPY_SIZE, size - offset);
      if (!window.holds(offset, length, size)) break;
      writeAll(files, to, window.bytes, window.indexOf(offset), length, offset);
    }
    files.sync(to);
    return aside;
  } catch (error) {
    log.warn(`journal: no copy of the damaged ${name} was kept (${failureCode(error)})`);
    if (to >= 0) files.remove(path);
    return null;
  } finally {
    files.close(from);
    if (to >= 0) files.close(to);
  }
}

function asideName(files: JournalFiles, directory: string, name: string): string {
  const names = new Set(files.list(directory));
  const first = `${name}.bad`;
  if (!names.has(first)) return first;
  let count = 2;
  while (names.has(`${first}.${count}`)) count++;
  return `${first}.${count}`;
}
