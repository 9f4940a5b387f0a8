// us per message: decode and statistics of `devices/{id}/telemetry` as a lane does it, by layout and by JSON.parse.
// Run: node dist/bench/micro/pipeline.js [messages]
import { fnv1a } from "../../src/base/bytes.js";
import { COUNTER_BLOCK_COUNT } from "../../src/base/counters.js";
import { EXPIRES_NEVER, MESSAGE_FLAG, messageSize, MessageView, writeMessageHead } from "../../src/base/message-record.js";
import { Pipeline, type RowSink } from "../../src/pipeline/pipeline.js";

const DEVICES = 1000;
const messages = Number(process.argv[2] ?? 2_000_000);

class CountingSink implements RowSink {
  rows = 0;
  sum = 0;
  events = 0;
  addSeries(): void {
    this.rows = 0;
  }
  addRow(_handle: number, _time: number, value: number): void {
    this.rows++;
    this.sum += value;
  }
  addText(): void {
    this.rows++;
  }
  addEvent(): void {
    this.events++;
  }
}

/** Records of a few messages per device, in shared memory as a ring would hold them. */
function build(payloadOf: (n: number) => string): { bytes: Uint8Array; view: DataView; starts: number[] } {
  const buffer = new SharedArrayBuffer(DEVICES * 16 * 512);
  const bytes = new Uint8Array(buffer);
  const view = new DataView(buffer);
  const starts: number[] = [];
  let at = 0;
  for (let n = 0; n < DEVICES * 16; n++) {
    const id = `device-${String(n % DEVICES).padStart(4, "0")}`;
    const topic = Buffer.from(`devices/${id}/telemetry`);
    const payload = Buffer.from(payloadOf(n));
    writeMessageHead(view, at, 1.76e12 + n, fnv1a(Buffer.from(id), 0, id.length), EXPIRES_NEVER, 0, MESSAGE_FLAG.LANE, topic.length, 0, 0, payload.length, 0);
    bytes.set(topic, at + 32);
    bytes.set(payload, at + 32 + topic.length);
    starts.push(at);
    at = (at + messageSize(topic.length, 0, 0, payload.length) + 7) & ~7;
  }
  return { bytes, view, starts };
}

function measure(name: string, payloadOf: (n: number) => string): void {
  const { bytes, view, starts } = build(payloadOf);
  const sink = new CountingSink();
  const pipeline = new Pipeline({ window: 60, warmUp: 10, threshold: 3 }, 100_000, new Float64Array(COUNTER_BLOCK_COUNT), sink);
  const message = new MessageView();
  const run = (count: number): void => {
    for (let n = 0; n < count; n++) {
      message.read(view, starts[n % starts.length]!);
      pipeline.take(bytes, message, 0);
    }
  };
  run(messages / 10);
  const before = process.cpuUsage();
  run(messages);
  const used = process.cpuUsage(before);
  console.log(`${name.padEnd(40)} ${((used.user + used.system) / messages).toFixed(3)} us/message, ${sink.rows} rows`);
}

const number = (n: number, scale: number): string => ((n * 7919) % scale / 100).toFixed(2);
measure("two numbers, 100 bytes", (n) => `{"temperature":${number(n, 4000)},"humidity":${number(n, 10000)},"padding-padding-padding-padding-padding-p":null}`);
measure("two numbers", (n) => `{"temperature":${number(n, 4000)},"humidity":${number(n, 10000)}}`);
measure("two numbers and ts", (n) => `{"ts":${1_760_000_000_000 + n},"temperature":${number(n, 4000)},"humidity":${number(n, 10000)}}`);
measure("two numbers of 17 digits", (n) => `{"temperature":${Math.sin(n) * 10},"humidity":${Math.cos(n) * 10}}`);
measure("numbers, text, boolean, nested", (n) => `{"t":${number(n, 4000)},"state":"running","ok":${n % 3 === 0},"motor":{"rpm":${n % 3000},"current":${number(n, 700)}}}`);
measure("never the same layout (JSON.parse)", (n) => `{"temperature":${number(n, 4000)},"humidity":${number(n, 10000)},"x${" ".repeat(n % 97)}":null}`);
measure("plain number (JSON.parse)", (n) => number(n, 4000));
