// What other shards send: messages for our subscribers, their interests, retained updates. Hot path. Thread: the shard's.
// Invariant: taking a record in needs room in no ring (answers wait in memory, bounded), so two shards can never block each other.
import { RingReader } from "../ring/ring.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { Applied } from "./applied.js";
import type { Checkpoint } from "./checkpoint.js";
import { MessageSource, PEER } from "./outlets.js";
import type { ShardParts } from "./turn.js";

/** Records taken from one peer in one turn: the sockets get their share. */
const RECORDS_PER_TURN = 2048;

export class PeerInlet {
  private readonly parts: ShardParts;
  private readonly checkpoint: Checkpoint;
  private readonly readers: (RingReader | null)[];
  private readonly source = new MessageSource();
  /** By shard: what lies before this position was meant for a predecessor; our HELLO asks for all of it anew. */
  private readonly freshFrom: number[];
  private hasMore = false;
  /** So much is dropped that the store has to take in first what says so. */
  isHeldUp = false;
  private isStarting = true;
  /** While this shard starts: bit per shard that has welcomed it, and what the journal must have been read up to. */
  private welcomes = 0;
  private readonly ahead = new Applied();

  constructor(parts: ShardParts, checkpoint: Checkpoint) {
    this.parts = parts;
    this.checkpoint = checkpoint;
    this.readers = parts.start.fromShards.map((place, shard) => (shard === parts.start.shard ? null : new RingReader(place)));
    this.freshFrom = this.readers.map((reader) => (reader === null ? 0 : (reader.position() + reader.backlog()) >>> 0));
  }

  /** @returns whether it read all that there was when it began */
  turn(): boolean {
    const { journal, liveness } = this.parts;
    this.hasMore = false;
    let isAllRead = true;
    for (let shard = 0; shard < this.readers.length; shard++) {
      const reader = this.readers[shard];
      if (reader === null || reader === undefined) continue;
      let count = 0;
      while (count < RECORDS_PER_TURN && !this.waitsForJournal(shard) && journal.hasRoomForDrops && reader.next()) {
        if (reader.kind === PEER.HELLO && liveness.isAhead(shard, reader.view.getUint32(reader.at, true))) {
          reader.unread();
          this.hasMore = true;
          break;
        }
        this.record(shard, reader);
        count++;
      }
      if (count === RECORDS_PER_TURN) this.hasMore = true;
      if (count > 0) reader.release();
      // The last words of a shard that died may lie behind its WELCOME.
      if (this.waitsForJournal(shard) && reader.backlog() > 0) isAllRead = false;
    }
    this.isHeldUp = !journal.hasRoomForDrops;
    return isAllRead && !this.hasMore && !this.isHeldUp;
  }

  /** Before the turn ends. @returns false when there is more to read at once */
  arm(): boolean {
    if (this.isHeldUp) return true;
    if (this.hasMore) return false;
    for (const [shard, reader] of this.readers.entries()) if (reader !== null && !this.waitsForJournal(shard) && !reader.arm()) return false;
    return true;
  }

  /** Whether everything that the others had published before they welcomed this shard has come in (from the journal). */
  get hasCaughtUp(): boolean {
    return !this.hasMore && this.parts.applied.covers(this.ahead);
  }

  /** This shard has read the journal: what comes from the others from now on is new. */
  started(): void {
    this.isStarting = false;
  }

  /** Shards died: their WELCOMEs are void. */
  lost(died: number): void {
    this.welcomes &= ~died;
  }

  /** What comes behind a WELCOME is for later: first the journal is read to that point. */
  private waitsForJournal(shard: number): boolean {
    return this.isStarting && (this.welcomes & (1 << shard)) !== 0;
  }

  private record(from: number, reader: RingReader): void {
    const { tree, interests, liveness, replica, shared, queues } = this.parts;
    if (reader.kind !== PEER.HELLO && reader.kind !== PEER.INTRODUCED && ((reader.position() - this.freshFrom[from]!) | 0) <= 0) return;
    switch (reader.kind) {
      case PEER.MESSAGE:
        this.message(reader);
        return;
      case PEER.RETAINED: {
        const { source } = this;
        source.read(reader.view, reader.at);
        this.parts.ids.saw(source.id);
        replica.received(from, text(reader, source.topicAt, source.topicLength), reader.bytes, reader.at, reader.length, source);
        return;
      }
      case PEER.HELLO: {
        const isUp = liveness.greeted(from, reader.view.getUint32(reader.at, true));
        tree.clearRemote(from);
        interests.applied(from, reader.id);
        queues.marks.forget(from);
        shared.greeted(from, reader.id, isUp);
        if (!isUp) return;
        interests.answer(from, tree.localFilters());
        queues.marks.tellAll(from);
        shared.introduce(from);
        return;
      }
      case PEER.DIRECT:
        shared.direct(from, reader);
        return;
      case PEER.SHARED_ANSWER:
        shared.owner.answered(from, reader);
        return;
      case PEER.SHARED_MEMBER:
        shared.owner.member(from, reader);
        return;
      case PEER.SHARED_KNOWN:
        shared.known(reader.id);
        return;
      case PEER.SHARED_HELD:
        shared.owner.held(from, reader);
        return;
      case PEER.SHARED_DONE:
        shared.owner.heldIsDone(from, reader);
        return;
      case PEER.SHARED_BACK:
        shared.owner.back(reader);
        return;
      case PEER.SHARED_ANNOUNCED:
        shared.owner.announced(from);
        return;
      case PEER.INTRODUCED:
        replica.tellAll(from, reader.view.getUint32(reader.at, true));
        return;
      case PEER.WELCOME:
        if (interests.welcomed(from, reader.view.getUint32(reader.at, true))) this.welcomed(from, reader.view.getFloat64(reader.at + 4, true), reader.view.getFloat64(reader.at + 12, true));
        interests.applied(from, reader.id);
        return;
      case PEER.FULL:
      case PEER.NOT_FULL:
        queues.marks.heard(from, text(reader, reader.at, reader.length), reader.kind === PEER.FULL);
        return;
      case PEER.BARRIER:
        this.checkpoint.passed(from, reader.view.getFloat64(reader.at, true));
        return;
      default:
        tree.setRemote(text(reader, reader.at, reader.length), from, reader.kind === PEER.INTEREST_ADD);
        interests.applied(from, reader.id);
    }
  }

  private welcomed(from: number, publishedId: number, barrier: number): void {
    if (this.isStarting) {
      this.welcomes |= 1 << from;
      this.ahead.raise(from, false, publishedId);
    }
    this.checkpoint.passed(from, barrier);
  }

  private message(reader: RingReader): void {
    const { routes, deliveries, counters, applied, ids } = this.parts;
    const { source } = this;
    source.read(reader.view, reader.at);
    if (this.isStarting) {
      // It stands in the journal, or will: that is where it is read.
      if (source.qos > 0 && !this.ahead.has(source)) this.ahead.add(source);
      return;
    }
    if (source.qos > 0) {
      if (applied.has(source)) return;
      applied.add(source);
      ids.saw(source.id);
    }
    source.bytes = reader.bytes;
    const route = routes.find(reader.bytes, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    deliveries.deliver(route, source, null, null, null);
    counters[SHARD_COUNTER.PEER_MESSAGES]!++;
  }
}

/** What WELCOME holds: u32 the HELLO's number, f64 id of the last message that was delivered as it came, f64 LSN of the last BARRIER. */
export function welcomeBytes(helloId: number, publishedId: number, barrier: number): Buffer {
  const bytes = Buffer.allocUnsafe(20);
  bytes.writeUInt32LE(helloId, 0);
  bytes.writeDoubleLE(publishedId, 4);
  bytes.writeDoubleLE(barrier, 12);
  return bytes;
}

function text(reader: RingReader, at: number, length: number): string {
  return Buffer.from(reader.bytes.subarray(at, at + length)).toString("utf8");
}
