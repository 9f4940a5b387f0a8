// The process that durable clients live in: the test tells it by IPC which there are and what they are to do, and kills it now and then. A successor
// is told the same and finds their notebooks in the same folder.
import type { ClientSpec, DurableClient, Place } from "./durable-client.js";
import { DurablePublisher } from "./durable-publisher.js";
import { DurableSubscriber } from "./durable-subscriber.js";

/** What the test says. */
export type Order = { readonly do: "host"; readonly place: Place; readonly directory: string } | { readonly do: "follow"; readonly spec: ClientSpec } | { readonly do: "cut"; readonly name: string };

const REPORT_PAUSE_MS = 5;
const clients = new Map<string, DurableClient>();
const changed = new Set<string>();
let timer: NodeJS.Timeout | null = null;
let host: { readonly place: Place; readonly directory: string } | null = null;

function report(): void {
  timer = null;
  const reports = [...changed].map((name) => clients.get(name)!.report);
  changed.clear();
  process.send!(reports);
}

function follow(spec: ClientSpec): void {
  let client = clients.get(spec.name);
  if (client === undefined) {
    const Kind = spec.topics.length > 0 ? DurablePublisher : DurableSubscriber;
    client = new Kind(spec, host!.place, () => {
      changed.add(spec.name);
      timer ??= setTimeout(report, REPORT_PAUSE_MS);
    });
    client.remindFrom(host!.directory);
    clients.set(spec.name, client);
  }
  client.follow(spec);
}

process.on("message", (order: Order) => {
  if (order.do === "host") host = order;
  else if (order.do === "follow") follow(order.spec);
  else clients.get(order.name)?.cut();
});
// Nobody outlives the test.
process.on("disconnect", () => process.exit(0));
