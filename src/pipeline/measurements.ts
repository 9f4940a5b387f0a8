// What one message says: measurements as columns, re-used for every message. Pure. Hot path.
import { MEASUREMENTS_PER_MESSAGE_MAX } from "../base/limits.js";

export const MEASUREMENT = { NUMBER: 0, BOOLEAN: 1, TEXT: 2 } as const;
export type MeasurementKind = (typeof MEASUREMENT)[keyof typeof MEASUREMENT];

export class Measurements {
  count = 0;
  /** MEASUREMENT of each. */
  readonly kinds = new Uint8Array(MEASUREMENTS_PER_MESSAGE_MAX);
  readonly names: string[] = [];
  readonly times = new Float64Array(MEASUREMENTS_PER_MESSAGE_MAX);
  /** Of numbers; 0 or 1 for booleans. */
  readonly values = new Float64Array(MEASUREMENTS_PER_MESSAGE_MAX);
  readonly texts: string[] = [];

  clear(): void {
    this.count = 0;
  }

  /** @returns false when there is no room for another */
  add(name: string, kind: MeasurementKind, time: number, value: number, text: string): boolean {
    if (this.count === MEASUREMENTS_PER_MESSAGE_MAX) return false;
    const index = this.count++;
    this.kinds[index] = kind;
    this.names[index] = name;
    this.times[index] = time;
    this.values[index] = value;
    this.texts[index] = text;
    return true;
  }
}
