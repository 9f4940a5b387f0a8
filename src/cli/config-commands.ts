// `config check` and `config show`.
import { ConfigError } from "../base/errors.js";
import { loadConfig, type LoadedConfig } from "../control/config/config.js";
import { EXIT, type ExitCode } from "../control/exit-codes.js";

/** Findings as lines for people. */
export function describeFindings(error: ConfigError): string {
  const lines = error.findings.map((finding) => `  ${finding.key}: ${finding.value}\n    allowed: ${finding.allowed}\n    ${finding.fix}`);
  return `The configuration has ${error.findings.length === 1 ? "one mistake" : `${String(error.findings.length)} mistakes`}:\n${lines.join("\n")}`;
}

/** Reads the configuration of this process's environment and working directory. @returns undefined after printing the findings */
export function loadOrExplain(file: string | undefined): LoadedConfig | undefined {
  try {
    return loadConfig({ ...(file === undefined ? {} : { file }), environment: process.env, workingDirectory: process.cwd() });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    console.error(describeFindings(error));
    return undefined;
  }
}

export function checkConfig(file: string | undefined): ExitCode {
  const loaded = loadOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  for (const warning of loaded.warnings) console.error(`Warning: ${warning}`);
  console.log(`${loaded.file ?? "No file: the defaults"}: no mistakes`);
  return EXIT.OK;
}

export function showConfig(file: string | undefined, withOrigin: boolean): ExitCode {
  const loaded = loadOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  const width = Math.max(...loaded.values.map(({ key, written }) => key.length + written.length + 2));
  for (const { key, written, origin } of loaded.values) {
    const line = `${key}: ${written}`;
    console.log(withOrigin ? `${line.padEnd(width)}  # ${origin}` : line);
  }
  return EXIT.OK;
}
