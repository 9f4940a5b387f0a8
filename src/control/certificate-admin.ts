// What `penstock cert` does, for the certs directory of a configuration.
import type { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { StartError } from "../base/errors.js";
import { CA_FILE, CERTIFICATE_FILE, CRL_FILE, loadCertificates, readCertificates, verifierOf, withoutList } from "../security/certificates.js";
import { type ListenerReach, reachOf } from "./certificate-reach.js";
import type { Config } from "./config/config.js";

/** Where client certificates are put, in the certs directory. */
const CLIENTS = "clients";
const MQTTS_PORT = 8883;

type CertificateConfig = Pick<Config, "certs" | "listeners">;

export interface SignedClient {
  readonly certificate: string;
  readonly key: string;
  /** Where it can be tried: port, and what the gateway is verified by. */
  readonly trial: { readonly port: number; readonly ca: string } | null;
  /** What its owner should know before it is relied on. */
  readonly warnings: readonly string[];
}

export interface Revocation {
  readonly path: string;
  /** How many the list holds now. */
  readonly count: number;
  /** Listeners that go on accepting it, since they read another list: listeners.https. */
  readonly acceptedBy: readonly string[];
  readonly warnings: readonly string[];
}

/** @throws StartError CERTIFICATE_BAD */
export async function signClientCertificate(config: CertificateConfig, name: string, options: { readonly out?: string; readonly days: number; readonly mayReplace: boolean }): Promise<SignedClient> {
  const { signClient } = await import("../security/client-certificates.js");
  const files = await signClient(config.certs, name, options.out ?? join(config.certs, CLIENTS), options.days, options.mayReplace, Date.now());
  const asking = reachOf(config, files.certificate, join(config.certs, CRL_FILE));
  const warnings = [...faultsOf(asking), ...asking.filter(({ isTrusting }) => !isTrusting).map(({ key, caPath }) => `${key} does not accept it: its authority is not in ${caPath}`)];
  return { ...files, warnings, trial: asking.some(({ key, isTrusting }) => key === "listeners.mqtts" && isTrusting) ? trialOf(config) : null };
}

/** What is to be said of the listeners, whatever the certificate. */
function faultsOf(asking: readonly ListenerReach[]): string[] {
  if (asking.length === 0) return ["no listener asks for client certificates (listeners.mqtts.client_certificate, listeners.https.client_certificate): nothing changes until one does"];
  return asking.filter(({ fault }) => fault !== "").map(({ key, fault }) => `it is not known whom ${key} trusts: ${fault}`);
}

function trialOf({ certs, listeners }: CertificateConfig): SignedClient["trial"] {
  if (listeners.mqtts === false) return null;
  try {
    loadCertificates(certs, Date.now(), listeners.mqtts);
    const ca = verifierOf(certs, listeners.mqtts);
    // Port 0 is any port that is free.
    return ca === undefined ? null : { port: listeners.mqtts.port === 0 ? MQTTS_PORT : listeners.mqtts.port, ca };
  } catch {
    // There is nothing to try before these certificates are mended; the gateway's start says what is wrong.
    return null;
  }
}

/**
 * Puts a certificate on the list in the certs directory, if a listener that would take the certificate reads that one.
 *
 * @param named a file, or the name of a client under certs/clients
 * @throws StartError CERTIFICATE_BAD
 */
export async function revokeClientCertificate(config: CertificateConfig, named: string): Promise<Revocation> {
  const { revokeCertificate } = await import("../security/client-certificates.js");
  const ofClient = join(config.certs, CLIENTS, `${named}.pem`);
  const path = !named.includes("/") && existsSync(ofClient) ? ofClient : named;
  const list = join(config.certs, CRL_FILE);
  const asking = existsSync(path) ? reachOf(config, path, list) : [];
  const accepting = asking.filter(({ isTrusting, readsList }) => isTrusting && !readsList);
  const warnings = accepting.map(({ key, crlPath }) => `${key} goes on accepting it: it reads ${crlPath}, not ${list}. Set ${key}.crl to ${list}`);
  if (asking.length > 0 && !asking.some(({ isTrusting, readsList }) => isTrusting && readsList)) {
    const reasons = asking.filter(({ isTrusting }) => !isTrusting).map(({ key, caPath }) => `${key} does not accept it anyway: its authority is not in ${caPath}`);
    throw new StartError("CERTIFICATE_BAD", `${path} was not revoked, since no listener would refuse it by ${list}. ${[...warnings, ...reasons].join(". ")}.`);
  }
  const count = await revokeCertificate(config.certs, path, Date.now());
  const text = readFileSync(list, "utf8");
  const refused = asking.filter(({ readsList }) => readsList).flatMap(({ authorities, caPath }) => withoutList(authorities, caPath, text, list));
  return { path, count, acceptedBy: accepting.map(({ key }) => key), warnings: [...faultsOf(asking), ...warnings, ...new Set(refused)] };
}

/** The certificates of a directory, for people. @throws StartError CERTIFICATE_BAD when the revocation list cannot be read */
export async function describeCertificates(certs: string): Promise<string> {
  const clients = join(certs, CLIENTS);
  const ofClients = existsSync(clients) ? readdirSync(clients).filter((name) => name.endsWith(".pem") && !name.endsWith("-key.pem")).sort().map((name) => join(clients, name)) : [];
  const list = join(certs, CRL_FILE);
  const revoked = existsSync(list) ? (await import("../security/client-certificates.js")).revokedSerials(list) : [];
  const paths = [join(certs, CA_FILE), join(certs, CERTIFICATE_FILE), ...ofClients].filter((path) => existsSync(path));
  const parts = paths.flatMap((path) => describe(path, revoked));
  if (existsSync(list)) parts.push(`${list}\n  revoked:     ${String(revoked.length)}`);
  return parts.length === 0 ? `${certs} holds no certificates yet: they are made at the first start.` : parts.join("\n");
}

/** Of ca.pem all: one authority may follow another. Of the others what belongs to the key. */
function describe(path: string, revoked: readonly string[]): readonly string[] {
  try {
    const certificates = readCertificates(path);
    return (basename(path) === CA_FILE ? certificates : certificates.slice(0, 1)).map((certificate) => describeOne(path, certificate, revoked));
  } catch (error) {
    return [`${path}\n  cannot be read: ${(error as Error).message}`];
  }
}

function describeOne(path: string, certificate: X509Certificate, revoked: readonly string[]): string {
  const { subject, issuer, validFrom, validTo, subjectAltName, fingerprint256, serialNumber } = certificate;
  const isOver = Date.parse(validTo) < Date.now();
  const rows: (readonly [string, string])[] = [
    ["subject", oneLine(subject)],
    ["issuer", oneLine(issuer)],
    ...(subjectAltName === undefined ? [] : [["names", subjectAltName] as const]),
    ["valid", `${validFrom} to ${validTo}${isOver ? " (over)" : ""}${revoked.includes(serialNumber.toLowerCase()) ? ", revoked" : ""}`],
    ["fingerprint", fingerprint256],
  ];
  return `${path}\n${rows.map(([name, value]) => `  ${`${name}:`.padEnd(13)}${value}`).join("\n")}`;
}

function oneLine(name: string): string {
  return name.replaceAll("\n", ", ");
}
