// The retained messages of a shard: topic -> one message, found by topic or by filter. Bounded by count and bytes. Times are monotonic ms.

/** A stored message; never changed, replaced as a whole. */
export interface Retained {
  readonly topic: string;
  /** Owned copy of what `set` was given, e.g. a message record. */
  readonly record: Buffer;
  /** Monotonic ms, or Infinity. */
  readonly expiresAt: number;
  /** False once it was replaced, deleted or expired: who pages through a `match` passes over it. */
  readonly isCurrent: boolean;
}

export type SetResult = "stored" | "replaced" | "count-full" | "bytes-full";

export declare class RetainedStore {
  count: number;
  /** Record bytes, topics and a fixed overhead per message. */
  bytes: number;
  constructor(countMax: number, bytesMax: number);
  /** Stores a copy of bytes[at, at + length). When full the message that was there stays. */
  set(topic: string, bytes: Uint8Array, at: number, length: number, expiresAt: number): SetResult;
  /** @returns whether there was one */
  delete(topic: string): boolean;
  get(topic: string, now: number): Retained | undefined;
  /** Appends all whose topic matches the filter and that have not expired. */
  match(filter: string, now: number, out: Retained[]): void;
  /** Removes what expired, looking at no more than `budget` messages per call; goes on where it stopped. @returns how many it removed */
  removeExpired(now: number, budget: number): number;
  /** All messages. */
  all(): IterableIterator<Retained>;
}
