// Sees that the file of access rules changed and hands the new rules over once they are right; until then the old ones hold.
// On main's thread.
import { basename, dirname } from "node:path";
import type { AccessRuleSet } from "../base/access.js";
import type { Log } from "../base/log.js";
import { SettledWatch } from "../security/settled-watch.js";
import { describeRule, loadAccessRules } from "./config/access-file.js";

/** Editors write in several steps: wait until the file has been still for this long. */
const SETTLE_MS = 200;
/** Rules named in the log line about a change. */
const RULES_LOGGED_MAX = 20;

export interface AccessWatchOptions {
  readonly file: string;
  readonly current: AccessRuleSet;
  readonly log: Log;
  readonly apply: (rules: AccessRuleSet) => void;
  readonly settleMs?: number;
}

export class AccessWatch {
  private readonly options: AccessWatchOptions;
  private current: AccessRuleSet;
  private readonly watch: SettledWatch;

  constructor(options: AccessWatchOptions) {
    this.options = options;
    this.current = options.current;
    const { file, log, settleMs } = options;
    this.watch = new SettledWatch({
      directories: [dirname(file)],
      settleMs: settleMs ?? SETTLE_MS,
      concerns: (name) => name === null || name === basename(file),
      onSettled: () => this.reload(),
      onLost: (_directory, error) => log.warn(`${file} cannot be watched; after a change of access rules send SIGHUP`, { error: error.message }),
    });
  }

  /** Reads the file now (SIGHUP). */
  reload(): void {
    const { file, log, apply } = this.options;
    try {
      const rules = loadAccessRules(file, this.current.isDefaultAllow);
      if (JSON.stringify(rules) === JSON.stringify(this.current)) return;
      const before = this.current;
      apply(rules);
      this.current = rules;
      log.info("new access rules are in force", { file, rules: rules.rules.length, ...changes(before, rules) });
    } catch (error) {
      log.warn(`The access rules in ${file} changed but cannot be used; the old ones stay in force: ${(error as Error).message}`);
    }
  }

  close(): void {
    this.watch.close();
  }
}

function changes(before: AccessRuleSet, after: AccessRuleSet): Readonly<Record<string, unknown>> {
  const old = before.rules.map(describeRule);
  const now = after.rules.map(describeRule);
  const known = new Set(old);
  const left = new Set(now);
  const added = now.filter((rule) => !known.has(rule));
  const removed = old.filter((rule) => !left.has(rule));
  const isReordered = added.length === 0 && removed.length === 0 && old.join("\n") !== now.join("\n");
  return {
    added: added.slice(0, RULES_LOGGED_MAX), removed: removed.slice(0, RULES_LOGGED_MAX),
    ...(added.length + removed.length > 2 * RULES_LOGGED_MAX ? { added_count: added.length, removed_count: removed.length } : {}),
    ...(isReordered ? { order_changed: true } : {}),
    ...(JSON.stringify(before.groupsOf) === JSON.stringify(after.groupsOf) ? {} : { groups_changed: true }),
  };
}
