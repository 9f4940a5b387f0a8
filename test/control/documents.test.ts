// docs/configuration.md and docs/api.md name what there is: every option with its default, every error code.
import { readFileSync } from "node:fs";
import t from "tap";
import { ApiError, type ApiErrorCode } from "../../src/control/admin/api-error.js";
import { OPTIONS } from "../../src/control/config/schema.js";

const ROOT = new URL("../../../", import.meta.url);

function page(name: string): string {
  return readFileSync(new URL(`docs/${name}`, ROOT), "utf8");
}

t.test("docs/configuration.md has a row for every option, with its default and meaning, and for nothing else", async (t) => {
  const rows = [...page("configuration.md").matchAll(/^\| `([\w.]+)` \| `([^`]+)` \| (.+?) \| (.+) \|$/gm)].map(([, key, written, , help]) => [key, written, help]);
  t.same(rows, OPTIONS.map(({ key, written, help }) => [key, typeof written === "object" ? JSON.stringify(written) : String(written), help]));
  t.ok(rows.length > 40, `${rows.length} options`);
});

t.test("docs/api.md names every error code under its status", async (t) => {
  const rows = [...page("api.md").matchAll(/^\| (\d{3}) \| (.+) \|$/gm)].flatMap(([, status, codes]) => [...codes!.matchAll(/`(\w+)`/g)].map(([, code]) => [code!, Number(status)] as const));
  t.ok(rows.length >= 12, `${rows.length} codes`);
  for (const [code, status] of rows) t.equal(new ApiError(code as ApiErrorCode, "").status, status, code);
  const source = readFileSync(new URL("src/control/admin/api-error.ts", ROOT), "utf8");
  t.same(rows.map(([code]) => code).sort(), [...source.matchAll(/^ {2}([A-Z_]+): \{ status/gm)].map(([, code]) => code!).sort());
});
