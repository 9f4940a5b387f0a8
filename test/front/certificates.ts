// Authorities, certificates and revocation lists for the tests of TLS, made in memory (ECDSA P-256).
import "reflect-metadata";
import { generateKeyPairSync, webcrypto } from "node:crypto";
import { BasicConstraintsExtension, KeyUsageFlags, KeyUsagesExtension, SubjectAlternativeNameExtension, X509CertificateGenerator, X509CrlGenerator, type JsonGeneralName, type X509Certificate } from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 24 * 3600 * 1000;

export interface Issued {
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly key: string;
  readonly serialNumber: string;
}

async function makeKeys(): Promise<{ readonly pair: webcrypto.CryptoKeyPair; readonly pem: string }> {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pair = {
    privateKey: await webcrypto.subtle.importKey("pkcs8", privateKey.export({ type: "pkcs8", format: "der" }), ALGORITHM, true, ["sign"]),
    publicKey: await webcrypto.subtle.importKey("spki", publicKey.export({ type: "spki", format: "der" }), ALGORITHM, true, ["verify"]),
  };
  return { pair, pem: privateKey.export({ type: "pkcs8", format: "pem" }) as string };
}

export class Authority {
  readonly certificate: string;
  private readonly own: X509Certificate;
  private readonly keys: webcrypto.CryptoKeyPair;

  private constructor(own: X509Certificate, keys: webcrypto.CryptoKeyPair) {
    this.own = own;
    this.keys = keys;
    this.certificate = `${own.toString("pem")}\n`;
  }

  static async create(name: string): Promise<Authority> {
    const { pair } = await makeKeys();
    const own = await X509CertificateGenerator.createSelfSigned(
      {
        name: `CN=${name}`, keys: pair, signingAlgorithm: ALGORITHM, notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS),
        extensions: [new BasicConstraintsExtension(true, 0, true), new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true)],
      },
      webcrypto,
    );
    return new Authority(own, pair);
  }

  async issue(subject: string, names: readonly JsonGeneralName[] = [], notAfter = new Date(Date.now() + DAY_MS)): Promise<Issued> {
    const { pair, pem } = await makeKeys();
    const certificate = await X509CertificateGenerator.create(
      {
        subject, issuer: this.own.subject, publicKey: pair.publicKey, signingKey: this.keys.privateKey, signingAlgorithm: ALGORITHM, notBefore: new Date(Date.now() - 2 * DAY_MS), notAfter,
        extensions: [new BasicConstraintsExtension(false, undefined, true), ...(names.length === 0 ? [] : [new SubjectAlternativeNameExtension([...names])])],
      },
      webcrypto,
    );
    return { certificate: `${certificate.toString("pem")}\n`, key: pem, serialNumber: certificate.serialNumber };
  }

  /** A certificate for a server that is called "localhost" and `commonName`. */
  async issueServer(commonName: string): Promise<Issued> {
    return this.issue(`CN=${commonName}`, [{ type: "dns", value: "localhost" }, { type: "dns", value: commonName }]);
  }

  async revoke(...revoked: readonly Issued[]): Promise<string> {
    const list = await X509CrlGenerator.create(
      {
        issuer: this.own.subject, signingKey: this.keys.privateKey, signingAlgorithm: ALGORITHM, thisUpdate: new Date(Date.now() - DAY_MS), nextUpdate: new Date(Date.now() + DAY_MS),
        entries: revoked.map((one) => ({ serialNumber: one.serialNumber, revocationDate: new Date(Date.now() - DAY_MS) })),
      },
      webcrypto,
    );
    return `-----BEGIN X509 CRL-----\n${Buffer.from(list.rawData).toString("base64").replace(/.{64}/g, "$&\n")}\n-----END X509 CRL-----\n`;
  }
}
