// /metrics: what all threads count, in Prometheus' text form. Read from shared memory when asked; nothing is kept. On control's thread.
// Names: penstock_<role>_<counter in lower case>, with _total for what only grows (base/counters.ts).
import { readdirSync } from "node:fs";
import { Counter, Gauge, Registry } from "prom-client";
import { FRONT_COUNTER, REACTOR_COUNTER, CLOSE_REASON } from "../ring/layout.js";
import { GAUGES, HISTORY_COUNTER, LANE_COUNTER, MAIN_COUNTER, SHARD_COUNTER, STORE_COUNTER } from "../base/counters.js";
import { POSITION, readPosition } from "../base/positions.js";
import { ringBacklog, type NamedRing } from "./arena.js";
import type { CounterBlocks } from "./control-messages.js";
import type { Sample } from "./system-topics/penstock-topics.js";

export interface MetricsSource {
  readonly counters: CounterBlocks;
  readonly positions: SharedArrayBuffer;
  readonly rings: readonly NamedRing[];
  readonly version: string;
  readonly isReady: () => boolean;
}

type Table = Readonly<Record<string, number>>;

export class Metrics {
  private readonly registry = new Registry();
  private readonly metrics = new Map<string, Counter | Gauge>();

  constructor(source: MetricsSource) {
    const { counters } = source;
    this.addRole("main", MAIN_COUNTER, undefined, [counters.main]);
    this.addRole("front", FRONT_COUNTER, undefined, [counters.front]);
    this.addRole("shard", SHARD_COUNTER, "shard", counters.shards);
    const { CLOSED, ...reactor } = REACTOR_COUNTER;
    this.addRole("reactor", reactor, "shard", counters.reactors);
    this.addClosed(counters.reactors, CLOSED);
    this.addRole("store", STORE_COUNTER, undefined, [counters.store]);
    this.addRole("lane", LANE_COUNTER, "lane", counters.lanes);
    this.addRole("history", HISTORY_COUNTER, undefined, [counters.history]);
    this.addPositions(new BigUint64Array(source.positions), counters.lanes.length);
    this.addRings(source.rings);
    this.addProcess();
    this.gauge("penstock_ready", "1 when everything runs.", () => (source.isReady() ? 1 : 0));
    const build = this.labelled("penstock_build_info", "The version that runs.", ["version", "node"], () => build.set({ version: source.version, node: process.versions.node }, 1));
  }

  async text(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.registry.contentType, text: await this.registry.metrics() };
  }

  /** The figures one by one. @param isWanted by name; others are not even read */
  async samples(isWanted: (name: string) => boolean): Promise<readonly Sample[]> {
    const samples: Sample[] = [];
    for (const [name, metric] of this.metrics) {
      if (!isWanted(name)) continue;
      for (const { labels, value } of (await metric.get()).values) samples.push({ name, labels: labels as Sample["labels"], value });
    }
    return samples;
  }

  /** One metric for each counter of a role, with a series for each of its threads. */
  private addRole(role: string, table: Table, label: "shard" | "lane" | undefined, blocks: readonly SharedArrayBuffer[]): void {
    const views = blocks.map((block) => new Float64Array(block));
    for (const [counter, index] of Object.entries(table)) {
      const words = counter.toLowerCase().replaceAll("_", " ");
      const name = `penstock_${role}_${counter.toLowerCase()}`;
      const read = (set: (labels: Record<string, string>, value: number) => void): void =>
        views.forEach((view, thread) => set(label === undefined ? {} : { [label]: String(thread) }, view[index]!));
      const labels = label === undefined ? [] : [label];
      if (GAUGES.has(counter)) {
        const gauge = this.labelled(name, `${role}: ${words}, now.`, labels, () => read((values, value) => gauge.set(values, value)));
      } else this.counter(`${name}_total`, `${role}: ${words}.`, labels, read);
    }
  }

  private addClosed(reactors: readonly SharedArrayBuffer[], first: number): void {
    const views = reactors.map((block) => new Float64Array(block));
    this.counter("penstock_reactor_closed_total", "reactor: connections that ended, by reason.", ["shard", "reason"], (set) =>
      views.forEach((view, shard) => {
        for (const [reason, index] of Object.entries(CLOSE_REASON)) set({ shard: String(shard), reason: reason.toLowerCase() }, view[first + index]!);
      }),
    );
  }

  private addPositions(positions: BigUint64Array, lanes: number): void {
    const durable = (): number => readPosition(positions, POSITION.JOURNAL_DURABLE);
    this.gauge("penstock_journal_durable_position", "Bytes of the endless journal that are on disk.", durable);
    this.gauge("penstock_journal_first_position", "The first byte of the journal that is still held.", () => readPosition(positions, POSITION.JOURNAL_FIRST));
    this.gauge("penstock_history_lag_bytes", "Journal bytes that are durable and not in history yet.", () => Math.max(0, durable() - readPosition(positions, POSITION.HISTORY_COMMITTED)));
    const lag = this.labelled("penstock_lane_lag_bytes", "Journal bytes that are durable and not read by the lane yet.", ["lane"], () => {
      for (let lane = 0; lane < lanes; lane++) lag.set({ lane: String(lane) }, Math.max(0, durable() - readPosition(positions, POSITION.LANE_READ + lane)));
    });
  }

  private addRings(rings: readonly NamedRing[]): void {
    const labels = ["ring", "from", "to"];
    const backlog = this.labelled("penstock_ring_backlog_bytes", "Bytes that wait in a ring between two threads.", labels, () => {
      for (const ring of rings) backlog.set({ ring: ring.kind, from: String(ring.from), to: String(ring.to) }, ringBacklog(ring.place));
    });
    const capacity = this.labelled("penstock_ring_capacity_bytes", "Size of a kind of ring.", ["ring"], () => {
      for (const ring of rings) capacity.set({ ring: ring.kind }, ring.place.capacity);
    });
  }

  /** The whole process, named as Prometheus' client libraries do. */
  private addProcess(): void {
    this.counter("process_cpu_seconds_total", "CPU time of all threads.", ["mode"], (set) => {
      const { user, system } = process.cpuUsage();
      set({ mode: "user" }, user / 1e6);
      set({ mode: "system" }, system / 1e6);
    });
    this.gauge("process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());
    this.gauge("process_open_fds", "Open file descriptors.", () => readdirSync("/proc/self/fd").length);
    const startedAt = Date.now() / 1000 - process.uptime();
    this.gauge("process_start_time_seconds", "Unix time of the start.", () => startedAt);
  }

  private gauge(name: string, help: string, read: () => number): void {
    const gauge = this.labelled(name, help, [], () => gauge.set(read()));
  }

  private labelled(name: string, help: string, labelNames: readonly string[], collect: () => void): Gauge {
    const gauge = new Gauge({ name, help, labelNames, registers: [this.registry], collect });
    this.metrics.set(name, gauge);
    return gauge;
  }

  /** A counter that mirrors one in shared memory: prom-client's can only be added to, so it starts from zero at each reading. */
  private counter(name: string, help: string, labelNames: readonly string[], read: (set: (labels: Record<string, string>, value: number) => void) => void): void {
    const counter = new Counter({
      name, help, labelNames, registers: [this.registry],
      collect: () => {
        counter.reset();
        read((labels, value) => counter.inc(labels, value));
      },
    });
    this.metrics.set(name, counter);
  }
}
