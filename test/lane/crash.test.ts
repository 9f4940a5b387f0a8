import { spawn } from "node:child_process";
import t from "tap";
import { POSITION, readPosition } from "../../src/base/positions.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { MIB } from "../../src/base/limits.js";
import { messageBytes, newSeed, seeded } from "../pipeline/support.js";
import { openStore, settle, temporaryDirectory, TestShard } from "../storage/support.js";
import { SharedPlace } from "../storage/history/support.js";

const CHILD = new URL("./crash-child.js", import.meta.url).pathname;
const MESSAGES = 60_000;
const DEVICES = 50;
const ROUNDS_MAX = 10;
const T0 = 1_767_225_600_000;

/** Runs the child until it is done, or for so long after it has committed so often. @returns whether it was done, and the last position it told */
function run(directory: string, lanes: number, durable: number, killAfterMs: number, commits: number): Promise<{ isDone: boolean; committed: number; errors: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CHILD, directory, String(lanes), String(durable)], { stdio: ["ignore", "pipe", "pipe"] });
    let committed = -1;
    let errors = "";
    let said = 0;
    let timer: NodeJS.Timeout | undefined;
    child.stdout.on("data", (chunk: Buffer) => {
      const lines = chunk.toString("utf8").trim().split("\n");
      committed = Number(lines.at(-1)!.split(" ")[1]);
      // The first line says where it began.
      said += lines.length;
      if (said > commits) timer ??= setTimeout(() => child.kill("SIGKILL"), killAfterMs);
    });
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk.toString("utf8");
    });
    const deadline = setTimeout(() => child.kill("SIGKILL"), 60_000);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      clearTimeout(deadline);
      resolve({ isDone: code === 0, committed, errors });
    });
  });
}

for (const lanes of [1, 3]) {
  t.test(`after kill -9 at any moment each journal entry is in history exactly once (${lanes} lanes)`, { timeout: 110_000 }, async (t) => {
    const seed = newSeed();
    t.comment(`TEST_SEED=${seed}`);
    const random = seeded(seed);
    const directory = temporaryDirectory();
    t.teardown(directory.remove);
    const shard = new TestShard(8 * MIB);
    const { store, positions } = openStore(directory.path, { shards: [shard] });
    for (let n = 0; n < MESSAGES; n++) {
      const time = T0 + Math.floor(n / DEVICES);
      const extra = n % 10_000 === 17 ? ',"note":"seen"' : "";
      const payload = n % 20_000 === 5 ? `{broken ${n}` : `{"ts":${time},"n":${n}${extra}}`;
      if (!shard.put(ENTRY.PUBLISH, messageBytes(`device-${n % DEVICES}`, payload, 1))) throw new Error("the ring is full");
      // Frames of all sizes.
      if (random() < 0.01) settle(store);
    }
    settle(store);
    const durable = readPosition(positions, POSITION.JOURNAL_DURABLE);
    store.stop();

    let kills = 0;
    let isDone = false;
    const told: number[] = [];
    for (let round = 0; round < ROUNDS_MAX && !isDone; round++) {
      const result = await run(directory.path, lanes, durable, round === ROUNDS_MAX - 1 ? 60_000 : random() * 60, round % 3 === 2 ? 1 : 0);
      t.equal(result.errors, "");
      isDone = result.isDone;
      if (!isDone) kills++;
      told.push(result.committed);
    }
    t.ok(isDone, `done after ${kills} kills, positions ${told.join(" ")}`);
    t.ok(kills > 0, `${kills} kills`);
    t.ok(told.every((committed, index) => index === 0 || committed < 0 || committed >= Math.max(...told.slice(0, index))), "the position never goes back");

    const place = new SharedPlace(0);
    t.teardown(() => place.remove());
    const history = await place.open({ path: `${directory.path}/history.duckdb` });
    t.equal(history.committed, durable);
    let wrong = 0;
    for (let device = 0; device < DEVICES; device++) {
      const points = (await history.answer({ type: "series", device: `device-${device}`, name: "n", from: T0, to: T0 + 10_000, stepMs: 1 })) as { time: number; min: number; count: number }[];
      const values = new Map(points.map((point) => [point.min, point.count]));
      let count = 0;
      for (let n = device; n < MESSAGES; n += DEVICES) {
        const expected = n % 20_000 === 5 ? undefined : 1;
        if (values.get(n) !== expected) wrong++;
        if (expected === 1) count++;
      }
      if (points.length !== count) wrong++;
    }
    t.equal(wrong, 0, "each value once");
    const events = (await history.answer({ type: "events", limit: 1000 })) as { kind: string; text: string }[];
    t.same(events.filter((event) => event.kind === "decode").map((event) => /broken (\d+)/.exec(event.text)?.[1]).sort(), ["20005", "40005", "5"]);
    for (const n of [17, 10_017, 20_017, 30_017, 40_017, 50_017]) {
      const last = (await history.answer({ type: "storedLast", device: `device-${n % DEVICES}`, name: "note" })) as { value: string } | null;
      t.equal(last?.value, "seen");
    }
    const devices = (await history.answer({ type: "devices", limit: 1000, after: "" })) as { series: string[] }[];
    t.equal(devices.length, DEVICES);
    t.ok(devices.every(({ series }) => new Set(series).size === series.length), "no series is there twice");
  });
}
