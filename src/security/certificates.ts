// The certificates under certs/: checked before use, made at the first start, and read again when they change (certificate-watch.ts).
// On main's thread.
//
//   ca.pem, ca-key.pem   the authority that signs the gateway's own certificate, and the clients' (ca-key.pem is not needed to run)
//   cert.pem, key.pem    what the gateway shows; cert.pem may hold a chain
//   crl.pem              optional: certificates of clients that are not accepted any more
import { createPrivateKey, X509Certificate, type KeyObject } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { StartError } from "../base/errors.js";
import { issuerOfList, subjectOf } from "./distinguished-names.js";
import { pemBlocks, pemBytes } from "./pem.js";
import { looseness } from "./private-file.js";

/** PEM text, checked. */
export interface CertificateFiles {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
  readonly crl?: string;
}

export interface LoadedCertificates {
  readonly files: CertificateFiles;
  /** What the operator should know but what does not stop the start, each with what to do. */
  readonly warnings: readonly string[];
  /** SHA-256 of cert.pem's first certificate, for people to compare. */
  readonly fingerprint: string;
}

export const CERTIFICATE_FILE = "cert.pem";
export const KEY_FILE = "key.pem";
export const CA_FILE = "ca.pem";
export const CA_KEY_FILE = "ca-key.pem";
export const CRL_FILE = "crl.pem";
/** Files of one listener; relative ones lie in the certs directory. */
export interface CertificateNames {
  readonly certificate: string;
  readonly key: string;
  readonly ca: string;
  /** Need not exist under its default name. */
  readonly crl: string;
}

export const DEFAULT_NAMES: CertificateNames = { certificate: CERTIFICATE_FILE, key: KEY_FILE, ca: CA_FILE, crl: CRL_FILE };
const EXPIRY_WARNING_MS = 30 * 24 * 3600 * 1000;

/** True when the directory holds none of the gateway's certificates: then they are made. Some but not all is for the operator to mend. */
export function needsCertificates(directory: string): boolean {
  return [CERTIFICATE_FILE, KEY_FILE, CA_FILE].every((name) => !existsSync(join(directory, name)));
}

/**
 * Reads and checks the certificates.
 *
 * @param directory where relative names are looked for, and the authority's own key
 * @param now Unix milliseconds
 * @throws StartError CERTIFICATE_BAD naming the file, what is wrong with it and what to do
 */
export function loadCertificates(directory: string, now: number, names: CertificateNames = DEFAULT_NAMES): LoadedCertificates {
  const { certificate: certificatePath, key: keyPath, ca: caPath, crl: crlPath } = pathsOf(directory, names);
  const fixes = fixesOf(names);
  const certificate = readPem(certificatePath, fixes.certificate);
  const key = readPem(keyPath, fixes.key);
  const ca = readPem(caPath, fixes.ca);
  const chain = parseChain(certificatePath, certificate);
  const leaf = chain[0]!;
  const authorities = parseChain(caPath, ca);
  checkPermissions(keyPath);
  const caKeyPath = join(directory, CA_KEY_FILE);
  if (existsSync(caKeyPath)) checkPermissions(caKeyPath);
  if (!leaf.checkPrivateKey(parseKey(keyPath, key))) {
    throw bad(`${keyPath} does not belong to ${certificatePath}`, `Put the key there that the certificate was requested with${fixes.remake}`);
  }
  const warnings = [
    ...checkDates(certificatePath, leaf, now, "clients will refuse the gateway", fixes.remake),
    ...authorities.flatMap((authority) => checkDates(caPath, authority, now, "what it signed is refused", fixes.remake)),
  ];
  // A list that was asked for by name and is not there must not pass for an empty one.
  const crl = names.crl !== CRL_FILE || isThere(crlPath) ? readPem(crlPath, fixes.crl) : undefined;
  if (crl !== undefined) warnings.push(...withoutList(authorities, caPath, crl, crlPath));
  return { files: crl === undefined ? { certificate, key, ca } : { certificate, key, ca, crl }, warnings, fingerprint: leaf.fingerprint256 };
}

/** A file by which clients can verify the gateway; none when its certificate comes from an authority that no file here holds. */
export function verifierOf(directory: string, names: CertificateNames): string | undefined {
  const { certificate, ca } = pathsOf(directory, names);
  const chain = pemCertificates(certificate);
  return [ca, join(directory, CA_FILE), certificate].find((path) => isVerifiedBy(chain, path));
}

/** Whether there is a file. One that cannot be looked at, in a directory that may not be searched, is no missing one. */
function isThere(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) !== undefined;
  } catch {
    return true;
  }
}

/** Where a listener's files are. */
export function pathsOf(directory: string, { certificate, key, ca, crl }: CertificateNames): CertificateNames {
  return { certificate: resolve(directory, certificate), key: resolve(directory, key), ca: resolve(directory, ca), crl: resolve(directory, crl) };
}

/** The certificates of a file, at least one. @throws StartError CERTIFICATE_BAD */
export function readCertificates(path: string): readonly X509Certificate[] {
  return parseChain(path, readPem(path, "Put it there, or name another file"));
}

export function isIssuedBy(certificate: X509Certificate, authority: X509Certificate): boolean {
  return certificate.checkIssued(authority) && certificate.verify(authority.publicKey);
}

/** What to do about each file that is missing. To have new ones made helps only where the made ones are used, and all clients pay for it. */
function fixesOf(names: CertificateNames): CertificateNames & { readonly remake: string } {
  const usesMade = names.certificate === CERTIFICATE_FILE && names.key === KEY_FILE && names.ca === CA_FILE;
  const remake = usesMade ? ", or remove cert.pem, key.pem and ca.pem to have new ones made by the next start; all clients need the new ca.pem then, and new certificates if they have any" : "";
  const fixOf = (option: keyof CertificateNames): string => `Put it there${option === "crl" ? "" : remake}, or name another file in the listener's ${option}`;
  return { certificate: fixOf("certificate"), key: fixOf("key"), ca: fixOf("ca"), crl: fixOf("crl"), remake };
}

/** Whether clients that trust a file's self-signed certificates trust the first of a chain. */
function isVerifiedBy(chain: readonly X509Certificate[], path: string): boolean {
  if (chain.length === 0) return false;
  let one = chain[0]!;
  const trusted = pemCertificates(path);
  const known = [...trusted, ...chain];
  for (let depth = 0; depth <= known.length; depth++) {
    const issuer = known.find((other) => isIssuedBy(one, other));
    if (issuer === undefined) return false;
    if (isIssuedBy(issuer, issuer)) return trusted.includes(issuer);
    one = issuer;
  }
  return false;
}

/** The certificates of a file that need not be there, nor be right. */
function pemCertificates(path: string): readonly X509Certificate[] {
  try {
    return readCertificates(path);
  } catch {
    return [];
  }
}

/** Warnings of authorities without a revocation list: OpenSSL asks for one of whoever signed a client's certificate as soon as there is any. */
export function withoutList(authorities: readonly X509Certificate[], caPath: string, crl: string, crlPath: string): readonly string[] {
  const lists = pemBlocks(crl, "X509 CRL");
  if (lists.length === 0) throw bad(`${crlPath} holds no revocation list in PEM form`, "Replace or remove it");
  try {
    const issuers = new Set(lists.map((list) => issuerOfList(pemBytes(list))));
    const names = authorities.filter(({ raw }) => !issuers.has(subjectOf(raw))).map(({ subject }) => subject.replaceAll("\n", ", "));
    return names.map((name) => `${crlPath} has no list of the authority ${name} in ${caPath}: clients whose certificate it signed are refused. Put a list of it, an empty one perhaps, into ${crlPath} as another PEM block, or take the authority out of ${caPath}.`);
  } catch (error) {
    throw bad(`${crlPath} is damaged: ${(error as Error).message}`, "Replace or remove it");
  }
}

function readPem(path: string, fix: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? "unreadable";
    throw bad(`${path} ${code === "ENOENT" ? "is missing" : `cannot be read (${code})`}`, fix);
  }
}

function parseChain(path: string, pem: string): X509Certificate[] {
  const parts = pemBlocks(pem, "CERTIFICATE");
  if (parts.length === 0) throw bad(`${path} holds no certificate in PEM form`, "Replace it with a file that has a line -----BEGIN CERTIFICATE-----");
  try {
    return parts.map((part) => new X509Certificate(part));
  } catch (error) {
    throw bad(`${path} is damaged: ${(error as Error).message}`, "Replace it");
  }
}

/** @throws StartError CERTIFICATE_BAD */
export function parseKey(path: string, pem: string): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch (error) {
    const isEncrypted = pem.includes("ENCRYPTED");
    throw bad(`${path} is no usable private key: ${isEncrypted ? "it is encrypted" : (error as Error).message}`, isEncrypted ? "Store it without a passphrase, with mode 600" : "Replace it");
  }
}

/** Keys are for the gateway's user alone. @throws StartError CERTIFICATE_BAD */
export function checkPermissions(path: string): void {
  const loose = looseness(path, statSync(path).mode);
  if (loose !== "") throw new StartError("CERTIFICATE_BAD", loose);
}

/** An expired certificate is no reason to stop: the box's clock may be wrong, and clients that do not check dates are still served. */
function checkDates(path: string, certificate: X509Certificate, now: number, consequence: string, remake: string): readonly string[] {
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  const fix = `Replace it (it is taken over without a restart)${remake}.`;
  const warnings: string[] = [];
  if (now > to) warnings.push(`${path} expired on ${certificate.validTo}: ${consequence}. ${fix}`);
  else if (to - now < EXPIRY_WARNING_MS) warnings.push(`${path} expires on ${certificate.validTo}. ${fix}`);
  if (now < from) warnings.push(`${path} is valid from ${certificate.validFrom} on only: check this machine's clock.`);
  return warnings;
}

function bad(what: string, fix: string): StartError {
  return new StartError("CERTIFICATE_BAD", `${what}. ${fix}.`);
}
