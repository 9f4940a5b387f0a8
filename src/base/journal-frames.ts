/** The journal as its readers see it: whole frames, in order, up to what is durable. JournalReader (storage/journal) is one. */
export interface JournalFrames {
  /** LSN of the frame's start. */
  readonly lsn: number;
  /** LSN behind it. */
  readonly endLsn: number;
  /** Entries that some lane consumes. */
  readonly laneEntryCount: number;
  /** What the entries lie in, from `at` to `end`; borrowed until the next call. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly at: number;
  readonly end: number;
  /** Moves to the next frame that ends at or before `durableLsn`. @returns false when there is none (yet) */
  next(durableLsn: number): boolean;
  close(): void;
}
