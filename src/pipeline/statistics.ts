// Moving statistics of one series: the last `window` values, the current one included (mission D3). Pure. Hot path.
// They lie in a stretch of a Float64Array that the caller provides (series-table.ts), so that 100,000 series are a few arrays.
//
//   | COUNT | NEXT | ANCHOR | MEAN | M2 | PEAK | Z | TIME | value 0 | … | value window-1 |
//
// MEAN and M2 (sum of squared deviations) are moved along with each value, relative to ANCHOR, a mean of the recent past: so a large
// offset costs no digits. Two things bound the rounding error, whatever came before: everything is computed anew from the values once in
// each pass of the window, and whenever M2 falls far below the PEAK it had since then (an outlier leaves the window, and would
// leave its rounding error behind). bench/micro/series-window.ts measures it.
import type { StatisticsOptions } from "../base/messages.js";

/** Values in the window. */
export const STATISTICS_COUNT = 0;
const NEXT = 1;
const ANCHOR = 2;
const MEAN = 3;
const M2 = 4;
const PEAK = 5;
const Z = 6;
/** Time of the last value; the caller's to set. */
export const STATISTICS_TIME = 7;
const HEAD = 8;

/** M2 below this share of its peak has lost too many digits: with it the relative error of a z-score stays under 1e-9. */
const CANCELLATION = 1e-4;

/** Doubles that one series takes. */
export function statisticsSize(window: number): number {
  return HEAD + window;
}

/** What is known of a series at its last value. */
export interface Statistics {
  readonly count: number;
  readonly mean: number;
  readonly standardDeviation: number;
  readonly zScore: number;
  readonly isAnomaly: boolean;
  readonly confidence: number;
}

/**
 * Takes the next value of the series whose statistics start at `base`.
 *
 * @returns z = |value - mean| / sample standard deviation over the window; 0 for a constant series
 */
export function pushValue(slab: Float64Array, base: number, window: number, value: number): number {
  const next = slab[base + NEXT]!;
  const slot = base + HEAD + next;
  let count = slab[base + STATISTICS_COUNT]!;
  if (count === 0) slab[base + ANCHOR] = value;
  const shifted = value - slab[base + ANCHOR]!;
  const mean = slab[base + MEAN]!;
  let newMean: number;
  let m2: number;
  if (count < window) {
    slab[base + STATISTICS_COUNT] = ++count;
    newMean = mean + (shifted - mean) / count;
    m2 = slab[base + M2]! + (shifted - mean) * (shifted - newMean);
  } else {
    const old = slab[slot]! - slab[base + ANCHOR]!;
    newMean = mean + (shifted - old) / count;
    m2 = slab[base + M2]! + (shifted - old) * (shifted - newMean + old - mean);
  }
  slab[slot] = value;
  slab[base + NEXT] = next + 1 === window ? 0 : next + 1;
  // Written so that NaN (values near the end of the doubles) asks for it too.
  const isSound = m2 >= slab[base + PEAK]! * CANCELLATION;
  if (!isSound || next + 1 === window) {
    recompute(slab, base, count);
  } else {
    slab[base + MEAN] = newMean;
    slab[base + M2] = m2;
    if (m2 > slab[base + PEAK]!) slab[base + PEAK] = m2;
  }
  const z = zScore(slab, base, count, value);
  slab[base + Z] = z;
  return z;
}

/** True when a value with this z-score stands out. */
export function isAnomalous(z: number, count: number, options: StatisticsOptions): boolean {
  return z > options.threshold && count >= options.warmUp;
}

export function readStatistics(slab: Float64Array, base: number, options: StatisticsOptions): Statistics {
  const count = slab[base + STATISTICS_COUNT]!;
  const z = slab[base + Z]!;
  return {
    count,
    mean: slab[base + ANCHOR]! + slab[base + MEAN]!,
    standardDeviation: count < 2 ? 0 : Math.sqrt(Math.max(0, slab[base + M2]!) / (count - 1)),
    zScore: z,
    isAnomaly: isAnomalous(z, count, options),
    confidence: 1 - Math.min(z / 10, 1),
  };
}

/** The last value taken. REQUIRES: there was one. */
export function lastValue(slab: Float64Array, base: number, window: number): number {
  const next = slab[base + NEXT]!;
  return slab[base + HEAD + (next === 0 ? window - 1 : next - 1)]!;
}

function zScore(slab: Float64Array, base: number, count: number, value: number): number {
  const m2 = slab[base + M2]!;
  // Also false for NaN: sums beyond the doubles say nothing.
  if (!(m2 > 0) || count < 2 || m2 === Number.POSITIVE_INFINITY) return 0;
  const z = Math.abs(value - slab[base + ANCHOR]! - slab[base + MEAN]!) / Math.sqrt(m2 / (count - 1));
  // |z| cannot exceed (n-1)/sqrt(n) (Shiffler 1988, Maximum Z scores and outliers); rounding may, by a hair.
  const most = (count - 1) / Math.sqrt(count);
  return z > most ? most : z;
}

/** Two passes over the values: the mean, then the squares around it (corrected for what rounding left of the mean). */
function recompute(slab: Float64Array, base: number, count: number): void {
  const first = base + HEAD;
  const from = slab[first]!;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += slab[first + i]! - from;
  const anchor = from + sum / count;
  let rest = 0;
  let squares = 0;
  for (let i = 0; i < count; i++) {
    const deviation = slab[first + i]! - anchor;
    rest += deviation;
    squares += deviation * deviation;
  }
  const m2 = Math.max(0, squares - (rest * rest) / count);
  slab[base + ANCHOR] = Number.isFinite(anchor) ? anchor : from;
  slab[base + MEAN] = Number.isFinite(anchor) ? rest / count : 0;
  slab[base + M2] = m2;
  slab[base + PEAK] = m2;
}
