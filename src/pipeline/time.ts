// The time of a payload: `ts` or `timestamp` as Unix seconds, Unix milliseconds or RFC 3339. Pure. Hot path.
// What lies before 1973 or beyond the year 5138 is no time: a device without a clock says 12 s since 1970, and rows with such a time
// would fall to retention at once. The arrival time stands in for it.

/** 1973-03-03 in milliseconds, and 5138-11-16 in seconds: what tells the two apart. */
const LEAST_MILLISECONDS = 1e11;
const LEAST_SECONDS = 1e8;
const MOST_MILLISECONDS = 1e14;

/** A number as Unix milliseconds, by its magnitude; NaN when it is no time. */
export function timeOfNumber(value: number): number {
  if (value >= LEAST_MILLISECONDS && value < MOST_MILLISECONDS) return Math.round(value);
  if (value >= LEAST_SECONDS && value < LEAST_MILLISECONDS) return Math.round(value * 1000);
  return Number.NaN;
}

function twoDigits(bytes: Uint8Array, at: number): number {
  const high = bytes[at]! - 0x30;
  const low = bytes[at + 1]! - 0x30;
  return high >= 0 && high <= 9 && low >= 0 && low <= 9 ? high * 10 + low : -1;
}

function daysInMonth(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days since 1970-01-01 in the proleptic Gregorian calendar; the year is taken to begin in March, so that the leap day is its last. */
function daysOf(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const era = Math.floor(y / 400);
  const yearOfEra = y - era * 400;
  const dayOfYear = Math.floor((153 * (month > 2 ? month - 3 : month + 9) + 2) / 5) + day - 1;
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468;
}

/** Milliseconds of an RFC 3339 §5.6 date-time in ASCII, NaN when it is none (or none that counts, see above). */
export function timeOfText(bytes: Uint8Array, at: number, length: number): number {
  if (length < 20 || length > 40) return Number.NaN;
  const century = twoDigits(bytes, at), ofCentury = twoDigits(bytes, at + 2);
  const month = twoDigits(bytes, at + 5), day = twoDigits(bytes, at + 8);
  const hour = twoDigits(bytes, at + 11), minute = twoDigits(bytes, at + 14), second = twoDigits(bytes, at + 17);
  const separator = bytes[at + 10]!;
  const isShaped = bytes[at + 4] === 0x2d && bytes[at + 7] === 0x2d && (separator === 0x54 || separator === 0x74 || separator === 0x20)
    && bytes[at + 13] === 0x3a && bytes[at + 16] === 0x3a;
  if (!isShaped || century < 0 || ofCentury < 0 || month < 1 || month > 12 || day < 1) return Number.NaN;
  const year = century * 100 + ofCentury;
  // Second 60 is a leap second (RFC 3339 §5.7): it counts as the first of the next minute.
  if (day > daysInMonth(year, month) || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) return Number.NaN;
  const end = at + length;
  let i = at + 19;
  let milliseconds = 0;
  if (bytes[i] === 0x2e) {
    let weight = 100;
    const first = ++i;
    for (; i < end && bytes[i]! >= 0x30 && bytes[i]! <= 0x39; i++) {
      milliseconds += (bytes[i]! - 0x30) * weight;
      weight /= 10;
    }
    if (i === first) return Number.NaN;
  }
  const offset = offsetMinutes(bytes, i, end);
  const time = Math.floor((((daysOf(year, month, day) * 24 + hour) * 60 + minute - offset) * 60 + second) * 1000 + milliseconds + 1e-6);
  return time >= LEAST_MILLISECONDS && time < MOST_MILLISECONDS ? time : Number.NaN;
}

/** Minutes east of UTC of `Z` or `+hh:mm`, which must be all that is left; NaN otherwise. */
function offsetMinutes(bytes: Uint8Array, at: number, end: number): number {
  const byte = at < end ? bytes[at]! : 0;
  if (byte === 0x5a || byte === 0x7a) return at + 1 === end ? 0 : Number.NaN;
  if ((byte !== 0x2b && byte !== 0x2d) || at + 6 !== end || bytes[at + 3] !== 0x3a) return Number.NaN;
  const hours = twoDigits(bytes, at + 1);
  const minutes = twoDigits(bytes, at + 4);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return Number.NaN;
  return (byte === 0x2b ? 1 : -1) * (hours * 60 + minutes);
}
