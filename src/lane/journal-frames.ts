/** The journal as a lane reads it (storage/journal implements it): whole frames, in order, up to what is durable. */
export interface JournalFrames {
  /** LSN of the frame's start. */
  readonly lsn: number;
  /** LSN behind it. */
  readonly endLsn: number;
  /** What its entries lie in, from `at` to `end`; borrowed until the next call. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
  readonly end: number;
  /** Goes on at `lsn`, or at the first frame behind it that is still held. */
  seek(lsn: number): void;
  /** Moves to the next frame that ends at or before `limitLsn`. @returns false when there is none (yet) */
  next(limitLsn: number): boolean;
  close(): void;
}
