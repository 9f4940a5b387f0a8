// A lane's work: takes the telemetry of its devices out of the shards' rings (QoS 0) and out of the journal (QoS 1 and 2, once durable), and
// hands what becomes of it to history. Thread: the lane's. Driven by lane-loop.ts. Hot path.
//
// Exactly once: what comes from a journal frame is followed by a MARKER with the frame's end, published, and only then LANE_READ moves. When
// the lane (or history) starts again, it goes on at HISTORY_COMMITTED; history drops the frames whose MARKER it has had. Without history it
// goes on where it was told to.
// A full ring to history stops both sources where they are: QoS 0 then piles up in the shards' rings (which drop, and count), and
// the rest waits in the journal.
import { AssertionError } from "../base/assert.js";
import { align8 } from "../base/bytes.js";
import type { Clock } from "../base/clock.js";
import { LANE_COUNTER } from "../base/counters.js";
import { HISTORY_SOURCE } from "../base/history-record.js";
import { ENTRY } from "../base/journal-entry.js";
import type { Log } from "../base/log.js";
import { MESSAGE_FLAG, MessageView } from "../base/message-record.js";
import type { LaneStart, LastValue } from "../base/messages.js";
import { POSITION, readPosition, writePosition } from "../base/positions.js";
import { Pipeline, type RowSink } from "../pipeline/pipeline.js";
import { RECORD_HEADER_SIZE, RECORD_LENGTH_MAX } from "../ring/layout.js";
import { RingReader } from "../ring/ring.js";
import { HistoryWriter } from "./history-writer.js";
import type { JournalFrames } from "../base/journal-frames.js";

/** Messages taken from one ring, and journal entries walked, per turn: so that neither waits long for the other. */
const RING_MESSAGES_PER_TURN = 1024;
const JOURNAL_ENTRIES_PER_TURN = 4096;

/** What a turn found. */
export const TURN = {
  /** Nothing to do. */
  IDLE: 0,
  /** All there was is done. */
  DONE: 1,
  /** There is more. */
  MORE: 2,
  /** The ring to history is full; history rings when it has read. */
  WAITING: 3,
} as const;
export type Turn = (typeof TURN)[keyof typeof TURN];

/** Without history rows go nowhere; last values and statistics are kept all the same. */
const NOWHERE: RowSink = {
  addSeries: () => undefined,
  addRow: () => undefined,
  addText: () => undefined,
  addEvent: () => undefined,
};

export interface LaneParts {
  readonly start: LaneStart;
  /** Opens the journal at an LSN. */
  readonly openJournal: (fromLsn: number) => JournalFrames;
  readonly clock: Clock;
  readonly log: Log;
  /** Rings history's doorbell. */
  readonly wakeHistory: () => void;
}

export class Lane {
  private readonly start: LaneStart;
  private readonly openJournal: (fromLsn: number) => JournalFrames;
  private journal: JournalFrames;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly counters: Float64Array;
  private readonly positions: BigUint64Array;
  private readonly rings: RingReader[];
  private readonly writer: HistoryWriter | undefined;
  private readonly message = new MessageView();
  private pipeline: Pipeline;
  /** History's epoch that START was sent for; -1 before the first. */
  private epoch = -1;
  private durable = 0;
  /** Inside a frame: the next entry, and how its messages are treated. */
  private isInFrame = false;
  private entryAt = 0;
  private deaths = 0;
  private isWaiting = false;
  /** By ring: bytes of what waited there when this lane began, and is to be taken with care still. Fillers count, so it may be some messages more. */
  private readonly carefulSizes: number[];

  constructor(parts: LaneParts) {
    this.start = parts.start;
    this.openJournal = parts.openJournal;
    this.clock = parts.clock;
    this.log = parts.log;
    this.counters = new Float64Array(this.start.counters);
    this.positions = new BigUint64Array(this.start.positions);
    this.rings = this.start.fromShards.map((place) => new RingReader(place));
    this.carefulSizes = this.rings.map((ring) => (this.start.isCareful ? ring.backlog() : 0));
    this.writer = this.start.toHistory === undefined ? undefined : new HistoryWriter(this.start.toHistory, parts.wakeHistory);
    this.pipeline = this.newPipeline();
    this.journal = this.openAt(this.start.fromLsn);
  }

  /** One bounded round over all sources. */
  turn(): Turn {
    if (this.isWaiting) this.setWaiting(false);
    if (!this.isInEpoch()) return this.wait();
    const now = this.clock.monotonic();
    let taken = 0;
    let hasMore = false;
    let hasRoom = true;
    this.writer?.from(HISTORY_SOURCE.LIVE);
    for (let index = 0; index < this.rings.length; index++) {
      const count = this.drainRing(index, now);
      if (count < 0) hasRoom = false;
      else taken += count;
      if (count === RING_MESSAGES_PER_TURN) hasMore = true;
    }
    this.writer?.from(HISTORY_SOURCE.JOURNAL);
    const walked = this.readJournal(now);
    if (walked < 0) hasRoom = false;
    else taken += walked;
    if (walked >= JOURNAL_ENTRIES_PER_TURN) hasMore = true;
    this.writer?.publish();
    for (const ring of this.rings) ring.release();
    if (!hasRoom) return this.wait();
    if (hasMore) return TURN.MORE;
    return taken > 0 ? TURN.DONE : TURN.IDLE;
  }

  /** Says that the lane will sleep until its doorbell rings. @returns false when something came meanwhile */
  arm(): boolean {
    for (const ring of this.rings) if (!ring.arm()) return false;
    return readPosition(this.positions, POSITION.JOURNAL_DURABLE) === this.durable;
  }

  last(device: string, name: string): LastValue | null {
    return this.pipeline.last(device, name);
  }

  updateGauges(): void {
    this.pipeline.updateGauges();
  }

  /** Says that this thread comes to its turn. */
  beat(): void {
    this.setPosition(POSITION.LANE_BEAT, readPosition(this.positions, POSITION.LANE_BEAT + this.start.lane) + 1);
  }

  close(): void {
    this.journal.close();
  }

  /** Makes sure that history knows of this lane; begins anew when history did. @returns false when there is no room to say so */
  private isInEpoch(): boolean {
    const { writer } = this;
    if (writer === undefined) return true;
    const epoch = readPosition(this.positions, POSITION.HISTORY_EPOCH);
    if (epoch === this.epoch) return true;
    if (!writer.hasRoomForMark()) return false;
    // What an earlier history had not committed is gone with it, and so is its knowledge of the series' handles.
    const fromLsn = Math.max(readPosition(this.positions, POSITION.HISTORY_COMMITTED), readPosition(this.positions, POSITION.JOURNAL_FIRST));
    if (this.epoch >= 0) {
      this.log.info("history started anew: going back to what it holds", { fromLsn });
      this.pipeline.updateGauges();
      this.pipeline = this.newPipeline();
    }
    this.journal.close();
    this.journal = this.openAt(fromLsn);
    writer.start(fromLsn, epoch);
    this.epoch = epoch;
    return true;
  }

  private newPipeline(): Pipeline {
    return new Pipeline(this.start.statistics, this.start.seriesMax, this.counters, this.writer ?? NOWHERE);
  }

  private openAt(lsn: number): JournalFrames {
    this.isInFrame = false;
    this.setPosition(POSITION.LANE_READ, lsn);
    this.setPosition(POSITION.LANE_CURRENT, 0);
    return this.openJournal(lsn);
  }

  private setPosition(cell: number, value: number): void {
    writePosition(this.positions, cell + this.start.lane, value);
  }

  /** Asks history to ring when it has made room. */
  private wait(): Turn {
    this.counters[LANE_COUNTER.STALLS_HISTORY]!++;
    this.setWaiting(true);
    // History may have read between the look at the ring and the request, and then does not ring.
    return this.writer?.hasRoomForAny() === true ? TURN.MORE : TURN.WAITING;
  }

  private setWaiting(isWaiting: boolean): void {
    this.isWaiting = isWaiting;
    this.setPosition(POSITION.LANE_WAITING, isWaiting ? 1 : 0);
  }

  /** @returns messages taken, or -1 when the ring to history is full */
  private drainRing(index: number, now: number): number {
    const { message } = this;
    const ring = this.rings[index]!;
    let count = 0;
    while (count < RING_MESSAGES_PER_TURN && ring.next()) {
      message.read(ring.view, ring.at);
      if (this.writer?.hasRoomFor(message.payloadLength) === false) {
        ring.unread();
        return -1;
      }
      count++;
      if (this.carefulSizes[index]! > 0) {
        this.carefulSizes[index]! -= RECORD_HEADER_SIZE + align8(ring.length);
        this.takeCarefully(ring, now);
        continue;
      }
      try {
        this.pipeline.take(ring.bytes, message, now);
      } catch (error) {
        // Nothing but the ring holds this message: it must be behind the lane before the lane may die.
        ring.release();
        this.passOver(ring.bytes, error, now);
      }
    }
    return count;
  }

  /** The message is out of the ring before it is looked at: if this lane hangs at it, too, the next one does not meet it. */
  private takeCarefully(ring: RingReader, now: number): void {
    const { message } = this;
    const copy = ring.bytes.slice(ring.at, ring.at + ring.length);
    message.read(new DataView(copy.buffer), 0);
    this.writer?.publish();
    ring.release();
    try {
      this.pipeline.take(copy, message, now);
    } catch (error) {
      this.passOver(copy, error, now);
    }
  }

  /** @returns entries walked, or -1 when the ring to history is full */
  private readJournal(now: number): number {
    const { journal } = this;
    let walked = 0;
    this.durable = readPosition(this.positions, POSITION.JOURNAL_DURABLE);
    while (walked < JOURNAL_ENTRIES_PER_TURN) {
      if (!this.isInFrame && !this.enterFrame()) return walked;
      while (this.entryAt < journal.end) {
        if (walked === JOURNAL_ENTRIES_PER_TURN) return walked;
        const head = journal.view.getUint32(this.entryAt, true);
        const length = head & RECORD_LENGTH_MAX;
        if (head >>> 24 === ENTRY.PUBLISH && !this.takeEntry(this.entryAt + RECORD_HEADER_SIZE, now)) return -1;
        this.entryAt += RECORD_HEADER_SIZE + align8(length);
        walked++;
      }
      if (!this.leaveFrame()) return -1;
      // A frame without entries of ours counts as one, so that a turn ends.
      walked++;
    }
    return walked;
  }

  private enterFrame(): boolean {
    const { journal } = this;
    if (!journal.next(this.durable)) return false;
    // Most frames of a gateway that also routes other topics hold nothing for lanes.
    this.entryAt = journal.laneEntryCount === 0 ? journal.end : journal.at;
    this.isInFrame = true;
    this.deaths = this.start.quarantined.filter((lsn) => lsn === journal.lsn).length;
    this.setPosition(POSITION.LANE_CURRENT, journal.lsn);
    this.counters[LANE_COUNTER.JOURNAL_BYTES_READ]! += journal.end - journal.at;
    return true;
  }

  private leaveFrame(): boolean {
    const { writer, journal } = this;
    if (writer !== undefined) {
      if (!writer.hasRoomForMark()) return false;
      writer.mark(journal.endLsn);
      writer.publish();
    }
    this.isInFrame = false;
    this.setPosition(POSITION.LANE_READ, journal.endLsn);
    this.setPosition(POSITION.LANE_CURRENT, 0);
    return true;
  }

  /** @returns false when the ring to history is full */
  private takeEntry(at: number, now: number): boolean {
    const { message, journal } = this;
    message.read(journal.view, at);
    if ((message.flags & MESSAGE_FLAG.LANE) === 0 || message.deviceHash % this.start.lanes !== this.start.lane) return true;
    if (this.writer?.hasRoomFor(message.payloadLength) === false) return false;
    if (this.deaths === 0) {
      this.pipeline.take(journal.bytes, message, now);
    } else if (this.deaths === 1) {
      try {
        this.pipeline.take(journal.bytes, message, now);
      } catch (error) {
        this.passOver(journal.bytes, error, now);
      }
    } else {
      this.quarantine(journal.bytes, "a lane died at its journal frame again and again", now);
    }
    return true;
  }

  /** Goes on behind a message that threw; a broken invariant of ours still ends the lane. */
  private passOver(bytes: Uint8Array, error: unknown, now: number): void {
    if (error instanceof AssertionError) throw error;
    this.quarantine(bytes, error instanceof Error ? error.message : String(error), now);
  }

  private quarantine(bytes: Uint8Array, reason: string, now: number): void {
    this.counters[LANE_COUNTER.QUARANTINED]!++;
    this.pipeline.refuse(bytes, this.message, "quarantine", reason, now);
    this.log.error("a message was put aside", { reason });
  }
}
