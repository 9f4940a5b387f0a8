// A shard as the reactor's tests need it: does what each frame's first byte says (protocol.ts), and tells main what the reactor told it.
import { parentPort, workerData } from "node:worker_threads";
import { assert } from "../../src/base/assert.js";
import { native, type Reactor } from "../../src/reactor/reactor.js";
import { CLOSE_REASON, COMMAND, INBOUND } from "../../src/ring/layout.js";
import { RingReader, SharedViews } from "../../src/ring/ring.js";
import { CommandWriter } from "./command-writer.js";
import { frame, frameEnd, OP, type ConnectOptions } from "./protocol.js";
import type { ShardData, ShardEvent, ShardOrder } from "./shard.js";

const data = workerData as ShardData;
const port = parentPort;
assert(port !== null, "runs as a worker");
const reader = new RingReader(data.inbound);
const views = SharedViews.of(data.inbound.buffer);
const writer = new CommandWriter(views, data.commands.byteOffset, data.commands.size, (size) => reactor.flush(size));
const ids = new Set<number>();
const connects = new Map<number, Buffer>();
let batches = 0;
let isLeaving = false;
let orders: ShardOrder[] = [];

function tell(event: ShardEvent): void {
  port!.postMessage(event);
}

function onBatch(): number {
  batches++;
  for (const order of orders) runInBatch(order);
  orders = [];
  if (isLeaving) return writer.take();
  reader.sync();
  while (reader.next()) {
    switch (reader.kind) {
      case INBOUND.OPENED:
        ids.add(reader.id);
        tell({ type: "opened", id: reader.id, json: Buffer.from(views.bytes.subarray(reader.at, reader.at + reader.length)).toString() });
        break;
      case INBOUND.DATA:
        onData(reader.id, reader.at, reader.at + reader.length);
        break;
      case INBOUND.CLOSED:
        ids.delete(reader.id);
        connects.delete(reader.id);
        tell({ type: "closed", id: reader.id, reason: views.view.getUint32(reader.at, true) });
        writer.empty(COMMAND.FREE, reader.id);
        break;
      case INBOUND.FAULT:
        writer.word(COMMAND.CLOSE, reader.id, views.view.getUint32(reader.at, true));
        break;
      case INBOUND.PRESSED:
        tell({ type: "pressed", id: reader.id });
        break;
      case INBOUND.RELIEVED:
        tell({ type: "relieved", id: reader.id });
        break;
      default:
        throw new Error(`record of kind ${reader.kind}`);
    }
  }
  reader.release();
  return writer.take();
}

function onData(id: number, from: number, end: number): void {
  if (data.plainEcho === true) {
    // Lines or raw bytes: all of it goes back.
    if (!connects.has(id)) {
      connects.set(id, Buffer.alloc(0));
      writer.empty(COMMAND.ACCEPT, id);
    }
    writer.reference(id, from - reader.dataAt, end - from);
    return;
  }
  for (let at = from; at < end; ) {
    const found = frameEnd(views.bytes, at, end);
    assert(found !== undefined, "the reactor delivers whole frames only");
    onFrame(id, at, found.payload, found.end);
    at = found.end;
  }
}

function onFrame(id: number, at: number, payload: number, end: number): void {
  const offset = at - reader.dataAt;
  switch (views.bytes[at]) {
    case OP.CONNECT: {
      connects.set(id, Buffer.from(views.bytes.subarray(at, end)));
      const options = JSON.parse(Buffer.from(views.bytes.subarray(payload, end)).toString()) as ConnectOptions;
      if (options.keepAliveMs !== undefined) writer.word(COMMAND.KEEP_ALIVE, id, options.keepAliveMs);
      if (options.frameSizeMax !== undefined) writer.word(COMMAND.FRAME_SIZE_MAX, id, options.frameSizeMax);
      if (options.hold === true) return;
      writer.empty(COMMAND.ACCEPT, id);
      return writer.reference(id, offset, end - at);
    }
    case OP.ECHO:
      return writer.reference(id, offset, end - at);
    case OP.ECHO_COPY:
      return writer.data(id, views.bytes.subarray(at, end));
    case OP.ALL:
      return writer.multicastReference([...ids], offset, end - at);
    case OP.ALL_COPY:
      return writer.multicast([...ids], views.bytes.subarray(at, end));
    case OP.BLAST: {
      const bytes = frame(OP.ECHO, Buffer.alloc(views.view.getUint32(payload + 4, true), 0x2e));
      for (let count = views.view.getUint32(payload, true); count > 0; count--) writer.data(id, bytes);
      return;
    }
    case OP.THROW:
      throw new Error("thrown inside onBatch");
    case OP.CLOSE:
      writer.data(id, views.bytes.subarray(at, end));
      return writer.word(COMMAND.CLOSE, id, CLOSE_REASON.BY_GATEWAY);
    case OP.MIGRATE:
      return writer.migrate(id, views.view.getUint32(payload, true), connects.get(id) ?? Buffer.alloc(0));
    case OP.PAUSE:
      return writer.empty(COMMAND.PAUSE, id);
    case OP.BAD_COMMAND:
      return writer.empty(0xee, id);
    case OP.FLUSH:
      writer.data(id, views.bytes.subarray(at, end));
      reactor.flush(writer.take());
      return writer.data(id, views.bytes.subarray(at, end));
    case OP.EXIT:
      process.exit(0);
      break;
    default:
      throw new Error(`op ${String(views.bytes[at])}`);
  }
}

function runInBatch(order: ShardOrder): void {
  switch (order.type) {
    case "accept":
      return writer.empty(COMMAND.ACCEPT, order.id);
    case "resume":
      return writer.empty(COMMAND.RESUME, order.id);
    case "close":
      return writer.word(COMMAND.CLOSE, order.id, order.reason);
    case "send":
      return writer.data(order.id, order.bytes);
    case "leave":
      isLeaving = true;
      return;
    case "take":
      isLeaving = false;
      return;
    case "batches":
      return tell({ type: "batches", count: batches });
    default:
      throw new Error(`${order.type} is no order for a batch`);
  }
}

const reactor: Reactor = native().createReactor({
  shard: data.shard,
  inbound: data.inbound,
  commands: data.commands,
  counters: new Float64Array(data.counters),
  wake: data.wake,
  maximumFrameSize: data.maximumFrameSize,
  onBatch,
});

port.on("message", (order: ShardOrder) => {
  switch (order.type) {
    case "pauseAll":
      reactor.pauseAll();
      return tell({ type: "done" });
    case "resumeAll":
      reactor.resumeAll();
      return tell({ type: "done" });
    case "drain":
      reactor.drain(order.reason, order.lingerMs, () => tell({ type: "drained" }));
      return;
    case "stand":
      tell({ type: "done" });
      Atomics.wait(new Int32Array(order.until), 0, 0, 60_000);
      return;
    case "destroy":
      reactor.destroy();
      port.close();
      return;
    default:
      orders.push(order);
      reactor.later();
  }
});

tell({ type: "ready" });
