// Who may publish and read what: rules made ready for comparing, and the verdicts of one client. Pure; semantics: docs/access-rules.md.
//
//   AccessRules  one per shard and rule set: rules indexed by whom they are for, so that 10,000 users' rules cost one client only its own
//   Access       one per session: the rules that concern it, %c and %u filled in. A change of rules or identity makes a new one, so whatever
//                remembers a verdict together with its Access is void then without being told.
//
// Invariant: %c and %u stand for exactly what the client's names are, within one level. A name with +, # or / (or none at all) never makes a
// rule allow more: an allowing rule with it matches nothing, a denying one everything from that level on.
import { ACCESS, type AccessRule, type AccessRuleSet } from "../base/access.js";
import type { Identity } from "../base/identity.js";

const PLUS = 0;
const HASH = 1;
/** A level's text, or a wildcard. */
type Level = string | typeof PLUS | typeof HASH;

/** How much of a filter's topics a client may read. */
export const REACH = { NONE: 0, SOME: 1, ALL: 2 } as const;
export type Reach = (typeof REACH)[keyof typeof REACH];

/** Filters of one client whose reach is remembered; a client that asks for more makes it be computed anew. */
const REACHES_COUNT_MAX = 1024;

interface Entry {
  readonly isAllow: boolean;
  readonly actions: number;
  readonly levels: readonly Level[];
}

interface Pattern {
  readonly levels: readonly Level[];
  readonly hasClient: boolean;
  readonly hasUser: boolean;
}

class CompiledRule {
  readonly order: number;
  readonly rule: AccessRule;
  readonly patterns: readonly Pattern[];
  /** By pattern: what it is for everybody, null when %c or %u must be filled in. */
  readonly fixed: readonly (Entry | null)[];

  constructor(order: number, rule: AccessRule) {
    this.order = order;
    this.rule = rule;
    this.patterns = rule.topics.map((topic) => ({ levels: levelsOf(topic), hasClient: topic.includes("%c"), hasUser: topic.includes("%u") }));
    const { isAllow, actions } = rule;
    this.fixed = this.patterns.map(({ levels, hasClient, hasUser }) => (hasClient || hasUser ? null : { isAllow, actions, levels }));
  }

  concerns(clientId: string, user: string): boolean {
    const { clients, anonymous } = this.rule;
    return (clients === null || clients.includes(clientId)) && (anonymous === null || anonymous === (user === ""));
  }
}

export class AccessRules {
  /** Something may be refused to somebody: else no message is looked at. */
  readonly restrictsPublishing: boolean;
  readonly restrictsReading: boolean;
  private readonly set: AccessRuleSet | null;
  private readonly forAll: CompiledRule[] = [];
  private readonly byUser = new Map<string, CompiledRule[]>();
  private readonly byGroup = new Map<string, CompiledRule[]>();
  private readonly byClient = new Map<string, CompiledRule[]>();

  /** @param set null: no rules, everything is allowed */
  constructor(set: AccessRuleSet | null) {
    this.set = set;
    const denied = set === null ? 0 : set.rules.reduce((bits, rule) => (rule.isAllow ? bits : bits | rule.actions), set.isDefaultAllow ? 0 : ~0);
    this.restrictsPublishing = (denied & (ACCESS.PUBLISH | ACCESS.RETAIN)) !== 0;
    this.restrictsReading = (denied & ACCESS.SUBSCRIBE) !== 0;
    set?.rules.forEach((rule, order) => this.index(new CompiledRule(order, rule)));
  }

  /** The verdicts of one client. */
  of(identity: Identity, clientId: string): Access {
    const { user } = identity;
    const found = new Set<CompiledRule>(this.forAll);
    const add = (rules: readonly CompiledRule[] | undefined): void => rules?.forEach((rule) => found.add(rule));
    add(this.byClient.get(clientId));
    if (user !== "") {
      add(this.byUser.get(user));
      for (const group of identity.groups) add(this.byGroup.get(group));
      for (const group of this.ownGroupsOf(user)) add(this.byGroup.get(group));
    }
    const entries: Entry[] = [];
    for (const rule of [...found].sort((a, b) => a.order - b.order)) if (rule.concerns(clientId, user)) addEntries(rule, user, clientId, entries);
    return new Access(entries, this.set?.isDefaultAllow ?? true);
  }

  private ownGroupsOf(user: string): readonly string[] {
    const groups = this.set?.groupsOf;
    return groups !== undefined && Object.hasOwn(groups, user) ? groups[user]! : [];
  }

  private index(compiled: CompiledRule): void {
    const { users, groups, clients } = compiled.rule;
    if (users === null && groups === null) {
      if (clients === null) this.forAll.push(compiled);
      else for (const client of clients) push(this.byClient, client, compiled);
      return;
    }
    for (const user of users ?? []) push(this.byUser, user, compiled);
    for (const group of groups ?? []) push(this.byGroup, group, compiled);
  }
}

export class Access {
  private readonly writing: readonly Entry[];
  private readonly reading: readonly Entry[];
  private readonly isDefaultAllow: boolean;
  private readonly reaches = new Map<string, Reach>();
  /** The last topic that was asked for (its route), and the verdict: most devices publish to one. Belongs to the caller (shard/authorisation.ts). */
  route: unknown = null;
  verdict = 0;

  constructor(entries: readonly Entry[], isDefaultAllow: boolean) {
    this.writing = entries.filter(({ actions }) => (actions & (ACCESS.PUBLISH | ACCESS.RETAIN)) !== 0);
    this.reading = entries.filter(({ actions }) => (actions & ACCESS.SUBSCRIBE) !== 0);
    this.isDefaultAllow = isDefaultAllow;
  }

  /** @returns ACCESS.PUBLISH and ACCESS.RETAIN, as far as they are allowed for the topic name */
  publishing(topic: string): number {
    const levels = topic.split("/");
    let undecided: number = ACCESS.PUBLISH | ACCESS.RETAIN;
    let allowed = 0;
    for (const entry of this.writing) {
      const bits = entry.actions & undecided;
      if (bits === 0 || !matches(entry.levels, levels)) continue;
      undecided &= ~bits;
      if (entry.isAllow) allowed |= bits;
      if (undecided === 0) break;
    }
    return this.isDefaultAllow ? allowed | undecided : allowed;
  }

  /** Whether a message of this topic may be given to the client. */
  mayRead(topic: string): boolean {
    const levels = topic.split("/");
    for (const entry of this.reading) if (matches(entry.levels, levels)) return entry.isAllow;
    return this.isDefaultAllow;
  }

  /**
   * How much of a topic filter the client may read. ALL is certain; SOME may also be a filter of which rules together deny all.
   *
   * @param filter valid, without `$share/{group}/`
   */
  reachOf(filter: string): Reach {
    let reach = this.reaches.get(filter);
    if (reach !== undefined) return reach;
    reach = this.computeReach(wildcardsOf(filter.split("/")));
    if (this.reaches.size >= REACHES_COUNT_MAX) this.reaches.clear();
    this.reaches.set(filter, reach);
    return reach;
  }

  private computeReach(filter: readonly Level[]): Reach {
    let isPartlyAllowed = false;
    let isPartlyDenied = false;
    for (const { isAllow, levels } of this.reading) {
      if (!overlap(levels, filter)) continue;
      if (covers(levels, filter)) {
        if (isAllow) return isPartlyDenied ? REACH.SOME : REACH.ALL;
        return isPartlyAllowed ? REACH.SOME : REACH.NONE;
      }
      if (isAllow) isPartlyAllowed = true;
      else isPartlyDenied = true;
    }
    if (this.isDefaultAllow) return isPartlyDenied ? REACH.SOME : REACH.ALL;
    return isPartlyAllowed ? REACH.SOME : REACH.NONE;
  }
}

function push(map: Map<string, CompiledRule[]>, key: string, rule: CompiledRule): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [rule]);
  else list.push(rule);
}

function wildcardsOf(levels: readonly string[]): Level[] {
  return levels.map((level) => (level === "+" ? PLUS : level === "#" ? HASH : level));
}

function levelsOf(pattern: string): Level[] {
  return wildcardsOf(pattern.split("/"));
}

/** Appends what the rule is for this client. */
function addEntries(compiled: CompiledRule, user: string, clientId: string, entries: Entry[]): void {
  const { isAllow, actions } = compiled.rule;
  compiled.patterns.forEach((pattern, i) => {
    const fixed = compiled.fixed[i];
    if (fixed !== null && fixed !== undefined) {
      entries.push(fixed);
      return;
    }
    // A client without a user has no topics of its user's.
    if (pattern.hasUser && user === "") return;
    const levels = fillIn(pattern, user, clientId, isAllow);
    if (levels !== null) entries.push({ isAllow, actions, levels });
  });
}

/** @returns the levels with the names in place; null when the rule cannot match anything */
function fillIn(pattern: Pattern, user: string, clientId: string, isAllow: boolean): readonly Level[] | null {
  const isSafe = (!pattern.hasUser || isOneLevel(user)) && (!pattern.hasClient || isOneLevel(clientId));
  if (isSafe) return pattern.levels.map((level) => (typeof level === "string" ? replace(level, user, clientId) : level));
  if (isAllow) return null;
  const first = pattern.levels.findIndex((level) => typeof level === "string" && (level.includes("%c") || level.includes("%u")));
  return [...pattern.levels.slice(0, first), HASH];
}

/** In one pass: a user named %c is not to become the client id. */
function replace(level: string, user: string, clientId: string): string {
  return level.replace(/%[cu]/g, (name) => (name === "%c" ? clientId : user));
}

function isOneLevel(name: string): boolean {
  return !/[+#/\0]/.test(name);
}

/** Whether the topic name is among what the pattern stands for (MQTT 5 §4.7). */
function matches(pattern: readonly Level[], topic: readonly string[]): boolean {
  // [MQTT-4.7.2-1]
  if (typeof pattern[0] !== "string" && topic[0]!.startsWith("$")) return false;
  for (let i = 0; i < pattern.length; i++) {
    const level = pattern[i];
    if (level === HASH) return true;
    if (i >= topic.length) return false;
    if (level !== PLUS && level !== topic[i]) return false;
  }
  return pattern.length === topic.length;
}

/** Whether some topic matches both. */
function overlap(a: readonly Level[], b: readonly Level[]): boolean {
  if (hidesDollar(a[0]!, b[0]!) || hidesDollar(b[0]!, a[0]!)) return false;
  for (let i = 0; ; i++) {
    const left = a[i];
    const right = b[i];
    // # stands for the parent level too (§4.7.1.2).
    if (left === HASH || right === HASH) return true;
    if (left === undefined || right === undefined) return left === right;
    if (left !== PLUS && right !== PLUS && left !== right) return false;
  }
}

/** Whether every topic that matches `filter` matches `pattern`. REQUIRES: they overlap. */
function covers(pattern: readonly Level[], filter: readonly Level[]): boolean {
  for (let i = 0; ; i++) {
    const wide = pattern[i];
    const narrow = filter[i];
    if (wide === HASH) return true;
    if (wide === undefined || narrow === undefined) return wide === narrow;
    if (narrow === HASH) return false;
    if (wide !== PLUS && wide !== narrow) return false;
  }
}

/** A wildcard in front does not stand for levels that begin with $ [MQTT-4.7.2-1]. */
function hidesDollar(a: Level, b: Level): boolean {
  return typeof a !== "string" && typeof b === "string" && b.startsWith("$");
}
