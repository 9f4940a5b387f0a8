// A YAML file that a person wrote: parsed, with the place of everything in it, so that each finding can name its line. For the configuration
// and the access rules.
import { type Document, isMap, LineCounter, parseDocument } from "yaml";
import { ConfigError } from "../../base/errors.js";

const VALUE_SHOWN_MAX = 80;

/** Keys and, in lists, indices. */
export type Path = readonly (string | number)[];

export interface YamlFile {
  /** Plain objects, lists and values; null when the file is empty. */
  readonly tree: unknown;
  /** The line of what stands there, else of what it would stand in; null when the file is empty. */
  readonly lineOf: (path: Path) => number | null;
  /** A plain value as it was written, which YAML may have read as something else. */
  readonly sourceOf: (path: Path) => string | undefined;
}

/** What is said to do about mistakes that YAML itself finds; a sentence without its end. */
export interface YamlHints {
  readonly syntax: string;
  readonly alias: string;
}

/** @throws ConfigError with every mistake; keys name file, line and column */
export function parseYamlFile(text: string, file: string, hints: YamlHints): YamlFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const findings = document.errors.map((error) => {
    const { line, col } = lines.linePos(error.pos[0]);
    return { key: `${file}:${String(line)}:${String(col)}`, value: error.message, allowed: "YAML", fix: `Mend line ${String(line)}; ${hints.syntax}.` };
  });
  if (findings.length > 0) throw new ConfigError(findings);
  let tree: unknown;
  try {
    tree = document.toJS() ?? null;
  } catch (error) {
    throw new ConfigError([{ key: file, value: (error as Error).message, allowed: "YAML whose aliases (*name) have an anchor (&name)", fix: `${hints.alias}.` }]);
  }
  const lineOf = (path: Path): number | null => {
    for (let length = path.length; length >= 0; length--) {
      const at = positionOf(document, path.slice(0, length));
      if (at !== undefined) return lines.linePos(at).line;
    }
    return null;
  };
  return { tree, lineOf, sourceOf: (path) => (document.getIn(path, true) as { source?: string } | null | undefined)?.source };
}

interface Placed {
  readonly range?: readonly [number, number, number] | null;
}

/** Of a value, or of its key when nothing stands behind that. */
function positionOf(document: Document.Parsed, path: Path): number | undefined {
  const node = (path.length === 0 ? document.contents : document.getIn(path, true)) as Placed | null | undefined;
  if (node?.range !== undefined && node.range !== null) return node.range[0];
  const parent: unknown = path.length <= 1 ? document.contents : document.getIn(path.slice(0, -1), true);
  if (path.length === 0 || !isMap(parent)) return undefined;
  const pair = parent.items.find((item) => String(item.key) === String(path.at(-1)));
  return (pair?.key as Placed | undefined)?.range?.[0];
}

/** A value for a finding. */
export function shownValue(value: unknown): string {
  let text: string;
  try {
    text = value === undefined ? "nothing" : JSON.stringify(value);
  } catch {
    // An alias within what its anchor names.
    text = "a value that contains itself";
  }
  return text.length > VALUE_SHOWN_MAX ? `${text.slice(0, VALUE_SHOWN_MAX - 3)}...` : text;
}
