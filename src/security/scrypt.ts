// Password hashes: scrypt (RFC 7914) in the form `$scrypt$ln=14,r=8,p=1$<salt>$<hash>`, salt and hash in base64 without padding.
// Each hash names its own parameters, so that they can be raised without making the old ones void. The work is done in libuv's pool.
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";

export interface ScryptHash {
  /** log2 of N. */
  readonly logN: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** 16 MiB and some 40 ms: what a small gateway can afford when a fleet comes back at once. */
const LOG_N = 14;
const R = 8;
const P = 1;
const SALT_SIZE = 16;
const HASH_SIZE = 32;
/** 256 MiB: a line of the file must not be able to take all memory. */
const MEMORY_MAX = 256 * 1024 * 1024;

const FORM = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/;

export async function hashPassword(password: Uint8Array): Promise<string> {
  const salt = randomBytes(SALT_SIZE);
  const hash = await derive(password, { logN: LOG_N, r: R, p: P, salt, hash: Buffer.alloc(HASH_SIZE) });
  return `$scrypt$ln=${LOG_N},r=${R},p=${P}$${unpadded(salt)}$${unpadded(hash)}`;
}

/** @returns null for what is no hash, or one that would cost more memory than allowed */
export function parseHash(text: string): ScryptHash | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const [logN, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])];
  const salt = Buffer.from(match[4]!, "base64");
  const hash = Buffer.from(match[5]!, "base64");
  if (logN < 10 || logN > 20 || r < 1 || p < 1 || p > 16 || 128 * 2 ** logN * r > MEMORY_MAX || salt.length < 8 || hash.length < 16 || hash.length > 64) return null;
  return { logN, r, p, salt, hash };
}

/** Compares in constant time. */
export async function isPasswordOf(stored: ScryptHash, password: Uint8Array): Promise<boolean> {
  return timingSafeEqual(await derive(password, stored), stored.hash);
}

/** A hash that no password has: checking it takes as long as checking a real one. */
export function hashOfNobody(): ScryptHash {
  return { logN: LOG_N, r: R, p: P, salt: randomBytes(SALT_SIZE), hash: randomBytes(HASH_SIZE) };
}

function derive(password: Uint8Array, { logN, r, p, salt, hash }: ScryptHash): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(password, salt, hash.length, { N: 2 ** logN, r, p, maxmem: MEMORY_MAX + 1024 * 1024 }, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}

function unpadded(bytes: Buffer): string {
  return bytes.toString("base64").replace(/=+$/, "");
}
