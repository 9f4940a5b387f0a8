// The payload of `devices/{id}/telemetry` as measurements. Pure. What payload-layout.ts does not know by heart comes here.
//
// - An object: each number, boolean and text is a measurement, named by its member. Objects inside flatten to dotted names, arrays to
//   their indices (`axes.0`, `cells.3.voltage`). null is no measurement.
// - `ts` or `timestamp` in the outermost object, a number or text, is the time of all of them (time.ts) and no measurement. `ts` goes
//   first; when neither is a time, the time of arrival stands in.
// - An array of objects: so many readings, each with its own time. Any other array flattens as `value.0`, `value.1`, …
// - A plain number, boolean or text, in JSON or not: the measurement `value`.
// - Nothing at all is no measurement and no fault: an empty payload clears a retained message.
// All or nothing: a payload that breaks a limit gives no measurement, but the reason.
import { MEASUREMENTS_PER_MESSAGE_MAX, MEASUREMENT_NAME_SIZE_MAX, MEASUREMENT_TEXT_SIZE_MAX, PAYLOAD_DEPTH_MAX } from "../base/limits.js";
import { MEASUREMENT, type Measurements } from "./measurements.js";
import { utf8Of } from "./text.js";
import { timeOfNumber, timeOfText } from "./time.js";

/** The name of a payload that is a value itself. */
export const PLAIN_NAME = "value";
const REASON_LENGTH_MAX = 200;
const CONTROL_CHARACTER = /[\u0000-\u0008\u000b\u000c\u000e-\u001f]/;

/** Raised and caught in this module: why a payload gives no measurements. */
class Refusal extends Error {}

/**
 * Decodes a payload into `out` (cleared first).
 *
 * @param arrivedAt Unix ms
 * @returns undefined, or why it does not decode; then `out` is empty
 */
export function decodePayload(bytes: Uint8Array, at: number, length: number, arrivedAt: number, out: Measurements): string | undefined {
  out.clear();
  const text = utf8Of(bytes, at, length);
  if (text === undefined) return "not UTF-8";
  const trimmed = text.trim();
  if (trimmed.length === 0) return undefined;
  try {
    decodeText(trimmed, arrivedAt, out);
    return undefined;
  } catch (error) {
    out.clear();
    if (!(error instanceof Refusal)) throw error;
    return error.message.slice(0, REASON_LENGTH_MAX);
  }
}

function decodeText(text: string, arrivedAt: number, out: Measurements): void {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const first = text[0];
    if (first === "{" || first === "[" || first === '"') throw new Refusal(`not JSON: ${(error as Error).message}`);
    if (CONTROL_CHARACTER.test(text)) throw new Refusal("neither JSON nor text");
    addText(out, PLAIN_NAME, arrivedAt, text);
    return;
  }
  if (Array.isArray(value) && value.length > 0 && value.every(isObject)) {
    for (const reading of value) addReading(out, reading, arrivedAt);
  } else if (isObject(value)) {
    addReading(out, value, arrivedAt);
  } else {
    addValue(out, PLAIN_NAME, value, arrivedAt, 0);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isTimeMember(name: string, value: unknown): boolean {
  return (name === "ts" || name === "timestamp") && (typeof value === "number" || typeof value === "string");
}

/** The time that a member states, or NaN. */
function timeOf(value: unknown): number {
  if (typeof value === "number") return timeOfNumber(value);
  if (typeof value !== "string") return Number.NaN;
  const bytes = Buffer.from(value, "utf8");
  return timeOfText(bytes, 0, bytes.length);
}

function addReading(out: Measurements, reading: Record<string, unknown>, arrivedAt: number): void {
  // Own members only: JSON.parse makes `__proto__` one, too.
  const ts = Object.hasOwn(reading, "ts") ? timeOf(reading["ts"]) : Number.NaN;
  const timestamp = Object.hasOwn(reading, "timestamp") ? timeOf(reading["timestamp"]) : Number.NaN;
  const stated = Number.isNaN(ts) ? timestamp : ts;
  const time = Number.isNaN(stated) ? arrivedAt : stated;
  for (const name of Object.keys(reading)) {
    const value = reading[name];
    if (!isTimeMember(name, value)) addValue(out, checkedName(name), value, time, 1);
  }
}

function addValue(out: Measurements, name: string, value: unknown, time: number, depth: number): void {
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Refusal(`the number at ${name} is beyond a double's range`);
    add(out, name, MEASUREMENT.NUMBER, time, value, "");
  } else if (typeof value === "boolean") {
    add(out, name, MEASUREMENT.BOOLEAN, time, value ? 1 : 0, "");
  } else if (typeof value === "string") {
    addText(out, name, time, value);
  } else if (typeof value === "object" && value !== null) {
    if (depth >= PAYLOAD_DEPTH_MAX) throw new Refusal(`nested deeper than ${PAYLOAD_DEPTH_MAX} at ${name}`);
    const members = value as Record<string, unknown>;
    for (const member of Object.keys(members)) addValue(out, `${name}.${checkedName(member)}`, members[member], time, depth + 1);
  }
}

function addText(out: Measurements, name: string, time: number, text: string): void {
  if (Buffer.byteLength(text, "utf8") > MEASUREMENT_TEXT_SIZE_MAX) throw new Refusal(`the text at ${name} is longer than ${MEASUREMENT_TEXT_SIZE_MAX} bytes`);
  add(out, name, MEASUREMENT.TEXT, time, 0, text);
}

function add(out: Measurements, name: string, kind: 0 | 1 | 2, time: number, value: number, text: string): void {
  if (Buffer.byteLength(name, "utf8") > MEASUREMENT_NAME_SIZE_MAX) throw new Refusal(`the name ${name.slice(0, 40)}… is longer than ${MEASUREMENT_NAME_SIZE_MAX} bytes`);
  if (!out.add(name, kind, time, value, text)) throw new Refusal(`more than ${MEASUREMENTS_PER_MESSAGE_MAX} values`);
}

function checkedName(name: string): string {
  if (name.length === 0) throw new Refusal("a member without a name");
  return name;
}
