// Stands for a lane: runs the real one, in whose thread a loop without an end begins when it is told to (BroadcastChannel "penstock-fault":
// "hang lane N"), or when a payload that it reads says so: a JSON object with the key that names it.
import { BroadcastChannel } from "node:worker_threads";
import type { LaneStart } from "../../src/base/messages.js";
import runLane from "../../workers/lane.js";

/** A payload with this key makes the lane hang at it, each time it comes. */
const HANG_KEY = "hang_the_lane";

function hang(): never {
  for (;;);
}

// What every decoder of JSON ends in.
const parse = JSON.parse.bind(JSON);
JSON.parse = (text: string, ...more: []): unknown => (text.includes(HANG_KEY) ? hang() : (parse(text, ...more) as unknown));

export default function lane(start: LaneStart): Promise<void> {
  const channel = new BroadcastChannel("penstock-fault");
  channel.onmessage = (event): void => {
    if ((event as { readonly data: unknown }).data === `hang lane ${String(start.lane)}`) hang();
  };
  (channel as unknown as { unref(): void }).unref();
  return runLane(start).finally(() => channel.close());
}
