// What other shards send: messages for our subscribers, their interests, retained updates. Hot path. Thread: the shard's.
// Invariant: taking a record in needs room in no ring (answers wait in memory, bounded), so two shards can never block each other.
import { RingReader } from "../ring/ring.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { MessageSource, PEER, STAMP_SIZE } from "./outlets.js";
import type { ShardParts } from "./turn.js";

/** Records taken from one peer in one turn: the sockets get their share. */
const RECORDS_PER_TURN = 2048;

export class PeerInlet {
  private readonly parts: ShardParts;
  private readonly readers: (RingReader | null)[];
  private readonly source = new MessageSource();
  /** By shard: what lies before this position was meant for a predecessor; our HELLO asks for all of it anew. */
  private readonly freshFrom: number[];
  /** By shard: filters of its predecessor that it has not told again; void when it serves. Until then messages for them are held (SharedHeld). */
  private readonly untold: (Set<string> | null)[];
  private hasMore = false;

  constructor(parts: ShardParts) {
    this.parts = parts;
    this.readers = parts.start.fromShards.map((place, shard) => (shard === parts.start.shard ? null : new RingReader(place)));
    this.untold = this.readers.map(() => null);
    this.freshFrom = this.readers.map((reader) => (reader === null ? 0 : (reader.position() + reader.backlog()) >>> 0));
  }

  /** @returns whether it read all that there was when it began */
  turn(): boolean {
    this.hasMore = false;
    for (let shard = 0; shard < this.readers.length; shard++) {
      const reader = this.readers[shard];
      if (reader === null || reader === undefined) continue;
      let count = 0;
      while (count < RECORDS_PER_TURN && reader.next()) {
        this.record(shard, reader);
        count++;
      }
      if (count === RECORDS_PER_TURN) this.hasMore = true;
      if (count > 0) reader.release();
    }
    return !this.hasMore;
  }

  /** Before the turn ends. @returns false when there is more to read at once */
  arm(): boolean {
    if (this.hasMore) return false;
    for (const reader of this.readers) if (reader !== null && !reader.arm()) return false;
    return true;
  }

  private record(from: number, reader: RingReader): void {
    const { tree, interests, liveness, replica, shared } = this.parts;
    // HELLO and SERVING count always: who read the one must read the other.
    if (reader.kind !== PEER.HELLO && reader.kind !== PEER.SERVING && ((reader.position() - this.freshFrom[from]!) | 0) <= 0) return;
    switch (reader.kind) {
      case PEER.MESSAGE:
        this.message(reader);
        return;
      case PEER.RETAINED: {
        const { source } = this;
        const length = reader.length - STAMP_SIZE;
        source.read(reader.view, reader.at);
        const topic = text(reader, source.topicAt, source.topicLength);
        replica.received(from, topic, reader.bytes, reader.at, length, source, reader.view.getFloat64(reader.at + length, true));
        return;
      }
      case PEER.HELLO:
        liveness.greeted(from);
        this.untold[from] = new Set(tree.remoteFilters(from));
        interests.applied(from, reader.id);
        interests.answer(from, tree.localFilters());
        shared.greeted(from, reader.id);
        replica.tellAll(from, reader.id);
        return;
      case PEER.SERVING:
        liveness.serves(from);
        for (const filter of this.untold[from] ?? []) tree.setRemote(filter, from, false);
        this.untold[from] = null;
        return;
      case PEER.MISSED:
        shared.owner.missed(reader);
        return;
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
      case PEER.SHARED_ANNOUNCED:
        shared.owner.announced(from);
        return;
      case PEER.WELCOME:
        interests.welcomed(from, reader.view.getUint32(reader.at, true));
        interests.applied(from, reader.id);
        return;
      default:
        this.interest(from, text(reader, reader.at, reader.length), reader.kind === PEER.INTEREST_ADD);
        interests.applied(from, reader.id);
    }
  }

  private interest(from: number, filter: string, isAdded: boolean): void {
    this.untold[from]?.delete(filter);
    this.parts.tree.setRemote(filter, from, isAdded);
  }

  private message(reader: RingReader): void {
    const { routes, deliveries, counters } = this.parts;
    const { source } = this;
    source.read(reader.view, reader.at);
    source.bytes = reader.bytes;
    const route = routes.find(reader.bytes, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    deliveries.deliver(route, source, null, null, null);
    counters[SHARD_COUNTER.PEER_MESSAGES]!++;
  }
}

function text(reader: RingReader, at: number, length: number): string {
  return Buffer.from(reader.bytes.subarray(at, at + length)).toString("utf8");
}
