// A topic cut into levels without making strings of them, and the children of a trie's node found by such a level. Hot path.
// One TopicLevels is re-used: reading a topic makes no garbage, which a string per level would.

/** Hashes begin at a value of this process's own, so that a peer cannot prepare levels that collide. */
const SEED = Math.floor(Math.random() * 0x1_0000_0000);

const SLASH = 0x2f;
const PLUS = 0x2b;
const HASH = 0x23;
const DOLLAR = 0x24;

/** The levels of one topic name or filter. */
export class TopicLevels {
  text = "";
  count = 0;
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private readonly hashes: number[] = [];

  read(text: string): void {
    this.text = text;
    let count = 0;
    let start = 0;
    let hash = SEED;
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i);
      if (unit === SLASH) {
        this.set(count++, start, i, hash);
        start = i + 1;
        hash = SEED;
      } else hash = Math.imul(hash ^ unit, 0x01000193);
    }
    this.set(count++, start, text.length, hash);
    this.count = count;
  }

  /** Whether the topic begins with $, where leading wildcards do not match [MQTT-4.7.2-1]. */
  get isReserved(): boolean {
    return this.text.charCodeAt(0) === DOLLAR;
  }

  hashOf(index: number): number {
    return this.hashes[index]!;
  }

  isPlus(index: number): boolean {
    return this.isUnit(index, PLUS);
  }

  isHash(index: number): boolean {
    return this.isUnit(index, HASH);
  }

  equals(index: number, level: string): boolean {
    const start = this.starts[index]!;
    return level.length === this.ends[index]! - start && this.text.startsWith(level, start);
  }

  /** Allocates. */
  levelOf(index: number): string {
    return this.text.slice(this.starts[index], this.ends[index]);
  }

  private isUnit(index: number, unit: number): boolean {
    const start = this.starts[index]!;
    return this.ends[index]! === start + 1 && this.text.charCodeAt(start) === unit;
  }

  private set(index: number, start: number, end: number, hash: number): void {
    this.starts[index] = start;
    this.ends[index] = end;
    // The low bits choose the slot: fold the high ones in.
    this.hashes[index] = hash ^ (hash >>> 15);
  }
}

/** A node as its parent finds it. */
export interface LevelNode {
  readonly level: string;
  /** 32 bits, signed. */
  readonly hash: number;
}

const FIRST_CAPACITY = 4;
/** From so many slots on, the hashes lie in an array of their own too: looking past other nodes does not fetch them from memory. */
const HASHES_FROM = 64;

/**
 * Children of a node by level: one alone stands in a field, more in an open-addressed table.
 * Invariant: a node is reachable from the slot of its hash without an empty slot between; at most three quarters of the slots are taken.
 */
export class LevelTable<Node extends LevelNode> {
  size = 0;
  private only: Node | undefined = undefined;
  private slots: (Node | undefined)[] | undefined = undefined;
  /** By slot: the node's hash; 0 for none, or that hash. */
  private hashes: Int32Array | undefined = undefined;

  find(levels: TopicLevels, index: number): Node | undefined {
    const hash = levels.hashOf(index);
    const { slots, hashes } = this;
    if (slots === undefined) {
      const { only } = this;
      return only !== undefined && only.hash === hash && levels.equals(index, only.level) ? only : undefined;
    }
    const mask = slots.length - 1;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      if (hashes !== undefined && hashes[slot] !== hash && hashes[slot] !== 0) continue;
      const node = slots[slot];
      if (node === undefined) return undefined;
      if (node.hash === hash && levels.equals(index, node.level)) return node;
    }
  }

  /** REQUIRES: no node of this level is in the table. */
  insert(node: Node): void {
    this.size++;
    if (this.size === 1) {
      this.only = node;
      return;
    }
    if (this.slots === undefined || this.size * 4 > this.slots.length * 3) this.rehash(Math.max(FIRST_CAPACITY, (this.slots?.length ?? 0) * 2));
    this.place(node);
  }

  /** REQUIRES: the node is in the table. */
  remove(node: Node): void {
    this.size--;
    if (this.slots === undefined) {
      this.only = undefined;
      return;
    }
    this.unplace(node);
    if (this.size === 1) {
      this.only = this.slots.find((each) => each !== undefined);
      this.slots = this.hashes = undefined;
    } else if (this.slots.length > FIRST_CAPACITY && this.size * 8 < this.slots.length) this.rehash(this.slots.length / 2);
  }

  /** Slots to look at with `at`; empty ones give undefined. The table must not change meanwhile. */
  get slotCount(): number {
    return this.slots === undefined ? 1 : this.slots.length;
  }

  at(slot: number): Node | undefined {
    return this.slots === undefined ? this.only : this.slots[slot];
  }

  /**
   * One step of a walk that goes on while the table changes: appends the nodes whose home is the slot that `cursor` stands for.
   * Begin with 0. The cursor counts in the order of reversed bits, so that a slot that was visited before the table grew or shrank stays
   * visited: every node that is there all the time is found, and twice at most when the table shrinks meanwhile.
   *
   * @returns the next cursor; 0 when this was the last step
   */
  scan(cursor: number, out: Node[]): number {
    const { slots, only } = this;
    if (slots === undefined) {
      if (only !== undefined) out.push(only);
      return 0;
    }
    const mask = slots.length - 1;
    const home = cursor & mask;
    for (let slot = home; slots[slot] !== undefined; slot = (slot + 1) & mask) if ((slots[slot]!.hash & mask) === home) out.push(slots[slot]!);
    return reversed((reversed((cursor | ~mask) >>> 0) + 1) >>> 0);
  }

  private rehash(capacity: number): void {
    const old = this.slots;
    this.slots = new Array<Node | undefined>(capacity).fill(undefined);
    this.hashes = capacity >= HASHES_FROM ? new Int32Array(capacity) : undefined;
    if (old === undefined) {
      this.place(this.only!);
      this.only = undefined;
    } else for (const node of old) if (node !== undefined) this.place(node);
  }

  private place(node: Node): void {
    const slots = this.slots!;
    const mask = slots.length - 1;
    let slot = node.hash & mask;
    while (slots[slot] !== undefined) slot = (slot + 1) & mask;
    this.set(slot, node);
  }

  private set(slot: number, node: Node | undefined): void {
    this.slots![slot] = node;
    if (this.hashes !== undefined) this.hashes[slot] = node?.hash ?? 0;
  }

  /** Empties the node's slot and moves up those behind it that would no longer be reached. */
  private unplace(node: Node): void {
    const slots = this.slots!;
    const mask = slots.length - 1;
    let hole = node.hash & mask;
    while (slots[hole] !== node) hole = (hole + 1) & mask;
    for (let slot = (hole + 1) & mask; slots[slot] !== undefined; slot = (slot + 1) & mask) {
      const home = slots[slot]!.hash & mask;
      // It may move when its home does not lie (cyclically) behind the hole.
      if (((slot - home) & mask) >= ((slot - hole) & mask)) {
        this.set(hole, slots[slot]);
        hole = slot;
      }
    }
    this.set(hole, undefined);
  }
}

/** The 32 bits in the opposite order. */
function reversed(bits: number): number {
  let word = ((bits >>> 1) & 0x5555_5555) | ((bits & 0x5555_5555) << 1);
  word = ((word >>> 2) & 0x3333_3333) | ((word & 0x3333_3333) << 2);
  word = ((word >>> 4) & 0x0f0f_0f0f) | ((word & 0x0f0f_0f0f) << 4);
  word = ((word >>> 8) & 0x00ff_00ff) | ((word & 0x00ff_00ff) << 8);
  return ((word >>> 16) | (word << 16)) >>> 0;
}
