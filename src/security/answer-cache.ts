// Remembers answers about credentials for a while, by an HMAC with a key that never leaves this thread: neither passwords nor plain hashes of
// them are kept. Thread: the shard's. Bound: COUNT_MAX answers, the oldest goes first.
import { createHmac, randomBytes } from "node:crypto";

const COUNT_MAX = 20_000;

interface Entry<T> {
  readonly value: T;
  /** Monotonic ms. */
  readonly at: number;
}

export class AnswerCache<T> {
  private readonly key = randomBytes(32);
  private readonly entries = new Map<string, Entry<T>>();

  /** A name for these parts; what stands where matters. */
  nameOf(...parts: readonly (string | Uint8Array)[]): string {
    const mac = createHmac("sha256", this.key);
    for (const part of parts) {
      const bytes = typeof part === "string" ? Buffer.from(part) : part;
      mac.update(`${bytes.length}:`).update(bytes);
    }
    return mac.digest("base64");
  }

  get(name: string): Entry<T> | undefined {
    return this.entries.get(name);
  }

  set(name: string, value: T, at: number): void {
    this.entries.delete(name);
    if (this.entries.size >= COUNT_MAX) {
      const oldest = this.entries.keys().next();
      if (oldest.done !== true) this.entries.delete(oldest.value);
    }
    this.entries.set(name, { value, at });
  }

  clear(): void {
    this.entries.clear();
  }
}
