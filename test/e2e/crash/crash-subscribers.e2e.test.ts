// kill -9 of the gateway, and of its clients, at random moments while QoS 1 and 2 messages go to persistent and shared subscribers: whatever was
// acknowledged to its publisher arrives at all of them, or at one of each group, QoS 2 once, in order; sessions, subscriptions and retained messages are
// there after every start, whatever the number of shards then is. What clients saw stands in their notebooks (notebook.ts), what must be true of
// those in proof.ts.
//
//   PENSTOCK_CRASH_ROUNDS=300 npx tap run --timeout=7200 dist/test/e2e/crash/crash-subscribers.e2e.test.js
//
// is a soak of rounds of 4 s. PENSTOCK_SEED repeats its choices (not its timing); PENSTOCK_CRASH_KEEP=1 leaves data and notebooks of a failure behind.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import mqtt from "mqtt";
import t, { type Test } from "tap";
import { isShared } from "../../../src/broker/topic.js";
import { Random } from "../../protocol/mqtt/support.js";
import { RunningGateway } from "../gateway.js";
import { Clients } from "./clients.js";
import type { ClientSpec } from "./durable-client.js";
import { Proof } from "./proof.js";

const ROUNDS = Number(process.env["PENSTOCK_CRASH_ROUNDS"] ?? 12);
/** Without a number of rounds there are fewer of them on a machine that is busy. */
const TIME_MAX_MS = process.env["PENSTOCK_CRASH_ROUNDS"] === undefined ? 30_000 : Number.POSITIVE_INFINITY;
const SEED = Number(process.env["PENSTOCK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const KEEPS = process.env["PENSTOCK_CRASH_KEEP"] !== undefined;
/** Rounds after which everything has to come to rest, so that a fault is found near its cause. */
const REST_AFTER = 15;
const DEADLINE_MS = 60_000;
const HOSTS = 2;
const SHARDS = 2;
const MESSAGES_MAX = 400;
/** Filters of a subscriber, those that it subscribes to on the way included. */
const FILTERS_MAX = 8;
const START_MS = 1200;

/** Small segments, so that journals are trimmed and sessions written anew between the kills; queues that hold what absent clients miss. */
const CONFIGURATION = "mqtt: { queue_count_max: 1000000, queue_bytes_max: 1GiB }\njournal: { segment_size: 1MiB }";

function publisher(name: string, version: 4 | 5, isTls: boolean, topics: readonly string[]): ClientSpec {
  return { name, version, isTls, isAway: false, subscriptions: [], topics: [...topics, ...["0", "1", "2"].map((line) => `retained/${name}/${line}`)], limit: 0 };
}

function subscriber(name: string, version: 4 | 5, subscriptions: readonly (readonly [filter: string, qos: 1 | 2])[], more: Partial<ClientSpec> = {}): ClientSpec {
  return { name, version, isTls: false, isAway: false, subscriptions: subscriptions.map(([filter, qos]) => ({ filter, qos })), topics: [], limit: 0, ...more };
}

function clientSpecs(): ClientSpec[] {
  return [
    publisher("p4", 4, false, ["plant/a/1", "plant/a/2", "plant/b/1"]),
    publisher("p5", 5, false, ["plant/a/1", "plant/c/1/deep"]),
    publisher("p5-tls", 5, true, ["plant/b/1", "plant/b/2"]),
    publisher("p4-tls", 4, true, ["plant/c/2"]),
    subscriber("all-2", 5, [["#", 2]]),
    subscriber("all-1-tls", 4, [["plant/#", 1], ["retained/#", 1]], { isTls: true }),
    subscriber("lines-2", 4, [["plant/+/1", 2], ["plant/a/#", 1]]),
    subscriber("slow-2", 5, [["plant/#", 2]], { receiveMaximum: 3, delayMs: 2 }),
    subscriber("slow-1", 5, [["plant/+/+", 1], ["plant/c/#", 2]], { receiveMaximum: 10, delayMs: 15, isTls: true }),
    subscriber("roams-2", 5, [["plant/#", 2], ["retained/+/2", 2]], { delayMs: 5 }),
    subscriber("roams-4", 4, [["plant/a/+", 2], ["plant/b/+", 1]]),
    subscriber("roams-1-tls", 5, [["+/+/1", 1]], { isTls: true, receiveMaximum: 50 }),
    ...groupSpecs(),
  ];
}

function groupSpecs(): ClientSpec[] {
  return [
    subscriber("share-2-a", 5, [["$share/two/plant/#", 2]], { delayMs: 2 }),
    subscriber("share-2-b", 4, [["$share/two/plant/#", 2]], { isTls: true }),
    subscriber("roams-share-2", 5, [["$share/two/plant/#", 2]], { receiveMaximum: 5, delayMs: 5 }),
    subscriber("share-1", 4, [["$share/one/+/+/1", 1]], { delayMs: 5 }),
    subscriber("roams-share-1", 5, [["$share/one/+/+/1", 1]]),
    subscriber("roams-alone-a", 5, [["$share/alone/plant/a/#", 2]], { isTls: true }),
    subscriber("roams-alone-b", 4, [["$share/alone/plant/a/#", 2]], { delayMs: 2 }),
  ];
}

class CrashTest {
  private readonly t: Test;
  private readonly gateway: RunningGateway;
  private readonly clients: Clients;
  private readonly random: Random;
  private readonly publishers: readonly ClientSpec[];
  private readonly subscribers: readonly ClientSpec[];
  private readonly mayLoseShards: boolean;
  private shards = SHARDS;
  private lateCount = 0;
  private acceptedBefore = 0;
  readonly counts = { kills: 0, startKills: 0, clientKills: 0, lostShards: 0, cuts: 0, absences: 0, lateSubscriptions: 0, accepted: 0, delivered: 0 };

  constructor(t: Test, gateway: RunningGateway, random: Random, mayLoseShards: boolean) {
    this.mayLoseShards = mayLoseShards;
    this.t = t;
    this.gateway = gateway;
    this.random = random;
    const place = { port: gateway.mqttPort, tlsPort: gateway.mqttsPort, ca: readFileSync(gateway.caFile, "utf8") };
    this.clients = new Clients(clientSpecs(), place, join(gateway.directory, "clients"), HOSTS);
    this.publishers = this.clients.specs.filter(({ topics }) => topics.length > 0);
    this.subscribers = this.clients.specs.filter(({ topics }) => topics.length === 0);
  }

  end(): void {
    this.clients.end();
  }

  async run(rounds: number): Promise<void> {
    await this.reach("all filters are subscribed to", () => this.subscribers.every((spec) => this.clients.report(spec)?.granted === spec.subscriptions.length));
    const end = Date.now() + TIME_MAX_MS;
    for (let round = 1, isLast = false; !isLast; round++) {
      await this.round();
      isLast = round >= rounds || Date.now() > end;
      if (round % REST_AFTER === 0 || isLast) await this.rest(round);
    }
    this.t.same(await this.gateway.stop(), { code: 0, signal: null }, "it stops in order");
  }

  /** REQUIRES: the gateway runs. It runs when this is over. */
  private async round(): Promise<void> {
    const { random, counts } = this;
    this.roam();
    if (random.chance(30)) this.subscribeLate();
    const granted = this.publish(1 + random.below(MESSAGES_MAX));
    if (random.chance(30)) this.cut();
    // Squared: often among the first acknowledgements after a start, when much is sent again.
    const wanted = Math.floor((random.below(1000) / 1000) ** 2 * granted);
    await this.reach("messages are acknowledged", () => this.accepted() >= this.acceptedBefore + wanted);
    if (this.mayLoseShards && random.chance(60)) await this.loseShard();
    await pause(random.below(30));
    const host = random.chance(25) ? random.below(HOSTS) : -1;
    const isHostFirst = random.chance(50);
    if (host >= 0 && isHostFirst) await this.clients.killHost(host);
    const retained = this.retained();
    this.t.same(await this.gateway.kill(), { code: null, signal: "SIGKILL" }, "it was killed, and had not ended before");
    counts.kills++;
    if (host >= 0) counts.clientKills++;
    if (host >= 0 && !isHostFirst) await this.clients.killHost(host);
    while (random.chance(25)) await this.killStart();
    this.spawn();
    if (!(await this.gateway.says(/started in/))) throw new Error(`the gateway did not start:\n${this.gateway.output}`);
    await this.checkRetained(retained);
  }

  /** One shard dies under load and is started again, the others go on. */
  private async loseShard(): Promise<void> {
    const shard = this.random.below(this.shards);
    this.counts.lostShards++;
    this.gateway.child.send(`shard ${shard}`);
    // Sometimes the gateway is killed while the shard starts, sometimes when its clients go on.
    if (this.random.chance(30)) return;
    this.t.ok(await this.gateway.says(/runs again/, DEADLINE_MS), `shard ${shard} runs again`);
    const wanted = Math.min(this.accepted() + 1 + this.random.below(40), this.publishers.reduce((sum, { limit }) => sum + limit, 0));
    await this.reach("messages are acknowledged again", () => this.accepted() >= wanted);
  }

  /** Kills a gateway that has not finished its start, or just has. */
  private async killStart(): Promise<void> {
    this.spawn();
    await pause(this.random.below(START_MS));
    this.t.same(await this.gateway.kill(), { code: null, signal: "SIGKILL" }, "it was killed, and had not ended before");
    this.counts.startKills++;
  }

  private spawn(): void {
    this.shards = this.random.pick([2, 2, 2, 1, 4]);
    this.gateway.useConfig((text) => text.replace(/^shards: .*/m, `shards: ${this.shards}`));
  }

  private accepted(): number {
    return this.publishers.reduce((sum, spec) => sum + (this.clients.report(spec)?.accepted ?? 0), 0);
  }

  /** Lets each publisher publish up to `count` more. @returns how many that are in all */
  private publish(count: number): number {
    this.acceptedBefore = this.accepted();
    let granted = 0;
    for (const spec of this.publishers) {
      const share = 1 + this.random.below(count);
      spec.limit += share;
      granted += share;
      this.clients.follow(spec);
    }
    return granted;
  }

  private roam(): void {
    for (const spec of this.subscribers) {
      if (!spec.name.startsWith("roams") || !this.random.chance(40)) continue;
      spec.isAway = !spec.isAway;
      if (spec.isAway) this.counts.absences++;
      this.clients.follow(spec);
    }
  }

  private cut(): void {
    this.counts.cuts++;
    this.clients.cut(this.random.pick(this.clients.specs));
  }

  /** One more subscription, made while others are killed; once it is acknowledged, a publisher has one more topic. */
  private subscribeLate(): void {
    const { random, clients } = this;
    const spec = random.pick(this.subscribers.filter(({ isAway, subscriptions }) => !isAway && !isShared(subscriptions[0]!.filter) && subscriptions.length < FILTERS_MAX));
    const publisher = random.pick(this.publishers);
    if (spec === undefined) return;
    const topic = `late/${++this.lateCount}/${publisher.name}`;
    spec.subscriptions.push({ filter: topic, qos: random.chance(50) ? 2 : 1 });
    this.counts.lateSubscriptions++;
    clients.follow(spec);
    const wanted = spec.subscriptions.length;
    void clients.reach(() => (clients.report(spec)?.granted ?? 0) >= wanted, DEADLINE_MS).then((isGranted) => {
      if (!isGranted) return;
      publisher.topics.push(topic);
      clients.follow(publisher);
    });
  }

  /** By retained topic: what must be there at least. */
  private retained(): Map<string, number> {
    return new Map(this.publishers.flatMap((spec) => Object.entries(this.clients.report(spec)?.retained ?? {})));
  }

  private async checkRetained(expected: ReadonlyMap<string, number>): Promise<void> {
    const missing = new Map(expected);
    if (missing.size === 0) return;
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${this.gateway.mqttPort}`, { reconnectPeriod: 0, connectTimeout: DEADLINE_MS });
    const isComplete = new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), DEADLINE_MS);
      // With its retain flag or without: one that came about meanwhile takes its predecessor's place, and goes out live.
      client.on("message", (topic, payload) => {
        const n = Number(payload.toString().split(" ", 2)[1]);
        if (n < (missing.get(topic) ?? 0)) return;
        missing.delete(topic);
        if (missing.size > 0) return;
        clearTimeout(timer);
        resolve(true);
      });
    });
    await client.subscribeAsync("retained/#", { qos: 1 });
    this.t.ok(await isComplete, `retained messages are there after the start; missing or older: ${JSON.stringify([...missing])}`);
    await client.endAsync(true);
  }

  /** Everybody is there, everything arrives; then the notebooks are read. */
  private async rest(round: number): Promise<void> {
    const { clients, counts, publishers, subscribers, gateway } = this;
    for (const spec of subscribers) {
      spec.isAway = false;
      clients.follow(spec);
    }
    await this.reach("everything is acknowledged", () => publishers.every((spec) => clients.report(spec)?.accepted === spec.limit));
    const soFar = this.proof();
    const owed = new Map(subscribers.map(({ name }) => [name, soFar.owedTo(name)]));
    const hasAll = (spec: ClientSpec): boolean => (clients.report(spec)?.received ?? 0) >= owed.get(spec.name)!;
    await clients.reach(() => subscribers.every(hasAll), DEADLINE_MS);
    const isSettled = async (): Promise<true | undefined> => {
      const waiting = await Promise.all(["inflight", "queued", "shared_queued"].map((name) => gateway.metric(`penstock_shard_${name}`)));
      return waiting.every((count) => count === 0) ? true : undefined;
    };
    await gateway.until("nothing is on its way", isSettled, DEADLINE_MS);
    const proof = this.proof();
    await this.checkRetained(proof.retained);
    counts.accepted = proof.accepted;
    counts.delivered = proof.delivered;
    this.t.same(proof.faults, [], `after ${round} rounds ${proof.accepted} messages were acknowledged, ${proof.delivered} delivered`);
    if (proof.faults.length > 0) throw new Error(`faults after ${round} rounds of seed ${SEED}`);
  }

  private proof(): Proof {
    return new Proof(this.clients.specs.map((spec) => ({ name: spec.name, lines: this.clients.notesOf(spec) })));
  }

  private async reach(what: string, isReached: () => boolean): Promise<void> {
    if (await this.clients.reach(isReached, DEADLINE_MS)) return;
    const state = JSON.stringify({ specs: this.clients.specs, reports: [...this.clients.reports.values()] });
    throw new Error(`${what}: not within ${DEADLINE_MS} ms; ${state}; the gateway said:\n${this.gateway.output.slice(-4000)}`);
  }
}

/** The random part of a moment. */
async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** @param program in the place of dist/main.js: one whose shards can be made to throw */
function crashTest(name: string, rounds: number, program?: string): void {
  void t.test(`${name}: ${rounds} rounds, seed ${SEED}`, { timeout: 60_000 + rounds * 30_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards: SHARDS, more: CONFIGURATION, ...(program === undefined ? {} : { program }) });
    const test = new CrashTest(t, gateway, new Random(SEED), program !== undefined);
    t.teardown(async () => {
      test.end();
      if (KEEPS && !t.passing()) {
        await gateway.kill();
        t.comment(`data and notebooks: ${gateway.directory}`);
      } else await gateway.remove();
    });
    await test.run(rounds);
    t.comment(JSON.stringify(test.counts));
    t.ok(test.counts.delivered > test.counts.accepted, "messages were delivered");
  });
}

crashTest("kill -9, persistent and shared subscribers", ROUNDS);
crashTest("shards die, then kill -9", Math.ceil(ROUNDS / 4), new URL("../fault-gateway.js", import.meta.url).pathname);
