// What the parts of a shard share: its collaborators and the time of the turn. Built once by shard.ts.
import type { Clock } from "../base/clock.js";
import type { Log } from "../base/log.js";
import type { ShardStart } from "../base/messages.js";
import type { MessageIds } from "../broker/message-ids.js";
import type { RetainedStore } from "../broker/retained.js";
import type { Entry, RouteTable, Subscriber } from "../broker/route.js";
import type { Session } from "../broker/session.js";
import type { SubscriptionTree } from "../broker/subscription-tree.js";
import type { Applied } from "./applied.js";
import type { Authorisation } from "./authorisation.js";
import type { CommandWriter } from "./command-writer.js";
import type { ConnectionTable } from "./connection.js";
import type { DeliveredIds } from "./delivered-ids.js";
import type { Deliveries } from "./delivery.js";
import type { Interests } from "./interests.js";
import type { ListenerClients } from "./listener-limits.js";
import type { Liveness } from "./liveness.js";
import type { Outlets } from "./outlets.js";
import type { PendingFifo } from "./pending.js";
import type { RetainedReplica } from "./retained-replica.js";
import type { SharedSubscriptions } from "./shared-subscriptions.js";
import type { RunningTime } from "./running-time.js";
import type { SessionJournal } from "./session-journal.js";
import type { SessionQueues } from "./session-queues.js";

export interface ShardParts {
  readonly start: ShardStart;
  readonly clock: Clock;
  readonly log: Log;
  readonly counters: Float64Array;
  /** The store's: BLOCKED tells whether the journal can be written. */
  readonly storeCounters: Float64Array;
  readonly commands: CommandWriter;
  readonly connections: ConnectionTable;
  readonly listenerClients: ListenerClients;
  readonly authorisation: Authorisation;
  readonly sessions: Map<string, Session>;
  readonly tree: SubscriptionTree<Subscriber, Entry>;
  readonly routes: RouteTable;
  readonly retained: RetainedStore;
  readonly outlets: Outlets;
  readonly interests: Interests;
  readonly pending: PendingFifo;
  readonly deliveries: Deliveries;
  readonly replica: RetainedReplica;
  readonly liveness: Liveness;
  readonly shared: SharedSubscriptions;
  readonly ids: MessageIds;
  /** What this shard has taken in of the messages with QoS >= 1 of each shard. */
  readonly applied: Applied;
  readonly deliveredIds: DeliveredIds;
  readonly time: RunningTime;
  readonly journal: SessionJournal;
  readonly queues: SessionQueues;
  /** Wall clock at the start of the turn, Unix ms: one look at the clock per batch. */
  readonly turn: { wall: number };
}
