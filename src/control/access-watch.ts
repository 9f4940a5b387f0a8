// Sees that the file of access rules changed and hands the new rules over once they are right; until then the old ones hold.
// On main's thread.
import type { AccessRuleSet } from "../base/access.js";
import type { Log } from "../base/log.js";
import { LiveFile } from "../security/live-file.js";
import { describeRule, loadAccessRules } from "./config/access-file.js";

/** Rules named in the log line about a change. */
const RULES_LOGGED_MAX = 20;

export interface AccessWatchOptions {
  readonly file: string;
  readonly current: AccessRuleSet;
  readonly log: Log;
  readonly apply: (rules: AccessRuleSet) => void;
}

export function watchAccessRules({ file, current, log, apply }: AccessWatchOptions): LiveFile<AccessRuleSet> {
  return new LiveFile({
    paths: [file],
    read: () => loadAccessRules(file, current.isDefaultAllow),
    current,
    apply: (rules, before) => {
      if (JSON.stringify(rules) === JSON.stringify(before)) return;
      apply(rules);
      log.info("new access rules are in force", { file, rules: rules.rules.length, ...changes(before, rules) });
    },
    refusal: `The access rules in ${file} changed but cannot be used; the old ones stay in force`,
    log,
  });
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
