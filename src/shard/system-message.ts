// A message that the gateway publishes about itself: retained, QoS 0, never in the journal, for no lane. Thread: the shard's.
import { fnv1aOf } from "../base/bytes.js";
import { EXPIRES_NEVER } from "../base/message-record.js";
import type { SystemMessage } from "../base/messages.js";
import { storedMessage, type StoredMessage } from "../broker/stored-message.js";

const NOTHING = new Uint8Array(0);

export function systemMessage({ topic, payload }: SystemMessage, receivedAt: number): StoredMessage {
  return storedMessage(
    {
      topic, payload: Buffer.from(payload, "utf8"), properties: NOTHING, clientId: "", qos: 0, retain: true, expiresIn: EXPIRES_NEVER,
      receivedAt, deviceHash: fnv1aOf(topic), isForLane: false,
    },
    Number.POSITIVE_INFINITY,
  );
}
