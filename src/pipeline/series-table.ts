// What a lane remembers: its devices, their series with the window of recent values, and how they lay out their payloads. Pure. Hot path.
//
// Bounded: beyond `seriesMax` series (or SERIES_TEXT_SIZE_MAX bytes of last texts) the device that was silent longest goes, with all its
// series; it comes back, without its past, with its next message.
import { assert } from "../base/assert.js";
import { equalBytes } from "../base/bytes.js";
import { MEASUREMENTS_PER_MESSAGE_MAX, MIB } from "../base/limits.js";
import type { KnownText, Layout } from "./payload-layout.js";
import { statisticsSize } from "./statistics.js";

/** Bytes of last texts that a lane keeps. */
export const SERIES_TEXT_SIZE_MAX = 16 * MIB;
/** Series of one block of memory. */
const BLOCK_SERIES = 256;
/** Layouts that one device may alternate between. */
const PLANS_MAX = 4;

export const LAST_KIND = { NONE: -1, NUMBER: 0, BOOLEAN: 1, TEXT: 2 } as const;

export class Series {
  readonly name: string;
  /** What history's ring calls it (base/history-record.ts). */
  readonly handle: number;
  /** Where its statistics lie (statistics.ts). */
  readonly slab: Float64Array;
  readonly base: number;
  /** LAST_KIND of its last value; NONE until there was one. */
  lastKind: number = LAST_KIND.NONE;
  lastText = "";
  lastBoolean = false;
  /** Monotonic ms before which no further anomaly of it becomes an event. */
  quietUntil = Number.NEGATIVE_INFINITY;

  constructor(name: string, handle: number, slab: Float64Array, base: number) {
    this.name = name;
    this.handle = handle;
    this.slab = slab;
    this.base = base;
  }
}

/** A layout with the series of one device. */
export interface Plan {
  readonly layout: Layout;
  /** By measurement. */
  readonly series: readonly Series[];
  /** By value index. */
  readonly known: KnownText[];
}

export class Device {
  readonly id: string;
  readonly idBytes: Uint8Array;
  readonly hash: number;
  readonly series = new Map<string, Series>();
  /** The latest first. */
  readonly plans: Plan[] = [];
  /** Payloads that no plan could read, less those that one could: learning from a device that never repeats itself is waste. */
  misses = 0;
  /** Monotonic ms of the window in which failures became events, and how many. */
  failuresSince = Number.NEGATIVE_INFINITY;
  failures = 0;
  /** Same hash. */
  next: Device | undefined = undefined;
  /** In order of the last message. */
  newer: Device | undefined = undefined;
  older: Device | undefined = undefined;

  constructor(id: string, idBytes: Uint8Array, hash: number) {
    this.id = id;
    this.idBytes = idBytes;
    this.hash = hash;
  }

  addPlan(plan: Plan): void {
    this.plans.unshift(plan);
    if (this.plans.length > PLANS_MAX) this.plans.pop();
  }
}

export class SeriesTable {
  seriesCount = 0;
  /** Series that had to go, ever. */
  evicted = 0;
  private readonly seriesMax: number;
  private readonly stride: number;
  private readonly devices = new Map<number, Device>();
  private newest: Device | undefined = undefined;
  private oldest: Device | undefined = undefined;
  private readonly blocks: Float64Array[] = [];
  private readonly freeHandles: number[] = [];
  private textSize = 0;

  /** @param window values whose statistics are kept, per series */
  constructor(seriesMax: number, window: number) {
    // So that the series of one message always fit.
    this.seriesMax = Math.max(seriesMax, MEASUREMENTS_PER_MESSAGE_MAX);
    this.stride = statisticsSize(window);
  }

  /** The device with this id, moved to the newest, or undefined. `hash` = fnv1a of the id. */
  find(bytes: Uint8Array, at: number, length: number, hash: number): Device | undefined {
    let device = this.devices.get(hash | 0);
    while (device !== undefined && !(device.idBytes.length === length && equalBytes(device.idBytes, 0, bytes, at, length))) device = device.next;
    if (device !== undefined && device !== this.newest) {
      this.unlink(device);
      this.linkNewest(device);
    }
    return device;
  }

  addDevice(id: string, idBytes: Uint8Array, hash: number): Device {
    const device = new Device(id, idBytes, hash);
    device.next = this.devices.get(hash | 0);
    this.devices.set(hash | 0, device);
    this.linkNewest(device);
    return device;
  }

  /** The device's series of this name; made, and others evicted, when there is none. REQUIRES: `device` is the newest. */
  obtain(device: Device, name: string): Series {
    const known = device.series.get(name);
    if (known !== undefined) return known;
    while (this.seriesCount >= this.seriesMax) this.evictOldest(device);
    const handle = this.freeHandles.pop() ?? this.grow();
    const slab = this.blocks[Math.floor(handle / BLOCK_SERIES)]!;
    const base = (handle % BLOCK_SERIES) * this.stride;
    slab.fill(0, base, base + this.stride);
    const series = new Series(name, handle, slab, base);
    device.series.set(name, series);
    this.seriesCount++;
    return series;
  }

  /** Notes a series' last text, within the limit on their sum. REQUIRES: `device` is the newest. */
  setText(device: Device, series: Series, text: string): void {
    if (series.lastText === text) return;
    this.textSize += text.length - series.lastText.length;
    series.lastText = text;
    while (this.textSize > SERIES_TEXT_SIZE_MAX && this.oldest !== device) this.evictOldest(device);
  }

  /** The device's series by names, for queries; moves nothing. */
  lookUp(id: string, hash: number, name: string): Series | undefined {
    let device = this.devices.get(hash | 0);
    while (device !== undefined && device.id !== id) device = device.next;
    return device?.series.get(name);
  }

  private grow(): number {
    const first = this.blocks.length * BLOCK_SERIES;
    this.blocks.push(new Float64Array(BLOCK_SERIES * this.stride));
    for (let handle = first + BLOCK_SERIES - 1; handle > first; handle--) this.freeHandles.push(handle);
    return first;
  }

  /** Evicts the device that was silent longest; `current`, if it alone is left, only loses its series. */
  private evictOldest(current: Device): void {
    const device = this.oldest;
    assert(device !== undefined, "a full table has devices");
    for (const series of device.series.values()) {
      this.freeHandles.push(series.handle);
      this.textSize -= series.lastText.length;
    }
    this.seriesCount -= device.series.size;
    this.evicted += device.series.size;
    device.series.clear();
    device.plans.length = 0;
    if (device === current) return;
    this.unlink(device);
    this.removeFromHash(device);
  }

  private removeFromHash(device: Device): void {
    const first = this.devices.get(device.hash | 0);
    if (first === device) {
      if (device.next === undefined) this.devices.delete(device.hash | 0);
      else this.devices.set(device.hash | 0, device.next);
      return;
    }
    for (let other = first; other !== undefined; other = other.next) {
      if (other.next === device) other.next = device.next;
    }
  }

  private unlink(device: Device): void {
    if (device.newer === undefined) this.newest = device.older;
    else device.newer.older = device.older;
    if (device.older === undefined) this.oldest = device.newer;
    else device.older.newer = device.newer;
    device.newer = undefined;
    device.older = undefined;
  }

  private linkNewest(device: Device): void {
    device.older = this.newest;
    if (this.newest !== undefined) this.newest.newer = device;
    this.newest = device;
    this.oldest ??= device;
  }
}
