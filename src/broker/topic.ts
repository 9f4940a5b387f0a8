// Topic names and topic filters as text (MQTT 5 §4.7, §4.8.2): validity, depth, and the reference for what matches.

/** Why a filter is refused (wire 0x8F in SUBACK, 0x80 in 3.1.1). */
export type FilterFault = "empty" | "too-long" | "too-deep" | "null-character" | "misplaced-wildcard" | "bad-share";

export interface ParsedFilter {
  /** Share name of `$share/{name}/{filter}`; "" for an ordinary subscription. */
  readonly group: string;
  /** What is matched: without the `$share/{name}/` in front. */
  readonly filter: string;
}

/**
 * Takes a topic filter apart. @param lengthMax UTF-16 units of the whole text
 *
 * @returns the parts, or why it is no valid filter
 */
export declare function parseFilter(text: string, depthMax: number, lengthMax: number): ParsedFilter | FilterFault;

/** Levels of a topic name or filter: one more than it has slashes. */
export declare function depthOf(topic: string): number;

/** Whether a filter has a `+` or `#` level. REQUIRES: valid */
export declare function hasWildcard(filter: string): boolean;

/** Whether a topic name is valid: not empty, no wildcards, no U+0000 (for protocols other than MQTT, whose codec checks bytes). */
export declare function isTopicName(topic: string): boolean;

/** Whether `topic` matches `filter` (§4.7): the plain form, which the subscription tree and the retained store are tested against. REQUIRES: both valid */
export declare function matches(filter: string, topic: string): boolean;
