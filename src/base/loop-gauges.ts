// What every worker shows of its own thread: how late its event loop is, and its heap. Twice a second, on the worker's thread.

const INTERVAL_MS = 500;

/**
 * Writes both gauges from now on.
 *
 * @param lagCell index in `counters` of the delay of the last look, in ms
 * @param heapCell index of the used heap, in bytes
 * @param also called at each look
 * @returns ends it
 */
export function showLoop(counters: Float64Array, lagCell: number, heapCell: number, also?: () => void): () => void {
  let expectedAt = performance.now() + INTERVAL_MS;
  const timer = setInterval(() => {
    const now = performance.now();
    counters[lagCell] = Math.max(0, now - expectedAt);
    counters[heapCell] = process.memoryUsage().heapUsed;
    expectedAt = now + INTERVAL_MS;
    also?.();
  }, INTERVAL_MS);
  return () => clearInterval(timer);
}
