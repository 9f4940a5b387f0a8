/** Where a ring lies: control block at `byteOffset`, data behind it (drawing: ring/layout.ts). Travels between threads by structured clone. */
export interface RingPlace {
  readonly buffer: SharedArrayBuffer;
  readonly byteOffset: number;
  /** Size of the data part; a power of two. */
  readonly capacity: number;
}
