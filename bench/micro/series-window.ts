// The moving window of a series: ns per value and bytes per series, ours (a stretch of one Float64Array) beside one with ringbufferjs and one that
// computes everything anew; and the largest error of our moving sums against that, over values that are hard on them.
// Run: node --expose-gc dist/bench/micro/series-window.js [values]
import RingBuffer from "ringbufferjs";
import { pushValue, statisticsSize } from "../../src/pipeline/statistics.js";

const SERIES = 2000;
const WINDOW = 60;
const values = Number(process.argv[2] ?? 20_000_000);

/** Takes the next value of a series and gives its z-score. */
type Push = (series: number, value: number) => number;

function ours(): Push {
  const size = statisticsSize(WINDOW);
  const slab = new Float64Array(SERIES * size);
  return (series, value) => pushValue(slab, series * size, WINDOW, value);
}

/** The window in a ringbufferjs, its sums moved along with each value; without our care for rounding. */
function withRingBuffer(): Push {
  const all = Array.from({ length: SERIES }, () => ({ ring: new RingBuffer<number>(WINDOW), mean: 0, m2: 0 }));
  return (series, value) => {
    const state = all[series]!;
    const { mean } = state;
    if (state.ring.isFull()) {
      const old = state.ring.deq();
      state.ring.enq(value);
      state.mean += (value - old) / WINDOW;
      state.m2 += (value - old) * (value - state.mean + old - mean);
    } else {
      const count = state.ring.enq(value);
      state.mean += (value - mean) / count;
      state.m2 += (value - mean) * (value - state.mean);
    }
    const count = state.ring.size();
    return state.m2 > 0 && count > 1 ? Math.abs(value - state.mean) / Math.sqrt(state.m2 / (count - 1)) : 0;
  };
}

/** Everything anew for each value, in two passes: the truth that the others are compared with. */
function anew(): Push {
  const windows = Array.from({ length: SERIES }, () => new Float64Array(WINDOW));
  const taken = new Uint32Array(SERIES);
  return (series, value) => {
    const window = windows[series]!;
    const count = Math.min(WINDOW, taken[series]! + 1);
    window[taken[series]!++ % WINDOW] = value;
    let sum = 0;
    for (let i = 0; i < count; i++) sum += window[i]! - window[0]!;
    const mean = window[0]! + sum / count;
    let rest = 0;
    let squares = 0;
    for (let i = 0; i < count; i++) {
      const deviation = window[i]! - mean;
      rest += deviation;
      squares += deviation * deviation;
    }
    const m2 = squares - (rest * rest) / count;
    return m2 > 0 && count > 1 ? Math.abs(value - mean - rest / count) / Math.sqrt(m2 / (count - 1)) : 0;
  };
}

function measure(name: string, make: () => Push, count: number): void {
  globalThis.gc?.();
  const before = process.memoryUsage();
  const push = make();
  let sum = 0;
  for (let n = 0; n < SERIES * WINDOW * 2; n++) sum += push(n % SERIES, (n * 7919) % 4001);
  globalThis.gc?.();
  const after = process.memoryUsage();
  const began = process.cpuUsage();
  for (let n = 0; n < count; n++) sum += push(n % SERIES, (n * 7919) % 4001);
  const used = process.cpuUsage(began);
  const bytes = after.heapUsed + after.arrayBuffers - before.heapUsed - before.arrayBuffers;
  console.log(`${name.padEnd(28)} ${(((used.user + used.system) / count) * 1000).toFixed(0).padStart(5)} ns/value  ${(bytes / SERIES).toFixed(0).padStart(6)} bytes/series  (${sum > 0 ? "ok" : "nothing"})`);
}

/** The largest difference of z-scores from the truth, relative to 1 or the score, over `next`'s values. */
function largestError(make: () => Push, next: (n: number) => number): number {
  const [push, truth] = [make(), anew()];
  let largest = 0;
  for (let n = 0; n < 200_000; n++) {
    const value = next(n);
    const expected = truth(0, value);
    largest = Math.max(largest, Math.abs(push(0, value) - expected) / Math.max(1, expected));
  }
  return largest;
}

measure("ours", ours, values);
measure("ringbufferjs", withRingBuffer, values);
measure("everything anew", anew, values / 10);

const noise = (n: number): number => ((n * 7919) % 4001) / 4001;
const HARD: readonly (readonly [string, (n: number) => number])[] = [
  ["noise around 0", noise],
  ["noise of 1 around 1e9", (n) => 1e9 + noise(n)],
  ["an outlier of 1e12 now and then", (n) => (n % 997 === 0 ? 1e12 : noise(n))],
  ["a ramp with noise", (n) => n * 10 + noise(n)],
];
for (const [name, next] of HARD) console.log(`largest error of z, ${name.padEnd(32)} ours ${largestError(ours, next).toExponential(1)}, ringbufferjs ${largestError(withRingBuffer, next).toExponential(1)}`);
