// Packets and runners that the tests of the shard share.
import t, { type Test } from "tap";
import type { Packet } from "mqtt-packet";
import { clientIdOn, type GatewayOptions, TestGateway } from "./harness.js";

const SHARD_COUNTS = [1, 2, 4];

/** Client ids on the first and the last shard. */
export interface Ids {
  readonly a: string;
  readonly b: string;
}

export function publish(topic: string, payload: string, qos: 0 | 1 | 2 = 0, more: Record<string, unknown> = {}): Packet {
  return { cmd: "publish", topic, payload, qos, retain: false, dup: false, ...(qos > 0 ? { messageId: 1 } : {}), ...more } as unknown as Packet;
}

export function subscribe(topic: string, qos: 0 | 1 | 2 = 0, more: Record<string, unknown> = {}): Packet {
  return { cmd: "subscribe", messageId: 9, subscriptions: [{ topic, qos, ...more }] } as unknown as Packet;
}

/** PUBACK, PUBREC, PUBREL, PUBCOMP. */
export function ack(cmd: "puback" | "pubrec" | "pubrel" | "pubcomp", messageId: number): Packet {
  return { cmd, messageId, reasonCode: 0 };
}

/** Runs the test with every number of shards. */
export function onShards(name: string, run: (t: Test, gateway: TestGateway, ids: Ids) => void, options: GatewayOptions = {}, counts: readonly number[] = SHARD_COUNTS): void {
  for (const shards of counts) {
    void t.test(`${name} (${String(shards)} shards)`, (t) => {
      const gateway = new TestGateway({ ...options, shards });
      t.teardown(() => gateway.stop());
      run(t, gateway, { a: clientIdOn(0, shards, "a"), b: clientIdOn(shards - 1, shards, "b") });
      t.end();
    });
  }
}
