// Sees changed files under certs/ and hands the new certificates over once they are whole and right; until then the old ones stay in use.
// On main's thread.
import { watch, type FSWatcher } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Log } from "../base/log.js";
import { DEFAULT_NAMES, loadCertificates, type CertificateFiles, type CertificateNames } from "./certificates.js";

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
  private readonly watchers: FSWatcher[] = [];
  private timer: NodeJS.Timeout | undefined;

  constructor(options: CertificateWatchOptions) {
    this.options = options;
    this.current = options.current;
    const names = Object.values({ ...(options.names ?? DEFAULT_NAMES) }) as readonly string[];
    for (const directory of new Set([options.directory, ...names.map((name) => dirname(resolve(options.directory, name)))])) this.watch(directory);
  }

  private watch(directory: string): void {
    const { log } = this.options;
    try {
      const watcher = watch(directory, { persistent: false }, () => this.settle());
      watcher.on("error", (error) => log.warn(`${directory} cannot be watched any more; after a change of certificates send SIGHUP`, { error: error.message }));
      this.watchers.push(watcher);
    } catch (error) {
      log.warn(`${directory} cannot be watched; after a change of certificates send SIGHUP`, { error: (error as Error).message });
    }
  }

  private settle(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.reload(), this.options.settleMs ?? SETTLE_MS);
    this.timer.unref();
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
    clearTimeout(this.timer);
    for (const watcher of this.watchers.splice(0)) watcher.close();
  }
}
