// A single-producer single-consumer ring of records over shared memory (drawing and invariants: layout.ts). Hot path.
// Each end belongs to one thread; nobody ever waits on a ring: a writer that finds it full is told so and acts by policy.
import { assert } from "../base/assert.js";
import { align8 } from "../base/bytes.js";
import type { RingPlace } from "../base/ring-place.js";
import { RECORD_FILLER, RECORD_HEADER_SIZE, RECORD_LENGTH_MAX, RING_CONTROL_SIZE, RING_WORD } from "./layout.js";

/** Bytes that a ring of this capacity takes, control block included. */
export function ringSize(capacity: number): number {
  return RING_CONTROL_SIZE + capacity;
}

/** The typed views over one SharedArrayBuffer, made once per thread, so that copies inside it need no new views. */
export class SharedViews {
  private static readonly known = new WeakMap<SharedArrayBuffer, SharedViews>();
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly view: DataView;

  private constructor(buffer: SharedArrayBuffer) {
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer, 0, buffer.byteLength >> 2);
    this.view = new DataView(buffer);
  }

  static of(buffer: SharedArrayBuffer): SharedViews {
    let views = SharedViews.known.get(buffer);
    if (views === undefined) SharedViews.known.set(buffer, (views = new SharedViews(buffer)));
    return views;
  }
}

/** What both ends know of their ring. */
abstract class RingEnd {
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly view: DataView;
  readonly capacity: number;
  /** Offset of the data part in `bytes`. */
  readonly dataAt: number;
  protected readonly control: number;
  protected readonly mask: number;

  constructor(place: RingPlace) {
    assert(place.byteOffset % 64 === 0, "a ring starts on a cache line");
    assert(place.capacity >= 1024 && (place.capacity & (place.capacity - 1)) === 0, "a ring's capacity is a power of two");
    const views = SharedViews.of(place.buffer);
    this.bytes = views.bytes;
    this.words = views.words;
    this.view = views.view;
    this.capacity = place.capacity;
    this.control = place.byteOffset >> 2;
    this.dataAt = place.byteOffset + RING_CONTROL_SIZE;
    this.mask = place.capacity - 1;
  }

  /** The position before which every record is on disk (rings into the store). */
  durable(): number {
    return Atomics.load(this.words, this.control + RING_WORD.DURABLE);
  }

  /** Bytes between the reader and what is published. */
  backlog(): number {
    return (Atomics.load(this.words, this.control + RING_WORD.HEAD) - Atomics.load(this.words, this.control + RING_WORD.TAIL)) >>> 0;
  }
}

/** The writing end. A writer made anew over a used ring goes on at its HEAD: what a dead thread had not published never was. */
export class RingWriter extends RingEnd {
  /** Position behind the last committed record; not yet visible to the reader until `publish`. */
  private head: number;
  private published: number;
  private tail: number;
  private reservedAt = -1;
  private reservedLength = 0;

  constructor(place: RingPlace) {
    super(place);
    this.head = Atomics.load(this.words, this.control + RING_WORD.HEAD);
    this.published = this.head;
    this.tail = Atomics.load(this.words, this.control + RING_WORD.TAIL);
  }

  /**
   * Reserves room for a record of at most `length` bytes, leaving `spare` bytes of the ring free (for records that must not be refused).
   * @returns where to write the bytes (index into `bytes`), or -1 when the ring is full
   */
  reserve(length: number, spare = 0): number {
    assert(length <= RECORD_LENGTH_MAX, "a record's length has 24 bits");
    const size = RECORD_HEADER_SIZE + align8(length);
    const at = this.head & this.mask;
    const toEnd = this.capacity - at;
    const filler = size > toEnd ? toEnd : 0;
    if (!this.fits(filler + size + spare)) return -1;
    if (filler > 0) {
      this.words[(this.dataAt + at) >> 2] = (RECORD_FILLER << 24) >>> 0;
      this.head = (this.head + filler) >>> 0;
    }
    this.reservedLength = length;
    this.reservedAt = this.dataAt + (this.head & this.mask) + RECORD_HEADER_SIZE;
    return this.reservedAt;
  }

  /** Completes the reserved record with its final length (at most what was reserved). */
  commit(kind: number, id: number, length: number): void {
    assert(this.reservedAt >= 0 && length <= this.reservedLength, "commit follows reserve and is no longer than it");
    const word = (this.reservedAt - RECORD_HEADER_SIZE) >> 2;
    this.words[word] = ((kind << 24) | length) >>> 0;
    this.words[word + 1] = id;
    this.head = (this.head + RECORD_HEADER_SIZE + align8(length)) >>> 0;
    this.reservedAt = -1;
  }

  /** Makes all committed records visible. @returns true when the reader sleeps and its doorbell must be rung (by the caller, now) */
  publish(): boolean {
    if (this.head === this.published) return false;
    this.published = this.head;
    Atomics.store(this.words, this.control + RING_WORD.HEAD, this.head);
    const armed = this.control + RING_WORD.ARMED;
    return Atomics.load(this.words, armed) === 1 && Atomics.exchange(this.words, armed, 0) === 1;
  }

  /** Position behind the last committed record (u32): compare with `durable()`. */
  position(): number {
    return this.head;
  }

  /** True when a record of `length` bytes and `spare` more would surely fit. */
  hasRoom(length: number, spare = 0): boolean {
    return this.fits(2 * (RECORD_HEADER_SIZE + align8(length)) + spare);
  }

  private fits(size: number): boolean {
    if (((this.head - this.tail) >>> 0) + size <= this.capacity) return true;
    this.tail = Atomics.load(this.words, this.control + RING_WORD.TAIL);
    return ((this.head - this.tail) >>> 0) + size <= this.capacity;
  }
}

/**
 * The reading end. Loop: `while (reader.next()) { … reader.kind, id, at, length … }`, then `release()`; before sleeping `arm()`, and
 * go round again if it says so.
 */
export class RingReader extends RingEnd {
  kind = 0;
  id = 0;
  /** Where the record's bytes start in `bytes`. */
  at = 0;
  length = 0;
  private tail: number;
  private head: number;

  constructor(place: RingPlace) {
    super(place);
    this.tail = Atomics.load(this.words, this.control + RING_WORD.TAIL);
    this.head = this.tail;
  }

  /** Moves to the next record. @returns false when there is none */
  next(): boolean {
    for (;;) {
      if (this.tail === this.head) {
        this.head = Atomics.load(this.words, this.control + RING_WORD.HEAD);
        if (this.tail === this.head) return false;
      }
      const at = this.tail & this.mask;
      const word = (this.dataAt + at) >> 2;
      const first = this.words[word]!;
      this.kind = first >>> 24;
      if (this.kind === RECORD_FILLER) {
        this.tail = (this.tail + this.capacity - at) >>> 0;
        continue;
      }
      this.length = first & RECORD_LENGTH_MAX;
      this.id = this.words[word + 1]!;
      this.at = this.dataAt + at + RECORD_HEADER_SIZE;
      this.tail = (this.tail + RECORD_HEADER_SIZE + align8(this.length)) >>> 0;
      return true;
    }
  }

  /** Takes the position from shared memory again: the inbound ring's writer moves both ends to the data part's start while it is empty. */
  sync(): void {
    this.tail = Atomics.load(this.words, this.control + RING_WORD.TAIL);
    this.head = this.tail;
  }

  /** Steps back before the record that `next` just gave: it will be given again. */
  unread(): void {
    this.tail = (this.tail - RECORD_HEADER_SIZE - align8(this.length)) >>> 0;
  }

  /** Gives the room of everything read so far back to the writer. Borrowed bytes end here. */
  release(): void {
    Atomics.store(this.words, this.control + RING_WORD.TAIL, this.tail);
  }

  /** Says that the reader will sleep. @returns false when records came meanwhile and the reader must go on instead */
  arm(): boolean {
    const armed = this.control + RING_WORD.ARMED;
    Atomics.store(this.words, armed, 1);
    if (Atomics.load(this.words, this.control + RING_WORD.HEAD) === this.tail) return true;
    Atomics.store(this.words, armed, 0);
    return false;
  }

  /** Position behind the last record given (u32). */
  position(): number {
    return this.tail;
  }

  /** Rings into the store: everything before `position` is on disk now. */
  setDurable(position: number): void {
    Atomics.store(this.words, this.control + RING_WORD.DURABLE, position >>> 0);
  }
}
