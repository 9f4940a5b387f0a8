// Reads a JSON number out of bytes, to the very value that JSON.parse gives. Pure. Hot path.
//
// Exact by construction: a mantissa of at most 15 digits and a power of ten up to 22 are both exact doubles, so their one product or
// quotient is correctly rounded (W. D. Clinger, How to read floating point numbers accurately, PLDI 1990). Everything else goes
// through Number(), which rounds correctly as well.
import { latin1Of } from "./text.js";

const MINUS = 0x2d, PLUS = 0x2b, POINT = 0x2e, ZERO = 0x30, NINE = 0x39, LOWER_E = 0x65, UPPER_E = 0x45;
const EXACT_DIGITS = 15;
const EXACT_POWER = 22;
const POWERS = new Float64Array(EXACT_POWER + 1).map((_, power) => Number(`1e${power}`));

/**
 * Reads the longest number (RFC 8259 §6) that starts at `at` into `out[index]`.
 *
 * @returns the index behind it, or -1 when there is none; the value may be infinite, as with JSON.parse
 */
export function readNumber(bytes: Uint8Array, at: number, end: number, out: Float64Array, index: number): number {
  let i = at;
  let byte = i < end ? bytes[i]! : 0;
  const isNegative = byte === MINUS;
  if (isNegative) byte = ++i < end ? bytes[i]! : 0;
  if (byte < ZERO || byte > NINE) return -1;
  let mantissa = 0;
  let digits = 0;
  let power = 0;
  if (byte === ZERO) {
    i++;
  } else {
    const first = i;
    do {
      mantissa = mantissa * 10 + (byte - ZERO);
      byte = ++i < end ? bytes[i]! : 0;
    } while (byte >= ZERO && byte <= NINE);
    digits = i - first;
  }
  if (i < end && bytes[i] === POINT) {
    const first = ++i;
    byte = i < end ? bytes[i]! : 0;
    while (byte >= ZERO && byte <= NINE) {
      // Zeros in front of the first other digit count for nothing.
      if (digits > 0 || byte !== ZERO) digits++;
      mantissa = mantissa * 10 + (byte - ZERO);
      byte = ++i < end ? bytes[i]! : 0;
    }
    if (i === first) return -1;
    power = first - i;
  }
  if (i < end && (bytes[i] === LOWER_E || bytes[i] === UPPER_E)) {
    i++;
    byte = i < end ? bytes[i]! : 0;
    const isDown = byte === MINUS;
    if (isDown || byte === PLUS) byte = ++i < end ? bytes[i]! : 0;
    if (byte < ZERO || byte > NINE) return -1;
    let exponent = 0;
    do {
      // Beyond any double long before it could overflow.
      if (exponent < 100_000) exponent = exponent * 10 + (byte - ZERO);
      byte = ++i < end ? bytes[i]! : 0;
    } while (byte >= ZERO && byte <= NINE);
    power += isDown ? -exponent : exponent;
  }
  if (digits > EXACT_DIGITS || power > EXACT_POWER || power < -EXACT_POWER) {
    out[index] = Number(latin1Of(bytes, at, i - at));
    return i;
  }
  const value = power < 0 ? mantissa / POWERS[-power]! : mantissa * POWERS[power]!;
  out[index] = isNegative ? -value : value;
  return i;
}
