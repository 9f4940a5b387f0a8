// A lane's end of its ring to history (records: base/history-record.ts). Hot path.
// Rows are written straight into the ring, in blocks; a block stays open until something else must follow it in order.
// Invariant: nothing is written without room. The lane asks `hasRoomFor` before each message, for the most that it can give rise to.
import { assert } from "../base/assert.js";
import { copyBytes } from "../base/bytes.js";
import {
  HISTORY_EVENT_HEAD, HISTORY_RECORD, HISTORY_ROW_SIZE, HISTORY_SERIES_HEAD, HISTORY_SOURCE, HISTORY_TEXT_HEAD,
} from "../base/history-record.js";
import { DEVICE_ID_SIZE_MAX, KIB, MEASUREMENTS_PER_MESSAGE_MAX, MEASUREMENT_NAME_SIZE_MAX, MEASUREMENT_TEXT_SIZE_MAX } from "../base/limits.js";
import type { RingPlace } from "../base/ring-place.js";
import type { RowSink } from "../pipeline/pipeline.js";
import { RECORD_HEADER_SIZE, RECORD_LENGTH_MAX } from "../ring/layout.js";
import { RingWriter } from "../ring/ring.js";

const BLOCK_SIZE = 256 * HISTORY_ROW_SIZE;
/** A measurement of a new series: its SERIES record, and a ROWS record of its own. */
const MEASUREMENT_SIZE_MAX = 2 * RECORD_HEADER_SIZE + HISTORY_SERIES_HEAD + DEVICE_ID_SIZE_MAX + MEASUREMENT_NAME_SIZE_MAX + HISTORY_ROW_SIZE + 16;
const EVENT_TEXT_SIZE_MAX = 1024;
const EVENT_SIZE_MAX = RECORD_HEADER_SIZE + HISTORY_EVENT_HEAD + DEVICE_ID_SIZE_MAX + EVENT_TEXT_SIZE_MAX + 32;
/** Events that one message may give rise to; the rest is only counted. */
const EVENTS_PER_MESSAGE_MAX = 64;
/** For a block's and a filler's waste, and a MARKER. */
const SPARE = 4 * BLOCK_SIZE;

export class HistoryWriter implements RowSink {
  private readonly ring: RingWriter;
  private readonly wake: () => void;
  private readonly doubles: Float64Array;
  private readonly scratch = Buffer.alloc(4 * KIB);
  private source: number = HISTORY_SOURCE.LIVE;
  private eventsLeft = 0;
  /** Of the open block; both -1 when there is none. */
  private blockAt = -1;
  private rowAt = -1;
  private blockEnd = -1;

  /** @param wake rings history's doorbell */
  constructor(place: RingPlace, wake: () => void) {
    this.ring = new RingWriter(place);
    this.wake = wake;
    this.doubles = new Float64Array(place.buffer, 0, place.buffer.byteLength >> 3);
    assert(messageRoom(RECORD_LENGTH_MAX) <= place.capacity, "a ring to history holds what the largest message can give rise to");
  }

  /** True when all that a message with a payload of this size can give rise to fits. Then it counts as begun. */
  hasRoomFor(payloadLength: number): boolean {
    this.eventsLeft = EVENTS_PER_MESSAGE_MAX;
    // The ring reckons twice the length, for a filler; the room computed here has that in it.
    return this.ring.hasRoom(messageRoom(payloadLength) >> 1);
  }

  /** True when whatever message comes fits. */
  hasRoomForAny(): boolean {
    return this.ring.hasRoom(messageRoom(RECORD_LENGTH_MAX) >> 1);
  }

  /** True when a START or MARKER fits. */
  hasRoomForMark(): boolean {
    return this.ring.hasRoom(SPARE >> 1);
  }

  /** Says whether what follows comes from the journal. */
  from(source: number): void {
    if (source === this.source) return;
    this.closeBlock();
    this.source = source;
  }

  start(fromLsn: number, epoch: number): void {
    this.closeBlock();
    const at = this.reserve(16);
    this.ring.view.setFloat64(at, fromLsn, true);
    this.ring.view.setFloat64(at + 8, epoch, true);
    this.ring.commit(HISTORY_RECORD.START, 0, 16);
  }

  /** Ends a journal frame. */
  mark(endLsn: number): void {
    this.closeBlock();
    const at = this.reserve(8);
    this.ring.view.setFloat64(at, endLsn, true);
    this.ring.commit(HISTORY_RECORD.MARKER, 0, 8);
  }

  addSeries(handle: number, device: Uint8Array, name: string, time: number): void {
    this.closeBlock();
    const nameLength = this.scratch.write(name, "utf8");
    const length = HISTORY_SERIES_HEAD + device.length + nameLength;
    const at = this.reserve(length);
    const { view, bytes } = this.ring;
    view.setUint32(at, handle, true);
    view.setUint16(at + 4, device.length, true);
    view.setUint16(at + 6, nameLength, true);
    view.setFloat64(at + 8, time, true);
    copyBytes(bytes, at + HISTORY_SERIES_HEAD, device, 0, device.length);
    copyBytes(bytes, at + HISTORY_SERIES_HEAD + device.length, this.scratch, 0, nameLength);
    this.ring.commit(HISTORY_RECORD.SERIES, 0, length);
  }

  addRow(handle: number, time: number, value: number, flags: number): void {
    let at = this.rowAt;
    if (at === this.blockEnd) at = this.openBlock();
    const double = at >> 3;
    this.doubles[double] = time;
    this.doubles[double + 1] = value;
    const word = at >> 2;
    this.ring.words[word + 4] = handle;
    this.ring.words[word + 5] = flags;
    this.rowAt = at + HISTORY_ROW_SIZE;
  }

  addText(handle: number, time: number, text: string): void {
    this.closeBlock();
    const textLength = this.scratch.write(text, 0, MEASUREMENT_TEXT_SIZE_MAX, "utf8");
    const length = HISTORY_TEXT_HEAD + textLength;
    const at = this.reserve(length);
    this.ring.view.setFloat64(at, time, true);
    this.ring.view.setUint32(at + 8, handle, true);
    copyBytes(this.ring.bytes, at + HISTORY_TEXT_HEAD, this.scratch, 0, textLength);
    this.ring.commit(HISTORY_RECORD.TEXT, this.source, length);
  }

  addEvent(time: number, device: string, kind: string, text: string): void {
    if (this.eventsLeft === 0) return;
    this.eventsLeft--;
    this.closeBlock();
    const deviceLength = this.scratch.write(device, 0, DEVICE_ID_SIZE_MAX, "utf8");
    const kindLength = this.scratch.write(kind, deviceLength, 16, "utf8");
    const textLength = this.scratch.write(text, deviceLength + kindLength, EVENT_TEXT_SIZE_MAX, "utf8");
    const length = HISTORY_EVENT_HEAD + deviceLength + kindLength + textLength;
    const at = this.reserve(length);
    const { view } = this.ring;
    view.setFloat64(at, time, true);
    view.setUint16(at + 8, deviceLength, true);
    view.setUint16(at + 10, kindLength, true);
    view.setUint32(at + 12, 0, true);
    copyBytes(this.ring.bytes, at + HISTORY_EVENT_HEAD, this.scratch, 0, length - HISTORY_EVENT_HEAD);
    this.ring.commit(HISTORY_RECORD.EVENT, this.source, length);
  }

  /** Shows history everything written so far. */
  publish(): void {
    this.closeBlock();
    if (this.ring.publish()) this.wake();
  }

  private openBlock(): number {
    this.closeBlock();
    this.blockAt = this.reserve(BLOCK_SIZE);
    this.blockEnd = this.blockAt + BLOCK_SIZE;
    return this.blockAt;
  }

  private closeBlock(): void {
    if (this.rowAt > this.blockAt) this.ring.commit(HISTORY_RECORD.ROWS, this.source, this.rowAt - this.blockAt);
    this.blockAt = -1;
    this.rowAt = -1;
    this.blockEnd = -1;
  }

  private reserve(length: number): number {
    const at = this.ring.reserve(length);
    assert(at >= 0, "room was asked for before");
    return at;
  }
}

/** The most bytes of the ring that a message with a payload of this size can take. */
function messageRoom(payloadLength: number): number {
  // A measurement takes two bytes at least: a digit and a comma.
  const measurements = Math.min(MEASUREMENTS_PER_MESSAGE_MAX, (payloadLength >> 1) + 1);
  const texts = Math.min(payloadLength, measurements * MEASUREMENT_TEXT_SIZE_MAX);
  return measurements * MEASUREMENT_SIZE_MAX + texts + Math.min(measurements, EVENTS_PER_MESSAGE_MAX) * EVENT_SIZE_MAX + SPARE;
}
