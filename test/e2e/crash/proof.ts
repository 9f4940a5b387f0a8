// What must be true of clients' notebooks when everything has come to rest, however often the gateway or a client was killed on the way.
import { matches, parseFilter } from "../../../src/broker/topic.js";

export interface Notes {
  readonly name: string;
  readonly lines: Iterable<readonly string[]>;
}

interface Published {
  readonly qos: number;
  readonly topic: string;
  readonly isRetained: boolean;
  isAccepted: boolean;
}

interface Arrival {
  readonly publisher: string;
  readonly n: number;
  readonly qos: number;
  readonly publishedQos: number;
  readonly topic: string;
}

interface Subscription {
  readonly group: string;
  readonly filter: string;
  readonly qos: number;
}

/** Whose deliveries are looked at together: a subscriber's own, or those of all members of a group that share a filter. */
interface Receiver {
  readonly name: string;
  readonly subscriptions: readonly Subscription[];
  readonly arrivals: readonly Arrival[];
  /** A group's messages are spread over its members: none of them sees an order. */
  readonly isOrdered: boolean;
  /** By topic: what `qosOf` found. */
  readonly qosByTopic: Map<string, number>;
}

const DEPTH_MAX = 32;
const LENGTH_MAX = 4096;
/** Findings of one kind that are named one by one. */
const NAMED_MAX = 8;

export class Proof {
  readonly faults: string[] = [];
  /** By publisher, by number. */
  private readonly published = new Map<string, Map<number, Published>>();
  private readonly receivers: Receiver[] = [];
  accepted = 0;
  delivered = 0;

  constructor(notes: Iterable<Notes>) {
    const groups = new Map<string, { subscriptions: Subscription[]; arrivals: Arrival[] }>();
    for (const one of notes) this.read(one, groups);
    for (const [name, { subscriptions, arrivals }] of groups) this.receivers.push({ name, subscriptions, arrivals, isOrdered: false, qosByTopic: new Map() });
    for (const receiver of this.receivers) this.examine(receiver);
  }

  /** How many different messages a subscriber or a group is owed when all that was published has been accepted. */
  owedTo(name: string): number {
    const receiver = this.receivers.find((one) => one.name === name);
    if (receiver === undefined) return 0;
    let count = 0;
    for (const messages of this.published.values()) for (const { topic } of messages.values()) if (qosOf(receiver, topic) > 0) count++;
    return count;
  }

  /** By retained topic: its last message. */
  get retained(): Map<string, number> {
    const last = new Map<string, number>();
    for (const messages of this.published.values()) for (const [n, { topic, isRetained }] of messages) if (isRetained) last.set(topic, n);
    return last;
  }

  private read({ name, lines }: Notes, groups: Map<string, { subscriptions: Subscription[]; arrivals: Arrival[] }>): void {
    const messages = new Map<number, Published>();
    const byPacketId = new Map<string, Published>();
    const subscriptions: Subscription[] = [];
    const arrivals: Arrival[] = [];
    for (const [kind, a, b, c, d, e, topic] of lines) {
      if (kind === "P") {
        const message = { qos: Number(c), isRetained: d === "1", topic: e!, isAccepted: false };
        byPacketId.set(a!, message);
        messages.set(Number(b), message);
      } else if (kind === "R" || kind === "A") this.accept(byPacketId.get(a!));
      else if (kind === "S") subscriptions.push({ ...partsOf(b!), qos: Number(a) });
      else if (kind === "M") arrivals.push({ publisher: c!, n: Number(d), qos: Number(b), publishedQos: Number(e), topic: topic! });
      else if (kind === "E") this.faults.push(`${name}: ${[a, b, c, d, e, topic].filter((word) => word !== undefined).join(" ")}`);
    }
    if (messages.size > 0) this.published.set(name, messages);
    // Members of a group subscribe to nothing else.
    const group = subscriptions.find((subscription) => subscription.group !== "")?.group;
    if (group === undefined) {
      if (subscriptions.length > 0) this.receivers.push({ name, subscriptions, arrivals, isOrdered: true, qosByTopic: new Map() });
      return;
    }
    const shared = groups.get(group) ?? { subscriptions: [], arrivals: [] };
    groups.set(group, shared);
    shared.subscriptions.push(...subscriptions);
    for (const arrival of arrivals) shared.arrivals.push(arrival);
  }

  private accept(message: Published | undefined): void {
    if (message === undefined || message.isAccepted) return;
    message.isAccepted = true;
    this.accepted++;
  }

  private examine(receiver: Receiver): void {
    const { name, arrivals, isOrdered } = receiver;
    const counts = new Map<string, number>();
    const last = new Map<string, number>();
    const wrong: string[] = [];
    const twice: string[] = [];
    const swapped: string[] = [];
    for (const { publisher, n, qos, publishedQos, topic } of arrivals) {
      const key = `${publisher} ${n}`;
      const message = this.published.get(publisher)?.get(n);
      if (message === undefined || message.topic !== topic || message.qos !== publishedQos) wrong.push(`${key} on ${topic} was never published`);
      else if (qos !== Math.min(message.qos, qosOf(receiver, topic))) wrong.push(`${key} on ${topic} came with QoS ${qos}`);
      const count = (counts.get(key) ?? 0) + 1;
      counts.set(key, count);
      if (count > 1) {
        if (qos === 2) twice.push(key);
        continue;
      }
      this.delivered++;
      const stream = `${publisher} ${topic} ${publishedQos}`;
      if ((last.get(stream) ?? -1) > n) swapped.push(`${key} on ${topic} after ${last.get(stream)!}`);
      last.set(stream, n);
    }
    this.tell(name, "what nobody sent or not so", wrong);
    this.tell(name, "QoS 2 twice", twice);
    if (isOrdered) this.tell(name, "out of order", swapped);
    this.tell(name, "acknowledged and lost", this.missing(receiver, counts));
  }

  private missing(receiver: Receiver, counts: ReadonlyMap<string, number>): string[] {
    const missing: string[] = [];
    for (const [publisher, messages] of this.published) {
      for (const [n, { isAccepted, topic, qos }] of messages) {
        if (isAccepted && qosOf(receiver, topic) > 0 && !counts.has(`${publisher} ${n}`)) missing.push(`${publisher} ${n} on ${topic} QoS ${qos}`);
      }
    }
    return missing;
  }

  private tell(name: string, what: string, found: readonly string[]): void {
    if (found.length > 0) this.faults.push(`${name}: ${what}: ${found.length}: ${found.slice(0, NAMED_MAX).join(", ")}`);
  }
}

/** The highest QoS of the subscriptions that match; 0 = none does. */
function qosOf({ subscriptions, qosByTopic }: Receiver, topic: string): number {
  const known = qosByTopic.get(topic);
  if (known !== undefined) return known;
  let highest = 0;
  for (const { filter, qos } of subscriptions) if (qos > highest && matches(filter, topic)) highest = qos;
  qosByTopic.set(topic, highest);
  return highest;
}

function partsOf(text: string): { readonly group: string; readonly filter: string } {
  const parsed = parseFilter(text, DEPTH_MAX, LENGTH_MAX);
  if (typeof parsed === "string") throw new Error(`${text} is no filter: ${parsed}`);
  return parsed;
}
