// PUBACK, PUBREC, PUBREL, PUBCOMP and PINGRESP: read in place and written straight into memory. Hot path.
import type { Frame } from "./fixed-header.js";
import type { AckType, ProtocolVersion } from "./packet-types.js";

/** What an acknowledgement says; one instance is re-used. */
export class AckHead {
  packetId = 0;
  /** 0 in 3.1.1. */
  reasonCode = 0;
}

/** The most that `writeAck` writes. */
export const ACK_SIZE_MAX = 5;
export const PINGRESP_SIZE = 2;

/**
 * Reads a PUBACK, PUBREC, PUBREL or PUBCOMP (MQTT 5 §3.4 to §3.7) into `head`. Copies nothing.
 *
 * @throws ProtocolError MQTT_MALFORMED (wire 0x81) or MQTT_PROTOCOL (0x82); the connection is closed
 */
export declare function readAck(bytes: Uint8Array, frame: Frame, version: ProtocolVersion, head: AckHead): void;

/**
 * Writes an acknowledgement at `at`: 4 bytes, or 5 in MQTT 5 when the reason code is not 0.
 *
 * @returns bytes written, at most ACK_SIZE_MAX
 */
export declare function writeAck(target: Uint8Array, at: number, type: AckType, version: ProtocolVersion, packetId: number, reasonCode: number): number;

/** Writes a PINGRESP at `at`. @returns PINGRESP_SIZE */
export declare function writePingresp(target: Uint8Array, at: number): number;

/** Checks that a PINGREQ has no flags and no body. @throws ProtocolError MQTT_MALFORMED (wire 0x81) */
export declare function checkPingreq(frame: Frame): void;
