// Files with secrets: read only when nobody but the gateway's user can. On main's thread at the start, on the shards' threads afterwards.
import { readFileSync, statSync } from "node:fs";
import { StartError } from "../base/errors.js";

/** Largest file with secrets that is read. */
const SIZE_MAX = 64 * 1024 * 1024;

/** What is wrong with a file's permissions, and what to do; "" when nothing is. */
export function looseness(path: string, mode: number): string {
  if ((mode & 0o077) === 0) return "";
  const who = (mode & 0o007) !== 0 ? "other users" : "its group";
  const what = (mode & 0o044) !== 0 ? "read" : "changed";
  return `${path} can be ${what} by ${who} (mode ${(mode & 0o777).toString(8)}). Run: chmod 600 ${path}`;
}

/**
 * The bytes of a file with secrets.
 *
 * @throws StartError AUTH_FILE_BAD when it is missing, too large, unreadable or not private
 */
export function readPrivateFile(path: string): Buffer {
  return readFile(path, true);
}

/** As `readPrivateFile`, for what everybody may read. @throws StartError AUTH_FILE_BAD */
export function readPublicFile(path: string): Buffer {
  return readFile(path, false);
}

function readFile(path: string, isPrivate: boolean): Buffer {
  try {
    const { mode, size } = statSync(path);
    if (size > SIZE_MAX) throw new StartError("AUTH_FILE_BAD", `${path} has ${size} bytes; at most ${SIZE_MAX} are read`);
    const loose = isPrivate ? looseness(path, mode) : "";
    if (loose !== "") throw new StartError("AUTH_FILE_BAD", loose);
    return readFileSync(path);
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError("AUTH_FILE_BAD", `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? (error as Error).message})`);
  }
}
