// The tests' side of a shard: starts its worker, hands it connections that Node accepted, waits for what it tells.
import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Worker } from "node:worker_threads";
import { native } from "../../src/reactor/reactor.js";
import { FRAMING, REACTOR_COUNTER, REACTOR_COUNTER_COUNT } from "../../src/ring/layout.js";
import { ringSize } from "../../src/ring/ring.js";
import type { RingPlace } from "../../src/base/ring-place.js";
import { frame, frameEnd, OP, type ConnectOptions } from "./protocol.js";

export type ShardEvent =
  | { readonly type: "ready" | "done" | "drained" }
  | { readonly type: "opened"; readonly id: number; readonly json: string }
  | { readonly type: "closed"; readonly id: number; readonly reason: number }
  | { readonly type: "pressed" | "relieved"; readonly id: number }
  | { readonly type: "batches"; readonly count: number };

export type ShardOrder =
  | { readonly type: "pauseAll" | "resumeAll" | "destroy" | "leave" | "take" | "batches" }
  | { readonly type: "drain"; readonly reason: number; readonly lingerMs: number }
  | { readonly type: "accept" | "resume"; readonly id: number }
  | { readonly type: "close"; readonly id: number; readonly reason: number }
  | { readonly type: "send"; readonly id: number; readonly bytes: Uint8Array }
  /** Its thread stands still until the first 32-bit word is not 0 (a minute at most). */
  | { readonly type: "stand"; readonly until: SharedArrayBuffer };

export interface ShardData {
  readonly shard: number;
  readonly inbound: RingPlace;
  readonly commands: { readonly byteOffset: number; readonly size: number };
  readonly counters: SharedArrayBuffer;
  readonly wake: "latency" | "throughput";
  readonly maximumFrameSize: number;
  /** Send back whatever comes, without looking at frames. */
  readonly plainEcho?: boolean;
}

export type ShardSettings = Partial<Pick<ShardData, "wake" | "maximumFrameSize" | "plainEcho">> & { readonly capacity?: number; readonly commandSize?: number };

export class Shard {
  readonly worker: Worker;
  readonly shard: number;
  readonly counters: Float64Array;
  /** How the worker ended, once it did. */
  readonly ended: Promise<{ readonly code: number; readonly error: Error | undefined }>;
  private readonly events: ShardEvent[] = [];
  private wake: () => void = () => undefined;

  private constructor(data: ShardData) {
    this.shard = data.shard;
    this.counters = new Float64Array(data.counters);
    this.worker = new Worker(new URL("./shard-worker.js", import.meta.url), { workerData: data });
    let error: Error | undefined;
    this.worker.on("error", (e: Error) => (error = e));
    // Not events.once(), which rejects on "error".
    this.ended = new Promise((resolve) => this.worker.on("exit", (code) => resolve({ code, error })));
    this.worker.on("message", (event: ShardEvent) => {
      this.events.push(event);
      this.wake();
    });
  }

  static async start(shard: number, settings: ShardSettings = {}): Promise<Shard> {
    const capacity = settings.capacity ?? 4 * 1024 * 1024;
    const commandSize = settings.commandSize ?? 4 * 1024 * 1024;
    const buffer = new SharedArrayBuffer(ringSize(capacity) + commandSize);
    const started = new Shard({
      shard,
      inbound: { buffer, byteOffset: 0, capacity },
      commands: { byteOffset: ringSize(capacity), size: commandSize },
      counters: new SharedArrayBuffer(REACTOR_COUNTER_COUNT * 8),
      wake: settings.wake ?? "latency",
      maximumFrameSize: settings.maximumFrameSize ?? Math.min(1024 * 1024, capacity / 4),
      plainEcho: settings.plainEcho ?? false,
    });
    await started.next("ready");
    return started;
  }

  order(order: ShardOrder): void {
    this.worker.postMessage(order);
  }

  count(counter: keyof typeof REACTOR_COUNTER): number {
    return this.counters[REACTOR_COUNTER[counter]]!;
  }

  /** The next event of a type (each is given once), whether it came already or is yet to come. */
  async next<T extends ShardEvent["type"]>(type: T): Promise<Extract<ShardEvent, { type: T }>> {
    for (;;) {
      const index = this.events.findIndex((event) => event.type === type);
      if (index >= 0) return this.events.splice(index, 1)[0] as Extract<ShardEvent, { type: T }>;
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
  }

  /** Asks for a batch and waits until it has run. */
  async turn(): Promise<number> {
    this.order({ type: "batches" });
    return (await this.next("batches")).count;
  }

  async stop(): Promise<void> {
    this.order({ type: "destroy" });
    await this.ended;
  }
}

/** Accepts with node:net and hands each connection on unread. */
export class Gate {
  readonly port: number;
  private readonly server: Server;
  private readonly shards: readonly number[];
  private accepted = 0;
  private wake: () => void = () => undefined;

  private constructor(server: Server, port: number, shards: readonly number[]) {
    this.server = server;
    this.port = port;
    this.shards = shards;
  }

  /** Connections go to `shards` in turn. */
  static async open(shards: readonly number[], framing: number = FRAMING.MQTT): Promise<Gate> {
    const server = createServer({ pauseOnConnect: true });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const gate = new Gate(server, (server.address() as { port: number }).port, shards);
    server.on("connection", (socket) => gate.hand(socket, framing));
    return gate;
  }

  private hand(socket: Socket, framing: number): void {
    const handle = (socket as unknown as { _handle: { fd: number } })._handle;
    const shard = this.shards[this.accepted++ % this.shards.length]!;
    native().adopt(shard, handle.fd, framing, JSON.stringify({ listener: 0, peer: socket.remoteAddress, peerPort: socket.remotePort, isLoopback: true }), new Uint8Array(0));
    socket.destroy();
    this.wake();
  }

  /** Until it has handed on `count` connections since it was opened. */
  async handed(count: number): Promise<void> {
    while (this.accepted < count) await new Promise<void>((resolve) => (this.wake = resolve));
  }

  async close(): Promise<void> {
    this.server.close();
    await once(this.server, "close");
  }
}

/** A test client that reads only when asked to. */
export class Client {
  readonly socket: Socket;
  /** Resolves when the connection is gone, with the error's code if there was one. */
  readonly gone: Promise<string | undefined>;
  private buffered: Buffer[] = [];
  private size = 0;
  private wake: () => void = () => undefined;
  private isGone = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    let code: string | undefined;
    socket.on("error", (error: NodeJS.ErrnoException) => (code = error.code));
    this.gone = new Promise((resolve) =>
      socket.on("close", () => {
        this.isGone = true;
        this.wake();
        resolve(code);
      }),
    );
    socket.on("data", (chunk) => {
      this.buffered.push(chunk);
      this.size += chunk.length;
      this.wake();
    });
  }

  static async open(port: number, allowHalfOpen = false): Promise<Client> {
    const socket = connect({ port, host: "127.0.0.1", noDelay: true, allowHalfOpen });
    await once(socket, "connect");
    return new Client(socket);
  }

  /** Opens, says CONNECT, waits for its answer (unless it is held). */
  static async connected(port: number, options: ConnectOptions = {}): Promise<Client> {
    const client = await Client.open(port);
    const hello = frame(OP.CONNECT, JSON.stringify(options));
    client.socket.write(hello);
    if (options.hold !== true) await client.expect(hello);
    return client;
  }

  /** The next `size` bytes. @throws when the connection ends before */
  async read(size: number): Promise<Buffer> {
    while (this.size < size) {
      if (this.isGone) throw new Error(`gone after ${this.size} of ${size} bytes`);
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    const all = Buffer.concat(this.buffered);
    this.buffered = all.length > size ? [all.subarray(size)] : [];
    this.size -= size;
    return all.subarray(0, size);
  }

  /** The next whole frame. */
  async readFrame(): Promise<Buffer> {
    for (;;) {
      const all = Buffer.concat(this.buffered);
      const found = frameEnd(all, 0, all.length);
      if (found !== undefined) return this.read(found.end);
      await this.read(this.size + 1).then((bytes) => this.putBack(bytes));
    }
  }

  async expect(bytes: Uint8Array): Promise<void> {
    const got = await this.read(bytes.length);
    if (!got.equals(bytes)) throw new Error(`other bytes than expected: ${got.subarray(0, 40).toString("hex")} for ${Buffer.from(bytes).subarray(0, 40).toString("hex")}`);
  }

  /** Bytes received and not yet read. */
  pending(): number {
    return this.size;
  }

  private putBack(bytes: Buffer): void {
    this.buffered.unshift(bytes);
    this.size += bytes.length;
  }
}
