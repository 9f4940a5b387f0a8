// Stands for a worker in supervision tests: runs the real one, and throws in its thread when told to (BroadcastChannel "penstock-fault").
// Which worker it is stands in its start data: `role`, and `shard` or `lane`.
import { BroadcastChannel, workerData } from "node:worker_threads";

interface Start {
  readonly role: string;
  readonly shard?: number;
}

const start = workerData as Start;
const channel = new BroadcastChannel("penstock-fault");
channel.onmessage = (event): void => {
  const wanted = (event as { readonly data: unknown }).data;
  const name = start.role === "shard" ? `shard ${String(start.shard)}` : start.role;
  if (wanted === name) {
    channel.close();
    throw new Error(`injected into ${name}`);
  }
};
(channel as unknown as { unref(): void }).unref();
await import(`../../workers/${start.role}.js`);
