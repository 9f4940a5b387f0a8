// The store on a disk that fails and loses power. One consumer stands for history: it commits what it read together with its position, and survives
// everything. Whatever happens, each entry that was reported durable reaches it exactly once, in its shard's order.
import t from "tap";
import { STORE_COUNTER } from "../../src/base/counters.js";
import { KIB } from "../../src/base/limits.js";
import { POSITION, POSITION_COUNT, readPosition, writePosition } from "../../src/base/positions.js";
import { JournalReader, type ReaderFinding } from "../../src/storage/journal/reader.js";
import { crc32c, entriesOf, openStore, payloadsOf, seeded, settle, TestShard, type StoreBench } from "./support.js";
import { SimulatedFiles } from "./simulated-files.js";

const SHARDS = 2;
const DIRECTORY = "/journal";

/** What waits in a ring. */
interface Waiting {
  /** The ring's position behind it. */
  readonly position: number;
  /** The message's number, or 0 for an entry that no consumer reads. */
  readonly number: number;
}

class Rig {
  readonly random: () => number;
  readonly files: SimulatedFiles;
  readonly sent = new Array<number>(SHARDS).fill(0);
  /** Highest number of each shard that was reported durable. */
  readonly acknowledged = new Array<number>(SHARDS).fill(0);
  readonly consumed: number[][] = Array.from({ length: SHARDS }, () => []);
  readonly findings: ReaderFinding[] = [];
  blockedCount = 0;
  private committedLsn = 0;
  private shards: TestShard[] = [];
  private bench: StoreBench | null = null;
  private inRing: Waiting[][] = [];

  constructor(seed: number) {
    this.random = seeded(seed);
    this.files = new SimulatedFiles(this.random);
  }

  /** A process's life: starts, works under faults, and ends by a power cut (or before, by a store that cannot start). */
  live(powerCutAt: number): void {
    this.shards = Array.from({ length: SHARDS }, () => new TestShard(8 * KIB));
    this.inRing = this.shards.map(() => []);
    this.files.faults = { write: 0, sync: 0, other: 0, powerCutAt };
    this.bench = null;
    let positions: BigUint64Array | null = null;
    for (let step = 0; step < 400 && !this.files.isDead; step++) {
      if (this.bench === null || this.random() < 0.005) {
        // Also in the middle of a life: a store worker that takes over from one that died.
        this.bench = this.start(positions);
        if (this.bench === null) continue;
        positions = this.bench.positions;
        this.files.faults = { write: 0.03, sync: 0.03, other: 0.01, powerCutAt };
      }
      this.work(this.bench);
    }
    this.noteAcknowledged();
    this.files.restart();
  }

  /** The last life, on a disk that works: everything that is left is consumed. */
  finish(): void {
    this.shards = Array.from({ length: SHARDS }, () => new TestShard());
    this.inRing = this.shards.map(() => []);
    const bench = this.start(null);
    if (bench === null) throw new Error("the store does not start on a good disk");
    this.consume(bench);
    bench.store.stop();
  }

  private start(positions: BigUint64Array | null): StoreBench | null {
    const cells = positions ?? new BigUint64Array(new SharedArrayBuffer(POSITION_COUNT * 8));
    writePosition(cells, POSITION.HISTORY_COMMITTED, this.committedLsn);
    try {
      return openStore(DIRECTORY, { files: this.files, shards: this.shards, positions: cells, hasHistory: true, segmentSize: 4 * KIB, quotaBytes: 64 * KIB });
    } catch (error) {
      if ((error as { code?: string }).code === "STORE_FAILED") return null;
      throw error;
    }
  }

  private work(bench: StoreBench): void {
    for (let i = Math.floor(this.random() * 6); i > 0; i--) this.send(Math.floor(this.random() * SHARDS));
    bench.clock.now += 2_000 * this.random();
    settle(bench.store);
    if (bench.counters[STORE_COUNTER.BLOCKED] === 1) this.blockedCount++;
    this.noteAcknowledged();
    if (this.random() < 0.3 && !this.files.isDead) this.consume(bench);
    if (this.random() < 0.2) bench.store.tick();
  }

  private send(shard: number): void {
    const ring = this.shards[shard]!;
    const packetId = this.random() < 0.5 ? 1 + Math.floor(this.random() * 20) : 0;
    if (packetId > 0 && this.random() < 0.5) {
      if (ring.release(`client ${shard}`, packetId)) this.inRing[shard]!.push({ position: ring.writer.position(), number: 0 });
      return;
    }
    const number = this.sent[shard]! + 1;
    const payload = `${shard}:${number}:${"p".repeat(Math.floor(this.random() * 900))}`;
    if (!ring.publish({ payload, clientId: `client ${shard}`, qos: packetId > 0 ? 2 : 1, packetId })) return;
    this.sent[shard] = number;
    this.inRing[shard]!.push({ position: ring.writer.position(), number });
  }

  private noteAcknowledged(): void {
    for (let shard = 0; shard < SHARDS; shard++) {
      const durable = this.shards[shard]!.writer.durable();
      const waiting = this.inRing[shard]!;
      while (waiting.length > 0 && ((durable - waiting[0]!.position) | 0) >= 0) {
        const { number } = waiting.shift()!;
        if (number > 0) this.acknowledged[shard] = number;
      }
    }
  }

  private consume(bench: StoreBench): void {
    const faults = this.files.faults;
    this.files.faults = { ...faults, other: 0 };
    const reader = new JournalReader({
      directory: DIRECTORY, fromLsn: this.committedLsn, crc32c, verifyBelowLsn: Number.POSITIVE_INFINITY, onFinding: (finding) => this.note(finding), files: this.files,
    });
    try {
      while (reader.next(readPosition(bench.positions, POSITION.JOURNAL_DURABLE))) {
        for (const payload of payloadsOf(entriesOf(reader))) {
          const [shard, number] = payload.split(":").map(Number);
          this.consumed[shard!]!.push(number!);
        }
        this.committedLsn = reader.endLsn;
      }
      reader.close();
    } catch (error) {
      if (!this.files.isDead) throw error;
    }
    this.files.faults = faults;
    writePosition(bench.positions, POSITION.HISTORY_COMMITTED, this.committedLsn);
  }

  private note(finding: ReaderFinding): void {
    if (!this.files.isDead) this.findings.push(finding);
  }

  /** @returns what is wrong, or an empty text */
  verdict(): string {
    for (let shard = 0; shard < SHARDS; shard++) {
      const numbers = this.consumed[shard]!;
      for (let i = 1; i < numbers.length; i++) if (numbers[i]! <= numbers[i - 1]!) return `shard ${shard}: ${numbers[i]!} after ${numbers[i - 1]!}`;
    }
    if (this.findings.length > 0) return `the reader met ${JSON.stringify(this.findings[0])}`;
    return "";
  }

  /** Numbers that were reported durable in this or an earlier life and did not arrive. */
  lost(acknowledgedPerLife: readonly (readonly [number, number])[][]): string {
    for (let shard = 0; shard < SHARDS; shard++) {
      const arrived = new Set(this.consumed[shard]);
      for (const [from, to] of acknowledgedPerLife[shard]!) for (let number = from; number <= to; number++) if (!arrived.has(number)) return `shard ${shard}: ${number} was acknowledged and is lost`;
    }
    return "";
  }
}

t.test("failing writes, failing fdatasyncs and power cuts: everything reported durable arrives exactly once, in order", async (t) => {
  const baseSeed = Number(process.env["PENSTOCK_TEST_SEED"] ?? Date.now() % 1_000_000);
  const rounds = Number(process.env["PENSTOCK_TEST_ROUNDS"] ?? 60);
  t.comment(`seed ${baseSeed}, rounds ${rounds}`);
  let acknowledged = 0;
  let failures = 0;
  let blocked = 0;
  for (let round = 0; round < rounds; round++) {
    const rig = new Rig(baseSeed + round);
    const ranges: [number, number][][] = Array.from({ length: SHARDS }, () => []);
    for (let life = 0; life < 6; life++) {
      const before = [...rig.sent];
      rig.live(20 + Math.floor(rig.random() * 600));
      for (let shard = 0; shard < SHARDS; shard++) {
        if (rig.acknowledged[shard]! <= before[shard]!) continue;
        ranges[shard]!.push([before[shard]! + 1, rig.acknowledged[shard]!]);
        acknowledged += rig.acknowledged[shard]! - before[shard]!;
      }
    }
    rig.finish();
    const wrong = rig.verdict() || rig.lost(ranges);
    if (wrong !== "") t.fail(`seed ${baseSeed + round}: ${wrong}`);
    failures += rig.files.failures;
    blocked += rig.blockedCount;
  }
  t.ok(acknowledged > rounds * 50, `${acknowledged} acknowledged`);
  t.ok(failures > rounds, `${failures} operations failed`);
  t.ok(blocked > 0, `${blocked} turns ended blocked`);
});
