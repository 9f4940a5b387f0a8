import t from "tap";
import { lastValue, pushValue, readStatistics, statisticsSize } from "../../src/pipeline/statistics.js";
import { DEFAULT_STATISTICS, newSeed, seeded } from "./support.js";

interface Direct {
  readonly mean: number;
  readonly deviation: number;
  readonly z: number;
}

/** Straight from the definitions, over the last `window` values; relative to one of them, so that an offset costs no digits. */
function direct(values: readonly number[], window: number): Direct {
  const from = values.at(-1)!;
  const recent = values.slice(-window).map((value) => value - from);
  const mean = recent.reduce((sum, value) => sum + value, 0) / recent.length;
  const squares = recent.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const deviation = recent.length < 2 ? 0 : Math.sqrt(squares / (recent.length - 1));
  return { mean: from + mean, deviation, z: deviation === 0 ? 0 : Math.abs(recent.at(-1)! - mean) / deviation };
}

/** A series between two others, which must not be touched. */
class Bench {
  readonly base: number;
  readonly slab: Float64Array;
  readonly values: number[] = [];
  private readonly window: number;

  constructor(window: number) {
    this.window = window;
    this.base = statisticsSize(window);
    this.slab = new Float64Array(3 * this.base);
    this.slab.fill(7, 0, this.base);
    this.slab.fill(7, 2 * this.base);
  }

  push(value: number): number {
    this.values.push(value);
    if (this.values.length > 2 * this.window) this.values.shift();
    return pushValue(this.slab, this.base, this.window, value);
  }

  get isAlone(): boolean {
    return this.slab.subarray(0, this.base).every((value) => value === 7) && this.slab.subarray(2 * this.base).every((value) => value === 7);
  }
}

/** Runs a series against the definitions. @returns the largest relative error of z and deviation */
function worstError(next: (n: number) => number, count: number, window = 60, every = 1): number {
  const bench = new Bench(window);
  let worst = 0;
  for (let n = 0; n < count; n++) {
    const z = bench.push(next(n));
    if (n % every !== 0) continue;
    const wanted = direct(bench.values, window);
    const got = readStatistics(bench.slab, bench.base, DEFAULT_STATISTICS);
    worst = Math.max(worst, Math.abs(z - wanted.z) / Math.max(1, wanted.z), Math.abs(got.standardDeviation - wanted.deviation) / Math.max(1e-300, wanted.deviation || 1));
  }
  if (!bench.isAlone) throw new Error("other series were written to");
  return worst;
}

t.test("statistics are those of the definitions", async (t) => {
  const seed = newSeed();
  t.comment(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  t.ok(worstError(() => random() * 100, 2000) < 1e-9, "evenly spread");
  t.ok(worstError((n) => 20 + Math.sin(n / 10) + random() / 100, 2000) < 1e-9, "a slow wave");
  t.ok(worstError(() => 1e9 + random() * 1e-3, 2000) < 1e-9, "tiny changes on a large offset");
  t.ok(worstError((n) => n, 2000) < 1e-9, "a ramp");
  t.ok(worstError(() => (random() < 0.02 ? 1e12 * random() : random()), 5000) < 1e-9, "rare outliers of twelve digits");
  t.ok(worstError((n) => (n % 2 === 0 ? 1e9 : -1e9) + random(), 2000) < 1e-9, "back and forth");
  t.ok(worstError(() => Math.floor(random() * 3), 2000, 2) < 1e-9, "the smallest window");
  t.ok(worstError(() => random() * 1e-200, 2000, 7) < 1e-9, "values whose squares vanish nearly");
  t.ok(worstError(() => random(), 20_000, 1000, 97) < 1e-9, "a large window");
});

t.test("a million values leave no drift", async (t) => {
  const seed = newSeed();
  t.comment(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  let level = 1e6;
  t.ok(worstError(() => (level += random() - 0.5) + (random() < 0.0001 ? 1e10 : 0), 1_000_000, 60, 101) < 1e-9);
});

t.test("a constant series has z 0 and no anomaly, also after an outlier has left the window", async (t) => {
  const bench = new Bench(10);
  for (let n = 0; n < 40; n++) t.equal(bench.push(0.1), 0);
  t.ok(bench.push(1e15) > 2.8);
  for (let n = 0; n < 9; n++) bench.push(0.1);
  for (let n = 0; n < 20; n++) t.equal(bench.push(0.1), 0, "the outlier's rounding error is gone with it");
  const last = readStatistics(bench.slab, bench.base, DEFAULT_STATISTICS);
  t.equal(last.standardDeviation, 0);
  t.equal(last.mean, 0.1);
  t.equal(last.isAnomaly, false);
  t.equal(last.confidence, 1);
});

t.test("z never exceeds (n-1)/sqrt(n), and reaches it with one outlier", async (t) => {
  const bench = new Bench(60);
  for (let n = 1; n <= 200; n++) {
    const z = bench.push(n % 60 === 59 ? 1e300 : 1);
    const count = Math.min(n, 60);
    t.ok(z <= (count - 1) / Math.sqrt(count), `z ${z} of ${count} values`);
  }
  const other = new Bench(60);
  for (let n = 0; n < 59; n++) other.push(5);
  t.ok(Math.abs(other.push(6) - 59 / Math.sqrt(60)) < 1e-9);
});

t.test("an anomaly is one after the warm-up only", async (t) => {
  const isAnomalyAfter = (calm: number): boolean => {
    const bench = new Bench(60);
    for (let n = 0; n < calm; n++) bench.push(n % 2);
    bench.push(1000);
    return readStatistics(bench.slab, bench.base, { window: 60, warmUp: 20, threshold: 3 }).isAnomaly;
  };
  t.equal(isAnomalyAfter(15), false);
  t.equal(isAnomalyAfter(18), false, "the nineteenth value");
  t.equal(isAnomalyAfter(19), true, "the twentieth value");
});

t.test("confidence is 1 - min(z / 10, 1)", async (t) => {
  const bench = new Bench(200);
  for (let n = 0; n < 199; n++) bench.push(n % 2);
  const z = bench.push(1e6);
  t.ok(z > 10, `z ${z}`);
  t.equal(readStatistics(bench.slab, bench.base, DEFAULT_STATISTICS).confidence, 0);
  const calm = bench.push(0.5);
  t.equal(readStatistics(bench.slab, bench.base, DEFAULT_STATISTICS).confidence, 1 - calm / 10);
});

t.test("values near the end of the doubles give z 0, and nothing of them stays behind", async (t) => {
  const bench = new Bench(8);
  for (const value of [1.7e308, -1.7e308, 1.7e308, -1.7e308, 1e308, 0, -1e308, 5]) t.ok(bench.push(value) >= 0);
  for (let n = 0; n < 8; n++) bench.push(n);
  const { mean, standardDeviation, zScore } = readStatistics(bench.slab, bench.base, DEFAULT_STATISTICS);
  t.equal(mean, 3.5);
  t.ok(Math.abs(standardDeviation - Math.sqrt(6)) < 1e-12);
  t.ok(Math.abs(zScore - 3.5 / Math.sqrt(6)) < 1e-12);
});

t.test("the last value and the count are kept", async (t) => {
  const bench = new Bench(3);
  for (const [value, count] of [[4, 1], [5, 2], [6, 3], [7, 3], [8, 3], [9, 3]] as const) {
    bench.push(value);
    t.equal(lastValue(bench.slab, bench.base, 3), value);
    t.equal(readStatistics(bench.slab, bench.base, DEFAULT_STATISTICS).count, count);
  }
});
