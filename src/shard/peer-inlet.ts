// What other shards send: messages for our subscribers, their interests, retained updates. Hot path. Thread: the shard's.
// Invariant: taking a record in needs room in no ring (answers wait in memory, bounded), so two shards can never block each other.
import { RingReader } from "../ring/ring.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { MessageSource, PEER } from "./outlets.js";
import type { ShardParts } from "./turn.js";

/** Records taken from one peer in one turn: the sockets get their share. */
const RECORDS_PER_TURN = 2048;

export class PeerInlet {
  private readonly parts: ShardParts;
  private readonly readers: (RingReader | null)[];
  private readonly source = new MessageSource();
  private hasMore = false;

  constructor(parts: ShardParts) {
    this.parts = parts;
    this.readers = parts.start.fromShards.map((place, shard) => (shard === parts.start.shard ? null : new RingReader(place)));
  }

  turn(): void {
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
  }

  /** Before the turn ends. @returns false when there is more to read at once */
  arm(): boolean {
    if (this.hasMore) return false;
    for (const reader of this.readers) if (reader !== null && !reader.arm()) return false;
    return true;
  }

  private record(from: number, reader: RingReader): void {
    const { tree, interests, replica } = this.parts;
    switch (reader.kind) {
      case PEER.MESSAGE:
        this.message(reader);
        return;
      case PEER.RETAIN:
      case PEER.RETAINED: {
        const { source } = this;
        source.read(reader.view, reader.at);
        replica.received(reader.kind, text(reader, source.topicAt, source.topicLength), reader.bytes, reader.at, reader.length, source);
        return;
      }
      case PEER.HELLO:
        tree.clearRemote(from);
        interests.applied(from, reader.id);
        for (const filter of tree.localFilters()) interests.tell(from, filter);
        interests.synchronise(from);
        replica.tellAll(from);
        return;
      default:
        if (reader.length > 0) tree.setRemote(text(reader, reader.at, reader.length), from, reader.kind === PEER.INTEREST_ADD);
        interests.applied(from, reader.id);
    }
  }

  private message(reader: RingReader): void {
    const { routes, deliveries, replica, counters } = this.parts;
    const { source } = this;
    source.read(reader.view, reader.at);
    source.bytes = reader.bytes;
    const route = routes.find(reader.bytes, source.topicAt, source.topicLength, null);
    source.topicBytes = route.topicBytes;
    // Who subscribes now must not get an older retained value after this one: the replica learns it before the owner's word comes.
    if (source.retain) replica.received(PEER.MESSAGE, route.topic, reader.bytes, reader.at, reader.length, source);
    deliveries.deliver(route, source, null, null, null);
    counters[SHARD_COUNTER.PEER_MESSAGES]!++;
  }
}

function text(reader: RingReader, at: number, length: number): string {
  return Buffer.from(reader.bytes.subarray(at, at + length)).toString("utf8");
}
