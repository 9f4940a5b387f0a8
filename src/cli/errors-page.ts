// Writes docs/errors.md, the users' page of error codes, from the one table of errors. Run by `npm run build`; a test fails when the page is stale.
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ERRORS } from "../base/errors.js";

const PAGE = fileURLToPath(new URL("../../../docs/errors.md", import.meta.url));

/** The page as it should stand in docs/errors.md. */
export function errorsPage(): string {
  const lines = [
    "# Errors",
    "",
    "Every refusal, failed start and lasting trouble carries one of these codes in its log line. Codes are stable: a dashboard or a script may rely on them.",
    "This page is generated from `src/base/errors.ts` by `npm run build`.",
  ];
  for (const [code, entry] of Object.entries(ERRORS)) lines.push("", `## ${code}`, "", entry.what, "", `**What to do:** ${entry.fix}`);
  return `${lines.join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(PAGE, errorsPage());
