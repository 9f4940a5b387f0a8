// Iterates the frames of a DATA record: packet type, flags, where the body lies. Called by the shard's batch loop. Hot path.
// One Frame is re-used for every packet. The reactor hands over whole frames only; they are checked all the same, since every
// decoder relies on `bodyAt` and `end`.
import { readVariableInteger, variableIntegerSize } from "./integers.js";
import { malformed } from "./refusals.js";

/** One packet in memory: [at, end) with its body at [bodyAt, end). */
export class Frame {
  /** First byte of the packet (its fixed header). */
  at = 0;
  /** PACKET value, 0 to 15. */
  type = 0;
  /** Low nibble of the first byte. */
  flags = 0;
  bodyAt = 0;
  bodyLength = 0;
  /** First byte behind the packet; where the next one begins. */
  end = 0;
}

/**
 * Reads the fixed header at `at` (MQTT 5 §2.1) and fills `frame`.
 *
 * @param end first byte behind the record; the frame must end before or at it
 * @returns false when `at` has reached `end`: there is no further frame
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81) when the frame is cut off or its length is not minimal or over 4 bytes
 */
export function nextFrame(bytes: Uint8Array, at: number, end: number, frame: Frame): boolean {
  if (at >= end) return false;
  const first = bytes[at]!;
  const length = readVariableInteger(bytes, at + 1, end);
  const bodyAt = at + 1 + variableIntegerSize(length);
  if (length > end - bodyAt) throw malformed("the packet is cut off");
  frame.at = at;
  frame.type = first >> 4;
  frame.flags = first & 0x0f;
  frame.bodyAt = bodyAt;
  frame.bodyLength = length;
  frame.end = bodyAt + length;
  return true;
}
