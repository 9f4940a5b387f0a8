// A disk that is really full: a small tmpfs, which only root may mount.
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { STORE_COUNTER } from "../../src/base/counters.js";
import { KIB } from "../../src/base/limits.js";
import { POSITION, readPosition } from "../../src/base/positions.js";
import { openStore, payloadsOf, readEntries, settle, temporaryDirectory } from "./support.js";

/** @returns why there is no small disk to test on, or null */
function mountSmallDisk(path: string): string | null {
  if (process.getuid?.() !== 0) return "only root may mount a tmpfs";
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", path], { stdio: "pipe" });
    return null;
  } catch (error) {
    return `mount: ${(error as Error).message}`;
  }
}

t.test("a full disk blocks, loses nothing, and goes on when there is room again", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const reason = mountSmallDisk(directory.path);
  if (reason !== null) {
    t.plan(0, reason);
    return;
  }
  t.teardown(() => execFileSync("umount", [directory.path]));
  const journal = join(directory.path, "journal");
  mkdirSync(journal);
  const ballast = join(directory.path, "ballast");
  writeFileSync(ballast, Buffer.alloc(500 * KIB));
  const { store, shards, positions, counters, log, clock } = openStore(journal, { segmentSize: 128 * KIB });
  const sent: string[] = [];
  const send = (): void => {
    const payload = `${sent.length}:${"f".repeat(2000)}`;
    if (shards[0]!.publish({ payload })) sent.push(payload);
  };
  while (counters[STORE_COUNTER.BLOCKED] === 0) {
    send();
    settle(store);
    if (sent.length > 1000) throw new Error("a disk of 1 MiB takes more than 2 MB");
  }
  t.ok(sent.length > 100);
  t.match(log.texts("error").join(), /STORE_FAILED.*ENOSPC/);
  const durable = readPosition(positions, POSITION.JOURNAL_DURABLE);
  t.strictSame(payloadsOf(readEntries(journal, durable)), sent.slice(0, -1), "what was acknowledged is there");
  for (let i = 0; i < 100; i++) send();
  clock.now += 10_000;
  settle(store);
  t.equal(counters[STORE_COUNTER.BLOCKED], 1);
  t.equal(readPosition(positions, POSITION.JOURNAL_DURABLE), durable, "the position does not move");
  rmSync(ballast);
  clock.now += 10_000;
  settle(store);
  t.equal(counters[STORE_COUNTER.BLOCKED], 0);
  t.match(log.texts("info").join(), /written again, after: ENOSPC/);
  t.ok(shards[0]!.isDurable);
  t.strictSame(payloadsOf(readEntries(journal, readPosition(positions, POSITION.JOURNAL_DURABLE))), sent);
  store.stop();
});

t.test("a disk that is full at the start does not stop the start", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const reason = mountSmallDisk(directory.path);
  if (reason !== null) {
    t.plan(0, reason);
    return;
  }
  t.teardown(() => execFileSync("umount", [directory.path]));
  const journal = join(directory.path, "journal");
  const first = openStore(journal);
  first.shards[0]!.publish({ payload: "before" });
  settle(first.store);
  first.store.stop();
  const ballast = join(directory.path, "ballast");
  t.throws(() => writeFileSync(ballast, Buffer.alloc(1024 * KIB)), { code: "ENOSPC" });
  const second = openStore(journal);
  t.equal(second.counters[STORE_COUNTER.BLOCKED], 1);
  t.strictSame(payloadsOf(readEntries(journal, readPosition(second.positions, POSITION.JOURNAL_DURABLE))), ["before"], "consumers can go on reading");
  second.shards[0]!.publish({ payload: "after" });
  rmSync(ballast);
  second.clock.now += 10_000;
  settle(second.store);
  t.strictSame(payloadsOf(readEntries(journal, readPosition(second.positions, POSITION.JOURNAL_DURABLE))), ["before", "after"]);
  second.store.stop();
});
