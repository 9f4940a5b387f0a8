// The certificates of all TLS listeners: read and checked at the start, given to the front, and again when their files change. On main's thread.
import { StartError } from "../base/errors.js";
import type { Log } from "../base/log.js";
import type { ClientTrust } from "../base/messages.js";
import type { Front } from "../reactor/reactor.js";
import { loadCertificates, verifierOf, type CertificateFiles, type CertificateNames, type LoadedCertificates } from "../security/certificates.js";
import { watchCertificates } from "../security/certificate-watch.js";
import type { LiveFile } from "../security/live-file.js";
import { tlsListeners } from "./certificate-reach.js";
import type { Config } from "./config/config.js";
import { HTTPS_ALPN, HTTPS_CONTEXT, MQTT_ALPN, MQTT_CONTEXT } from "./listeners.js";

/** By listener: its secure context at the front and the protocols that it offers. */
const CONTEXTS = { mqtts: { context: MQTT_CONTEXT, alpn: MQTT_ALPN }, https: { context: HTTPS_CONTEXT, alpn: HTTPS_ALPN } } as const;

interface Entry {
  readonly name: string;
  readonly context: string;
  readonly alpn: readonly string[];
  readonly clientCertificate: "off" | "optional" | "required";
  readonly names: CertificateNames;
  readonly loaded: LoadedCertificates;
}

export class ListenerCertificates {
  /** What clients verify the gateway by, for people; undefined when no file here does. */
  readonly caPath: string | undefined;
  private readonly directory: string;
  private readonly log: Log;
  private readonly entries: readonly Entry[];
  private watches: readonly LiveFile<LoadedCertificates>[] = [];

  /**
   * @param now Unix milliseconds
   * @throws StartError CERTIFICATE_BAD
   */
  constructor(config: Pick<Config, "certs" | "listeners">, log: Log, now: number) {
    this.directory = config.certs;
    this.log = log;
    // Two listeners with the same files have the same to say.
    const warnings = new Set<string>();
    this.entries = tlsListeners(config).map(({ name, options }): Entry => {
      const { certificate, key, ca, crl, client_certificate: clientCertificate } = options;
      const names = { certificate, key, ca, crl };
      const loaded = loadCertificates(this.directory, now, names);
      for (const warning of loaded.warnings) warnings.add(warning);
      return { name, ...CONTEXTS[name], clientCertificate, names, loaded };
    });
    for (const warning of warnings) log.warn(warning);
    const [first] = this.entries;
    this.caPath = first === undefined ? undefined : verifierOf(this.directory, first.names);
  }

  /**
   * Gives the front what was read, and from now on what changes.
   *
   * @param onTrust called after a change of authority or list: clients that are connected are to be looked at
   * @throws StartError CERTIFICATE_BAD
   */
  use(front: Front, onTrust: (trust: ClientTrust) => void): void {
    for (const entry of this.entries) this.apply(front, entry, entry.loaded.files);
    this.watches = this.entries.map((entry) => watchCertificates({
      directory: this.directory, names: entry.names, log: this.log, current: entry.loaded,
      apply: (files, before) => {
        const context = this.apply(front, entry, files);
        const isSame = files.ca === before.ca && files.crl === before.crl;
        if (!isSame && entry.clientCertificate !== "off") onTrust({ listener: entry.name, ca: files.ca, crl: files.crl ?? "", context });
      },
    }));
  }

  /** Reads the files again (SIGHUP). */
  reload(): void {
    for (const watch of this.watches) watch.reload();
  }

  close(): void {
    for (const watch of this.watches) watch.close();
  }

  /** @returns the number of the secure context that holds now */
  private apply(front: Front, entry: Entry, files: CertificateFiles): number {
    const { name, context, alpn, clientCertificate } = entry;
    try {
      return front.setContext(context, { certificate: files.certificate, key: files.key, ca: files.ca, ...(files.crl === undefined ? {} : { crl: files.crl }), clientCertificate, alpn });
    } catch (error) {
      throw new StartError("CERTIFICATE_BAD", `the certificates of listeners.${name} cannot be used: ${(error as Error).message}`);
    }
  }
}
