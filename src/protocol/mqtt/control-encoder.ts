// Encodes the control packets that are not hot, with mqtt-packet.
import type { ProtocolVersion } from "./packet-types.js";
import type { Auth, Connack } from "./control-values.js";

/** @param maximumPacketSize the client's; a reason string that would exceed it is left out [MQTT-3.2.2-19] */
export declare function encodeConnack(value: Connack, version: ProtocolVersion, maximumPacketSize: number): Buffer;

/** @param reasonCodes one per filter, in order: granted QoS or a refusal; 3.1.1 gets 0x80 for every refusal */
export declare function encodeSuback(packetId: number, reasonCodes: readonly number[], version: ProtocolVersion): Buffer;

/** @param reasonCodes one per filter, in order; not sent to 3.1.1 */
export declare function encodeUnsuback(packetId: number, reasonCodes: readonly number[], version: ProtocolVersion): Buffer;

/** MQTT 5 only: a 3.1.1 server says nothing and closes. @param reasonString "" = none; left out when the packet would exceed `maximumPacketSize` */
export declare function encodeDisconnect(reasonCode: number, reasonString: string, maximumPacketSize: number): Buffer;

/** MQTT 5 only. */
export declare function encodeAuth(value: Auth): Buffer;
