// What tests of configuration and access rules share.
import { ConfigError, type ConfigFinding } from "../../../src/base/errors.js";

/** What is found wrong; empty when nothing is. */
export function findingsOf(run: () => unknown): readonly ConfigFinding[] {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.findings;
    throw error;
  }
  return [];
}
