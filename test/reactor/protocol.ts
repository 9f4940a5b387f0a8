// What the tests' clients and the tests' shard say to each other: frames delimited as MQTT's are, the first byte being what to do.

export const OP = {
  /** First frame; payload: JSON `ConnectOptions`. Answered by the same frame, unless it is to be held or migrated. */
  CONNECT: 0x10,
  /** Sent back by DATA_REF. */
  ECHO: 0x30,
  /** Sent back by DATA. */
  ECHO_COPY: 0x31,
  /** Sent to every connection of the shard by MULTICAST_REF. */
  ALL: 0x40,
  /** The same by MULTICAST. */
  ALL_COPY: 0x41,
  /** Payload: u32 count, u32 size: so many ECHO frames of that payload size are sent back, by DATA, one command each. */
  BLAST: 0x50,
  THROW: 0x60,
  CLOSE: 0x70,
  /** Payload: u32 shard; the next frame is the first one that the other shard sees (the CONNECT is delivered there again before it). */
  MIGRATE: 0x80,
  PAUSE: 0x90,
  /** Writes a command that is none. */
  BAD_COMMAND: 0xa0,
  /** Sent back twice, first by flush. */
  FLUSH: 0xb0,
  /** process.exit inside onBatch: ends the worker. */
  EXIT: 0xc0,
} as const;

export interface ConnectOptions {
  readonly keepAliveMs?: number;
  /** Do not accept until told so. */
  readonly hold?: boolean;
  readonly frameSizeMax?: number;
}

/** One frame: op, remaining length (MQTT §2.1.4), payload. */
export function frame(op: number, payload: Uint8Array | string = ""): Buffer {
  const body = Buffer.from(payload);
  const head = [op];
  let length = body.length;
  do {
    head.push((length & 0x7f) | (length > 0x7f ? 0x80 : 0));
    length >>>= 7;
  } while (length > 0);
  return Buffer.concat([Buffer.from(head), body]);
}

export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => bytes.writeUInt32LE(value, i * 4));
  return bytes;
}

/** Where a frame's payload starts, and where it ends; or undefined while it is not whole. */
export function frameEnd(bytes: Uint8Array, at: number, end: number): { readonly payload: number; readonly end: number } | undefined {
  let length = 0;
  let index = at + 1;
  for (let shift = 0; ; shift += 7) {
    if (index >= end) return undefined;
    const byte = bytes[index++]!;
    length |= (byte & 0x7f) << shift;
    if ((byte & 0x80) === 0) break;
  }
  return index + length <= end ? { payload: index, end: index + length } : undefined;
}
