// `config check` and `config show`.
import { ConfigError } from "../base/errors.js";
import { type ConfigSource, loadConfig, type LoadedConfig, type LoadedOptions, loadOptions, type ShownValue } from "../control/config/config.js";
import { EXIT, type ExitCode } from "../control/exit-codes.js";

/** Findings as lines for people. */
export function describeFindings(error: ConfigError): string {
  const lines = error.findings.map((finding) => `  ${finding.key}: ${finding.value}\n    allowed: ${finding.allowed}\n    ${finding.fix}`);
  return `The configuration has ${error.findings.length === 1 ? "one mistake" : `${String(error.findings.length)} mistakes`}:\n${lines.join("\n")}`;
}

/** Reads the options of this process's environment and working directory. @returns undefined after printing the findings */
export function loadOrExplain(file: string | undefined): LoadedOptions | undefined {
  return explained(file, loadOptions);
}

/** The same with the access rules. */
export function loadAllOrExplain(file: string | undefined): LoadedConfig | undefined {
  return explained(file, loadConfig);
}

function explained<T>(file: string | undefined, load: (source: ConfigSource) => T): T | undefined {
  try {
    return load({ ...(file === undefined ? {} : { file }), environment: process.env, workingDirectory: process.cwd() });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(describeFindings(error));
    return undefined;
  }
}

export function checkConfig(file: string | undefined): ExitCode {
  const loaded = loadAllOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  for (const warning of loaded.warnings) console.error(`Warning: ${warning}`);
  console.log(`${loaded.file ?? "No file: the defaults"}: no mistakes`);
  return EXIT.OK;
}

export function showConfig(file: string | undefined, withOrigin: boolean): ExitCode {
  const loaded = loadAllOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  console.log(renderConfig(loaded.values, withOrigin));
  return EXIT.OK;
}

/** The values as a configuration file, with comments behind them. */
export function renderConfig(values: readonly ShownValue[], withOrigin: boolean): string {
  const lines: { readonly text: string; readonly comment: string }[] = [];
  let sections: readonly string[] = [];
  for (const { key, written, origin, decided } of values) {
    const path = key.split(".");
    for (let depth = 0; depth < path.length - 1; depth++) {
      const isOpen = path.slice(0, depth + 1).every((name, index) => sections[index] === name);
      if (!isOpen) lines.push({ text: `${"  ".repeat(depth)}${path[depth]!}:`, comment: "" });
    }
    sections = path.slice(0, -1);
    const notes = [...(withOrigin ? [origin] : []), ...(decided === undefined ? [] : [`here: ${decided}`])];
    lines.push({ text: `${"  ".repeat(path.length - 1)}${path.at(-1)!}: ${written}`, comment: notes.length === 0 ? "" : `  # ${notes.join(", ")}` });
  }
  const width = Math.max(...lines.map(({ text }) => text.length));
  return lines.map(({ text, comment }) => (comment === "" ? text : text.padEnd(width) + comment)).join("\n");
}
