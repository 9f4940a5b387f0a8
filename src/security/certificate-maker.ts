// Makes certs/ at the first start: an authority of the gateway's own and a certificate for this machine's names, both ECDSA P-256.
// Loaded only then (the X.509 library takes a quarter of a second). On main's thread; needs no openssl program.
import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeFileSync } from "node:fs";
import { hostname, networkInterfaces } from "node:os";
import { join } from "node:path";
import {
  AuthorityKeyIdentifierExtension, BasicConstraintsExtension, ExtendedKeyUsage, ExtendedKeyUsageExtension, KeyUsageFlags, KeyUsagesExtension,
  SubjectAlternativeNameExtension, SubjectKeyIdentifierExtension, X509CertificateGenerator, type JsonGeneralName,
} from "@peculiar/x509";
import { CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, KEY_FILE } from "./certificates.js";

export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Backdated: the box's clock, or a client's, may be behind. */
export const VALID_FROM = new Date("2020-01-01T00:00:00Z");
/** A box without a clock battery starts in 1970; its certificates must not be over before it is set. */
export const CLOCK_EARLIEST = Date.parse("2026-01-01T00:00:00Z");
export const YEAR_MS = 365.25 * 24 * 3600 * 1000;
const CA_YEARS = 20;
const CERTIFICATE_YEARS = 10;

interface Pair {
  readonly keys: webcrypto.CryptoKeyPair;
  readonly pem: string;
}

/**
 * Writes ca.pem, ca-key.pem, cert.pem and key.pem. cert.pem comes last: a start that was cut off is seen as incomplete, not as usable.
 *
 * @param now Unix milliseconds
 * @returns the names and addresses in the certificate
 */
export async function makeCertificates(directory: string, now: number): Promise<readonly string[]> {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const start = Math.max(now, CLOCK_EARLIEST);
  const authority = await makePair();
  const own = await makePair();
  const names = localNames();
  const authorityName = `CN=Penstock CA ${commonName(hostname())} ${webcrypto.randomUUID().slice(0, 8)}`;
  const authorityIdentifier = await SubjectKeyIdentifierExtension.create(authority.keys.publicKey, false, webcrypto);
  const authorityCertificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: authorityName, keys: authority.keys, signingAlgorithm: ALGORITHM, serialNumber: serialNumber(),
      notBefore: VALID_FROM, notAfter: new Date(start + CA_YEARS * YEAR_MS),
      extensions: [new BasicConstraintsExtension(true, 0, true), new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true), authorityIdentifier],
    },
    webcrypto,
  );
  const certificate = await X509CertificateGenerator.create(
    {
      subject: `CN=${commonName(hostname())}`, issuer: authorityName, publicKey: own.keys.publicKey, signingKey: authority.keys.privateKey, signingAlgorithm: ALGORITHM,
      serialNumber: serialNumber(), notBefore: VALID_FROM, notAfter: new Date(start + CERTIFICATE_YEARS * YEAR_MS),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension([...names]),
        await SubjectKeyIdentifierExtension.create(own.keys.publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(authority.keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  writeWhole(join(directory, CA_KEY_FILE), authority.pem, 0o600);
  writeWhole(join(directory, KEY_FILE), own.pem, 0o600);
  writeWhole(join(directory, CA_FILE), `${authorityCertificate.toString("pem")}\n`, 0o644);
  writeWhole(join(directory, CERTIFICATE_FILE), `${certificate.toString("pem")}\n`, 0o644);
  return names.map((name) => name.value);
}

export async function makePair(): Promise<Pair> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const { subtle } = webcrypto;
  return {
    pem: privateKey.export({ type: "pkcs8", format: "pem" }) as string,
    keys: {
      privateKey: await subtle.importKey("pkcs8", privateKey.export({ type: "pkcs8", format: "der" }), ALGORITHM, true, ["sign"]),
      publicKey: await subtle.importKey("spki", publicKey.export({ type: "spki", format: "der" }), ALGORITHM, true, ["verify"]),
    },
  };
}

/** How clients on this network may call this machine. */
function localNames(): JsonGeneralName[] {
  const host = hostname();
  const addresses = Object.values(networkInterfaces()).flatMap((list) => (list ?? []).map((one) => one.address.split("%")[0]!));
  const names = new Set(["localhost", ...(isDnsName(host) ? [host, ...(host.includes(".") ? [] : [`${host}.local`])] : [])]);
  const all = new Set(["127.0.0.1", "::1", ...addresses]);
  return [...[...names].map((value) => ({ type: "dns" as const, value })), ...[...all].map((value) => ({ type: "ip" as const, value }))];
}

export function isDnsName(name: string): boolean {
  return name !== "localhost" && /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i.test(name) && name.length <= 253;
}

/** Within the 64 characters of X.520's upper bound, and without what a distinguished name gives a meaning to. */
function commonName(host: string): string {
  return host.replaceAll(/[^a-z0-9.-]/gi, "").slice(0, 40) || "gateway";
}

/** 127 random bits; positive, as RFC 5280 §4.1.2.2 wants. */
export function serialNumber(): string {
  const bytes = Buffer.from(webcrypto.getRandomValues(new Uint8Array(16)));
  bytes[0] = (bytes[0]! & 0x7f) | 0x40;
  return bytes.toString("hex");
}

/** Whole or not at all: written beside, synced, renamed. The mode is set before a byte is in it. */
export function writeWhole(path: string, text: string, mode: number): void {
  const temporary = `${path}.new`;
  const file = openSync(temporary, "w", mode);
  try {
    chmodSync(temporary, mode);
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  renameSync(temporary, path);
}
