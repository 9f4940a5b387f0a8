// A correct MQTT client whose session survives it, as far as publishers and subscribers have in common: connects again whenever its connection is gone,
// writes down (notebook.ts) what it was told before it answers, and complains of what no client must see.
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import mqttPacket, { type IConnackPacket, type Packet } from "mqtt-packet";
import { Notebook } from "./notebook.js";

/** What a client is and is to do; the test changes it as it goes. */
export interface ClientSpec {
  readonly name: string;
  readonly version: 4 | 5;
  readonly isTls: boolean;
  /** It has no connection for the time being. */
  isAway: boolean;
  /** MQTT 5: messages that may be on their way to it. */
  readonly receiveMaximum?: number;
  /** Subscribers: how long acknowledgements are held back. */
  readonly delayMs?: number;
  readonly subscriptions: { readonly filter: string; readonly qos: 1 | 2 }[];
  /** Publishers; none = it only subscribes. Those under `retained/` get retained messages. */
  readonly topics: string[];
  /** Publishers: numbers from this on are not published yet. */
  limit: number;
  /** Publishers: messages that may be on their way from it. */
  readonly window?: number;
}

export interface Place {
  readonly port: number;
  readonly tlsPort: number;
  readonly ca: string;
}

/** What the test hears of a client's state. */
export interface Report {
  readonly name: string;
  /** Publishers: messages given a packet id; those that the gateway has said to have. */
  published: number;
  accepted: number;
  /** By retained topic: the last number that the gateway has said to have. */
  readonly retained: Record<string, number>;
  /** Subscribers: different messages that came; filters that are subscribed to. */
  received: number;
  granted: number;
  faults: number;
  connects: number;
}

const RECONNECT_PAUSE_MS = 20;

export abstract class DurableClient {
  readonly report: Report;
  protected spec: ClientSpec;
  protected isOnline = false;
  private readonly place: Place;
  private notebook!: Notebook;
  private readonly changed: () => void;
  private socket: Socket | null = null;
  private timer: NodeJS.Timeout | null = null;
  private out: Buffer[] = [];
  private wasKnown = false;

  /** @param changed called when the report has changed */
  constructor(spec: ClientSpec, place: Place, changed: () => void) {
    this.spec = spec;
    this.place = place;
    this.changed = changed;
    this.report = { name: spec.name, published: 0, accepted: 0, retained: {}, received: 0, granted: 0, faults: 0, connects: 0 };
  }

  /** Reads what it wrote down, in this life or an earlier one. Once, before anything else. */
  remindFrom(directory: string): void {
    this.notebook = new Notebook(`${directory}/${this.spec.name}.notes`, (words) => {
      if (words[0] === "K") this.wasKnown = true;
      else if (words[0] === "E") this.report.faults++;
      else this.remember(words);
    });
  }

  /** Begins, or goes on by other wishes. */
  follow(spec: ClientSpec): void {
    this.spec = spec;
    if (spec.isAway) this.cut();
    else if (this.socket === null && this.timer === null) this.connect();
    else if (this.isOnline) this.handle(() => this.proceed());
    this.changed();
  }

  /** Ends the connection without DISCONNECT. */
  cut(): void {
    this.socket?.destroy();
  }

  /** A line of the notebook, read at the start. */
  protected abstract remember(words: readonly string[]): void;
  protected abstract take(packet: Packet): void;
  /** The session is there again: what is not answered yet is sent again. */
  protected abstract resume(): void;
  /** Does what the spec asks for and has not been done. */
  protected abstract proceed(): void;

  protected note(line: string): void {
    this.notebook.note(line);
  }

  protected fault(text: string): void {
    this.note(`E ${text}`);
    this.report.faults++;
  }

  /** Sends when what was noted so far is written. */
  protected send(packet: Packet | Buffer): void {
    this.out.push(Buffer.isBuffer(packet) ? packet : mqttPacket.generate(packet, { protocolVersion: this.spec.version }));
  }

  /** Runs `work` later, unless the connection is gone by then. */
  protected later(delayMs: number, work: () => void): void {
    const { socket } = this;
    setTimeout(() => {
      if (socket === this.socket && this.isOnline) this.handle(work);
    }, delayMs);
  }

  private handle(work: () => void): void {
    work();
    this.notebook.write();
    const { out, socket } = this;
    this.out = [];
    if (out.length > 0 && socket !== null) socket.write(Buffer.concat(out));
    this.changed();
  }

  private connect(): void {
    const { place, spec } = this;
    const socket = (this.socket = spec.isTls
      ? connectTls({ port: place.tlsPort, host: "127.0.0.1", ca: place.ca })
      : connectTcp({ port: place.port, host: "127.0.0.1", noDelay: true }));
    const parser = mqttPacket.parser({ protocolVersion: spec.version });
    parser.on("packet", (packet) => this.packet(packet));
    parser.on("error", (error) => this.fault(`unreadable: ${error.message}`));
    socket.on(spec.isTls ? "secureConnect" : "connect", () => this.handle(() => this.send(this.connectPacket())));
    socket.on("data", (chunk) => {
      if (socket === this.socket) this.handle(() => parser.parse(chunk));
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.closed());
  }

  private closed(): void {
    this.socket = null;
    this.isOnline = false;
    this.timer = setTimeout(() => {
      this.timer = null;
      if (!this.spec.isAway) this.connect();
    }, RECONNECT_PAUSE_MS);
  }

  private connectPacket(): Packet {
    const { name, version, receiveMaximum } = this.spec;
    const properties = { sessionExpiryInterval: 86_400, ...(receiveMaximum === undefined ? {} : { receiveMaximum }) };
    return { cmd: "connect", protocolId: "MQTT", protocolVersion: version, clean: false, keepalive: 60, clientId: name, ...(version === 5 ? { properties } : {}) };
  }

  private packet(packet: Packet): void {
    if (packet.cmd === "connack") this.connack(packet);
    else if (packet.cmd === "disconnect") this.fault(`DISCONNECT with reason ${packet.reasonCode}`);
    else if (this.isOnline) this.take(packet);
    else this.fault(`${packet.cmd} before CONNACK`);
  }

  private connack(packet: IConnackPacket): void {
    const code = this.spec.version === 5 ? packet.reasonCode : packet.returnCode;
    if (code !== 0) {
      this.fault(`CONNACK with ${code}`);
      return;
    }
    // [MQTT-3.2.2-3]
    if (this.wasKnown && !packet.sessionPresent) this.fault("the session is gone");
    this.wasKnown = true;
    this.note(`K ${packet.sessionPresent ? 1 : 0}`);
    this.isOnline = true;
    this.report.connects++;
    this.resume();
    this.proceed();
  }
}
