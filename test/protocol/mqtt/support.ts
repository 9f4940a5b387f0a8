// What the codec's tests share: packets written as text, refusals as values, random numbers with a seed that is printed.
import type { Test } from "tap";
import { ProtocolError } from "../../../src/base/errors.js";
import { Frame, nextFrame } from "../../../src/protocol/mqtt/fixed-header.js";
import { variableIntegerSize, writeVariableInteger } from "../../../src/protocol/mqtt/integers.js";

/**
 * Bytes from text: hex digits; "text" for its UTF-8; 'text' for the same with its two-byte length in front; [...] for properties with theirs, a
 * variable byte integer. Spaces mean nothing.
 */
export function bytesOf(text: string): Buffer {
  const done: Buffer[] = [];
  let parts = done;
  for (const [token] of text.matchAll(/"[^"]*"|'[^']*'|[0-9a-f]{2}|\S/gu)) {
    if (token === "[") parts = [];
    else if (token === "]") {
      done.push(lengthOf(parts), ...parts);
      parts = done;
    } else if (token.startsWith('"')) parts.push(Buffer.from(token.slice(1, -1)));
    else if (token.startsWith("'")) parts.push(prefixed(Buffer.from(token.slice(1, -1))));
    else if (token.length === 2) parts.push(Buffer.from(token, "hex"));
    else throw new Error(`no byte: ${token} in ${text}`);
  }
  return Buffer.concat(done);
}

function lengthOf(parts: readonly Buffer[]): Buffer {
  const bytes = Buffer.alloc(4);
  return bytes.subarray(0, writeVariableInteger(bytes, 0, Buffer.concat(parts).length));
}

/** A packet: first byte, remaining length, body (as `bytesOf` reads it). */
export function packetOf(first: number, body: string | Buffer): Buffer {
  const content = typeof body === "string" ? bytesOf(body) : body;
  const packet = Buffer.alloc(1 + variableIntegerSize(content.length) + content.length);
  packet[0] = first;
  content.copy(packet, writeVariableInteger(packet, 1, content.length));
  return packet;
}

/** `length` as two bytes, then the bytes. */
export function prefixed(bytes: Buffer): Buffer {
  const field = Buffer.alloc(2 + bytes.length);
  field.writeUInt16BE(bytes.length);
  bytes.copy(field, 2);
  return field;
}

/** The first frame in `packet`. @throws ProtocolError as `nextFrame` */
export function frameOf(packet: Uint8Array, at = 0): Frame {
  const frame = new Frame();
  if (!nextFrame(packet, at, packet.length, frame)) throw new Error("there is no frame");
  return frame;
}

/** What a decoder made of a packet: its value, or the refusal as "CODE 0xreason". Anything but a ProtocolError is thrown on. */
export function outcomeOf<Value>(decode: () => Value): { readonly value: Value } | { readonly refusal: string; readonly detail: string } {
  try {
    return { value: decode() };
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return { refusal: `${error.code} 0x${error.reason.toString(16)}`, detail: error.message };
  }
}

/**
 * Cuts an accepted packet at every byte. As it is, each piece must be refused. With its remaining length put right it may happen to be a packet
 * (a shorter payload), but must be decoded or refused, nothing else.
 */
export function refusesEveryCut(t: Test, name: string, packet: Buffer, decode: (bytes: Buffer) => unknown): void {
  const whole = frameOf(packet);
  for (let size = 1; size < packet.length; size++) {
    const cut = Buffer.from(packet.subarray(0, size));
    const outcome = outcomeOf(() => decode(cut));
    if (!("refusal" in outcome)) t.fail(`${name}: cut at byte ${size} is not refused`);
  }
  for (let size = 0; size < whole.bodyLength; size++) {
    const shorter = packetOf(packet[0]!, Buffer.from(packet.subarray(whole.bodyAt, whole.bodyAt + size)));
    outcomeOf(() => decode(shorter));
  }
}

/** Random numbers that a seed repeats (mulberry32). */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed;
  }

  /** 0 <= result < bound, whole. */
  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * bound);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let i = 0; i < length; i++) bytes[i] = this.below(256);
    return bytes;
  }
}

/** A source of random numbers, its seed printed; PENSTOCK_SEED repeats a run. */
export function randomOf(t: Test, seed = Math.floor(Math.random() * 0x1_0000_0000)): Random {
  const given = process.env["PENSTOCK_SEED"];
  const used = given === undefined ? seed : Number(given);
  t.comment(`PENSTOCK_SEED=${used}`);
  return new Random(used);
}
