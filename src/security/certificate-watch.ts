// Sees changed files under certs/ and hands the new certificates over once they are whole and right; until then the old ones stay in use.
// On main's thread.
import { join } from "node:path";
import type { Log } from "../base/log.js";
import { CA_KEY_FILE, DEFAULT_NAMES, loadCertificates, pathsOf, type CertificateFiles, type CertificateNames, type LoadedCertificates } from "./certificates.js";
import { LiveFile } from "./live-file.js";

export interface CertificateWatchOptions {
  /** The certs directory; `names` may lead elsewhere. */
  readonly directory: string;
  readonly names?: CertificateNames;
  readonly log: Log;
  readonly current: LoadedCertificates;
  /** Takes the new ones into use. @throws Error when they cannot be used; the old ones stay */
  readonly apply: (files: CertificateFiles, before: CertificateFiles) => void;
}

export function watchCertificates({ directory, names = DEFAULT_NAMES, log, current, apply }: CertificateWatchOptions): LiveFile<LoadedCertificates> {
  const { certificate, key, ca, crl } = pathsOf(directory, names);
  return new LiveFile({
    // The authority's key is not read, but others must not be able to.
    paths: [certificate, key, ca, crl, join(directory, CA_KEY_FILE)],
    read: () => loadCertificates(directory, Date.now(), names),
    current,
    apply: ({ files, warnings, fingerprint }, { files: before }) => {
      if (files.certificate === before.certificate && files.key === before.key && files.ca === before.ca && files.crl === before.crl) return;
      apply(files, before);
      for (const warning of warnings) log.warn(warning);
      log.info("new certificates are in use for new connections", { fingerprint });
    },
    refusal: `The certificates in ${directory} changed but cannot be used; the old ones stay in use`,
    log,
  });
}
