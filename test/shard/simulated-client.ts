// A client of the simulation: publishes, subscribes, acknowledges late, reads slowly, breaks off, comes back; and checks what a client can see.
import type { Packet } from "mqtt-packet";
import type { Random } from "../protocol/mqtt/support.js";
import type { TestClient, TestGateway } from "./harness.js";
import { ack } from "./support.js";

/** A message on its way through the gateway. */
export interface Published {
  readonly text: string;
  readonly publisher: string;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly sequence: number;
  /** Step of its first sending; Infinity = not sent yet. */
  sentAt: number;
  /** PUBACK or PUBREC came. */
  isAcknowledged: boolean;
  /** Its publisher's shard died or its session ended meanwhile: nobody has promised that it is delivered. */
  isVoid: boolean;
  /** Its publisher has sent it again. */
  isRepeated: boolean;
}

interface Flow {
  readonly message: Published;
  readonly packet: Packet;
  isSent: boolean;
  isReceived: boolean;
}

/** What the simulation gives to its clients. */
export interface World {
  readonly gateway: TestGateway;
  readonly random: Random;
  step: number;
  /** Of how many of 100 messages are large. */
  readonly largePercent: number;
  /** Queues are so short that messages are dropped (and counted). */
  readonly mayDrop: boolean;
  /** Texts in the journal, and how often. */
  readonly journaled: Map<string, number>;
  /** By text. */
  readonly published: Map<string, Published>;
  /** By text: who of a group got it first, and with which QoS. */
  readonly shared: Map<string, { readonly client: string; readonly qos: number }>;
  /** Messages that came to a member of a group behind later ones. */
  lateCount: number;
  /** Messages that came with QoS 1 behind later ones where queues may be full: a crash undid that they were dropped. */
  broughtBackCount: number;
  fail(text: string): never;
}

export interface ClientKind {
  readonly id: string;
  readonly version: 4 | 5;
  readonly isPersistent: boolean;
  /** Subscribes once and keeps it: must get everything. */
  readonly stable?: { readonly filter: string; readonly qos: 0 | 1 | 2 };
  /** Its subscriptions are all to this shared one. */
  readonly group?: string;
}

const FILTERS = ["t/#", "t/0/+", "t/+/1", "#", "r/#", "r/1", "+/0/0", "w/#"];
const FLOWS_MAX = 12;
const RECEIVE_MAXIMUM_MAX = 8;
const PACKETS_AT_ONCE = 12;

export class SimulatedClient {
  readonly kind: ClientKind;
  connection: TestClient | null = null;
  isConnected = false;
  /** Step from which on nothing may be missed. */
  stableSince = Number.POSITIVE_INFINITY;
  /** Texts, and with which QoS they came first: with QoS 2, once. */
  readonly got = new Map<string, number>();
  /** The last number by publisher, topic and both QoS: they come in order. */
  private readonly last = new Map<string, number>();
  private readonly world: World;
  private readonly flows = new Map<number, Flow>();
  private readonly outbox: { readonly packet: Packet; readonly flow: Flow | null }[] = [];
  private readonly acks: Packet[] = [];
  private readonly filters = new Set<string>();
  /** Received PUBLISHes of this connection that the gateway waits to hear of. */
  private readonly open = new Set<number>();
  /** QoS 2 packet ids received and not released: outlives the connection, as the session does. */
  private readonly held = new Set<number>();
  private subackFor = 0;
  /** SUBSCRIBEs and UNSUBSCRIBEs sent on this connection and not answered: a crash may undo them. */
  private changesOpen = 0;
  /** Texts that came with QoS 0 or 1 meanwhile: with the QoS from before, they may come again. */
  private readonly unsure = new Set<string>();
  private packetId = 0;
  private sequence = 0;
  private flowsMax = FLOWS_MAX;
  /** What it takes unacknowledged on this connection. */
  private receiveMaximum = 1;
  private isPressed = false;
  /** The gateway must have no session from before. */
  private mustBeNew = false;
  /** The session outlives its connection. */
  private isKept = true;
  /** It asked for a new session and has not heard that it got one: it asks again. */
  private isUnconfirmed = false;
  /** The same of the session that CONNECT asks for. */
  private willBeKept = true;

  constructor(world: World, kind: ClientKind) {
    this.world = world;
    this.kind = kind;
  }

  get isIdle(): boolean {
    return this.flows.size === 0 && this.outbox.length === 0 && this.acks.length === 0;
  }

  connect(): void {
    const { world, kind } = this;
    const { random, gateway } = world;
    // One that is connected is left to be taken over.
    if (this.isConnected) this.lost();
    else this.cut();
    const shard = gateway.shardOf(kind.id);
    if (gateway.isDead(shard)) return;
    // Of sessions that end with their connection, those of MQTT 5 need not be clean.
    const wantsNew = this.isUnconfirmed || (kind.stable === undefined && random.chance(5));
    const clean = wantsNew || (!kind.isPersistent && (kind.version === 4 || random.chance(50)));
    this.mustBeNew = clean || !kind.isPersistent;
    this.willBeKept = kind.isPersistent && !(clean && kind.version === 4);
    this.receiveMaximum = 1 + random.below(RECEIVE_MAXIMUM_MAX);
    const properties = { sessionExpiryInterval: kind.isPersistent ? 1000 : 0, receiveMaximum: this.receiveMaximum };
    const will = random.chance(30) ? { topic: `w/${kind.id}`, payload: Buffer.from(""), qos: random.below(3), retain: random.chance(20) } : undefined;
    this.connection = gateway.open(shard, kind.version);
    this.queue({
      cmd: "connect", protocolId: "MQTT", protocolVersion: kind.version, clean, keepalive: 0, clientId: kind.id, ...(kind.version === 5 ? { properties } : {}),
      ...(will === undefined ? {} : { will }),
    } as Packet);
  }

  /** The connection is gone, however that came about. */
  lost(): void {
    this.connection = null;
    this.isConnected = this.isPressed = false;
    this.outbox.length = this.acks.length = 0;
    this.open.clear();
    this.subackFor = this.changesOpen = 0;
    if (!this.isKept) this.forget();
  }

  /** Its shard died, or the whole gateway: its session goes on if it outlives connections. */
  shardDied(): void {
    this.lost();
  }

  cut(): void {
    if (this.connection === null) return;
    this.world.gateway.end(this.connection);
    this.lost();
  }

  /** DISCONNECT, then the end of the connection. */
  leave(): void {
    const { connection, world } = this;
    if (connection === null || !this.isConnected || !world.gateway.canPut(connection, 100)) return;
    world.gateway.put(connection, { cmd: "disconnect" });
    world.gateway.end(connection);
    this.lost();
  }

  publish(): void {
    const { random } = this.world;
    if (!this.isConnected || this.flows.size >= this.flowsMax) return;
    const isRetained = random.chance(15);
    const topic = isRetained ? `r/${String(random.below(4))}` : `t/${String(random.below(2))}/${String(random.below(2))}`;
    const qos = random.below(3) as 0 | 1 | 2;
    const sequence = ++this.sequence;
    const text = `${this.kind.id}:${String(sequence)}:${topic}:${String(qos)}:`;
    const message: Published = { text, publisher: this.kind.id, topic, qos, sequence, sentAt: Number.POSITIVE_INFINITY, isAcknowledged: false, isVoid: false, isRepeated: false };
    const isEmpty = isRetained && random.chance(30);
    const payload = isEmpty ? "" : text + "x".repeat(random.chance(this.world.largePercent) ? random.below(30_000) : random.below(100));
    const packet = { cmd: "publish", topic, payload, qos, retain: isRetained, dup: false, messageId: qos === 0 ? undefined : this.nextPacketId() } as unknown as Packet;
    // A removal has no text to be found by.
    if (isEmpty) message.isVoid = true;
    this.world.published.set(text, message);
    const flow: Flow = { message, packet, isSent: false, isReceived: false };
    if (qos > 0) this.flows.set((packet as { messageId: number }).messageId, flow);
    this.queue(packet, flow);
  }

  changeSubscription(): void {
    const { random } = this.world;
    if (!this.isConnected || this.kind.stable !== undefined) return;
    const filter = this.kind.group ?? random.pick(FILTERS);
    if (this.filters.has(filter) && random.chance(60)) {
      this.filters.delete(filter);
      this.queue({ cmd: "unsubscribe", messageId: 1, unsubscriptions: [filter] } as unknown as Packet);
    } else {
      this.filters.add(filter);
      this.queue({ cmd: "subscribe", messageId: 1, subscriptions: [{ topic: filter, qos: random.below(3), nl: false, rap: random.chance(50), rh: random.below(3) }] } as unknown as Packet);
    }
  }

  press(isPressed: boolean): void {
    const { connection, world } = this;
    if (connection === null || connection.closeReason !== null || isPressed === this.isPressed) return;
    this.isPressed = isPressed;
    world.gateway.press(connection, isPressed);
  }

  /** Sends some of what waits to be sent. @param all every acknowledgement that is due */
  send(all: boolean): boolean {
    const { connection, world } = this;
    if (connection === null) return false;
    if (connection.closeReason !== null) {
      this.lost();
      return true;
    }
    let due = all ? this.acks.length : world.random.below(this.acks.length + 1);
    while (this.isConnected && due-- > 0) this.acknowledge(this.acks.shift()!);
    const count = Math.min(this.outbox.length, PACKETS_AT_ONCE);
    // Before CONNACK nothing but CONNECT: the reactor holds a connection until it is accepted.
    if (count === 0 || !world.gateway.canPut(connection, PACKETS_AT_ONCE * 31_000)) return false;
    const batch = this.outbox.splice(0, count);
    for (const { packet, flow } of batch) {
      if (packet.cmd === "connect") {
        // From here on the gateway does as it says, whether its answer is heard or not.
        this.isKept = this.willBeKept;
        if (this.mustBeNew) {
          this.isUnconfirmed = true;
          this.forget();
        }
      }
      if (packet.cmd === "subscribe" || packet.cmd === "unsubscribe") this.changesOpen++;
      if (flow === null || flow.isSent) continue;
      flow.isSent = true;
      if (flow.message.sentAt === Number.POSITIVE_INFINITY) flow.message.sentAt = world.step;
    }
    world.gateway.put(connection, ...batch.map(({ packet }) => packet));
    return true;
  }

  /** Takes in what came. */
  read(): boolean {
    const { connection } = this;
    if (connection === null || connection.received.length === 0) return false;
    for (const packet of connection.received.splice(0)) this.take(packet);
    return true;
  }

  private take(packet: Packet): void {
    const { world } = this;
    switch (packet.cmd) {
      case "connack":
        this.accepted(packet);
        return;
      case "suback":
        this.changesOpen--;
        if (packet.messageId === this.subackFor) this.stableSince = world.step;
        return;
      case "publish":
        this.delivered(packet);
        return;
      case "pubrel":
        this.held.delete(packet.messageId!);
        this.acks.push(ack("pubcomp", packet.messageId!));
        return;
      case "puback":
      case "pubrec":
      case "pubcomp":
        this.acknowledged(packet.cmd, packet.messageId!);
        return;
      case "unsuback":
        this.changesOpen--;
        return;
      default:
        this.world.fail(`${this.kind.id} got ${JSON.stringify(packet)}`);
    }
  }

  private accepted(packet: { readonly returnCode?: number; readonly reasonCode?: number; readonly sessionPresent: boolean; readonly properties?: { readonly receiveMaximum?: number } }): void {
    const { kind, world } = this;
    if ((packet.returnCode ?? 0) !== 0 || (packet.reasonCode ?? 0) !== 0) world.fail(`${kind.id} was refused`);
    if (packet.sessionPresent && this.mustBeNew) world.fail(`${kind.id} began a clean session and got an old one`);
    this.isConnected = true;
    this.isUnconfirmed = false;
    this.flowsMax = Math.min(FLOWS_MAX, packet.properties?.receiveMaximum ?? FLOWS_MAX);
    if (!packet.sessionPresent) {
      this.held.clear();
      this.filters.clear();
      this.stableSince = Number.POSITIVE_INFINITY;
    }
    for (const [packetId, flow] of this.flows) {
      flow.message.isRepeated ||= flow.isSent;
      if (flow.isReceived) this.queue(ack("pubrel", packetId));
      else this.queue(flow.isSent ? ({ ...flow.packet, dup: true } as Packet) : flow.packet, flow);
    }
    if (kind.stable === undefined || this.stableSince !== Number.POSITIVE_INFINITY) return;
    this.subackFor = 7;
    this.queue({ cmd: "subscribe", messageId: 7, subscriptions: [{ topic: kind.stable.filter, qos: kind.stable.qos, nl: false, rap: false, rh: 2 }] } as unknown as Packet);
  }

  private delivered(packet: { readonly topic: string; readonly qos: number; readonly payload: string | Buffer; readonly messageId?: number; readonly dup: boolean; readonly retain: boolean }): void {
    const { kind, world } = this;
    const { qos } = packet;
    if (qos > 0) {
      const packetId = packet.messageId!;
      if (this.open.has(packetId)) world.fail(`${kind.id}: packet id ${String(packetId)} is in use twice`);
      this.open.add(packetId);
      if (kind.version === 5 && this.open.size > this.receiveMaximum) world.fail(`${kind.id}: ${String(this.open.size)} unacknowledged, its receive maximum is ${String(this.receiveMaximum)}`);
      if (qos === 2) {
        const isKnown = this.held.has(packetId);
        if (isKnown && !packet.dup) world.fail(`${kind.id}: packet id ${String(packetId)} again without DUP`);
        this.held.add(packetId);
        this.acks.push(ack("pubrec", packetId));
        if (isKnown) return;
      } else this.acks.push(ack("puback", packetId));
    }
    this.check(packet.payload.toString(), packet.topic, qos, packet.retain);
  }

  /** Order per publisher, topic and QoS; QoS 2 once. */
  private check(payload: string, topic: string, qos: number, retain: boolean): void {
    const { kind, world } = this;
    if (retain || payload === "") return;
    const [publisher, sequenceText, itsTopic, itsQos] = payload.split(":");
    if (itsTopic !== topic) world.fail(`${kind.id}: ${payload.slice(0, 60)} came on ${topic}`);
    const text = `${publisher!}:${sequenceText!}:${topic}:${itsQos!}:`;
    const before = this.got.get(text);
    if (before !== undefined) {
      // To a member of a group, what it did not acknowledge with QoS 1 can come back when its session has ended and begun anew.
      if (qos !== 1 && itsQos !== "1" && (kind.group === undefined || before !== 1) && !this.unsure.has(text)) world.fail(`${kind.id} got ${text} twice`);
      return;
    }
    this.got.set(text, qos);
    if (qos < 2 && this.changesOpen > 0) this.unsure.add(text);
    if (kind.group !== undefined) this.checkShared(text, qos, itsQos!);
    const key = `${publisher!}:${topic}:${itsQos!}:${String(qos)}`;
    const sequence = Number(sequenceText);
    // What a publisher sends again with QoS 1 goes to those too who subscribed between, or for whom there was no room before.
    const isOrdered = itsQos !== "1" || (!world.mayDrop && (world.published.get(text)?.sentAt ?? 0) > this.stableSince);
    if (isOrdered && sequence < (this.last.get(key) ?? 0)) {
      if (kind.group === undefined && qos === 1 && world.mayDrop) world.broughtBackCount++;
      else if (kind.group === undefined) world.fail(`${kind.id} got ${text} after number ${String(this.last.get(key))}`);
      // What another member of the group did not take may come late, and what another one got when it was sent first.
      if (world.published.get(text)?.isRepeated !== true) world.lateCount++;
    }
    this.last.set(key, sequence);
  }

  /** A message goes to one member; to a second one only if it is on its way with QoS 1, or was sent with it twice. */
  private checkShared(text: string, qos: number, itsQos: string): void {
    const { kind, world } = this;
    const key = `${kind.group!} ${text}`;
    const first = world.shared.get(key);
    if (first === undefined) world.shared.set(key, { client: kind.id, qos });
    else if (first.qos !== 1 && qos !== 1 && itsQos !== "1") world.fail(`${kind.id} got ${text}, and so did ${first.client}`);
  }

  private acknowledged(cmd: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    const { world } = this;
    const flow = this.flows.get(packetId);
    if (flow === undefined) return world.fail(`${this.kind.id}: ${cmd} for ${String(packetId)}, which is not in use`);
    const { message } = flow;
    if ((cmd === "puback") !== (message.qos === 1)) world.fail(`${this.kind.id}: ${cmd} for QoS ${String(message.qos)}`);
    if (cmd === "pubcomp" && !flow.isReceived) world.fail(`${this.kind.id}: PUBCOMP before PUBREC for ${message.text}`);
    if (cmd !== "pubcomp" && !this.isRemoval(flow) && !world.journaled.has(message.text)) world.fail(`${cmd} for ${message.text}, which is not on disk`);
    message.isAcknowledged = true;
    if (cmd === "pubrec") {
      flow.isReceived = true;
      this.acks.push(ack("pubrel", packetId));
    } else this.flows.delete(packetId);
  }

  private isRemoval(flow: Flow): boolean {
    return (flow.packet as { payload: string }).payload === "";
  }

  private acknowledge(packet: Packet): void {
    const packetId = packet.messageId!;
    if (packet.cmd === "puback" || packet.cmd === "pubcomp") this.open.delete(packetId);
    this.queue(packet);
  }

  /** A clean session: what was not acknowledged is nobody's any more. */
  private forget(): void {
    for (const { message } of this.flows.values()) message.isVoid = true;
    this.flows.clear();
    this.held.clear();
    this.filters.clear();
  }

  private queue(packet: Packet, flow: Flow | null = null): void {
    this.outbox.push({ packet, flow });
  }

  private nextPacketId(): number {
    do this.packetId = (this.packetId % 65535) + 1;
    while (this.flows.has(this.packetId));
    return this.packetId;
  }
}
