// What a received PUBLISH says, as positions in the bytes it was read from. One instance is re-used for every packet. Hot path.

/** `messageExpiry` of a PUBLISH that names none; the same value as EXPIRES_NEVER of message records. */
export const MESSAGE_EXPIRY_NONE = 0xffff_ffff;

export class PublishHead {
  qos: 0 | 1 | 2 = 0;
  retain = false;
  dup = false;
  /** 0 with QoS 0. */
  packetId = 0;
  topicAt = 0;
  /** 0 only in MQTT 5 with a topic alias. */
  topicLength = 0;
  /** The properties without their length field; length 0 in 3.1.1. */
  propertiesAt = 0;
  propertiesLength = 0;
  payloadAt = 0;
  payloadLength = 0;
  /** 0 = none. The caller checks it against the topic alias maximum it gave in CONNACK (wire 0x94). */
  topicAlias = 0;
  /** Seconds, or MESSAGE_EXPIRY_NONE. 0xffffffff on the wire is read as one second less. */
  messageExpiry = MESSAGE_EXPIRY_NONE;
  /** 1 when the payload is said to be UTF-8; not checked (MQTT 5 §3.3.2.3.2: the server MAY). */
  payloadFormat: 0 | 1 = 0;
  /** Size of what `copyForwardProperties` writes: the properties without topic alias and message expiry; at most 65535. */
  forwardLength = 0;
  /** Where the topic alias and message expiry properties begin (their identifiers); 0 = none. */
  topicAliasAt = 0;
  messageExpiryAt = 0;
}
