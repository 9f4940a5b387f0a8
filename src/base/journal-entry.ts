// Kinds of the journal's entries, which are also the kinds of records in the shard -> store rings: the store copies them unchanged.
// Entry = u32 (kind << 24 | length), u32 id (0), `length` bytes, padding to 8 (as a ring record; docs/journal-format.md).
// What the bytes of kinds 2 to 23 are: shard/session-entries.ts. All entries of one session are written by its shard, in order. The group of a shared
// subscription is a session too: its client id is U+0000 and its name, which no client can have (broker/shared-groups.ts).

export const ENTRY = {
  /** A message record (message-record.ts), QoS 1 or 2. With a packet id it also marks that id as received for the publisher's session. */
  PUBLISH: 1,
  /** PUBREL came: the packet id is free again (QoS 2 gate 2). */
  RELEASE: 2,
  /** The session ended. */
  SESSION_END: 3,
  /** A client has connected: its session begins, or goes on. */
  SESSION: 4,
  /** Its connection is gone; until when the session is kept. */
  SESSION_LEFT: 5,
  SUBSCRIBE: 6,
  UNSUBSCRIBE: 7,
  /** A packet id was taken for a QoS 2 message on its way to the client (gate 3). */
  SENT: 8,
  /** PUBREC came (gate 4): the message itself is not needed any more. */
  RECEIVED: 9,
  /** PUBCOMP came, or a PUBREC that refused: the packet id is free. */
  DONE: 10,
  /** PUBACKs came for these messages. */
  ACKED: 11,
  /** A message for one session that no subscription explains by itself (retained messages for a new subscription). */
  QUEUED: 12,
  /** A message that a SNAPSHOT behind it names: its PUBLISH is about to be trimmed. */
  KEPT: 13,
  /** The whole state of a session. */
  SNAPSHOT: 14,
  /** A message record: the last word on a retained topic. */
  RETAINED: 15,
  /** The shard's part of a checkpoint is whole: what it needs from before the named LSN stands in entries since. */
  CHECKPOINT: 16,
  /** How long gateways have run on this directory, in all. */
  TIME: 17,
  /** A group of a shared subscription gave a message to one of its members: it is the member's from here on, and the group's no more. */
  GIVEN: 18,
  /** … and got it back: the other way round. */
  GIVEN_BACK: 19,
  /** A QoS 2 PUBLISH was delivered, but not to everybody: PUBREC says so with an error, its packet id is free for another message. */
  REFUSED: 20,
  /** A part of a SNAPSHOT that is too large for one entry. */
  SNAPSHOT_PART: 21,
  /** Members of a group have come to an end with messages that it gave them. */
  GIVEN_DONE: 22,
  /** All shards know of subscriptions of a session: SUBACK may leave. */
  HEARD: 23,
} as const;
