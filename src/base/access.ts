// Access rules as threads tell them each other: read and checked by main (control/access-file.ts), evaluated by the shards
// (broker/access-rules.ts). docs/access-rules.md says what they mean.

/** What a rule is about, one bit each. */
export const ACCESS = {
  PUBLISH: 1,
  /** To publish with the retain flag; PUBLISH is needed too. */
  RETAIN: 2,
  /** To subscribe, and to be given what the subscription matches. */
  SUBSCRIBE: 4,
} as const;

export const ACCESS_ALL = ACCESS.PUBLISH | ACCESS.RETAIN | ACCESS.SUBSCRIBE;

export interface AccessRule {
  readonly isAllow: boolean;
  /** Bits of ACCESS. */
  readonly actions: number;
  /** For these users, or for members of `groups`; null with `groups` null = for everybody. */
  readonly users: readonly string[] | null;
  readonly groups: readonly string[] | null;
  /** For these client ids only; null = for all. */
  readonly clients: readonly string[] | null;
  /** true: only for clients without a user; false: only for those with one; null: for both. */
  readonly anonymous: boolean | null;
  /** Topic filters, in which %c is the client id and %u the user. */
  readonly topics: readonly string[];
}

export interface AccessRuleSet {
  /** What holds when no rule matches. */
  readonly isDefaultAllow: boolean;
  /** Members of groups by user name, beside what authentication says. */
  readonly groupsOf: Readonly<Record<string, readonly string[]>>;
  /** The first that matches decides. */
  readonly rules: readonly AccessRule[];
}
