// Which subscriptions match a topic: a trie by topic level. Owned by one shard, used on its thread alone.
// `match` is a hot path: no garbage but what `out` grows by; callers cache its result by `epoch`.
//
//   root ── devices ─┬─ d1 ── telemetry {entries}        a/+/b and a/# hang beside the literal children, in fields of their own,
//                    ├─ +  ── telemetry {entries}        so that a match looks at no more than three ways a level, however many
//                    └─ #  {entries}                     subscriptions there are elsewhere.
//
// Invariants: every node but the root has entries, remote interest or children; `entryCount` and `filterCount` count what stands in nodes.
import { LevelTable, TopicLevels, type LevelNode } from "./topic-levels.js";

/** At most one entry per key stands on a filter. */
export interface Keyed<Key> {
  readonly key: Key;
}

/** "first": the filter had no local entry before, the shard announces its interest. */
export type AddResult = "first" | "added" | "replaced";

/** "last": the filter has no local entry any more, the shard withdraws its interest. */
export type RemoveResult = "last" | "removed" | "absent";

/** From so many entries on, a node has an index by key. */
const INDEX_FROM = 16;

/** The entries on a filter that has several. Removal moves the last one into the gap. */
class EntryList<Key, Entry extends Keyed<Key>> {
  readonly items: Entry[];
  private index: Map<Key, number> | undefined = undefined;

  /** An array made with its first entries has no room to spare (one that grows from empty has room for 17). */
  constructor(first: Entry, second: Entry) {
    this.items = [first, second];
  }

  find(key: Key): number {
    if (this.index !== undefined) return this.index.get(key) ?? -1;
    const { items } = this;
    for (let i = 0; i < items.length; i++) if (items[i]!.key === key) return i;
    return -1;
  }

  push(entry: Entry): void {
    this.items.push(entry);
    if (this.index !== undefined) this.index.set(entry.key, this.items.length - 1);
    else if (this.items.length >= INDEX_FROM) this.index = new Map(this.items.map((each, i) => [each.key, i]));
  }

  removeAt(position: number): void {
    const { items, index } = this;
    const gone = items[position]!;
    const last = items.pop()!;
    if (last !== gone) {
      items[position] = last;
      index?.set(last.key, position);
    }
    index?.delete(gone.key);
    if (items.length < INDEX_FROM / 2) this.index = undefined;
  }
}

class Node<Key, Entry extends Keyed<Key>> implements LevelNode {
  readonly level: string;
  readonly hash: number;
  readonly parent: Node<Key, Entry> | undefined;
  children: LevelTable<Node<Key, Entry>> | undefined = undefined;
  /** The child for `+`. */
  plus: Node<Key, Entry> | undefined = undefined;
  /** The child for `#`. */
  rest: Node<Key, Entry> | undefined = undefined;
  /** The only entry: most filters have one, and a match in a large tree costs what it waits for memory. */
  entry: Entry | undefined = undefined;
  /** Two or more. */
  entries: EntryList<Key, Entry> | undefined = undefined;
  /** Bit per other shard with subscribers on this filter. */
  remoteMask = 0;

  constructor(level: string, hash: number, parent: Node<Key, Entry> | undefined) {
    this.level = level;
    this.hash = hash;
    this.parent = parent;
  }
}

/** A subscription with its places in the tree and in its session, and a node with its place in its parent, beside the text of the level. */
const ENTRY_SIZE = 300;
const NODE_SIZE = 200;

function nodeSize(node: { readonly level: string }): number {
  return NODE_SIZE + 2 * node.level.length;
}

// One match at a time, and it calls nobody: the topic's levels can be shared.
const levels = new TopicLevels();

/** REQUIRES of all `filter` arguments: valid (topic.ts) and without `$share/{name}/`. */
export class SubscriptionTree<Key, Entry extends Keyed<Key>> {
  /** Rises with every change that can alter what `match` gives. */
  epoch = 0;
  /** Local entries on all filters. */
  entryCount = 0;
  /** Filters with at least one local entry. */
  filterCount = 0;
  /** Nodes below the root. */
  nodeCount = 0;
  /** About what the tree and its entries hold of memory, interest of other shards included (bench/micro/mqtt-publish.ts measures it). */
  size = 0;
  private readonly root = new Node<Key, Entry>("", 0, undefined);

  /** What makes use of `match`'s result changed: whoever derived something of it does so anew. */
  touch(): void {
    this.epoch++;
  }

  /** Adds the entry, or replaces the one with the same key on that filter. */
  add(filter: string, entry: Entry): AddResult {
    this.epoch++;
    const node = this.provide(filter);
    const { entry: only, entries } = node;
    if (only?.key === entry.key) {
      node.entry = entry;
      return "replaced";
    }
    const position = entries?.find(entry.key) ?? -1;
    if (position >= 0) {
      entries!.items[position] = entry;
      return "replaced";
    }
    this.entryCount++;
    this.size += ENTRY_SIZE;
    if (entries !== undefined) entries.push(entry);
    else if (only !== undefined) {
      node.entries = new EntryList(only, entry);
      node.entry = undefined;
    } else {
      node.entry = entry;
      this.filterCount++;
      return "first";
    }
    return "added";
  }

  remove(filter: string, key: Key): RemoveResult {
    const node = this.nodeOf(filter);
    if (node === undefined) return "absent";
    const { entry: only, entries } = node;
    const position = entries?.find(key) ?? -1;
    if (only?.key !== key && position < 0) return "absent";
    this.epoch++;
    this.entryCount--;
    this.size -= ENTRY_SIZE;
    if (entries !== undefined) {
      entries.removeAt(position);
      if (entries.items.length === 1) {
        node.entry = entries.items[0];
        node.entries = undefined;
      }
      return "removed";
    }
    node.entry = undefined;
    this.filterCount--;
    this.prune(node);
    return "last";
  }

  get(filter: string, key: Key): Entry | undefined {
    const node = this.nodeOf(filter);
    return node?.entry?.key === key ? node?.entry : node?.entries?.items[node.entries.find(key)];
  }

  /** Notes whether another shard has subscribers on the filter. @param shard 0 to 31 */
  setRemote(filter: string, shard: number, isInterested: boolean): void {
    const bit = 1 << shard;
    const node = isInterested ? this.provide(filter) : this.nodeOf(filter);
    if (node === undefined) return;
    const mask = isInterested ? node.remoteMask | bit : node.remoteMask & ~bit;
    if (mask === node.remoteMask) return;
    this.epoch++;
    node.remoteMask = mask;
    if (!isInterested) this.prune(node);
  }

  /** Forgets all interest of a shard (it is gone). @param shard 0 to 31 */
  clearRemote(shard: number): void {
    const bit = 1 << shard;
    const interested: Node<Key, Entry>[] = [];
    // Collected first: pruning changes the tables that the walk goes through.
    for (const node of walk(this.root)) if ((node.remoteMask & bit) !== 0) interested.push(node);
    for (const node of interested) {
      node.remoteMask &= ~bit;
      this.prune(node);
    }
    if (interested.length > 0) this.epoch++;
  }

  /**
   * Appends every local entry whose filter matches; order unspecified; one key can come more than once (overlapping filters).
   *
   * @returns bit per shard that is interested, as an unsigned number
   */
  match(topic: string, out: Entry[]): number {
    levels.read(topic);
    const { root } = this;
    // Leading wildcards do not match topics that begin with $ [MQTT-4.7.2-1].
    if (!levels.isReserved) return visit(root, 0, out) >>> 0;
    const child = root.children?.find(levels, 0);
    return child === undefined ? 0 : visit(child, 1, out) >>> 0;
  }

  /** Every filter with a local entry (to announce them to a shard that starts). The tree must not change meanwhile. */
  *localFilters(): IterableIterator<string> {
    for (const node of walk(this.root)) if (node.entry !== undefined || node.entries !== undefined) yield filterOf(node);
  }

  private nodeOf(filter: string): Node<Key, Entry> | undefined {
    levels.read(filter);
    let node: Node<Key, Entry> | undefined = this.root;
    for (let i = 0; i < levels.count && node !== undefined; i++) node = childOf(node, i);
    return node;
  }

  /** The filter's node, made when it is missing. */
  private provide(filter: string): Node<Key, Entry> {
    levels.read(filter);
    let node = this.root;
    for (let i = 0; i < levels.count; i++) node = childOf(node, i) ?? this.addChild(node, i);
    return node;
  }

  private addChild(parent: Node<Key, Entry>, index: number): Node<Key, Entry> {
    const child = new Node(levels.levelOf(index), levels.hashOf(index), parent);
    this.nodeCount++;
    this.size += nodeSize(child);
    if (levels.isPlus(index)) parent.plus = child;
    else if (levels.isHash(index)) parent.rest = child;
    else {
      parent.children ??= new LevelTable();
      parent.children.insert(child);
    }
    return child;
  }

  /** Takes out the node and those above it that hold nothing any more. */
  private prune(node: Node<Key, Entry>): void {
    let empty = node;
    while (isEmpty(empty) && empty.parent !== undefined) {
      const { parent } = empty;
      if (parent.plus === empty) parent.plus = undefined;
      else if (parent.rest === empty) parent.rest = undefined;
      else {
        parent.children!.remove(empty);
        if (parent.children!.size === 0) parent.children = undefined;
      }
      this.nodeCount--;
      this.size -= nodeSize(empty);
      empty = parent;
    }
  }
}

/** Collects from `node` on, which stands for the levels before `index`. Recurses as deep as the deepest filter. @returns the remote mask */
function visit<Key, Entry extends Keyed<Key>>(node: Node<Key, Entry>, index: number, out: Entry[]): number {
  let mask = 0;
  // # stands for the parent level too (§4.7.1.2).
  if (node.rest !== undefined) mask |= collect(node.rest, out);
  if (index === levels.count) return mask | collect(node, out);
  const child = node.children?.find(levels, index);
  if (child !== undefined) mask |= visit(child, index + 1, out);
  if (node.plus !== undefined) mask |= visit(node.plus, index + 1, out);
  return mask;
}

function collect<Key, Entry extends Keyed<Key>>(node: Node<Key, Entry>, out: Entry[]): number {
  if (node.entry !== undefined) out.push(node.entry);
  else if (node.entries !== undefined) {
    const { items } = node.entries;
    for (let i = 0; i < items.length; i++) out.push(items[i]!);
  }
  return node.remoteMask;
}

/** The child for a level of a filter, whose wildcards stand for themselves. */
function childOf<Key, Entry extends Keyed<Key>>(node: Node<Key, Entry>, index: number): Node<Key, Entry> | undefined {
  if (levels.isPlus(index)) return node.plus;
  if (levels.isHash(index)) return node.rest;
  return node.children?.find(levels, index);
}

function isEmpty<Key, Entry extends Keyed<Key>>(node: Node<Key, Entry>): boolean {
  return node.entry === undefined && node.entries === undefined && node.remoteMask === 0 && node.children === undefined && node.plus === undefined && node.rest === undefined;
}

function filterOf<Key, Entry extends Keyed<Key>>(node: Node<Key, Entry>): string {
  let filter = node.level;
  // The root has no level of its own: stop below it.
  for (let above = node.parent; above?.parent !== undefined; above = above.parent) filter = `${above.level}/${filter}`;
  return filter;
}

/** Every node below `root`. */
function* walk<Key, Entry extends Keyed<Key>>(root: Node<Key, Entry>): IterableIterator<Node<Key, Entry>> {
  const pending = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    if (node !== root) yield node;
    if (node.plus !== undefined) pending.push(node.plus);
    if (node.rest !== undefined) pending.push(node.rest);
    const { children } = node;
    for (let slot = 0; children !== undefined && slot < children.slotCount; slot++) {
      const child = children.at(slot);
      if (child !== undefined) pending.push(child);
    }
  }
}
