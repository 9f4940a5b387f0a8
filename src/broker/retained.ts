// The retained messages of a shard: topic -> one message, found by topic or by filter. Bounded by count and bytes. Used on the shard's thread
// alone. Times are monotonic milliseconds, passed in.
// Invariants: every node but the root has a message or children; `count` and `bytes` are what the messages in nodes add up to.
import { copyOf } from "../base/bytes.js";
import { depthOf } from "./topic.js";
import { LevelTable, TopicLevels, type LevelNode } from "./topic-levels.js";

/** A stored message; only `isCurrent` ever changes: it is replaced as a whole. */
export interface Retained {
  readonly topic: string;
  /** Owned copy of what `set` was given, e.g. a message record. */
  readonly record: Buffer;
  /** Monotonic ms, or Infinity. */
  readonly expiresAt: number;
  /** The caller's, as given to `set`. */
  readonly stamp: number;
  /** False once it was replaced, deleted or removed as expired: who pages through a `match` passes over it. */
  readonly isCurrent: boolean;
}

/** When full, the message that was there stays. */
export type SetResult = "stored" | "replaced" | "count-full" | "bytes-full";

/**
 * What a message costs in resident memory beside its record and topic: buffer and entry, and a node per level, counted as if no other topic shared
 * it, so that deep topics cannot take more than the limit (bench/micro/mqtt-publish.ts measures it).
 */
const MESSAGE_OVERHEAD = 240;
const LEVEL_OVERHEAD = 180;

class Stored implements Retained {
  readonly topic: string;
  readonly record: Buffer;
  readonly expiresAt: number;
  readonly node: Node;
  readonly size: number;
  readonly stamp: number;
  isCurrent = true;

  constructor(topic: string, record: Buffer, expiresAt: number, stamp: number, node: Node) {
    this.topic = topic;
    this.record = record;
    this.expiresAt = expiresAt;
    this.node = node;
    this.size = retainedSize(topic, record.length);
    this.stamp = stamp;
  }
}

class Node implements LevelNode {
  readonly level: string;
  readonly hash: number;
  readonly parent: Node | undefined;
  children: LevelTable<Node> | undefined = undefined;
  message: Stored | undefined = undefined;

  constructor(level: string, hash: number, parent: Node | undefined) {
    this.level = level;
    this.hash = hash;
    this.parent = parent;
  }
}

// One operation at a time, and it calls nobody: the levels can be shared.
const levels = new TopicLevels();

/** What a message with a record of so many bytes counts for. */
export function retainedSize(topic: string, recordLength: number): number {
  return recordLength + 2 * topic.length + MESSAGE_OVERHEAD + LEVEL_OVERHEAD * depthOf(topic);
}

/** REQUIRES of all topics and filters: valid (topic.ts). Their depth does not matter: nothing here recurses. */
export class RetainedStore {
  count = 0;
  /** `retainedSize` of all messages. */
  bytes = 0;
  private readonly countMax: number;
  private readonly bytesMax: number;
  private readonly root = new Node("", 0, undefined);
  /** Messages that expire; a Set can be walked on while it changes, which is how `removeExpired` goes on where it stopped. */
  private readonly expiring = new Set<Stored>();
  private sweep: Iterator<Stored> | undefined = undefined;

  constructor(countMax: number, bytesMax: number) {
    this.countMax = countMax;
    this.bytesMax = bytesMax;
  }

  /** Stores a copy of bytes[at, at + length) for the topic. */
  set(topic: string, bytes: Uint8Array, at: number, length: number, expiresAt: number, stamp = 0): SetResult {
    const old = this.nodeOf(topic)?.message;
    if (old === undefined && this.count >= this.countMax) return "count-full";
    if (this.bytes - (old?.size ?? 0) + retainedSize(topic, length) > this.bytesMax) return "bytes-full";
    if (old !== undefined) this.forget(old);
    const node = this.provide(topic);
    const message = new Stored(topic, copyOf(bytes, at, length), expiresAt, stamp, node);
    node.message = message;
    this.count++;
    this.bytes += message.size;
    if (expiresAt !== Infinity) this.expiring.add(message);
    return old === undefined ? "stored" : "replaced";
  }

  /** @returns whether there was one */
  delete(topic: string): boolean {
    const message = this.nodeOf(topic)?.message;
    if (message === undefined) return false;
    this.take(message);
    return true;
  }

  get(topic: string, now: number): Retained | undefined {
    const message = this.nodeOf(topic)?.message;
    return message !== undefined && message.expiresAt > now ? message : undefined;
  }

  /** Appends all that match the filter and have not expired; order unspecified. */
  match(filter: string, now: number, out: Retained[]): void {
    levels.read(filter);
    const pending: Pending[] = [{ node: this.root, index: 0 }];
    for (let next = pending.pop(); next !== undefined; next = pending.pop()) visit(next.node, next.index, now, out, pending);
  }

  /**
   * Removes what has expired, looking at no more than `budget` messages per call; goes on where it stopped, and then from the beginning.
   *
   * @returns how many it removed
   */
  removeExpired(now: number, budget: number): number {
    let removed = 0;
    let looks = Math.min(budget, this.expiring.size);
    while (looks > 0 && this.expiring.size > 0) {
      this.sweep ??= this.expiring.values();
      const next = this.sweep.next();
      if (next.done === true) {
        this.sweep = undefined;
        continue;
      }
      looks--;
      if (next.value.expiresAt > now) continue;
      this.take(next.value);
      removed++;
    }
    return removed;
  }

  /** All messages, those that expired and were not yet removed included. The store must not change meanwhile. */
  *all(): IterableIterator<Retained> {
    const pending = [this.root];
    for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
      if (node.message !== undefined) yield node.message;
      const { children } = node;
      for (let slot = 0; children !== undefined && slot < children.slotCount; slot++) {
        const child = children.at(slot);
        if (child !== undefined) pending.push(child);
      }
    }
  }

  private nodeOf(topic: string): Node | undefined {
    levels.read(topic);
    let node: Node | undefined = this.root;
    for (let i = 0; i < levels.count && node !== undefined; i++) node = node.children?.find(levels, i);
    return node;
  }

  /** The topic's node, made when it is missing. */
  private provide(topic: string): Node {
    levels.read(topic);
    let node = this.root;
    for (let i = 0; i < levels.count; i++) {
      node.children ??= new LevelTable();
      let child = node.children.find(levels, i);
      if (child === undefined) {
        child = new Node(levels.levelOf(i), levels.hashOf(i), node);
        node.children.insert(child);
      }
      node = child;
    }
    return node;
  }

  /** Takes the message out of the accounts; its node is about to hold another. */
  private forget(message: Stored): void {
    message.isCurrent = false;
    message.node.message = undefined;
    this.count--;
    this.bytes -= message.size;
    this.expiring.delete(message);
  }

  /** Takes the message out, and the nodes that hold nothing any more. */
  private take(message: Stored): void {
    this.forget(message);
    let node = message.node;
    while (node.message === undefined && node.children === undefined && node.parent !== undefined) {
      const { parent } = node;
      parent.children!.remove(node);
      if (parent.children!.size === 0) parent.children = undefined;
      node = parent;
    }
  }
}

/** A node still to be visited; it stands for the filter's levels before `index`. */
interface Pending {
  readonly node: Node;
  readonly index: number;
}

/** Collects at `node`; what is to be visited below it joins `pending`: topics can be deeper than the stack, and a peer chooses them. */
function visit(node: Node, index: number, now: number, out: Retained[], pending: Pending[]): void {
  if (index === levels.count) {
    collect(node, now, out);
    return;
  }
  if (levels.isHash(index)) {
    // # stands for the parent level too (§4.7.1.2); the root holds no message.
    collect(node, now, out);
    addChildren(node, index, pending);
  } else if (levels.isPlus(index)) addChildren(node, index + 1, pending);
  else {
    const child = node.children?.find(levels, index);
    if (child !== undefined) pending.push({ node: child, index: index + 1 });
  }
}

/** Every child for a wildcard; at the root not those that begin with $ [MQTT-4.7.2-1]. */
function addChildren(node: Node, index: number, pending: Pending[]): void {
  const { children } = node;
  if (children === undefined) return;
  const isRoot = node.parent === undefined;
  for (let slot = 0; slot < children.slotCount; slot++) {
    const child = children.at(slot);
    if (child !== undefined && !(isRoot && child.level.startsWith("$"))) pending.push({ node: child, index });
  }
}

function collect(node: Node, now: number, out: Retained[]): void {
  const { message } = node;
  if (message !== undefined && message.expiresAt > now) out.push(message);
}
