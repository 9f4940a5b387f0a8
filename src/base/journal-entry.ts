// Kinds of the journal's entries, which are also the kinds of records in the shard -> store rings: the store copies them unchanged.
// Entry = u32 (kind << 24 | length), u32 id (0), `length` bytes, padding to 8 (as a ring record; docs/journal-format.md).

export const ENTRY = {
  /** A message record (message-record.ts), QoS 1 or 2. With QoS 2 it also marks its packet id as received for the publisher's session. */
  PUBLISH: 1,
  /** u16 packetId, then client id: PUBREL received, the packet id is free again (QoS 2 gate 2). */
  RELEASE: 2,
  /** client id: the session started clean, or ended: its received packet ids are void. */
  SESSION_END: 3,
  /** Written by the store at the start of each segment: what replay needs from earlier segments. JSON. */
  CHECKPOINT: 4,
} as const;
