// What a listener allows its clients (`mqtt:`, `listeners.{name}.mqtt`): checked at CONNECT and PUBLISH, announced in CONNACK. Thread: the shard's.
import { ProtocolError } from "../base/errors.js";
import { LISTENER_COUNT_MAX } from "../base/limits.js";
import type { ListenerLimits, ShardStart } from "../base/messages.js";
import type { Connack, Connect } from "../protocol/mqtt/control-values.js";
import type { PublishHead } from "../protocol/mqtt/publish-head.js";
import { REASON } from "../protocol/mqtt/reason-codes.js";
import { tooLarge } from "../protocol/mqtt/refusals.js";
import type { Connection } from "./connection.js";

/** By listener index the first one of the same name: a listener with several addresses is one. */
export function firstsOfName(listeners: ShardStart["listeners"]): readonly number[] {
  return listeners.map(({ name }) => listeners.findIndex((other) => other.name === name));
}

/** @param size bytes of the CONNECT. @throws ProtocolError it is refused with its reason */
export function checkConnect(limits: ListenerLimits, connect: Connect, size: number, listener: string): void {
  if (!limits.protocolVersions.includes(connect.protocolVersion)) {
    throw new ProtocolError("MQTT_VERSION", REASON.UNSUPPORTED_VERSION, `listener ${listener} does not serve MQTT ${connect.protocolVersion === 5 ? "5.0" : "3.1.1"}`);
  }
  if (size > limits.packetSizeMax) throw tooLarge(`a CONNECT of ${size} bytes, at most ${limits.packetSizeMax} are taken here`);
  if (connect.clientId === "" && !limits.allowsEmptyClientId) {
    throw new ProtocolError("MQTT_CLIENT_ID", REASON.CLIENT_ID_NOT_VALID, `listener ${listener} wants clients to name themselves: the client id is empty`);
  }
  const { will } = connect;
  if (will === undefined) return;
  // [MQTT-3.2.2-12]
  if (will.qos > limits.maximumQos) throw new ProtocolError("MQTT_PROTOCOL", REASON.QOS_NOT_SUPPORTED, `the will has QoS ${will.qos}, listener ${listener} takes at most ${limits.maximumQos}`);
  // [MQTT-3.2.2-13]
  if (will.retain && !limits.retainAvailable) throw new ProtocolError("MQTT_PROTOCOL", REASON.RETAIN_NOT_SUPPORTED, `the will is to be retained, listener ${listener} does not do that`);
}

/** Whether a PUBLISH is within what CONNACK announced; asked for each, so it is two comparisons. Hot path. */
export function isWithin(limits: ListenerLimits, head: PublishHead): boolean {
  return head.qos <= limits.maximumQos && (limits.retainAvailable || !head.retain);
}

/** Why it is not. */
export function beyond(limits: ListenerLimits, head: PublishHead): ProtocolError {
  return head.qos > limits.maximumQos
    ? new ProtocolError("MQTT_PROTOCOL", REASON.QOS_NOT_SUPPORTED, `a PUBLISH with QoS ${head.qos}, at most ${limits.maximumQos} is taken here [MQTT-3.2.2-11]`)
    : new ProtocolError("MQTT_PROTOCOL", REASON.RETAIN_NOT_SUPPORTED, "a PUBLISH with the retain flag, which is not taken here [MQTT-3.2.2-14]");
}

/** What CONNACK says of it; only what differs from the standard's default. */
export function announced(limits: ListenerLimits): Pick<Connack, "maximumQos" | "retainAvailable" | "receiveMaximum" | "maximumPacketSize" | "topicAliasMaximum"> {
  return {
    maximumQos: limits.maximumQos === 2 ? undefined : limits.maximumQos,
    retainAvailable: limits.retainAvailable ? undefined : false,
    receiveMaximum: limits.receiveMaximum,
    maximumPacketSize: limits.packetSizeMax,
    topicAliasMaximum: limits.topicAliasMaximum,
  };
}

/**
 * How many clients are connected by which listener, on all shards: u32[shards * LISTENER_COUNT_MAX], each shard writes its own row. Two shards
 * that let a client in at the same moment may both find the last place free: the limit is passed by at most the number of shards.
 */
export class ListenerClients {
  private readonly counts: Uint32Array;
  private readonly shards: number;
  private readonly at: number;
  private readonly groups: readonly number[];

  constructor(start: ShardStart) {
    this.counts = new Uint32Array(start.listenerClients);
    this.shards = start.shards;
    this.at = start.shard * LISTENER_COUNT_MAX;
    this.groups = firstsOfName(start.listeners);
    // Of a predecessor.
    this.counts.fill(0, this.at, this.at + LISTENER_COUNT_MAX);
  }

  /** @param replaced the connection that this one takes its client over from, if there is one. @throws ProtocolError the listener has as many clients as it may */
  admit(connection: Connection, replaced: Connection | null, listener: string): void {
    const { connectionsMax } = connection.limits;
    const group = this.groupOf(connection);
    let count = replaced?.isCounted === true && this.groupOf(replaced) === group ? -1 : 0;
    for (let shard = 0; shard < this.shards; shard++) count += Atomics.load(this.counts, shard * LISTENER_COUNT_MAX + group);
    if (count >= connectionsMax) throw new ProtocolError("MQTT_CONNECTIONS", REASON.QUOTA_EXCEEDED, `listener ${listener} has ${count} clients, as many as it may`);
  }

  entered(connection: Connection): void {
    connection.isCounted = true;
    Atomics.add(this.counts, this.at + this.groupOf(connection), 1);
  }

  /** The connection is gone. */
  left(connection: Connection): void {
    if (!connection.isCounted) return;
    connection.isCounted = false;
    Atomics.sub(this.counts, this.at + this.groupOf(connection), 1);
  }

  private groupOf(connection: Connection): number {
    return this.groups[connection.opened.listener] ?? 0;
  }
}
