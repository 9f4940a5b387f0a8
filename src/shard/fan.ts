// The receivers of a route by how a message reaches them: which get the same bytes, and which need their own. Made once per route and change of
// connections, then used for every message (delivery.ts). Thread: the shard's.
import { KIB } from "../base/limits.js";
import type { Target } from "../broker/route.js";
import type { Session } from "../broker/session.js";
import type { Connection, ConnectionTable } from "./connection.js";

/** The receivers of a route by how they are served; derived from its targets whenever sessions gain or lose connections. */
export interface Fan {
  /** For QoS 0 messages: connected receivers of 3.1.1 and of 5 that take the same bytes; and those that need their own. */
  readonly all4: Uint32Array;
  readonly all5: Uint32Array;
  readonly allOwn: readonly Target[];
  /** The same for QoS 1 and 2 messages, whose receivers subscribed with QoS 0. */
  readonly low4: Uint32Array;
  readonly low5: Uint32Array;
  readonly lowOwn: readonly Target[];
  /** Receivers that subscribed with QoS 1 or 2 and are connected by 3.1.1 or 5: one encoding does for all of a list but for their packet ids. */
  readonly alike: readonly (readonly Receiver[])[];
  /** The others that did, connected or not. */
  readonly acknowledged: readonly Target[];
}

export interface Receiver {
  readonly target: Target;
  readonly session: Session;
  readonly connection: Connection;
}

/** @param targets of a route; what is made of them holds until a session gains or loses a connection */
export function makeFan(targets: readonly Target[], connections: ConnectionTable): Fan {
  const all4: number[] = [];
  const all5: number[] = [];
  const allOwn: Target[] = [];
  const low4: number[] = [];
  const low5: number[] = [];
  const lowOwn: Target[] = [];
  const alike: Receiver[][] = [[], [], [], []];
  const acknowledged: Target[] = [];
  for (const target of targets) {
    const { session } = target;
    const connection = connections.get(session.connection);
    const needsOwn = connection === null || target.noLocal || target.identifiers !== null || target.retainAsPublished || connection.packetSizeMax !== Number.POSITIVE_INFINITY;
    if (target.qos > 0) {
      if (needsOwn || !session.isTransient || connection.outgoingAliases !== null) acknowledged.push(target);
      else alike[(connection.protocolVersion === 4 ? 0 : 2) + target.qos - 1]!.push({ target, session, connection });
    }
    if (connection === null) continue;
    if (needsOwn) {
      allOwn.push(target);
      if (target.qos === 0) lowOwn.push(target);
      continue;
    }
    const isVersion4 = connection.protocolVersion === 4;
    (isVersion4 ? all4 : all5).push(connection.id);
    if (target.qos === 0) (isVersion4 ? low4 : low5).push(connection.id);
  }
  for (const receivers of alike) if (receivers.length === 1) acknowledged.push(receivers[0]!.target);
  const packed4 = pack(all4);
  const packed5 = pack(all5);
  // Who subscribed with QoS 0 is among all: mostly they are all.
  return {
    all4: packed4, all5: packed5, allOwn,
    low4: low4.length === all4.length ? packed4 : pack(low4), low5: low5.length === all5.length ? packed5 : pack(low5), lowOwn,
    alike: alike.every(isAlone) ? NOT_ALIKE : alike.filter((receivers) => !isAlone(receivers)).flatMap(inCommands), acknowledged,
  };
}

const NO_RECEIVERS = new Uint32Array(0);
const NOT_ALIKE: Fan["alike"] = [];

/** Receivers of one MULTICAST_PATCHED: with the largest packet it fits into the command memory. */
const ALIKE_COUNT_MAX = 16 * KIB;

function inCommands(receivers: readonly Receiver[]): readonly Receiver[][] {
  const lists: Receiver[][] = [];
  for (let i = 0; i < receivers.length; i += ALIKE_COUNT_MAX) lists.push(receivers.slice(i, i + ALIKE_COUNT_MAX));
  return lists;
}

/** One encoding for one receiver saves nothing. */
function isAlone(receivers: readonly Receiver[]): boolean {
  return receivers.length < 2;
}

/** A typed array costs more than a route with one receiver: those without any share one. */
function pack(ids: readonly number[]): Uint32Array {
  return ids.length === 0 ? NO_RECEIVERS : Uint32Array.from(ids);
}
