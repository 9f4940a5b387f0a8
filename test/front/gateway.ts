// The front with two shards that send back whatever comes, and clients for it.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import { generate, type IConnectPacket } from "mqtt-packet";
import { native, type ConnectionOpened, type Front, type FrontOptions, type ListenerOptions, type ListenerState, type SecureContextOptions } from "../../src/reactor/reactor.js";
import { FRONT_COUNTER, FRONT_COUNTER_COUNT } from "../../src/ring/layout.js";
import { Shard } from "../reactor/shard.js";

export const SHARDS = 2;

export interface Refusal {
  readonly listener: number;
  readonly peer: string;
  readonly reason: string;
  readonly detail: string;
}

export type Settings = Partial<Omit<FrontOptions, "listeners" | "shards" | "counters" | "onRefused">>;

export function listener(protocol: "mqtt" | "line", context?: string): ListenerOptions {
  return { name: `${protocol}-${context ?? "plain"}`, host: "127.0.0.1", port: 0, protocol, ...(context === undefined ? {} : { context }) };
}

/** A front alone: whatever it hands over is refused, for no shard is up. */
export class FrontAlone {
  readonly front: Front;
  readonly counters = new Float64Array(new SharedArrayBuffer(FRONT_COUNTER_COUNT * 8));
  private readonly refusals: Refusal[] = [];
  private wake: () => void = () => undefined;

  constructor(listeners: readonly ListenerOptions[], settings: Settings = {}) {
    this.front = native().createFront({
      listeners, shards: SHARDS, counters: this.counters, handshakeDeadlineMs: 10_000, firstFrameDeadlineMs: 10_000, pendingMax: 1000, perAddressMax: 10_000, connectionsMax: 10_000, firstFrameSizeMax: 4096,
      ...settings,
      onRefused: (index, peer, reason, detail) => {
        this.refusals.push({ listener: index, peer, reason, detail });
        this.wake();
      },
    });
  }

  port(index = 0): number {
    return portOf(this.front.listeners[index]!);
  }

  count(name: keyof typeof FRONT_COUNTER): number {
    return this.counters[FRONT_COUNTER[name]]!;
  }

  /** The next refused connection. */
  async refused(): Promise<Refusal> {
    while (this.refusals.length === 0) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.refusals.shift()!;
  }

  stop(): Promise<void> {
    this.front.stop();
    return Promise.resolve();
  }
}

export class Gateway extends FrontAlone {
  readonly shards: readonly Shard[];

  private constructor(shards: readonly Shard[], listeners: readonly ListenerOptions[], settings: Settings) {
    super(listeners, settings);
    this.shards = shards;
  }

  static async start(listeners: readonly ListenerOptions[], contexts: Readonly<Record<string, SecureContextOptions>> = {}, settings: Settings = {}): Promise<Gateway> {
    const shards: Shard[] = [];
    for (let shard = 0; shard < SHARDS; shard++) shards.push(await Shard.start(shard, { plainEcho: true }));
    const gateway = new Gateway(shards, listeners, settings);
    try {
      for (const [name, options] of Object.entries(contexts)) gateway.front.setContext(name, options);
      gateway.front.start();
    } catch (error) {
      await gateway.stop();
      throw error;
    }
    return gateway;
  }

  /** What shard `index` was told of the next connection that it adopted. */
  async opened(index = 0): Promise<ConnectionOpened> {
    return JSON.parse((await this.shards[index]!.next("opened")).json) as ConnectionOpened;
  }

  /** Connections that each shard has adopted so far. */
  adopted(): number[] {
    return this.shards.map((shard) => shard.count("CONNECTIONS_OPENED"));
  }

  adoptedInAll(): number {
    return this.adopted().reduce((sum, count) => sum + count, 0);
  }

  override async stop(): Promise<void> {
    this.front.stop();
    for (const shard of this.shards) await shard.stop();
  }
}

export function portOf(state: ListenerState): number {
  if ("error" in state) throw new Error(`the listener could not be had: ${state.error}`);
  return state.port;
}

/** The bytes of a CONNECT. */
export function connectFrame(clientId: string, version: 3 | 4 | 5 = 4, more: Partial<IConnectPacket> = {}): Buffer {
  const protocolId = version === 3 ? "MQIsdp" : "MQTT";
  return generate({ cmd: "connect", protocolId, protocolVersion: version, clean: true, clientId, keepalive: 60, ...more });
}

/** A client id that shard 0 owns, under two shards. */
export const ID_OF_SHARD_0 = "device-2";

export async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", noDelay: true });
  await once(socket, "connect");
  return socket;
}

export async function dialTls(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connectTls({ port, host: "127.0.0.1", servername: "localhost", ...options });
  await once(socket, "secureConnect");
  return socket;
}

/** Sends `parts`, one per turn of the loop, and waits until all have come back. */
export async function echo(socket: Socket, ...parts: readonly Uint8Array[]): Promise<void> {
  const expected = Buffer.concat(parts);
  for (const part of parts) {
    socket.write(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  let received: Buffer = Buffer.alloc(0);
  while (received.length < expected.length) {
    const chunk = socket.read() as Buffer | null;
    if (chunk !== null) received = Buffer.concat([received, chunk]);
    else if (socket.readableEnded || socket.destroyed) throw new Error(`ended after ${received.length} of ${expected.length} bytes`);
    else await readableOrClosed(socket);
  }
  if (!received.equals(expected)) throw new Error(`other bytes came back: ${received.toString("hex")}`);
}

/** Waits until there is something to read, or nothing ever will be. */
export function readableOrClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      socket.off("readable", done).off("end", done).off("close", done);
      resolve();
    };
    socket.on("readable", done).on("end", done).on("close", done);
  });
}

/** Waits until the peer has ended the connection. @returns the error's code, if it ended by one */
export async function gone(socket: Socket): Promise<string | undefined> {
  let code: string | undefined;
  socket.on("error", (error: NodeJS.ErrnoException) => (code = error.code));
  socket.resume();
  if (!socket.closed) await new Promise<void>((resolve) => socket.once("close", () => resolve()));
  return code;
}

/** Closes and waits until that is done. */
export async function hangUp(...sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) {
    socket.destroy();
    if (!socket.closed) await once(socket, "close");
  }
}
