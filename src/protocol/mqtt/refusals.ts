// The ProtocolErrors that the codec throws, one function per wire reason. The detail names the clause.
import { ProtocolError } from "../../base/errors.js";
import { REASON } from "./reason-codes.js";

/** Bytes that are no MQTT packet (wire 0x81): the connection is closed. */
export function malformed(detail: string): ProtocolError {
  return new ProtocolError("MQTT_MALFORMED", REASON.MALFORMED_PACKET, detail);
}

/** A packet that the standard forbids (wire 0x82): the connection is closed. */
export function violation(detail: string): ProtocolError {
  return new ProtocolError("MQTT_PROTOCOL", REASON.PROTOCOL_ERROR, detail);
}

/** As `violation`, where the standard gives a nearer reason. */
export function violationWith(reason: number, detail: string): ProtocolError {
  return new ProtocolError("MQTT_PROTOCOL", reason, detail);
}

/** More than this gateway takes (wire 0x95): the connection is closed. */
export function tooLarge(detail: string): ProtocolError {
  return new ProtocolError("MQTT_TOO_LARGE", REASON.PACKET_TOO_LARGE, detail);
}
