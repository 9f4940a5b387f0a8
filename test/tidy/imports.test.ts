import t from "tap";
import { checkImports, folderOf, IMPORT_RULES, importsOf } from "./import-rules.js";
import { projectFiles } from "./sources.js";

interface Planted {
  readonly what: string;
  readonly path: string;
  readonly text: string;
}

const REFUSED: readonly Planted[] = [
  { what: "base imports nothing of ours", path: "src/base/a.ts", text: 'import { x } from "../ring/ring.js";' },
  { what: "protocol does not know the broker", path: "src/protocol/mqtt/a.ts", text: 'import { x } from "../../broker/sessions.js";' },
  { what: "a type counts as knowing", path: "src/pipeline/a.ts", text: 'import type { X } from "../storage/journal.js";' },
  { what: "an export-from is an import", path: "src/broker/a.ts", text: 'export { x } from "../shard/a.js";' },
  { what: "import() is an import", path: "src/pipeline/a.ts", text: 'export const x = await import("../control/config.js");' },
  { what: "require() is an import", path: "src/pipeline/a.ts", text: 'const x = require("node:fs");' },
  { what: "a computed import() hides what it loads", path: "src/broker/a.ts", text: "export const x = await import(name);" },
  { what: "an import type is an import", path: "src/broker/a.ts", text: 'export type X = import("../storage/a.js").X;' },
  { what: "pure folders open no file", path: "src/pipeline/a.ts", text: 'import { readFileSync } from "node:fs";' },
  { what: "pure folders open no socket", path: "src/protocol/mqtt/a.ts", text: 'import net from "node:net";' },
  { what: "pure folders start no timer", path: "src/broker/a.ts", text: "setTimeout(run, 5);" },
  { what: "pure folders take the clock", path: "src/broker/a.ts", text: "const now = Date.now();" },
  { what: "pure folders take their time of day", path: "src/pipeline/a.ts", text: "const now = new Date();" },
  { what: "the history's engine belongs to storage", path: "src/control/a.ts", text: 'import { DuckDBInstance } from "@duckdb/node-api";' },
  { what: "data files belong to storage", path: "src/shard/a.ts", text: 'import { openSync } from "node:fs";' },
  { what: "control does not reach into the broker", path: "src/control/a.ts", text: 'import { x } from "../broker/sessions.js";' },
  { what: "nobody imports tests", path: "src/base/a.ts", text: 'import { x } from "../../test/tidy/sources.js";' },
  { what: "nobody imports benches", path: "workers/shard.ts", text: 'import { x } from "../bench/run.js";' },
  { what: "a new folder needs a row", path: "src/elsewhere/a.ts", text: "export const x = 1;" },
];

const ACCEPTED: readonly Planted[] = [
  { what: "a folder imports itself", path: "src/broker/a.ts", text: 'import { x } from "./b.js";' },
  { what: "a folder imports what its row allows", path: "src/broker/a.ts", text: 'import { x } from "../protocol/mqtt/publish.js";' },
  { what: "types of built-in modules are values to nobody", path: "src/base/a.ts", text: 'import type { MessagePort } from "node:worker_threads";' },
  { what: "comments may speak of timers", path: "src/broker/a.ts", text: "// no setTimeout( here\nexport const x = 1; /* nor Date.now() */" },
  { what: "workers wire everything", path: "workers/shard.ts", text: 'import { x } from "../src/shard/shard.js";\nimport { workerData } from "node:worker_threads";' },
];

for (const planted of REFUSED) {
  t.test(`imports refuse: ${planted.what}`, async (t) => {
    t.not(checkImports(planted.path, planted.text).length, 0);
  });
}

for (const planted of ACCEPTED) {
  t.test(`imports accept: ${planted.what}`, async (t) => {
    t.strictSame(checkImports(planted.path, planted.text), []);
  });
}

t.test("the import table has no cycle", async (t) => {
  const done = new Set<string>();
  const visit = (folder: string, trail: readonly string[]): void => {
    if (trail.includes(folder)) {
      t.fail([...trail, folder].join(" -> "));
      return;
    }
    if (done.has(folder)) return;
    for (const next of IMPORT_RULES[folder]?.ours ?? []) if (next !== folder) visit(next, [...trail, folder]);
    done.add(folder);
  };
  for (const folder of Object.keys(IMPORT_RULES)) visit(folder, []);
  t.equal(done.size, Object.keys(IMPORT_RULES).length, "every row was visited");
});

t.test("every file of src and workers keeps to the import table", async (t) => {
  const files = projectFiles().filter((file) => folderOf(file.path) !== undefined && file.path.endsWith(".ts"));
  t.ok(files.length >= 15, `${files.length} files were looked at`);
  let imports = 0;
  for (const file of files) {
    imports += importsOf(file.path, file.text).length;
    t.strictSame(checkImports(file.path, file.text), [], file.path);
  }
  t.ok(imports >= 10, `${imports} imports were found`);
});
