// What a lane tells history: the records of a lane -> history ring. Hot path.
// Written by src/lane/history-writer.ts, read by src/storage/history/lane-feed.ts. Integers little-endian, times in Unix ms (f64).
//
// `id` of ROWS, TEXT and EVENT says where they come from: LIVE (a QoS 0 message) or JOURNAL. What comes from the journal belongs to
// the frame whose MARKER follows, and counts only once that MARKER is there: a lane that is started again sends a frame again from its
// beginning, and history drops what it has had. So each journal entry is in history exactly once.
//
// A series has a handle, chosen by the lane; SERIES names it before the first row that uses it, and may give a handle that was
// used before to another series. START makes all handles void.
export const HISTORY_RECORD = {
  /** f64 fromLsn, f64 epoch (POSITION.HISTORY_EPOCH as the lane saw it): the lane starts; `id` = 0. Without it history believes nothing. */
  START: 1,
  /** u32 handle, u16 deviceLength, u16 nameLength, f64 time of the first row, device, name (UTF-8). `id` = 0 */
  SERIES: 2,
  /** Rows of HISTORY_ROW_SIZE bytes each. */
  ROWS: 3,
  /** f64 time, u32 handle, text (UTF-8): a measurement whose value is text. */
  TEXT: 4,
  /** f64 time, u16 deviceLength, u16 kindLength, u32 0, device, kind, text (UTF-8). */
  EVENT: 5,
  /** f64 LSN of the frame's end. `id` = 0 */
  MARKER: 6,
} as const;

export const HISTORY_SOURCE = { LIVE: 0, JOURNAL: 1 } as const;

/** A row of a ROWS record: f64 time, f64 value, u32 handle, u32 flags. */
export const HISTORY_ROW_SIZE = 24;
export const HISTORY_TEXT_HEAD = 12;
export const HISTORY_EVENT_HEAD = 16;
export const HISTORY_SERIES_HEAD = 16;

/** Flags of a row; bits of the column `flags` in history too. */
export const ROW_FLAG = {
  /** The value stood out when it came (pipeline/statistics.ts). */
  ANOMALY: 1,
  /** The value is 0 or 1 for false or true. */
  BOOLEAN: 2,
} as const;
