// The queues of this shard's sessions and their limits: count and bytes of each (`mqtt.queue_…`), of all of the gateway (`mqtt.queues_…`), and age
// (`mqtt.queue_age_max`). Whatever waits for somebody in memory goes in and out here, so that it is counted once. Thread: the shard's. Hot path.
// Invariant: `isQueueFull` of a session stands from the message that took its last place, or found none, until an eighth is free again; meanwhile
// the other shards know it (full-marks.ts). Sessions that end with their connection are never marked: nobody was promised anything.
import { SHARD_COUNTER } from "../base/counters.js";
import type { Clock } from "../base/clock.js";
import { RateLimit, type Log } from "../base/log.js";
import type { ShardStart } from "../base/messages.js";
import type { Delivery, Session } from "../broker/session.js";
import { NOT_QUEUED } from "../broker/stored-message.js";
import { isShared } from "../broker/topic.js";
import type { FullMarks } from "./full-marks.js";
import { GatewayTotals, ROOMY } from "./gateway-totals.js";
import type { RunningTime } from "./running-time.js";

/** Sessions looked at, and messages dropped for their age, in one turn. */
const TURN_LOOKS = 4096;
const TURN_DROPS = 1024;
const LOG_INTERVAL_MS = 10_000;

export class SessionQueues {
  readonly totals: GatewayTotals;
  readonly marks: FullMarks;
  private readonly limits: ShardStart["limits"];
  private readonly counters: Float64Array;
  private readonly sessions: ReadonlyMap<string, Session>;
  private readonly time: RunningTime;
  private readonly clock: Clock;
  private readonly log: Log;
  private readonly logLimit = new RateLimit(1, LOG_INTERVAL_MS);
  private readonly hasAgeLimit: boolean;
  private readonly full = new Set<Session>();
  /** Where the walk over all sessions, and over the full ones, stands; null between two. */
  private ageWalk: Iterator<Session, undefined> | null = null;
  private ageSession: Session | null = null;
  private roomWalk: Iterator<Session, undefined> | null = null;
  /** Running time in whole seconds, looked up once a turn; NOT_QUEUED = not yet. */
  private second = NOT_QUEUED;

  constructor(start: ShardStart, counters: Float64Array, sessions: ReadonlyMap<string, Session>, marks: FullMarks, time: RunningTime, clock: Clock, log: Log) {
    this.totals = new GatewayTotals(start);
    this.marks = marks;
    this.limits = start.limits;
    this.counters = counters;
    this.sessions = sessions;
    this.time = time;
    this.clock = clock;
    this.log = log;
    this.hasAgeLimit = [start.limits, ...start.listeners.map(({ limits }) => limits ?? start.limits)].some(({ queueAgeMaxSeconds }) => queueAgeMaxSeconds > 0);
  }

  beginTurn(): void {
    this.second = NOT_QUEUED;
    this.totals.beginTurn();
  }

  /** @returns false when a limit forbids it: `drop` follows, unless somebody else can have it */
  push(session: Session, delivery: Delivery): boolean {
    const { queueCountMax, queueBytesMax } = session.limits ?? this.limits;
    const { queue } = session;
    const { message } = delivery;
    const { size } = message;
    if (!this.totals.hasRoom(size) || !queue.push(delivery, queueCountMax, queueBytesMax)) return false;
    if (message.queuedSince === NOT_QUEUED) message.queuedSince = this.now();
    this.count(1, size);
    // The next one of that size would find no place: the other shards should know before it comes.
    if (queue.count >= queueCountMax || queue.bytes + size > queueBytesMax || !this.totals.hasRoom(size)) this.mark(session);
    return true;
  }

  /** A message found no room: counted, and said once in a while. */
  drop(session: Session, delivery: Delivery): void {
    const isOfAll = !this.totals.hasRoom(delivery.message.size);
    this.counters[isOfAll ? SHARD_COUNTER.DROPPED_QUEUES_FULL : SHARD_COUNTER.DROPPED_QUEUE_FULL]!++;
    this.mark(session);
    if (!this.logLimit.allows(this.clock.monotonic())) return;
    const { suppressed } = this.logLimit;
    this.logLimit.suppressed = 0;
    this.log.warn(isOfAll ? "the queues of all sessions together are full: messages are dropped" : "a session's queue is full: messages for it are dropped", {
      client: session.clientId, queued: session.queue.count, bytes: session.queue.bytes, not_logged: suppressed,
    });
  }

  /** Takes out the oldest. REQUIRES: there is one */
  shift(session: Session): Delivery {
    const delivery = session.queue.shift()!;
    if (session.uncheckedCount > 0) session.uncheckedCount--;
    this.count(-1, -delivery.message.size);
    if (session.isQueueFull && this.isRoomy(session)) this.unmark(session);
    return delivery;
  }

  /** Takes out all that `isWanted` names: somebody else gets it. */
  take(session: Session, isWanted: (delivery: Delivery) => boolean): Delivery[] {
    const taken = session.queue.take(isWanted);
    for (const { message } of taken) this.count(-1, -message.size);
    if (taken.length > 0 && session.isQueueFull && this.isRoomy(session)) this.unmark(session);
    return taken;
  }

  /** The session's subscriptions changed. */
  resubscribed(session: Session): void {
    if (!session.isQueueFull) return;
    this.marks.unmark(session);
    this.marks.mark(session, filtersOf(session));
  }

  /** A session was taken up from the journal with what it had: nothing of that is dropped, whatever the limits are now. */
  adopt(session: Session): void {
    const { queueCountMax, queueBytesMax } = this.limits;
    const { queue } = session;
    this.count(queue.count, queue.bytes);
    if (queue.count >= queueCountMax || queue.bytes >= queueBytesMax) this.mark(session);
  }

  /** The session is over. */
  clear(session: Session): void {
    this.count(-session.queue.count, -session.queue.bytes);
    session.queue.clear();
    this.unmark(session);
  }

  /** Whether a message has waited longer than it may. */
  isTooOld(session: Session, delivery: Delivery): boolean {
    const { queueAgeMaxSeconds } = session.limits ?? this.limits;
    return queueAgeMaxSeconds > 0 && this.now() - delivery.message.queuedSince >= queueAgeMaxSeconds;
  }

  /** The clock has moved on: queues are looked through for what is too old, and full ones for room. */
  everySecond(): void {
    if (this.hasAgeLimit) this.ageWalk ??= this.sessions.values();
    if (this.full.size > 0) this.roomWalk ??= this.full.values();
  }

  /** Once per turn. @param dropOldest drops the head of a session's queue for its age. @returns false when there is more to do at once */
  turn(dropOldest: (session: Session) => void): boolean {
    const isDone = this.walkForAge(dropOldest) && this.walkForRoom();
    return this.marks.turn() && isDone;
  }

  private walkForAge(dropOldest: (session: Session) => void): boolean {
    if (this.ageWalk === null) return true;
    let drops = 0;
    for (let looks = 0; looks < TURN_LOOKS; looks++) {
      if (this.ageSession === null) {
        const next = this.ageWalk.next();
        if (next.done === true) {
          this.ageWalk = null;
          return true;
        }
        this.ageSession = next.value;
      }
      const session = this.ageSession;
      for (let head = session.queue.peek(); head !== undefined && this.isTooOld(session, head); head = session.queue.peek()) {
        if (drops++ === TURN_DROPS) return false;
        dropOldest(session);
      }
      this.ageSession = null;
    }
    return false;
  }

  private walkForRoom(): boolean {
    if (this.roomWalk === null) return true;
    for (let looks = 0; looks < TURN_LOOKS; looks++) {
      const next = this.roomWalk.next();
      if (next.done === true) {
        this.roomWalk = null;
        return true;
      }
      if (this.isRoomy(next.value)) this.unmark(next.value);
    }
    return false;
  }

  /** Whether a member of groups that had no room may be given more. */
  isHalfFree(session: Session): boolean {
    return this.isWithin(session, 0.5);
  }

  private isRoomy(session: Session): boolean {
    return this.isWithin(session, ROOMY);
  }

  /** @param share of its limits */
  private isWithin({ limits, queue }: Session, share: number): boolean {
    const { queueCountMax, queueBytesMax } = limits ?? this.limits;
    return queue.count <= queueCountMax * share && queue.bytes <= queueBytesMax * share && this.totals.isRoomy;
  }

  private mark(session: Session): void {
    if (session.isQueueFull || session.isTransient) return;
    session.isQueueFull = true;
    this.full.add(session);
    this.counters[SHARD_COUNTER.QUEUES_FULL] = this.full.size;
    this.marks.mark(session, filtersOf(session));
  }

  private unmark(session: Session): void {
    if (!session.isQueueFull) return;
    session.isQueueFull = false;
    this.full.delete(session);
    this.counters[SHARD_COUNTER.QUEUES_FULL] = this.full.size;
    this.marks.unmark(session);
  }

  private count(count: number, bytes: number): void {
    this.counters[SHARD_COUNTER.QUEUED]! += count;
    this.counters[SHARD_COUNTER.QUEUED_BYTES]! += bytes;
    this.totals.add(count, bytes);
  }

  private now(): number {
    if (this.second === NOT_QUEUED) this.second = Math.floor(this.time.now());
    return this.second;
  }
}

/** That lead to its queue: subscriptions with QoS 0 do not, and groups have queues of their own. */
function filtersOf(session: Session): string[] {
  return [...session.subscriptions.values()].filter(({ qos, filter }) => qos > 0 && !isShared(filter)).map(({ filter }) => filter);
}
