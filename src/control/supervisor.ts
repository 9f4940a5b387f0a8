// Starts the workers, starts those that die again, and stops them in order. On main's thread; it touches no message of a device.
//
//   start:    history -> store -> lanes -> shards -> control      (each is ready before the next: a shard needs what the store replayed)
//   a death:  shard    its ring memory, the journal and the store's replayed state carry it; other shards go on
//             lane     goes on at what it had handed to history; a journal frame it died at twice is passed over
//             history  its memory held rows that were not committed: all lanes go back to what is committed
//             control  gets new channels to everybody
//             store    nothing can be acknowledged without it: the process ends (the service manager starts it again)
//   stop:     shards drain -> store commits -> lanes finish -> history flushes -> control
import { MessageChannel, type MessagePort, type Transferable } from "node:worker_threads";
import { HISTORY_COUNTER, LANE_COUNTER, MAIN_COUNTER, STORE_COUNTER } from "../base/counters.js";
import type { Clock } from "../base/clock.js";
import type { ClientTrust, FromMain, ShardStart, StoreReady, ToMain } from "../base/messages.js";
import { POSITION, readPosition } from "../base/positions.js";
import { listRings, resetRing, type Arena } from "./arena.js";
import type { Config } from "./config/config.js";
import type { AdminListenerState, ControlStart, FromControl, Peer, ToControl } from "./control-messages.js";
import { LanePool } from "./lane-pool.js";
import { LaneWatchdog } from "./lane-watchdog.js";
import type { MainLog } from "./logger.js";
import { RestartPolicy } from "./restart-policy.js";
import { readLanePositions, writeLanePositions } from "../storage/lane-positions.js";
import { hasHistory, heapLimits, historyStart, lanePositionsFile, laneStart, shardStart, storeStart, type Ports, type StartContext } from "./start-data.js";
import { StoreWatchdog } from "./store-watchdog.js";
import { WorkerHandle, within, type ThreadOptions } from "./worker-handle.js";

type CommonWorker = WorkerHandle<ToMain, FromMain>;
type ControlWorker = WorkerHandle<FromControl, ToControl>;

export interface WorkerFiles {
  readonly shard: URL;
  readonly store: URL;
  readonly lane: URL;
  readonly history: URL;
  readonly control: URL;
}

export interface Deadlines {
  /** Until a worker must be ready. The store replays its journal and history its log first. */
  readonly readyMs: number;
  /** A shard reads its sessions back from the journal. */
  readonly shardReadyMs: number;
  readonly storeReadyMs: number;
  readonly historyReadyMs: number;
  /** Until the store has on disk what a shard that died had sent. */
  readonly drainedMs: number;
  /** A store with work but without progress for this long is dead. */
  readonly storeStuckMs: number;
  /** A lane that does not beat for this long hangs. */
  readonly laneStuckMs: number;
}

export const DEFAULT_DEADLINES: Deadlines = { readyMs: 30_000, shardReadyMs: 300_000, storeReadyMs: 300_000, historyReadyMs: 180_000, drainedMs: 20_000, storeStuckMs: 30_000, laneStuckMs: 30_000 };
const WATCHDOG_INTERVAL_MS = 1000;
/** What lanes read within it is read again after a crash, without history. */
const LANES_NOTED_INTERVAL_MS = 5000;

export interface SupervisorOptions {
  readonly context: StartContext;
  readonly files: WorkerFiles;
  readonly log: MainLog;
  readonly clock: Clock;
  readonly version: string;
  readonly deadlines?: Deadlines;
  /** Heap limits by role; tests use small ones. */
  readonly limits?: typeof heapLimits;
  /** Node.js options of the workers; without it they have main's. */
  readonly execArgv?: readonly string[];
  /** The store is gone or stuck: the process must end. */
  readonly onStoreLost: (reason: string) => void;
}

export class Supervisor {
  /** What became of the admin API's addresses; filled when control is ready. */
  adminListeners: readonly AdminListenerState[] = [];
  private readonly context: StartContext;
  private readonly config: Config;
  private readonly arena: Arena;
  private readonly options: SupervisorOptions;
  private readonly log: MainLog;
  private readonly deadlines: Deadlines;
  private readonly counters: Float64Array;
  private readonly storeCounters: Float64Array;
  private readonly positions: BigUint64Array;
  private readonly live: Uint32Array;
  private readonly policies = new Map<string, RestartPolicy>();
  private readonly timers = new Set<NodeJS.Timeout>();
  private readonly shards: (CommonWorker | undefined)[];
  private readonly quarantined: number[][];
  /** LANE_CURRENT at the lane's last death. */
  private readonly diedAt: number[];
  /** It hung when it ran last. */
  private readonly hung = new Set<number>();
  private store: CommonWorker | undefined;
  private history: CommonWorker | undefined;
  private control: ControlWorker | undefined;
  private lanes: LanePool | undefined;
  private storeReady: StoreReady | undefined;
  private committedLsn = 0;
  /** By shard: who waits for the store to have all that it had sent. */
  private readonly drained = new Map<number, () => void>();
  private rowsBase = 0;
  private isStarted = false;
  private isStopping = false;

  constructor(options: SupervisorOptions) {
    this.options = options;
    this.context = options.context;
    this.config = options.context.config;
    this.arena = options.context.arena;
    this.log = options.log;
    this.deadlines = options.deadlines ?? DEFAULT_DEADLINES;
    this.counters = new Float64Array(this.arena.mainCounters);
    this.storeCounters = new Float64Array(this.arena.storeCounters);
    this.positions = new BigUint64Array(this.arena.positions);
    this.live = new Uint32Array(this.arena.shardsLive);
    this.shards = Array.from({ length: this.config.shards }, () => undefined);
    this.quarantined = Array.from({ length: this.config.lanes }, () => []);
    this.diedAt = Array.from({ length: this.config.lanes }, () => 0);
  }

  /** Starts all workers. @throws Error naming the worker that was not ready in time; call `stop` then all the same */
  async start(): Promise<void> {
    // History first: the store must give new entries positions beyond what history has, also when the journal's files were lost.
    if (hasHistory(this.config)) {
      this.history = this.spawnHistory();
      await this.mustBeReady(this.history, this.deadlines.historyReadyMs);
    }
    this.store = this.spawnStore();
    await this.mustBeReady(this.store, this.deadlines.storeReadyMs);
    const fromLsn = Math.max(this.committedLsn, this.storeReady?.firstLsn ?? 0);
    // Without history a file remembers how far the lanes were.
    const read = hasHistory(this.config) ? null : readLanePositions(lanePositionsFile(this.config), this.config.lanes, fromLsn, this.storeReady?.durableLsn ?? 0);
    await this.startLanes((lane) => read?.[lane] ?? fromLsn);
    if (read !== null) this.noteLanes();
    // Everybody is live from the beginning: the shards wait for each other's interest while they start.
    this.live.fill(1);
    for (let shard = 0; shard < this.config.shards; shard++) this.shards[shard] = this.spawnShard(shard);
    for (const shard of this.shards) await this.mustBeReady(shard!, this.deadlines.shardReadyMs);
    this.control = this.spawnControl();
    await this.mustBeReady(this.control, this.deadlines.readyMs);
    this.isStarted = true;
    const died = [this.store, this.history, ...this.shards].find((worker) => worker?.hasEnded === true);
    if (died !== undefined) throw new Error(`${died.name} ended while the others were starting`);
    this.watchStore();
    this.watchLanes();
    this.tellState();
  }

  /** Access rules changed: for all shards, and for those that are started again. */
  useAccessRules(rules: ShardStart["access"]): void {
    this.context.access = rules;
    for (const shard of this.shards) shard?.post({ type: "access", rules });
  }

  /** What client certificates of a listener are verified by changed: those that are connected are looked at, too, also by shards that are started again. */
  useTrust(trust: ClientTrust): void {
    this.context.trusts.set(trust.listener, trust);
    for (const shard of this.shards) shard?.post({ type: "trust", trust });
  }

  /** Reasons why the gateway is not ready to serve; none = ready. */
  notReady(): string[] {
    const reasons: string[] = [];
    if (!this.isStarted) reasons.push("the gateway is starting");
    if (this.isStopping) reasons.push("the gateway is stopping");
    if (this.store?.isReady !== true) reasons.push("the store is not running");
    if (hasHistory(this.config) && this.history?.isReady !== true) reasons.push("history is being restarted");
    for (let lane = 0; lane < this.config.lanes; lane++) if (this.lanes?.isReady(lane) !== true) reasons.push(`lane ${String(lane)} is being restarted`);
    this.shards.forEach((shard, index) => {
      if (shard?.isReady !== true) reasons.push(`shard ${String(index)} is being restarted`);
    });
    return reasons;
  }

  private tellState(): void {
    if (this.isStarted) this.control?.post({ type: "state", notReady: this.notReady() });
  }

  private async mustBeReady(worker: CommonWorker | ControlWorker, deadlineMs: number): Promise<void> {
    if (await worker.isReadyWithin(deadlineMs)) return;
    if (worker.hasEnded) await worker.ready;
    throw new Error(`${worker.name} was not ready within ${String(deadlineMs / 1000)} s`);
  }

  // ---- store

  private spawnStore(): CommonWorker {
    return new WorkerHandle<ToMain, FromMain>({
      name: "store", file: this.options.files.store, ...this.threadOptions("store"),
      startData: (main) => this.withoutPeer(main, (ports) => storeStart(this.context, ports)),
      onMessage: (message) => this.onStoreMessage(message),
      onEnd: (reason) => {
        if (!this.isStopping && this.isStarted) this.options.onStoreLost(`the store ended: ${reason}`);
      },
    });
  }

  private onStoreMessage(message: ToMain): void {
    if (message.type === "ready" && message.detail?.type === "store") this.storeReady = message.detail;
    else if (message.type === "shardDrained") this.drained.get(message.shard)?.();
    else this.onCommonMessage("store", message);
  }

  private watchStore(): void {
    const watchdog = new StoreWatchdog(this.arena.shards.map((shard) => shard.toStore), this.arena.storeCounters, this.deadlines.storeStuckMs);
    const timer = setInterval(() => {
      if (watchdog.isStuck(this.options.clock.monotonic())) this.options.onStoreLost(`the store has made no progress for ${String(this.deadlines.storeStuckMs / 1000)} s`);
    }, WATCHDOG_INTERVAL_MS);
    this.timers.add(timer);
  }

  /**
   * Waits until the store has on disk what a shard that died had sent: its successor reads that back. The question wakes the store, whose bell
   * the shard may not have rung any more. @returns false when it takes too long
   */
  private storeHasAll(shard: number): Promise<boolean> {
    return within(this.deadlines.drainedMs, (done) => {
      this.drained.set(shard, done);
      this.store?.post({ type: "shardDrained?", shard });
      return () => this.drained.delete(shard);
    });
  }

  // ---- shards

  private spawnShard(shard: number): CommonWorker {
    return new WorkerHandle<ToMain, FromMain>({
      name: `shard ${String(shard)}`, file: this.options.files.shard, ...this.threadOptions("shard"),
      startData: (main) => this.withPeer(main, "shard", shard, (ports) => shardStart(this.context, ports, shard)),
      onMessage: (message) => this.onCommonMessage(`shard ${String(shard)}`, message),
      onEnd: (reason) => this.onShardEnd(shard, reason),
    });
  }

  private onShardEnd(shard: number, reason: string): void {
    if (!this.isStarted || this.isStopping) return;
    this.setLive(shard, false);
    this.again(`shard ${String(shard)}`, reason, MAIN_COUNTER.RESTARTS_SHARD, () => void this.restartShard(shard));
  }

  private async restartShard(shard: number): Promise<void> {
    for (;;) {
      // A full disk is no dead store: the other shards go on meanwhile, and so does this one when there is room. It may have got room just now.
      const wasBlocked = this.storeCounters[STORE_COUNTER.BLOCKED] === 1;
      if (await this.storeHasAll(shard)) break;
      if (this.isStopping) return;
      if (!wasBlocked && this.storeCounters[STORE_COUNTER.BLOCKED] !== 1) return this.options.onStoreLost(`the store did not answer within ${String(this.deadlines.drainedMs / 1000)} s`);
      this.log.warn(`shard ${String(shard)} waits for the journal to be written again before it is started`);
    }
    if (this.isStopping) return;
    // Its reactor died with it, and so did its connections: what they had sent and nobody had read is void.
    resetRing(this.arena.shards[shard]!.inbound);
    const worker = this.spawnShard(shard);
    this.shards[shard] = worker;
    if (await this.restarted(worker, `shard ${String(shard)}`, this.deadlines.shardReadyMs)) this.setLive(shard, true);
  }

  private setLive(shard: number, isLive: boolean): void {
    // Bit 0 = live, above it the count of deaths: the other shards must not take a successor for the one that died.
    const word = Atomics.load(this.live, shard);
    Atomics.store(this.live, shard, isLive ? word | 1 : ((word >>> 1) + 1) << 1);
    for (const worker of this.shards) if (worker?.isReady === true) worker.post({ type: "shards" });
  }

  // ---- lanes

  /** @returns a lane that hangs instead of being ready, -1 when none does. @throws Error the same at the gateway's start */
  private async startLanes(fromLsn: (lane: number) => number): Promise<number> {
    const lanes = (this.lanes = new LanePool({
      file: this.options.files.lane, lanes: this.config.lanes, ...this.threadOptions("lane"),
      onMessage: (lane, message) => this.onCommonMessage(`lane ${String(lane)}`, message),
      onEnd: (lane, reason) => this.onLaneEnd(lane, reason),
    }));
    for (let lane = 0; lane < this.config.lanes; lane++) this.startLane(lane, fromLsn(lane));
    for (let lane = 0; lane < this.config.lanes; lane++) {
      if (await lanes.isReadyWithin(lane, this.deadlines.readyMs)) this.policy(`lane ${String(lane)}`).started(this.options.clock.monotonic());
      else if (!this.isStarted) throw new Error(this.late(lane));
      // One that died instead is started again by itself.
      else if (lanes.isRunning(lane) && this.lanes === lanes) return lane;
    }
    return -1;
  }

  private late(lane: number): string {
    return `lane ${String(lane)} was not ready within ${String(this.deadlines.readyMs / 1000)} s`;
  }

  private startLane(lane: number, fromLsn: number): void {
    this.lanes?.start(lane, (main) => this.withPeer(main, "lane", lane, (ports) => laneStart(this.context, ports, lane, fromLsn, this.quarantined[lane]!, this.hung.has(lane))));
  }

  private onLaneEnd(lane: number, reason: string): void {
    if (this.isStopping) return;
    const name = `lane ${String(lane)}`;
    this.noteDeath(lane);
    this.hung.delete(lane);
    this.again(name, reason, MAIN_COUNTER.RESTARTS_LANE, () => void this.restartLane(lane));
  }

  private watchLanes(): void {
    const watchdog = new LaneWatchdog(this.positions, this.config.lanes, this.deadlines.laneStuckMs);
    const timer = setInterval(() => {
      const lane = watchdog.look(this.options.clock.monotonic(), (one) => this.lanes?.isReady(one) === true);
      if (lane >= 0 && !this.isStopping) this.onLaneHangs(lane);
    }, WATCHDOG_INTERVAL_MS);
    this.timers.add(timer);
  }

  private onLaneHangs(lane: number): void {
    this.noteDeath(lane);
    this.hung.add(lane);
    this.counters[MAIN_COUNTER.LANES_HUNG]!++;
    void this.replaceLanes(`lane ${String(lane)} has not come to its turn for ${String(this.deadlines.laneStuckMs / 1000)} s: it hangs`);
  }

  /** Remembers where a lane died, or hung; a frame where it happens again is quarantined. */
  private noteDeath(lane: number): void {
    const current = readPosition(this.positions, POSITION.LANE_CURRENT + lane);
    if (current !== 0 && this.diedAt[lane] === current) this.quarantine(lane, current);
    this.diedAt[lane] = current;
  }

  /** Without history: writes down now and then how far the lanes are. */
  private noteLanes(): void {
    let noted = "";
    const timer = setInterval(() => {
      const read = this.lanesRead();
      if (read.join(" ") === noted) return;
      noted = read.join(" ");
      this.writeLanes(read);
    }, LANES_NOTED_INTERVAL_MS);
    this.timers.add(timer);
  }

  private lanesRead(): number[] {
    return Array.from({ length: this.config.lanes }, (_, lane) => readPosition(this.positions, POSITION.LANE_READ + lane));
  }

  private writeLanes(read: readonly number[]): void {
    try {
      writeLanePositions(lanePositionsFile(this.config), read);
    } catch (error) {
      this.log.warn(`${lanePositionsFile(this.config)} cannot be written; after a restart the lanes read again what they have read since: ${(error as Error).message}`);
    }
  }

  /** A frame that is named once is taken with care (each of its messages alone), one that is named twice is passed over whole. */
  private quarantine(lane: number, lsn: number): void {
    const list = this.quarantined[lane]!;
    const times = list.filter((one) => one === lsn).length;
    if (times === 2) return;
    list.push(lsn);
    if (times === 0) this.counters[MAIN_COUNTER.FRAMES_QUARANTINED]!++;
    this.log.error(`lane ${String(lane)} died again at journal position ${String(lsn)}: ${times === 0 ? "what it cannot take there is put aside" : "that frame is passed over"}`, { lsn });
  }

  private async restartLane(lane: number): Promise<void> {
    // Replacing all lanes, because one hung, has brought it back already.
    const lanes = this.lanes;
    if (lanes === undefined || lanes.isRunning(lane)) return;
    this.startLane(lane, readPosition(this.positions, POSITION.LANE_READ + lane));
    if (await lanes.isReadyWithin(lane, this.deadlines.readyMs)) this.isBack(`lane ${String(lane)}`);
    else if (lanes.isRunning(lane) && !this.isStopping) await this.replaceLanes(this.late(lane));
  }

  /** A lane hangs: a single thread of the pool cannot be ended and waited for, so all are. */
  private async replaceLanes(reason: string): Promise<void> {
    let why = reason;
    while (why !== "") {
      this.log.error(`all lanes are started again: ${why}`);
      const lanes = this.lanes;
      this.lanes = undefined;
      await lanes?.destroy();
      if (this.isStopping) return;
      const late = await this.startLanes((lane) => readPosition(this.positions, POSITION.LANE_READ + lane));
      if (this.isStopping) return;
      why = late < 0 ? "" : this.late(late);
    }
    this.log.info("all lanes run again");
    this.tellState();
  }

  // ---- history

  private spawnHistory(): CommonWorker {
    return new WorkerHandle<ToMain, FromMain>({
      name: "history", file: this.options.files.history, ...this.threadOptions("history"),
      startData: (main) => this.withPeer(main, "history", 0, (ports) => historyStart(this.context, ports)),
      onMessage: (message) => {
        if (message.type === "ready" && message.detail?.type === "history") this.committedLsn = message.detail.committedLsn;
        else this.onCommonMessage("history", message);
      },
      onEnd: (reason) => {
        if (this.isStarted && !this.isStopping) this.again("history", reason, MAIN_COUNTER.RESTARTS_HISTORY, () => void this.restartHistory());
      },
    });
  }

  /**
   * What history held in memory is lost. The lanes go on running: they see that history began a new epoch (POSITION.HISTORY_EPOCH) and go
   * back to what it had committed, so that every journal entry comes to it once more.
   */
  private async restartHistory(): Promise<void> {
    this.countUncommitted();
    this.history = this.spawnHistory();
    await this.restarted(this.history, "history", this.deadlines.historyReadyMs);
  }

  private countUncommitted(): void {
    const measured = this.arena.lanes.reduce((sum, lane) => sum + new Float64Array(lane.counters)[LANE_COUNTER.MEASUREMENTS]!, 0);
    const rows = measured - new Float64Array(this.arena.historyCounters)[HISTORY_COUNTER.ROWS]!;
    const uncommitted = Math.max(0, rows - this.rowsBase);
    this.rowsBase = rows;
    this.counters[MAIN_COUNTER.HISTORY_ROWS_UNCOMMITTED]! += uncommitted;
    this.log.warn("rows that history had not committed: those of QoS 1 and 2 are read again from the journal, those of QoS 0 are lost", { rows: uncommitted });
  }

  // ---- control

  private spawnControl(): ControlWorker {
    const lane = (index: number) => ({ hasEnded: this.lanes?.isRunning(index) !== true, post: (message: FromMain, transfer: readonly Transferable[]) => this.lanes?.post(index, message, transfer as MessagePort[]) });
    const peers = [
      ...this.shards.flatMap((worker, shard) => this.peerOf("shard", shard, worker)),
      ...Array.from({ length: this.config.lanes }, (_, index) => index).flatMap((index) => this.peerOf("lane", index, lane(index))),
      ...this.peerOf("history", 0, this.history),
    ];
    return new WorkerHandle<FromControl, ToControl>({
      name: "control", file: this.options.files.control, ...this.threadOptions("control"),
      startData: (main) => ({ start: this.controlStart(main, peers), transfer: peers.map((peer) => peer.port) }),
      onMessage: (message) => {
        if (message.type === "ready") this.adminListeners = message.listeners;
        else this.onCommonMessage("control", message);
      },
      onEnd: (reason) => {
        this.control = undefined;
        if (this.isStarted && !this.isStopping) this.again("control", reason, MAIN_COUNTER.RESTARTS_CONTROL, () => void this.restartControl());
      },
    });
  }

  private async restartControl(): Promise<void> {
    this.control = this.spawnControl();
    await this.restarted(this.control, "control", this.deadlines.readyMs);
  }

  /** @returns nothing for who is down: control says at once that it does not run, and hears of it when it is back */
  private peerOf(role: Peer["role"], index: number, worker: { readonly hasEnded: boolean; post: (message: FromMain, transfer: readonly Transferable[]) => void } | undefined): readonly Peer[] {
    if (worker === undefined || worker.hasEnded) return [];
    const { port1, port2 } = new MessageChannel();
    worker.post({ type: "control", port: port2 }, [port2]);
    return [{ role, index, port: port1 }];
  }

  private controlStart(main: MessagePort, peers: readonly Peer[]): ControlStart {
    const { arena, config } = this;
    const { admin } = config.listeners;
    return {
      role: "control", main, logLevel: config.log, peers, positions: arena.positions, rings: listRings(arena),
      counters: {
        main: arena.mainCounters, front: arena.frontCounters, store: arena.storeCounters, history: arena.historyCounters,
        shards: arena.shards.map((shard) => shard.counters), reactors: arena.shards.map((shard) => shard.reactorCounters), lanes: arena.lanes.map((lane) => lane.counters),
      },
      shards: config.shards, lanes: config.lanes, hasHistory: hasHistory(config),
      statistics: { window: config.statistics.window, warmUp: config.statistics.warm_up, threshold: config.statistics.threshold },
      version: this.options.version, systemIntervalMs: config.sys_interval, notReady: this.notReady(),
      ...(admin === false ? {} : { listener: { hosts: admin.host, port: this.adminPort(admin.port) } }),
    };
  }

  /** A restarted control takes the port that its predecessor had, also when the configuration left the choice to the system. */
  private adminPort(configured: number): number {
    for (const state of this.adminListeners) if ("url" in state) return Number(new URL(state.url).port);
    return configured;
  }

  // ---- what all have in common

  private threadOptions(role: Parameters<typeof heapLimits>[0]): ThreadOptions {
    const { limits, execArgv } = this.options;
    return { resourceLimits: (limits ?? heapLimits)(role, this.config), ...(execArgv === undefined ? {} : { execArgv }) };
  }

  /** Start data with a channel to control: its other end goes there now, or with control's own start. */
  private withPeer<T extends object>(main: MessagePort, role: Peer["role"], index: number, make: (ports: Ports) => T): { start: T; transfer: MessagePort[] } {
    const { port1, port2 } = new MessageChannel();
    if (this.control === undefined) port1.close();
    else this.control.post({ type: "peer", role, index, port: port1 }, [port1]);
    return { start: make({ main, control: port2 }), transfer: [port2] };
  }

  /** The store answers no requests; its port to control leads nowhere. */
  private withoutPeer<T extends object>(main: MessagePort, make: (ports: Ports) => T): { start: T; transfer: MessagePort[] } {
    const { port1, port2 } = new MessageChannel();
    port1.close();
    return { start: make({ main, control: port2 }), transfer: [port2] };
  }

  private onCommonMessage(name: string, message: ToMain | FromControl): void {
    if (message.type === "log") this.log.line(message.level, message.area, message.text, message.fields);
    else if (message.type === "failed") this.log.error(`${name}: ${message.text}`, { code: message.code });
  }

  private policy(name: string): RestartPolicy {
    let policy = this.policies.get(name);
    if (policy === undefined) this.policies.set(name, (policy = new RestartPolicy()));
    return policy;
  }

  /** Counts and logs a death, and runs `restart` when it is time. */
  private again(name: string, reason: string, counter: number, restart: () => void): void {
    const waitMs = this.policy(name).died(this.options.clock.monotonic());
    this.counters[counter]!++;
    this.log.error(`${name} died${waitMs === 0 ? ", starting it again" : `, starting it again in ${String(waitMs)} ms`}: ${reason}`);
    this.tellState();
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      if (!this.isStopping) restart();
    }, waitMs);
    this.timers.add(timer);
  }

  /** Waits until a worker that was started again is ready; one that is not in time is ended, which starts it once more. */
  private async restarted(worker: CommonWorker | ControlWorker, name: string, deadlineMs: number): Promise<boolean> {
    const isReady = await worker.isReadyWithin(deadlineMs);
    if (isReady) this.isBack(name);
    else if (!worker.hasEnded && !this.isStopping) await worker.terminate(`it was not ready within ${String(deadlineMs / 1000)} s`);
    return isReady;
  }

  private isBack(name: string): void {
    this.policy(name).started(this.options.clock.monotonic());
    this.log.info(`${name} runs again`);
    this.tellState();
  }

  /**
   * Stops all workers in order, each within what is left of the deadline. New connections must have been stopped before.
   *
   * @returns what had to be given up; empty when everything was finished
   */
  async stop(deadlineMs: number): Promise<string[]> {
    const end = this.options.clock.monotonic() + deadlineMs;
    const left = (): number => Math.max(0, end - this.options.clock.monotonic());
    this.isStopping = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.tellState();
    const givenUp: string[] = [];
    // Half of the time at most for the clients: the store, the lanes and history must come to their turn whoever does not answer.
    const drainMs = deadlineMs * 0.4;
    const running = this.shards.filter((shard) => shard?.isReady === true).map((shard) => shard!);
    for (const shard of running) shard.post({ type: "drain", deadlineMs: drainMs });
    const drained = await Promise.all(running.map((shard) => shard.says("drained", deadlineMs / 2)));
    drained.forEach((isDrained, index) => isDrained || givenUp.push(`clients of ${running[index]!.name} were not told`));
    if (!(await this.stopWorker(this.store, left()))) givenUp.push("the store had not committed everything");
    const lanesLeft = (await this.lanes?.stop(left() * 0.6)) ?? [];
    if (!hasHistory(this.config) && this.isStarted) this.writeLanes(this.lanesRead());
    if (lanesLeft.length > 0) givenUp.push(`lanes ${lanesLeft.join(", ")} had not finished; they go on from the journal at the next start`);
    if (!(await this.stopWorker(this.history, left()))) givenUp.push("history had not committed everything; it goes on from the journal at the next start");
    await this.endThreads();
    return givenUp;
  }

  private async stopWorker(worker: CommonWorker | undefined, deadlineMs: number): Promise<boolean> {
    if (worker === undefined || worker.hasEnded) return true;
    worker.post({ type: "stop" });
    return worker.says("stopped", deadlineMs);
  }

  /** Ends what is safe to end by force; the store and history close by themselves or with the process. */
  private async endThreads(): Promise<void> {
    const ends = this.shards.map((shard) => shard?.terminate("the gateway stops"));
    await Promise.all([...ends, this.control?.terminate("the gateway stops"), this.lanes?.destroy()]);
  }
}
