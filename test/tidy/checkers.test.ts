// The checkers themselves: each must catch a planted violation, so that a setting that silences one of them does not go unseen.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { ESLint } from "eslint";
import t from "tap";
import { ROOT } from "./sources.js";

/** A rule, and a text that breaks it. */
const PLANTED: readonly (readonly [string, string])[] = [
  ["@typescript-eslint/no-floating-promises", "async function run(): Promise<void> { await Promise.resolve(); }\nrun();"],
  ["@typescript-eslint/no-unsafe-return", "export function read(text: string): number { return JSON.parse(text); }"],
  ["@typescript-eslint/no-explicit-any", "export const x: any = 1;"],
  ["@typescript-eslint/switch-exhaustiveness-check", 'export function pick(kind: "a" | "b"): number { switch (kind) { case "a": return 1; } return 2; }'],
  ["@typescript-eslint/consistent-type-imports", 'import { Clock } from "./clock.js";\nexport type Mine = Clock;'],
  ["@typescript-eslint/no-misused-promises", "export const pressed = [1].some(async () => Promise.resolve(true));"],
  ["no-console", 'console.log("x");'],
];

t.test("eslint catches what it is there for", async (t) => {
  const eslint = new ESLint({ cwd: ROOT });
  for (const [rule, text] of PLANTED) {
    // The path of a file that exists, so that the type checker knows its project; the text is the planted one.
    const [result] = await eslint.lintText(`// Planted.\n${text}\n`, { filePath: `${ROOT}src/base/assert.ts` });
    t.ok(result?.messages.some((message) => message.ruleId === rule), `${rule} was reported`);
  }
});

t.test("eslint accepts the style of hot paths", async (t) => {
  const eslint = new ESLint({ cwd: ROOT });
  const text = "// Planted. Hot path.\nexport function sum(bytes: Uint8Array): number {\n  let total = 0;\n  for (let i = 0; i < bytes.length; i++) total += bytes[i]!;\n  return total;\n}\n";
  const [result] = await eslint.lintText(text, { filePath: `${ROOT}src/base/assert.ts` });
  t.strictSame(result?.messages, []);
});

t.test("knip catches an unused file, an unused export and an unused package", async (t) => {
  const folder = t.testdir({
    "package.json": JSON.stringify({ name: "planted", type: "module", dependencies: { yaml: "1.0.0" } }),
    "knip.json": readFileSync(`${ROOT}knip.json`, "utf8"),
    src: { "main.ts": 'import { used } from "./used.js";\nused();\n', "used.ts": "export function used(): void {}\nexport function idle(): void {}\n", "forgotten.ts": "export const x = 1;\n" },
  });
  const result = spawnSync(process.execPath, [`${ROOT}node_modules/knip/bin/knip.js`, "--no-config-hints"], { cwd: folder, encoding: "utf8", timeout: 60_000 });
  t.equal(result.status, 1, result.stderr);
  t.match(result.stdout, "src/forgotten.ts");
  t.match(result.stdout, "idle");
  t.match(result.stdout, "yaml");
});
