// History's end of one lane's ring (records: base/history-record.ts). Hot path.
//
//   ring ──> LIVE rows ────────────────────────────────> ready
//       └──> rows of journal frames ──> held ── up to the MARKER that all lanes have passed ──> ready
//
// Invariant: `held` is whole frames up to the last entry of `marks`, then the beginning of a frame whose MARKER has not come.
// A lane that starts again sends frames again: those at or before `markedLsn` are dropped, and so is what was begun.
import { assert } from "../../base/assert.js";
import { HISTORY_EVENT_HEAD, HISTORY_RECORD, HISTORY_ROW_SIZE, HISTORY_SERIES_HEAD, HISTORY_SOURCE, HISTORY_TEXT_HEAD } from "../../base/history-record.js";
import { Batch, type Extent } from "./batch.js";
import type { SeriesDirectory } from "./series-directory.js";

/** The reading end of a ring as this needs it; RingReader is one. */
export interface LaneRing {
  readonly kind: number;
  readonly id: number;
  readonly at: number;
  readonly length: number;
  readonly bytes: Uint8Array;
  readonly words: Uint32Array;
  readonly view: DataView;
  next(): boolean;
  release(): void;
  arm(): boolean;
}

interface Mark extends Extent {
  readonly lsn: number;
}

const NOTHING: Extent = { rows: 0, texts: 0, events: 0 };
/** In `handles`: the lane has not named it. */
const UNKNOWN = -0x8000_0000;

export class LaneFeed {
  /** What came from journal frames and waits for the other lanes. */
  readonly held = new Batch();
  /** Everything of this lane before this LSN has come. */
  markedLsn: number;
  readonly ring: LaneRing;
  private readonly doubles: Float64Array;
  private readonly directory: SeriesDirectory;
  private readonly epoch: number;
  private readonly marks: Mark[] = [];
  /** By the lane's handle: a series' id, or a reference of the directory's. */
  private handles = new Int32Array(256).fill(UNKNOWN);
  /** The lane has said START in this epoch. */
  private isStarted = false;

  constructor(ring: LaneRing, directory: SeriesDirectory, epoch: number, committedLsn: number) {
    this.ring = ring;
    this.doubles = new Float64Array(ring.bytes.buffer);
    this.directory = directory;
    this.epoch = epoch;
    this.markedLsn = committedLsn;
  }

  /**
   * Takes records until the ring is empty or `weightMax` is reached in `ready` or in what is held, and gives their room back.
   *
   * @param heldMax for what is held; a lane that others wait for must not be stopped by it
   * @returns records taken
   */
  drain(ready: Batch, readyMax: number, heldMax: number): number {
    const { ring } = this;
    let count = 0;
    while (ready.weight < readyMax && this.held.weight < heldMax && ring.next()) {
      count++;
      this.take(ready);
    }
    if (count > 0) ring.release();
    return count;
  }

  /** Moves the frames that end at or before `lsn` into `ready`. */
  releaseTo(lsn: number, ready: Batch): void {
    const { marks } = this;
    let count = 0;
    while (count < marks.length && marks[count]!.lsn <= lsn) count++;
    if (count === 0) return;
    const extent = marks[count - 1]!;
    if (extent.rows + extent.texts + extent.events > 0) ready.moveFrom(this.held, extent);
    marks.splice(0, count);
    for (let i = 0; i < marks.length; i++) marks[i] = less(marks[i]!, extent);
  }

  /** Puts ids in place of the directory's references. */
  resolve(ids: Int32Array): void {
    this.held.resolve(ids);
    const { handles } = this;
    for (let i = 0; i < handles.length; i++) {
      const reference = handles[i]!;
      if (reference < 0 && reference !== UNKNOWN) handles[i] = ids[-reference - 1]!;
    }
  }

  /** Adds the ids that rows may still come for. */
  addUsedIds(used: Set<number>): void {
    for (const id of this.handles) if (id >= 0) used.add(id);
    for (let i = 0; i < this.held.count; i++) used.add(this.held.series[i]!);
    for (const text of this.held.texts) used.add(text.series);
  }

  private take(ready: Batch): void {
    const { ring } = this;
    if (ring.kind === HISTORY_RECORD.START) {
      this.start(ring.view.getFloat64(ring.at + 8, true));
      return;
    }
    // What a lane wrote for an earlier history: its handles mean nothing here, and it will say it again.
    if (!this.isStarted) return;
    const batch = ring.id === HISTORY_SOURCE.LIVE ? ready : this.held;
    switch (ring.kind) {
      case HISTORY_RECORD.ROWS:
        this.takeRows(batch);
        break;
      case HISTORY_RECORD.MARKER:
        this.mark(ring.view.getFloat64(ring.at, true));
        break;
      case HISTORY_RECORD.SERIES:
        this.takeSeries();
        break;
      case HISTORY_RECORD.TEXT:
        batch.addText(this.seriesOf(ring.view.getUint32(ring.at + 8, true)), ring.view.getFloat64(ring.at, true), this.textAt(HISTORY_TEXT_HEAD, ring.length - HISTORY_TEXT_HEAD));
        break;
      case HISTORY_RECORD.EVENT:
        this.takeEvent(batch);
        break;
    }
  }

  private start(epoch: number): void {
    this.isStarted = epoch === this.epoch;
    this.handles.fill(UNKNOWN);
    this.held.truncate(this.marks.at(-1) ?? NOTHING);
  }

  private mark(lsn: number): void {
    if (lsn <= this.markedLsn) {
      this.held.truncate(this.marks.at(-1) ?? NOTHING);
      return;
    }
    this.markedLsn = lsn;
    this.marks.push({ lsn, ...this.held.extent() });
  }

  private takeRows(batch: Batch): void {
    const { ring, doubles } = this;
    const { words } = ring;
    for (let at = ring.at, end = ring.at + ring.length; at < end; at += HISTORY_ROW_SIZE) {
      const double = at >> 3;
      const word = at >> 2;
      batch.addRow(this.seriesOf(words[word + 4]!), doubles[double]!, doubles[double + 1]!, words[word + 5]!);
    }
  }

  private takeSeries(): void {
    const { view, at } = this.ring;
    const handle = view.getUint32(at, true);
    const deviceLength = view.getUint16(at + 4, true);
    const nameLength = view.getUint16(at + 6, true);
    const device = this.textAt(HISTORY_SERIES_HEAD, deviceLength);
    const name = this.textAt(HISTORY_SERIES_HEAD + deviceLength, nameLength);
    if (handle >= this.handles.length) {
      const larger = new Int32Array(Math.max(handle + 1, 2 * this.handles.length)).fill(UNKNOWN);
      larger.set(this.handles);
      this.handles = larger;
    }
    this.handles[handle] = this.directory.refer(device, name, view.getFloat64(at + 8, true));
  }

  private takeEvent(batch: Batch): void {
    const { view, at, length } = this.ring;
    const deviceLength = view.getUint16(at + 8, true);
    const kindLength = view.getUint16(at + 10, true);
    const textFrom = HISTORY_EVENT_HEAD + deviceLength + kindLength;
    batch.addEvent({
      time: view.getFloat64(at, true),
      device: this.textAt(HISTORY_EVENT_HEAD, deviceLength),
      kind: this.textAt(HISTORY_EVENT_HEAD + deviceLength, kindLength),
      text: this.textAt(textFrom, length - textFrom),
    });
  }

  private seriesOf(handle: number): number {
    const series = this.handles[handle]!;
    assert(series !== UNKNOWN, "a lane names a handle before it uses it");
    return series;
  }

  private textAt(offset: number, length: number): string {
    return Buffer.from(this.ring.bytes.buffer, this.ring.at + offset, length).toString("utf8");
  }
}

function less(mark: Mark, extent: Extent): Mark {
  return { lsn: mark.lsn, rows: mark.rows - extent.rows, texts: mark.texts - extent.texts, events: mark.events - extent.events };
}
