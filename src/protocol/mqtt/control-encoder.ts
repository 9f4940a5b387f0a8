// Encodes the control packets that are not hot, with mqtt-packet.
import mqttPacket from "mqtt-packet";
import { assert } from "../../base/assert.js";
import type { Auth, Connack } from "./control-values.js";
import type { ProtocolVersion } from "./packet-types.js";
import { REASON, returnCodeOf } from "./reason-codes.js";

// Or every thread that answers a CONNECT would keep a Buffer for each 16-bit number: 7 MB.
mqttPacket.writeToStream.cacheNumbers = false;

/** SUBACK of 3.1.1 has one word for every refusal [MQTT3-3.9.3-2]. */
const FAILURE = 0x80;

/**
 * REQUIRES: to version 4, a reason code that has a return code
 *
 * @param maximumPacketSize the client's; a reason string that would exceed it is left out [MQTT-3.2.2-19]
 */
export function encodeConnack(value: Connack, version: ProtocolVersion, maximumPacketSize: number): Buffer {
  if (version === 4) {
    const returnCode = returnCodeOf(value.reasonCode);
    assert(returnCode !== null, "MQTT 3.1.1 has a return code for the reason");
    return mqttPacket.generate({ cmd: "connack", returnCode, sessionPresent: returnCode === 0 && value.sessionPresent });
  }
  const packet = {
    cmd: "connack" as const,
    reasonCode: value.reasonCode,
    // [MQTT-3.2.2-6] [MQTT3-3.2.2-4]
    sessionPresent: value.reasonCode === REASON.SUCCESS && value.sessionPresent,
  };
  const properties = {
    sessionExpiryInterval: value.sessionExpiry,
    receiveMaximum: value.receiveMaximum,
    maximumPacketSize: value.maximumPacketSize,
    maximumQoS: value.maximumQos,
    retainAvailable: value.retainAvailable,
    assignedClientIdentifier: value.assignedClientId,
    topicAliasMaximum: value.topicAliasMaximum,
    sharedSubscriptionAvailable: value.sharedSubscriptionAvailable,
    serverKeepAlive: value.serverKeepAlive,
    responseInformation: value.responseInformation,
    serverReference: value.serverReference,
    authenticationMethod: value.authenticationMethod,
    authenticationData: value.authenticationData,
  };
  return withReason(value.reasonString ?? "", maximumPacketSize, (reason) => generate5({ ...packet, properties: given({ ...properties, ...reason }) }));
}

/** @param reasonCodes one per filter, in order: granted QoS or a refusal; 3.1.1 gets 0x80 for every refusal */
export function encodeSuback(packetId: number, reasonCodes: readonly number[], version: ProtocolVersion): Buffer {
  const granted = version === 5 ? [...reasonCodes] : reasonCodes.map((code) => (code >= FAILURE ? FAILURE : code));
  return mqttPacket.generate({ cmd: "suback", messageId: packetId, granted }, { protocolVersion: version });
}

/** @param reasonCodes one per filter, in order; not sent to 3.1.1 */
export function encodeUnsuback(packetId: number, reasonCodes: readonly number[], version: ProtocolVersion): Buffer {
  return mqttPacket.generate({ cmd: "unsuback", messageId: packetId, granted: [...reasonCodes] }, { protocolVersion: version });
}

/**
 * MQTT 5 only: a 3.1.1 server says nothing and closes.
 *
 * @param reasonString "" = none; left out when the packet would exceed `maximumPacketSize` [MQTT-3.14.2-3]
 * @param serverReference "" = none
 */
export function encodeDisconnect(reasonCode: number, reasonString: string, maximumPacketSize: number, serverReference = ""): Buffer {
  const reference = serverReference === "" ? {} : { serverReference };
  return withReason(reasonString, maximumPacketSize, (reason) => generate5({ cmd: "disconnect", reasonCode, properties: { ...reference, ...reason } }));
}

/** MQTT 5 only. */
export function encodeAuth(value: Pick<Auth, "reasonCode" | "authenticationMethod" | "authenticationData">): Buffer {
  const { reasonCode, authenticationMethod, authenticationData } = value;
  return generate5({ cmd: "auth", reasonCode, properties: given({ authenticationMethod, authenticationData }) });
}

/** Encodes with the reason string, and again without when that makes it too large for the client. */
function withReason(reasonString: string, maximumPacketSize: number, encode: (reason: { reasonString?: string }) => Buffer): Buffer {
  if (reasonString !== "") {
    const full = encode({ reasonString });
    if (full.length <= maximumPacketSize) return full;
  }
  return encode({});
}

function generate5(packet: mqttPacket.Packet): Buffer {
  return mqttPacket.generate(packet, { protocolVersion: 5 });
}

type Given<T> = { [K in keyof T]: Exclude<T[K], undefined> };

/** Without the keys whose value is undefined: their absence is what mqtt-packet's types ask for. */
function given<T extends object>(properties: T): Given<T> {
  return Object.fromEntries(Object.entries(properties).filter(([, value]) => value !== undefined)) as Given<T>;
}
