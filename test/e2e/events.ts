import { type EventEmitter, once } from "node:events";
import type { MqttClient } from "mqtt";

/** `events.once` for MQTT.js clients, whose type is its own emitter. */
export async function onceOf(client: MqttClient, event: "connect" | "message" | "close" | "disconnect" | "error"): Promise<readonly unknown[]> {
  return once(client as unknown as EventEmitter, event) as Promise<readonly unknown[]>;
}
