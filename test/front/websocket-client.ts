// A WebSocket client that can also do everything wrong: the tests write its request and its frames themselves.
import type { Socket } from "node:net";
import type { ListenerOptions, WebSocketOptions } from "../../src/reactor/reactor.js";
import { readableOrClosed } from "./gateway.js";

export const OPCODE = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;
const FINAL = 0x80;

export function websocketListener(context?: string, options: Partial<WebSocketOptions> = {}): ListenerOptions {
  const websocket = { origins: "same", isBehindProxy: false, ...options } as const;
  return { name: `websocket-${context ?? "plain"}`, host: "127.0.0.1", port: 0, protocol: "websocket", websocket, ...(context === undefined ? {} : { context }) };
}

export interface RequestParts {
  readonly line?: string;
  readonly host?: string;
  readonly version?: string;
  readonly protocol?: string;
  /** More headers, each with its line's end. */
  readonly more?: string;
}

export function upgradeRequest(parts: RequestParts = {}): string {
  const { line = "GET /mqtt HTTP/1.1", host = "localhost", version = "13", protocol = "mqtt", more = "" } = parts;
  return `${line}\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: ${version}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: ${protocol}\r\n${more}\r\n`;
}

export interface FrameOptions {
  readonly isFinal?: boolean;
  readonly isMasked?: boolean;
}

export function frameOf(opcode: number, payload: Uint8Array, { isFinal = true, isMasked = true }: FrameOptions = {}): Buffer {
  const key = [0x37, 0xfa, 0x21, 0x3d] as const;
  const { length } = payload;
  const extended = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const head = Buffer.alloc(2 + extended);
  head[0] = (isFinal ? FINAL : 0) | opcode;
  head[1] = (isMasked ? 0x80 : 0) | (extended === 0 ? length : extended === 2 ? 126 : 127);
  if (extended > 0) head.writeUIntBE(length, 2 + Math.max(0, extended - 6), Math.min(6, extended));
  if (!isMasked) return Buffer.concat([head, payload]);
  return Buffer.concat([head, Buffer.from(key), payload.map((byte, index) => byte ^ key[index & 3]!)]);
}

/** One binary frame. */
export function binary(...packets: readonly Uint8Array[]): Buffer {
  return frameOf(OPCODE.BINARY, Buffer.concat(packets));
}

export interface Frame {
  readonly opcode: number;
  readonly payload: Buffer;
}

export class WebSocketClient {
  readonly socket: Socket;
  /** What the gateway answered, up to the empty line. */
  head = "";
  private received: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("error", () => undefined);
  }

  /** Sends the request, and `first` in the same segment, and waits for the answer. */
  static async open(socket: Socket, request = upgradeRequest(), first: Uint8Array = new Uint8Array(0)): Promise<WebSocketClient> {
    const client = new WebSocketClient(socket);
    socket.write(Buffer.concat([Buffer.from(request, "latin1"), first]));
    while (!client.received.includes("\r\n\r\n")) if (!(await client.more())) throw new Error(`ended after ${JSON.stringify(client.received.toString())}`);
    const end = client.received.indexOf("\r\n\r\n") + 4;
    client.head = client.received.subarray(0, end).toString("latin1");
    client.received = client.received.subarray(end);
    return client;
  }

  send(...frames: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(frames));
  }

  /** The next frame; undefined when the connection has ended. A masked one is an error: servers do not mask. */
  async next(): Promise<Frame | undefined> {
    for (;;) {
      const frame = this.take();
      if (frame !== undefined) return frame;
      if (!(await this.more())) return undefined;
    }
  }

  /** So many bytes of the stream inside binary frames. */
  async stream(size: number): Promise<Buffer> {
    let stream: Buffer = Buffer.alloc(0);
    while (stream.length < size) {
      const frame = await this.next();
      if (frame?.opcode !== OPCODE.BINARY) throw new Error(`${frame === undefined ? "the end" : `opcode ${frame.opcode}`} after ${stream.length} of ${size} bytes`);
      stream = Buffer.concat([stream, frame.payload]);
    }
    return stream;
  }

  /** Everything until the end, after the answer's head. */
  async rest(): Promise<string> {
    while (await this.more());
    return this.received.toString("latin1");
  }

  private take(): Frame | undefined {
    const bytes = this.received;
    if (bytes.length < 2) return undefined;
    const short = bytes[1]!;
    if (short >= 0x80) throw new Error("the gateway masked a frame");
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
    if (bytes.length < 2 + extended) return undefined;
    const length = extended === 0 ? short : extended === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2));
    const start = 2 + extended;
    if (bytes.length < start + length) return undefined;
    if ((bytes[0]! & 0xf0) !== FINAL) throw new Error("a fragment, or a reserved bit");
    this.received = bytes.subarray(start + length);
    return { opcode: bytes[0]! & 0xf, payload: bytes.subarray(start, start + length) };
  }

  private async more(): Promise<boolean> {
    for (;;) {
      const chunk = this.socket.read() as Buffer | null;
      if (chunk !== null) {
        this.received = Buffer.concat([this.received, chunk]);
        return true;
      }
      if (this.socket.readableEnded || this.socket.destroyed) return false;
      await readableOrClosed(this.socket);
    }
  }
}

/** Payload of a Close frame. */
export function closeCode(code: number, reason = ""): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return payload;
}
