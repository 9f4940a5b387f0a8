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
  /** PUBACK or PUBREC with an error, behind acknowledgements that came before: it must not overtake them. */
  REFUSED_PUBACK: 5,
  REFUSED_PUBREC: 6,
  /** Calls a function: what belongs to a session rather than to a connection. */
  THEN: 7,
} as const;
/** On an entry's kind: it was put back, since it has to wait for what was put into the journal meanwhile. */
export const PUT_BACK = 0x80;

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
  private readonly values = new Map<number, Held | (() => void)>();
  private head = 0;
  private tail = 0;
  /** Of the entry `due` found. */
  kind = 0;
  connection = 0;
  packetId = 0;
  /** Reason code of a refusal, or of a PUBACK or PUBREC for a message that was taken all the same; else 0. */
  reason = 0;
  held: Held | null = null;
  then: (() => void) | null = null;
  isPutBack = false;

  get count(): number {
    return (this.head - this.tail) >>> 0;
  }

  /**
   * @param position the store ring's position behind the entry (RingWriter.position)
   * @param value for DELIVER: delivered before the PUBREC that follows it; for THEN: called
   * @param reason as `reason`
   */
  push(position: number, kind: number, connection: number, packetId: number, value: Held | (() => void) | null, reason = 0): void {
    if (this.count === this.size) this.grow();
    const slot = this.head & (this.size - 1);
    this.positions[slot] = position;
    this.connections[slot] = connection;
    this.kinds[slot] = (reason << 24) | (packetId << 8) | kind;
    if (value !== null) this.values.set(this.head, value);
    this.head = (this.head + 1) >>> 0;
  }

  /** Loads the oldest entry when everything before `durable` is on disk. @returns false when none is due */
  due(durable: number): boolean {
    if (this.head === this.tail) return false;
    const slot = this.tail & (this.size - 1);
    // Positions are u32 that wrap: the difference tells which is ahead, since a ring is far smaller than 2^31.
    if (((durable - this.positions[slot]!) | 0) < 0) return false;
    const word = this.kinds[slot]!;
    this.kind = word & 0x7f;
    this.isPutBack = (word & PUT_BACK) !== 0;
    this.packetId = (word >>> 8) & 0xffff;
    this.reason = word >>> 24;
    this.connection = this.connections[slot]!;
    if (this.kind === PENDING.DELIVER) this.held = this.values.get(this.tail) as Held;
    else if (this.kind === PENDING.THEN) this.then = this.values.get(this.tail) as () => void;
    return true;
  }

  /** Removes the entry that `due` loaded. */
  shift(): void {
    if (this.held !== null || this.then !== null) this.values.delete(this.tail);
    this.held = this.then = null;
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
