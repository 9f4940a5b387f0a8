// The clauses of both standards, where they are marked, and docs/mqtt-conformance.md made of that. A mark [MQTT-x.y.z-n] is a clause of MQTT 5.0,
// [MQTT3-x.y.z-n] one of MQTT 3.1.1. Run as a program it writes the page (npm run build).
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { CLAUSES_3 } from "./clauses-3.js";
import { CLAUSES_5 } from "./clauses-5.js";

export interface Clause {
  readonly version: "3.1.1" | "5.0";
  readonly id: string;
  readonly summary: string;
  /** Why no test bears it; "" = one must. */
  readonly reason: string;
}

/** Where a clause is marked: paths from the project's root. */
interface Marked {
  readonly code: Set<string>;
  readonly tests: Set<string>;
}

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
export const PAGE = join(ROOT, "docs/mqtt-conformance.md");

const MARK = /\[MQTT(3?)-(\d+(?:\.\d+)*-\d+)\]/g;
const CODE_FOLDERS = ["src", "native/core", "native/addon"];
const TEST_FOLDERS = ["test", "native/test"];
/** What defines clauses or quotes marks is no test of them. */
const NOT_TESTS = ["test/conformance/clauses.ts", "test/conformance/clauses.test.ts", "test/conformance/clauses-3.ts", "test/conformance/clauses-5.ts"];

function parse(text: string, version: Clause["version"]): Clause[] {
  return text.trim().split("\n").map((line) => {
    const [, id, summary, , reason] = /^(\S+) ([^|]+?)( \| (.+))?$/.exec(line) ?? [];
    if (id === undefined || summary === undefined) throw new Error(`no clause: ${line}`);
    return { version, id, summary, reason: reason ?? "" };
  });
}

export const CLAUSES: readonly Clause[] = [...parse(CLAUSES_3, "3.1.1"), ...parse(CLAUSES_5, "5.0")];

/** `3.1.1 x.y.z-n` or `5.0 x.y.z-n`. */
export function keyOf(clause: Pick<Clause, "version" | "id">): string {
  return `${clause.version} ${clause.id}`;
}

/** Every mark in a text, as keys. */
export function marksIn(text: string): string[] {
  return [...text.matchAll(MARK)].map(([, three, id]) => keyOf({ version: three === "3" ? "3.1.1" : "5.0", id: id! }));
}

/** All marks of the project by key. */
export function marks(): Map<string, Marked> {
  const found = new Map<string, Marked>();
  const note = (path: string, isTest: boolean): void => {
    for (const key of marksIn(readFileSync(join(ROOT, path), "utf8"))) {
      const marked = found.get(key) ?? { code: new Set<string>(), tests: new Set<string>() };
      found.set(key, marked);
      (isTest ? marked.tests : marked.code).add(path);
    }
  };
  for (const folder of CODE_FOLDERS) for (const path of filesUnder(folder)) note(path, false);
  for (const folder of TEST_FOLDERS) for (const path of filesUnder(folder)) if (!NOT_TESTS.includes(path)) note(path, true);
  return found;
}

function filesUnder(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(ts|cc|h)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length))
    .sort();
}

/** The text of docs/mqtt-conformance.md. */
export function conformancePage(): string {
  const found = marks();
  const tested = CLAUSES.filter((clause) => (found.get(keyOf(clause))?.tests.size ?? 0) > 0).length;
  const lines = [
    "# MQTT conformance",
    "",
    "Generated from the clause marks in code and tests (`npm run build` writes it); a test fails when this page is stale, or when a clause has neither a test nor a reason. Summaries are in our words; the",
    "standards' own text decides. In code and tests `[MQTT-x.y.z-n]` is a statement of MQTT 5.0, `[MQTT3-x.y.z-n]` one of MQTT 3.1.1. Paths are shortened: `test/conformance/` and `src/` are left out.",
    "",
    `${String(CLAUSES.length)} statements: ${String(tested)} tested, ${String(CLAUSES.length - tested)} with a reason why not.`,
    "",
    "What the standards leave open: MQTT 3.1 (`MQIsdp`) is served as 3.1.1 is, client ids longer than 23 bytes included, an empty one refused. The high bit of the protocol level, which bridges of mosquitto set, makes a 3.1",
    "or 3.1.1 client's subscriptions No Local and Retain As Published. Several subscriptions that match give one copy. Control characters and non-characters in strings are taken. Topic aliases go out on messages of QoS 1",
    "and 2, and of QoS 0 where the receiver's options ask for bytes of its own; QoS 0 that many receive is encoded once for all, without them.",
  ];
  for (const version of ["3.1.1", "5.0"] as const) {
    lines.push("", `## MQTT ${version}`, "", "| statement | in short | code | tests, or why none |", "| --- | --- | --- | --- |");
    for (const clause of CLAUSES) {
      if (clause.version !== version) continue;
      const marked = found.get(keyOf(clause));
      const tests = marked === undefined || marked.tests.size === 0 ? clause.reason : list(marked.tests, "test/conformance/");
      lines.push(`| ${clause.id} | ${clause.summary} | ${marked === undefined ? "" : list(marked.code, "src/")} | ${tests} |`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function list(paths: ReadonlySet<string>, prefix: string): string {
  return [...paths].map((path) => `\`${path.startsWith(prefix) ? path.slice(prefix.length) : path}\``).join(", ");
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) writeFileSync(PAGE, conformancePage());
