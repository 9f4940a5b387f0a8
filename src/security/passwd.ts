// Changes the password file: what `penstock passwd` does. A new file takes the old one's place, whole or not at all; a running gateway sees it within
// a second. In a process of its own.
import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { StartError } from "../base/errors.js";
import { FileChange } from "./file-change.js";
import { headLine, parsePasswords, type PasswordTable } from "./password-file.js";
import { readPrivateFile } from "./private-file.js";
import { formatScramKeys, makeScramKeys } from "./scram-keys.js";
import { hashPassword } from "./scrypt.js";

const SECRET_SIZE = 32;
const PASSWORD_SIZE_MAX = 65_535;

export interface NewPassword {
  readonly user: string;
  /** undefined: the user is known by other means, the line gives it groups. */
  readonly password: string | undefined;
  /** undefined: those that it has. */
  readonly groups: readonly string[] | undefined;
  /** 0 = no SCRAM. */
  readonly scramIterations: number;
}

export interface ListedUser {
  readonly user: string;
  readonly groups: readonly string[];
  readonly hasPassword: boolean;
  readonly hasScram: boolean;
}

/** @returns whether the user is new. @throws StartError AUTH_FILE_BAD when the file cannot be used or written */
export async function setUser(path: string, wanted: NewPassword): Promise<boolean> {
  if (wanted.user === "" || wanted.user.includes("\0")) throw new StartError("AUTH_FILE_BAD", "a user name is not empty, and has no NUL character");
  const { password, user } = wanted;
  if (password === "" || (password !== undefined && Buffer.byteLength(password) > PASSWORD_SIZE_MAX)) throw new StartError("AUTH_FILE_BAD", "a password has 1 to 65535 bytes");
  const scrypt = password === undefined ? undefined : await hashPassword(Buffer.from(password));
  const scram = password === undefined || wanted.scramIterations === 0 ? undefined : await scramOf(password, wanted.scramIterations);
  return change(path, (table, lines) => {
    const isNew = !lines.has(user);
    const groups = wanted.groups ?? table?.users.get(user)?.groups ?? [];
    lines.set(user, JSON.stringify({ user, ...(groups.length > 0 ? { groups } : {}), scrypt, scram }));
    return isNew;
  });
}

/** @returns false when there is no such user. @throws StartError AUTH_FILE_BAD */
export function deleteUser(path: string, user: string): boolean {
  return existsSync(path) && change(path, (_, lines) => lines.delete(user));
}

/** @throws StartError AUTH_FILE_BAD */
export function listUsers(path: string): readonly ListedUser[] {
  const table = read(path);
  if (table === null) return [];
  return [...table.users.values()].map(({ user, groups, scrypt, scram }) => ({ user, groups, hasPassword: scrypt !== null, hasScram: scram !== null }));
}

async function scramOf(password: string, iterations: number): Promise<string> {
  try {
    return formatScramKeys(await makeScramKeys(password, iterations));
  } catch (error) {
    throw new StartError("AUTH_FILE_BAD", `the password cannot be used with SCRAM: ${(error as Error).message}; choose another, or leave SCRAM out with --no-scram`);
  }
}

function read(path: string): PasswordTable | null {
  return existsSync(path) ? parsePasswords(path, readPrivateFile(path).toString("utf8")) : null;
}

/** Reads, changes the lines (by user), writes. */
function change(path: string, edit: (table: PasswordTable | null, lines: Map<string, string>) => boolean): boolean {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  } catch (error) {
    throw new StartError("AUTH_FILE_BAD", `${dirname(path)} cannot be made (${(error as NodeJS.ErrnoException).code ?? "?"})`);
  }
  const file = new FileChange(path, 0o600, "AUTH_FILE_BAD", "penstock passwd");
  try {
    const table = read(path);
    const lines = new Map([...(table?.users.values() ?? [])].map((entry) => [entry.user, entry.line] as const));
    const result = edit(table, lines);
    file.commit(`${[headLine(table?.secret ?? randomBytes(SECRET_SIZE)), ...lines.values()].join("\n")}\n`);
    return result;
  } finally {
    file.end();
  }
}
