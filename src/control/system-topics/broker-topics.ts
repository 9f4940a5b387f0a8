// The topics under $SYS/broker that mosquitto publishes and its users' dashboards read: same names, same units, same averages. Pure.
import type { SystemMessage } from "../../base/messages.js";
import type { BrokerFigures } from "./figures.js";

type Read = (figures: BrokerFigures) => number;

const connected: Read = (figures) => figures.connected;
const disconnected: Read = (figures) => Math.max(0, figures.sessions - figures.connected);
const stored: Read = (figures) => figures.stored;
const memory: Read = (figures) => figures.memory;
const memoryMax: Read = (figures) => figures.memoryMax;

/** `active`, `inactive`, `messages/stored` are older names that mosquitto still publishes; `heap/… size` are the names in its manual. */
const COUNTS: readonly (readonly [string, Read])[] = [
  ["clients/connected", connected],
  ["clients/active", connected],
  ["clients/disconnected", disconnected],
  ["clients/inactive", disconnected],
  ["clients/total", (figures) => figures.sessions],
  ["clients/expired", (figures) => figures.sessionsExpired],
  ["messages/received", (figures) => figures.packetsIn],
  ["messages/sent", (figures) => figures.packetsOut],
  ["messages/stored", stored],
  ["store/messages/count", stored],
  ["store/messages/bytes", (figures) => figures.storedBytes],
  ["publish/messages/received", (figures) => figures.publishesIn],
  ["publish/messages/sent", (figures) => figures.publishesOut],
  ["publish/messages/dropped", (figures) => figures.publishesDropped],
  ["publish/bytes/received", (figures) => figures.payloadBytesIn],
  ["publish/bytes/sent", (figures) => figures.payloadBytesOut],
  ["bytes/received", (figures) => figures.bytesIn],
  ["bytes/sent", (figures) => figures.bytesOut],
  ["subscriptions/count", (figures) => figures.subscriptions],
  ["shared_subscriptions/count", () => 0],
  ["retained messages/count", (figures) => figures.retained],
  ["heap/current", memory],
  ["heap/current size", memory],
  ["heap/maximum", memoryMax],
  ["heap/maximum size", memoryMax],
];

/** What moving averages are kept of, per minute. */
const LOADS: readonly (readonly [string, Read])[] = [
  ["messages/received", (figures) => figures.packetsIn],
  ["messages/sent", (figures) => figures.packetsOut],
  ["publish/dropped", (figures) => figures.publishesDropped],
  ["publish/received", (figures) => figures.publishesIn],
  ["publish/sent", (figures) => figures.publishesOut],
  ["bytes/received", (figures) => figures.bytesIn],
  ["bytes/sent", (figures) => figures.bytesOut],
  ["sockets", (figures) => figures.sockets],
  ["connections", (figures) => figures.connects],
];

const SPANS: readonly (readonly [string, number])[] = [["1min", 60], ["5min", 300], ["15min", 900]];

export class BrokerTopics {
  private readonly version: string;
  private last: { readonly figures: BrokerFigures; readonly at: number } | null = null;
  /** By load and span. */
  private readonly averages = LOADS.map(() => SPANS.map(() => 0));
  private sessionsMax = 0;

  constructor(version: string) {
    this.version = version;
  }

  /** All topics with their values now. @param at monotonic milliseconds */
  take(figures: BrokerFigures, uptimeSeconds: number, at: number): SystemMessage[] {
    this.average(figures, at);
    this.sessionsMax = Math.max(this.sessionsMax, figures.sessions);
    const messages = [
      message("version", `penstock version ${this.version}`),
      message("uptime", `${String(Math.floor(uptimeSeconds))} seconds`),
      message("clients/maximum", String(this.sessionsMax)),
    ];
    for (const [topic, read] of COUNTS) messages.push(message(topic, String(read(figures))));
    LOADS.forEach(([topic], load) => SPANS.forEach(([name], span) => messages.push(message(`load/${topic}/${name}`, this.averages[load]![span]!.toFixed(2)))));
    return messages;
  }

  /** An exponential moving average of the rate per minute, as Unix makes its load averages: mosquitto's arithmetic. */
  private average(figures: BrokerFigures, at: number): void {
    const { last } = this;
    this.last = { figures, at };
    if (last === null || at <= last.at) return;
    const seconds = (at - last.at) / 1000;
    LOADS.forEach(([, read], load) => {
      const perMinute = ((read(figures) - read(last.figures)) * 60) / seconds;
      SPANS.forEach(([, span], index) => {
        const before = this.averages[load]![index]!;
        this.averages[load]![index] = perMinute + Math.exp(-seconds / span) * (before - perMinute);
      });
    });
  }
}

function message(topic: string, payload: string): SystemMessage {
  return { topic: `$SYS/broker/${topic}`, payload };
}
