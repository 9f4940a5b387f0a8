// One lane's work on a message: payload -> measurements -> statistics -> rows and events for history. Pure. Hot path.
// Called by src/lane/lane.ts for each telemetry message of the lane's devices, in their order.
import { LANE_COUNTER } from "../base/counters.js";
import { ROW_FLAG } from "../base/history-record.js";
import { DEVICE_ID_SIZE_MAX } from "../base/limits.js";
import { RateLimit } from "../base/log.js";
import type { MessageView } from "../base/message-record.js";
import type { LastValue, StatisticsOptions } from "../base/messages.js";
import { fnv1aOf } from "../base/bytes.js";
import { decodePayload } from "./decode.js";
import { learnLayout } from "./learn-layout.js";
import { MEASUREMENT, Measurements } from "./measurements.js";
import { LayoutValues, type Layout, readByLayout } from "./payload-layout.js";
import { type Device, LAST_KIND, type Plan, type Series, SeriesTable } from "./series-table.js";
import { isAnomalous, lastValue, pushValue, readStatistics, STATISTICS_COUNT, STATISTICS_TIME } from "./statistics.js";
import { excerptOf, utf8Of } from "./text.js";

/** Takes what becomes of messages. */
export interface RowSink {
  /** Names a handle before its first row; a handle may come again for another series. */
  addSeries(handle: number, device: Uint8Array, name: string, time: number): void;
  /** @param flags ROW_FLAG */
  addRow(handle: number, time: number, value: number, flags: number): void;
  addText(handle: number, time: number, text: string): void;
  addEvent(time: number, device: string, kind: string, text: string): void;
}

/** `devices/` and `/telemetry` around the device id. */
const TOPIC_HEAD = 8;
const TOPIC_TAIL = 10;
/** Events are for people to read: so many a minute from one device, from all devices of a lane, and for one series. The counters count all. */
const MINUTE = 60_000;
const DEVICE_FAILURES_PER_MINUTE = 10;
const LANE_EVENTS_PER_MINUTE = 600;
const EXCERPT_SIZE_MAX = 128;
/** Layouts kept for sharing; beyond, they start over (plans keep theirs). */
const SHARED_LAYOUTS_MAX = 1024;
/** A device with more misses than this learns a new layout from every so many only. */
const MISSES_BEFORE_PATIENCE = 64;

export class Pipeline {
  /** Messages that were read by a layout known before. */
  planReads = 0;
  private readonly statistics: StatisticsOptions;
  private readonly counters: Float64Array;
  private readonly sink: RowSink;
  private readonly table: SeriesTable;
  private readonly decoded = new Measurements();
  private readonly values = new LayoutValues();
  private readonly layouts = new Map<string, Layout>();
  private readonly events = new RateLimit(LANE_EVENTS_PER_MINUTE, MINUTE);
  private readonly evictedBefore: number;

  constructor(statistics: StatisticsOptions, seriesMax: number, counters: Float64Array, sink: RowSink) {
    this.statistics = statistics;
    this.counters = counters;
    this.sink = sink;
    this.table = new SeriesTable(seriesMax, statistics.window);
    this.evictedBefore = counters[LANE_COUNTER.SERIES_EVICTED]!;
  }

  /**
   * Takes a telemetry message.
   *
   * @param bytes what the positions in `message` point into; borrowed for the call
   * @param now monotonic ms
   */
  take(bytes: Uint8Array, message: MessageView, now: number): void {
    this.counters[LANE_COUNTER.MESSAGES]!++;
    const idLength = message.topicLength - TOPIC_HEAD - TOPIC_TAIL;
    const idAt = message.topicAt + TOPIC_HEAD;
    const device = this.table.find(bytes, idAt, idLength, message.deviceHash);
    if (device !== undefined && this.takeByPlan(device, bytes, message, now)) return;
    this.takeByDecoding(device, bytes, message, now);
  }

  /** Counts a message that cannot be processed, and keeps an event about it. */
  refuse(bytes: Uint8Array, message: MessageView, kind: string, reason: string, now: number): void {
    if (!this.events.allows(now)) return;
    const id = utf8Of(bytes, message.topicAt + TOPIC_HEAD, Math.max(0, message.topicLength - TOPIC_HEAD - TOPIC_TAIL)) ?? "";
    const excerpt = excerptOf(bytes, message.payloadAt, message.payloadLength, EXCERPT_SIZE_MAX);
    this.sink.addEvent(message.receivedAt, id, kind, `${reason}; payload: ${excerpt}`);
  }

  /** The last value of a series with its statistics, or null when the lane has not seen it. */
  last(device: string, name: string): LastValue | null {
    const series = this.table.lookUp(device, fnv1aOf(device), name);
    if (series === undefined || series.lastKind === LAST_KIND.NONE) return null;
    const { slab, base } = series;
    const time = slab[base + STATISTICS_TIME]!;
    if (series.lastKind === LAST_KIND.TEXT) return { time, value: series.lastText };
    if (series.lastKind === LAST_KIND.BOOLEAN) return { time, value: series.lastBoolean };
    return { time, value: lastValue(slab, base, this.statistics.window), statistics: readStatistics(slab, base, this.statistics) };
  }

  /** Writes the gauges; once in a while. */
  updateGauges(): void {
    this.counters[LANE_COUNTER.SERIES] = this.table.seriesCount;
    this.counters[LANE_COUNTER.SERIES_EVICTED] = this.evictedBefore + this.table.evicted;
  }

  private takeByPlan(device: Device, bytes: Uint8Array, message: MessageView, now: number): boolean {
    const { plans } = device;
    const at = message.payloadAt;
    for (let i = 0; i < plans.length; i++) {
      const plan = plans[i]!;
      if (!readByLayout(plan.layout, bytes, at, at + message.payloadLength, plan.known, this.values)) continue;
      if (i > 0) {
        plans.splice(i, 1);
        plans.unshift(plan);
      }
      if (device.misses > 0) device.misses--;
      this.planReads++;
      this.applyPlan(device, plan, message.receivedAt, now);
      return true;
    }
    return false;
  }

  private applyPlan(device: Device, plan: Plan, arrivedAt: number, now: number): void {
    const { measured, kinds } = plan.layout;
    const { numbers, texts } = this.values;
    const time = Number.isNaN(this.values.time) ? arrivedAt : this.values.time;
    for (let i = 0; i < measured.length; i++) {
      const index = measured[i]!;
      const series = plan.series[i]!;
      const kind = kinds[index]!;
      if (kind === MEASUREMENT.NUMBER) this.applyNumber(device, series, time, numbers[index]!, now);
      else this.applyOther(device, series, time, kind, numbers[index]!, texts[index]!);
    }
    this.counters[LANE_COUNTER.MEASUREMENTS]! += measured.length;
  }

  private applyNumber(device: Device, series: Series, time: number, value: number, now: number): void {
    const { slab, base } = series;
    const z = pushValue(slab, base, this.statistics.window, value);
    slab[base + STATISTICS_TIME] = time;
    series.lastKind = LAST_KIND.NUMBER;
    if (isAnomalous(z, slab[base + STATISTICS_COUNT]!, this.statistics)) {
      this.sink.addRow(series.handle, time, value, ROW_FLAG.ANOMALY);
      this.reportAnomaly(device, series, time, value, now);
    } else {
      this.sink.addRow(series.handle, time, value, 0);
    }
  }

  private applyOther(device: Device, series: Series, time: number, kind: number, value: number, text: string): void {
    series.slab[series.base + STATISTICS_TIME] = time;
    if (kind === MEASUREMENT.BOOLEAN) {
      series.lastKind = LAST_KIND.BOOLEAN;
      series.lastBoolean = value === 1;
      this.sink.addRow(series.handle, time, value, ROW_FLAG.BOOLEAN);
    } else {
      series.lastKind = LAST_KIND.TEXT;
      this.table.setText(device, series, text);
      this.sink.addText(series.handle, time, text);
    }
  }

  private reportAnomaly(device: Device, series: Series, time: number, value: number, now: number): void {
    this.counters[LANE_COUNTER.ANOMALIES]!++;
    if (now < series.quietUntil || !this.events.allows(now)) return;
    series.quietUntil = now + MINUTE;
    const { mean, standardDeviation, zScore } = readStatistics(series.slab, series.base, this.statistics);
    this.sink.addEvent(time, device.id, "anomaly", `${series.name} = ${value}: z ${zScore.toFixed(2)}, mean ${mean}, standard deviation ${standardDeviation}`);
  }

  private takeByDecoding(known: Device | undefined, bytes: Uint8Array, message: MessageView, now: number): void {
    const { decoded } = this;
    const idLength = message.topicLength - TOPIC_HEAD - TOPIC_TAIL;
    const reason = idLength < 1 || idLength > DEVICE_ID_SIZE_MAX
      ? `a device id has 1 to ${DEVICE_ID_SIZE_MAX} bytes`
      : decodePayload(bytes, message.payloadAt, message.payloadLength, message.receivedAt, decoded);
    if (reason !== undefined) {
      this.counters[LANE_COUNTER.DECODE_FAILURES]!++;
      if (known === undefined || mayReport(known, now)) this.refuse(bytes, message, "decode", reason, now);
      return;
    }
    if (decoded.count === 0) return;
    const device = known ?? this.addDevice(bytes, message, idLength);
    for (let i = 0; i < decoded.count; i++) {
      const time = decoded.times[i]!;
      const series = this.table.obtain(device, decoded.names[i]!);
      if (series.lastKind === LAST_KIND.NONE) this.sink.addSeries(series.handle, device.idBytes, series.name, time);
      const kind = decoded.kinds[i]!;
      if (kind === MEASUREMENT.NUMBER) this.applyNumber(device, series, time, decoded.values[i]!, now);
      else this.applyOther(device, series, time, kind, decoded.values[i]!, decoded.texts[i]!);
    }
    this.counters[LANE_COUNTER.MEASUREMENTS]! += decoded.count;
    this.learn(device, bytes, message);
  }

  private addDevice(bytes: Uint8Array, message: MessageView, idLength: number): Device {
    const idAt = message.topicAt + TOPIC_HEAD;
    return this.table.addDevice(utf8Of(bytes, idAt, idLength) ?? "", bytes.slice(idAt, idAt + idLength), message.deviceHash);
  }

  private learn(device: Device, bytes: Uint8Array, message: MessageView): void {
    device.misses++;
    if (device.misses > MISSES_BEFORE_PATIENCE && device.misses % MISSES_BEFORE_PATIENCE !== 0) return;
    const learned = learnLayout(bytes, message.payloadAt, message.payloadAt + message.payloadLength, this.decoded);
    if (learned === undefined) return;
    const layout = this.shared(learned.layout);
    const series: Series[] = [];
    for (const name of layout.names) {
      const one = device.series.get(name);
      // Gone again: the message has more series than the table may hold.
      if (one === undefined) return;
      series.push(one);
    }
    device.addPlan({ layout, series, known: [...learned.known] });
  }

  /** The one copy of a layout that all devices that send alike use: less memory, and it stays in the cache. */
  private shared(layout: Layout): Layout {
    const key = `${layout.kinds.join("")} ${layout.ends.join(",")} ${Buffer.from(layout.literals).toString("latin1")}`;
    const known = this.layouts.get(key);
    if (known !== undefined) return known;
    if (this.layouts.size >= SHARED_LAYOUTS_MAX) this.layouts.clear();
    this.layouts.set(key, layout);
    return layout;
  }
}

/** Lets through a device's first failures of each minute. */
function mayReport(device: Device, now: number): boolean {
  if (now - device.failuresSince >= MINUTE) {
    device.failuresSince = now;
    device.failures = 0;
  }
  return ++device.failures <= DEVICE_FAILURES_PER_MINUTE;
}
