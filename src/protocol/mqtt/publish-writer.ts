// Writes PUBLISH packets straight into memory for the reactor. Called by the shard for every delivery. Hot path.
import type { ProtocolVersion } from "./packet-types.js";

/**
 * A PUBLISH to be written; one instance is re-used. Set the fields, call `measurePublish`, make room for `size`, call `writePublish`.
 * The parts may lie in different memory (topic of an alias, payload in the ring).
 */
export declare class OutgoingPublish {
  version: ProtocolVersion;
  qos: 0 | 1 | 2;
  retain: boolean;
  dup: boolean;
  packetId: number;
  topicBytes: Uint8Array;
  topicAt: number;
  topicLength: number;
  /** As `copyForwardProperties` wrote them; not sent to 3.1.1. */
  propertiesBytes: Uint8Array;
  propertiesAt: number;
  propertiesLength: number;
  /** Seconds left, or MESSAGE_EXPIRY_NONE; not sent to 3.1.1. */
  messageExpiry: number;
  /** Of the subscriptions that match; not sent to 3.1.1. */
  subscriptionIdentifiers: readonly number[];
  payloadBytes: Uint8Array;
  payloadAt: number;
  payloadLength: number;
  /** Set by `measurePublish`: size of the whole packet. */
  size: number;
  /** Set by `measurePublish`: where the packet id stands, from the packet's first byte: so that one encoded packet serves many receivers. */
  packetIdOffset: number;
}

/** Computes `out.size` and `out.packetIdOffset`. @returns the size */
export declare function measurePublish(out: OutgoingPublish): number;

/**
 * Writes the packet at `at`. REQUIRES: `measurePublish(out)` since the last change; `out.size` bytes of room.
 *
 * @returns bytes written: `out.size`
 */
export declare function writePublish(target: Uint8Array, at: number, out: OutgoingPublish): number;

/** Puts another packet id into a written PUBLISH (QoS 1, 2). @param packetAt the packet's first byte */
export declare function patchPacketId(target: Uint8Array, packetAt: number, packetIdOffset: number, packetId: number): void;
