// Durations and sizes as people write them: a number with its unit. Decimal units are powers of 1000, the ones with an i of 1024.

const DURATION_MS: ReadonlyMap<string, number> = new Map([
  ["ms", 1],
  ["s", 1000],
  ["m", 60_000],
  ["h", 3_600_000],
  ["d", 86_400_000],
  ["w", 604_800_000],
]);

const SIZE_BYTES: ReadonlyMap<string, number> = new Map([
  ["b", 1],
  ["kb", 1000],
  ["mb", 1000 ** 2],
  ["gb", 1000 ** 3],
  ["tb", 1000 ** 4],
  ["kib", 1024],
  ["mib", 1024 ** 2],
  ["gib", 1024 ** 3],
  ["tib", 1024 ** 4],
]);

export const DURATION_UNITS = "ms, s, m, h, d or w";
export const SIZE_UNITS = "B, kB, MB, GB, KiB, MiB or GiB";

function parseWithUnit(text: string, units: ReadonlyMap<string, number>): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text);
  if (match === null) return undefined;
  const factor = units.get(match[2]!.toLowerCase());
  return factor === undefined ? undefined : Number(match[1]) * factor;
}

/** Milliseconds of `500ms`, `1.5h`, `7d`; undefined when it is no duration. A bare number is none: its unit would be a guess. */
export function parseDuration(text: string): number | undefined {
  return parseWithUnit(text, DURATION_MS);
}

/** Bytes of `1MB` or `16 MiB`, a whole number; undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const bytes = parseWithUnit(text, SIZE_BYTES);
  return bytes === undefined ? undefined : Math.round(bytes);
}

/** `bytes` in the largest binary unit that keeps it readable, e.g. `12.5 MiB`. */
export function formatSize(bytes: number): string {
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let index = 0;
  while (Math.abs(value) >= 1024 && index < names.length - 1) {
    value /= 1024;
    index++;
  }
  return `${index === 0 ? String(value) : trimmed(value)} ${names[index]!}`;
}

/** A duration for people, e.g. `7d`, `1.5s`. */
export function formatDuration(ms: number): string {
  const units: readonly (readonly [string, number])[] = [["w", 604_800_000], ["d", 86_400_000], ["h", 3_600_000], ["m", 60_000], ["s", 1000]];
  for (const [name, size] of units) if (ms >= size && ms % size === 0) return `${ms / size}${name}`;
  return ms >= 1000 ? `${trimmed(ms / 1000)}s` : `${trimmed(ms)}ms`;
}

function trimmed(value: number): string {
  return String(Number(value.toFixed(value < 10 ? 2 : 1)));
}
