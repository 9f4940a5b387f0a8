// The retained messages of a shard: topic -> one message, found by topic or by filter. Bounded by count and bytes. Used on the shard's thread
// alone. Times are monotonic milliseconds, passed in.
// Invariants: every node but the root has a message or children; `count` and `bytes` are what the messages in nodes add up to.
import { copyOf } from "../base/bytes.js";
import { depthOf, isSystemTopic } from "./topic.js";
import { LevelTable, TopicLevels, type LevelNode } from "./topic-levels.js";

/** A stored message; it never changes: it is replaced as a whole. */
export interface Retained {
  readonly topic: string;
  /** Owned copy of what `set` was given, e.g. a message record. */
  readonly record: Buffer;
  /** Monotonic ms, or Infinity. */
  readonly expiresAt: number;
  /** The caller's, as given to `set`. */
  readonly stamp: number;
  /** Grows with every message that is stored: who walks passes over those that came after its beginning. */
  readonly sequence: number;
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
  readonly sequence: number;

  constructor(topic: string, record: Buffer, expiresAt: number, stamp: number, sequence: number, node: Node) {
    this.topic = topic;
    this.record = record;
    this.expiresAt = expiresAt;
    this.node = node;
    this.size = retainedSize(topic, record.length);
    this.stamp = stamp;
    this.sequence = sequence;
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
  private sequence = 0;
  /** The gateway's own figures, of which there are few: they are there also when clients have filled the store, and take no room from them. */
  private ownCount = 0;
  private ownBytes = 0;
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
    if (!isSystemTopic(topic)) {
      if (old === undefined && this.count - this.ownCount >= this.countMax) return "count-full";
      if (this.bytes - this.ownBytes - (old?.size ?? 0) + retainedSize(topic, length) > this.bytesMax) return "bytes-full";
    }
    if (old !== undefined) this.forget(old);
    const node = this.provide(topic);
    const message = new Stored(topic, copyOf(bytes, at, length), expiresAt, stamp, ++this.sequence, node);
    node.message = message;
    this.account(message, 1);
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

  /** Begins a walk through what matches the filter now; order unspecified. The store may change meanwhile. */
  walk(filter: string): RetainedWalk {
    return new RetainedWalk(this.root, filter, this.sequence);
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
    message.node.message = undefined;
    this.account(message, -1);
    this.expiring.delete(message);
  }

  private account(message: Stored, sign: 1 | -1): void {
    this.count += sign;
    this.bytes += sign * message.size;
    if (!isSystemTopic(message.topic)) return;
    this.ownCount += sign;
    this.ownBytes += sign * message.size;
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
class Place {
  readonly node: Node;
  readonly index: number;
  /** In the table of the node's children; its message was looked at when `isOpen`. */
  cursor = 0;
  isOpen = false;

  constructor(node: Node, index: number) {
    this.node = node;
    this.index = index;
  }
}

// One step at a time, and it calls nobody.
const children: Node[] = [];

/**
 * Goes through what matches a filter a piece at a time. Holds a few places for each level of the filter, however many messages there are.
 * Gives each message that was there at the beginning, and was neither replaced nor deleted since, once; twice only where many of its
 * neighbours are deleted meanwhile (LevelTable.scan).
 */
export class RetainedWalk {
  private readonly filter = new TopicLevels();
  private readonly sequence: number;
  private readonly places: Place[];

  constructor(root: Node, filter: string, sequence: number) {
    this.filter.read(filter);
    this.sequence = sequence;
    this.places = [new Place(root, 0)];
  }

  get isDone(): boolean {
    return this.places.length === 0;
  }

  /** @returns the next message that has not expired; undefined when there is none, or `budget` looks did not find one (see `isDone`) */
  next(now: number, budget: { looks: number }): Retained | undefined {
    const { places } = this;
    while (places.length > 0 && budget.looks > 0) {
      budget.looks--;
      const message = this.look(places[places.length - 1]!);
      if (message !== undefined && message.expiresAt > now && message.sequence <= this.sequence) return message;
    }
    return undefined;
  }

  /** One step at the last place. */
  private look(place: Place): Stored | undefined {
    const { filter, places } = this;
    const { node, index } = place;
    if (index === filter.count) {
      places.pop();
      return node.message;
    }
    const isRest = filter.isHash(index);
    if (!isRest && !filter.isPlus(index)) {
      places.pop();
      const child = node.children?.find(filter, index);
      if (child !== undefined) places.push(new Place(child, index + 1));
      return undefined;
    }
    if (isRest && !place.isOpen) {
      place.isOpen = true;
      // # stands for the parent level too (§4.7.1.2); the root holds no message.
      if (node.message !== undefined) return node.message;
    }
    place.cursor = node.children?.scan(place.cursor, children) ?? 0;
    if (place.cursor === 0) places.pop();
    const isRoot = node.parent === undefined;
    // At the root not those that begin with $ [MQTT-4.7.2-1].
    for (const child of children) if (!isRoot || !child.level.startsWith("$")) places.push(new Place(child, isRest ? index : index + 1));
    children.length = 0;
    return undefined;
  }
}
