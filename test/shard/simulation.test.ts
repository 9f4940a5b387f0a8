// Seeded simulation: many clients on 1, 2 and 4 shards that take their turns in any order, with small rings, a store that commits when it likes,
// receivers that do not keep up, take-overs and shards that die. What must hold is checked on the way by the clients, and at rest here.
import t, { type Test } from "tap";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { ENTRY } from "../../src/base/journal-entry.js";
import type { SharedGroups } from "../../src/broker/shared-groups.js";
import { MessageView } from "../../src/base/message-record.js";
import { POSITION, writePosition } from "../../src/base/positions.js";
import { Random } from "../protocol/mqtt/support.js";
import { type GatewayOptions, TestGateway } from "./harness.js";
import { type Published, SimulatedClient, type World } from "./simulated-client.js";

interface Plan {
  readonly name: string;
  readonly shards: number;
  readonly withRestarts: boolean;
  /** The whole gateway is killed now and then, and started again with any number of shards up to so many. */
  readonly withCrashes?: true;
  readonly limits: NonNullable<GatewayOptions["limits"]>;
  readonly rounds: number;
  /** Of how many of 100 messages are large; 4 when missing. */
  readonly largePercent?: number;
}

const STEPS = Number(process.env["PENSTOCK_SIMULATION_STEPS"] ?? 10_000);
const CLIENTS = 20;
/** Stable ones with a subscription of their own, then those of a shared one, then some that come to and leave another shared one. */
const STABLE = 4;
const SHARING = 4;
const SHARING_AT_TIMES = 4;
const GROUP = "$share/stable/t/#";
const GROUP_AT_TIMES = "$share/at times/t/#";
const REST_ROUNDS_MAX = 20_000;
const SMALL = { receiveMaximum: 6, inflightMax: 4, sessionExpiryMaxSeconds: 1000 };
const ROUNDS = Number(process.env["PENSTOCK_SIMULATION_ROUNDS"] ?? 1);

const PLANS: readonly Plan[] = [
  { name: "one shard", shards: 1, withRestarts: false, limits: SMALL, rounds: 2 },
  { name: "two shards", shards: 2, withRestarts: false, limits: SMALL, rounds: 2 },
  { name: "four shards", shards: 4, withRestarts: false, limits: SMALL, rounds: 2 },
  { name: "full queues", shards: 2, withRestarts: false, limits: { ...SMALL, queueCountMax: 20 }, rounds: 1 },
  { name: "a full ring to the store", shards: 1, withRestarts: false, limits: SMALL, rounds: 4, largePercent: 70 },
  { name: "full queues of shards that die", shards: 3, withRestarts: true, limits: { ...SMALL, queueCountMax: 20, queuesCountMax: 120, queueAgeMaxSeconds: 15 }, rounds: 3 },
  {
    name: "full queues of a gateway that is killed", shards: 2, withRestarts: true, withCrashes: true, limits: { ...SMALL, queueCountMax: 20, queuesCountMax: 80, queueAgeMaxSeconds: 15 }, rounds: 3,
  },
  { name: "full rings", shards: 3, withRestarts: false, limits: SMALL, rounds: 6, largePercent: 40 },
  { name: "full rings of shards that die", shards: 3, withRestarts: true, limits: SMALL, rounds: 4, largePercent: 40 },
  { name: "one shard that dies", shards: 1, withRestarts: true, limits: SMALL, rounds: 2 },
  { name: "shards that die", shards: 4, withRestarts: true, limits: SMALL, rounds: 4 },
  { name: "a gateway that is killed, one shard", shards: 1, withRestarts: false, withCrashes: true, limits: SMALL, rounds: 3 },
  { name: "a gateway that is killed, shards that die", shards: 4, withRestarts: true, withCrashes: true, limits: SMALL, rounds: 6 },
];

/** Counters that must have risen, or the simulation shows nothing. */
const SEEN = [
  "MESSAGES_IN", "MESSAGES_OUT", "PUBLISHES_QOS0", "PUBLISHES_QOS1", "PUBLISHES_QOS2", "TAKE_OVERS", "WILLS_SENT", "DUPLICATES_QOS2", "PEER_MESSAGES", "RETAINED",
  "STALLS_STORE", "STALLS_PEER", "STALLS_WINDOW", "DROPPED_QUEUE_FULL", "ROUTE_CACHE_MISSES", "SHARED_ASSIGNED", "SHARED_RETURNED", "DROPPED_SHARED_NO_MEMBER", "DROPPED_SHARED_QOS2", "DROPPED_SHARED_QUEUE_FULL",
  "DROPPED_QUEUES_FULL", "DROPPED_QUEUE_AGE", "PUBLISHES_OVER_QUOTA",
] as const;
/** What a session or a group may have missed is counted as one of these. */
const DROPPED = ["DROPPED_QUEUE_FULL", "DROPPED_QUEUES_FULL", "DROPPED_QUEUE_AGE"] as const;
const DROPPED_SHARED = [...DROPPED, "DROPPED_SHARED_QUEUE_FULL"] as const;

class Simulation implements World {
  gateway: TestGateway;
  readonly random: Random;
  readonly journaled = new Map<string, number>();
  readonly published = new Map<string, Published>();
  readonly shared = new Map<string, { readonly client: string; readonly qos: number }>();
  lateCount = 0;
  broughtBackCount = 0;
  readonly largePercent: number;
  readonly mayDrop: boolean;
  step = 0;
  private readonly clients: SimulatedClient[] = [];
  private readonly plan: Plan;
  /** By shard, and the store's share of it: until which step it sleeps. */
  private readonly asleep: number[];
  private readonly storeAsleep: number[];
  /** Shards that run again and that main has not called live yet. */
  private readonly starting = new Set<number>();
  private journalRead = 0;
  private shards: number;
  trimmed = 0;
  /** Of gateways that were killed: their counters; and messages that members had when a shard or a gateway died, which may come late to others. */
  private readonly earlier = new Map<number, number>();
  private heldAtDeath = 0;
  /** Long enough to fill a ring with large messages. */
  private readonly sleepMax: number;

  constructor(plan: Plan, seed: number) {
    this.plan = plan;
    this.shards = plan.shards;
    this.largePercent = plan.largePercent ?? 4;
    this.mayDrop = plan.limits.queueCountMax !== undefined;
    this.sleepMax = this.largePercent > 10 ? 2000 : 400;
    this.random = new Random(seed);
    this.gateway = this.start(plan.shards);
    this.asleep = new Array<number>(plan.shards).fill(0);
    this.storeAsleep = new Array<number>(plan.shards).fill(0);
    for (let i = 0; i < CLIENTS; i++) {
      const isSharing = i >= STABLE && i < STABLE + SHARING;
      const isSharingAtTimes = i >= STABLE + SHARING && i < STABLE + SHARING + SHARING_AT_TIMES;
      const isStable = i < STABLE + SHARING;
      this.clients.push(new SimulatedClient(this, {
        id: `${isStable ? "stable" : "client"}-${String(i)}`, version: this.random.chance(50) ? 4 : 5, isPersistent: isStable || this.random.chance(50),
        ...(isStable ? { stable: { filter: isSharing ? GROUP : "t/#", qos: (1 + (i % 2)) as 1 | 2 } } : {}),
        ...(isSharing || isSharingAtTimes ? { group: isSharing ? GROUP : GROUP_AT_TIMES } : {}),
      }));
    }
  }

  fail(text: string): never {
    throw new Error(`step ${String(this.step)}: ${text}`);
  }

  run(): void {
    for (this.step = 1; this.step <= STEPS; this.step++) {
      const { random } = this;
      const shard = random.below(this.shards);
      const client = random.pick(this.clients);
      const dice = random.below(1000);
      if (dice < 330) this.turn(shard);
      else if (dice < 450) this.commit(shard);
      else if (dice < 650) client.send(false);
      else if (dice < 850) client.publish();
      else if (dice < 900) client.changeSubscription();
      else if (dice < 930) client.press(random.chance(40));
      else if (dice < 945) client.cut();
      else if (dice < 950) client.leave();
      else if (dice < 955) client.connect();
      else if (dice < 957) this.asleep[shard] = this.step + random.below(this.sleepMax);
      else if (dice < 959) this.storeAsleep[shard] = this.step + random.below(this.sleepMax);
      else if (dice < 965) this.everySecond(shard);
      else if (dice < 966 && this.plan.withRestarts) this.kill(shard);
      else if (dice < 968 && this.step % 4 === 0 && this.plan.withCrashes === true) this.crash();
      else if (dice < 972) this.checkpoint();
      else if (client.connection === null) client.connect();
      if (shard < this.shards && this.gateway.isDead(shard)) this.bringBack(shard);
      else if (this.starting.has(shard) && random.chance(10)) this.enliven(shard);
      for (const one of this.clients) one.read();
    }
  }

  /** No more is published; everything that is under way comes to its end without any timer but that for trying again. */
  rest(): void {
    this.asleep.fill(0);
    this.storeAsleep.fill(0);
    for (let round = 0; round < REST_ROUNDS_MAX; round++) {
      this.step++;
      let moved = false;
      for (let shard = 0; shard < this.shards; shard++) {
        if (this.gateway.isDead(shard)) this.bringBack(shard);
        if (this.starting.has(shard)) this.enliven(shard);
        if (this.turn(shard)) moved = true;
        if (this.commit(shard)) moved = true;
      }
      for (const client of this.clients) {
        client.press(false);
        if (client.connection === null) client.connect();
        if (client.read()) moved = true;
        if (client.send(true)) moved = true;
      }
      if (!moved) return;
    }
    this.fail("it never comes to rest");
  }

  check(t: Test): void {
    const { gateway } = this;
    const published = [...this.published.values()];
    for (const client of this.clients) t.ok(client.isConnected && client.isIdle, `${client.kind.id} has finished all it began`);
    const lost = published.filter((one) => one.isAcknowledged && !one.isVoid && !this.journaled.has(one.text));
    t.same(lost, [], "what was acknowledged is in the journal");
    const twice = published.filter((one) => one.qos === 2 && (this.journaled.get(one.text) ?? 0) > 1);
    t.same(twice, [], "QoS 2 is there once");
    const missed: string[] = [];
    for (const client of this.clients) {
      if (client.kind.stable === undefined || client.kind.group !== undefined) continue;
      for (const one of published) {
        const isDue = one.qos > 0 && one.isAcknowledged && !one.isVoid && one.topic.startsWith("t/") && one.sentAt > client.stableSince;
        if (isDue && !client.got.has(one.text)) missed.push(`${client.kind.id} missed ${one.text}`);
      }
    }
    const dropped = this.sum(DROPPED);
    t.ok(missed.length <= dropped, `${String(missed.length)} missed, ${String(dropped)} counted`, { missed: missed.slice(0, 5) });
    t.ok(this.broughtBackCount <= (this.plan.withCrashes === true ? dropped : 0), `${String(this.broughtBackCount)} came behind later ones, ${String(dropped)} dropped`);
    this.checkShared(t, published);
    const retained = gateway.shards.map(({ parts }) => [...parts.retained.all()].map(({ topic, record, stamp }) => {
      const view = new MessageView();
      view.read(new DataView(record.buffer, record.byteOffset, record.length), 0);
      return `${topic} ${String(stamp)} ${record.toString("latin1", view.payloadAt, view.payloadAt + 60)}`;
    }).sort());
    for (const one of retained) t.same(one, retained[0], "retained messages are the same everywhere");
    t.equal(this.total(SHARD_COUNTER.CLIENTS), CLIENTS, "CLIENTS");
    t.equal(this.total(SHARD_COUNTER.QUEUED), 0, "QUEUED");
  }

  /** Each message since the first member joined came to one of them. */
  private checkShared(t: Test, published: readonly Published[]): void {
    const since = Math.min(...this.clients.map(({ kind, stableSince }) => (kind.group === GROUP ? stableSince : Number.POSITIVE_INFINITY)));
    const due = published.filter((one) => one.qos > 0 && one.isAcknowledged && !one.isVoid && one.topic.startsWith("t/") && one.sentAt > since);
    const missed = due.filter(({ text }) => !this.shared.has(`${GROUP} ${text}`));
    const dropped = this.sum(DROPPED_SHARED);
    t.ok(missed.length <= dropped, `${String(missed.length)} of ${String(due.length)} missed by the group, ${String(dropped)} counted`, { missed: missed.slice(0, 5) });
    const returned = this.sum(["SHARED_RETURNED"]) + this.heldAtDeath;
    t.ok(this.lateCount <= returned, `${String(this.lateCount)} late, ${String(returned)} returned`);
    for (const { parts } of this.gateway.shards) {
      for (const group of groupsOf(parts).all()) t.same([group.assignedCount, group.queueCount, group.queueSize], [0, 0, 0], `nothing is left in ${group.name}`);
    }
  }

  /** After all that happened, one more message reaches everybody it should, and one of each group. */
  checkLast(t: Test): void {
    const { gateway } = this;
    gateway.isStoreStopped = false;
    const publisher = gateway.connect("last");
    const text = "last:1:t/last:0:";
    publisher.send({ cmd: "publish", topic: "t/last", payload: text, qos: 0, retain: false, dup: false });
    publisher.cut();
    for (const client of this.clients) client.read();
    const who = this.clients.filter(({ got }) => got.has(text)).map(({ kind }) => kind);
    t.equal(who.filter(({ stable, group }) => stable !== undefined && group === undefined).length, STABLE, "all with a subscription of their own");
    t.equal(who.filter(({ group }) => group === GROUP).length, 1, "one of the group");
    t.ok(who.filter(({ group }) => group === GROUP_AT_TIMES).length <= 1, "one of the other group at most");
  }

  /** Everybody goes, sessions expire: nothing is left. */
  end(t: Test): void {
    const { gateway } = this;
    for (const client of this.clients) client.leave();
    for (let round = 0; round < 100; round++) {for (let shard = 0; shard < this.shards; shard++) {
      this.turn(shard);
      this.commit(shard);
    }}
    gateway.isStoreStopped = false;
    gateway.advance(2_000_000);
    for (const name of ["CLIENTS", "SESSIONS", "SUBSCRIPTIONS", "QUEUED", "QUEUED_BYTES", "ACKS_PENDING", "INFLIGHT", "SHARED_GROUPS", "SHARED_QUEUED", "SHARED_QUEUED_BYTES"] as const) {
      t.equal(this.total(SHARD_COUNTER[name]), 0, `${name} are back at 0`);
    }
    for (const { parts } of gateway.shards) {
      t.same([parts.tree.nodeCount, parts.connections.count, parts.pending.count], [0, 0, 0], "no interest, connection or acknowledgement is left");
    }
  }

  total(counter: number): number {
    return this.gateway.counters.reduce((sum, counters) => sum + counters[counter]!, 0);
  }

  /** Since the beginning, over all gateways. */
  sum(names: readonly (keyof typeof SHARD_COUNTER)[]): number {
    return names.reduce((sum, name) => sum + this.total(SHARD_COUNTER[name]) + (this.earlier.get(SHARD_COUNTER[name]) ?? 0), 0);
  }

  private noteHeld(): void {
    for (const [shard, { parts }] of this.gateway.shards.entries()) if (!this.gateway.isDead(shard)) for (const group of groupsOf(parts).all()) this.heldAtDeath += group.assignedCount;
  }

  private start(shards: number, before?: TestGateway): TestGateway {
    const disk = before === undefined ? {} : { disk: before.disk, now: before.clock.now };
    const gateway = new TestGateway({ shards, limits: this.plan.limits, ringCapacity: 512 * 1024, ...disk });
    gateway.isStoreStopped = true;
    return gateway;
  }

  /** Everything is gone but what is on disk. */
  private crash(): void {
    this.noteHeld();
    for (const name of new Set([...SEEN, ...DROPPED_SHARED])) this.earlier.set(SHARD_COUNTER[name], this.sum([name]));
    this.gateway.stop();
    for (const client of this.clients) client.shardDied();
    this.starting.clear();
    this.shards = 1 + this.random.below(this.plan.shards);
    this.gateway = this.start(this.shards, this.gateway);
    this.journalRead = 0;
  }

  /** The store asks for a checkpoint, and trims as far as shards allow. */
  private checkpoint(): void {
    const { gateway } = this;
    if (this.random.chance(50)) writePosition(gateway.positions, POSITION.CHECKPOINT_WANTED, gateway.disk.endLsn);
    this.trimmed += gateway.trim();
  }

  private turn(shard: number): boolean {
    if (this.asleep[shard]! > this.step) return false;
    if (!this.gateway.turn(shard) && !this.gateway.retry(shard)) return false;
    return true;
  }

  private commit(shard: number): boolean {
    if (this.storeAsleep[shard]! > this.step) return false;
    const moved = this.gateway.commitShard(shard);
    this.readJournal();
    return moved;
  }

  private readJournal(): void {
    const view = new MessageView();
    const { journal } = this.gateway;
    for (; this.journalRead < journal.length; this.journalRead++) {
      const { kind, bytes } = journal[this.journalRead]!;
      if (kind !== ENTRY.PUBLISH) continue;
      view.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
      const payload = bytes.toString("latin1", view.payloadAt, view.payloadAt + Math.min(view.payloadLength, 60));
      const text = payload.slice(0, payload.lastIndexOf(":") + 1);
      this.journaled.set(text, (this.journaled.get(text) ?? 0) + 1);
    }
  }

  private everySecond(shard: number): void {
    // Only queues have an age here that so little time could reach.
    if (this.plan.limits.queueAgeMaxSeconds !== undefined) this.gateway.clock.now += 500;
    if (!this.gateway.isDead(shard)) (this.gateway.shards[shard] as unknown as { everySecond(): void }).everySecond();
  }

  private kill(shard: number): void {
    if (this.gateway.isDead(shard) || this.starting.has(shard)) return;
    this.noteHeld();
    this.gateway.kill(shard);
    for (const client of this.clients) if (this.gateway.shardOf(client.kind.id) === shard) client.shardDied();
  }

  private bringBack(shard: number): void {
    if (this.step <= STEPS && !this.random.chance(5)) return;
    this.gateway.revive(shard);
    this.readJournal();
    this.starting.add(shard);
    if (this.step > STEPS || this.random.chance(50)) this.enliven(shard);
  }

  private enliven(shard: number): void {
    this.starting.delete(shard);
    this.gateway.enliven(shard);
  }
}

function groupsOf({ shared }: TestGateway["shards"][number]["parts"]): SharedGroups {
  return (shared.owner as unknown as { readonly groups: SharedGroups }).groups;
}

void t.test("simulated clients lose nothing, whatever the order of things", (t) => {
  const first = Number(process.env["PENSTOCK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
  t.comment(`PENSTOCK_SEED=${String(first)}`);
  const totals = new Map<string, number>();
  for (const plan of PLANS) {
    for (let round = 0; round < plan.rounds * ROUNDS; round++) {
      void t.test(`${plan.name}, seed ${String(first + round)}`, (t) => {
        const simulation = new Simulation(plan, first + round);
        t.teardown(() => simulation.gateway.stop());
        simulation.run();
        simulation.rest();
        simulation.check(t);
        for (const name of SEEN) totals.set(name, (totals.get(name) ?? 0) + simulation.sum([name]));
        simulation.checkLast(t);
        simulation.end(t);
        t.end();
      });
    }
  }
  void t.test("the simulation has seen what it is for", (t) => {
    for (const [name, total] of totals) t.ok(total > 0, `${name}: ${String(total)}`);
    t.end();
  });
  t.end();
});
