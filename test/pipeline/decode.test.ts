import t from "tap";
import { ARRIVED_AT, decoded, type Reading } from "./support.js";

const at = (time: number, entries: Record<string, Reading["value"]>): Reading[] => Object.entries(entries).map(([name, value]) => ({ name, time, value }));

const ACCEPTED: readonly (readonly [what: string, payload: string, expected: Reading[]])[] = [
  ["numbers, booleans and text", '{"t":21.5,"on":true,"off":false,"state":"idle"}', at(ARRIVED_AT, { t: 21.5, on: true, off: false, state: "idle" })],
  ["objects inside flatten to dotted names", '{"motor":{"rpm":3,"bearing":{"t":9}}}', at(ARRIVED_AT, { "motor.rpm": 3, "motor.bearing.t": 9 })],
  ["arrays inside flatten to indices", '{"axes":[1,2],"cells":[{"v":3},{"v":4}]}', at(ARRIVED_AT, { "axes.0": 1, "axes.1": 2, "cells.0.v": 3, "cells.1.v": 4 })],
  ["null, empty objects and arrays are no measurement", '{"a":null,"b":{},"c":[],"d":[null],"e":1}', at(ARRIVED_AT, { e: 1 })],
  ["nothing to measure is no fault", "{}", []],
  ["an empty payload is no fault", "", []],
  ["spaces alone are no fault", " \n", []],
  ["null alone is no fault", "null", []],
  ["ts in seconds", '{"ts":1767225660,"a":1}', at(1_767_225_660_000, { a: 1 })],
  ["ts in milliseconds", '{"a":1,"ts":1767225660001}', at(1_767_225_660_001, { a: 1 })],
  ["ts as RFC 3339", '{"ts":"2026-01-01T00:01:00.5+01:00","a":1}', at(ARRIVED_AT - 3_600_000 + 60_500, { a: 1 })],
  ["timestamp as well", '{"timestamp":1767225660,"a":1}', at(1_767_225_660_000, { a: 1 })],
  ["ts goes before timestamp", '{"timestamp":1767225661,"ts":1767225660,"a":1}', at(1_767_225_660_000, { a: 1 })],
  ["timestamp stands in for a ts that is no time", '{"ts":5,"timestamp":1767225660,"a":1}', at(1_767_225_660_000, { a: 1 })],
  ["the arrival stands in for a time since the device's start", '{"ts":12.5,"a":1}', at(ARRIVED_AT, { a: 1 })],
  ["the arrival stands in for a time that is none", '{"ts":"yesterday","a":1}', at(ARRIVED_AT, { a: 1 })],
  ["a ts that is neither number nor text is a measurement", '{"ts":true,"timestamp":{"x":1}}', at(ARRIVED_AT, { ts: true, "timestamp.x": 1 })],
  ["ts counts in the outermost object only", '{"a":{"ts":1767225660}}', at(ARRIVED_AT, { "a.ts": 1_767_225_660 })],
  ["an array of objects is so many readings", '[{"ts":1767225660,"a":1},{"ts":1767225661,"a":2}]', [...at(1_767_225_660_000, { a: 1 }), ...at(1_767_225_661_000, { a: 2 })]],
  ["any other array flattens", '[1,{"a":2}]', at(ARRIVED_AT, { "value.0": 1, "value.1.a": 2 })],
  ["a plain number", "21.5", at(ARRIVED_AT, { value: 21.5 })],
  ["a plain number with spaces", " -1e3\n", at(ARRIVED_AT, { value: -1000 })],
  ["a plain boolean", "true", at(ARRIVED_AT, { value: true })],
  ["a JSON text", '"on"', at(ARRIVED_AT, { value: "on" })],
  ["plain text", "open the gate", at(ARRIVED_AT, { value: "open the gate" })],
  ["plain text that is not ASCII", "größer", at(ARRIVED_AT, { value: "größer" })],
  ["what only looks like a number is text", "+5", at(ARRIVED_AT, { value: "+5" })],
  ["NaN is text, as JSON has none", "NaN", at(ARRIVED_AT, { value: "NaN" })],
  ["names and texts beyond ASCII", '{"größe":"°C \\u00e9"}', at(ARRIVED_AT, { größe: "°C é" })],
  ["__proto__ is a name like others", '{"__proto__":1,"a":2}', [{ name: "__proto__", time: ARRIVED_AT, value: 1 }, { name: "a", time: ARRIVED_AT, value: 2 }]],
  ["of two members with one name the last counts", '{"a":1,"a":2}', at(ARRIVED_AT, { a: 2 })],
  ["the largest double", '{"a":1.7976931348623157e308}', at(ARRIVED_AT, { a: Number.MAX_VALUE })],
  ["a byte order mark", '\ufeff{"a":1}', at(ARRIVED_AT, { a: 1 })],
  ["sixteen levels", `${'{"a":'.repeat(16)}1${"}".repeat(16)}`, at(ARRIVED_AT, { ["a.".repeat(15) + "a"]: 1 })],
  ["a name of 256 bytes", `{"${"n".repeat(256)}":1}`, at(ARRIVED_AT, { ["n".repeat(256)]: 1 })],
  ["a text of 1024 bytes", `{"a":"${"x".repeat(1024)}"}`, at(ARRIVED_AT, { a: "x".repeat(1024) })],
];

for (const [what, payload, expected] of ACCEPTED) t.test(`decode: ${what}`, async (t) => t.same(decoded(payload), expected));

const REFUSED: readonly (readonly [what: string, payload: string | Uint8Array, reason: RegExp])[] = [
  ["an object that is cut off", '{"a":1', /^not JSON/],
  ["an object with something behind it", '{"a":1}x', /^not JSON/],
  ["a number with a leading zero", '{"a":01}', /^not JSON/],
  ["NaN inside", '{"a":NaN}', /^not JSON/],
  ["single quotes", "{'a':1}", /^not JSON/],
  ["a trailing comma", "[1,]", /^not JSON/],
  ["a text that is cut off", '"abc', /^not JSON/],
  ["a number beyond a double", '{"a":1e400}', /^the number at a is beyond/],
  ["a plain number beyond a double", "-1e400", /^the number at value is beyond/],
  ["bytes that are not UTF-8", Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d), /^not UTF-8/],
  ["an overlong encoding", Uint8Array.of(0xc0, 0x80), /^not UTF-8/],
  ["binary", Uint8Array.of(1, 2, 3), /^neither JSON nor text/],
  ["a member without a name", '{"":1}', /^a member without a name/],
  ["an inner member without a name", '{"a":{"":1}}', /^a member without a name/],
  ["seventeen levels", `${'{"a":'.repeat(17)}1${"}".repeat(17)}`, /^nested deeper than 16/],
  ["a hundred thousand levels", `${"[".repeat(100_000)}${"]".repeat(100_000)}`, /^nested deeper than 16/],
  ["a name of 257 bytes", `{"${"n".repeat(257)}":1}`, /^the name n+… is longer than 256 bytes/],
  ["a dotted name of 257 bytes", `{"${"n".repeat(255)}":{"a":1}}`, /^the name n+… is longer than 256 bytes/],
  ["a text of 1025 bytes", `{"a":"${"x".repeat(1025)}"}`, /^the text at a is longer than 1024 bytes/],
  ["a text of 1026 bytes in 513 letters", "é".repeat(513), /^the text at value is longer than 1024 bytes/],
  ["more than 4096 values", JSON.stringify(Array.from({ length: 4097 }, (_, i) => i)), /^more than 4096 values/],
];

for (const [what, payload, reason] of REFUSED) t.test(`decode refuses: ${what}`, async (t) => t.match(decoded(payload), reason));

t.test("decode: 4096 values are not too many", async (t) => {
  t.equal((decoded(JSON.stringify(Array.from({ length: 4096 }, (_, i) => i))) as Reading[]).length, 4096);
});

t.test("decode: a payload cut at every byte is refused or is a shorter payload, and never throws", async (t) => {
  const payload = Buffer.from('{"ts":1767225660,"größe":-1.5e3,"ok":true,"x":{"y":[1,"z\\n"]}}', "utf8");
  for (let length = 0; length < payload.length; length++) {
    const result = decoded(payload.subarray(0, length));
    t.ok(typeof result === "string" || length === 0, `${length} bytes: ${JSON.stringify(result)}`);
  }
});
