// Which listeners use which certificates; and where a client's certificate, or the list that revokes it, has effect. On main's thread, and in the
// processes of `penstock cert`.
import type { X509Certificate } from "node:crypto";
import { realpathSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { CA_FILE, CERTIFICATE_FILE, isIssuedBy, KEY_FILE, readCertificates } from "../security/certificates.js";
import type { Config } from "./config/config.js";

type CertificateConfig = Pick<Config, "certs" | "listeners">;
type TlsOptions = Exclude<Config["listeners"]["mqtts"] | Config["listeners"]["https"], false>;

export interface TlsListener {
  readonly name: "mqtts" | "https";
  readonly options: TlsOptions;
}

/** Listeners with TLS that are on. */
export function tlsListeners({ listeners }: Pick<Config, "listeners">): readonly TlsListener[] {
  return (["mqtts", "https"] as const).flatMap((name) => {
    const options = listeners[name];
    return options === false ? [] : [{ name, options }];
  });
}

/** Whether a listener shows, or verifies clients by, what the first start can make. */
export function usesMadeCertificates(config: CertificateConfig): boolean {
  const made = [CERTIFICATE_FILE, KEY_FILE, CA_FILE].map((name) => join(config.certs, name));
  return tlsListeners(config).some(({ options: { certificate, key, ca } }) => [certificate, key, ca].some((name) => made.includes(resolve(config.certs, name))));
}

/** What a listener that asks for client certificates makes of one of them. */
export interface ListenerReach {
  /** As in the configuration: listeners.mqtts. */
  readonly key: string;
  readonly caPath: string;
  readonly crlPath: string;
  /** What it trusts; `fault` says why that cannot be read. */
  readonly authorities: readonly X509Certificate[];
  readonly fault: string;
  /** Whether the certificate's authority is among them, or one that signed that; true when they cannot be read. */
  readonly isTrusting: boolean;
  /** Whether `list` is what it reads. */
  readonly readsList: boolean;
}

/**
 * @param path a client's certificate
 * @param list the revocation list that `cert revoke` writes
 * @throws StartError CERTIFICATE_BAD when the certificate cannot be read, or certs/ca.pem
 */
export function reachOf(config: CertificateConfig, path: string, list: string): readonly ListenerReach[] {
  const certificate = readCertificates(path)[0]!;
  const signers = readCertificates(join(config.certs, CA_FILE)).filter((one) => isIssuedBy(certificate, one));
  return tlsListeners(config).filter(({ options }) => options.client_certificate !== "off").map(({ name, options: { ca, crl } }) => {
    const caPath = resolve(config.certs, ca);
    const crlPath = resolve(config.certs, crl);
    const { authorities, fault } = trustOf(caPath);
    const isTrusting = fault !== "" || authorities.some((one) => isIssuedBy(certificate, one) || signers.some((signer) => isIssuedBy(signer, one)));
    return { key: `listeners.${name}`, caPath, crlPath, authorities, fault, isTrusting, readsList: isSameFile(crlPath, list) };
  });
}

function trustOf(path: string): Pick<ListenerReach, "authorities" | "fault"> {
  try {
    return { authorities: readCertificates(path), fault: "" };
  } catch (error) {
    return { authorities: [], fault: (error as Error).message };
  }
}

/** Whether who reads `path` reads what is written in the place of `written`: a link that lies there is replaced, too. */
function isSameFile(path: string, written: string): boolean {
  const place = placeOf(written);
  if (placeOf(path) === place) return true;
  try {
    return realpathSync(path) === place;
  } catch {
    // It is not there yet: then it is no link to the other.
    return false;
  }
}

function placeOf(path: string): string {
  try {
    return join(realpathSync(dirname(path)), basename(path));
  } catch {
    return path;
  }
}
