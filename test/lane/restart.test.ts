import t from "tap";
import { COUNTER_BLOCK_COUNT, HISTORY_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import { MIB } from "../../src/base/limits.js";
import type { LaneStart } from "../../src/base/messages.js";
import { POSITION, readPosition } from "../../src/base/positions.js";
import { Lane } from "../../src/lane/lane.js";
import { JournalReader } from "../../src/storage/journal/reader.js";
import { messageBytes, newSeed, seeded } from "../pipeline/support.js";
import { SharedPlace, until } from "../storage/history/support.js";
import { crc32c, openStore, settle, TestShard } from "../storage/support.js";

const LANES = 3;
const DEVICES = 20;
const MESSAGES = 40_000;
const T0 = 1_767_225_600_000;

t.test("lanes of uneven speed that are started again at any moment leave nothing twice and nothing out", { timeout: 90_000 }, async (t) => {
  const seed = newSeed();
  t.comment(`TEST_SEED=${seed}`);
  const random = seeded(seed);
  const place = new SharedPlace(LANES);
  t.teardown(() => place.remove());
  const shard = new TestShard(8 * MIB);
  const directory = `${place.directory.path}/journal`;
  const { store } = openStore(directory, { shards: [shard], positions: place.positions });
  const history = await place.open();

  const newLane = (lane: number): Lane => new Lane({
    start: {
      role: "lane", lane, lanes: LANES, journalDirectory: directory, fromShards: [], toHistory: place.rings[lane]!, fromLsn: 0, quarantined: [],
      statistics: { window: 60, warmUp: 10, threshold: 3 }, seriesMax: 10_000, logLevel: "info", counters: new SharedArrayBuffer(COUNTER_BLOCK_COUNT * 8), positions: place.positions.buffer,
    } as unknown as LaneStart,
    openJournal: (fromLsn) => new JournalReader({ directory, fromLsn, crc32c, verifyBelowLsn: 0, onFinding: (finding) => t.fail(finding.text) }),
    clock: place.clock, log: place.log, wakeHistory: () => history.wake(),
  });
  const lanes = Array.from({ length: LANES }, (_, lane) => newLane(lane));

  let sent = 0;
  let restarts = 0;
  const step = (): void => {
    if (sent < MESSAGES && random() < 0.3) {
      for (let n = Math.floor(random() * 4000); n > 0 && sent < MESSAGES; n--, sent++) {
        if (!shard.put(ENTRY.PUBLISH, messageBytes(`d${sent % DEVICES}`, `{"ts":${T0 + Math.floor(sent / DEVICES)},"n":${sent}}`, 1))) break;
      }
      settle(store);
    }
    const lane = Math.floor(random() * random() * LANES);
    if (random() < 0.3) {
      // It dies, in the middle of a frame as often as not: what it had not published never was.
      lanes[lane]!.close();
      lanes[lane] = newLane(lane);
      restarts++;
    }
    lanes[lane]!.turn();
  };
  const deadline = performance.now() + 80_000;
  const isAll = (): boolean => sent === MESSAGES && place.committedLsn === readPosition(place.positions, POSITION.JOURNAL_DURABLE);
  while (!isAll() && performance.now() < deadline) {
    for (let n = Math.floor(random() * 20); n >= 0; n--) step();
    history.wake();
    await new Promise<void>((resolve) => {
      setTimeout(resolve, random() < 0.5 ? 0 : 5);
    });
  }
  t.ok(isAll(), `${sent} messages, ${restarts} restarts`);
  t.ok(restarts > 5, `${restarts} restarts`);
  await until("counted", () => place.counters[HISTORY_COUNTER.ROWS]! >= MESSAGES);
  t.equal(place.counters[HISTORY_COUNTER.ROWS], MESSAGES);
  let wrong = 0;
  for (let device = 0; device < DEVICES; device++) {
    const points = (await history.answer({ type: "series", device: `d${device}`, name: "n", from: T0, to: T0 + MESSAGES / DEVICES, stepMs: 1 })) as { time: number; mean: number; count: number }[];
    if (points.length !== MESSAGES / DEVICES) wrong++;
    for (const { time, mean, count } of points) if (count !== 1 || mean !== (time - T0) * DEVICES + device) wrong++;
  }
  t.equal(wrong, 0, "each value once");
  for (const lane of lanes) lane.close();
  store.stop();
});
