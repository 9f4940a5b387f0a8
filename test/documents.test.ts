// Documents name only what exists: files, npm scripts, exit codes.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";
import { EXIT } from "../src/control/exit-codes.js";
import { fileLinks, markdownBlocks, npmScripts, pathsNamed, ROOT, sameShape } from "./readme-reader.js";
import { projectFiles } from "./tidy/sources.js";

const PAGES = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", ...readdirSync(`${ROOT}docs`, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`)];

t.test("every link of a document leads to a file of the project", async (t) => {
  let links = 0;
  for (const page of PAGES) {
    for (const link of fileLinks(readFileSync(ROOT + page, "utf8"))) {
      links++;
      t.ok(existsSync(join(ROOT, dirname(page), link)), `${page}: ${link}`);
    }
  }
  t.ok(links >= 5, `${links} links`);
  t.strictSame(fileLinks("see [a](docs/a.md#b) and [c](https://example.org/)"), ["docs/a.md"]);
});

t.test("every file of the project that a comment or a document names is there", async (t) => {
  const files = projectFiles();
  const known = new Set(files.map((file) => file.path));
  let named = 0;
  for (const file of files) {
    // Their tests name files that are not there.
    if (file.path.startsWith("test/")) continue;
    const missing = pathsNamed(file.text).filter((path) => {
      named++;
      return !known.has(path);
    });
    t.strictSame(missing, [], file.path);
  }
  t.ok(named >= 20, `${named} were named`);
  t.strictSame(pathsNamed("see bench/micro/copy.ts, bench/micro/move) docs/a.md. Also (test/x/y.test.ts) dist/src/a.js node_modules/a/src/b.ts"), ["bench/micro/copy.ts", "docs/a.md", "test/x/y.test.ts", "bench/micro/move.ts"]);
});

t.test("every npm script that a document names is one", async (t) => {
  const { scripts } = JSON.parse(readFileSync(`${ROOT}package.json`, "utf8")) as { scripts: Record<string, string> };
  let named = 0;
  for (const page of PAGES) {
    for (const script of npmScripts(readFileSync(ROOT + page, "utf8"))) {
      named++;
      t.ok(script in scripts, `${page}: ${script}`);
    }
  }
  t.ok(named >= 5, `${named} were named`);
  t.strictSame(npmScripts("`npm start`, `npm run build` and npm test, not npm ci"), ["start", "build", "test"]);
});

t.test("docs/running.md names every exit code, and the unit does not retry a wrong configuration", async (t) => {
  const page = readFileSync(`${ROOT}docs/running.md`, "utf8");
  for (const [name, code] of Object.entries(EXIT)) t.match(page, new RegExp(`^\\| ${code} \\| `, "m"), name);
  const unit = readFileSync(`${ROOT}docs/penstock.service`, "utf8");
  t.match(unit, new RegExp(`^RestartPreventExitStatus=${EXIT.CONFIG}$`, "m"));
  t.match(unit, /^Restart=on-failure$/m);
});

t.test("the README's blocks are found, and its answers compared", async (t) => {
  t.strictSame(markdownBlocks("a\n```sh\nls\npwd\n```\nb\n```\nx\n```\n"), [{ language: "sh", lines: ["ls", "pwd"] }, { language: "", lines: ["x"] }]);
  const shown = { time: 1795356000000, value: 71.5, list: [{ ok: true }] };
  t.equal(sameShape(shown, { time: 1795359999999, value: 71.5, list: [{ ok: true }, 2], more: 1 }), "");
  t.match(sameShape(shown, { time: "now", value: 71.5, list: [{ ok: true }] }), "time");
  t.match(sameShape(shown, { time: 1, value: 71, list: [{ ok: true }] }), "value");
  t.match(sameShape(shown, { time: 1, value: 71.5, list: [] }), "list");
  t.match(sameShape(shown, { time: 1, value: 71.5, list: [{ ok: false }] }), "ok");
  t.match(sameShape(shown, { time: 1, value: 71.5 }), "list");
  t.match(sameShape(shown, null), "object");
});
