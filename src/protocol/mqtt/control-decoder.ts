// Decodes the control packets that are not hot: our own validation of every byte first (mqtt-packet lets much through), then mqtt-packet
// for the values, which are copied: what it returns lies in the ring.
import type { Frame } from "./fixed-header.js";
import type { ProtocolVersion } from "./packet-types.js";
import type { Auth, Connect, Disconnect, Subscribe, Unsubscribe } from "./control-values.js";

/**
 * Decodes CONNECT (MQTT 3.1.1 §3.1, 5.0 §3.1).
 *
 * @throws ProtocolError MQTT_VERSION (wire 0x84) for another protocol or level, MQTT_CLIENT_ID (0x85), MQTT_MALFORMED (0x81), MQTT_PROTOCOL (0x82),
 *   MQTT_TOO_LARGE (0x95). `connackVersion` says in which version the refusal is to be put
 */
export declare function decodeConnect(bytes: Uint8Array, frame: Frame): Connect;

/**
 * In which version a CONNACK that refuses this packet is to be written: 4 for levels up to 4, 5 for 5 and above, 0 when it is no MQTT CONNECT:
 * close without an answer. Never throws.
 */
export declare function connackVersion(bytes: Uint8Array, frame: Frame): ProtocolVersion | 0;

/** Decodes SUBSCRIBE (§3.8). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82) */
export declare function decodeSubscribe(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Subscribe;

/** Decodes UNSUBSCRIBE (§3.10). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82) */
export declare function decodeUnsubscribe(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Unsubscribe;

/** Decodes DISCONNECT (§3.14). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82) */
export declare function decodeDisconnect(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Disconnect;

/** Decodes AUTH (MQTT 5 §3.15). @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82, also in 3.1.1) */
export declare function decodeAuth(bytes: Uint8Array, frame: Frame, version: ProtocolVersion): Auth;
