// What a client received, as one line of text, for vectors and other tests of conformance.
import type { Packet } from "mqtt-packet";

function code(packet: { readonly reasonCode?: number | undefined }): string {
  return packet.reasonCode === undefined || packet.reasonCode === 0 ? "" : ` ${hex(packet.reasonCode)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, "0")}`;
}

/** QoS or code of each filter. */
function grantedText(granted: readonly (number | object)[]): string {
  return granted.map(Number).join(" ");
}

/** One packet of a server. */
export function replyText(packet: Packet): string {
  switch (packet.cmd) {
    case "connack":
      return `CONNACK ${hex(packet.reasonCode ?? packet.returnCode ?? 0)}${packet.sessionPresent ? " present" : ""}`;
    case "suback":
      return `SUBACK ${String(packet.messageId)} [${grantedText(packet.granted)}]`;
    // 3.1.1 has no codes here, which mqtt-packet leaves out against its types.
    case "unsuback":
      return `UNSUBACK ${String(packet.messageId)}${packet.granted === undefined || packet.granted.length === 0 ? "" : ` [${packet.granted.join(" ")}]`}`;
    case "puback":
    case "pubrec":
    case "pubrel":
    case "pubcomp":
      return `${packet.cmd.toUpperCase()} ${String(packet.messageId)}${code(packet)}`;
    case "publish":
      return `PUBLISH ${packet.topic} ${packet.payload.toString()} q${String(packet.qos)}${packet.retain ? " retain" : ""}${packet.dup ? " dup" : ""}`;
    case "disconnect":
      return `DISCONNECT ${hex(packet.reasonCode ?? 0)}`;
    case "auth":
      return `AUTH ${hex(packet.reasonCode)}`;
    default:
      return packet.cmd.toUpperCase();
  }
}

export function repliesText(packets: readonly Packet[], isClosed: boolean): string {
  return [...packets.map(replyText), ...(isClosed ? ["closed"] : [])].join("; ");
}
