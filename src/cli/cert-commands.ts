// `cert client`, `cert revoke` and `cert show`.
import { StartError } from "../base/errors.js";
import { describeCertificates, revokeClientCertificate, signClientCertificate } from "../control/certificate-admin.js";
import { EXIT, type ExitCode } from "../control/exit-codes.js";
import type { LoadedConfig } from "../control/config/config.js";
import { loadOrExplain } from "./config-commands.js";

const DAYS_MAX = 36_500;

export interface ClientOptions {
  readonly out?: string;
  readonly days: string;
  readonly replace?: boolean;
}

export async function certClient(file: string | undefined, name: string, options: ClientOptions): Promise<ExitCode> {
  const days = Number(options.days);
  if (!Number.isInteger(days) || days < 1 || days > DAYS_MAX) {
    console.error(`--days ${options.days}: a whole number from 1 to ${String(DAYS_MAX)} is allowed`);
    return EXIT.CONFIG;
  }
  return explained(file, async (config) => {
    const { certificate, key, trial, warnings } = await signClientCertificate(config, name, { days, mayReplace: options.replace === true, ...(options.out === undefined ? {} : { out: options.out }) });
    warn(warnings);
    const attempt = trial === null ? "" : `\n\nTry it:  mosquitto_pub -h localhost -p ${String(trial.port)} --cafile ${trial.ca} --cert ${certificate} --key ${key} -t devices/${name}/telemetry -m '{"value": 1}'`;
    return `${certificate}\n${key}${attempt}`;
  });
}

export async function certRevoke(file: string | undefined, named: string): Promise<ExitCode> {
  return explained(file, async (config) => {
    const { path, count, acceptedBy, warnings } = await revokeClientCertificate(config, named);
    warn(warnings);
    const but = acceptedBy.length === 0 ? "" : `, but not at ${acceptedBy.join(" and ")}`;
    return `${path} is revoked (${String(count)} on the list). A running gateway refuses it from about a second on, and ends its connections${but}.`;
  });
}

export async function certShow(file: string | undefined): Promise<ExitCode> {
  return explained(file, ({ certs }) => describeCertificates(certs));
}

function warn(warnings: readonly string[]): void {
  for (const warning of warnings) console.error(`Warning: ${warning.replace(/\.?$/, ".")}`);
}

async function explained(file: string | undefined, run: (config: LoadedConfig["config"]) => Promise<string>): Promise<ExitCode> {
  const loaded = loadOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  try {
    console.log(await run(loaded.config));
    return EXIT.OK;
  } catch (error) {
    // A directory that is not there or not ours, a full disk: Node's words name path and reason.
    if (!(error instanceof StartError) && (error as NodeJS.ErrnoException).syscall === undefined) throw error;
    console.error((error as Error).message);
    return EXIT.START;
  }
}
