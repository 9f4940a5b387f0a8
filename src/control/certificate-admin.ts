// What `penstock cert` does, for the certs directory of a configuration.
import { X509Certificate } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { CA_FILE, CERTIFICATE_FILE, CRL_FILE } from "../security/certificates.js";

/** Where client certificates are put, in the certs directory. */
const CLIENTS = "clients";

export interface SignedClient {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
}

/** @throws StartError CERTIFICATE_BAD */
export async function signClientCertificate(certs: string, name: string, options: { readonly out?: string; readonly days: number; readonly mayReplace: boolean }): Promise<SignedClient> {
  const { signClient } = await import("../security/client-certificates.js");
  return { ...(await signClient(certs, name, options.out ?? join(certs, CLIENTS), options.days, options.mayReplace, Date.now())), ca: join(certs, CA_FILE) };
}

/** @param named a file, or the name of a client under certs/clients. @throws StartError CERTIFICATE_BAD */
export async function revokeClientCertificate(certs: string, named: string): Promise<{ readonly path: string; readonly count: number }> {
  const { revokeCertificate } = await import("../security/client-certificates.js");
  const ofClient = join(certs, CLIENTS, `${named}.pem`);
  const path = !named.includes("/") && existsSync(ofClient) ? ofClient : named;
  return { path, count: await revokeCertificate(certs, path, Date.now()) };
}

/** The certificates of a directory, for people. @throws StartError CERTIFICATE_BAD when the revocation list cannot be read */
export async function describeCertificates(certs: string): Promise<string> {
  const clients = join(certs, CLIENTS);
  const ofClients = existsSync(clients) ? readdirSync(clients).filter((name) => name.endsWith(".pem") && !name.endsWith("-key.pem")).sort().map((name) => join(clients, name)) : [];
  const list = join(certs, CRL_FILE);
  const revoked = existsSync(list) ? (await import("../security/client-certificates.js")).revokedSerials(list) : [];
  const paths = [join(certs, CA_FILE), join(certs, CERTIFICATE_FILE), ...ofClients].filter((path) => existsSync(path));
  const parts = paths.map((path) => describe(path, revoked));
  if (existsSync(list)) parts.push(`${list}\n  revoked:     ${String(revoked.length)}`);
  return parts.length === 0 ? `${certs} holds no certificates yet: they are made at the first start.` : parts.join("\n");
}

function describe(path: string, revoked: readonly string[]): string {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(readFileSync(path));
  } catch (error) {
    return `${path}\n  cannot be read: ${(error as Error).message}`;
  }
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
