// The data directory: made at the first start, locked against a second gateway, marked with the version of its format.
import { accessSync, constants, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { StartError } from "../base/errors.js";

/** Raised when a newer gateway writes what an older one would misread. */
const FORMAT = 1;
const FORMAT_FILE = "format";
const LOCK_FILE = "lock";

/**
 * Makes the directory usable by this process alone.
 *
 * @param lock takes an exclusive lock on a file that it creates; false when another process has it; throws when it cannot be tried (Native.lock)
 * @throws StartError DATA_UNUSABLE, DATA_IN_USE, DATA_FORMAT
 */
export function openDataDirectory(directory: string, lock: (path: string) => boolean): void {
  let isLocked: boolean;
  try {
    mkdirSync(directory, { recursive: true, mode: 0o750 });
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    isLocked = lock(join(directory, LOCK_FILE));
  } catch (error) {
    throw new StartError("DATA_UNUSABLE", `${directory} cannot be used: ${(error as Error).message}`);
  }
  if (!isLocked) throw new StartError("DATA_IN_USE", `${directory} is in use by another gateway (it holds ${join(directory, LOCK_FILE)})`);
  checkFormat(join(directory, FORMAT_FILE));
}

function checkFormat(path: string): void {
  if (!existsSync(path)) {
    writeFileSync(path, `${String(FORMAT)}\n`);
    return;
  }
  const text = readFileSync(path, "utf8").trim();
  const found = Number(text);
  // An empty file is what a power cut leaves of the write above; format 1 is the only one that it can have been.
  if (text === "") writeFileSync(path, `${String(FORMAT)}\n`);
  else if (!Number.isInteger(found) || found > FORMAT) throw new StartError("DATA_FORMAT", `${path} says format ${text}; this version knows up to ${String(FORMAT)}`);
}
