// Bytes to strings, also over shared memory. Pure. These allocate: not per record on the hot path, but where a string is new.

const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function over(bytes: Uint8Array, at: number, length: number): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length);
}

/** Each byte as the character of that code. */
export function latin1Of(bytes: Uint8Array, at: number, length: number): string {
  return over(bytes, at, length).toString("latin1");
}

/** The UTF-8 text, or undefined when it is none. */
export function utf8Of(bytes: Uint8Array, at: number, length: number): string | undefined {
  const part = over(bytes, at, length);
  try {
    return STRICT_UTF8.decode(part);
  } catch {
    return undefined;
  }
}

/** At most `lengthMax` bytes of a payload for a person to look at: what is not printable ASCII shows as `.`. */
export function excerptOf(bytes: Uint8Array, at: number, length: number, lengthMax: number): string {
  const shown = Math.min(length, lengthMax);
  let text = "";
  for (let i = 0; i < shown; i++) {
    const byte = bytes[at + i]!;
    text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : ".";
  }
  return shown < length ? `${text}… (${length} bytes)` : text;
}
