// Recovery over real files: torn ends at every byte, damage in the middle, missing and foreign files.
import { appendFileSync, chmodSync, copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { StartError } from "../../src/base/errors.js";
import { KIB } from "../../src/base/limits.js";
import { POSITION, readPosition, writePosition } from "../../src/base/positions.js";
import { nodeFiles } from "../../src/storage/journal/files.js";
import { FORMAT_VERSION, FRAME_HEADER_SIZE, FrameHeader, SEGMENT_HEADER_SIZE } from "../../src/storage/journal/format.js";
import type { ReaderFinding } from "../../src/storage/journal/reader.js";
import { crc32c, openStore, payloadsOf, readEntries, segmentFiles, settle, temporaryDirectory, type StoreBench } from "./support.js";

/** Writes `count` messages, one commit each, and stops. @returns durable position */
function write(directory: string, count: number, options: Parameters<typeof openStore>[1] = {}, size = 0): number {
  const { store, shards, positions } = openStore(directory, options);
  for (let i = 0; i < count; i++) {
    shards[0]!.publish({ payload: `${i}${"-".repeat(size)}` });
    settle(store);
  }
  store.stop();
  return readPosition(positions, POSITION.JOURNAL_DURABLE);
}

/** Where each frame of a segment file starts. */
function framesOf(path: string): number[] {
  const bytes = readFileSync(path);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const header = new FrameHeader();
  const frames: number[] = [];
  for (let at = SEGMENT_HEADER_SIZE; at + FRAME_HEADER_SIZE <= bytes.length; at += FRAME_HEADER_SIZE + header.length) {
    header.read(view, at);
    frames.push(at);
  }
  return frames;
}

function recover(directory: string, findings: ReaderFinding[] = []): { readonly bench: StoreBench; readonly payloads: string[] } {
  const bench = openStore(directory);
  const payloads = payloadsOf(readEntries(directory, bench.store.ready().durableLsn, { findings })).map((text) => text.replace(/-+$/, ""));
  bench.store.stop();
  return { bench, payloads };
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at]! ^= 0xff;
  writeFileSync(path, bytes);
}

const five = ["0", "1", "2", "3", "4"];

t.test("the last frame cut at every byte: the frames before it are kept, the rest is cut, and the log goes on behind it", async (t) => {
  const source = temporaryDirectory();
  const target = temporaryDirectory();
  t.teardown(source.remove);
  t.teardown(target.remove);
  write(source.path, 3);
  const name = segmentFiles(source.path)[0]!;
  const whole = readFileSync(join(source.path, name));
  const lastAt = framesOf(join(source.path, name)).at(-1)!;
  for (let size = lastAt; size < whole.length; size++) {
    for (const isZeroFilled of [false, true]) {
      rmSync(target.path, { recursive: true });
      mkdirSync(target.path);
      const cut = Buffer.from(whole.subarray(0, isZeroFilled ? whole.length : size));
      if (isZeroFilled) cut.fill(0, size);
      writeFileSync(join(target.path, name), cut);
      const { bench, payloads } = recover(target.path);
      const isWhole = isZeroFilled && whole.subarray(size).every((byte) => byte === 0);
      if (payloads.length !== (isWhole ? 3 : 2)) t.fail(`cut at ${size}: ${payloads.join()}`);
      // A frame was begun there as far as can be told: magic and LSN stand.
      const isBegun = cut.length - lastAt >= FRAME_HEADER_SIZE && [0, 16].every((at) => cut.subarray(lastAt + at, lastAt + at + 4).equals(whole.subarray(lastAt + at, lastAt + at + 4)));
      const expectWarning = isBegun && !isWhole;
      const warnings = bench.log.texts("warn").filter((text) => text.includes("torn end"));
      if ((warnings.length === 1) !== expectWarning) t.fail(`cut at ${size}: ${JSON.stringify(bench.log.lines)}`);
      if (bench.log.texts("error").length > 0) t.fail(`cut at ${size}: ${bench.log.texts("error").join()}`);
      const next = Number(segmentFiles(target.path).at(-1)!.slice(0, 20));
      if (next < cut.length) t.fail(`cut at ${size}: LSN ${next} is used again`);
    }
  }
  t.pass("no cut lost a frame or kept a torn one");
});

t.test("damage in the last segment with later commits behind it loses one frame only", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  write(directory.path, 5);
  const name = segmentFiles(directory.path)[0]!;
  const frames = framesOf(join(directory.path, name));
  const original = readFileSync(join(directory.path, name));
  flip(join(directory.path, name), frames[2]! + FRAME_HEADER_SIZE + 20);
  const findings: ReaderFinding[] = [];
  const { bench, payloads } = recover(directory.path, findings);
  t.strictSame(payloads, ["0", "1", "3", "4"]);
  t.match(bench.log.texts("error").join(), new RegExp(`${name} is damaged.*${name}.bad`));
  t.match(findings, [{ what: "damaged" }]);
  const aside = readFileSync(join(directory.path, `${name}.bad`));
  t.equal(aside.length, original.length, "the damaged file as it was is kept");
  t.equal(aside[frames[2]! + FRAME_HEADER_SIZE + 20], original[frames[2]! + FRAME_HEADER_SIZE + 20]! ^ 0xff);
  const again = recover(directory.path);
  t.strictSame(again.payloads, ["0", "1", "3", "4"], "and it stays mended");
  t.strictSame(again.bench.log.texts("error"), []);
});

t.test("damage at every 8th byte of a middle segment: only the frame that was hit is lost", async (t) => {
  const source = temporaryDirectory();
  const target = temporaryDirectory();
  t.teardown(source.remove);
  t.teardown(target.remove);
  write(source.path, 3);
  write(source.path, 2);
  const names = segmentFiles(source.path);
  t.equal(names.length, 2);
  const frames = framesOf(join(source.path, names[0]!));
  const size = readFileSync(join(source.path, names[0]!)).length;
  for (let at = 0; at < size; at += 8) {
    rmSync(target.path, { recursive: true });
    mkdirSync(target.path);
    for (const name of names) copyFileSync(join(source.path, name), join(target.path, name));
    flip(join(target.path, names[0]!), at);
    const { bench, payloads } = recover(target.path);
    const hit = frames.findLastIndex((frame) => frame <= at);
    // -1 is the segment's header.
    const expected = ["0", "1", "2"].filter((text) => Number(text) !== hit).concat(["0", "1"]);
    if (payloads.join() !== expected.join()) t.fail(`hit at ${at}: ${payloads.join()} instead of ${expected.join()}`);
    if (!bench.log.texts("error").some((text) => text.includes("is damaged"))) t.fail(`hit at ${at}: nobody was told`);
    if (!readdirSync(target.path).includes(`${names[0]!}.bad`)) t.fail(`hit at ${at}: no copy`);
  }
  t.pass("each hit cost one frame");
});

t.test("a middle segment that is cut short: what is left is read, what is missing is named", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  write(directory.path, 3);
  write(directory.path, 2);
  const name = segmentFiles(directory.path)[0]!;
  const frames = framesOf(join(directory.path, name));
  const size = readFileSync(join(directory.path, name)).length;
  truncateSync(join(directory.path, name), frames[2]! + 12);
  const findings: ReaderFinding[] = [];
  const { bench, payloads } = recover(directory.path, findings);
  t.strictSame(payloads, ["0", "1", "0", "1"]);
  t.match(bench.log.texts("error").join("\n"), /bytes are missing in front of/);
  t.match(findings, [{ what: "missing", fromLsn: frames[2]!, toLsn: size }]);
});

t.test("a missing middle segment is named, and the others are read", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  for (let round = 0; round < 3; round++) write(directory.path, round + 1);
  const names = segmentFiles(directory.path);
  rmSync(join(directory.path, names[1]!));
  const findings: ReaderFinding[] = [];
  const { bench, payloads } = recover(directory.path, findings);
  t.strictSame(payloads, ["0", "0", "1", "2"]);
  t.match(bench.log.texts("error").join(), /missing in front of .* a segment file is gone/);
  t.equal(findings.length, 1);
});

t.test("files that are no segments: empty, zeros, foreign names, text under a segment's name", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const durable = write(directory.path, 5);
  const name = (lsn: number): string => `${String(lsn).padStart(20, "0")}.journal`;
  const at = Math.ceil(durable / 8) * 8;
  writeFileSync(join(directory.path, name(at + 800)), "");
  writeFileSync(join(directory.path, name(at + 1600)), Buffer.alloc(5000));
  writeFileSync(join(directory.path, name(at + 8000)), "no journal at all\n".repeat(20));
  writeFileSync(join(directory.path, "README"), "hello");
  writeFileSync(join(directory.path, "99999999999999999999.journal"), "beyond all numbers");
  mkdirSync(join(directory.path, "lost+found"));
  const { bench, payloads } = recover(directory.path);
  t.strictSame(payloads, five);
  t.match(bench.log.texts("info").join(), /is empty/);
  t.match(bench.log.texts("warn").join(), new RegExp(`put ${name(at + 1600)} aside`));
  t.match(bench.log.texts("warn").join(), new RegExp(`put ${name(at + 8000)} aside`));
  t.match(bench.log.texts("warn").join(), /left alone .*99999999999999999999.journal, README/);
  const files = readdirSync(directory.path);
  t.ok(files.includes("README") && files.includes(`${name(at + 1600)}.bad`) && !files.includes(name(at + 800)));
  t.ok(Number(segmentFiles(directory.path).findLast((file) => !file.startsWith("9"))!.slice(0, 20)) >= at + 8000, "their LSNs are not used");
  t.strictSame(recover(directory.path).payloads, five);
});

t.test("all files gone: the log goes on behind what consumers have seen", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const durable = write(directory.path, 5);
  for (const name of segmentFiles(directory.path)) rmSync(join(directory.path, name));
  const bench = openStore(directory.path);
  bench.store.stop();
  const positions = new BigUint64Array(bench.positions.length);
  for (const name of segmentFiles(directory.path)) rmSync(join(directory.path, name));
  writePosition(positions, POSITION.HISTORY_COMMITTED, durable);
  const seen = openStore(directory.path, { positions });
  t.ok(seen.store.ready().durableLsn > durable);
  t.ok(seen.store.ready().firstLsn >= durable);
  seen.store.stop();
});

t.test("a journal of a newer version stops the start and is left as it is", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  write(directory.path, 1);
  const path = join(directory.path, segmentFiles(directory.path)[0]!);
  const bytes = readFileSync(path);
  bytes.writeUInt32LE(FORMAT_VERSION + 1, 8);
  bytes.writeUInt32LE(crc32c(bytes, 0, 60), 60);
  writeFileSync(path, bytes);
  t.throws(() => openStore(directory.path), { code: "DATA_FORMAT" });
  t.ok(readFileSync(path).equals(bytes));
});

t.test("files that may not be used stop the start with what to do", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  write(directory.path, 1);
  const denied = Object.assign(new Error("denied"), { code: "EACCES", path: "the file" });
  const files = {
    ...nodeFiles,
    open: () => {
      throw denied;
    },
  };
  t.throws(() => openStore(directory.path, { files }), StartError);
  t.throws(() => openStore(directory.path, { files }), /EACCES at the file\. Give the gateway's user the right/);
  if (process.getuid?.() !== 0) {
    chmodSync(join(directory.path, segmentFiles(directory.path)[0]!), 0o000);
    t.throws(() => openStore(directory.path), { code: "STORE_FAILED" });
  }
  t.throws(() => openStore(join(directory.path, segmentFiles(directory.path)[0]!)), { code: "STORE_FAILED" }, "a file where the directory should be");
});

t.test("sectors that cannot be read cost the frames in them, not the file", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  write(directory.path, 40, {}, 1000);
  const name = segmentFiles(directory.path)[0]!;
  const badFrom = 12 * KIB;
  const badTo = 16 * KIB;
  const files = {
    ...nodeFiles,
    read: (fd: number, bytes: Uint8Array, at: number, length: number, position: number): number => {
      if (position < badTo && position + length > badFrom) {
        if (position < badFrom) return nodeFiles.read(fd, bytes, at, badFrom - position, position);
        throw Object.assign(new Error("input/output error"), { code: "EIO" });
      }
      return nodeFiles.read(fd, bytes, at, length, position);
    },
  };
  const bench = openStore(directory.path, { files });
  const payloads = payloadsOf(readEntries(directory.path, bench.store.ready().durableLsn)).map((text) => Number(text.replace(/-+$/, "")));
  bench.store.stop();
  t.ok(payloads.length >= 34 && payloads.length < 40, `${payloads.length} of 40 messages`);
  t.equal(payloads.at(-1), 39, "those behind the sectors are there");
  t.match(bench.log.texts("error").join(), new RegExp(`${name} is damaged`));
});

t.test("a segment that a newer one declares void is removed, and bytes behind the newer one's beginning do not count", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  write(directory.path, 3);
  const first = segmentFiles(directory.path)[0]!;
  const whole = readFileSync(join(directory.path, first));
  // The next run saw only two frames (the third came to light later, as after a failed fdatasync).
  truncateSync(join(directory.path, first), framesOf(join(directory.path, first))[2]);
  write(directory.path, 2);
  writeFileSync(join(directory.path, first), whole);
  appendFileSync(join(directory.path, first), "rest of an older segment".repeat(10));
  const second = segmentFiles(directory.path)[1]!;
  const { bench, payloads } = recover(directory.path);
  t.strictSame(payloads, ["0", "1", "0", "1"]);
  t.strictSame(bench.log.texts("error"), []);
  t.ok(segmentFiles(directory.path).includes(second));
});
