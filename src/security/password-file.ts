// The password file: one JSON object a line. Shards read it, and read it again when it has changed; `penstock passwd` writes it (passwd.ts).
//
//   {"format":1,"secret":"<base64>"}                                                    the first line
//   {"user":"d1","groups":["sensors"],"scrypt":"$scrypt$…","scram":"SCRAM-SHA-256$…"}   a user
//
// `scrypt` checks passwords, `scram` the proofs of SCRAM-SHA-256 (scram.ts); a user may have neither: then its line gives groups to a client
// that is known by its certificate. `secret` makes up salts for users that do not exist, so that they look as if they did.
import { StartError } from "../base/errors.js";
import { parseScramKeys, type ScramKeys } from "./scram-keys.js";
import { parseHash, type ScryptHash } from "./scrypt.js";

export interface PasswordEntry {
  readonly user: string;
  readonly groups: readonly string[];
  readonly scrypt: ScryptHash | null;
  readonly scram: ScramKeys | null;
  /** The line, which `passwd` writes back unchanged. */
  readonly line: string;
}

export interface PasswordTable {
  readonly users: ReadonlyMap<string, PasswordEntry>;
  readonly secret: Buffer;
}

const FORMAT = 1;
const USERS_MAX = 1_000_000;
const FORM = "a line of it is {\"user\":…,\"groups\":[…],\"scrypt\":…,\"scram\":…}; use `penstock passwd`";

/** @throws StartError AUTH_FILE_BAD naming file, line and what is wrong */
export function parsePasswords(path: string, text: string): PasswordTable {
  const users = new Map<string, PasswordEntry>();
  let secret: Buffer | null = null;
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    if (line.trim() === "") continue;
    const where = `${path} line ${index + 1}`;
    const value = objectOf(line);
    if (value === null) throw bad(`${where} is no JSON object: ${FORM}`);
    if (secret === null) {
      secret = secretOf(value, where);
      continue;
    }
    const entry = entryOf(value, line, where);
    if (users.has(entry.user)) throw bad(`${where}: the user ${JSON.stringify(entry.user)} stands twice`);
    if (users.size >= USERS_MAX) throw bad(`${path} has more than ${USERS_MAX} users`);
    users.set(entry.user, entry);
  }
  if (secret === null) throw bad(`${path} is empty: remove it, or make it with \`penstock passwd\``);
  return { users, secret };
}

/** The file's first line. */
export function headLine(secret: Buffer): string {
  return JSON.stringify({ format: FORMAT, secret: secret.toString("base64") });
}

function objectOf(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}

function secretOf(value: Record<string, unknown>, where: string): Buffer {
  const { format, secret } = value;
  if (format !== FORMAT) throw bad(`${where} says format ${JSON.stringify(format)}; this version knows ${FORMAT}: ${FORM}`);
  const bytes = typeof secret === "string" ? Buffer.from(secret, "base64") : Buffer.alloc(0);
  if (bytes.length < 16) throw bad(`${where} has no secret of at least 16 bytes`);
  return bytes;
}

function entryOf(value: Record<string, unknown>, line: string, where: string): PasswordEntry {
  const { user, groups = [], scrypt, scram, ...others } = value;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw bad(`${where}: ${JSON.stringify(unknown)} is not known: ${FORM}`);
  if (typeof user !== "string" || user === "") throw bad(`${where} names no user: ${FORM}`);
  if (!Array.isArray(groups) || !groups.every((group) => typeof group === "string" && group !== "")) throw bad(`${where}: groups is no list of names`);
  const hash = typeof scrypt === "string" ? parseHash(scrypt) : null;
  if (scrypt !== undefined && hash === null) throw bad(`${where}: scrypt is no hash, or asks for more memory than allowed: $scrypt$ln=14,r=8,p=1$<salt>$<hash>`);
  const keys = typeof scram === "string" ? parseScramKeys(scram) : null;
  if (scram !== undefined && keys === null) throw bad(`${where}: scram is no set of keys: SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`);
  return { user, groups: groups as string[], scrypt: hash, scram: keys, line: line.trim() };
}

function bad(detail: string): StartError {
  return new StartError("AUTH_FILE_BAD", detail);
}
