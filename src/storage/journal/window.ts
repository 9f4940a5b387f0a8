// A sliding window over one segment file: large preads into one re-used Buffer, so that frames are looked at in place. Hot path (lanes).
import { align8 } from "../../base/bytes.js";
import { failureCode, type JournalFiles } from "./files.js";

/** What is read at once; a frame that is larger makes the window grow to hold it. */
export const WINDOW_SIZE = 512 * 1024;
/** What is given up at once where the disk cannot be read. */
const UNREADABLE_BLOCK = 4096;

export class FileWindow {
  bytes: Buffer;
  view: DataView;
  words: Uint32Array;
  /** Bytes that the disk could not give and that read as zeros. */
  unreadableBytes = 0;
  private readonly files: JournalFiles;
  private fd = -1;
  /** Offset in the file of the window's first byte. */
  private start = 0;
  private length = 0;

  constructor(files: JournalFiles, size = WINDOW_SIZE) {
    this.files = files;
    this.bytes = Buffer.allocUnsafeSlow(size);
    this.view = new DataView(this.bytes.buffer);
    this.words = new Uint32Array(this.bytes.buffer);
  }

  /** Looks at another file; what was borrowed from the window ends here. */
  reset(fd: number): void {
    this.fd = fd;
    this.start = 0;
    this.length = 0;
  }

  /** Index in `bytes` of the byte at `offset` in the file. REQUIRES: `holds` said so. */
  indexOf(offset: number): number {
    return offset - this.start;
  }

  /**
   * Makes sure that `size` bytes from `offset` (a multiple of 8) on are in the window.
   *
   * @param limit offset in the file that must not be read past: bytes behind it may still change
   * @returns false when the file or the limit ends before
   */
  holds(offset: number, size: number, limit: number): boolean {
    if (offset >= this.start && offset + size <= this.start + this.length) return offset + size <= limit;
    if (offset + size > limit) return false;
    this.moveTo(offset);
    if (size > this.bytes.length) this.grow(size);
    while (this.length < size) {
      const wanted = Math.min(this.bytes.length - this.length, limit - this.start - this.length);
      const count = this.readSome(wanted);
      if (count === 0) return false;
      this.length += count;
    }
    return true;
  }

  /** Keeps what is already there from `offset` on, at the window's beginning. */
  private moveTo(offset: number): void {
    const kept = this.start + this.length - offset;
    if (offset >= this.start && kept > 0) {
      this.bytes.copyWithin(0, offset - this.start, this.length);
      this.length = kept;
    } else this.length = 0;
    this.start = offset;
  }

  private grow(size: number): void {
    const larger = Buffer.allocUnsafeSlow(align8(size));
    larger.set(this.bytes.subarray(0, this.length));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
    this.words = new Uint32Array(larger.buffer);
  }

  private readSome(wanted: number): number {
    try {
      return this.files.read(this.fd, this.bytes, this.length, wanted, this.start + this.length);
    } catch (error) {
      if (failureCode(error) !== "EIO") throw error;
    }
    // A sector is gone: give up as little as possible; zeros fail the CRC of the frame they lie in.
    const block = Math.min(wanted, UNREADABLE_BLOCK);
    try {
      return this.files.read(this.fd, this.bytes, this.length, block, this.start + this.length);
    } catch (error) {
      if (failureCode(error) !== "EIO") throw error;
      const left = Math.max(0, Math.min(block, this.files.size(this.fd) - this.start - this.length));
      this.bytes.fill(0, this.length, this.length + left);
      this.unreadableBytes += left;
      return left;
    }
  }
}
