// Signs client certificates with the gateway's own authority (ca.pem, ca-key.pem), and revokes them (crl.pem). By `penstock cert`, in a process
// of its own: the running gateway sees the changed crl.pem by itself.
import "reflect-metadata";
import { type KeyObject, webcrypto, type X509Certificate as Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
  AuthorityKeyIdentifierExtension, BasicConstraintsExtension, ExtendedKeyUsage, ExtendedKeyUsageExtension, KeyUsageFlags, KeyUsagesExtension,
  SubjectAlternativeNameExtension, SubjectKeyIdentifierExtension, X509Certificate, X509CertificateGenerator, X509Crl, X509CrlEntry, X509CrlGenerator,
} from "@peculiar/x509";
import { StartError } from "../base/errors.js";
import { ALGORITHM, CLOCK_EARLIEST, isDnsName, makePair, serialNumber, VALID_FROM, writeWhole, YEAR_MS } from "./certificate-maker.js";
import { CA_FILE, CA_KEY_FILE, checkPermissions, CRL_FILE, isIssuedBy, parseKey, readCertificates } from "./certificates.js";
import { FileChange } from "./file-change.js";
import { pemBlock, pemBlocks } from "./pem.js";

/** What a client's name may be: it becomes a file name, and perhaps a user or client id, where + and / mean something else. */
const NAME = /^[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}$/;
/** A list that is over refuses every client, so ours never is. */
const CRL_YEARS = 100;

export interface ClientFiles {
  readonly certificate: string;
  readonly key: string;
}

/** The authority in ca.pem that ca-key.pem belongs to. */
interface Authority {
  readonly certificate: X509Certificate;
  /** The other ones in ca.pem. */
  readonly others: readonly X509Certificate[];
  readonly key: KeyObject;
  readonly algorithm: typeof ALGORITHM | { readonly name: string; readonly hash: string; readonly namedCurve?: string };
}

/**
 * Makes a key and a certificate for a client: `{name}.pem` and `{name}-key.pem` (mode 600) in `out`.
 *
 * @param now Unix milliseconds
 * @throws StartError CERTIFICATE_BAD what is in the way and what to do
 */
export async function signClient(directory: string, name: string, out: string, days: number, mayReplace: boolean, now: number): Promise<ClientFiles> {
  if (!NAME.test(name)) throw bad(`"${name}" cannot be a client's name`, "Use 1 to 64 letters, digits, and . _ - @; the first is a letter, a digit or _");
  const files = { certificate: join(out, `${name}.pem`), key: join(out, `${name}-key.pem`) };
  const existing = [files.certificate, files.key].find((path) => existsSync(path));
  if (existing !== undefined && !mayReplace) throw bad(`${existing} is there already`, "Choose another name, or add --replace for a new certificate and key");
  const authority = readAuthority(directory);
  const signingKey = await signingKeyOf(authority);
  const own = await makePair();
  const start = Math.max(now, CLOCK_EARLIEST);
  const notAfter = new Date(Math.min(start + days * 24 * 3600 * 1000, authority.certificate.notAfter.getTime()));
  const certificate = await X509CertificateGenerator.create(
    {
      subject: [{ CN: [name] }], issuer: authority.certificate.subjectName, publicKey: own.keys.publicKey, signingKey, signingAlgorithm: authority.algorithm,
      serialNumber: serialNumber(), notBefore: VALID_FROM, notAfter,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.clientAuth]),
        ...(isDnsName(name) ? [new SubjectAlternativeNameExtension([{ type: "dns", value: name }])] : []),
        await SubjectKeyIdentifierExtension.create(own.keys.publicKey, false, webcrypto),
        await identifierOf(authority.certificate),
      ],
    },
    webcrypto,
  );
  mkdirSync(out, { recursive: true, mode: 0o700 });
  writeWhole(files.key, own.pem, 0o600);
  writeWhole(files.certificate, `${certificate.toString("pem")}\n`, 0o644);
  return files;
}

/**
 * Puts a certificate on the list of those that are not accepted any more.
 *
 * @returns how many are on it now
 * @throws StartError CERTIFICATE_BAD
 */
export async function revokeCertificate(directory: string, path: string, now: number): Promise<number> {
  const certificate = readCertificates(path)[0]!;
  const authority = readAuthority(directory, { path, certificate });
  const list = join(directory, CRL_FILE);
  const change = new FileChange(list, 0o644, "CERTIFICATE_BAD", "penstock cert revoke");
  try {
    const { text, count } = await addRevoked(authority, list, certificate, now);
    change.commit(text);
    return count;
  } finally {
    change.end();
  }
}

/** @returns what the file is to hold now, and how many are on the authority's own list */
async function addRevoked(authority: Authority, list: string, certificate: Certificate, now: number): Promise<{ readonly text: string; readonly count: number }> {
  const text = existsSync(list) ? readFileSync(list, "utf8") : "";
  const before = text === "" ? undefined : await listOf(authority, list, text);
  const { serialNumber: revoked } = new X509Certificate(certificate.raw);
  const entries = (before?.crl.entries ?? []).filter(({ serialNumber: serial }) => serial !== revoked);
  entries.push(new X509CrlEntry(revoked, new Date(Math.max(now, CLOCK_EARLIEST)), []));
  const crl = await X509CrlGenerator.create(
    {
      issuer: authority.certificate.subjectName, signingKey: await signingKeyOf(authority), signingAlgorithm: authority.algorithm, thisUpdate: VALID_FROM,
      nextUpdate: new Date(Math.max(now, CLOCK_EARLIEST) + CRL_YEARS * YEAR_MS),
      entries: entries.map((entry) => ({ serialNumber: entry.serialNumber, revocationDate: entry.revocationDate })),
      extensions: [await identifierOf(authority.certificate)],
    },
    webcrypto,
  );
  const block = pemBlock("X509 CRL", new Uint8Array(crl.rawData));
  // Lists of other authorities stay as they are: what these revoked must not be let in again.
  const added = before === undefined ? `${text === "" ? "" : `${text.trimEnd()}\n`}${block}\n` : text.replace(before.block, () => block);
  return { text: added, count: entries.length };
}

/** Serial numbers on all lists of a file, in lower-case hex. @throws StartError CERTIFICATE_BAD */
export function revokedSerials(path: string): readonly string[] {
  // DER has a zero in front of a number that would be negative otherwise.
  return readLists(path, readFileSync(path, "utf8")).flatMap(({ crl }) => crl.entries.map(({ serialNumber: serial }) => serial.toLowerCase().replace(/^(?:00)+(?=..)/, "")));
}

interface RevocationList {
  readonly block: string;
  readonly crl: X509Crl;
}

/** @throws StartError CERTIFICATE_BAD when a list cannot be read, or there is none */
function readLists(path: string, text: string): readonly RevocationList[] {
  let fault = "there is no PEM block of that kind";
  try {
    const lists = pemBlocks(text, "X509 CRL").map((block) => ({ block, crl: new X509Crl(block) }));
    if (lists.length > 0) return lists;
  } catch (error) {
    fault = (error as Error).message;
  }
  throw bad(`${path} holds no revocation list that can be read (${fault})`, "Replace or remove it");
}

/** The authority's own list among those of a file. An authority that follows another may bear the same name, with another key. */
async function listOf({ certificate, others }: Authority, path: string, text: string): Promise<RevocationList | undefined> {
  for (const list of readLists(path, text).filter(({ crl }) => crl.issuer === certificate.subject)) {
    if (await isSignedBy(list.crl, certificate)) return list;
    const signatures = await Promise.all(others.map((other) => isSignedBy(list.crl, other)));
    if (signatures.includes(true)) continue;
    throw bad(`${path} holds a list that bears the name of the authority (${certificate.subject}) but was not signed by it`, "Put that authority's list in its place, or remove it to begin a new one");
  }
  return undefined;
}

async function isSignedBy(list: X509Crl, authority: X509Certificate): Promise<boolean> {
  try {
    return await list.verify({ publicKey: authority.publicKey }, webcrypto);
  } catch {
    // A signature of another kind than the authority's key makes.
    return false;
  }
}

/**
 * While one authority follows another ca.pem holds both: the one whose key is at hand is meant.
 *
 * @param issued what it must have signed. One key may have several certificates, with names of their own; a list of the wrong name revokes nothing
 */
function readAuthority(directory: string, issued?: { readonly path: string; readonly certificate: Certificate }): Authority {
  const keyPath = join(directory, CA_KEY_FILE);
  const path = join(directory, CA_FILE);
  if (!existsSync(keyPath)) throw bad(`${keyPath} is missing`, "Sign where the authority's key is kept; without one, start the gateway once with a TLS listener and an empty certs directory to have both made");
  checkPermissions(keyPath);
  const key = parseKey(keyPath, readFileSync(keyPath, "utf8"));
  const authorities = readCertificates(path);
  const owned = authorities.filter((certificate) => certificate.checkPrivateKey(key));
  if (owned.length === 0) {
    throw bad(`${keyPath} belongs to none of the certificates in ${path}`, "Put the key there that belongs to the authority which signs, or add that authority's certificate to ca.pem as another PEM block");
  }
  const signers = issued === undefined ? owned : owned.filter((certificate) => isIssuedBy(issued.certificate, certificate));
  if (issued !== undefined && signers.length === 0) {
    throw bad(`${issued.path} was not signed by the authority of ${path} that ${keyPath} belongs to`, "Only that authority's certificates can be revoked here; revoke others where their authority's key is kept");
  }
  const latest = signers.reduce((best, one) => (Date.parse(one.validTo) > Date.parse(best.validTo) ? one : best));
  const algorithm = algorithmOf(key.asymmetricKeyType, key.asymmetricKeyDetails?.namedCurve);
  if (algorithm === undefined) throw bad(`${keyPath} is no key that can sign here`, "Use an EC key (P-256, P-384) or an RSA key");
  const others = authorities.filter((certificate) => !owned.includes(certificate)).map(({ raw }) => new X509Certificate(raw));
  return { certificate: new X509Certificate(latest.raw), others, key, algorithm };
}

/** Names the key that signs, as its certificate names it: RFC 5280 §4.2.1.1 leaves open how that is made. */
async function identifierOf({ publicKey, extensions }: X509Certificate): Promise<AuthorityKeyIdentifierExtension> {
  const own = extensions.find((extension) => extension instanceof SubjectKeyIdentifierExtension);
  return own === undefined ? AuthorityKeyIdentifierExtension.create(publicKey, false, webcrypto) : new AuthorityKeyIdentifierExtension(own.keyId);
}

function signingKeyOf({ key, algorithm }: Authority): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey("pkcs8", key.export({ type: "pkcs8", format: "der" }), algorithm, false, ["sign"]);
}

function algorithmOf(type: string | undefined, curve: string | undefined): Authority["algorithm"] | undefined {
  if (type === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  if (type !== "ec") return undefined;
  if (curve === "prime256v1") return ALGORITHM;
  return curve === "secp384r1" ? { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" } : undefined;
}

function bad(what: string, fix: string): StartError {
  return new StartError("CERTIFICATE_BAD", `${what}. ${fix}.`);
}
