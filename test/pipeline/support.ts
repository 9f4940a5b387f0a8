// What the pipeline's tests share: messages in memory, a sink that remembers, a seeded source of random numbers.
import { fnv1aOf } from "../../src/base/bytes.js";
import { COUNTER_BLOCK_COUNT } from "../../src/base/counters.js";
import { EXPIRES_NEVER, MESSAGE_FLAG, messageSize, MessageView, writeMessageHead } from "../../src/base/message-record.js";
import type { StatisticsOptions } from "../../src/base/messages.js";
import { Measurements } from "../../src/pipeline/measurements.js";
import { decodePayload } from "../../src/pipeline/decode.js";
import { Pipeline, type RowSink } from "../../src/pipeline/pipeline.js";

export const ARRIVED_AT = Date.UTC(2026, 0, 1);
export const DEFAULT_STATISTICS: StatisticsOptions = { window: 60, warmUp: 10, threshold: 3 };

/** A repeatable source of random numbers in [0, 1) (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** A seed, from the environment to repeat a run. Print it. */
export function newSeed(): number {
  return Number(process.env["TEST_SEED"] ?? Math.floor(Math.random() * 0xffff_ffff));
}

export interface Reading {
  readonly name: string;
  readonly time: number;
  readonly value: number | boolean | string;
}

const KINDS = ["number", "boolean", "text"];

const out = new Measurements();

/** What a payload decodes to: readings, or the reason why not. */
export function decoded(payload: string | Uint8Array): Reading[] | string {
  const bytes = typeof payload === "string" ? Buffer.from(payload, "utf8") : payload;
  const reason = decodePayload(bytes, 0, bytes.length, ARRIVED_AT, out);
  if (reason !== undefined) return reason;
  return Array.from({ length: out.count }, (_, i) => {
    const kind = KINDS[out.kinds[i]!];
    return { name: out.names[i]!, time: out.times[i]!, value: kind === "text" ? out.texts[i]! : kind === "boolean" ? out.values[i] === 1 : out.values[i]! };
  });
}

export interface SeenRow {
  readonly device: string;
  readonly name: string;
  readonly time: number;
  readonly value: number | string;
  readonly flags: number;
}

/** Remembers what a pipeline gives. */
export class MemorySink implements RowSink {
  readonly rows: SeenRow[] = [];
  readonly events: { readonly time: number; readonly device: string; readonly kind: string; readonly text: string }[] = [];
  readonly announced: string[] = [];
  private readonly names = new Map<number, { readonly device: string; readonly name: string }>();

  addSeries(handle: number, device: Uint8Array, name: string): void {
    const id = Buffer.from(device).toString("utf8");
    this.names.set(handle, { device: id, name });
    this.announced.push(`${id} ${name}`);
  }

  addRow(handle: number, time: number, value: number, flags: number): void {
    this.rows.push({ ...this.nameOf(handle), time, value, flags });
  }

  addText(handle: number, time: number, text: string): void {
    this.rows.push({ ...this.nameOf(handle), time, value: text, flags: 0 });
  }

  addEvent(time: number, device: string, kind: string, text: string): void {
    this.events.push({ time, device, kind, text });
  }

  private nameOf(handle: number): { readonly device: string; readonly name: string } {
    const series = this.names.get(handle);
    if (series === undefined) throw new Error(`handle ${handle} was used before it was named`);
    return series;
  }
}

export interface PipelineBench {
  readonly pipeline: Pipeline;
  readonly sink: MemorySink;
  readonly counters: Float64Array;
  /** Sends a telemetry message of a device. */
  readonly send: (device: string, payload: string | Uint8Array, now?: number) => void;
}

export function openPipeline(options: { readonly statistics?: StatisticsOptions; readonly seriesMax?: number } = {}): PipelineBench {
  const sink = new MemorySink();
  const counters = new Float64Array(COUNTER_BLOCK_COUNT);
  const pipeline = new Pipeline(options.statistics ?? DEFAULT_STATISTICS, options.seriesMax ?? 10_000, counters, sink);
  const message = new MessageView();
  return {
    pipeline, sink, counters,
    send: (device, payload, now = 0) => {
      const bytes = messageBytes(device, payload);
      message.read(new DataView(bytes.buffer, bytes.byteOffset), 0);
      pipeline.take(bytes, message, now);
    },
  };
}

/** A message record of `devices/{device}/telemetry`. */
export function messageBytes(device: string, payload: string | Uint8Array, qos: 0 | 1 | 2 = 0, receivedAt = ARRIVED_AT): Buffer {
  const topic = Buffer.from(`devices/${device}/telemetry`, "utf8");
  const body = Buffer.from(payload);
  const bytes = Buffer.alloc(messageSize(topic.length, 0, 0, body.length));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  writeMessageHead(view, 0, receivedAt, fnv1aOf(device), EXPIRES_NEVER, 0, MESSAGE_FLAG.LANE | qos, topic.length, 0, 0, body.length, 0);
  topic.copy(bytes, 32);
  body.copy(bytes, 32 + topic.length);
  return bytes;
}
