// kill -9 at random moments while QoS 1 and QoS 2 messages are published: every acknowledged message is in history, those of QoS 2 exactly
// once. PENSTOCK_CRASH_ROUNDS sets the number of kills (CI runs few, a soak hundreds); PENSTOCK_SEED repeats a run.
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import t, { type Test } from "tap";
import { RunningGateway } from "./gateway.js";
import { StubbornPublisher } from "./publisher.js";

const ROUNDS = Number(process.env["PENSTOCK_CRASH_ROUNDS"] ?? 6);
const SEED = Number(process.env["PENSTOCK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));

/** Mulberry32: small, seeded, good enough to choose moments. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Sequence number -> how often it is in history. REQUIRES: the gateway has ended. */
async function storedCounts(gateway: RunningGateway, device: string): Promise<Map<number, number>> {
  const instance = await DuckDBInstance.create(join(gateway.directory, "data", "history.duckdb"));
  const connection = await instance.connect();
  const result = await connection.runAndReadAll(
    `SELECT r.value AS n, count(*)::INTEGER AS c FROM rows r JOIN series s ON s.id = r.series WHERE s.device = '${device}' AND s.name = 'n' GROUP BY r.value`,
  );
  const counts = new Map(result.getRows().map(([n, c]) => [n as number, c as number]));
  connection.closeSync();
  instance.closeSync();
  return counts;
}

/** Kills the gateway `ROUNDS` times under load, lets everything be acknowledged, stops it in order. */
async function crashRounds(t: Test, gateway: RunningGateway, publishers: readonly StubbornPublisher[]): Promise<void> {
  const random = randomFrom(SEED);
  const acknowledged = (): number => publishers.reduce((sum, publisher) => sum + publisher.acknowledged.size, 0);
  for (let round = 0; round < ROUNDS; round++) {
    const runs = publishers.map((publisher) => publisher.run(gateway.mqttPort));
    const wanted = acknowledged() + 1 + Math.floor(random() ** 2 * 4000);
    await gateway.until("more is acknowledged", () => Promise.resolve(acknowledged() >= wanted ? true : undefined), 30_000);
    t.same(await gateway.kill(), { code: null, signal: "SIGKILL" });
    await Promise.all(runs);
    await gateway.restart();
  }
  for (const publisher of publishers) publisher.limit = publisher.next;
  const runs = publishers.map((publisher) => publisher.run(gateway.mqttPort));
  await gateway.until("everything is acknowledged", () => Promise.resolve(publishers.every((publisher) => publisher.unacknowledged === 0) ? true : undefined), 30_000);
  for (const publisher of publishers) publisher.cut();
  await Promise.all(runs);
  t.same(await gateway.stop(), { code: 0, signal: null });
}

for (const shards of [1, 2]) {
  void t.test(`kill -9 in ${ROUNDS} rounds on ${shards} shards, seed ${SEED}`, { timeout: 60_000 + ROUNDS * 30_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards });
    t.teardown(() => gateway.remove());
    const publishers = [1, 2, 3, 4, 5, 6].map((i) => new StubbornPublisher(`crash-${i}`, i % 2 === 0 ? 2 : 1, 40));
    await crashRounds(t, gateway, publishers);
    for (const publisher of publishers) {
      const counts = await storedCounts(gateway, publisher.clientId);
      const missing = [...publisher.acknowledged].filter((sequence) => !counts.has(sequence));
      t.same(missing, [], `${publisher.clientId}: all of ${publisher.acknowledged.size} acknowledged messages are in history`);
      t.ok(publisher.acknowledged.size > 0);
      if (publisher.qos === 2) t.same([...counts].filter(([, count]) => count !== 1), [], `${publisher.clientId}: none of QoS 2 is there twice`);
    }
  });
}
