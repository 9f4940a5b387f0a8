// Which subscriptions match a topic: a trie by topic level. Owned by one shard. `match` is a hot path (callers cache its result by `epoch`).

/** At most one entry per key stands on a filter. */
export interface Keyed<Key> {
  readonly key: Key;
}

/** "first": the filter had no local entry before, the shard announces its interest. */
export type AddResult = "first" | "added" | "replaced";

/** "last": the filter has no local entry any more, the shard withdraws its interest. */
export type RemoveResult = "last" | "removed" | "absent";

/** REQUIRES of all `filter` arguments: valid (topic.ts), without `$share/{name}/`. */
export declare class SubscriptionTree<Key, Entry extends Keyed<Key>> {
  /** Rises with every change that can alter what `match` gives. */
  epoch: number;
  /** Local entries on all filters. */
  entryCount: number;
  /** Filters with at least one local entry. */
  filterCount: number;
  /** Adds the entry, or replaces the one with the same key on that filter. */
  add(filter: string, entry: Entry): AddResult;
  remove(filter: string, key: Key): RemoveResult;
  get(filter: string, key: Key): Entry | undefined;
  /** Notes whether another shard has subscribers on the filter. */
  setRemote(filter: string, shard: number, isInterested: boolean): void;
  /** Forgets all interest of a shard (it is gone). */
  clearRemote(shard: number): void;
  /**
   * Appends every local entry whose filter matches; order unspecified; one key can come more than once (overlapping filters).
   *
   * @returns bit per shard that is interested (bit 31 makes no negative number)
   */
  match(topic: string, out: Entry[]): number;
  /** Every filter with a local entry (to announce them to a shard that starts). */
  localFilters(): IterableIterator<string>;
}
