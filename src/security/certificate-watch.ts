// Sees changed files under certs/ and hands the new certificates over once they are whole and right; until then the old ones stay in use.
// On main's thread.
import { dirname, resolve } from "node:path";
import type { Log } from "../base/log.js";
import { DEFAULT_NAMES, loadCertificates, type CertificateFiles, type CertificateNames } from "./certificates.js";
import { SettledWatch } from "./settled-watch.js";

/** Several files are replaced one after the other: wait until they have been still for this long. */
const SETTLE_MS = 500;

export interface CertificateWatchOptions {
  /** The certs directory; `names` may lead elsewhere. */
  readonly directory: string;
  readonly names?: CertificateNames;
  readonly log: Log;
  readonly current: CertificateFiles;
  /** Takes the new ones into use. @throws Error when they cannot be used; the old ones stay */
  readonly apply: (files: CertificateFiles) => void;
  readonly settleMs?: number;
}

export class CertificateWatch {
  private readonly options: CertificateWatchOptions;
  private current: CertificateFiles;
  private readonly watch: SettledWatch;

  constructor(options: CertificateWatchOptions) {
    this.options = options;
    this.current = options.current;
    const { directory, log, settleMs } = options;
    const names = Object.values({ ...(options.names ?? DEFAULT_NAMES) }) as readonly string[];
    this.watch = new SettledWatch({
      directories: [directory, ...names.map((name) => dirname(resolve(directory, name)))],
      settleMs: settleMs ?? SETTLE_MS,
      concerns: () => true,
      onSettled: () => this.reload(),
      onLost: (lost, error) => log.warn(`${lost} cannot be watched; after a change of certificates send SIGHUP`, { error: error.message }),
    });
  }

  /** Reads the files now (SIGHUP). */
  reload(): void {
    const { directory, log, apply } = this.options;
    try {
      const { files, warnings, fingerprint } = loadCertificates(directory, Date.now(), this.options.names);
      if (files.certificate === this.current.certificate && files.key === this.current.key && files.ca === this.current.ca && files.crl === this.current.crl) return;
      apply(files);
      this.current = files;
      for (const warning of warnings) log.warn(warning);
      log.info("new certificates are in use for new connections", { fingerprint });
    } catch (error) {
      log.warn(`The certificates in ${directory} changed but cannot be used; the old ones stay in use: ${(error as Error).message}`);
    }
  }

  close(): void {
    this.watch.close();
  }
}
