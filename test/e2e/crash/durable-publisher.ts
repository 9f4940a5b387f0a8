// A publisher that survives itself and its gateway: what has no PUBACK or PUBREC is sent again with DUP and the same packet id, what has a PUBREC goes on
// with PUBREL [MQTT-4.4.0-1], in the order of first sending.
import mqttPacket, { type Packet } from "mqtt-packet";
import { Random } from "../../protocol/mqtt/support.js";
import { DurableClient } from "./durable-client.js";

interface Open {
  readonly n: number;
  readonly qos: 1 | 2;
  readonly isRetained: boolean;
  readonly topic: string;
  isReceived: boolean;
}

const WINDOW = 20;
const PACKET_ID_MAX = 65_535;
const PACKET_ID_NOT_FOUND = 0x92;
const NO_SUBSCRIBERS = 0x10;
const SMALL_PERCENT = 90;
const SMALL_SIZE = 600;
const LARGE_SIZE = 20_000;
export const RETAINED = "retained/";

export class DurablePublisher extends DurableClient {
  /** By packet id, in the order of first sending. */
  private readonly open = new Map<number, Open>();
  private nextId = 1;

  protected remember([kind, id, ...words]: readonly string[]): void {
    const packetId = Number(id);
    if (kind === "P") {
      const [n, qos, retain, topic] = words;
      this.open.set(packetId, { n: Number(n), qos: qos === "2" ? 2 : 1, isRetained: retain === "1", topic: topic!, isReceived: false });
      this.report.published = Number(n) + 1;
      this.nextId = (packetId % PACKET_ID_MAX) + 1;
    } else if (kind === "R") this.received(packetId);
    else if (kind === "A") this.acknowledged(packetId);
  }

  protected take(packet: Packet): void {
    if (packet.cmd !== "puback" && packet.cmd !== "pubrec" && packet.cmd !== "pubcomp") {
      this.fault(`${packet.cmd} to a publisher`);
      return;
    }
    const { cmd, messageId = 0, reasonCode = 0 } = packet;
    const open = this.open.get(messageId);
    if (open === undefined || cmd !== answerOf(open)) {
      this.fault(`${cmd} ${messageId} that nothing waits for`);
      return;
    }
    // PUBREL is repeated when its PUBCOMP was lost, and the gateway may have forgotten the packet id by then.
    const isPlain = reasonCode === 0 || (cmd === "pubcomp" ? reasonCode === PACKET_ID_NOT_FOUND : reasonCode === NO_SUBSCRIBERS);
    if (!isPlain) this.fault(`${cmd} ${messageId} with reason ${reasonCode}`);
    if (cmd === "pubrec") {
      this.note(`R ${messageId}`);
      this.received(messageId);
      this.send({ cmd: "pubrel", messageId });
    } else {
      this.note(`A ${messageId}`);
      this.acknowledged(messageId);
      this.proceed();
    }
  }

  protected resume(): void {
    for (const [messageId, open] of this.open) {
      if (open.isReceived) this.send({ cmd: "pubrel", messageId });
      else this.sendPublish(messageId, open, true);
    }
  }

  protected proceed(): void {
    const { spec, open, report } = this;
    while (report.published < spec.limit && open.size < (spec.window ?? WINDOW)) {
      const n = report.published++;
      const random = this.randomOf(n);
      const topic = random.pick(spec.topics);
      const isRetained = topic.startsWith(RETAINED);
      // The last one of a retained topic is known only if all come by the same QoS.
      const isExact = isRetained ? topic.endsWith("2") : random.chance(50);
      const next: Open = { n, qos: isExact ? 2 : 1, isRetained, topic, isReceived: false };
      const messageId = this.freeId();
      open.set(messageId, next);
      this.note(`P ${messageId} ${n} ${next.qos} ${isRetained ? 1 : 0} ${topic}`);
      this.sendPublish(messageId, next, false);
    }
  }

  private received(packetId: number): void {
    const open = this.open.get(packetId);
    if (open === undefined || open.isReceived) return;
    open.isReceived = true;
    this.accept(open);
  }

  private acknowledged(packetId: number): void {
    const open = this.open.get(packetId);
    if (open === undefined) return;
    if (!open.isReceived) this.accept(open);
    this.open.delete(packetId);
  }

  private accept({ n, isRetained, topic }: Open): void {
    this.report.accepted++;
    if (isRetained) this.report.retained[topic] = Math.max(n, this.report.retained[topic] ?? 0);
  }

  private freeId(): number {
    while (this.open.has(this.nextId)) this.nextId = (this.nextId % PACKET_ID_MAX) + 1;
    const id = this.nextId;
    this.nextId = (id % PACKET_ID_MAX) + 1;
    return id;
  }

  private sendPublish(messageId: number, { n, qos, isRetained, topic }: Open, dup: boolean): void {
    const random = this.randomOf(n);
    const size = random.below(random.chance(SMALL_PERCENT) ? SMALL_SIZE : LARGE_SIZE);
    const payload = `${this.spec.name} ${n} ${qos} ${".".repeat(size)}`;
    this.send(mqttPacket.generate({ cmd: "publish", topic, payload, qos, retain: isRetained, dup, messageId }, { protocolVersion: this.spec.version }));
  }

  /** The same for the same message, however often its publisher was killed. */
  private randomOf(n: number): Random {
    return new Random(Math.imul(n + 1, 0x9e3779b1));
  }
}

function answerOf(open: Open): "puback" | "pubrec" | "pubcomp" {
  if (open.qos === 1) return "puback";
  return open.isReceived ? "pubcomp" : "pubrec";
}
