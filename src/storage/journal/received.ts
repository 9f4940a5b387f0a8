// QoS 2, the receiver's side: which packet ids of which client were received and not released yet (MQTT 3.1.1 §4.3.3, method A). The store
// follows it from the entries it writes, puts it at the start of each segment as a CHECKPOINT, and rebuilds it by replay.
// Replaying entries over a state that already holds their effect gives the same state: the last entry that touches an id decides.
import { fnv1aOf } from "../../base/bytes.js";

export type ReceivedSessions = readonly (readonly [string, readonly number[]])[];

interface CheckpointPart {
  readonly part: number;
  readonly isLast: boolean;
  readonly received: ReceivedSessions;
}

/** Ids and characters of one checkpoint entry: keeps each far below an entry's 16 MiB. */
const PART_WEIGHT_MAX = 128 * 1024;

export class ReceivedIds {
  private sessions = new Map<string, Set<number>>();
  /** Parts of a checkpoint that is being read; it counts only when its last part has come. */
  private arriving: Map<string, Set<number>> | null = null;
  private arrivedParts = 0;

  add(clientId: string, packetId: number): void {
    addTo(this.sessions, clientId, packetId);
  }

  release(clientId: string, packetId: number): void {
    const ids = this.sessions.get(clientId);
    if (ids !== undefined && ids.delete(packetId) && ids.size === 0) this.sessions.delete(clientId);
  }

  clear(clientId: string): void {
    this.sessions.delete(clientId);
  }

  /** The state of all clients, or of those that belong to one shard. */
  list(shard = 0, shards = 1): ReceivedSessions {
    const listed: [string, number[]][] = [];
    for (const [clientId, ids] of this.sessions) if (shards === 1 || fnv1aOf(clientId) % shards === shard) listed.push([clientId, [...ids]]);
    return listed;
  }

  /** The state as JSON texts, one per CHECKPOINT entry; at least one. */
  checkpoint(): string[] {
    const parts: (readonly [string, readonly number[]])[][] = [[]];
    let weight = 0;
    for (const session of this.list()) {
      const added = session[0].length + 6 * session[1].length;
      if (weight > 0 && weight + added > PART_WEIGHT_MAX) {
        parts.push([]);
        weight = 0;
      }
      parts[parts.length - 1]!.push(session);
      weight += added;
    }
    return parts.map((received, part) => JSON.stringify({ part, isLast: part === parts.length - 1, received } satisfies CheckpointPart));
  }

  /** Takes one CHECKPOINT entry of a replay; the state is replaced when the last part has come. A part out of order voids that checkpoint. */
  restore(text: string): void {
    const part = JSON.parse(text) as CheckpointPart;
    if (part.part === 0) {
      this.arriving = new Map();
      this.arrivedParts = 0;
    }
    if (this.arriving === null || part.part !== this.arrivedParts) {
      this.arriving = null;
      return;
    }
    this.arrivedParts++;
    for (const [clientId, ids] of part.received) for (const id of ids) addTo(this.arriving, clientId, id);
    if (!part.isLast) return;
    this.sessions = this.arriving;
    this.arriving = null;
  }
}

function addTo(sessions: Map<string, Set<number>>, clientId: string, packetId: number): void {
  const ids = sessions.get(clientId);
  if (ids === undefined) sessions.set(clientId, new Set([packetId]));
  else ids.add(packetId);
}
