// The gateway's configuration: defaults, then the file, then the environment; checked as a whole, with all findings at once.
// Read by main and the commands; workers get what they need as start data and never load this.
import { existsSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, resolve } from "node:path";
import { parse as parseYaml } from "yaml";
import type { z } from "zod";
import { ConfigError, type ConfigFinding } from "../../base/errors.js";
import { LANE_COUNT_MAX, SHARD_COUNT_MAX } from "../../ring/layout.js";
import type { AccessRuleSet } from "../../base/access.js";
import { fitsArena } from "../ring-capacities.js";
import { loadAccessRules } from "./access-file.js";
import { LISTENER_NAMES, LISTENERS_ON_REQUEST, namesUnder, OPTIONS, schema, type ListenerName, type Parsed } from "./schema.js";
import { nearest } from "./suggest.js";
import { parseYamlFile, shownValue } from "./yaml-file.js";

export const DEFAULT_FILE = "penstock.yaml";
export type Origin = "default" | "file" | "environment";
/** Of `acl.file`: no access rules. */
export const ACL_OFF = "off";
type Listeners = { readonly [K in ListenerName]: Parsed["listeners"][K] | false };

/** Sizes in bytes, durations in milliseconds, paths absolute, `auto` decided. */
export interface Config extends Omit<Parsed, "listeners" | "shards" | "lanes"> {
  readonly shards: number;
  readonly lanes: number;
  readonly listeners: Listeners;
}

export interface ShownValue {
  readonly key: string;
  /** As YAML. */
  readonly written: string;
  readonly origin: Origin;
  /** What `auto` is on this machine. */
  readonly decided?: string;
}

/** The configuration without its access rules. */
export interface LoadedOptions {
  readonly config: Config;
  /** The file that was read, if any. */
  readonly file: string | undefined;
  readonly warnings: readonly string[];
  /** Values as written, in the order of the schema, with where each comes from; for `config show`. */
  readonly values: readonly ShownValue[];
  /** True when file or environment speak of this listener: then it must be had. */
  readonly asksFor: (listener: ListenerName) => boolean;
}

export interface LoadedConfig extends LoadedOptions {
  /** The rules of `acl.file`; null when it is off. */
  readonly access: AccessRuleSet | null;
}

export interface ConfigSource {
  /** From `--config`; without it `penstock.yaml` in the working directory, if there is one. */
  readonly file?: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDirectory: string;
  readonly cores?: number;
}

type Tree = { [name: string]: unknown };

/**
 * Reads and checks the configuration without the access rules that it names: for commands that need none. Who has to delete a user or revoke a
 * certificate can do so while somebody edits the rules.
 *
 * @throws ConfigError with every finding, each with key, value, what is allowed and what to do
 */
export function loadOptions(source: ConfigSource): LoadedOptions {
  const findings: ConfigFinding[] = [];
  const file = findFile(source, findings);
  if (findings.length > 0) throw new ConfigError(findings);
  const document = file === undefined ? undefined : readFile(file);
  const origins = new Map<string, Origin>();
  const tree = document?.tree ?? {};
  const unasked = normaliseSections(tree, findings, document?.lineOf);
  for (const entry of OPTIONS) if (valueAt(tree, entry.path) !== undefined) origins.set(entry.key, "file");
  const warnings = applyEnvironment(tree, source.environment, origins);
  const off = takeListenersOff(tree, origins, unasked);
  const result = schema.safeParse(tree, { reportInput: true });
  if (!result.success) findings.push(...result.error.issues.flatMap((issue) => findingsOf(issue, document?.lineOf, origins)));
  if (result.success) findings.push(...contradictions(result.data, origins));
  if (findings.length > 0 || !result.success) throw new ConfigError(findings);
  const config = settle(result.data, off, origins, source, file);
  return {
    config,
    file,
    warnings: [...warnings, ...doubts(config)],
    values: listValues(tree, off, origins, config),
    asksFor: (listener) => [...origins.keys()].some((key) => key === `listeners.${listener}` || key.startsWith(`listeners.${listener}.`)),
  };
}

/**
 * Reads and checks the configuration and its access rules.
 *
 * @throws ConfigError as `loadOptions`; when that finds nothing, with every finding of the rules
 */
export function loadConfig(source: ConfigSource): LoadedConfig {
  const loaded = loadOptions(source);
  const { acl } = loaded.config;
  return { ...loaded, access: acl.file === ACL_OFF ? null : loadAccessRules(acl.file, acl.default === "allow") };
}

function findFile(source: ConfigSource, findings: ConfigFinding[]): string | undefined {
  const asked = source.file ?? source.environment["PENSTOCK_CONFIG"];
  const path = resolve(source.workingDirectory, asked ?? DEFAULT_FILE);
  if (existsSync(path)) return path;
  if (asked !== undefined) findings.push({ key: "--config", value: asked, allowed: "a readable file", fix: "Give the path of an existing file, or leave it out to start with the defaults." });
  return undefined;
}

type LineOf = (path: readonly string[]) => string;

/** @throws ConfigError */
function readFile(file: string): { tree: Tree; lineOf: LineOf } {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigError([{ key: file, value: (error as Error).message, allowed: "a readable file", fix: "Check the path and its permissions." }]);
  }
  const yaml = parseYamlFile(text, file, { syntax: "indent with spaces, and put a space behind each colon", alias: "Put quotes around a value that begins with *" });
  const tree = yaml.tree ?? {};
  if (typeof tree !== "object" || Array.isArray(tree)) {
    throw new ConfigError([{ key: file, value: shownValue(tree), allowed: "options, one a line, as `key: value`", fix: "Start from the example in docs/configuration.md." }]);
  }
  const lineOf = (path: readonly string[]): string => {
    const line = yaml.lineOf(path);
    return line === null ? "" : ` (line ${String(line)})`;
  };
  return { tree: tree as Tree, lineOf };
}

/**
 * Makes every section an object, so that defaults apply below it; a section of another shape is a finding.
 *
 * @returns the listeners that are off because the file does not speak of them
 */
function normaliseSections(tree: Tree, findings: ConfigFinding[], lineOf: LineOf | undefined): ReadonlySet<string> {
  const unasked = new Set<string>();
  const sections = new Set(OPTIONS.flatMap((entry) => entry.path.slice(0, -1).map((_, index) => entry.path.slice(0, index + 1).join("."))));
  for (const section of sections) {
    const path = section.split(".");
    const parent = valueAt(tree, path.slice(0, -1)) as Tree;
    const name = path.at(-1)!;
    const value = parent[name];
    const isListener = path[0] === "listeners" && path.length === 2;
    if (isListener && value === undefined && LISTENERS_ON_REQUEST.some((listener) => listener === name)) {
      unasked.add(name);
      parent[name] = false;
    } else if (value === undefined || value === null || (isListener && value === true)) parent[name] = {};
    else if (isListener && value === false) continue;
    else if (typeof value !== "object" || Array.isArray(value)) {
      const example = isListener ? `${name}: { port: 1883 }` : `${name}: { ${namesUnder(path)[0]!}: … }`;
      findings.push({ key: section + (lineOf?.(path) ?? ""), value: shownValue(value), allowed: isListener ? "false, or options" : "options", fix: `Write it as \`${example}\`.` });
      parent[name] = {};
    }
  }
  return unasked;
}

/** Lays PENSTOCK_… over the file. @returns warnings about variables that name no option */
function applyEnvironment(tree: Tree, environment: ConfigSource["environment"], origins: Map<string, Origin>): string[] {
  const listeners = LISTENER_NAMES.map((name) => ({ variable: `PENSTOCK_LISTENERS_${name.toUpperCase()}`, path: ["listeners", name], key: `listeners.${name}` }));
  const known = new Map([...OPTIONS, ...listeners].map((entry) => [entry.variable, entry]));
  const warnings: string[] = [];
  for (const [variable, text] of Object.entries(environment)) {
    if (!variable.startsWith("PENSTOCK_") || variable === "PENSTOCK_CONFIG" || text === undefined) continue;
    const entry = known.get(variable);
    if (entry === undefined) {
      const meant = nearest(variable, [...known.keys()]);
      warnings.push(`The environment variable ${variable} names no option${meant === undefined ? "" : `; did you mean ${meant}?`}`);
      continue;
    }
    const parent = valueAt(tree, entry.path.slice(0, -1));
    const value = scalar(text);
    // A listener that the file turns off is on again when the environment sets its port.
    if (parent === false) setAt(tree, entry.path.slice(0, -1), {});
    setAt(tree, entry.path, value === true && entry.path.length === 2 && entry.path[0] === "listeners" ? {} : value);
    origins.set(entry.key, "environment");
  }
  return warnings;
}

function scalar(text: string): unknown {
  try {
    return parseYaml(text) as unknown;
  } catch {
    return text;
  }
}

/** Takes listeners set to false out of the tree (their schema has the other form only). */
function takeListenersOff(tree: Tree, origins: Map<string, Origin>, unasked: ReadonlySet<string>): Set<ListenerName> {
  const listeners = tree["listeners"] as Tree;
  const off = new Set<ListenerName>();
  for (const name of LISTENER_NAMES) {
    if (listeners[name] !== false) continue;
    off.add(name);
    listeners[name] = {};
    if (!origins.has(`listeners.${name}`) && !unasked.has(name)) origins.set(`listeners.${name}`, "file");
  }
  return off;
}

function findingsOf(issue: z.core.$ZodIssue, lineOf: LineOf | undefined, origins: ReadonlyMap<string, Origin>): ConfigFinding[] {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.map((name) => {
      const here = [...path, name];
      const allowed = namesUnder(path);
      const meant = nearest(name, allowed);
      const elsewhere = OPTIONS.find((entry) => entry.path.at(-1) === name);
      const fix = meant !== undefined ? `Did you mean \`${meant}\`?` : elsewhere !== undefined ? `It belongs at \`${elsewhere.key}\`.` : "Remove it.";
      return { key: here.join(".") + (lineOf?.(here) ?? ""), value: shownValue((issue.input as Tree)[name]), allowed: allowed.join(", "), fix };
    });
  }
  const key = path.join(".");
  // Under a listener, options of `mqtt` are as there.
  const entry = OPTIONS.find((candidate) => candidate.key === key || candidate.key === key.replace(/^listeners\.\w+\.(?=mqtt\.)/, ""));
  const isVariable = origins.get(key) === "environment";
  const where = isVariable ? ` (${entry?.variable ?? "environment"})` : (lineOf?.(path) ?? "");
  const fix = entry === undefined ? "See docs/configuration.md." : `Write for example \`${isVariable ? `${entry.variable}=` : `${path.at(-1)!}: `}${quoteWritten(entry.written)}\`, the default, or leave it out.`;
  return [{ key: key + where, value: shownValue(issue.input), allowed: issue.message, fix }];
}

/** What single options cannot see. */
function contradictions(parsed: Parsed, origins: ReadonlyMap<string, Origin>): ConfigFinding[] {
  const findings: ConfigFinding[] = [];
  if (parsed.acl.file === ACL_OFF && origins.has("acl.default") && parsed.acl.default === "deny") {
    findings.push({ key: "acl.default", value: "deny", allowed: "with an acl.file", fix: "Name the rules in acl.file: without them nobody could do anything; or remove acl.default." });
  }
  if (parsed.statistics.warm_up > parsed.statistics.window) {
    findings.push({ key: "statistics.warm_up", value: String(parsed.statistics.warm_up), allowed: `at most statistics.window (${String(parsed.statistics.window)})`, fix: "Lower warm_up or raise window." });
  }
  if (parsed.journal.segment_size * 4 > parsed.journal.quota) {
    findings.push({ key: "journal.segment_size", value: String(parsed.journal.segment_size), allowed: "at most a quarter of journal.quota", fix: "Lower segment_size or raise quota: only whole segments are trimmed." });
  }
  for (const name of LISTENER_NAMES) {
    const listener = parsed.listeners[name];
    const packetSizeMax = "mqtt" in listener ? (listener.mqtt.packet_size_max ?? 0) : 0;
    if (packetSizeMax > parsed.mqtt.packet_size_max) {
      findings.push({
        key: `listeners.${name}.mqtt.packet_size_max`, value: String(packetSizeMax), allowed: `at most mqtt.packet_size_max (${String(parsed.mqtt.packet_size_max)})`,
        fix: "Raise mqtt.packet_size_max, which decides how large the rings are, and lower it for the other listeners.",
      });
    }
  }
  if (parsed.auth.jwt.secret_file !== "" && parsed.auth.jwt.jwks_file !== "") {
    findings.push({ key: "auth.jwt.jwks_file", value: parsed.auth.jwt.jwks_file, allowed: "off while auth.jwt.secret_file is given", fix: "Keep one of the two." });
  }
  const shards = parsed.shards === "auto" ? 1 : parsed.shards;
  const lanes = parsed.lanes === "auto" ? 1 : parsed.lanes;
  if (!fitsArena(shards, lanes, parsed.mqtt.packet_size_max)) {
    findings.push({
      key: "shards", value: `${String(shards)} with lanes ${String(lanes)} and mqtt.packet_size_max ${String(parsed.mqtt.packet_size_max)}`,
      allowed: "as many as their rings fit into 2 GiB", fix: "Lower shards, lanes or mqtt.packet_size_max.",
    });
  }
  return findings;
}

/** What is allowed, and perhaps not what was meant. */
function doubts({ auth }: Config): string[] {
  const { url } = auth.http;
  const isInClear = url.startsWith("http:") && !/^(localhost|127\.[\d.]+|\[::1\])$/.test(new URL(url).hostname);
  return isInClear ? ["auth.http.url begins with http: the passwords of clients cross the network in clear; let the service speak https, or listen on this machine"] : [];
}

function settle(parsed: Parsed, off: ReadonlySet<ListenerName>, origins: ReadonlyMap<string, Origin>, source: ConfigSource, file: string | undefined): Config {
  const cores = source.cores ?? availableParallelism();
  const packetSizeMax = parsed.mqtt.packet_size_max;
  let shards = parsed.shards === "auto" ? Math.min(SHARD_COUNT_MAX, Math.max(1, cores - 1)) : parsed.shards;
  let lanes = parsed.lanes === "auto" ? Math.min(LANE_COUNT_MAX, Math.max(1, Math.ceil(shards / 2))) : parsed.lanes;
  // Automatic numbers give way until the rings fit; `contradictions` made sure that they do at 1.
  while (!fitsArena(shards, lanes, packetSizeMax)) {
    if (parsed.lanes === "auto" && lanes > 1) lanes--;
    else shards--;
  }
  const base = (key: string): string => (origins.get(key) === "file" && file !== undefined ? dirname(file) : source.workingDirectory);
  const listeners = Object.fromEntries(LISTENER_NAMES.map((name) => [name, off.has(name) ? false : parsed.listeners[name]])) as unknown as Listeners;
  const acl = { ...parsed.acl, file: parsed.acl.file === ACL_OFF ? ACL_OFF : resolve(base("acl.file"), parsed.acl.file) };
  const data = resolve(base("data"), parsed.data);
  const { jwt, http } = parsed.auth;
  const optional = (key: string, path: string): string => (path === "" ? "" : resolve(base(key), path));
  const auth = {
    ...parsed.auth,
    password_file: resolve(data, parsed.auth.password_file),
    jwt: { ...jwt, secret_file: optional("auth.jwt.secret_file", jwt.secret_file), jwks_file: optional("auth.jwt.jwks_file", jwt.jwks_file) },
    http: { ...http, token_file: optional("auth.http.token_file", http.token_file) },
  };
  const unix = listeners.unix === false ? false : { ...listeners.unix, path: resolve(data, listeners.unix.path) };
  return { ...parsed, shards, lanes, listeners: { ...listeners, unix }, acl, auth, data, certs: resolve(base("certs"), parsed.certs) };
}

function listValues(tree: Tree, off: ReadonlySet<ListenerName>, origins: ReadonlyMap<string, Origin>, config: Config): LoadedOptions["values"] {
  return OPTIONS.flatMap((entry) => {
    const listener = entry.path[0] === "listeners" ? (entry.path[1] as ListenerName) : undefined;
    if (listener !== undefined && off.has(listener)) {
      const key = `listeners.${listener}`;
      const isFirst = OPTIONS.find((other) => other.path[1] === listener) === entry;
      return isFirst ? [{ key, written: "false", origin: origins.get(key) ?? "default" }] : [];
    }
    const value = valueAt(tree, entry.path) ?? entry.written;
    const decided = value === "auto" ? { decided: String(entry.key === "shards" ? config.shards : config.lanes) } : {};
    return [{ key: entry.key, written: quoteWritten(value), origin: origins.get(entry.key) ?? ("default" as const), ...decided }];
  });
}

function valueAt(tree: Tree, path: readonly string[]): unknown {
  let value: unknown = tree;
  for (const name of path) {
    if (typeof value !== "object" || value === null) return value === false ? false : undefined;
    value = (value as Tree)[name];
  }
  return value;
}

function setAt(tree: Tree, path: readonly string[], value: unknown): void {
  const parent = valueAt(tree, path.slice(0, -1)) as Tree;
  parent[path.at(-1)!] = value;
}

function quoteWritten(value: unknown): string {
  if (typeof value === "string") return /^[\w./-]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value);
}
