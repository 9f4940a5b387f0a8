// Byte-level helpers shared by the hot paths. Hot path.
// Nothing here allocates unless its name says so (`…ToString`, `copyOf`).

/**
 * Copies `length` bytes between two arrays; within one array it avoids the view that `set` would need
 * (21 ns and garbage per record: bench/micro/copy).
 */
export function copyBytes(target: Uint8Array, targetAt: number, source: Uint8Array, sourceAt: number, length: number): void {
  if (target === source) target.copyWithin(targetAt, sourceAt, sourceAt + length);
  else target.set(source.subarray(sourceAt, sourceAt + length), targetAt);
}

/** True when the two byte ranges are equal. */
export function equalBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let i = 0; i < length; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}

/** FNV-1a, 32 bits (draft-eastlake-fnv): which shard owns a client id, which lane owns a device. The native front computes the same. */
export function fnv1a(bytes: Uint8Array, at: number, length: number): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ bytes[at + i]!, 0x01000193);
  return hash >>> 0;
}

/** `fnv1a` of a string's UTF-8 bytes. Allocates. */
export function fnv1aOf(text: string): number {
  const bytes = Buffer.from(text, "utf8");
  return fnv1a(bytes, 0, bytes.length);
}

/** A copy in memory of its own (not shared, not pooled): for what outlives the batch it was read from. */
export function copyOf(bytes: Uint8Array, at: number, length: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(length);
  copy.set(bytes.subarray(at, at + length));
  return copy;
}

/** `value` rounded up to a multiple of 8: records start on 8-byte boundaries. */
export function align8(value: number): number {
  return (value + 7) & ~7;
}
