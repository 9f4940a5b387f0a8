// The consumer's reader: where it starts, what it skips, and that it may read while the store writes.
import { once } from "node:events";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker, isMainThread, workerData } from "node:worker_threads";
import t from "tap";
import { KIB } from "../../src/base/limits.js";
import { POSITION, POSITION_COUNT, readPosition, writePosition } from "../../src/base/positions.js";
import { nodeFiles } from "../../src/storage/journal/files.js";
import { JournalReader, type ReaderFinding } from "../../src/storage/journal/reader.js";
import { crc32c, entriesOf, openStore, payloadsOf, readEntries, segmentFiles, settle, temporaryDirectory, TestShard } from "./support.js";

const MESSAGES = 20_000;

/** The other thread: a store that writes as fast as the reader's trimming allows. */
function writeAll(): void {
  const { directory, positions } = workerData as { directory: string; positions: SharedArrayBuffer };
  const shard = new TestShard(64 * KIB);
  const cells = new BigUint64Array(positions);
  const { store, clock } = openStore(directory, { shards: [shard], positions: cells, segmentSize: 64 * KIB, quotaBytes: 512 * KIB });
  let sent = 0;
  while (sent < MESSAGES || !shard.isDurable) {
    while (sent < MESSAGES && shard.publish({ payload: `${sent}:${"c".repeat(sent % 257)}` })) sent++;
    clock.now += 1000;
    settle(store);
    if (sent % 7 === 0) store.tick();
  }
  store.stop();
}

if (!isMainThread) writeAll();
else {
  t.test("a reader beside the writer sees every entry once, in order, while segments are begun, trimmed and used again", async (t) => {
    const directory = temporaryDirectory();
    t.teardown(directory.remove);
    const positions = new SharedArrayBuffer(POSITION_COUNT * 8);
    const cells = new BigUint64Array(positions);
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { directory: directory.path, positions } });
    const exited = once(worker, "exit");
    worker.once("error", (error) => t.fail(String(error)));
    const findings: ReaderFinding[] = [];
    const reader = new JournalReader({ directory: directory.path, fromLsn: 0, crc32c, verifyBelowLsn: Number.POSITIVE_INFINITY, onFinding: (finding) => findings.push(finding) });
    let expected = 0;
    const deadline = performance.now() + 60_000;
    while (expected < MESSAGES && performance.now() < deadline) {
      while (reader.next(readPosition(cells, POSITION.JOURNAL_DURABLE))) {
        for (const payload of payloadsOf(entriesOf(reader))) {
          if (Number(payload.split(":")[0]) !== expected) throw new Error(`${payload} instead of ${expected}`);
          expected++;
        }
      }
      writePosition(cells, POSITION.LANE_READ, reader.endLsn);
      await new Promise((resolve) => setImmediate(resolve));
    }
    reader.close();
    t.equal(expected, MESSAGES);
    t.strictSame(findings, []);
    await exited;
    t.ok(readPosition(cells, POSITION.JOURNAL_FIRST) > 0, "segments were trimmed meanwhile");
  });

  t.test("a reader goes on from any frame's end", async (t) => {
    const directory = temporaryDirectory();
    t.teardown(directory.remove);
    const { store, shards, positions } = openStore(directory.path, { segmentSize: 4 * KIB });
    for (let i = 0; i < 30; i++) {
      shards[0]!.publish({ payload: `${i}${"-".repeat(300)}` });
      settle(store);
    }
    store.stop();
    const durable = readPosition(positions, POSITION.JOURNAL_DURABLE);
    t.ok(segmentFiles(directory.path).length > 2);
    const reader = new JournalReader({ directory: directory.path, fromLsn: 0, crc32c, verifyBelowLsn: 0, onFinding: (finding) => t.fail(finding.text) });
    let count = 0;
    while (reader.next(durable)) {
      count += payloadsOf(entriesOf(reader)).length;
      const rest = payloadsOf(readEntries(directory.path, durable, { fromLsn: reader.endLsn }));
      if (rest.length !== 30 - count) t.fail(`from ${reader.endLsn}: ${rest.length} instead of ${30 - count}`);
    }
    t.equal(count, 30);
    t.equal(reader.endLsn, durable);
    t.notOk(reader.next(durable));
    reader.close();
  });

  t.test("a reader never looks behind the durable position", async (t) => {
    const directory = temporaryDirectory();
    t.teardown(directory.remove);
    const { store, shards, positions } = openStore(directory.path);
    const ends: number[] = [];
    for (let i = 0; i < 5; i++) {
      shards[0]!.publish({ payload: String(i) });
      settle(store);
      ends.push(readPosition(positions, POSITION.JOURNAL_DURABLE));
    }
    store.stop();
    let furthest = 0;
    const files = {
      ...nodeFiles,
      read: (fd: number, bytes: Uint8Array, at: number, length: number, position: number): number => {
        furthest = Math.max(furthest, position + length);
        return nodeFiles.read(fd, bytes, at, length, position);
      },
    };
    for (const [index, end] of ends.entries()) {
      furthest = 0;
      t.equal(payloadsOf(readEntries(directory.path, end, { files })).length, index + 1);
      t.ok(furthest <= end, "the first segment starts at LSN 0");
    }
  });

  t.test("a segment that is read to its end, trimmed and overwritten while a reader has it open is not taken for damaged, and nothing is passed over", async (t) => {
    // One of these stops is the end of a segment.
    for (let stop = 1; stop <= 12; stop++) {
      const directory = temporaryDirectory();
      t.teardown(directory.remove);
      const { store, shards, positions } = openStore(directory.path, { segmentSize: 8 * KIB });
      const findings: ReaderFinding[] = [];
      const reader = new JournalReader({ directory: directory.path, fromLsn: 0, crc32c, verifyBelowLsn: 0, onFinding: (finding) => findings.push(finding) });
      const read: string[] = [];
      const readAll = (): void => {
        while (reader.next(readPosition(positions, POSITION.JOURNAL_DURABLE))) read.push(...payloadsOf(entriesOf(reader)).map((payload) => payload.replace(/-+$/, "")));
        writePosition(positions, POSITION.LANE_READ, reader.endLsn);
      };
      for (let i = 0; i < stop + 20; i++) {
        // Sizes differ, so that frames of one segment do not stand where those of another did.
        shards[0]!.publish({ payload: `${i}${"-".repeat(1000 + ((i * 40) % 300))}` });
        settle(store);
        if (i === stop - 1) readAll();
        store.tick();
      }
      readAll();
      reader.close();
      store.stop();
      t.strictSame(findings, [], `stopped after ${stop}`);
      t.strictSame(read.map(Number), Array.from({ length: stop + 20 }, (_, i) => i));
    }
  });

  t.test("a reader whose start was trimmed goes on at the first entry that is left and says what it missed", async (t) => {
    const directory = temporaryDirectory();
    t.teardown(directory.remove);
    const { store, shards, positions } = openStore(directory.path, { segmentSize: 4 * KIB });
    for (let i = 0; i < 30; i++) {
      shards[0]!.publish({ payload: `${i}${"-".repeat(300)}` });
      settle(store);
    }
    store.stop();
    const names = segmentFiles(directory.path);
    for (const name of names.slice(0, 2)) rmSync(join(directory.path, name));
    const left = Number(names[2]!.slice(0, 20));
    const findings: ReaderFinding[] = [];
    const entries = readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE), { fromLsn: 100, findings });
    t.ok(payloadsOf(entries).length > 0 && entries[0]!.frameLsn > left);
    t.match(findings, [{ what: "missing", fromLsn: 100, toLsn: left }]);
  });

  t.test("damage that comes about while the gateway runs costs the frame it hits", async (t) => {
    const directory = temporaryDirectory();
    t.teardown(directory.remove);
    const { store, shards, positions } = openStore(directory.path);
    for (let i = 0; i < 5; i++) {
      shards[0]!.publish({ payload: String(i) });
      settle(store);
    }
    store.stop();
    const durable = readPosition(positions, POSITION.JOURNAL_DURABLE);
    const path = join(directory.path, segmentFiles(directory.path)[0]!);
    const whole = readFileSync(path);
    const frames = [...new Set(readEntries(directory.path, durable).map((entry) => entry.frameLsn))];
    for (const at of [frames[1]!, frames[1]! + 9, frames[1]! + 60]) {
      const bytes = Buffer.from(whole);
      bytes[at]! ^= 0x40;
      writeFileSync(path, bytes);
      const findings: ReaderFinding[] = [];
      t.strictSame(payloadsOf(readEntries(directory.path, durable, { findings })), ["0", "2", "3", "4"]);
      t.match(findings, [{ what: "damaged", fromLsn: frames[1]!, toLsn: frames[2]! }]);
    }
  });

  t.test("an entry larger than the reader's window is read whole", async (t) => {
    const directory = temporaryDirectory();
    t.teardown(directory.remove);
    const shard = new TestShard(4096 * KIB);
    const { store, positions } = openStore(directory.path, { shards: [shard] });
    const payloads = ["small", "l".repeat(1_500_000), "small again", "m".repeat(600_000)];
    for (const payload of payloads) t.ok(shard.publish({ payload }));
    settle(store);
    store.stop();
    t.strictSame(payloadsOf(readEntries(directory.path, readPosition(positions, POSITION.JOURNAL_DURABLE))), payloads);
  });
}
