// Who may import what: the table of ARCHITECTURE.md, and the check of one file against it.
import ts from "typescript";

interface FolderRule {
  /** Folders of src/ (besides its own) that it may import. */
  readonly ours: readonly string[];
  /** Built-in modules it may use at run time; types may come from anywhere. */
  readonly builtIn: readonly string[] | "any";
  /** Packages it may use. */
  readonly packages: readonly string[];
  /** Takes bytes, values and a clock: no timers, no clock of its own, no process. */
  readonly isPure?: true;
  /** Loads the addon, whose path is computed. */
  readonly loadsAddon?: true;
}

const ALL_FOLDERS = ["base", "ring", "reactor", "protocol", "broker", "shard", "storage", "pipeline", "lane", "security", "control", "cli"] as const;

export const IMPORT_RULES: Readonly<Record<string, FolderRule>> = {
  base: { ours: [], builtIn: [], packages: [] },
  ring: { ours: ["base"], builtIn: ["fs", "url"], packages: [] },
  reactor: { ours: ["base", "ring"], builtIn: ["module"], packages: [], loadsAddon: true },
  protocol: { ours: ["base"], builtIn: [], packages: ["mqtt-packet"], isPure: true },
  broker: { ours: ["base", "protocol"], builtIn: [], packages: [], isPure: true },
  pipeline: { ours: ["base"], builtIn: [], packages: [], isPure: true },
  shard: { ours: ["base", "ring", "reactor", "protocol", "broker", "storage"], builtIn: ["worker_threads", "crypto"], packages: [] },
  storage: { ours: ["base"], builtIn: ["fs", "path"], packages: ["@duckdb/node-api"] },
  lane: { ours: ["base", "ring", "storage", "pipeline"], builtIn: ["worker_threads"], packages: [] },
  security: { ours: ["base", "storage"], builtIn: ["crypto", "fs", "os", "path", "net", "http", "https"], packages: ["@peculiar/x509", "reflect-metadata", "jose"] },
  control: { ours: ALL_FOLDERS.filter((folder) => !["broker", "pipeline", "control", "cli"].includes(folder)), builtIn: "any", packages: ["pino", "piscina", "prom-client", "yaml", "zod"] },
  cli: { ours: ["base", "control"], builtIn: "any", packages: ["commander"] },
  /** src/main.ts */
  main: { ours: ALL_FOLDERS, builtIn: "any", packages: [] },
  workers: { ours: ALL_FOLDERS, builtIn: ["worker_threads", "v8"], packages: [] },
};

/** What only a thread with a loop has. */
const IMPURE = /\b(setTimeout|setInterval|setImmediate|queueMicrotask|fetch)\(|\bDate\.now\(|\bperformance\.now\(|\bnew Date\(\)|\bprocess\./g;

/** Stands for the name of a module that is known only at run time. */
const COMPUTED = "a computed name";

interface Import {
  readonly from: string;
  readonly isType: boolean;
}

/** Every import, export-from, import() and require() of a file. */
export function importsOf(path: string, text: string): readonly Import[] {
  const found: Import[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) && ts.isStringLiteral(node.moduleSpecifier)) found.push({ from: node.moduleSpecifier.text, isType: node.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword });
    else if (ts.isExportDeclaration(node) && node.moduleSpecifier !== undefined && ts.isStringLiteral(node.moduleSpecifier)) found.push({ from: node.moduleSpecifier.text, isType: node.isTypeOnly });
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument) && ts.isStringLiteral(node.argument.literal)) found.push({ from: node.argument.literal.text, isType: true });
    else if (ts.isCallExpression(node) && (node.expression.kind === ts.SyntaxKind.ImportKeyword || (ts.isIdentifier(node.expression) && node.expression.text === "require"))) {
      const first = node.arguments[0];
      found.push({ from: first !== undefined && ts.isStringLiteralLike(first) ? first.text : COMPUTED, isType: false });
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(path, text, ts.ScriptTarget.Latest, false));
  return found;
}

/** The row of the table that a path falls under; undefined when it has none (tests and benches import what they like). */
export function folderOf(path: string): string | undefined {
  if (path === "src/main.ts") return "main";
  return /^src\/([^/]+)\//.exec(path)?.[1] ?? (path.startsWith("workers/") ? "workers" : undefined);
}

/** The path that a relative import means. */
function resolveFrom(path: string, specifier: string): string {
  return new URL(specifier, `file:///${path}`).pathname.slice(1).replace(/\.js$/, ".ts");
}

function checkOne(path: string, folder: string, rule: FolderRule, entry: Import): string | undefined {
  if (entry.from.startsWith(".")) {
    const target = resolveFrom(path, entry.from);
    const other = folderOf(target);
    if (other === undefined) return `imports ${target}, which nobody may import`;
    return other === folder || rule.ours.includes(other) ? undefined : `imports ${target}: ${folder} may import ${rule.ours.join(", ") || "nothing of ours"}`;
  }
  if (entry.isType || (entry.from === COMPUTED && rule.loadsAddon === true)) return undefined;
  if (entry.from.startsWith("node:")) {
    const name = entry.from.slice("node:".length).split("/")[0]!;
    return rule.builtIn === "any" || rule.builtIn.includes(name) ? undefined : `uses ${entry.from}: ${folder} may use ${rule.builtIn.join(", ") || "no built-in module"}`;
  }
  return rule.packages.some((name) => entry.from === name || entry.from.startsWith(`${name}/`)) ? undefined : `uses ${entry.from}: ${folder} may use ${rule.packages.join(", ") || "no package"}`;
}

/** Comments may speak of timers. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*$/gm, "");
}

/** Everything a file under src/ or workers/ does that its row of the table forbids. */
export function checkImports(path: string, text: string): readonly string[] {
  const folder = folderOf(path);
  if (folder === undefined) return [`${path}: no row of the import table covers it`];
  const rule = IMPORT_RULES[folder];
  if (rule === undefined) return [`${path}: the folder ${folder} has no row in the import table`];
  const findings: string[] = [];
  for (const entry of importsOf(path, text)) {
    const finding = checkOne(path, folder, rule, entry);
    if (finding !== undefined) findings.push(`${path}: ${finding}`);
  }
  if (rule.isPure === true) for (const match of withoutComments(text).matchAll(IMPURE)) findings.push(`${path}: ${folder} is pure and uses ${match[0]}`);
  return findings;
}
