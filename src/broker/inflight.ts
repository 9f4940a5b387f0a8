// Packet ids of QoS 1 and 2 messages on their way to one receiver (MQTT 3.1.1 §4.3, §4.4). Hot path. Pure.
// Invariants:
//   (1) A packet id is in use exactly while its slot (packetId mod size) holds it; `count` is the number of used slots.
//   (2) Packet ids are given out in ascending order (wrapping 65535 -> 1), so walking them from the oldest is walking in order of sending.
//   (3) `unsent` holds, in order of sending, ids whose PUBLISH is still to be sent on the present connection: from an earlier one, or since its
//       packet id was not on disk yet. Those from an earlier one do not count against its receive maximum (MQTT 5 §4.9).
//   (4) In the two COMMIT states nothing of that id is sent: what the journal says of it is not on disk yet (sessions that are kept; design: gates 3, 4).
//   (5) Until its first packet id a window is made of memory that all share and nobody writes: most clients of a gateway are never sent anything.
import { assert } from "../base/assert.js";

export const INFLIGHT_STATE = { FREE: 0, AWAIT_PUBACK: 1, AWAIT_PUBREC: 2, AWAIT_PUBCOMP: 3, COMMIT_SENT: 4, COMMIT_RECEIVED: 5 } as const;
const SIZE_FIRST = 16;
/** What windows without any packet id look at (invariant 5). */
const NO_IDS = new Uint16Array(SIZE_FIRST);
const NO_STATES = new Uint8Array(SIZE_FIRST);
const NO_ITEMS: readonly undefined[] = new Array<undefined>(SIZE_FIRST).fill(undefined);

/** @typeParam Item what must be sent again when the session resumes (undefined for sessions that end with their connection) */
export class Inflight<Item> {
  count = 0;
  /** Whether `takeUnsent` gave an id that no connection was given before. */
  isFirst = false;
  /** null as long as there was none. */
  private unsent: Set<number> | null = null;
  /** Of `unsent`: those that were never sent. */
  private fresh: Set<number> | null = null;
  private next = 1;
  private size = SIZE_FIRST;
  private ids = NO_IDS;
  private states = NO_STATES;
  private items = NO_ITEMS as (Item | undefined)[];

  /**
   * Takes the next packet id.
   * @param state what it waits for first: AWAIT_PUBACK, AWAIT_PUBREC, or COMMIT_SENT
   * @param limit most packet ids in use (the receiver's receive maximum)
   * @returns the packet id, or 0 when the window is full
   */
  open(state: number, item: Item | undefined, limit: number): number {
    if (this.count >= limit) return 0;
    if (this.states === NO_STATES) this.allocate(SIZE_FIRST);
    let id = this.next;
    // A slot that an old, unacknowledged id still holds is passed over; four tries, then the table grows.
    for (let tries = 0; this.states[id & (this.size - 1)] !== INFLIGHT_STATE.FREE; tries++) {
      if (tries === 4) {
        if (this.size >= 65536) return 0;
        this.grow();
        tries = 0;
      }
      id = id === 65535 ? 1 : id + 1;
    }
    const slot = id & (this.size - 1);
    this.ids[slot] = id;
    this.states[slot] = state;
    this.items[slot] = item;
    this.count++;
    this.next = id === 65535 ? 1 : id + 1;
    return id;
  }

  /** Takes up a packet id as an earlier life of the session left it. Calls come in the order of sending. REQUIRES: the id is not in use */
  restore(packetId: number, state: number, item: Item | undefined): void {
    this.next = packetId;
    while (this.states[packetId & (this.size - 1)] !== INFLIGHT_STATE.FREE) this.grow();
    this.open(state, item, Number.POSITIVE_INFINITY);
  }

  /** COMMIT_SENT is over: the PUBLISH may be sent (`takeUnsent`). @returns false when the id does not wait for that (any more) */
  committed(packetId: number): boolean {
    const slot = packetId & (this.size - 1);
    if (this.ids[slot] !== packetId || this.states[slot] !== INFLIGHT_STATE.COMMIT_SENT) return false;
    this.states[slot] = INFLIGHT_STATE.AWAIT_PUBREC;
    (this.unsent ??= new Set()).add(packetId);
    (this.fresh ??= new Set()).add(packetId);
    return true;
  }

  /** COMMIT_RECEIVED is over: PUBREL may be sent. @returns false when the id does not wait for that (any more) */
  released(packetId: number): boolean {
    const slot = packetId & (this.size - 1);
    if (this.ids[slot] !== packetId || this.states[slot] !== INFLIGHT_STATE.COMMIT_RECEIVED) return false;
    this.states[slot] = INFLIGHT_STATE.AWAIT_PUBCOMP;
    return true;
  }

  /** PUBACK, or PUBREC with an error. @returns false when the id is not awaiting it */
  acknowledge(packetId: number, state: number): boolean {
    const slot = packetId & (this.size - 1);
    if (this.ids[slot] !== packetId || this.states[slot] !== state) return false;
    this.states[slot] = INFLIGHT_STATE.FREE;
    this.items[slot] = undefined;
    this.count--;
    this.forgetUnsent(packetId);
    return true;
  }

  /** What the packet id waits for: INFLIGHT_STATE. */
  stateOf(packetId: number): number {
    const slot = packetId & (this.size - 1);
    return this.ids[slot] === packetId ? this.states[slot]! : INFLIGHT_STATE.FREE;
  }

  /**
   * PUBREC for an id that awaited it: the message itself is not needed any more [MQTT-4.3.3-1].
   * @param state AWAIT_PUBCOMP, or COMMIT_RECEIVED when PUBREL has to wait
   */
  received(packetId: number, state: number): void {
    const slot = packetId & (this.size - 1);
    assert(this.ids[slot] === packetId && this.states[slot] === INFLIGHT_STATE.AWAIT_PUBREC, "a PUBREC is taken for an id that awaits it");
    this.states[slot] = state;
    this.items[slot] = undefined;
    this.forgetUnsent(packetId);
  }

  /** Forgets everything: the session is over. */
  clear(): void {
    this.size = SIZE_FIRST;
    this.ids = NO_IDS;
    this.states = NO_STATES;
    this.items = NO_ITEMS as (Item | undefined)[];
    this.count = 0;
    this.unsent = this.fresh = null;
  }

  /** The session has a new connection: every PUBLISH is to be sent again [MQTT-4.4.0-1]. @param release gets the ids whose PUBREL is */
  reopen(release: (packetId: number) => void): void {
    this.unsent = null;
    if (this.count === 0) return;
    const unsent = new Set<number>();
    this.forEach((packetId, state) => {
      if (state === INFLIGHT_STATE.AWAIT_PUBCOMP) release(packetId);
      else if (state < INFLIGHT_STATE.COMMIT_SENT) unsent.add(packetId);
    });
    if (unsent.size > 0) this.unsent = unsent;
  }

  get hasUnsent(): boolean {
    return this.unsent !== null && this.unsent.size > 0;
  }

  /**
   * Takes the oldest PUBLISH that is still to be sent on this connection.
   * @param limit most packet ids in use on this connection
   * @returns its packet id (see `itemOf`), or 0 when there is none or the window is full
   */
  takeUnsent(limit: number): number {
    const { unsent } = this;
    if (unsent === null || this.count - unsent.size >= limit) return 0;
    const oldest = unsent.values().next();
    if (oldest.done === true) return 0;
    unsent.delete(oldest.value);
    this.isFirst = this.fresh !== null && this.fresh.delete(oldest.value);
    return oldest.value;
  }

  /** What the packet id in use stands for. */
  itemOf(packetId: number): Item | undefined {
    return this.items[packetId & (this.size - 1)];
  }

  /** Walks what is unacknowledged in the order of sending [MQTT-4.6.0-1]. */
  forEach(visit: (packetId: number, state: number) => void): void {
    const used: number[] = [];
    for (let slot = 0; slot < this.size; slot++) if (this.states[slot] !== INFLIGHT_STATE.FREE) used.push(slot);
    assert(used.length === this.count, "count is the number of used slots");
    const age = (slot: number): number => (this.next - this.ids[slot]! + 65535) % 65535;
    used.sort((a, b) => age(b) - age(a));
    for (const slot of used) visit(this.ids[slot]!, this.states[slot]!);
  }

  private forgetUnsent(packetId: number): void {
    if (this.unsent === null || this.unsent.size === 0) return;
    this.unsent.delete(packetId);
    this.fresh?.delete(packetId);
  }

  private allocate(size: number): void {
    this.size = size;
    this.ids = new Uint16Array(size);
    this.states = new Uint8Array(size);
    this.items = new Array<Item | undefined>(size);
  }

  private grow(): void {
    const old = { size: this.size, ids: this.ids, states: this.states, items: this.items };
    this.allocate(old.size * 2);
    for (let slot = 0; slot < old.size; slot++) {
      if (old.states[slot] === INFLIGHT_STATE.FREE) continue;
      const to = old.ids[slot]! & (this.size - 1);
      this.ids[to] = old.ids[slot]!;
      this.states[to] = old.states[slot]!;
      this.items[to] = old.items[slot];
    }
  }
}
