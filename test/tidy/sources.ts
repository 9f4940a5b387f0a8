// What the tidy tests look at: the project's own files, read once.
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The project's root, with a trailing slash; the tests run from dist/test/tidy. */
export const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

export interface SourceFile {
  /** From the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
}

/** Made or fetched, not written here. */
const PASSED_OVER: ReadonlySet<string> = new Set([".git", ".tap", "build", "certs", "data", "dist", "node_modules", "corpus"]);
const READ = /(^|\/)(\.ci\/\w+|LICENSE|Makefile|\.npmrc|\.gitignore|\.editorconfig)$|\.(ts|mjs|js|json|md|cc|cpp|h|gyp|yaml|service|sh)$/;

function visit(folder: string, found: SourceFile[]): void {
  for (const entry of readdirSync(ROOT + folder, { withFileTypes: true })) {
    const path = folder + entry.name;
    if (PASSED_OVER.has(entry.name)) continue;
    if (entry.isDirectory()) visit(`${path}/`, found);
    else if (entry.isFile() && READ.test(path)) found.push({ path, text: readFileSync(ROOT + path, "utf8") });
  }
}

let read: readonly SourceFile[] | undefined;

/** Every file of the project that people write, package-lock.json included. */
export function projectFiles(): readonly SourceFile[] {
  if (read === undefined) {
    const found: SourceFile[] = [];
    visit("", found);
    read = found;
  }
  return read;
}

/** Number of lines, a last one without a line feed included. */
export function countLines(text: string): number {
  return text.split("\n").length - (text.endsWith("\n") ? 1 : 0);
}
