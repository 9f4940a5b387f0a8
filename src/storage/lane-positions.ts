// How far the lanes were in the journal, in a small file beside it: for gateways without history, which else says so. On main's thread.
//
//   {"read":[4096,8000]}      one position for each lane
//
// Written now and then, whole or not at all, without a sync: what was read since is read again after a crash, and all of it after a power cut at the wrong moment.
import { readFileSync, renameSync, writeFileSync } from "node:fs";

/** Where a lane goes on: what was noted, unless that is from another journal or another number of lanes. @returns `fromLsn` when nothing is known */
export function readLanePositions(path: string, lanes: number, fromLsn: number, durableLsn: number): readonly number[] {
  const everything = Array.from({ length: lanes }, () => fromLsn);
  let read: unknown;
  try {
    ({ read } = JSON.parse(readFileSync(path, "utf8")) as { read?: unknown });
  } catch {
    return everything;
  }
  if (!Array.isArray(read) || read.length === 0) return everything;
  const known = read.filter((one): one is number => Number.isSafeInteger(one) && one >= 0 && one <= durableLsn);
  // Positions beyond the journal's end: its files were lost, and positions begin anew.
  if (known.length !== read.length) return everything;
  // Devices are on other lanes now: none may miss anything.
  if (known.length !== lanes) return everything.map(() => Math.max(fromLsn, Math.min(...known)));
  return known.map((one) => Math.max(fromLsn, one));
}

/** @throws Error when the file cannot be written */
export function writeLanePositions(path: string, read: readonly number[]): void {
  writeFileSync(`${path}.new`, `${JSON.stringify({ read })}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
