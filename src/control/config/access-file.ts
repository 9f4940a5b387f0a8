// Reads the file of access rules (docs/access-rules.md): checked as a whole, with all findings at once. By main at the start and whenever the
// file changes (control/access-watch.ts), and by `config check`.
import { readFileSync } from "node:fs";
import { ACCESS, ACCESS_ALL, type AccessRule, type AccessRuleSet } from "../../base/access.js";
import { ConfigError, type ConfigFinding } from "../../base/errors.js";
import { nearest } from "./suggest.js";
import { parseYamlFile, type Path, shownValue, type YamlFile } from "./yaml-file.js";

const ACTIONS: ReadonlyMap<string, number> = new Map([
  ["publish", ACCESS.PUBLISH],
  ["retain", ACCESS.RETAIN],
  ["subscribe", ACCESS.SUBSCRIBE],
  ["all", ACCESS_ALL],
]);
const RULE_KEYS = ["allow", "deny", "users", "groups", "clients", "anonymous", "topics"];
const FILE_KEYS = ["groups", "rules"];
const RULE_EXAMPLE = "- { allow: [publish, retain], users: [anna], topics: [\"site/#\"] }";

/** Collects what is wrong, with the line of each. */
class Findings {
  readonly all: ConfigFinding[] = [];
  private readonly yaml: YamlFile;
  private readonly file: string;

  constructor(yaml: YamlFile, file: string) {
    this.yaml = yaml;
    this.file = file;
  }

  /** Whether a number is the name that was written: 00123, 1.10 and 1e3 are not, once YAML has read them. */
  isAsWritten(path: Path, value: number): boolean {
    return this.yaml.sourceOf(path) === String(value);
  }

  add(path: Path, value: unknown, allowed: string, fix: string): void {
    const key = path.map((part) => (typeof part === "number" ? `[${String(part + 1)}]` : `.${part}`)).join("").replace(/^\./, "");
    const line = this.yaml.lineOf(path);
    this.all.push({ key: `${key} (${this.file}${line === null ? "" : `, line ${String(line)}`})`, value: shownValue(value), allowed, fix });
  }

  unknownKeys(path: Path, map: Readonly<Record<string, unknown>>, known: readonly string[]): void {
    for (const key of Object.keys(map).filter((one) => !known.includes(one))) {
      const meant = nearest(key, known);
      this.add([...path, key], map[key], known.join(", "), meant === undefined ? "Remove it." : `Did you mean \`${meant}\`?`);
    }
  }
}

/**
 * Reads and checks a file of access rules.
 *
 * @throws ConfigError with every finding; keys name the file, the place in it and the line
 */
export function loadAccessRules(file: string, isDefaultAllow: boolean): AccessRuleSet {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    const value = `${file} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`;
    throw new ConfigError([{ key: "acl.file", value, allowed: "a readable file of access rules", fix: "Check the path and its permissions; docs/access-rules.md has an example." }]);
  }
  return parseAccessRules(text, file, isDefaultAllow);
}

/** @throws ConfigError */
export function parseAccessRules(text: string, file: string, isDefaultAllow: boolean): AccessRuleSet {
  const yaml = parseYamlFile(text, file, { syntax: "a topic that begins with # or % needs quotes", alias: "Put quotes around a topic or name that begins with *" });
  const findings = new Findings(yaml, file);
  const set = checkFile(yaml.tree, isDefaultAllow, findings);
  if (findings.all.length > 0) throw new ConfigError(findings.all);
  return set;
}

function checkFile(tree: unknown, isDefaultAllow: boolean, findings: Findings): AccessRuleSet {
  // An empty file: no rules, the default holds for everything.
  if (tree === null) return { isDefaultAllow, groupsOf: {}, rules: [] };
  if (!isMap(tree)) {
    findings.add([], tree, "`rules:` with a list", `Write \`rules:\` and below it for example \`${RULE_EXAMPLE}\`.`);
    return { isDefaultAllow, groupsOf: {}, rules: [] };
  }
  findings.unknownKeys([], tree, FILE_KEYS);
  const groupsOf = checkGroups(tree["groups"], findings);
  const rules = tree["rules"] ?? [];
  if (!Array.isArray(rules)) {
    findings.add(["rules"], rules, "a list of rules", `Write each as \`${RULE_EXAMPLE}\`.`);
    return { isDefaultAllow, groupsOf, rules: [] };
  }
  return { isDefaultAllow, groupsOf, rules: rules.map((rule, index) => checkRule(rule, ["rules", index], findings)) };
}

/** From the file's group -> users to user -> groups. */
function checkGroups(value: unknown, findings: Findings): AccessRuleSet["groupsOf"] {
  const groupsOf: Record<string, string[]> = {};
  if (value === undefined || value === null) return groupsOf;
  if (!isMap(value)) {
    findings.add(["groups"], value, "groups with their users", "Write for example `groups: { operators: [anna, ben] }`.");
    return groupsOf;
  }
  for (const [group, members] of Object.entries(value)) {
    for (const user of names(members, ["groups", group], findings) ?? []) {
      if (!Object.hasOwn(groupsOf, user)) Object.defineProperty(groupsOf, user, { value: [], enumerable: true });
      groupsOf[user]!.push(group);
    }
  }
  return groupsOf;
}

function checkRule(value: unknown, path: Path, findings: Findings): AccessRule {
  if (!isMap(value)) {
    findings.add(path, value, "a rule", `Write for example \`${RULE_EXAMPLE}\`.`);
    return { isAllow: false, actions: 0, users: null, groups: null, clients: null, anonymous: null, topics: [] };
  }
  findings.unknownKeys(path, value, RULE_KEYS);
  const isAllow = value["allow"] !== undefined;
  if (isAllow === (value["deny"] !== undefined)) findings.add(path, value, "either `allow` or `deny`", `Write for example \`${RULE_EXAMPLE}\`.`);
  const verb = isAllow ? "allow" : "deny";
  const { anonymous } = value;
  if (anonymous !== undefined && typeof anonymous !== "boolean") findings.add([...path, "anonymous"], anonymous, "true, false", "true: for clients without a user only; false: for those with one only.");
  return {
    isAllow,
    actions: actionsOf(value[verb], [...path, verb], findings),
    users: names(value["users"], [...path, "users"], findings),
    groups: names(value["groups"], [...path, "groups"], findings),
    clients: names(value["clients"], [...path, "clients"], findings),
    anonymous: anonymous === true || anonymous === false ? anonymous : null,
    topics: topicsOf(value["topics"], [...path, "topics"], findings),
  };
}

function actionsOf(value: unknown, path: Path, findings: Findings): number {
  let actions = 0;
  if (Array.isArray(value) && value.length === 0) findings.add(path, value, [...ACTIONS.keys()].join(", "), "Give one of them, or a list.");
  for (const word of Array.isArray(value) ? (value as unknown[]) : [value]) {
    const action = typeof word === "string" ? ACTIONS.get(word) : undefined;
    if (action === undefined) findings.add(path, word, [...ACTIONS.keys()].join(", "), "Give one of them, or a list.");
    else actions |= action;
  }
  return actions;
}

function topicsOf(value: unknown, path: Path, findings: Findings): readonly string[] {
  if (value === undefined || value === null) {
    findings.add(path, value, "topic filters", "Write for example `topics: [\"devices/%c/#\"]`, or `topics: \"#\"` for all.");
    return [];
  }
  const topics = names(value, path, findings) ?? [];
  for (const topic of topics) {
    const isWrong = topic.split("/").some((level, i, levels) => (level.includes("+") && level !== "+") || (level.includes("#") && (level !== "#" || i < levels.length - 1)));
    if (isWrong) findings.add(path, topic, "a topic filter", "+ stands alone in its level, # alone in the last.");
    else if (topic.startsWith("$share/")) findings.add(path, topic, "a topic filter without $share/…", "A shared subscription is judged by its topic filter: leave out $share and the group.");
  }
  return topics;
}

/** One name or a list; null when the key is not there: everybody. A key that is there without a name is a mistake, since it could mean nobody as well. */
function names(value: unknown, path: Path, findings: Findings): readonly string[] | null {
  if (value === undefined) return null;
  if (value === null || (Array.isArray(value) && value.length === 0)) {
    findings.add(path, value, "at least one name", "Give one, or leave the key out.");
    return [];
  }
  const found: string[] = [];
  const list = Array.isArray(value) ? (value as unknown[]) : null;
  for (const [index, name] of (list ?? [value]).entries()) {
    if (typeof name === "string" && name !== "") found.push(name);
    else if (typeof name === "number" && findings.isAsWritten(list === null ? path : [...path, index], name)) found.push(String(name));
    else findings.add(path, name, "a name, or a list of names", "Put quotes around what YAML takes for something else.");
  }
  return found;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A rule in one line, for the log. */
export function describeRule(rule: AccessRule): string {
  const actions = rule.actions === ACCESS_ALL ? "all" : [...ACTIONS].filter(([word, bit]) => word !== "all" && (rule.actions & bit) !== 0).map(([word]) => word).join(", ");
  const who = [
    ...(rule.users === null ? [] : [`users ${rule.users.join(", ")}`]),
    ...(rule.groups === null ? [] : [`groups ${rule.groups.join(", ")}`]),
    ...(rule.clients === null ? [] : [`clients ${rule.clients.join(", ")}`]),
    ...(rule.anonymous === null ? [] : [rule.anonymous ? "anonymous" : "not anonymous"]),
  ];
  return `${rule.isAllow ? "allow" : "deny"} ${actions} ${rule.topics.join(", ")}${who.length === 0 ? "" : ` (${who.join("; ")})`}`;
}
