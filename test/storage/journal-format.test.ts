// The format page's worked example is what the code writes; headers survive the round trip and nothing else is taken for one.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { POSITION, readPosition } from "../../src/base/positions.js";
import {
  FRAME_HEADER_SIZE, FRAME_LENGTH_MAX, FRAME_MAGIC, FrameHeader, firstLsnOf, readLsn, readSegmentHeader, SEGMENT_HEADER_SIZE, segmentName, VOID_MAGIC, writeFrameHeader, writeLsn,
  writeSegmentHeader,
} from "../../src/storage/journal/format.js";
import { crc32c, openStore, readEntries, segmentFiles, settle, temporaryDirectory } from "./support.js";

const PAGE = fileURLToPath(new URL("../../../docs/journal-format.md", import.meta.url));

/** The bytes of the page's hex dump: lines of `offset  16 bytes  | what`. */
function bytesOfPage(): Buffer {
  const dump = /```hex\n([\s\S]*?)```/.exec(readFileSync(PAGE, "utf8"));
  if (dump === null) throw new Error("the page has no worked example");
  const lines = dump[1]!.trimEnd().split("\n");
  return Buffer.concat(lines.map((line) => Buffer.from(line.slice(4).split("|")[0]!.replaceAll(" ", ""), "hex")));
}

t.test("the worked example of docs/journal-format.md is what the store writes", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const { store, shards, positions } = openStore(directory.path);
  shards[0]!.publish({ topic: "a/b", clientId: "c1", payload: "21.5", lane: false });
  shards[0]!.release("c1", 7);
  settle(store);
  store.stop();
  const written = readFileSync(join(directory.path, segmentFiles(directory.path)[0]!));
  t.equal(written.toString("hex"), bytesOfPage().toString("hex"));
  t.equal(written.length, readPosition(positions, POSITION.JOURNAL_DURABLE));
  t.strictSame(readEntries(directory.path, written.length).map((entry) => entry.kind), [1, 2]);
});

t.test("the checksum of the tests is CRC-32C", async (t) => {
  // RFC 3720 §B.4.
  t.equal(crc32c(Buffer.alloc(32), 0, 32), 0x8a9136aa);
  t.equal(crc32c(Buffer.alloc(32, 0xff), 0, 32), 0x62a8ab43);
});

t.test("LSNs up to 2^53 and file names survive the round trip; other names are none", async (t) => {
  const view = new DataView(new ArrayBuffer(8));
  for (const lsn of [0, 8, 0xffff_fff8, 0x1_0000_0000, 2 ** 49 + 8, 2 ** 53 - 8]) {
    writeLsn(view, 0, lsn);
    t.equal(readLsn(view, 0), lsn);
  }
  t.equal(firstLsnOf(segmentName(123_456)), 123_456);
  for (const name of ["1.journal", "0000000000000000000a.journal", "00000000000000000001.journal.bad", "00000000000000000001", "99999999999999999999.journal"]) t.equal(firstLsnOf(name), -1, name);
});

t.test("a segment header with any bit turned is refused", async (t) => {
  const bytes = Buffer.alloc(SEGMENT_HEADER_SIZE);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  writeSegmentHeader(bytes, view, 0, { firstLsn: 2 ** 40, followsLsn: 2 ** 40 - 64, createdAt: 1_700_000_000_000.5 }, crc32c);
  t.strictSame(readSegmentHeader(bytes, view, 0, crc32c), { version: 2, firstLsn: 2 ** 40, followsLsn: 2 ** 40 - 64, createdAt: 1_700_000_000_000.5 });
  for (let bit = 0; bit < SEGMENT_HEADER_SIZE * 8; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    if (readSegmentHeader(bytes, view, 0, crc32c) !== null) t.fail(`bit ${bit}`);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  t.equal(readSegmentHeader(bytes.subarray(0, 63), view, 0, crc32c), null);
});

t.test("a frame is one only at its own LSN, with a sane length and a right CRC", async (t) => {
  const bytes = Buffer.alloc(FRAME_HEADER_SIZE + 64, 5);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const header = new FrameHeader();
  for (const magic of [FRAME_MAGIC, VOID_MAGIC]) {
    writeFrameHeader(bytes, view, 0, magic, 64, 3, 4096, 1234.5, 2, 40, crc32c);
    header.read(view, 0);
    t.match(header, { magic, length: 64, entryCount: 3, lsn: 4096, time: 1234.5, laneEntryCount: 2, commitOffset: 40 });
    t.ok(header.isPlausibleAt(4096));
    t.ok(header.isIntact(bytes, 0, crc32c));
    t.notOk(header.isPlausibleAt(4104));
    const covered = magic === FRAME_MAGIC ? bytes.length : FRAME_HEADER_SIZE;
    for (let bit = 0; bit < covered * 8; bit++) {
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      header.read(view, 0);
      if (header.isPlausibleAt(4096) && header.length <= 64 && header.isIntact(bytes, 0, crc32c)) t.fail(`bit ${bit}`);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
    }
  }
  for (const length of [FRAME_LENGTH_MAX + 8, 12]) {
    view.setUint32(8, length, true);
    header.read(view, 0);
    t.notOk(header.isPlausibleAt(4096));
  }
});
