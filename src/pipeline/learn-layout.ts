// Learns the layout of a payload (payload-layout.ts). Pure. Not hot: once per layout that a device sends.
// A layout is kept only if the measurements it gives for this payload are those that decode.ts gave.
import { MEASUREMENT, type Measurements } from "./measurements.js";
import { type KnownText, LAYOUT_VALUES_MAX, Layout, LayoutValues, readByLayout, TIME_NUMBER, TIME_TEXT } from "./payload-layout.js";

const LITERALS_SIZE_MAX = 4096;
const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, COLON = 0x3a, MINUS = 0x2d;
const OPEN_BRACE = 0x7b, CLOSE_BRACE = 0x7d, OPEN_BRACKET = 0x5b, CLOSE_BRACKET = 0x5d;

/** A layout with the texts of the payload it was learned from, by value index. */
export interface Learned {
  readonly layout: Layout;
  readonly known: readonly KnownText[];
}

/**
 * Learns from a payload that decode.ts has decoded to `decoded`.
 *
 * @returns undefined for a payload that is better left to decode.ts
 */
export function learnLayout(bytes: Uint8Array, at: number, end: number, decoded: Measurements): Learned | undefined {
  const scanner = new Scanner(bytes, at, end);
  if (!scanner.scan()) return undefined;
  const layout = scanner.layout();
  return givesTheSame(layout, scanner.known, bytes, at, end, decoded) ? { layout, known: scanner.known } : undefined;
}

function givesTheSame(layout: Layout, known: KnownText[], bytes: Uint8Array, at: number, end: number, decoded: Measurements): boolean {
  const values = new LayoutValues();
  if (layout.names.length !== decoded.count || !readByLayout(layout, bytes, at, end, known, values)) return false;
  for (let i = 0; i < decoded.count; i++) {
    const index = layout.measured[i]!;
    if (layout.names[i] !== decoded.names[i] || layout.kinds[index] !== decoded.kinds[i]) return false;
    const isSame = decoded.kinds[i] === MEASUREMENT.TEXT ? values.texts[index] === decoded.texts[i] : Object.is(values.numbers[index], decoded.values[i]);
    if (!isSame || (!Number.isNaN(values.time) && values.time !== decoded.times[i])) return false;
  }
  return true;
}

/** Walks a payload that is known to be JSON, and notes where its values are. */
class Scanner {
  readonly known: KnownText[] = [];
  private readonly bytes: Uint8Array;
  private readonly end: number;
  private at: number;
  /** Where the literal under way starts. */
  private from: number;
  private readonly literals: number[] = [];
  private readonly ends: number[] = [];
  private readonly kinds: number[] = [];
  private readonly names: string[] = [];
  private timeMembers = 0;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.from = at;
    this.end = end;
  }

  /** @returns false when the payload is no object, or not simple enough */
  scan(): boolean {
    this.skipSpace();
    if (this.byte() !== OPEN_BRACE || !this.scanObject("")) return false;
    this.skipSpace();
    if (this.at !== this.end) return false;
    this.closeLiteral();
    // With a time stated twice, decode.ts decides which one counts.
    return this.timeMembers <= 1 && this.kinds.length <= LAYOUT_VALUES_MAX && this.literals.length <= LITERALS_SIZE_MAX;
  }

  layout(): Layout {
    return new Layout(Uint8Array.from(this.literals), this.ends, this.kinds, this.names);
  }

  private byte(): number {
    return this.at < this.end ? this.bytes[this.at]! : 0;
  }

  private skipSpace(): void {
    for (let byte = this.byte(); byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09; byte = this.byte()) this.at++;
  }

  private closeLiteral(): void {
    for (let i = this.from; i < this.at; i++) this.literals.push(this.bytes[i]!);
    this.ends.push(this.literals.length);
  }

  /** Moves behind the text whose opening quote is here. @returns its token without quotes, or undefined */
  private token(): Uint8Array | undefined {
    const start = ++this.at;
    for (let byte = this.byte(); byte !== QUOTE; byte = this.byte()) {
      if (this.at >= this.end) return undefined;
      this.at += byte === BACKSLASH ? 2 : 1;
    }
    return this.bytes.slice(start, this.at++);
  }

  private scanObject(prefix: string): boolean {
    this.at++;
    this.skipSpace();
    if (this.byte() === CLOSE_BRACE) return this.step();
    for (;;) {
      const token = this.byte() === QUOTE ? this.token() : undefined;
      if (token === undefined) return false;
      const name = textOf(token);
      this.skipSpace();
      if (this.byte() !== COLON) return false;
      this.at++;
      const isTimeMember = prefix === "" && (name === "ts" || name === "timestamp");
      if (isTimeMember) this.timeMembers++;
      if (!this.scanValue(prefix === "" ? name : `${prefix}.${name}`, isTimeMember)) return false;
      this.skipSpace();
      if (this.byte() === CLOSE_BRACE) return this.step();
      if (this.byte() !== COMMA) return false;
      this.at++;
      this.skipSpace();
    }
  }

  private scanArray(prefix: string): boolean {
    this.at++;
    this.skipSpace();
    if (this.byte() === CLOSE_BRACKET) return this.step();
    for (let index = 0; ; index++) {
      if (!this.scanValue(`${prefix}.${index}`, false)) return false;
      this.skipSpace();
      if (this.byte() === CLOSE_BRACKET) return this.step();
      if (this.byte() !== COMMA) return false;
      this.at++;
    }
  }

  private step(): true {
    this.at++;
    return true;
  }

  private scanValue(name: string, isTimeMember: boolean): boolean {
    this.skipSpace();
    const byte = this.byte();
    if (byte === OPEN_BRACE) return this.scanObject(name);
    if (byte === OPEN_BRACKET) return this.scanArray(name);
    if (byte === QUOTE) {
      this.at++;
      this.closeLiteral();
      this.at--;
      const token = this.token();
      if (token === undefined) return false;
      this.noteValue(name, isTimeMember ? TIME_TEXT : MEASUREMENT.TEXT, isTimeMember, this.at - 1);
      this.known[this.kinds.length - 1] = { bytes: token, text: textOf(token) };
      return true;
    }
    // null is part of the literal.
    const isNull = byte === 0x6e;
    if (!isNull) this.closeLiteral();
    while (isWordByte(this.byte())) this.at++;
    if (isNull) return true;
    const isNumber = byte === MINUS || (byte >= 0x30 && byte <= 0x39);
    this.noteValue(name, !isNumber ? MEASUREMENT.BOOLEAN : isTimeMember ? TIME_NUMBER : MEASUREMENT.NUMBER, isNumber && isTimeMember, this.at);
    return true;
  }

  private noteValue(name: string, kind: number, isTime: boolean, literalFrom: number): void {
    this.kinds.push(kind);
    if (!isTime) this.names.push(name);
    this.from = literalFrom;
  }
}

/** A byte of a number, `true`, `false` or `null`. */
function isWordByte(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || (byte >= 0x61 && byte <= 0x7a) || byte === 0x45 || byte === MINUS || byte === 0x2b || byte === 0x2e;
}

/** The text that a token between quotes stands for. */
function textOf(token: Uint8Array): string {
  return JSON.parse(`"${Buffer.from(token).toString("utf8")}"`) as string;
}
