// The shard's turn: what the reactor received, what other shards sent, what became durable; then one answer to the reactor. Hot path.
// Thread: one shard worker; `onBatch` is called by the reactor (native) and nothing else moves messages.
//
//   onBatch:  durable? -> release acks and held messages   peers' rings -> deliver   inbound ring -> MQTT packets
//             -> SUBACKs, retained pages, wills that waited -> publish rings, ring doorbells, arm -> commands back to the reactor
import type { AccessRuleSet } from "../base/access.js";
import type { Authenticator } from "../base/authenticator.js";
import type { Clock } from "../base/clock.js";
import { SHARD_COUNTER } from "../base/counters.js";
import { ProtocolError } from "../base/errors.js";
import { KIB, MIB } from "../base/limits.js";
import { RateLimit, type Log } from "../base/log.js";
import type { JournalFrames } from "../base/journal-frames.js";
import type { ClientStatus, ClientTrust, ShardStart, SystemMessage } from "../base/messages.js";
import { POSITION, readPosition, writePosition } from "../base/positions.js";
import { MessageIds } from "../broker/message-ids.js";
import { RetainedStore } from "../broker/retained.js";
import { type Entry, RouteTable, type Subscriber } from "../broker/route.js";
import type { Session } from "../broker/session.js";
import { SubscriptionTree } from "../broker/subscription-tree.js";
import { Frame, nextFrame } from "../protocol/mqtt/fixed-header.js";
import { PACKET } from "../protocol/mqtt/packet-types.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import { tooLarge } from "../protocol/mqtt/refusals.js";
import type { ConnectionOpened, Native, Reactor } from "../reactor/reactor.js";
import { CLOSE_REASON, COMMAND, INBOUND } from "../ring/layout.js";
import { RingReader, SharedViews } from "../ring/ring.js";
import { Applied } from "./applied.js";
import { Authorisation } from "./authorisation.js";
import { Checkpoint } from "./checkpoint.js";
import { CommandWriter } from "./command-writer.js";
import { Connection, CONNECTION_STATE, ConnectionTable } from "./connection.js";
import { ControlPath } from "./control-path.js";
import { DeliveredIds } from "./delivered-ids.js";
import { Deliveries } from "./delivery.js";
import { FullMarks } from "./full-marks.js";
import { Interests } from "./interests.js";
import { ListenerClients } from "./listener-limits.js";
import { Liveness } from "./liveness.js";
import { Outlets } from "./outlets.js";
import { PeerInlet, welcomeBytes } from "./peer-inlet.js";
import { PENDING, PendingFifo, PUT_BACK } from "./pending.js";
import { PublishPath } from "./publish-path.js";
import { Recheck } from "./recheck.js";
import { RetainedFeed } from "./retained-feed.js";
import { RetainedReplica } from "./retained-replica.js";
import { RunningTime } from "./running-time.js";
import { SessionJournal } from "./session-journal.js";
import { SessionQueues } from "./session-queues.js";
import { SessionLife } from "./session-life.js";
import { SessionReplay } from "./session-replay.js";
import { SharedSubscriptions } from "./shared-subscriptions.js";
import { systemMessage } from "./system-message.js";
import type { ShardParts } from "./turn.js";

/** What remembered routes hold: some 100,000 topics with a subscriber each. */
const ROUTES_SIZE_MAX = 64 * MIB;
/** How soon a turn that found a ring full tries again; the store's doorbell usually comes first. */
const RETRY_MS = 1;
/** Bytes above the largest packet of any listener that still reach the shard. */
const OVERSIZE_HEARD = 64 * KIB;
const PROTOCOL_LOG_BURST = 5;

export class Shard {
  readonly parts: ShardParts;
  private readonly reactor: Reactor;
  private readonly inbound: RingReader;
  private readonly publishPath: PublishPath;
  private readonly control: ControlPath;
  private readonly life: SessionLife;
  private readonly feed: RetainedFeed;
  private readonly peers: PeerInlet;
  private readonly frame = new Frame();
  private readonly tick: NodeJS.Timeout;
  private retry: NodeJS.Timeout | null = null;
  /** Offset in the record at the inbound ring's tail where a full ring stopped us; 0 = at its beginning. */
  private resumeOffset = 0;
  private isStalled = false;
  private onDrained: (() => void) | null = null;
  private isClosing = false;
  private drainLingerMs = 0;
  private drainUntil = 0;
  private readonly checkpoint: Checkpoint;
  private readonly recheck: Recheck;
  private readonly positions: BigUint64Array;
  /** Until this shard serves. */
  private replay: SessionReplay | null = null;
  private heldTold = 0;

  /**
   * @param openJournal the journal from an LSN on, which it closes when it has read what it needs
   */
  constructor(start: ShardStart, native: Native, clock: Clock, log: Log, authenticator: Authenticator, openJournal: (fromLsn: number) => JournalFrames) {
    const ring = (slot: number): void => native.ring(slot);
    const views = SharedViews.of(start.inbound.buffer);
    const counters = new Float64Array(start.counters);
    const turn = { wall: clock.wall() };
    const liveness = new Liveness(start);
    this.inbound = new RingReader(start.inbound);
    const commands = new CommandWriter(views, start.commands, (size) => {
      // What these commands acknowledge is with the other shards first, as at the end of a turn.
      outlets.publish();
      this.reactor.flush(size);
    });
    const connections = new ConnectionTable();
    const tree = new SubscriptionTree<Subscriber, Entry>();
    const sessions = new Map<string, Session>();
    const shardLog = rateLimited(log, clock);
    const authorisation = new Authorisation(sessions, tree, counters, shardLog);
    authorisation.use(start.access);
    const outlets = new Outlets(start, ring);
    const interests = new Interests(start, liveness, outlets, ring);
    const retained = new RetainedStore(start.limits.retainedCountMax, start.limits.retainedBytesMax);
    const pending = new PendingFifo();
    const ids = new MessageIds(start.shard);
    const applied = new Applied();
    const deliveredIds = new DeliveredIds(start);
    const time = new RunningTime(clock);
    const storeCounters = new Float64Array(start.storeCounters);
    const journal = new SessionJournal(start.shard, outlets, pending, time, applied, storeCounters);
    const queues = new SessionQueues(start, counters, sessions, new FullMarks(interests, start.shards), time, clock, shardLog);
    const deliveries = new Deliveries(commands, connections, counters, queues, clock, journal, authorisation);
    const routes = new RouteTable(tree, ROUTES_SIZE_MAX, authorisation);
    const shared = new SharedSubscriptions({ start, clock, counters, tree, routes, outlets, interests, liveness, connections, deliveries, journal, authorisation, queues, deliveredIds });
    deliveries.shared = shared;
    this.parts = {
      start, clock, log: shardLog, counters, sessions, authorisation, listenerClients: new ListenerClients(start), commands, connections, tree, outlets, retained, liveness, interests, turn,
      storeCounters, deliveries, routes, shared, pending, ids, applied, deliveredIds, time, journal, queues,
      replica: new RetainedReplica(retained, outlets, counters, clock, liveness, (target, helloId) => {
        // What this shard has told the journal of groups and their members is there for the other to read.
        journal.whenDurable(() => {
          interests.welcome(target, () => welcomeBytes(helloId, this.publishPath.published, this.checkpoint.barrier));
        });
      }),
    };
    this.publishPath = new PublishPath(this.parts, this.inbound.dataAt);
    this.life = new SessionLife(this.parts, this.publishPath);
    this.feed = new RetainedFeed(retained, connections, this.parts.deliveries, clock, counters, journal, authorisation);
    this.control = new ControlPath(this.parts, this.life, this.feed, authenticator, () => this.reactor.later());
    this.checkpoint = new Checkpoint(this.parts);
    this.peers = new PeerInlet(this.parts, this.checkpoint);
    this.positions = new BigUint64Array(start.positions);
    this.reactor = native.createReactor({
      shard: start.shard,
      inbound: start.inbound,
      commands: start.commands,
      counters: new Float64Array(start.reactorCounters),
      wake: start.wake,
      // A little more than is taken: who sends too much by little can be told so (0x95), beyond that the reactor closes.
      maximumFrameSize: Math.min(start.inbound.capacity >> 2, start.limits.packetSizeMax + OVERSIZE_HEARD),
      onBatch: () => this.onBatch(),
    });
    this.recheck = new Recheck(this.parts, authenticator, this.control.admission, this.reactor, (connection, error) => this.control.expel(connection, error));
    for (const counter of [SHARD_COUNTER.CLIENTS, SHARD_COUNTER.SESSIONS, SHARD_COUNTER.SUBSCRIPTIONS, SHARD_COUNTER.QUEUED, SHARD_COUNTER.QUEUED_BYTES, SHARD_COUNTER.QUEUES_FULL, SHARD_COUNTER.RETAINED_FEEDS]) counters[counter] = 0;
    const heldDelivered = readPosition(this.positions, POSITION.HELD_DELIVERED + start.shard);
    // 0: the gateway starts, and all shards read the journal.
    this.replay = new SessionReplay(
      this.parts, openJournal, heldDelivered === 0 ? Number.POSITIVE_INFINITY : heldDelivered,
      readPosition(this.positions, POSITION.JOURNAL_FIRST), readPosition(this.positions, POSITION.JOURNAL_DURABLE),
    );
    if (heldDelivered === 0) writePosition(this.positions, POSITION.HELD_DELIVERED + start.shard, Math.max(1, applied.of(start.shard, true)));
    this.parts.interests.hello(this.parts.tree.localFilters());
    this.tick = setInterval(() => this.everySecond(), 1000);
    this.reactor.later();
  }

  /** Liveness of the shards changed: SUBACKs may wait for fewer now. */
  shardsChanged(): void {
    this.reactor.later();
  }

  /** Access rules changed: they hold for what comes and goes from now on. */
  useAccessRules(rules: AccessRuleSet | null): void {
    this.parts.authorisation.use(rules);
    this.parts.shared.rulesChanged();
    this.reactor.later();
  }

  /** What client certificates of a listener are verified by changed: it holds for those who are connected, too. */
  useTrust(trust: ClientTrust): void {
    this.recheck.useTrust(trust);
    this.reactor.later();
  }

  /** What this shard knows of its clients; connected ones and sessions that wait. */
  clients(): ClientStatus[] {
    const list: ClientStatus[] = [];
    for (const session of this.parts.sessions.values()) {
      const connection = this.parts.connections.get(session.connection);
      list.push({
        clientId: session.clientId,
        user: connection?.identity.user ?? "",
        isConnected: connection !== null,
        protocol: session.protocolVersion === 5 ? "MQTT 5.0" : "MQTT 3.1.1",
        listener: connection === null ? "" : (this.parts.start.listeners[connection.opened.listener]?.name ?? ""),
        peer: connection?.opened.peer ?? "",
        connectedAt: session.connectedAt,
        lastSeenAt: connection === null ? session.lastSeenAt : this.parts.clock.wall(),
        subscriptions: session.subscriptions.size,
        queued: session.queue.count,
      });
    }
    return list;
  }

  /** Publishes retained messages of the gateway's own. @returns false when the shard does not serve yet: ask again later */
  publish(messages: readonly SystemMessage[]): boolean {
    if (!this.parts.interests.mayServe) return false;
    this.parts.turn.wall = this.parts.clock.wall();
    for (const message of messages) this.publishPath.publishOwn(systemMessage(message, this.parts.turn.wall));
    this.reactor.later();
    return true;
  }

  /** Takes nothing more, acknowledges what becomes durable, says DISCONNECT 0x8B to MQTT 5, closes; bounded by `deadlineMs`. */
  drain(deadlineMs: number, done: () => void): void {
    this.onDrained = done;
    this.drainLingerMs = Math.min(deadlineMs / 2, 1000);
    this.reactor.pauseAll();
    // What is not durable by then stays unacknowledged: its client sends it again.
    this.drainUntil = this.parts.clock.monotonic() + deadlineMs / 2;
    this.reactor.later();
  }

  stop(): void {
    clearInterval(this.tick);
    if (this.retry !== null) clearTimeout(this.retry);
    this.reactor.destroy();
  }

  private onBatch(): number {
    const { parts } = this;
    const began = performance.now();
    parts.turn.wall = parts.clock.wall();
    const died = parts.liveness.look();
    parts.interests.look(died);
    parts.shared.owner.look(died);
    if (died !== 0) this.peers.lost(died);
    this.inbound.sync();
    parts.deliveries.beginTurn();
    let isIdle = this.releaseDurable();
    parts.interests.isCaughtUp = this.peers.turn();
    isIdle = this.readInbound() && isIdle && !this.peers.isHeldUp;
    isIdle = parts.shared.turn() && isIdle;
    isIdle = parts.interests.turn() && isIdle;
    isIdle = parts.replica.flush() && isIdle;
    isIdle = this.publishPath.flushOwn() && isIdle;
    isIdle = this.checkpoint.turn() && isIdle;
    const isRechecked = this.recheck.turn();
    const isFed = this.feed.turn();
    const areQueuesDone = parts.deliveries.endTurn();
    this.inbound.release();
    isIdle = parts.journal.flush() && isIdle;
    parts.outlets.publish();
    // Again: what needed no commit (durability memory, a repeated QoS 2 PUBLISH that is on disk already) has no doorbell to wait for.
    isIdle = this.releaseDurable() && isIdle;
    // Held messages that were released just now go to the other shards with this turn.
    parts.outlets.publish();
    this.tellHeld();
    if (!this.peers.arm() || !isFed || !isRechecked || !areQueuesDone || parts.deliveries.hasPostponed || parts.shared.owner.hasReady) this.reactor.later();
    if (!isIdle) this.retrySoon();
    if (this.onDrained !== null) {
      if ((parts.pending.count === 0 && parts.journal.isEmpty) || parts.clock.monotonic() >= this.drainUntil) this.closeAll();
      else this.retrySoon();
    }
    parts.counters[SHARD_COUNTER.TURNS]!++;
    parts.counters[SHARD_COUNTER.TURN_TIME_MS]! += performance.now() - began;
    parts.counters[SHARD_COUNTER.ACKS_PENDING] = parts.pending.count;
    parts.counters[SHARD_COUNTER.ROUTE_CACHE_MISSES] = parts.routes.misses;
    parts.counters[SHARD_COUNTER.PACKETS_OUT]! += parts.commands.takePackets();
    return parts.commands.take();
  }

  /** Sends what the journal now has on disk. @returns false when a held message found no room in a peer's ring */
  private releaseDurable(): boolean {
    const { pending, outlets, start, connections, deliveries } = this.parts;
    const durable = start.durability === "memory" ? outlets.store.position() : outlets.store.durable();
    while (pending.due(durable)) {
      const connection = connections.get(pending.connection);
      if (pending.kind === PENDING.DELIVER) {
        const { message, publisher } = pending.held!;
        const { packetId } = pending;
        // What tells of a refusal must fit into the store's ring.
        if (!this.parts.journal.hasRoom() || !this.publishPath.deliverHeld(message, publisher)) return false;
        pending.shift();
        if (connection !== null) connection.pending--;
        if (this.publishPath.isOverQuota) this.publishPath.refuseHeld(publisher, connection, packetId);
        continue;
      }
      if (connection !== null && (connection.refusedId !== 0 || connection.putBack > 0) && this.putBack(connection)) continue;
      const { then } = pending;
      pending.shift();
      if (then !== null) then();
      if (connection === null) continue;
      connection.pending--;
      // Not below 0: a PUBCOMP can end a flow that began on an earlier connection (MQTT 5 §4.9).
      const isOverQuota = pending.reason !== 0 && (pending.kind === PENDING.PUBACK || pending.kind === PENDING.PUBREC);
      if ((pending.kind === PENDING.PUBACK || pending.kind === PENDING.PUBCOMP || isOverQuota) && connection.openPublishes > 0) connection.openPublishes--;
      if (connection.state === CONNECTION_STATE.CONNECTED) {
        if (isOverQuota) deliveries.sendOverQuota(connection, ACK_OF[pending.kind]!, pending.packetId);
        else deliveries.sendAck(connection, ACK_OF[pending.kind]!, pending.packetId, pending.reason);
      }
      if (connection.isPaused && connection.pending <= connection.limits.receiveMaximum >> 1) {
        connection.isPaused = false;
        this.parts.commands.plain(COMMAND.RESUME, connection.id);
      }
    }
    return true;
  }

  /**
   * An acknowledgement of a client of which a QoS 2 PUBLISH was just refused on delivery: that PUBREC has to wait until the refusal is on disk, and
   * those behind it for it [MQTT-4.6.0-2] [MQTT-4.6.0-3]. @returns false when it may leave
   */
  private putBack(connection: Connection): boolean {
    const { pending, journal } = this.parts;
    if (pending.isPutBack) {
      connection.putBack--;
      return false;
    }
    const isRefused = pending.kind === PENDING.PUBREC && pending.packetId === connection.refusedId;
    if (isRefused) connection.refusedId = 0;
    journal.await(pending.kind | PUT_BACK, pending.connection, pending.packetId, null, isRefused ? REASON.QUOTA_EXCEEDED : pending.reason);
    pending.shift();
    connection.putBack++;
    return true;
  }

  /** @returns false when a full ring stopped it, or the shard does not know yet where messages go; the record stays in the ring, and reading stops meanwhile */
  private readInbound(): boolean {
    const { inbound } = this;
    if (!this.isStarted()) {
      this.stall();
      return false;
    }
    this.control.admission.turn();
    while (inbound.next()) {
      if (inbound.kind !== INBOUND.DATA && !this.parts.journal.hasRoom()) {
        inbound.unread();
        this.stall();
        return false;
      }
      if (inbound.kind === INBOUND.DATA) {
        if (!this.data(inbound.id, inbound.at + this.resumeOffset, inbound.at + inbound.length)) {
          this.resumeOffset = this.frame.at - inbound.at;
          inbound.unread();
          this.stall();
          return false;
        }
        this.resumeOffset = 0;
      } else this.event(inbound.kind, inbound.id);
    }
    if (this.isStalled) {
      this.isStalled = false;
      if (this.onDrained === null) this.reactor.resumeAll();
    }
    return true;
  }

  /** Whether clients may be read: the others have welcomed this shard, and the journal was read up to there. */
  private isStarted(): boolean {
    const { replay, parts } = this;
    if (replay === null) return true;
    if (!parts.interests.mayServe) return false;
    replay.run(readPosition(this.positions, POSITION.JOURNAL_DURABLE));
    if (!this.peers.hasCaughtUp) return false;
    for (let message = replay.undelivered[0]; message !== undefined; message = replay.undelivered[0]) {
      if (!this.publishPath.deliverToOthers(message)) return false;
      replay.undelivered.shift();
    }
    replay.finish(this.life);
    parts.interests.complete(parts.tree.localFilters());
    parts.shared.begin(parts.sessions, replay.given.finishedElsewhere());
    this.peers.started();
    this.replay = null;
    parts.replica.settle();
    this.reactor.later();
    return true;
  }

  /** What a successor must know: which held messages were delivered. */
  private tellHeld(): void {
    const { heldDelivered } = this.publishPath;
    if (heldDelivered === this.heldTold) return;
    this.heldTold = heldDelivered;
    writePosition(this.positions, POSITION.HELD_DELIVERED + this.parts.start.shard, heldDelivered);
  }

  /** Whole frames of one connection. @returns false when a ring is full; `frame` is the one to begin with next time */
  private data(id: number, at: number, end: number): boolean {
    const connection = this.parts.connections.get(id);
    if (connection === null) return true;
    const { frame, inbound } = this;
    const { bytes } = inbound;
    const { limits } = connection;
    try {
      while (connection.state !== CONNECTION_STATE.CLOSING && nextFrame(bytes, at, end, frame)) {
        const { session } = connection;
        if (session === null || connection.state !== CONNECTION_STATE.CONNECTED) {
          if (!this.control.connect(connection, bytes, frame)) return false;
        } else if (frame.end - frame.at > limits.packetSizeMax) {
          throw tooLarge(`a packet of ${frame.end - frame.at} bytes, at most ${limits.packetSizeMax} are taken here`);
        } else if (frame.type === PACKET.PUBLISH) {
          if (!this.publishPath.take(connection, session, bytes, frame)) return false;
        } else if (!this.control.take(connection, session, bytes, frame)) return false;
        at = frame.end;
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.control.fail(connection, error);
    }
    if (connection.pending >= limits.receiveMaximum && !connection.isPaused && connection.state === CONNECTION_STATE.CONNECTED) {
      // 3.1.1 has no receive maximum: a client with so many PUBLISHes unacknowledged is not read until half of them are.
      connection.isPaused = true;
      this.parts.counters[SHARD_COUNTER.STALLS_WINDOW]!++;
      this.parts.commands.plain(COMMAND.PAUSE, id);
    }
    return true;
  }

  private event(kind: number, id: number): void {
    const { connections, commands, counters, deliveries, listenerClients } = this.parts;
    if (kind === INBOUND.OPENED) {
      const opened = JSON.parse(Buffer.from(this.inbound.bytes.subarray(this.inbound.at, this.inbound.at + this.inbound.length)).toString("utf8")) as ConnectionOpened;
      const { listeners, limits } = this.parts.start;
      const connection = new Connection(id, opened, listeners[opened.listener]?.limits ?? limits);
      connections.add(connection);
      this.recheck.opened(connection);
      return;
    }
    const connection = connections.get(id);
    if (connection === null) return;
    if (kind === INBOUND.FAULT) this.control.fault(connection, this.inbound.view.getUint32(this.inbound.at, true));
    else if (kind === INBOUND.CLOSED) {
      if (connection.state === CONNECTION_STATE.CONNECTED) counters[SHARD_COUNTER.CLIENTS]!--;
      this.life.leave(connection, false);
      this.control.admission.forget(connection);
      connections.remove(connection);
      listenerClients.left(connection);
      commands.plain(COMMAND.FREE, id);
    } else if (kind === INBOUND.PRESSED || kind === INBOUND.RELIEVED) {
      connection.isPressed = kind === INBOUND.PRESSED;
      if (connection.session === null) return;
      this.parts.shared.changed(connection.session);
      if (connection.isPressed) return;
      deliveries.pump(connection.session);
      this.reactor.later();
    }
  }

  private stall(): void {
    if (this.isStalled) return;
    this.isStalled = true;
    this.reactor.pauseAll();
  }

  private retrySoon(): void {
    this.retry ??= setTimeout(() => {
      this.retry = null;
      this.reactor.later();
    }, RETRY_MS);
  }

  private everySecond(): void {
    this.parts.turn.wall = this.parts.clock.wall();
    if (this.replay === null) {
      this.life.expire();
      this.checkpoint.look();
      this.parts.queues.everySecond();
      this.parts.shared.owner.everySecond();
    }
    this.control.admission.everySecond();
    this.recheck.everySecond();
    this.parts.replica.everySecond();
    let inflight = 0;
    for (const session of this.parts.sessions.values()) inflight += session.inflight.count;
    this.parts.counters[SHARD_COUNTER.INFLIGHT] = inflight;
    this.reactor.later();
  }

  /** Within a turn: says good-bye to everybody; the reactor sends that with this turn's commands, then closes. */
  private closeAll(): void {
    const done = this.onDrained;
    if (done === null || this.isClosing) return;
    this.isClosing = true;
    this.life.isStopping = true;
    this.control.admission.refuseAll();
    for (const connection of this.parts.connections.all()) this.control.sayShutdown(connection);
    setImmediate(() => this.reactor.drain(CLOSE_REASON.SHUTDOWN, this.drainLingerMs, done));
  }
}

/** What a pending entry is on the wire. */
const ACK_OF: Readonly<Record<number, 4 | 5 | 7>> = {
  [PENDING.PUBACK]: PACKET.PUBACK,
  [PENDING.PUBREC]: PACKET.PUBREC,
  [PENDING.PUBCOMP]: PACKET.PUBCOMP,
  [PENDING.REFUSED_PUBACK]: PACKET.PUBACK,
  [PENDING.REFUSED_PUBREC]: PACKET.PUBREC,
};

/** Lines that peers can provoke come a few per second at most, with the number of those held back. */
function rateLimited(log: Log, clock: Clock): Log {
  const limit = new RateLimit(PROTOCOL_LOG_BURST, 1000);
  return {
    ...log,
    warn: (text, fields) => {
      if (!limit.allows(clock.monotonic())) return;
      const { suppressed } = limit;
      limit.suppressed = 0;
      log.warn(text, suppressed === 0 ? fields : { ...fields, suppressed });
    },
  };
}
