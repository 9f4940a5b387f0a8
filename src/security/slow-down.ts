// Slows guessing: every wrong attempt from an address makes the answer to its next wrong one later, and while too many answers are held back the
// address is not looked at. The answer waits, never the thread. Any shard's thread: all count in one table in shared memory, since an attacker
// chooses the shard by the client id.
//
//   table:  [key: 4 words][set 0: 4 entries]…[set SETS - 1]       entry = u32 tag (0 = free), u32 state = seconds | count | pending
//
// An address is named by a keyed hash: its set and its tag. Two of the same name would share their failures, which nobody can bring about who
// does not know the key. Seconds have 16 bits, and an entry that nobody asks about stays: so the name is another one each time they have gone
// round (18 hours), lest what is long forgotten looks fresh; what was counted just before that is forgotten then. In a full set the entry that was used longest ago goes, those with held answers last.
// Invariants: a state is changed by compare-and-exchange of the whole word; a tag whose entry was taken meanwhile is looked for again. A thread
// that dies with held answers, or loses its entry to another address, leaves at most a count of pending ones behind: they are forgotten with the rest.
import { createHmac } from "node:crypto";
import { isIPv6 } from "node:net";

/** The first wrong attempt is answered after this; each further one after twice the time, up to the longest. */
const FIRST_DELAY_MS = 250;
const DELAY_MAX_MS = 8_000;
/** Answers held back for one address, on all shards: with the longest delay, two guesses a second. */
const PENDING_MAX = 16;
/** A failure is forgotten when no other follows for so long. */
const FORGET_SECONDS = 300;
/** Longer than any answer is held: what is still pending then belongs to nobody. */
const STALE_SECONDS = 30;

const KEY_WORDS = 4;
const SETS = 8192;
const WAYS = 4;
/** Bytes of the table: 32,768 addresses. */
export const ATTEMPTS_SIZE = 4 * (KEY_WORDS + 2 * SETS * WAYS);

const COUNT_SHIFT = 8;
const SECONDS_SHIFT = 16;
const SECONDS_MASK = 0xffff;
const COUNT_MAX = 32;
const TRIES_MAX = 16;

/** Fills a new table's key. @param key 16 random bytes */
export function initAttempts(table: SharedArrayBuffer, key: Uint8Array): void {
  new Uint8Array(table).set(key.subarray(0, 4 * KEY_WORDS));
}

export class SlowDown {
  private readonly words: Uint32Array;
  private readonly key: Buffer;
  private readonly seconds: () => number;

  /**
   * @param table    ATTEMPTS_SIZE bytes
   * @param seconds  a clock that never goes back and is the same in all threads
   */
  constructor(table: SharedArrayBuffer, seconds: () => number = () => process.hrtime()[0]) {
    this.words = new Uint32Array(table);
    this.key = Buffer.from(new Uint8Array(table).slice(0, 4 * KEY_WORDS));
    this.seconds = seconds;
  }

  /** True while an attempt from the address must not even be looked at. */
  isBlocked(peer: string): boolean {
    const name = this.nameOf(peer);
    const at = this.find(name);
    return at >= 0 && pendingOf(this.present(Atomics.load(this.words, at + 1))) >= PENDING_MAX;
  }

  /** An attempt failed. @returns ms after which to say so; call `answered` then */
  failed(peer: string): number {
    const name = this.nameOf(peer);
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const at = this.findOrTake(name);
      if (at < 0) continue;
      const before = Atomics.load(this.words, at + 1);
      const present = this.present(before);
      const count = Math.min(countOf(present) + 1, COUNT_MAX);
      const pending = Math.min(pendingOf(present) + 1, 0xff);
      if (Atomics.compareExchange(this.words, at + 1, before, stateOf(this.seconds(), count, pending)) !== before) continue;
      return Math.min(FIRST_DELAY_MS * 2 ** (count - 1), DELAY_MAX_MS);
    }
    // Others write the same words all the time: this one waits as long as any.
    return DELAY_MAX_MS;
  }

  /** A held answer has left. */
  answered(peer: string): void {
    const name = this.nameOf(peer);
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const at = this.find(name);
      if (at < 0) return;
      const before = Atomics.load(this.words, at + 1);
      if (pendingOf(before) === 0 || Atomics.compareExchange(this.words, at + 1, before, before - 1) === before) return;
    }
  }

  /** What a state is worth now. */
  private present(state: number): number {
    const age = (this.seconds() - (state >>> SECONDS_SHIFT)) & SECONDS_MASK;
    if (age > FORGET_SECONDS) return 0;
    return age > STALE_SECONDS ? (state & ~0xff) >>> 0 : state;
  }

  /** @returns index of the entry's tag, or -1 */
  private find({ set, tag }: Name): number {
    for (let at = set; at < set + 2 * WAYS; at += 2) if (Atomics.load(this.words, at) === tag) return at;
    return -1;
  }

  /** @returns index of the entry's tag, or -1 when another thread was quicker */
  private findOrTake(name: Name): number {
    const found = this.find(name);
    if (found >= 0) return found;
    const { words } = this;
    let chosen = name.set;
    let chosenRank = -1;
    for (let at = name.set; at < name.set + 2 * WAYS; at += 2) {
      const state = Atomics.load(words, at + 1);
      const present = Atomics.load(words, at) === 0 ? 0 : this.present(state);
      const age = (this.seconds() - (state >>> SECONDS_SHIFT)) & SECONDS_MASK;
      const rank = present === 0 ? 3 * SECONDS_MASK : pendingOf(present) === 0 ? SECONDS_MASK + age : age;
      if (rank <= chosenRank) continue;
      chosen = at;
      chosenRank = rank;
    }
    const tag = Atomics.load(words, chosen);
    const state = Atomics.load(words, chosen + 1);
    // The state first: whoever finds the new tag may count on at once.
    if (Atomics.compareExchange(words, chosen + 1, state, 0) !== state || Atomics.compareExchange(words, chosen, tag, name.tag) !== tag) return -1;
    return chosen;
  }

  private nameOf(peer: string): Name {
    const round = Math.floor(this.seconds() / (SECONDS_MASK + 1));
    const digest = createHmac("sha256", this.key).update(`${round} ${addressOf(peer)}`).digest();
    return { set: KEY_WORDS + 2 * WAYS * (digest.readUInt32LE(0) % SETS), tag: digest.readUInt32LE(4) || 1 };
  }
}

interface Name {
  /** Index of the set's first word. */
  readonly set: number;
  readonly tag: number;
}

function pendingOf(state: number): number {
  return state & 0xff;
}

function countOf(state: number): number {
  return (state >>> COUNT_SHIFT) & 0xff;
}

function stateOf(seconds: number, count: number, pending: number): number {
  return (((seconds & SECONDS_MASK) << SECONDS_SHIFT) | (count << COUNT_SHIFT) | pending) >>> 0;
}

/** What counts as one attacker: an IPv4 address, or the /64 that an IPv6 host can choose its addresses in. */
export function addressOf(peer: string): string {
  const four = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(peer);
  if (four !== null) return four[1]!;
  if (!isIPv6(peer)) return peer;
  const [head = "", tail] = peer.split("%")[0]!.split("::");
  const front = head === "" ? [] : head.split(":");
  const back = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = tail === undefined ? front : [...front, ...Array<string>(Math.max(0, 8 - front.length - back.length)).fill("0"), ...back];
  return `${groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(":")}::/64`;
}
