// kill -9 at random moments, on real files: what the child said was durable is there afterwards, once and in order.
// (A kill keeps the kernel's page cache; power cuts are simulated in store-faults.test.ts.)
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import t from "tap";
import { KIB } from "../../src/base/limits.js";
import { POSITION, POSITION_COUNT, writePosition } from "../../src/base/positions.js";
import { openStore, payloadsOf, readEntries, seeded, temporaryDirectory } from "./support.js";

const SHARDS = 2;
const CHILD = fileURLToPath(new URL("./kill-child.js", import.meta.url));

/** Lets a child write until it is killed. @returns by shard, the last number it said was durable */
async function runAndKill(directory: string, seed: number, committedLsn: number, first: readonly number[], afterMs: number): Promise<number[]> {
  const child = spawn(process.execPath, [CHILD, directory, String(seed), String(committedLsn), ...first.map(String)], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(child, "exit");
  let text = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (chunk: string) => {
    if (text === "") setTimeout(() => child.kill("SIGKILL"), afterMs);
    text += chunk;
  });
  const [code, signal] = (await exited) as [number | null, string | null];
  if (signal !== "SIGKILL") throw new Error(`the child ended by itself with ${String(code)}`);
  const lines = text.slice(0, text.lastIndexOf("\n")).split("\n");
  return lines.at(-1)!.split(" ").map(Number);
}

t.test("what was reported durable survives kill -9, once and in order, with LSNs that only grow", async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  const seed = Number(process.env["PENSTOCK_TEST_SEED"] ?? Date.now() % 1_000_000);
  const rounds = Number(process.env["PENSTOCK_TEST_ROUNDS"] ?? 12);
  t.comment(`seed ${seed}, rounds ${rounds}`);
  const random = seeded(seed);
  const last = new Array<number>(SHARDS).fill(0);
  let committedLsn = 0;
  let torn = 0;
  for (let round = 0; round < rounds; round++) {
    const durable = await runAndKill(directory.path, seed + round, committedLsn, last.map((number) => number + 1), 5 + random() * 250);
    const positions = new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
    writePosition(positions, POSITION.HISTORY_COMMITTED, committedLsn);
    const { store, log } = openStore(directory.path, { positions, hasHistory: true, segmentSize: 256 * KIB });
    const readyLsn = store.ready().durableLsn;
    t.ok(readyLsn > committedLsn, "LSNs grow");
    for (const payload of payloadsOf(readEntries(directory.path, readyLsn, { fromLsn: committedLsn }))) {
      const [shard, number] = payload.split(":").map(Number);
      if (number !== last[shard!]! + 1) t.fail(`round ${round}: shard ${shard!} has ${String(number)} after ${last[shard!]!}`);
      last[shard!] = number!;
    }
    for (let shard = 0; shard < SHARDS; shard++) t.ok(last[shard]! >= durable[shard]!, `round ${round}: shard ${shard} reported ${durable[shard]!}, the journal has ${last[shard]!}`);
    t.strictSame(log.texts("error"), []);
    torn += log.texts("warn").length;
    committedLsn = readyLsn;
    store.stop();
  }
  t.comment(`${torn} torn ends, ${last.join(" + ")} messages`);
});
