// The rows of the table: what the generator is asked to do, and which figure of its answer counts. Every row exists over TCP and, as
// `tls-NAME`, over TLS 1.3; two exist as `ws-NAME`, over WebSocket.
import type { LoadResult } from "./generator.js";

export interface Row {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  /** The figure to reach, in the row's unit; 0 where none was set. */
  readonly goal: number;
  readonly isTls: boolean;
  readonly isWebSocket: boolean;
  /** Run when no rows are named. */
  readonly isStandard: boolean;
  /** One of those with large numbers of clients, subscriptions or retained messages, and of latency at a set rate. */
  readonly isScale: boolean;
  /** Arguments of the generator, without address, times and target. */
  readonly arguments: readonly string[];
  readonly hasWarmup: boolean;
  /** Measured time where it is not that of all rows. */
  readonly seconds: number | undefined;
  /** More of the gateway's configuration, as `key: value` lines. */
  readonly configuration: readonly string[];
  readonly value: (result: LoadResult) => number;
}

/** How large a run is. */
export interface Sizes {
  readonly many: number;
  readonly some: number;
  readonly held: number;
  /** Messages a second of the open loop. */
  readonly rate: number;
  readonly retained: number;
  /** Filters with wildcards, in rising numbers. */
  readonly subscriptions: readonly [number, number, number];
  /** In which each held connection is served once. */
  readonly heldSeconds: number;
}

export const FULL_SIZES: Sizes = {
  many: 1000, some: 100, held: 10_000, rate: 20_000, retained: 1_000_000, subscriptions: [1000, 10_000, 100_000], heldSeconds: 60,
};
/** So small that a row takes about a second: does it work, not how fast is it. */
export const SMOKE_SIZES: Sizes = { many: 20, some: 5, held: 50, rate: 500, retained: 1000, subscriptions: [10, 100, 600], heldSeconds: 0.5 };

const perMessage = (result: LoadResult): number => result.target?.cpu_us_per_message ?? 0;
const perDelivery = (result: LoadResult): number => result.target?.cpu_us_per_delivery ?? 0;
const megabytesAtStart = (result: LoadResult): number => (result.target?.resident_start_kb ?? 0) / 1024;
const perMessageMs = (result: LoadResult): number => perMessage(result) / 1000;
const residentEach = (result: LoadResult): number => (result.target === undefined ? 0 : (result.target.resident_end_kb - result.target.resident_start_kb) / result.messages);
const deliverP99 = (result: LoadResult): number => result.deliver_us.p99;
const bytesAtReady = (result: LoadResult): number => (result.target === undefined ? 0 : ((result.target.resident_ready_kb - result.target.resident_start_kb) * 1024) / result.messages);
const windowSeconds = (result: LoadResult): number => result.seconds;
const lastBackSeconds = (result: LoadResult): number => result.deliver_us.max / 1e6;
const percentOfCore = (result: LoadResult): number => (result.target?.cores ?? 0) * 100;
const acknowledgeP99 = (result: LoadResult): number => result.acknowledge_us.p99;

interface Kind {
  readonly name: string;
  readonly title: string;
  readonly words: string;
  readonly unit?: string;
  readonly value?: (result: LoadResult) => number;
  readonly goal?: number;
  readonly tlsGoal?: number;
  readonly isStandard?: boolean;
  readonly isTlsStandard?: boolean;
  readonly isScale?: boolean;
  readonly isTlsScale?: boolean;
  readonly hasWarmup?: boolean;
  readonly seconds?: number;
  readonly configuration?: readonly string[];
}

/** The default limits hold about a quarter of the million: with topics of their own they are accounted at a kilobyte each. */
const ROOM_FOR_RETAINED: readonly string[] = ["mqtt: { retained_size_max: 2GiB }"];

function kinds(sizes: Sizes, seconds: number): readonly Kind[] {
  const { many, some, held, rate, retained, subscriptions, heldSeconds } = sizes;
  return [
    { name: "ingest-qos0", title: `ingest QoS 0, ${many} connections`, words: `ingest --publishers ${many}`, goal: 4.2, tlsGoal: 6.4, isTlsStandard: true },
    { name: "ingest-qos0-pipelined", title: `ingest QoS 0, ${some} connections, 20 a send`, words: `ingest --publishers ${some} --pipeline 20`, goal: 0.34 },
    { name: "ingest-qos1", title: `ingest QoS 1, ${many} connections`, words: `ingest --publishers ${many} --qos 1`, goal: 8.5, isTlsStandard: true },
    { name: "ingest-qos1-pipelined", title: `ingest QoS 1, ${some} connections, window 20`, words: `ingest --publishers ${some} --qos 1 --pipeline 20`, isStandard: false },
    { name: "ingest-qos2", title: `ingest QoS 2, ${many} connections`, words: `ingest --publishers ${many} --qos 2`, isStandard: false },
    { name: "pairs-qos0", title: `${some} -> ${some}, QoS 0`, words: `pairs --publishers ${some}`, goal: 5.4, tlsGoal: 6, isTlsStandard: true },
    { name: "pairs-qos1", title: `${some} -> ${some}, QoS 1`, words: `pairs --publishers ${some} --qos 1`, isStandard: false },
    { name: "pairs-qos2", title: `${some} -> ${some}, QoS 2`, words: `pairs --publishers ${some} --qos 2`, isStandard: false },
    { name: "fan-in-qos0", title: `${many} -> 1, QoS 0`, words: `fan --publishers ${many} --subscribers 1`, goal: 4.5 },
    { name: "fan-in-qos1", title: `${many} -> 4, QoS 1`, words: `fan --publishers ${many} --subscribers 4 --qos 1`, goal: 9.7 },
    { name: "fan-out-qos0", title: `1 -> ${many}, QoS 0, 20 a send`, words: `fan --publishers 1 --subscribers ${many} --pipeline 20`, unit: "us/delivery", value: perDelivery, goal: 0.99 },
    { name: "connect", title: "handshake, CONNECT, close", words: "connect", unit: "CPU ms", value: perMessageMs, tlsGoal: 0.3, isTlsStandard: true },
    { name: "resume", title: "resumed handshake, CONNECT, close", words: "connect --resume", unit: "CPU ms", value: perMessageMs, isStandard: false },
    // The interval is the window, so that each connection is served exactly once and is known to be alive.
    { name: "idle", title: `${held} idle connections, resident each`, words: `hold --connections ${held} --interval ${seconds}`, unit: "KB", value: residentEach, goal: 2, tlsGoal: 15, isTlsStandard: true, hasWarmup: false },
    { name: "resident", title: "the process without clients, resident", words: "hold --connections 1 --interval 1", unit: "MB", value: megabytesAtStart, goal: 200, hasWarmup: false },
    { name: "open-ingest-qos0", title: `open loop, ingest QoS 0, ${rate}/s`, words: `ingest --publishers ${many} --rate ${rate}`, isStandard: false },
    { name: "open-ingest-qos1", title: `open loop, PUBACK of QoS 1, ${rate}/s`, words: `ingest --publishers ${many} --qos 1 --rate ${rate}`, unit: "p99 us", value: acknowledgeP99, isStandard: false },
    { name: "open-pairs-qos0", title: `open loop, delivery of QoS 0, ${rate}/s`, words: `pairs --publishers ${some} --rate ${rate} --lossy`, unit: "p99 us", value: deliverP99, isStandard: false, isScale: true },
    { name: "open-pairs-qos1", title: `open loop, delivery of QoS 1, ${rate}/s`, words: `pairs --publishers ${some} --rate ${rate} --qos 1`, unit: "p99 us", value: deliverP99, isStandard: false, isScale: true },
    { name: "fan-in-held", title: `${held} -> 1, QoS 0`, words: `fan --publishers ${held} --subscribers 1`, isStandard: false, isScale: true },
    { name: "fan-out-held", title: `1 -> ${held}, QoS 0, 20 a send`, words: `fan --publishers 1 --subscribers ${held} --pipeline 20`, unit: "us/delivery", value: perDelivery, isStandard: false, isScale: true },
    ...subscriptions.map((count): Kind => ({ name: `match-${count}`, title: `a topic never seen, ${count} wildcard filters`, words: `wildcards --subscriptions ${count} --publishers ${some}`, isStandard: false, isScale: true })),
    { name: "retained-memory", title: `${retained} retained messages, resident each`, words: `retained --count ${retained}`, unit: "bytes", value: bytesAtReady, hasWarmup: false, configuration: ROOM_FOR_RETAINED, isStandard: false, isScale: true },
    { name: "retained-subscribe", title: `SUBSCRIBE to ${retained} retained messages, all delivered`, words: `retained --count ${retained}`, unit: "s", value: windowSeconds, hasWarmup: false, configuration: ROOM_FOR_RETAINED, isStandard: false, isScale: true },
    { name: "storm", title: `${held} reconnect at once, until all are back`, words: stormWords(held, many), unit: "s", value: lastBackSeconds, hasWarmup: false, isStandard: false, isTlsScale: true },
    { name: "storm-others", title: `${held} reconnect at once, PUBACK of ${many} others`, words: stormWords(held, many), unit: "p99 us", value: acknowledgeP99, hasWarmup: false, isStandard: false, isTlsScale: true },
    { name: "held", title: `${held} connections, each served once in ${heldSeconds} s`, words: `hold --connections ${held} --interval ${heldSeconds}`, unit: "% of a core", value: percentOfCore, hasWarmup: false, seconds: heldSeconds * 2, isStandard: false, isTlsScale: true },
  ];
}

function stormWords(clients: number, others: number): string {
  return `storm --connections ${clients} --concurrency ${clients} --publishers ${others} --rate ${others}`;
}

/** All rows; those over TCP first. */
export function makeRows(sizes: Sizes, seconds: number): readonly Row[] {
  const rowOf = (kind: Kind, carrier: "tcp" | "tls" | "ws"): Row => ({
    name: carrier === "tcp" ? kind.name : `${carrier}-${kind.name}`,
    title: carrier === "tcp" ? kind.title : `${carrier === "tls" ? "TLS 1.3" : "WebSocket"}: ${kind.title}`,
    unit: kind.unit ?? "us/message",
    goal: (carrier === "tls" ? kind.tlsGoal : carrier === "tcp" ? kind.goal : 0) ?? 0,
    isTls: carrier === "tls",
    isWebSocket: carrier === "ws",
    isStandard: carrier === "tls" ? kind.isTlsStandard === true : kind.isStandard !== false,
    isScale: carrier === "ws" ? false : (carrier === "tls" ? kind.isTlsScale : kind.isScale) === true,
    arguments: kind.words.split(" "),
    hasWarmup: kind.hasWarmup !== false,
    seconds: kind.seconds,
    configuration: kind.configuration ?? [],
    value: kind.value ?? perMessage,
  });
  const all = kinds(sizes, seconds);
  // Without TLS there is no session to resume, and without clients there is no TLS.
  const tcp = all.filter((kind) => kind.name !== "resume");
  const tls = all.filter((kind) => kind.name !== "resident");
  const ws = all.filter((kind) => kind.name === "ingest-qos0" || kind.name === "pairs-qos0");
  return [...tcp.map((kind) => rowOf(kind, "tcp")), ...tls.map((kind) => rowOf(kind, "tls")), ...ws.map((kind) => rowOf(kind, "ws"))];
}

function isAsked(row: Row, word: string): boolean {
  switch (word) {
    case "all": return true;
    case "standard": return row.isStandard;
    case "scale": return row.isScale;
    case "tcp": return !row.isTls && !row.isWebSocket;
    case "tls": return row.isTls;
    case "ws": return row.isWebSocket;
    default: return row.name === word;
  }
}

/**
 * The rows that `words` asks for: names separated by commas, `standard`, `scale`, `all`, or `tcp`, `tls` and `ws` for all rows of one transport.
 *
 * @throws Error when there is no such row
 */
export function chooseRows(rows: readonly Row[], words: string): readonly Row[] {
  const chosen = new Set<Row>();
  for (const word of words.split(",")) {
    const found = rows.filter((row) => isAsked(row, word));
    if (found.length === 0) throw new Error(`there is no row ${word}; there are: standard, scale, all, tcp, tls, ws, ${rows.map((row) => row.name).join(", ")}`);
    for (const row of found) chosen.add(row);
  }
  return rows.filter((row) => chosen.has(row));
}
