// A publisher that survives its server: it keeps what is not acknowledged and sends it again with DUP after a reconnect, as a client with a
// session on disk does. QoS 1 and 2; MQTT 3.1.1. It knows exactly what was acknowledged to it.
import { connect, type Socket } from "node:net";
import mqttPacket, { type Packet } from "mqtt-packet";

interface Open {
  readonly sequence: number;
  readonly packet: Buffer;
  isReceived: boolean;
}

export class StubbornPublisher {
  readonly clientId: string;
  /** Sequence numbers whose PUBACK or PUBCOMP arrived. */
  readonly acknowledged = new Set<number>();
  next = 0;
  /** Message n carries the time `timeBase + n` ms: each has a place of its own in history. */
  readonly timeBase = Date.now() - 60_000;
  readonly qos: 1 | 2;
  private readonly window: number;
  private readonly open = new Map<number, Open>();
  private socket: Socket | null = null;
  private nextId = 1;
  private isOnline = false;
  limit: number;

  /** @param limit how many messages it publishes at most */
  constructor(clientId: string, qos: 1 | 2, window: number, limit = Number.POSITIVE_INFINITY) {
    this.clientId = clientId;
    this.qos = qos;
    this.window = window;
    this.limit = limit;
  }

  get unacknowledged(): number {
    return this.open.size;
  }

  /** Connects and goes on; resolves when the connection has ended. */
  run(port: number): Promise<void> {
    return new Promise((resolve) => {
      const socket = (this.socket = connect({ port, host: "127.0.0.1", noDelay: true }));
      const parser = mqttPacket.parser({ protocolVersion: 4 });
      parser.on("packet", (packet) => this.take(packet));
      socket.on("connect", () => socket.write(mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 4, clean: false, keepalive: 60, clientId: this.clientId })));
      socket.on("data", (chunk) => parser.parse(chunk));
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        this.isOnline = false;
        resolve();
      });
    });
  }

  /** Ends the connection without DISCONNECT. */
  cut(): void {
    this.socket?.destroy();
  }

  private take(packet: Packet): void {
    switch (packet.cmd) {
      case "connack":
        this.isOnline = true;
        for (const [id, open] of this.open) this.again(id, open);
        this.fill();
        break;
      case "puback":
      case "pubcomp": {
        const open = this.open.get(packet.messageId!);
        if (open === undefined) break;
        this.open.delete(packet.messageId!);
        this.acknowledged.add(open.sequence);
        this.fill();
        break;
      }
      case "pubrec": {
        const open = this.open.get(packet.messageId!);
        if (open !== undefined) open.isReceived = true;
        this.socket!.write(mqttPacket.generate({ cmd: "pubrel", messageId: packet.messageId! }));
        break;
      }
      default:
    }
  }

  private again(id: number, open: Open): void {
    if (open.isReceived) {
      this.socket!.write(mqttPacket.generate({ cmd: "pubrel", messageId: id }));
      return;
    }
    const packet = Buffer.from(open.packet);
    packet[0]! |= 0b1000;
    this.socket!.write(packet);
  }

  private fill(): void {
    while (this.isOnline && this.open.size < this.window && this.next < this.limit) {
      const sequence = this.next++;
      while (this.open.has(this.nextId)) this.nextId = (this.nextId % 65535) + 1;
      const id = this.nextId;
      this.nextId = (id % 65535) + 1;
      const payload = JSON.stringify({ n: sequence, ts: this.timeBase + sequence });
      const packet = mqttPacket.generate({ cmd: "publish", topic: `devices/${this.clientId}/telemetry`, payload, qos: this.qos, retain: false, dup: false, messageId: id });
      this.open.set(id, { sequence, packet, isReceived: false });
      this.socket!.write(packet);
    }
  }
}
