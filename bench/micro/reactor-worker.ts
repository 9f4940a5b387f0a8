// The least that is an MQTT broker on the reactor: CONNACK, PUBACK, PINGRESP, a count of PUBLISHes. For bench/micro/reactor.ts.
import { parentPort, workerData } from "node:worker_threads";
import type { RingPlace } from "../../src/base/ring-place.js";
import { native, type Reactor } from "../../src/reactor/reactor.js";
import { CLOSE_REASON, COMMAND, INBOUND } from "../../src/ring/layout.js";
import { RingReader, SharedViews } from "../../src/ring/ring.js";
import { CommandWriter } from "../../src/shard/command-writer.js";

export interface WorkerStart {
  readonly inbound: RingPlace;
  readonly commands: { readonly byteOffset: number; readonly size: number };
  readonly counters: SharedArrayBuffer;
  readonly wake: "latency" | "throughput";
}

const start = workerData as WorkerStart;
const { bytes } = SharedViews.of(start.inbound.buffer);
const reader = new RingReader(start.inbound);
const commands = new CommandWriter(SharedViews.of(start.inbound.buffer), start.commands, (size) => reactor.flush(size));

function reply(id: number, first: number, second: number, third: number, fourth: number): void {
  const length = second + 2;
  const at = commands.data(id, length);
  bytes[at] = first;
  bytes[at + 1] = second;
  if (length === 2) return;
  bytes[at + 2] = third;
  bytes[at + 3] = fourth;
}

function frames(id: number, from: number, end: number): void {
  for (let at = from; at < end; ) {
    let body = at + 1;
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[body++]!;
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    const type = bytes[at]! >> 4;
    if (type === 3) {
      if ((bytes[at]! & 0x06) !== 0) {
        const packetId = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!);
        reply(id, 0x40, 2, bytes[packetId]!, bytes[packetId + 1]!);
      }
    } else if (type === 12) reply(id, 0xd0, 0, 0, 0);
    else if (type === 1) {
      reply(id, 0x20, 2, 0, 0);
      commands.plain(COMMAND.ACCEPT, id);
    } else if (type === 14) commands.word(COMMAND.CLOSE, id, CLOSE_REASON.DISCONNECTED);
    at = body + length;
  }
}

function onBatch(): number {
  reader.sync();
  while (reader.next()) {
    if (reader.kind === INBOUND.DATA) frames(reader.id, reader.at, reader.at + reader.length);
    else if (reader.kind === INBOUND.CLOSED) commands.plain(COMMAND.FREE, reader.id);
  }
  reader.release();
  return commands.take();
}

const reactor: Reactor = native().createReactor({
  shard: 0,
  inbound: start.inbound,
  commands: start.commands,
  counters: new Float64Array(start.counters),
  wake: start.wake,
  maximumFrameSize: 1024 * 1024,
  onBatch,
});

parentPort!.postMessage("ready");
