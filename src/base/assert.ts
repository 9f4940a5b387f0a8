// Invariants. A failed assert is a bug of ours, never a peer's doing: it stops the worker, and the supervisor restarts it.
// A plain throw costs 0-2 ns on the passing path; node:assert costs about 15 ns a call, too much for the hot path.

/** Thrown by `assert`; nothing catches it but the supervisor. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/**
 * States a fact that only a bug can break.
 *
 * @throws AssertionError when `fact` is false
 */
export function assert(fact: boolean, message: string): asserts fact {
  if (!fact) throw new AssertionError(message);
}
