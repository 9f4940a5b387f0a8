// Reads README.md for the tests: its fenced blocks, its links, its npm commands.
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's root, with a trailing slash. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export interface Block {
  readonly language: string;
  readonly lines: readonly string[];
}

/** The fenced blocks of a page, in order. */
export function markdownBlocks(text: string): readonly Block[] {
  return [...text.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].map((match) => ({ language: match[1]!, lines: match[2]!.trimEnd().split("\n") }));
}

/** Targets of links to files of the project. */
export function fileLinks(text: string): readonly string[] {
  return [...text.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!);
}

/** Files of the project that a text names by their path from the root. */
export function pathsNamed(text: string): readonly string[] {
  const files = text.matchAll(/(?<![\w./-])(?:src|workers|native|bench|test|docs)\/[\w./-]*\.(?:ts|mjs|md|h|cc|gyp|service)\b/g);
  // Benchmarks are cited without their ending too.
  const benches = text.matchAll(/(?<![\w./-])bench\/micro\/[a-z-]+(?![\w./-])/g);
  return [...[...files].map((match) => match[0]), ...[...benches].map((match) => `${match[0]}.ts`)];
}

/** Names of package.json's scripts that a page speaks of. */
export function npmScripts(text: string): readonly string[] {
  return [...text.matchAll(/\bnpm (?:run )?(start|test|(?<=run )[a-z:-]+)/g)].map((match) => match[1]!);
}

/**
 * What `actual` lacks of `shown`: names and kinds must be the same, and texts, truth values and fractions equal; whole numbers may differ
 * (times), and `actual` may hold more.
 * @returns the first difference, or "" when there is none
 */
export function sameShape(shown: unknown, actual: unknown, path = ""): string {
  const where = path === "" ? "the answer" : path;
  if (Array.isArray(shown)) {
    if (!Array.isArray(actual) || actual.length < shown.length) return `${where} holds fewer than ${shown.length} entries`;
    return shown.map((entry, index) => sameShape(entry, actual[index], `${path}[${index}]`)).find((difference) => difference !== "") ?? "";
  }
  if (typeof shown === "object" && shown !== null) {
    if (typeof actual !== "object" || actual === null) return `${where} is no object`;
    const differences = Object.entries(shown).map(([name, value]) => sameShape(value, (actual as Record<string, unknown>)[name], `${path}.${name}`));
    return differences.find((difference) => difference !== "") ?? "";
  }
  if (typeof shown !== typeof actual) return `${where} is ${typeof actual} instead of ${typeof shown}`;
  const isTime = typeof shown === "number" && Number.isInteger(shown) && shown > 1e9;
  return isTime || shown === actual ? "" : `${where} is ${String(actual)} instead of ${String(shown)}`;
}

/** A temporary folder (with a trailing slash), and how to remove it. */
export function foldersOf(): { readonly folder: string; readonly remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "penstock-readme-"));
  return { folder: `${folder}/`, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** True when a program is on the path. */
export function hasProgram(name: string): boolean {
  return (process.env["PATH"] ?? "").split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, name), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
