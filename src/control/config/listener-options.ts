// Options of `mqtt:` that a listener can have otherwise, and what shards get of them.
import type { ListenerLimits } from "../../base/messages.js";
import type { Config } from "./config.js";
import type { ListenerName, ListenerOverrides, Parsed } from "./schema.js";

/** Limits of one listener: `mqtt:`, and over it `listeners.{name}.mqtt`. @param name null = what holds where a listener says nothing */
export function listenerLimits(config: Pick<Config, "mqtt" | "listeners">, name: string | null): ListenerLimits {
  const mqtt: Parsed["mqtt"] = { ...config.mqtt, ...(name === null ? {} : overridesOf(config, name)) };
  return {
    protocolVersions: mqtt.protocol_versions.map((version) => (version === "3.1.1" ? 4 : 5)),
    maximumQos: mqtt.maximum_qos as 0 | 1 | 2,
    retainAvailable: mqtt.retain_available,
    allowsEmptyClientId: mqtt.empty_client_id === "accept",
    packetSizeMax: mqtt.packet_size_max,
    keepAliveMaxSeconds: Math.floor(mqtt.keep_alive_max / 1000),
    receiveMaximum: mqtt.receive_maximum,
    inflightMax: mqtt.inflight_max,
    topicAliasMaximum: mqtt.topic_alias_maximum,
    sessionExpiryMaxSeconds: Math.floor(mqtt.session_expiry_max / 1000),
    queueCountMax: mqtt.queue_count_max,
    queueBytesMax: mqtt.queue_bytes_max,
    queueAgeMaxSeconds: Math.ceil(mqtt.queue_age_max / 1000),
    connectionsMax: mqtt.connections_max,
  };
}

/** What a listener has otherwise; empty for those that are off or have no such options. */
export function overridesOf(config: Pick<Config, "listeners">, name: string): ListenerOverrides {
  const listener = config.listeners[name as ListenerName];
  return listener !== false && "mqtt" in listener ? listener.mqtt : {};
}
