// Writes COMMAND records (ring/layout.ts) into the command memory that the reactor runs when the batch returns. Hot path.
// Thread: the shard's. Invariant: [start, at) holds whole records; when the memory is full they are run at once by `flush`.
import { align8, copyBytes } from "../base/bytes.js";
import { COMMAND, RECORD_HEADER_SIZE } from "../ring/layout.js";
import type { SharedViews } from "../ring/ring.js";

export class CommandWriter {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  private readonly start: number;
  private readonly end: number;
  private at: number;
  private packets = 0;
  private readonly flush: (size: number) => void;
  /** Of the MULTICAST_PATCHED that is being written. */
  private patched = 0;
  private patches = 0;

  /** @param flush runs the first `size` bytes of commands at once (Reactor.flush) */
  constructor(views: SharedViews, place: { readonly byteOffset: number; readonly size: number }, flush: (size: number) => void) {
    this.bytes = views.bytes;
    this.words = views.words;
    this.start = place.byteOffset;
    this.end = place.byteOffset + place.size;
    this.at = this.start;
    this.flush = flush;
  }

  /** Ends the batch. @returns bytes of commands for the reactor to run */
  take(): number {
    const size = this.at - this.start;
    this.at = this.start;
    return size;
  }

  /** @returns packets written since the last call, one for each receiver */
  takePackets(): number {
    const { packets } = this;
    this.packets = 0;
    return packets;
  }

  /**
   * Begins a DATA command of `length` bytes for a connection.
   * @returns where in `bytes` the caller must write them, before any other command
   */
  data(connection: number, length: number): number {
    this.packets++;
    return this.begin(COMMAND.DATA, connection, length);
  }

  /** Sends bytes of the inbound ring, unchanged and uncopied, to one connection. @param offset relative to the inbound ring's data part */
  reference(connection: number, offset: number, length: number): void {
    const word = this.begin(COMMAND.DATA_REF, connection, 8) >> 2;
    this.words[word] = offset;
    this.words[word + 1] = length;
  }

  /** Sends bytes of the inbound ring to many connections; those that do not keep up lose the oldest of what was sent to them so. */
  multicastReference(receivers: Uint32Array, count: number, offset: number, length: number): void {
    this.packets += count;
    const word = this.begin(COMMAND.MULTICAST_REF, count, 8 + 4 * count) >> 2;
    this.words[word] = offset;
    this.words[word + 1] = length;
    this.putReceivers(word + 2, receivers, count);
  }

  /**
   * Begins a MULTICAST of `length` bytes, which may be lost as those of `multicastReference`.
   * @returns where in `bytes` the caller must write them, before any other command
   */
  multicast(receivers: Uint32Array, count: number, length: number): number {
    this.packets += count;
    const padded = (length + 3) & ~3;
    const at = this.begin(COMMAND.MULTICAST, count, 4 + padded + 4 * count);
    this.words[at >> 2] = length;
    this.putReceivers((at + 4 + padded) >> 2, receivers, count);
    return at + 4;
  }

  /**
   * Begins a MULTICAST_PATCHED of `length` bytes; the two at `offset` are each receiver's own. `patch` names the receivers, then comes `endPatched`;
   * no other command before that.
   * @param countMax most receivers
   * @returns where in `bytes` the caller must write them
   */
  multicastPatched(countMax: number, length: number, offset: number): number {
    const padded = (length + 3) & ~3;
    const at = this.begin(COMMAND.MULTICAST_PATCHED, 0, 8 + padded + 8 * countMax);
    this.words[at >> 2] = length;
    this.words[(at >> 2) + 1] = offset;
    this.patched = at;
    this.patches = (at + 8 + padded) >> 2;
    return at + 8;
  }

  /** A receiver of the MULTICAST_PATCHED that was begun. @param value its own two bytes, the high one first */
  patch(connection: number, value: number): void {
    this.words[this.patches] = connection;
    this.words[this.patches + 1] = ((value & 0xff) << 8) | (value >> 8);
    this.patches += 2;
  }

  /** Completes the MULTICAST_PATCHED with the receivers that it got. */
  endPatched(): void {
    const head = (this.patched - RECORD_HEADER_SIZE) >> 2;
    const padded = (this.words[this.patched >> 2]! + 3) & ~3;
    const length = (this.patches << 2) - this.patched;
    const count = (length - 8 - padded) >> 3;
    this.packets += count;
    this.words[head] = ((COMMAND.MULTICAST_PATCHED << 24) | length) >>> 0;
    this.words[head + 1] = count;
    this.at = count === 0 ? head << 2 : this.patched + align8(length);
  }

  /** A command without bytes: ACCEPT, FREE, PAUSE, RESUME. */
  plain(kind: number, connection: number): void {
    this.begin(kind, connection, 0);
  }

  /** A command with one u32: CLOSE, KEEP_ALIVE, FRAMING, FRAME_SIZE_MAX. */
  word(kind: number, connection: number, value: number): void {
    this.words[this.begin(kind, connection, 4) >> 2] = value;
  }

  /** Moves a connection to another shard, which gets these bytes first. */
  migrate(connection: number, shard: number, bytes: Uint8Array, bytesAt: number, length: number): void {
    const at = this.begin(COMMAND.MIGRATE, connection, 4 + length);
    this.words[at >> 2] = shard;
    copyBytes(this.bytes, at + 4, bytes, bytesAt, length);
  }

  private begin(kind: number, id: number, length: number): number {
    const size = RECORD_HEADER_SIZE + align8(length);
    if (this.at + size > this.end) {
      this.flush(this.at - this.start);
      this.at = this.start;
    }
    const word = this.at >> 2;
    this.words[word] = ((kind << 24) | length) >>> 0;
    this.words[word + 1] = id;
    const bytesAt = this.at + RECORD_HEADER_SIZE;
    this.at += size;
    return bytesAt;
  }

  private putReceivers(word: number, receivers: Uint32Array, count: number): void {
    for (let i = 0; i < count; i++) this.words[word + i] = receivers[i]!;
  }
}
