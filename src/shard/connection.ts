// One MQTT connection as its shard sees it, and the table of all of them. Thread: the shard's.
import type { Grant } from "../base/authenticator.js";
import { ANONYMOUS, type Identity } from "../base/identity.js";
import type { ListenerLimits } from "../base/messages.js";
import type { Route } from "../broker/route.js";
import type { Session } from "../broker/session.js";
import type { OutgoingAliases } from "./outgoing-aliases.js";
import type { ConnectionOpened } from "../reactor/reactor.js";
import { CONNECTION_SLOT_MASK } from "../ring/layout.js";

/** Life of a connection: OPENED -> (CONNECT) -> [WAITING: its credentials are being checked] -> CONNECTED -> (CLOSE sent) -> CLOSING -> freed. */
export const CONNECTION_STATE = { OPENED: 0, CONNECTED: 1, CLOSING: 2, WAITING: 3 } as const;

export class Connection {
  readonly id: number;
  readonly opened: ConnectionOpened;
  /** Of its listener. */
  readonly limits: ListenerLimits;
  state: number = CONNECTION_STATE.OPENED;
  session: Session | null = null;
  /** Set when its CONNECT is let in. */
  identity: Identity = ANONYMOUS;
  /** By what its CONNECT was let in, as far as that can be asked again (recheck.ts). */
  grant: Grant | null = null;
  /** The method of enhanced authentication that its CONNECT named (MQTT 5 §4.12). */
  authenticationMethod: string | null = null;
  /** Its place among the CONNECTs of this shard: which of two with one client id is the later one. */
  connectOrder = 0;
  protocolVersion: 4 | 5 = 4;
  /** Largest packet the client takes (MQTT 5 §3.1.2.11.4). */
  packetSizeMax = Number.POSITIVE_INFINITY;
  /** The topic of its last PUBLISH: most devices use one. */
  lastRoute: Route | null = null;
  /** By topic alias (MQTT 5 §3.3.2.3.4). */
  aliases: (Route | undefined)[] | null = null;
  /** Of deliveries to it; null when it takes none (MQTT 5 §3.1.2.11.5). */
  outgoingAliases: OutgoingAliases | null = null;
  /** Its CONNECT was MQTT 3.1's, which lets the DUP flag stand on packets where 3.1.1 reserves it. */
  isMqtt31 = false;
  /** It is a bridge of mosquitto: its subscriptions are No Local and Retain As Published. */
  isBridge = false;
  /** Entries of its own in PendingFifo: at a limit it is not read until they are acknowledged. */
  pending = 0;
  /** QoS 1 and 2 PUBLISHes without PUBACK or PUBCOMP yet: what MQTT 5's receive maximum limits (§3.3.4). */
  openPublishes = 0;
  /** Packet id of a QoS 2 PUBLISH that was refused on delivery: its PUBREC is next in PendingFifo; 0 = none. */
  refusedId = 0;
  /** Entries of its own in PendingFifo that were put back behind such a refusal. */
  putBack = 0;
  /** Bytes of deliveries it was given in turn number `sentInTurn` (Deliveries). */
  sentSize = 0;
  sentInTurn = 0;
  isPaused = false;
  /** It counts among the clients of its listener. */
  isCounted = false;
  /** It reads too slowly: deliveries wait in its session or are dropped (QoS 0). */
  isPressed = false;
  /** MQTT 5 §3.1.2.11.7: reason strings may be sent. */
  wantsProblemInformation = true;

  constructor(id: number, opened: ConnectionOpened, limits: ListenerLimits) {
    this.id = id;
    this.opened = opened;
    this.limits = limits;
  }
}

export class ConnectionTable {
  private readonly bySlot: (Connection | undefined)[] = [];
  count = 0;
  /** Grows whenever a session gains or loses its connection: lists of receivers derived from routes are void then. */
  epoch = 0;

  /** The connection with this id and generation, else null: what was meant for its predecessor in the slot reaches nobody. */
  get(id: number): Connection | null {
    const connection = this.bySlot[id & CONNECTION_SLOT_MASK];
    return connection !== undefined && connection.id === id ? connection : null;
  }

  add(connection: Connection): void {
    this.bySlot[connection.id & CONNECTION_SLOT_MASK] = connection;
    this.count++;
  }

  remove(connection: Connection): void {
    this.bySlot[connection.id & CONNECTION_SLOT_MASK] = undefined;
    this.count--;
  }

  /** So many slots have been used at once. */
  get slotCount(): number {
    return this.bySlot.length;
  }

  /** Whatever connection has the slot. REQUIRES: slot < slotCount */
  inSlot(slot: number): Connection | null {
    return this.bySlot[slot] ?? null;
  }

  *all(): Iterable<Connection> {
    for (const connection of this.bySlot) if (connection !== undefined) yield connection;
  }
}
