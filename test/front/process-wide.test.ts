// The addon's functions without a thread of their own: the data directory's lock, CRC-32C, the OpenSSL it runs with.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import t from "tap";
import { native } from "../../src/reactor/reactor.js";

const HOLDER = new URL("./lock-holder.js", import.meta.url);
const directory = mkdtempSync(join(tmpdir(), "penstock-lock-"));
t.teardown(() => rmSync(directory, { recursive: true }));

void t.test("a lock held by another process is refused, and free once that process was killed", async (t) => {
  const path = join(directory, "killed");
  const child = spawn(process.execPath, [HOLDER.pathname, path], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ended = once(child, "exit");
  t.strictSame(await once(child, "message"), [true, undefined]);
  t.equal(native().lock(path), false);
  child.kill("SIGKILL");
  await ended;
  t.equal(native().lock(path), true);
  native().unlock();
});

void t.test("a lock is the process's: another process, another worker and a second call do not get it, reading the file does not lose it", async (t) => {
  const path = join(directory, "own");
  t.equal(native().lock(path), true);
  t.equal(native().lock(path), false);
  readFileSync(path);
  const worker = new Worker(HOLDER, { workerData: path });
  t.equal((await once(worker, "message"))[0], false);
  await once(worker, "exit");
  const child = spawn(process.execPath, [HOLDER.pathname, path], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ended = once(child, "exit");
  t.equal((await once(child, "message"))[0], false);
  child.disconnect();
  await ended;
  native().unlock();
  native().unlock();
  t.equal(native().lock(path), true);
  native().unlock();
});

void t.test("a lock that cannot be made says why", (t) => {
  t.throws(() => native().lock(join(directory, "none", "lock")), /ENOENT: No such file or directory/);
  t.throws(() => native().lock(directory), /EISDIR/);
  t.throws(() => native().lock(7 as unknown as string), /lock takes a path/);
  t.end();
});

void t.test("crc32c gives the known values, of ordinary and of shared memory", (t) => {
  const addon = native();
  const check = Buffer.from("..123456789..");
  t.equal(addon.crc32c(check, 2, 9), 0xe3069283);
  const shared = new Uint8Array(new SharedArrayBuffer(64));
  t.equal(addon.crc32c(shared, 0, 32), 0x8a9136aa); // RFC 3720 appendix B.4
  shared.fill(0xff, 32);
  t.equal(addon.crc32c(shared, 32, 32), 0x62a8ab43);
  t.equal(addon.crc32c(shared, 64, 0), 0);
  t.end();
});

void t.test("crc32c refuses what lies outside its bytes", (t) => {
  const bytes = new Uint8Array(10);
  t.throws(() => native().crc32c(bytes, 0, 11), RangeError);
  t.throws(() => native().crc32c(bytes, 11, 0), RangeError);
  t.throws(() => native().crc32c(bytes, 5, 0xffff_ffff), RangeError);
  t.throws(() => native().crc32c([1] as unknown as Uint8Array, 0, 1), RangeError);
  t.end();
});

void t.test("the addon runs with the OpenSSL of this Node.js", (t) => {
  t.equal(native().openssl, process.versions.openssl.split("+")[0]);
  t.end();
});
