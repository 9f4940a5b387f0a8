// UTF-8 as MQTT allows it (MQTT 5 §1.5.4): well formed, no surrogates, no U+0000. ASCII passes in one loop. Hot path.
// Control characters and non-characters pass: the standard lets a receiver refuse them, but does not ask for it.

/** What is wrong with a topic name. */
export const TOPIC_FAULT = { NONE: 0, NOT_UTF8: 1, WILDCARD: 2 } as const;
export type TopicFault = (typeof TOPIC_FAULT)[keyof typeof TOPIC_FAULT];

const PLUS = 0x2b;
const HASH = 0x23;

/** Whether bytes [at, end) are a UTF-8 string of MQTT [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function isUtf8(bytes: Uint8Array, at: number, end: number): boolean {
  let i = at;
  while (i < end) {
    const byte = bytes[i]!;
    if (byte === 0) return false;
    if (byte < 0x80) i++;
    else {
      i = sequenceEnd(bytes, i, end);
      if (i < 0) return false;
    }
  }
  return true;
}

/** Whether bytes [at, end) are well-formed UTF-8, for a payload that says it is text: U+0000 may stand there (MQTT 5 §3.3.2.3.2). */
export function isText(bytes: Uint8Array, at: number, end: number): boolean {
  let i = at;
  while (i < end) {
    if (bytes[i]! < 0x80) i++;
    else {
      i = sequenceEnd(bytes, i, end);
      if (i < 0) return false;
    }
  }
  return true;
}

/** Checks bytes [at, end) as a topic name: UTF-8 without the wildcards + and #. Length 0 has no fault here. */
export function topicFault(bytes: Uint8Array, at: number, end: number): TopicFault {
  let i = at;
  while (i < end) {
    const byte = bytes[i]!;
    if (byte >= 0x80) {
      i = sequenceEnd(bytes, i, end);
      if (i < 0) return TOPIC_FAULT.NOT_UTF8;
      continue;
    }
    if (byte === PLUS || byte === HASH) return TOPIC_FAULT.WILDCARD;
    if (byte === 0) return TOPIC_FAULT.NOT_UTF8;
    i++;
  }
  return TOPIC_FAULT.NONE;
}

/** Where the multi-byte sequence at `at` ends, or -1 when it is not one of Unicode's table 3-7 (well-formed UTF-8 byte sequences). */
function sequenceEnd(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at]!;
  if (first < 0xc2 || first > 0xf4) return -1;
  const length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (end - at < length) return -1;
  // The second byte's range rules out overlong forms, surrogates (U+D800 to U+DFFF) and what lies beyond U+10FFFF.
  const second = bytes[at + 1]!;
  const least = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const most = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return -1;
  for (let i = at + 2; i < at + length; i++) if ((bytes[i]! & 0xc0) !== 0x80) return -1;
  return at + length;
}
