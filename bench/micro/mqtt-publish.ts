// CPU nanoseconds per PUBLISH read and written, per acknowledgement, and per match, on this machine. Prints a table; not a test.
// Run: npx tsc -p . && node --expose-gc dist/bench/micro/mqtt-publish.js
import { RetainedStore, retainedSize } from "../../src/broker/retained.js";
import { SubscriptionTree, type Keyed } from "../../src/broker/subscription-tree.js";
import { AckHead, readAck, writeAck } from "../../src/protocol/mqtt/acks.js";
import { Frame, nextFrame } from "../../src/protocol/mqtt/fixed-header.js";
import { PACKET, type ProtocolVersion } from "../../src/protocol/mqtt/packet-types.js";
import { PublishHead } from "../../src/protocol/mqtt/publish-head.js";
import { readPublish } from "../../src/protocol/mqtt/publish.js";
import { OutgoingPublish, measurePublish, writePublish } from "../../src/protocol/mqtt/publish-writer.js";

const PACKETS = 1000;
const RUN_MS = 300;
const RUNS = 5;

/** Median over runs of CPU nanoseconds per operation; `work` does `count` of them and returns a number that depends on all. */
function measure(count: number, work: () => number): number {
  let sink = 0;
  const results: number[] = [];
  for (let run = 0; run < RUNS + 1; run++) {
    let turns = 0;
    const start = process.cpuUsage();
    const until = performance.now() + RUN_MS;
    do {
      sink += work();
      turns++;
    } while (performance.now() < until);
    const { user, system } = process.cpuUsage(start);
    // The first run warms up.
    if (run > 0) results.push(((user + system) * 1000) / (turns * count));
  }
  if (Number.isNaN(sink)) throw new Error("the work was not done");
  return results.sort((a, b) => a - b)[RUNS >> 1]!;
}

/** As the shard makes it of bytes: one piece of memory, unlike a template's result. */
function flat(text: string): string {
  return Buffer.from(text).toString("latin1");
}

function print(name: string, value: string): void {
  console.log(`${name.padEnd(78)} ${value.padStart(10)}`);
}

/** Packets behind each other in shared memory, as the shard sees them. */
function ringOf(version: ProtocolVersion, qos: 0 | 1, topicOf: (i: number) => string, properties: Buffer, payloadLength: number): Uint8Array {
  const out = new OutgoingPublish();
  out.version = version;
  out.qos = qos;
  out.packetId = 1;
  out.propertiesBytes = properties;
  out.propertiesLength = properties.length;
  out.payloadBytes = Buffer.alloc(payloadLength, 0x31);
  out.payloadLength = payloadLength;
  const ring = new Uint8Array(new SharedArrayBuffer(PACKETS * 400));
  let at = 0;
  for (let i = 0; i < PACKETS; i++) {
    out.topicBytes = Buffer.from(topicOf(i));
    out.topicLength = out.topicBytes.length;
    measurePublish(out);
    at += writePublish(ring, at, out);
  }
  return ring.subarray(0, at);
}

function measureReading(name: string, version: ProtocolVersion, ring: Uint8Array): void {
  const frame = new Frame();
  const head = new PublishHead();
  const nanoseconds = measure(PACKETS, () => {
    let at = 0;
    let sum = 0;
    while (nextFrame(ring, at, ring.length, frame)) {
      readPublish(ring, frame, version, head);
      sum += head.payloadLength;
      at = frame.end;
    }
    return sum;
  });
  print(name, nanoseconds.toFixed(1));
}

function measureWriting(name: string, version: ProtocolVersion, payloadInTarget: boolean): void {
  const memory = new Uint8Array(new SharedArrayBuffer(1 << 20));
  const elsewhere = new Uint8Array(new SharedArrayBuffer(4096));
  const out = new OutgoingPublish();
  out.version = version;
  out.qos = 1;
  out.topicBytes = payloadInTarget ? memory : elsewhere;
  out.topicLength = 26;
  out.payloadBytes = out.topicBytes;
  out.payloadAt = 100;
  out.payloadLength = 120;
  const nanoseconds = measure(PACKETS, () => {
    let at = 1024;
    for (let i = 0; i < PACKETS; i++) {
      out.packetId = i;
      measurePublish(out);
      at += writePublish(memory, at, out);
    }
    return at;
  });
  print(name, nanoseconds.toFixed(1));
}

function measureAcks(): void {
  const memory = new Uint8Array(new SharedArrayBuffer(8 * PACKETS));
  const frame = new Frame();
  const head = new AckHead();
  print("PUBACK written and read", measure(PACKETS, () => {
    let end = 0;
    for (let i = 0; i < PACKETS; i++) end += writeAck(memory, end, PACKET.PUBACK, 5, i + 1, 0);
    let sum = 0;
    for (let at = 0; nextFrame(memory, at, end, frame); at = frame.end) {
      readAck(memory, frame, 5, head);
      sum += head.packetId;
    }
    return sum;
  }).toFixed(1));
}

type Entry = Keyed<number>;

function measureMatching(name: string, fill: (tree: SubscriptionTree<number, Entry>) => void): void {
  const tree = new SubscriptionTree<number, Entry>();
  const before = heapUsed();
  fill(tree);
  const perFilter = (heapUsed() - before) / tree.filterCount;
  const topics = Array.from({ length: PACKETS }, (_, i) => deviceTopic(i * 97));
  const out: Entry[] = [];
  let found = 0;
  const nanoseconds = measure(PACKETS, () => {
    found = 0;
    for (const topic of topics) {
      out.length = 0;
      tree.match(topic, out);
      found += out.length;
    }
    return found;
  });
  // Too few filters cannot be told from the heap's own movement.
  const memory = tree.filterCount < 1000 ? "" : `, ${Math.round(perFilter)} B a filter`;
  print(`match: ${name} (${found / PACKETS} found${memory})`, nanoseconds.toFixed(1));
}

function heapUsed(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

function measureRetained(): void {
  const store = new RetainedStore(1_000_000, 1e9);
  const record = new Uint8Array(180);
  const count = 100_000;
  const topics = Array.from({ length: count }, (_, i) => deviceTopic(i));
  globalThis.gc?.();
  const before = process.memoryUsage();
  for (let i = 0; i < count; i++) store.set(topics[i]!, record, 0, record.length, Infinity);
  globalThis.gc?.();
  const after = process.memoryUsage();
  print("retained: bytes of heap and buffers a message of 180 bytes", ((after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers) / count).toFixed(0));
  print("retained: bytes resident", ((after.rss - before.rss) / count).toFixed(0));
  print("retained: bytes accounted for it", retainedSize(topics[0]!, record.length).toFixed(0));
  print("retained: set again", measure(PACKETS, () => {
    for (let i = 0; i < PACKETS; i++) store.set(topics[i]!, record, 0, record.length, Infinity);
    return store.count;
  }).toFixed(1));
}

const deviceTopic = (i: number): string => flat(`devices/device-${String(i).padStart(6, "0")}/telemetry`);
console.log(`node ${process.version}, ${process.arch}; CPU nanoseconds, median of ${RUNS} runs\n`);
measureReading("PUBLISH read: 3.1.1, QoS 0, topic 31, payload 115", 4, ringOf(4, 0, deviceTopic, Buffer.alloc(0), 115));
measureReading("PUBLISH read: 3.1.1, QoS 1, topic 31, payload 115", 4, ringOf(4, 1, deviceTopic, Buffer.alloc(0), 115));
measureReading("PUBLISH read: 3.1.1, QoS 0, topic 4, payload 142", 4, ringOf(4, 0, (i) => `t${String(i % 1000).padStart(3, "0")}`, Buffer.alloc(0), 142));
measureReading("PUBLISH read: 5, QoS 1, no properties, topic 31, payload 115", 5, ringOf(5, 1, deviceTopic, Buffer.alloc(0), 115));
measureReading("PUBLISH read: 5, QoS 1, content type and a user property", 5, ringOf(5, 1, deviceTopic, Buffer.from("\x03\0\x0atext/plain\x26\0\x03key\0\x05value"), 90));
measureReading("PUBLISH read: 3.1.1, topic of 30 bytes, 10 of them not ASCII", 4, ringOf(4, 0, (i) => `geräte/gerät-${String(i).padStart(6, "0")}/übersüß`, Buffer.alloc(0), 115));
measureWriting("PUBLISH written: 3.1.1, QoS 1, 152 bytes, within one memory", 4, true);
measureWriting("PUBLISH written: 3.1.1, QoS 1, 152 bytes, from another memory", 4, false);
measureWriting("PUBLISH written: 5, QoS 1, 153 bytes, within one memory", 5, true);
measureAcks();
measureMatching("devices/+/telemetry alone", (tree) => tree.add("devices/+/telemetry", { key: 0 }));
measureMatching("and 100,000 wildcard subscriptions elsewhere", (tree) => {
  tree.add("devices/+/telemetry", { key: 0 });
  for (let i = 0; i < 100_000; i++) tree.add(flat(`plants/plant-${String(i).padStart(6, "0")}/commands/+`), { key: i });
});
measureMatching("and 100,000 wildcard subscriptions beside it, one a device", (tree) => {
  tree.add("devices/+/telemetry", { key: 0 });
  for (let i = 0; i < 100_000; i++) tree.add(flat(`devices/device-${String(i).padStart(6, "0")}/commands/+`), { key: i });
});
measureMatching("100,000 exact filters, one a device", (tree) => {
  for (let i = 0; i < 100_000; i++) tree.add(deviceTopic(i), { key: i });
});
measureMatching("1,000 subscribers on one filter", (tree) => {
  for (let i = 0; i < 1000; i++) tree.add("devices/+/telemetry", { key: i });
});
measureRetained();
