// What waits until the journal has it on disk: acknowledgements, and QoS 2 messages that may not be delivered before (gates 1 and 2 of the
// QoS guarantee). One FIFO per shard in order of journal position, so PUBACKs leave in the order their PUBLISHes came [MQTT-4.6.0-2]. Hot path.
// Invariant: positions in the FIFO never go back; an entry belongs to one generation of a connection (the id contains it) and dies with it.
import type { Session } from "../broker/session.js";
import type { StoredMessage } from "../broker/stored-message.js";

const COUNT_FIRST = 4096;

/** What an entry becomes when its position is durable. */
export const PENDING = {
  PUBACK: 1,
  PUBREC: 2,
  PUBCOMP: 3,
  DELIVER: 4,
  /** PUBACK or PUBREC with Quota Exceeded, behind acknowledgements that came before: it must not overtake them. */
  REFUSED_PUBACK: 5,
  REFUSED_PUBREC: 6,
  /** The same with Not authorized. */
  FORBIDDEN_PUBACK: 7,
  FORBIDDEN_PUBREC: 8,
} as const;

/** A message that waits to be delivered, and whose it is: No Local must know it although the publisher's connection may be gone by then. */
export interface Held {
  readonly message: StoredMessage;
  readonly publisher: Session;
}

export class PendingFifo {
  private size = COUNT_FIRST;
  private positions = new Uint32Array(COUNT_FIRST);
  private connections = new Uint32Array(COUNT_FIRST);
  private kinds = new Uint32Array(COUNT_FIRST);
  private readonly messages = new Map<number, Held>();
  private head = 0;
  private tail = 0;
  /** Of the entry `due` found. */
  kind = 0;
  connection = 0;
  packetId = 0;
  held: Held | null = null;

  get count(): number {
    return (this.head - this.tail) >>> 0;
  }

  /**
   * @param position the store ring's position behind the entry (RingWriter.position)
   * @param held for DELIVER: delivered before the PUBREC that follows it
   */
  push(position: number, kind: number, connection: number, packetId: number, held: Held | null): void {
    if (this.count === this.size) this.grow();
    const slot = this.head & (this.size - 1);
    this.positions[slot] = position;
    this.connections[slot] = connection;
    this.kinds[slot] = (packetId << 8) | kind;
    if (held !== null) this.messages.set(this.head, held);
    this.head = (this.head + 1) >>> 0;
  }

  /** Loads the oldest entry when everything before `durable` is on disk. @returns false when none is due */
  due(durable: number): boolean {
    if (this.head === this.tail) return false;
    const slot = this.tail & (this.size - 1);
    // Positions are u32 that wrap: the difference tells which is ahead, since a ring is far smaller than 2^31.
    if (((durable - this.positions[slot]!) | 0) < 0) return false;
    const word = this.kinds[slot]!;
    this.kind = word & 0xff;
    this.packetId = word >>> 8;
    this.connection = this.connections[slot]!;
    this.held = this.kind === PENDING.DELIVER ? this.messages.get(this.tail)! : null;
    return true;
  }

  /** Removes the entry that `due` loaded. */
  shift(): void {
    if (this.held !== null) this.messages.delete(this.tail);
    this.held = null;
    this.tail = (this.tail + 1) >>> 0;
  }

  private grow(): void {
    const { size, positions, connections, kinds } = this;
    this.size = size * 2;
    this.positions = new Uint32Array(this.size);
    this.connections = new Uint32Array(this.size);
    this.kinds = new Uint32Array(this.size);
    for (let i = this.tail; i !== this.head; i = (i + 1) >>> 0) {
      const from = i & (size - 1);
      const to = i & (this.size - 1);
      this.positions[to] = positions[from]!;
      this.connections[to] = connections[from]!;
      this.kinds[to] = kinds[from]!;
    }
  }
}
