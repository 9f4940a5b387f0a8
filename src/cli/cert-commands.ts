// `cert client`, `cert revoke` and `cert show`.
import { StartError } from "../base/errors.js";
import { describeCertificates, revokeClientCertificate, signClientCertificate } from "../control/certificate-admin.js";
import { EXIT, type ExitCode } from "../control/exit-codes.js";
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
  return inDirectory(file, async (certs) => {
    const signed = await signClientCertificate(certs, name, { days, mayReplace: options.replace === true, ...(options.out === undefined ? {} : { out: options.out }) });
    return `${signed.certificate}\n${signed.key}\n\nTry it:  mosquitto_pub -h localhost -p 8883 --cafile ${signed.ca} --cert ${signed.certificate} --key ${signed.key} -t devices/${name}/telemetry -m '{"value": 1}'`;
  });
}

export async function certRevoke(file: string | undefined, named: string): Promise<ExitCode> {
  return inDirectory(file, async (certs) => {
    const { path, count } = await revokeClientCertificate(certs, named);
    return `${path} is revoked (${String(count)} on the list). A running gateway refuses it from its next connection on; one that is open goes on until it ends.`;
  });
}

export async function certShow(file: string | undefined): Promise<ExitCode> {
  return inDirectory(file, describeCertificates);
}

async function inDirectory(file: string | undefined, run: (certs: string) => Promise<string>): Promise<ExitCode> {
  const loaded = loadOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  try {
    console.log(await run(loaded.config.certs));
    return EXIT.OK;
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    console.error(error.message);
    return EXIT.START;
  }
}
