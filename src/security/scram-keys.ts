// What is kept of a password for SCRAM-SHA-256 (RFC 5802 §3, RFC 7677): neither the password nor what a client needs to log in.
// Written as RFC 5803 has it: `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, all but the number in base64.
import { createHash, createHmac, pbkdf2, randomBytes } from "node:crypto";

export interface ScramKeys {
  readonly iterations: number;
  readonly salt: Buffer;
  readonly storedKey: Buffer;
  readonly serverKey: Buffer;
}

/** RFC 7677 §4 wants 4096 at least; more makes a stolen file harder to use, and costs the clients' time. */
export const ITERATIONS = 32_768;
const ITERATIONS_LEAST = 4096;
const ITERATIONS_MOST = 10_000_000;
const SALT_SIZE = 16;
export const KEY_SIZE = 32;

const FORM = /^SCRAM-SHA-256\$(\d{4,8}):([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]+={0,2}):([A-Za-z0-9+/]+={0,2})$/;

export function hmac(key: Uint8Array, text: string | Uint8Array): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

export function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

/** @throws Error when the password has characters that SASLprep forbids */
export async function makeScramKeys(password: string, iterations = ITERATIONS, salt: Buffer = randomBytes(SALT_SIZE)): Promise<ScramKeys> {
  const salted = await new Promise<Buffer>((resolve, reject) => {
    pbkdf2(prepared(password), salt, iterations, KEY_SIZE, "sha256", (error, key) => (error === null ? resolve(key) : reject(error)));
  });
  return { iterations, salt, storedKey: sha256(hmac(salted, "Client Key")), serverKey: hmac(salted, "Server Key") };
}

export function formatScramKeys({ iterations, salt, storedKey, serverKey }: ScramKeys): string {
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${storedKey.toString("base64")}:${serverKey.toString("base64")}`;
}

/** @returns null for what is no set of keys */
export function parseScramKeys(text: string): ScramKeys | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const iterations = Number(match[1]);
  const [salt, storedKey, serverKey] = [match[2]!, match[3]!, match[4]!].map((part) => Buffer.from(part, "base64")) as [Buffer, Buffer, Buffer];
  if (iterations < ITERATIONS_LEAST || iterations > ITERATIONS_MOST || salt.length < 8 || storedKey.length !== KEY_SIZE || serverKey.length !== KEY_SIZE) return null;
  return { iterations, salt, storedKey, serverKey };
}

/** Keys for a user that does not exist: the same salt every time, and no proof that fits. @param secret of the password file */
export function keysOfNobody(secret: Uint8Array, user: string): ScramKeys {
  return { iterations: ITERATIONS, salt: hmac(secret, `salt ${user}`).subarray(0, SALT_SIZE), storedKey: randomBytes(KEY_SIZE), serverKey: randomBytes(KEY_SIZE) };
}

/**
 * SASLprep (RFC 4013), as far as passwords of today need it: spaces of other scripts become plain ones, invisible joiners go, NFKC, no control characters.
 *
 * @throws Error for characters that are forbidden
 */
export function prepared(text: string): string {
  const mapped = text.replace(/[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]/g, " ").replace(/[\u00ad\u034f\u1806\u180b-\u180d\u200b-\u200d\u2060\ufe00-\ufe0f\ufeff]/g, "");
  const normal = mapped.normalize("NFKC");
  if (/[\p{Cc}\p{Cs}\p{Co}\p{Cn}\u2028\u2029\ufff9-\ufffd]/u.test(normal)) throw new Error("control characters and characters without a meaning are not allowed");
  return normal;
}
