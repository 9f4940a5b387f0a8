// Writes native/core/layout.h from layout.ts, so that TypeScript and C++ can't disagree about shared memory.
// Run by `npm run build` (node dist/src/ring/generate-header.js); test/ring/generate-header.test.ts fails when the committed file is stale.
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import * as layout from "./layout.js";

/** The generated file, seen from dist/src/ring. */
export const HEADER_PATH = new URL("../../../native/core/layout.h", import.meta.url);

/** The text that native/core/layout.h must have: one constant per value, `GROUP_NAME` for members of a group, in alphabetical order of groups. */
export function headerText(): string {
  const lines = ["// Generated from src/ring/layout.ts by src/ring/generate-header.ts, where the meaning of every value stands. Do not edit.", "#pragma once", "#include <cstdint>", "", "namespace penstock {", ""];
  for (const [group, value] of Object.entries(layout)) {
    if (typeof value === "number") {
      lines.push(constant(group, value));
      continue;
    }
    for (const [name, member] of Object.entries(value)) lines.push(constant(`${group}_${name}`, member));
  }
  lines.push("", "}  // namespace penstock", "");
  return lines.join("\n");
}

function constant(name: string, value: number): string {
  if (!Number.isInteger(value) || value < 0 || value > 0xffff_ffff) throw new Error(`${name} = ${value} is no u32`);
  return `inline constexpr uint32_t ${name} = ${value}u;`;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const text = headerText();
  let old = "";
  try {
    old = readFileSync(HEADER_PATH, "utf8");
  } catch {
    // There is none yet.
  }
  // An unchanged file keeps its time, so that the native build stays a matter of a second.
  if (old !== text) writeFileSync(HEADER_PATH, text);
}
