// Writes COMMAND records, plainly (the shard's own writer is another).
import { align8 } from "../../src/base/bytes.js";
import { COMMAND, RECORD_HEADER_SIZE } from "../../src/ring/layout.js";
import type { SharedViews } from "../../src/ring/ring.js";

export class CommandWriter {
  private readonly views: SharedViews;
  private readonly start: number;
  private readonly end: number;
  private readonly flush: (size: number) => void;
  private at: number;

  constructor(views: SharedViews, byteOffset: number, size: number, flush: (size: number) => void) {
    this.views = views;
    this.start = byteOffset;
    this.end = byteOffset + size;
    this.flush = flush;
    this.at = byteOffset;
  }

  /** Bytes written since the last take. */
  take(): number {
    const size = this.at - this.start;
    this.at = this.start;
    return size;
  }

  empty(kind: number, id: number): void {
    this.record(kind, id, 0);
  }

  word(kind: number, id: number, value: number): void {
    this.views.view.setUint32(this.record(kind, id, 4), value, true);
  }

  data(id: number, bytes: Uint8Array): void {
    this.views.bytes.set(bytes, this.record(COMMAND.DATA, id, bytes.length));
  }

  reference(id: number, offset: number, length: number): void {
    const at = this.record(COMMAND.DATA_REF, id, 8);
    this.views.view.setUint32(at, offset, true);
    this.views.view.setUint32(at + 4, length, true);
  }

  multicast(ids: readonly number[], bytes: Uint8Array): void {
    const padded = (bytes.length + 3) & ~3;
    const at = this.record(COMMAND.MULTICAST, ids.length, 4 + padded + ids.length * 4);
    this.views.view.setUint32(at, bytes.length, true);
    this.views.bytes.set(bytes, at + 4);
    ids.forEach((id, i) => this.views.view.setUint32(at + 4 + padded + i * 4, id, true));
  }

  multicastReference(ids: readonly number[], offset: number, length: number): void {
    const at = this.record(COMMAND.MULTICAST_REF, ids.length, 8 + ids.length * 4);
    this.views.view.setUint32(at, offset, true);
    this.views.view.setUint32(at + 4, length, true);
    ids.forEach((id, i) => this.views.view.setUint32(at + 8 + i * 4, id, true));
  }

  migrate(id: number, shard: number, bytes: Uint8Array): void {
    const at = this.record(COMMAND.MIGRATE, id, 4 + bytes.length);
    this.views.view.setUint32(at, shard, true);
    this.views.bytes.set(bytes, at + 4);
  }

  private record(kind: number, id: number, length: number): number {
    const size = RECORD_HEADER_SIZE + align8(length);
    if (this.at + size > this.end) this.flush(this.take());
    const at = this.at;
    this.views.view.setUint32(at, ((kind << 24) | length) >>> 0, true);
    this.views.view.setUint32(at + 4, id, true);
    this.at += size;
    return at + RECORD_HEADER_SIZE;
  }
}
