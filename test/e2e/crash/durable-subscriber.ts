// A subscriber that survives itself and its gateway: takes a QoS 2 message once by its packet id between PUBLISH and PUBREL (MQTT 5 §4.3.3), notes what it
// takes before it acknowledges, and may hold its acknowledgements back for a while, as slow devices do.
import type { IPublishPacket, ISubackPacket, Packet } from "mqtt-packet";
import { DurableClient } from "./durable-client.js";

const REFUSED = 0x80;
const NO_LIMIT = 65_535;

export class DurableSubscriber extends DurableClient {
  /** Packet ids of QoS 2 messages that were taken and not released. */
  private readonly held = new Set<number>();
  private readonly granted = new Set<string>();
  /** SUBSCRIBEs of this connection that wait for their SUBACK: packet id -> filter. */
  private readonly asked = new Map<number, string>();
  private nextId = 1;
  /** Numbers that came, by publisher. */
  private readonly arrived = new Map<string, Set<number>>();
  /** What the gateway may still send before it is acknowledged (MQTT 5 §4.9). */
  private quota = NO_LIMIT;
  private answers: Packet[] = [];

  protected remember([kind, ...words]: readonly string[]): void {
    if (kind === "S") this.grant(words[1]!);
    else if (kind === "M") {
      const [id, qos, publisher, n] = words;
      if (qos === "2") this.held.add(Number(id));
      this.arrive(publisher!, Number(n));
    } else if (kind === "L") this.held.delete(Number(words[0]));
  }

  protected take(packet: Packet): void {
    switch (packet.cmd) {
      case "publish":
        this.takePublish(packet);
        break;
      case "pubrel":
        this.note(`L ${packet.messageId!}`);
        this.held.delete(packet.messageId!);
        this.answer({ cmd: "pubcomp", messageId: packet.messageId! });
        break;
      case "suback":
        this.takeSuback(packet);
        break;
      default:
        this.fault(`${packet.cmd} to a subscriber`);
    }
  }

  protected resume(): void {
    this.quota = this.spec.receiveMaximum ?? NO_LIMIT;
    this.asked.clear();
    this.answers = [];
  }

  protected proceed(): void {
    const asked = new Set(this.asked.values());
    for (const { filter, qos } of this.spec.subscriptions) {
      if (this.granted.has(filter) || asked.has(filter)) continue;
      const messageId = this.nextId++;
      this.asked.set(messageId, filter);
      this.send({ cmd: "subscribe", messageId, subscriptions: [{ topic: filter, qos }] });
    }
  }

  private takePublish(packet: IPublishPacket): void {
    const { qos, topic, dup, messageId = 0 } = packet;
    const [publisher, n, publishedQos] = packet.payload.toString().split(" ", 3);
    if (--this.quota < 0) this.fault(`more than ${this.spec.receiveMaximum} messages on their way`); // [MQTT-3.3.4-9]
    if (qos === 0) this.fault(`QoS 0 on ${topic}`);
    if (qos === 2 && this.held.has(messageId)) {
      if (!dup) this.fault(`packet id ${messageId} was sent again without DUP`); // [MQTT-3.3.1-1]
    } else {
      this.note(`M ${messageId} ${qos} ${publisher!} ${n!} ${publishedQos!} ${topic}`);
      this.arrive(publisher!, Number(n));
      if (qos === 2) this.held.add(messageId);
    }
    this.answer({ cmd: qos === 1 ? "puback" : "pubrec", messageId });
  }

  private takeSuback({ messageId = 0, granted }: ISubackPacket): void {
    const filter = this.asked.get(messageId);
    this.asked.delete(messageId);
    const code = granted[0] as number;
    if (filter === undefined || code >= REFUSED) {
      this.fault(`SUBACK ${messageId} with ${code}`);
      return;
    }
    this.note(`S ${code} ${filter}`);
    this.grant(filter);
  }

  private grant(filter: string): void {
    this.granted.add(filter);
    this.report.granted = this.granted.size;
  }

  private arrive(publisher: string, n: number): void {
    let numbers = this.arrived.get(publisher);
    if (numbers === undefined) this.arrived.set(publisher, (numbers = new Set()));
    if (numbers.has(n)) return;
    numbers.add(n);
    this.report.received++;
  }

  private answer(packet: Packet): void {
    const { delayMs = 0 } = this.spec;
    if (delayMs === 0) {
      this.acknowledge(packet);
      return;
    }
    this.answers.push(packet);
    if (this.answers.length > 1) return;
    this.later(delayMs, () => {
      const { answers } = this;
      this.answers = [];
      for (const answer of answers) this.acknowledge(answer);
    });
  }

  private acknowledge(packet: Packet): void {
    if (packet.cmd !== "pubrec") this.quota = Math.min(this.quota + 1, this.spec.receiveMaximum ?? NO_LIMIT);
    this.send(packet);
  }
}
