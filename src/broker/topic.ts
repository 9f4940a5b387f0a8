// Topic names and topic filters as text (MQTT 5 §4.7, §4.8.2): validity, depth, and the reference for what matches.

/** Why a filter is refused (wire 0x8F in SUBACK, 0x80 in 3.1.1). */
export type FilterFault = "empty" | "too-long" | "too-deep" | "null-character" | "misplaced-wildcard" | "bad-share";

export interface ParsedFilter {
  /** Share name of `$share/{name}/{filter}`; "" for an ordinary subscription. */
  readonly group: string;
  /** What is matched: without the `$share/{name}/` in front. */
  readonly filter: string;
}

const SHARE_PREFIX = "$share/";

/**
 * Takes a topic filter apart.
 *
 * @param depthMax levels that the filter proper may have: the trees recurse as deep
 * @param lengthMax UTF-16 units of the whole text
 * @returns the parts, or why it is no valid filter
 */
export function parseFilter(text: string, depthMax: number, lengthMax: number): ParsedFilter | FilterFault {
  if (text.length === 0) return "empty"; // [MQTT-4.7.3-1]
  if (text.length > lengthMax) return "too-long";
  if (text.includes("\0")) return "null-character"; // [MQTT-4.7.3-2]
  let group = "";
  let filter = text;
  if (text.startsWith(SHARE_PREFIX)) {
    const slash = text.indexOf("/", SHARE_PREFIX.length);
    // A share name without a filter, an empty one, or one with wildcards [MQTT-4.8.2-1] [MQTT-4.8.2-2].
    if (slash < 0) return "bad-share";
    group = text.slice(SHARE_PREFIX.length, slash);
    filter = text.slice(slash + 1);
    if (group.length === 0 || filter.length === 0 || group.includes("+") || group.includes("#")) return "bad-share";
  }
  if (depthOf(filter) > depthMax) return "too-deep";
  return areWildcardsPlaced(filter) ? { group, filter } : "misplaced-wildcard";
}

/** Levels of a topic name or filter: one more than it has slashes. */
export function depthOf(topic: string): number {
  let depth = 1;
  for (let slash = topic.indexOf("/"); slash >= 0; slash = topic.indexOf("/", slash + 1)) depth++;
  return depth;
}

/**
 * Whether `topic` matches `filter` (§4.7): the plain form, which the subscription tree and the retained store are tested against.
 * REQUIRES: both valid.
 */
export function matches(filter: string, topic: string): boolean {
  const filterLevels = filter.split("/");
  const topicLevels = topic.split("/");
  // A wildcard in front does not match topics that begin with $ [MQTT-4.7.2-1].
  if (topic.startsWith("$") && (filterLevels[0] === "+" || filterLevels[0] === "#")) return false;
  for (const [i, level] of filterLevels.entries()) {
    if (level === "#") return true; // also the parent level: §4.7.1.2
    if (i >= topicLevels.length) return false;
    if (level !== "+" && level !== topicLevels[i]) return false;
  }
  return filterLevels.length === topicLevels.length;
}

const BRIDGE_STATE = /^\$SYS\/broker\/connection\/[^/]+\/state$/;

/** Whether only the gateway itself may publish to the topic: all of $SYS, but for the state that a mosquitto bridge tells of itself. */
export function isSystemTopic(topic: string): boolean {
  return (topic === "$SYS" || topic.startsWith("$SYS/")) && !BRIDGE_STATE.test(topic);
}

/** # stands alone on the last level [MQTT-4.7.1-1], + alone on its level [MQTT-4.7.1-2]. */
function areWildcardsPlaced(filter: string): boolean {
  const last = filter.length - 1;
  for (let i = 0; i <= last; i++) {
    const character = filter[i];
    if (character !== "+" && character !== "#") continue;
    if (i > 0 && filter[i - 1] !== "/") return false;
    if (i < last && (character === "#" || filter[i + 1] !== "/")) return false;
  }
  return true;
}

/** Of a filter that is known to be valid. */
export function isShared(filter: string): boolean {
  return filter.startsWith(SHARE_PREFIX);
}
