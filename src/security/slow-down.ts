// Slows guessing: every wrong attempt from an address makes the answer to its next wrong one later, and while too many answers are held back the
// address is not looked at. The answer waits, never the thread. Thread: the shard's; each shard counts what it sees.
// Bounds: ADDRESSES_MAX addresses, PENDING_MAX held answers for each.
import { isIPv6 } from "node:net";
import type { Clock } from "../base/clock.js";

/** The first wrong attempt is answered after this; each further one after twice the time, up to the longest. */
const FIRST_DELAY_MS = 250;
const DELAY_MAX_MS = 8_000;
/** Answers held back for one address: with the longest delay, two guesses a second and shard. */
const PENDING_MAX = 16;
/** A failure is forgotten when no other follows for so long. */
const FORGET_MS = 300_000;
const ADDRESSES_MAX = 20_000;

interface Failures {
  count: number;
  pending: number;
  /** Monotonic ms. */
  lastAt: number;
}

export class SlowDown {
  private readonly clock: Clock;
  /** In the order of their last failure. */
  private readonly addresses = new Map<string, Failures>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** True while an attempt from the address must not even be looked at. */
  isBlocked(peer: string): boolean {
    return (this.addresses.get(addressOf(peer))?.pending ?? 0) >= PENDING_MAX;
  }

  /** An attempt failed. @returns ms after which to say so; call `answered` then */
  failed(peer: string): number {
    const address = addressOf(peer);
    const now = this.clock.monotonic();
    let failures = this.addresses.get(address);
    if (failures === undefined || (failures.pending === 0 && now - failures.lastAt > FORGET_MS)) failures = { count: 0, pending: 0, lastAt: now };
    // To the end of the order.
    this.addresses.delete(address);
    this.makeRoom();
    this.addresses.set(address, failures);
    failures.count = Math.min(failures.count + 1, 32);
    failures.pending++;
    failures.lastAt = now;
    return Math.min(FIRST_DELAY_MS * 2 ** (failures.count - 1), DELAY_MAX_MS);
  }

  /** A held answer has left. */
  answered(peer: string): void {
    const failures = this.addresses.get(addressOf(peer));
    if (failures !== undefined && failures.pending > 0) failures.pending--;
  }

  get size(): number {
    return this.addresses.size;
  }

  private makeRoom(): void {
    if (this.addresses.size < ADDRESSES_MAX) return;
    const oldest = this.addresses.keys().next();
    if (oldest.done !== true) this.addresses.delete(oldest.value);
  }
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
