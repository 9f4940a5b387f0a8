// What an entry of the journal means to the store itself: only QoS 2 state. Called for the few entries that are not QoS 1 PUBLISHes, by
// the commit buffer while it takes them in, and by recovery while it replays.
import { ENTRY } from "../../base/journal-entry.js";
import { MESSAGE_FLAG, MessageView } from "../../base/message-record.js";
import type { ReceivedIds } from "./received.js";

/** Where the flags byte lies in a PUBLISH entry's bytes (message-record.ts). */
export const PUBLISH_FLAGS_AT = 28;

/** Bytes with the two views that entries are read through; `text` reads UTF-8 from shared memory too. */
export interface EntryBytes {
  readonly text: Buffer;
  readonly view: DataView;
}

/** The views over one memory; made once per ring or window, not per entry. */
export function entryBytes(bytes: Uint8Array): EntryBytes {
  return { text: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength), view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) };
}

export class EntryReplay {
  readonly received: ReceivedIds;
  private readonly message = new MessageView();

  constructor(received: ReceivedIds) {
    this.received = received;
  }

  /** @param at the entry's first byte behind its header, in `source` */
  apply(source: EntryBytes, kind: number, at: number, length: number): void {
    if (kind === ENTRY.PUBLISH) {
      const message = this.message;
      message.read(source.view, at);
      // A QoS 2 message without a packet id came from no client (the gateway itself published it): nothing to remember.
      if ((message.flags & MESSAGE_FLAG.QOS_MASK) !== 2 || message.packetId === 0) return;
      this.received.add(source.text.toString("utf8", message.clientIdAt, message.clientIdAt + message.clientIdLength), message.packetId);
    } else if (kind === ENTRY.RELEASE) {
      this.received.release(source.text.toString("utf8", at + 2, at + length), source.view.getUint16(at, true));
    } else if (kind === ENTRY.SESSION_END) {
      this.received.clear(source.text.toString("utf8", at, at + length));
    } else if (kind === ENTRY.CHECKPOINT) {
      this.received.restore(source.text.toString("utf8", at, at + length));
    }
  }
}
