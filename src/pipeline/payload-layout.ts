// Reads JSON payloads whose layout is known by heart: a device sends the same members in the same order each time, and only the values
// differ. A layout is the bytes between the values; reading is comparing those and taking the values in between, without JSON.parse.
// Pure. Hot path: 0.3 us for two numbers, against 1.5 us by way of JSON.parse (bench/micro/pipeline).
//
//   {"temperature":21.5,"humidity":40}
//   ^^^^^^^^^^^^^^^           literal 0         a literal holds all that gives structure: braces, names, spaces, null
//                  ^^^^       value 0           a value is one token of the kind that was there
//                      ^^^^^^^^^^^^    literal 1
//                                  ^^  value 1
//                                    ^ literal 2
//
// Correct by construction and checked when learned (learn-layout.ts): same literals and same kinds of tokens are the same JSON with other
// values. Whatever differs in any way goes to decode.ts. test/pipeline/payload-layout.test.ts compares the two on random payloads.
import { MEASUREMENT_TEXT_SIZE_MAX } from "../base/limits.js";
import { readNumber } from "./json-number.js";
import { MEASUREMENT } from "./measurements.js";
import { latin1Of } from "./text.js";
import { timeOfNumber, timeOfText } from "./time.js";

/** Kinds of values beside MEASUREMENT: the time. */
export const TIME_NUMBER = 3;
export const TIME_TEXT = 4;
export const LAYOUT_VALUES_MAX = 256;

const QUOTE = 0x22, BACKSLASH = 0x5c, SPACE = 0x20, DELETE = 0x7f;

/** Shared by all devices that send alike. */
export class Layout {
  /** All literals, one behind the other. */
  readonly literals: Uint8Array;
  /** Where each literal ends; one more than there are values. */
  readonly ends: Int32Array;
  readonly kinds: Uint8Array;
  /** Of the measurements, in order (values without the time). */
  readonly names: readonly string[];
  /** Value index of each measurement. */
  readonly measured: Int32Array;

  constructor(literals: Uint8Array, ends: readonly number[], kinds: readonly number[], names: readonly string[]) {
    this.literals = literals;
    this.ends = Int32Array.from(ends);
    this.kinds = Uint8Array.from(kinds);
    this.names = names;
    this.measured = Int32Array.from(kinds.flatMap((kind, index) => (kind < TIME_NUMBER ? [index] : [])));
  }
}

/** The values of one payload, by value index; re-used. */
export class LayoutValues {
  readonly numbers = new Float64Array(LAYOUT_VALUES_MAX);
  readonly texts: string[] = [];
  /** Unix ms, NaN when the payload states none. */
  time = Number.NaN;
}

/** The last text of a value as token and string: texts are mostly the same again, and the comparison also covers what is not ASCII. */
export interface KnownText {
  bytes: Uint8Array;
  text: string;
}

/**
 * Reads a payload by its layout.
 *
 * @param known by value index; entries of text values, updated
 * @returns false when anything at all differs: then nothing is known of the payload
 */
export function readByLayout(layout: Layout, bytes: Uint8Array, at: number, end: number, known: KnownText[], out: LayoutValues): boolean {
  const { literals, ends, kinds } = layout;
  const count = kinds.length;
  let from = 0;
  let i = at;
  out.time = Number.NaN;
  for (let index = 0; ; index++) {
    const to = ends[index]!;
    if (i + to - from > end) return false;
    for (; from < to; from++, i++) if (bytes[i] !== literals[from]) return false;
    if (index === count) return i === end;
    switch (kinds[index]) {
      case MEASUREMENT.NUMBER:
        i = readNumber(bytes, i, end, out.numbers, index);
        // An infinite one is refused with its reason by decode.ts.
        if (i < 0 || out.numbers[index]! - out.numbers[index]! !== 0) return false;
        break;
      case MEASUREMENT.BOOLEAN:
        i = readBoolean(bytes, i, end, out.numbers, index);
        if (i < 0) return false;
        break;
      case MEASUREMENT.TEXT:
        i = readText(bytes, i, end, known[index]!);
        if (i < 0) return false;
        out.texts[index] = known[index]!.text;
        break;
      case TIME_NUMBER:
        i = readNumber(bytes, i, end, out.numbers, index);
        if (i < 0) return false;
        out.time = timeOfNumber(out.numbers[index]!);
        break;
      default: {
        const close = endOfText(bytes, i, end);
        if (close < 0) return false;
        out.time = timeOfText(bytes, i, close - i);
        i = close;
      }
    }
  }
}

function readBoolean(bytes: Uint8Array, at: number, end: number, out: Float64Array, index: number): number {
  if (at + 4 <= end && bytes[at] === 0x74 && bytes[at + 1] === 0x72 && bytes[at + 2] === 0x75 && bytes[at + 3] === 0x65) {
    out[index] = 1;
    return at + 4;
  }
  if (at + 5 <= end && bytes[at] === 0x66 && bytes[at + 1] === 0x61 && bytes[at + 2] === 0x6c && bytes[at + 3] === 0x73 && bytes[at + 4] === 0x65) {
    out[index] = 0;
    return at + 5;
  }
  return -1;
}

/** The index of the quote that ends a text of plain printable ASCII, or -1. */
function endOfText(bytes: Uint8Array, at: number, end: number): number {
  for (let i = at; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === QUOTE) return i;
    if (byte === BACKSLASH || byte < SPACE || byte >= DELETE) return -1;
  }
  return -1;
}

function readText(bytes: Uint8Array, at: number, end: number, known: KnownText): number {
  const size = known.bytes.length;
  if (at + size < end && bytes[at + size] === QUOTE) {
    let i = 0;
    while (i < size && bytes[at + i] === known.bytes[i]) i++;
    if (i === size) return at + size;
  }
  const close = endOfText(bytes, at, end);
  if (close < 0 || close - at > MEASUREMENT_TEXT_SIZE_MAX) return -1;
  known.bytes = bytes.slice(at, close);
  known.text = latin1Of(bytes, at, close - at);
  return close;
}
