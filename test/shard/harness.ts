// Runs 1 to N real shards in one thread, with a reactor and a store that the test drives: deterministic, without sockets or files.
// Packets go in as records of the inbound ring; commands come out and are applied to in-memory clients.
import assert from "node:assert/strict";
import type { Authenticator, CertificateIdentity } from "../../src/base/authenticator.js";
import { fnv1aOf } from "../../src/base/bytes.js";
import type { AccessRuleSet } from "../../src/base/access.js";
import type { Clock } from "../../src/base/clock.js";
import { COUNTER_BLOCK_COUNT } from "../../src/base/counters.js";
import type { Identity } from "../../src/base/identity.js";
import { DEFAULT_SHARD_LIMITS, LISTENER_COUNT_MAX } from "../../src/base/limits.js";
import type { Log } from "../../src/base/log.js";
import type { ClientTrust, Durability, ShardLimits, ShardStart } from "../../src/base/messages.js";
import { POSITION, POSITION_COUNT, readPosition, writePosition } from "../../src/base/positions.js";
import type { RingPlace } from "../../src/base/ring-place.js";
import type { ConnectionOpened, Native, ReactorOptions } from "../../src/reactor/reactor.js";
import { Frame, nextFrame } from "../../src/protocol/mqtt/fixed-header.js";
import { resetRing } from "../../src/control/arena.js";
import { CLOSE_REASON, COMMAND, CONNECTION_SLOT_BITS, CONNECTION_SLOT_MASK, DOORBELL, INBOUND, REACTOR_COUNTER_COUNT, RECORD_LENGTH_MAX } from "../../src/ring/layout.js";
import { RingReader, ringSize, RingWriter } from "../../src/ring/ring.js";
import { Shard } from "../../src/shard/shard.js";
import { MemoryJournal, type JournalEntry } from "./memory-journal.js";
import mqttPacket, { type Packet } from "mqtt-packet";

const KIB = 1024;
const RETRIES_MAX = 50;

/** Knows nobody. */
const NOBODY: Authenticator = {
  changes: 0,
  ofCertificate: (user) => ({ identity: { user, groups: [] }, grant: null }),
  again: () => null,
  check: async () => ({ isAllowed: false, refusal: "credentials", detail: "nobody is known" }),
  begin: () => null,
};

export class TestClock implements Clock {
  now = 1_000_000;
  /** By how much the wall clock was set wrong. */
  wallOffset = 0;
  readonly wall = (): number => 1_700_000_000_000 + this.now + this.wallOffset;
  readonly monotonic = (): number => this.now;
}

/** One client's end: what it got, decoded. */
export class TestClient {
  readonly received: Packet[] = [];
  readonly id: number;
  readonly shard: number;
  closeReason: number | null = null;
  /** What is wrong with the certificate that it has shown. */
  certificateFault = "";
  isPaused = false;
  /** What the reactor was told to close it after; 0 = nothing. */
  keepAliveMs = 0;
  /** As the reactor: what comes behind the first frame is held until ACCEPT. */
  isHeld = false;
  hasSent = false;
  readonly held: Buffer[] = [];
  /** Bytes given to it in the present turn. */
  turnSize = 0;
  private readonly gateway: TestGateway;
  private readonly parser: ReturnType<typeof mqttPacket.parser>;
  readonly version: 4 | 5;

  constructor(gateway: TestGateway, shard: number, id: number, version: 4 | 5) {
    this.gateway = gateway;
    this.shard = shard;
    this.id = id;
    this.version = version;
    this.parser = mqttPacket.parser({ protocolVersion: version });
    this.parser.on("packet", (packet) => this.received.push(packet));
  }

  take(bytes: Uint8Array): void {
    this.turnSize += bytes.length;
    assert.ok(this.turnSize <= this.gateway.turnSizeMax, `${String(this.turnSize)} bytes in one turn`);
    this.parser.parse(Buffer.from(bytes));
  }

  /** Sends packets in one DATA record and runs the gateway until it is still. */
  send(...packets: Packet[]): void {
    this.sendBytes(Buffer.concat(packets.map((packet) => mqttPacket.generate(packet, { protocolVersion: this.version }))));
  }

  sendBytes(bytes: Buffer): void {
    this.gateway.feed(this, bytes);
    this.gateway.run();
  }

  /** Packets of one kind, taken out of `received`. */
  drain(cmd: Packet["cmd"]): Packet[] {
    const found = this.received.filter((packet) => packet.cmd === cmd);
    for (const packet of found) this.received.splice(this.received.indexOf(packet), 1);
    return found;
  }

  /** Payload texts of the PUBLISHes received since the last call. */
  payloads(): string[] {
    return this.drain("publish").map((packet) => (packet as { payload: Buffer }).payload.toString());
  }

  /** The network ends. */
  cut(): void {
    this.gateway.end(this);
    this.gateway.run();
  }

  press(isPressed: boolean): void {
    this.gateway.press(this, isPressed);
    this.gateway.run();
  }
}

export interface GatewayOptions {
  readonly shards?: number;
  readonly durability?: Durability;
  readonly limits?: Partial<ShardLimits>;
  readonly anonymous?: "loopback" | "never" | "always";
  readonly access?: AccessRuleSet;
  readonly listeners?: ShardStart["listeners"];
  /** What a gateway before had on disk, and how late it was when it ended. */
  readonly disk?: MemoryJournal;
  readonly now?: number;
  readonly authenticator?: Authenticator;
  readonly identity?: CertificateIdentity;
  /** Data capacity of the rings between shards and into the store. */
  readonly ringCapacity?: number;
}

interface Slot {
  inbound: RingWriter;
  readonly inboundAt: number;
  readonly commandsAt: number;
  options: ReactorOptions;
  isPaused: boolean;
  isDead: boolean;
  wantsBatch: boolean;
}

export class TestGateway {
  readonly clock = new TestClock();
  readonly disk: MemoryJournal;
  readonly positions = new BigUint64Array(new SharedArrayBuffer(8 * POSITION_COUNT));
  readonly shards: Shard[] = [];
  readonly stores: RingReader[] = [];
  readonly lanes: RingReader[] = [];
  readonly counters: Float64Array[] = [];
  readonly storeCounters = new Float64Array(new SharedArrayBuffer(8 * COUNTER_BLOCK_COUNT));
  readonly logged: string[] = [];
  /** What reactors were told to verify client certificates by. */
  readonly trusted: { readonly shard: number; readonly key: number; readonly ca: string; readonly crl: string }[] = [];
  readonly live: Uint32Array;
  /** Journal entries taken in by the store, in order: kind and a copy of the bytes. */
  readonly journal: JournalEntry[] = [];
  /** By shard: entries taken in that are not durable yet. */
  private readonly undurable: JournalEntry[][] = [];
  private readonly slots: Slot[] = [];
  private readonly bytes: Uint8Array;
  private readonly words: Uint32Array;
  private readonly clients = new Map<string, TestClient>();
  private readonly count: number;
  private readonly authenticator: Authenticator;
  private readonly starts: ShardStart[] = [];
  private nextSlot = 1;
  private readonly freeSlots: number[] = [];
  private generation = 0;
  /** More than so many bytes in one turn is what a slow client's connection would be closed for. */
  turnSizeMax = Number.POSITIVE_INFINITY;
  /** Without it the store takes entries in but nothing becomes durable. */
  isStoreFast = true;
  /** The store takes nothing in: its rings fill. */
  isStoreStopped = false;

  constructor(options: GatewayOptions = {}) {
    this.count = options.shards ?? 1;
    this.disk = options.disk ?? new MemoryJournal();
    if (options.now !== undefined) this.clock.now = options.now;
    this.showDisk();
    this.authenticator = options.authenticator ?? NOBODY;
    const capacity = options.ringCapacity ?? 1024 * KIB;
    const inboundCapacity = 1024 * KIB;
    const total = this.count * (ringSize(inboundCapacity) + 1024 * KIB + (this.count + 2) * ringSize(capacity)) + 64 * KIB;
    const buffer = new SharedArrayBuffer(total);
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.live = new Uint32Array(new SharedArrayBuffer(4 * this.count));
    this.live.fill(1);
    let used = 0;
    const take = (size: number): number => {
      const at = used;
      used += (size + 63) & ~63;
      return at;
    };
    const ring = (size: number): RingPlace => ({ buffer, byteOffset: take(ringSize(size)), capacity: size });
    const between: RingPlace[][] = [];
    for (let from = 0; from < this.count; from++) between.push(Array.from({ length: this.count }, () => ring(capacity)));
    const interestSeen = new SharedArrayBuffer(4 * this.count * this.count);
    const deliveredIds = new SharedArrayBuffer(16 * this.count);
    const listenerClients = new SharedArrayBuffer(4 * this.count * LISTENER_COUNT_MAX);
    for (let shard = 0; shard < this.count; shard++) {
      const inbound = ring(inboundCapacity);
      const commands = { byteOffset: take(1024 * KIB), size: 1024 * KIB };
      const toStore = ring(capacity);
      const toLane = ring(capacity);
      this.stores.push(new RingReader(toStore));
      this.lanes.push(new RingReader(toLane));
      const counters = new SharedArrayBuffer(8 * COUNTER_BLOCK_COUNT);
      this.counters.push(new Float64Array(counters));
      const start = {
        role: "shard", shard, shards: this.count, lanes: 1, durability: options.durability ?? "disk", wake: "latency", inbound, commands, toStore,
        reactorCounters: new SharedArrayBuffer(8 * REACTOR_COUNTER_COUNT), storeCounters: this.storeCounters.buffer, counters,
        toShards: between[shard]!, fromShards: between.map((row) => row[shard]!), toLanes: [toLane], interestSeen, deliveredIds, listenerClients, shardsLive: this.live.buffer as SharedArrayBuffer,
        limits: { ...DEFAULT_SHARD_LIMITS, ...options.limits }, anonymous: options.anonymous ?? "loopback", access: options.access ?? null, trusts: [],
        listeners: options.listeners ?? [{ name: "mqtt", isTls: false, protocol: "mqtt", identity: options.identity ?? "none" }],
        positions: this.positions.buffer,
      } as unknown as ShardStart;
      this.slots.push({
        inbound: new RingWriter(inbound), inboundAt: inbound.byteOffset + 256, commandsAt: commands.byteOffset, options: null as unknown as ReactorOptions,
        isPaused: false, isDead: false, wantsBatch: false,
      });
      this.undurable.push([]);
      this.starts.push(start);
      this.shards.push(this.newShard(start));
    }
    this.run();
  }

  /** The shard on which a client id lives. */
  shardOf(clientId: string): number {
    return fnv1aOf(clientId) % this.count;
  }

  /** Opens a connection and sends CONNECT on the shard that owns the client id. */
  connect(clientId: string, more: Record<string, unknown> = {}): TestClient {
    const version = (more["protocolVersion"] as 4 | 5 | undefined) ?? 4;
    const client = this.open(this.shardOf(clientId), version);
    client.send({ cmd: "connect", protocolId: "MQTT", clean: true, keepalive: 60, clientId, ...more, protocolVersion: version });
    return client;
  }

  /** The same for a client that authentication has found to be somebody. */
  connectAs(identity: Identity, clientId: string, more: Record<string, unknown> = {}): TestClient {
    const version = (more["protocolVersion"] as 4 | 5 | undefined) ?? 4;
    const client = this.open(this.shardOf(clientId), version);
    this.run();
    // Whatever the shard itself finds out about the client: the test says who it is.
    Object.defineProperty(this.shards[client.shard]!.parts.connections.get(client.id)!, "identity", { get: () => identity, set: () => undefined });
    client.send({ cmd: "connect", protocolId: "MQTT", clean: true, keepalive: 60, clientId, ...more, protocolVersion: version });
    return client;
  }

  /** Main says that access rules changed; the shards that live hear it. */
  useAccessRules(rules: AccessRuleSet | null): void {
    for (const [shard, start] of this.starts.entries()) {
      this.starts[shard] = { ...start, access: rules };
      if (!this.isDead(shard)) this.shards[shard]!.useAccessRules(rules);
    }
    this.run();
  }

  /** Main says that a listener's client certificates are verified by others now. */
  trust(trust: ClientTrust): void {
    for (const [shard, start] of this.starts.entries()) {
      this.starts[shard] = { ...start, trusts: [...start.trusts.filter(({ listener }) => listener !== trust.listener), trust] };
      if (!this.isDead(shard)) this.shards[shard]!.useTrust(trust);
    }
    this.run();
  }

  /** A counter, summed over the shards. */
  counted(counter: number): number {
    return this.counters.reduce((sum, counters) => sum + counters[counter]!, 0);
  }

  /** Opens a connection that has sent nothing yet. */
  open(shard: number, version: 4 | 5, opened: Partial<ConnectionOpened> = {}): TestClient {
    // Slots are used again as soon as they are freed, with another generation.
    const id = (((++this.generation & 0xfff) << CONNECTION_SLOT_BITS) | (this.freeSlots.shift() ?? this.nextSlot++)) >>> 0;
    const client = new TestClient(this, shard, id, version);
    this.clients.set(`${shard}/${id}`, client);
    const json: ConnectionOpened = { listener: 0, peer: "127.0.0.1", peerPort: 40000, isLoopback: true, ...opened };
    this.input(shard, INBOUND.OPENED, id, Buffer.from(JSON.stringify(json)));
    return client;
  }

  input(shard: number, kind: number, id: number, bytes: Uint8Array): void {
    const writer = this.slots[shard]!.inbound;
    const at = writer.reserve(bytes.length);
    assert.ok(at >= 0, "the test's inbound ring is large enough");
    this.bytes.set(bytes, at);
    writer.commit(kind, id, bytes.length);
    writer.publish();
    this.slots[shard]!.wantsBatch = true;
  }

  /** What a client sends reaches the ring as the reactor lets it, without a turn. */
  feed(client: TestClient, bytes: Buffer): void {
    if (client.isHeld) {
      client.held.push(bytes);
      return;
    }
    const frame = new Frame();
    if (!client.hasSent && nextFrame(bytes, 0, bytes.length, frame)) {
      client.hasSent = client.isHeld = true;
      if (frame.end < bytes.length) client.held.push(bytes.subarray(frame.end));
      this.input(client.shard, INBOUND.DATA, client.id, bytes.subarray(0, frame.end));
    } else this.input(client.shard, INBOUND.DATA, client.id, bytes);
  }

  /** Puts packets of a client into its shard's inbound ring, without a turn. */
  put(client: TestClient, ...packets: Packet[]): void {
    this.feed(client, Buffer.concat(packets.map((packet) => mqttPacket.generate(packet, { protocolVersion: client.version }))));
  }

  /** Whether a client's packets of so many bytes can be put now: as the reactor decides whether it reads. */
  canPut(client: TestClient, size: number): boolean {
    const slot = this.slots[client.shard]!;
    return !slot.isPaused && !client.isPaused && client.closeReason === null && slot.inbound.hasRoom(size);
  }

  /** A client's connection breaks, without a turn. */
  end(client: TestClient): void {
    if (client.closeReason !== null) return;
    client.closeReason = CLOSE_REASON.PEER_CLOSED;
    this.input(client.shard, INBOUND.CLOSED, client.id, Buffer.alloc(4));
  }

  /** The reactor says whether the client keeps up, without a turn. */
  press(client: TestClient, isPressed: boolean): void {
    this.input(client.shard, isPressed ? INBOUND.PRESSED : INBOUND.RELIEVED, client.id, Buffer.alloc(0));
  }

  /** A shard's timer for trying again fires, if it runs. */
  retry(shard: number): boolean {
    const timers = this.shards[shard] as unknown as { retry: NodeJS.Timeout | null };
    if (timers.retry === null || this.slots[shard]!.isDead) return false;
    clearTimeout(timers.retry);
    timers.retry = null;
    this.slots[shard]!.wantsBatch = true;
    return true;
  }

  /** The store takes in and commits what one shard has sent. @returns whether there was something */
  commitShard(shard: number): boolean {
    const before = this.journal.length;
    this.commitRing(shard);
    return this.journal.length > before;
  }

  isDead(shard: number): boolean {
    return this.slots[shard]!.isDead;
  }

  /** One turn of one shard, if it has something to do. */
  turn(shard: number): boolean {
    const slot = this.slots[shard]!;
    if (!slot.wantsBatch || slot.isDead) return false;
    slot.wantsBatch = false;
    for (const client of this.clients.values()) if (client.shard === shard) client.turnSize = 0;
    this.apply(shard, slot.options.onBatch());
    return true;
  }

  /** Turns of all shards and the store until nothing moves, but for some timers: what waits for a stopped store would try for ever. */
  run(): void {
    let retries = 0;
    for (let round = 0; round < 10_000; round++) {
      let moved = false;
      for (let shard = 0; shard < this.count; shard++) if (this.turn(shard)) moved = true;
      if (this.takeJournal()) moved = true;
      if (moved) continue;
      const again = this.slots.filter((_, shard) => this.retry(shard));
      if (again.length === 0 || retries++ === RETRIES_MAX) return;
    }
    throw new Error("the shards never come to rest");
  }

  /** Makes everything taken in durable, then runs. */
  commit(): void {
    for (const [shard, reader] of this.stores.entries()) {
      this.makeDurable(shard);
      reader.setDurable(reader.position());
      this.slots[shard]!.wantsBatch = true;
    }
    this.run();
  }

  /** The store asks for a checkpoint of everything so far, and trims when all shards have written theirs. @returns entries trimmed */
  checkpoint(): number {
    writePosition(this.positions, POSITION.CHECKPOINT_WANTED, this.disk.endLsn);
    this.advance(1000);
    return this.trim();
  }

  /** Lets go of what no shard needs any more. */
  trim(): number {
    const cells = Array.from({ length: this.count }, (_, shard) => readPosition(this.positions, POSITION.SHARD_CHECKPOINT + shard));
    const trimmed = this.disk.trim(Math.min(...cells));
    this.showDisk();
    return trimmed;
  }

  advance(milliseconds: number): void {
    this.clock.now += milliseconds;
    for (const shard of this.shards) (shard as unknown as { everySecond(): void }).everySecond();
    this.run();
  }

  /** The shard's thread dies: connections and sessions are gone, the rings between threads are as they were. */
  kill(shard: number): void {
    this.shards[shard]!.stop();
    this.slots[shard]!.isDead = true;
    for (const [key, client] of this.clients) {
      if (client.shard !== shard) continue;
      client.closeReason ??= CLOSE_REASON.SHARD_GONE;
      this.clients.delete(key);
    }
    this.live[shard] = ((this.live[shard]! >>> 1) + 1) << 1;
    for (const one of this.shards) one.shardsChanged();
  }

  /** A new thread takes the dead one's place; main calls it live with `enliven`. */
  revive(shard: number): void {
    this.commitRing(shard);
    const { inbound } = this.starts[shard]!;
    resetRing(inbound);
    const slot = this.slots[shard]!;
    slot.inbound = new RingWriter(inbound);
    slot.isDead = slot.isPaused = false;
    this.shards[shard] = this.newShard(this.starts[shard]!);
  }

  enliven(shard: number): void {
    this.live[shard]! |= 1;
    for (const one of this.shards) one.shardsChanged();
  }

  restart(shard: number): void {
    this.kill(shard);
    this.run();
    this.revive(shard);
    this.run();
    this.enliven(shard);
    this.run();
  }

  stop(): void {
    for (const shard of this.shards) shard.stop();
  }

  private takeJournal(): boolean {
    if (this.isStoreStopped) return false;
    let moved = false;
    for (let shard = 0; shard < this.count; shard++) if (this.takeRing(shard)) moved = true;
    return moved;
  }

  private takeRing(shard: number): boolean {
    const reader = this.stores[shard]!;
    let took = false;
    while (reader.next()) {
      const entry = { shard, kind: reader.kind, bytes: Buffer.from(reader.bytes.subarray(reader.at, reader.at + reader.length)) };
      this.journal.push(entry);
      this.undurable[shard]!.push(entry);
      took = true;
    }
    if (!took) return false;
    reader.release();
    if (this.isStoreFast) {
      this.makeDurable(shard);
      reader.setDurable(reader.position());
    }
    this.slots[shard]!.wantsBatch = true;
    return true;
  }

  private commitRing(shard: number): void {
    this.takeRing(shard);
    this.makeDurable(shard);
    this.stores[shard]!.setDurable(this.stores[shard]!.position());
  }

  private makeDurable(shard: number): void {
    this.disk.append(this.undurable[shard]!.splice(0));
    this.showDisk();
  }

  private showDisk(): void {
    writePosition(this.positions, POSITION.JOURNAL_FIRST, this.disk.firstLsn);
    writePosition(this.positions, POSITION.JOURNAL_DURABLE, this.disk.endLsn);
  }

  private newShard(start: ShardStart): Shard {
    return new Shard(start, this.native(), this.clock, this.log(), this.authenticator, (fromLsn) => this.disk.read(fromLsn));
  }

  private native(): Native {
    return {
      createReactor: (options: ReactorOptions) => {
        const slot = this.slots[options.shard]!;
        slot.options = options;
        return {
          flush: (size: number) => this.apply(options.shard, size),
          pauseAll: () => (slot.isPaused = true),
          resumeAll: () => (slot.isPaused = false),
          later: () => (slot.wantsBatch = true),
          trust: (key: number, ca: string, crl: string) => void this.trusted.push({ shard: options.shard, key, ca, crl }),
          peerFault: (id: number) => this.clients.get(`${options.shard}/${id}`)?.certificateFault ?? "",
          drain: (_reason: number, _lingerMs: number, done: () => void) => done(),
          destroy: () => undefined,
        };
      },
      ring: (doorbell: number) => {
        if (doorbell >= DOORBELL.SHARD && doorbell < this.slots.length) this.slots[doorbell]!.wantsBatch = true;
      },
    } as unknown as Native;
  }

  private log(): Log {
    const add = (text: string): void => void this.logged.push(text);
    return { isDebug: false, debug: add, info: add, warn: add, error: add };
  }

  private apply(shard: number, size: number): void {
    const slot = this.slots[shard]!;
    for (let at = slot.commandsAt; at < slot.commandsAt + size; ) {
      const first = this.words[at >> 2]!;
      const id = this.words[(at >> 2) + 1]!;
      const length = first & RECORD_LENGTH_MAX;
      this.command(shard, slot, first >>> 24, id, at + 8, length);
      at += 8 + ((length + 7) & ~7);
    }
  }

  private command(shard: number, slot: Slot, kind: number, id: number, at: number, length: number): void {
    const word = at >> 2;
    const client = this.clients.get(`${shard}/${id}`);
    switch (kind) {
      case COMMAND.DATA:
        client?.take(this.bytes.subarray(at, at + length));
        break;
      case COMMAND.DATA_REF:
        client?.take(this.bytes.subarray(slot.inboundAt + this.words[word]!, slot.inboundAt + this.words[word]! + this.words[word + 1]!));
        break;
      case COMMAND.MULTICAST: {
        const bytes = this.words[word]!;
        this.many(shard, (at + 4 + ((bytes + 3) & ~3)) >> 2, id, this.bytes.subarray(at + 4, at + 4 + bytes));
        break;
      }
      case COMMAND.MULTICAST_REF: {
        const from = slot.inboundAt + this.words[word]!;
        this.many(shard, word + 2, id, this.bytes.subarray(from, from + this.words[word + 1]!));
        break;
      }
      case COMMAND.MULTICAST_PATCHED: {
        const bytes = Buffer.from(this.bytes.subarray(at + 8, at + 8 + this.words[word]!));
        for (let i = 0, patch = at + 8 + ((bytes.length + 3) & ~3); i < id; i++, patch += 8) {
          bytes.set(this.bytes.subarray(patch + 4, patch + 6), this.words[word + 1]!);
          this.clients.get(`${shard}/${this.words[patch >> 2]!}`)?.take(bytes);
        }
        break;
      }
      case COMMAND.CLOSE:
        if (client !== undefined && client.closeReason === null) {
          client.closeReason = this.words[word]!;
          this.input(shard, INBOUND.CLOSED, id, Buffer.alloc(4));
        }
        break;
      case COMMAND.ACCEPT:
        if (client === undefined || client.closeReason !== null) break;
        client.isHeld = false;
        for (const bytes of client.held.splice(0)) this.feed(client, bytes);
        break;
      case COMMAND.PAUSE:
      case COMMAND.RESUME:
        if (client !== undefined) client.isPaused = kind === COMMAND.PAUSE;
        break;
      case COMMAND.KEEP_ALIVE:
        if (client !== undefined) client.keepAliveMs = this.words[word]!;
        break;
      case COMMAND.FREE:
        if (this.clients.delete(`${shard}/${id}`)) this.freeSlots.push(id & CONNECTION_SLOT_MASK);
        break;
      default:
    }
  }

  private many(shard: number, word: number, count: number, bytes: Uint8Array): void {
    for (let i = 0; i < count; i++) this.clients.get(`${shard}/${this.words[word + i]!}`)?.take(bytes);
  }
}

/** Client ids that live on given shards, e.g. one on each. */
export function clientIdOn(shard: number, shards: number, prefix: string): string {
  for (let i = 0; ; i++) if (fnv1aOf(`${prefix}${i}`) % shards === shard) return `${prefix}${i}`;
}
