// What a file of this project looks like: each rule with examples that it must refuse and others that it must accept.
import { homedir } from "node:os";
import { countLines, ROOT } from "./sources.js";
import type { SourceFile } from "./sources.js";

export interface TextRule {
  readonly name: string;
  readonly appliesTo: RegExp;
  /** @returns what is wrong; empty when nothing is */
  readonly check: (file: SourceFile) => readonly string[];
  readonly refused: readonly SourceFile[];
  readonly accepted: readonly SourceFile[];
}

const LINES_MAX = 600;
const WORKER_LINES_MAX = 149;
const ARCHITECTURE_LINES_MAX = 199;
const DECISION_LINES_MAX = 40;
const PACKAGE_VERSION = /^\d+\.\d+\.\d+(-[\w.]+)?$/;
const SOURCE = /\.(ts|mjs|js|cc|cpp|h)$/;

/** Names that say nothing: what is in the file says more. */
const HOLLOW = /(^|[-_.])(info|managers?|helpers?|utils?|misc|common)([-_.]|$)/;

/** A word that would match its own rule if it stood here in one piece. */
function whole(...parts: readonly string[]): string {
  return parts.join("");
}

const LATER = whole("TO", "DO");
const BROKEN = whole("FIX", "ME");
const ONLY = whole("on", "ly");
const SKIP = whole("sk", "ip");

function lines(count: number): string {
  return "x\n".repeat(count);
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

function atMost(max: number): (file: SourceFile) => readonly string[] {
  return (file) => (countLines(file.text) > max ? [`has ${countLines(file.text)} lines, at most ${max} are allowed`] : []);
}

/** One finding per match, with its line number. */
function without(pattern: RegExp, why: string): (file: SourceFile) => readonly string[] {
  return (file) => [...file.text.matchAll(pattern)].map((match) => `line ${countLines(file.text.slice(0, match.index + 1))}: ${match[0].trim()}: ${why}`);
}

function escapeForRegExp(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

function versionFindings(text: string): string[] {
  const parsed = JSON.parse(text) as Record<string, Record<string, string> | undefined>;
  const entries = [...Object.entries(parsed["dependencies"] ?? {}), ...Object.entries(parsed["devDependencies"] ?? {})];
  return entries.filter(([, version]) => !PACKAGE_VERSION.test(version)).map(([name, version]) => `${name} ${version} is no exact version`);
}

function lockFindings(text: string): string[] {
  const packages = (JSON.parse(text) as { packages: Record<string, { resolved?: string; hasInstallScript?: boolean }> }).packages;
  return Object.entries(packages).flatMap(([name, entry]) => [
    ...(entry.resolved === undefined ? [] : [`${name} names the registry it came from`]),
    ...(entry.hasInstallScript === true ? [`${name} has an install script`] : []),
  ]);
}

const homePaths = new RegExp(["(?<![\\w.~])\\/(?:home|root|work|Users|mnt)\\/\\w+", ...[ROOT.replace(/\/$/, ""), homedir()].filter((path) => path.length > 1).map((path) => `${escapeForRegExp(path)}(?![\\w-])`)].join("|"), "g");

export const TEXT_RULES: readonly TextRule[] = [
  {
    name: `a source file has at most ${LINES_MAX} lines`,
    appliesTo: SOURCE,
    check: atMost(LINES_MAX),
    refused: [{ path: "src/a.ts", text: lines(LINES_MAX + 1) }, { path: "native/a.cc", text: lines(LINES_MAX) + "x" }],
    accepted: [{ path: "src/a.ts", text: lines(LINES_MAX) }],
  },
  {
    name: `a worker is wiring: at most ${WORKER_LINES_MAX} lines`,
    appliesTo: /^workers\/.*\.ts$/,
    check: atMost(WORKER_LINES_MAX),
    refused: [{ path: "workers/a.ts", text: lines(WORKER_LINES_MAX + 1) }],
    accepted: [{ path: "workers/a.ts", text: lines(WORKER_LINES_MAX) }],
  },
  {
    name: `ARCHITECTURE.md has at most ${ARCHITECTURE_LINES_MAX} lines`,
    appliesTo: /^ARCHITECTURE\.md$/,
    check: atMost(ARCHITECTURE_LINES_MAX),
    refused: [{ path: "ARCHITECTURE.md", text: lines(ARCHITECTURE_LINES_MAX + 1) }],
    accepted: [{ path: "ARCHITECTURE.md", text: lines(ARCHITECTURE_LINES_MAX) }],
  },
  {
    name: `a decision record has at most ${DECISION_LINES_MAX} lines`,
    appliesTo: /^docs\/decisions\//,
    check: atMost(DECISION_LINES_MAX),
    refused: [{ path: "docs/decisions/0001-a.md", text: lines(DECISION_LINES_MAX + 1) }],
    accepted: [{ path: "docs/decisions/0001-a.md", text: lines(DECISION_LINES_MAX) }],
  },
  {
    name: "a decision record is called NNNN-noun.md",
    appliesTo: /^docs\/decisions\//,
    check: (file) => (/^\d{4}-[a-z0-9-]+\.md$/.test(baseName(file.path)) ? [] : ["is not called NNNN-noun.md"]),
    refused: [{ path: "docs/decisions/reactor.md", text: "" }],
    accepted: [{ path: "docs/decisions/0001-native-reactor.md", text: "" }],
  },
  {
    name: "TypeScript and JavaScript files are named in kebab-case",
    appliesTo: /\.(ts|mjs|js)$/,
    check: (file) => (/^[a-z0-9]+(-[a-z0-9]+)*(\.e2e)?(\.test)?(\.d)?(\.config)?\.(ts|mjs|js)$/.test(baseName(file.path)) ? [] : ["is not named in kebab-case"]),
    refused: [{ path: "src/base/RingPlace.ts", text: "" }, { path: "src/base/ring_place.ts", text: "" }],
    accepted: [{ path: "src/base/ring-place.ts", text: "" }, { path: "test/readme.e2e.test.ts", text: "" }, { path: "eslint.config.js", text: "" }],
  },
  {
    name: "C++ files are named in snake_case",
    appliesTo: /\.(cc|cpp|h)$/,
    check: (file) => (/^[a-z0-9]+(_[a-z0-9]+)*\.(cc|h)$/.test(baseName(file.path)) ? [] : ["is not named in snake_case, ending in .cc or .h"]),
    refused: [{ path: "native/core/tls-stream.h", text: "" }, { path: "native/TlsStream.cc", text: "" }],
    accepted: [{ path: "native/core/tls_stream.h", text: "" }],
  },
  {
    name: "a file's name says what is in it",
    appliesTo: /\.(ts|mjs|cc|cpp|h)$/,
    check: (file) => (HOLLOW.test(baseName(file.path)) ? ["has a hollow word in its name"] : []),
    refused: [{ path: "src/base/string-utils.ts", text: "" }, { path: "src/shard/session-manager.ts", text: "" }, { path: "test/helpers.ts", text: "" }, { path: "native/core/socket_info.h", text: "" }],
    accepted: [{ path: "src/control/data-directory.ts", text: "" }, { path: "src/base/information.ts", text: "" }],
  },
  {
    name: "a source file begins with a comment that says what it is",
    appliesTo: /^(src|workers|native|bench)\/.*\.(ts|mjs|cc|h)$/,
    // A .cc file may leave it to its own header, which it then includes first.
    check: (file) => (/^(#!.*\n)?(\/\/ |\/\*\*|\/\* )/.test(file.text) || file.text.startsWith(`#include "${baseName(file.path).replace(/\.cc$/, ".h")}"\n`) ? [] : ["does not begin with a comment"]),
    refused: [{ path: "src/a.ts", text: "export const x = 1;\n" }, { path: "native/a.h", text: "#pragma once\n" }, { path: "native/a.cc", text: '#include "b.h"\n' }],
    accepted: [{ path: "src/a.ts", text: "// Time as a value.\nexport const x = 1;\n" }, { path: "src/a.ts", text: "#!/usr/bin/env node\n// The start.\n" }, { path: "native/a.cc", text: '#include "a.h"\n' }],
  },
  {
    name: "what is left to do stands under 'Known gaps', not in the source",
    appliesTo: /\.(ts|mjs|js|cc|h|md|sh|gyp)$|^\.ci\//,
    check: without(new RegExp(`\\b(${LATER}|${BROKEN}|${whole("XX", "X")}|${whole("HA", "CK")})\\b`, "g"), "belongs under Known gaps in ARCHITECTURE.md"),
    refused: [{ path: "src/a.ts", text: `// ${LATER}: later\n` }, { path: "native/a.cc", text: `x;  // ${BROKEN}\n` }],
    accepted: [{ path: "src/a.ts", text: "// nothing is left\nconst todos = 1;\n" }],
  },
  {
    name: "every test runs, or says why not",
    appliesTo: /^test\/.*\.ts$/,
    check: without(new RegExp(`(?<!\\.)\\.${ONLY}\\(|\\b${ONLY}: true|\\b${SKIP}: true|\\.${SKIP}\\(\\s*\\)|\\.${SKIP}\\([^)]*(?:=>|async|function)|\\.${LATER.toLowerCase()}\\(`, "g"), "runs less than all tests, or does not print why"),
    refused: [
      { path: "test/a.test.ts", text: `t.${ONLY}("x", run);` },
      { path: "test/a.test.ts", text: `t.test("x", { ${SKIP}: true }, run);` },
      { path: "test/a.test.ts", text: `t.${SKIP}();` },
      { path: "test/a.test.ts", text: `t.${SKIP}("x", async (t) => {});` },
    ],
    accepted: [{ path: "test/a.test.ts", text: `const x = { ...${ONLY}(version) };` }, { path: "test/a.test.ts", text: `t.test("x", { ${SKIP}: hasIpv6 ? false : "no IPv6 here" }, run);` }],
  },
  {
    name: "nothing names a machine's own paths",
    appliesTo: /./,
    check: without(homePaths, "is a path of one machine"),
    refused: [{ path: "src/a.ts", text: `const x = "${whole("/ro", "ot")}/x";` }, { path: "docs/a.md", text: `see ${whole("/ho", "me")}/someone/notes` }, { path: "bench/a.md", text: `in ${ROOT}dist` }],
    accepted: [{ path: "docs/penstock.service", text: "ProtectHome=yes\nExecStart=/usr/bin/node /opt/penstock/dist/main.js\n" }],
  },
  {
    name: "package.json names exact versions",
    appliesTo: /^package\.json$/,
    check: (file) => versionFindings(file.text),
    refused: [{ path: "package.json", text: '{"dependencies":{"yaml":"^2.0.0"}}' }, { path: "package.json", text: '{"devDependencies":{"tap":"latest"}}' }],
    accepted: [{ path: "package.json", text: '{"dependencies":{"yaml":"2.9.1","@duckdb/node-api":"1.5.5-r.5"}}' }],
  },
  {
    name: "package-lock.json names no registry, and no package runs anything when it is installed",
    appliesTo: /^package-lock\.json$/,
    check: (file) => lockFindings(file.text),
    refused: [{ path: "package-lock.json", text: '{"packages":{"node_modules/a":{"resolved":"x"}}}' }, { path: "package-lock.json", text: '{"packages":{"node_modules/a":{"hasInstallScript":true}}}' }],
    accepted: [{ path: "package-lock.json", text: '{"packages":{"node_modules/a":{"version":"1.0.0"}}}' }],
  },
  {
    name: "the native part is built with all warnings as errors",
    appliesTo: /^native\/binding\.gyp$/,
    check: (file) => ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-std=c++20"].filter((flag) => !file.text.includes(flag)).map((flag) => `${flag} is missing`),
    refused: [{ path: "native/binding.gyp", text: "{'cflags_cc': ['-std=c++20', '-Wall', '-Wextra', '-Werror']}" }],
    accepted: [{ path: "native/binding.gyp", text: "{'cflags_cc': ['-std=c++20', '-Wall', '-Wextra', '-Wconversion', '-Werror']}" }],
  },
];
