// Reads received PUBLISH packets in place and copies the properties that are forwarded. Called by the shard for every PUBLISH. Hot path.
import type { Frame } from "./fixed-header.js";
import type { ProtocolVersion } from "./packet-types.js";
import type { PublishHead } from "./publish-head.js";

/**
 * Reads the head of a PUBLISH (MQTT 3.1.1 §3.3, 5.0 §3.3) into `head`. Copies nothing.
 *
 * @param bytes borrowed; positions in `head` point into it
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81), MQTT_PROTOCOL (0x82, 0x90 for wildcards or an empty topic name, 0x94 for topic alias 0),
 *   MQTT_TOO_LARGE (0x95: more than 65535 bytes of properties to forward); the connection is closed
 */
export declare function readPublish(bytes: Uint8Array, frame: Frame, version: ProtocolVersion, head: PublishHead): void;

/**
 * Copies the properties that go to subscribers: all but topic alias (one hop only) and message expiry (written anew by `writePublish`), in
 * their order [MQTT-3.3.2-18].
 *
 * @param bytes what `head` was read from
 * @returns bytes written: `head.forwardLength`
 */
export declare function copyForwardProperties(target: Uint8Array, at: number, bytes: Uint8Array, head: PublishHead): number;
