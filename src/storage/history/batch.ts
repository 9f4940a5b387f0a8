// Rows on their way from the lanes into the database, as columns, with the texts and events that came with them. Hot path.

const FIRST_CAPACITY = 4096;

/** A measurement whose value is text. */
export interface TextRow {
  series: number;
  readonly time: number;
  readonly text: string;
}

/** Something for people to read. */
export interface EventEntry {
  readonly time: number;
  readonly device: string;
  readonly kind: string;
  readonly text: string;
}

/** How much of a batch, from its beginning. */
export interface Extent {
  readonly rows: number;
  readonly texts: number;
  readonly events: number;
}

/** Columns that grow. `series` holds a series' id, or a negative reference to one that has none yet (series-directory.ts). */
export class Batch {
  count = 0;
  series = new Int32Array(FIRST_CAPACITY);
  times = new Float64Array(FIRST_CAPACITY);
  values = new Float64Array(FIRST_CAPACITY);
  flags = new Uint8Array(FIRST_CAPACITY);
  texts: TextRow[] = [];
  events: EventEntry[] = [];
  private textSize = 0;

  /** What it costs to keep, in rows' worth. */
  get weight(): number {
    return this.count + 4 * (this.texts.length + this.events.length) + (this.textSize >> 4);
  }

  get isEmpty(): boolean {
    return this.count === 0 && this.texts.length === 0 && this.events.length === 0;
  }

  extent(): Extent {
    return { rows: this.count, texts: this.texts.length, events: this.events.length };
  }

  addRow(series: number, time: number, value: number, flags: number): void {
    if (this.count === this.series.length) this.grow(this.count + 1);
    const index = this.count++;
    this.series[index] = series;
    this.times[index] = time;
    this.values[index] = value;
    this.flags[index] = flags;
  }

  addText(series: number, time: number, text: string): void {
    this.texts.push({ series, time, text });
    this.textSize += text.length;
  }

  addEvent(event: EventEntry): void {
    this.events.push(event);
    this.textSize += event.text.length + event.device.length;
  }

  /** Appends the beginning of another batch, up to `extent`, and takes it out there. */
  moveFrom(other: Batch, extent: Extent): void {
    const { rows, texts, events } = extent;
    if (this.count + rows > this.series.length) this.grow(this.count + rows);
    this.series.set(other.series.subarray(0, rows), this.count);
    this.times.set(other.times.subarray(0, rows), this.count);
    this.values.set(other.values.subarray(0, rows), this.count);
    this.flags.set(other.flags.subarray(0, rows), this.count);
    this.count += rows;
    for (let i = 0; i < texts; i++) this.addText(other.texts[i]!.series, other.texts[i]!.time, other.texts[i]!.text);
    for (let i = 0; i < events; i++) this.addEvent(other.events[i]!);
    other.dropFirst(extent);
  }

  /** Takes out everything behind `extent`. */
  truncate(extent: Extent): void {
    this.count = extent.rows;
    this.texts.length = extent.texts;
    this.events.length = extent.events;
    this.measureTexts();
  }

  clear(): void {
    this.truncate({ rows: 0, texts: 0, events: 0 });
  }

  /** Puts ids in place of references: `ids[k]` for the reference -(k + 1). */
  resolve(ids: Int32Array): void {
    const { series, count, texts } = this;
    for (let i = 0; i < count; i++) {
      const reference = series[i]!;
      if (reference < 0) series[i] = ids[-reference - 1]!;
    }
    for (const text of texts) if (text.series < 0) text.series = ids[-text.series - 1]!;
  }

  private dropFirst({ rows, texts, events }: Extent): void {
    this.series.copyWithin(0, rows, this.count);
    this.times.copyWithin(0, rows, this.count);
    this.values.copyWithin(0, rows, this.count);
    this.flags.copyWithin(0, rows, this.count);
    this.count -= rows;
    if (texts + events === 0) return;
    this.texts.splice(0, texts);
    this.events.splice(0, events);
    this.measureTexts();
  }

  private measureTexts(): void {
    this.textSize = 0;
    for (const text of this.texts) this.textSize += text.text.length;
    for (const event of this.events) this.textSize += event.text.length + event.device.length;
  }

  private grow(count: number): void {
    const capacity = Math.max(count, 2 * this.series.length);
    this.series = copied(new Int32Array(capacity), this.series);
    this.times = copied(new Float64Array(capacity), this.times);
    this.values = copied(new Float64Array(capacity), this.values);
    this.flags = copied(new Uint8Array(capacity), this.flags);
  }
}

function copied<Column extends Int32Array | Float64Array | Uint8Array>(target: Column, source: Column): Column {
  target.set(source);
  return target;
}
