// What a shard asks about its clients' credentials, and what it is told. The shard decides when to ask (shard/admission.ts), src/security knows
// the answers; neither imports the other. Thread: the shard's; what takes long runs elsewhere, and the answer comes as a promise.
import type { Identity } from "./identity.js";

/** What a client gave, and where it comes from. */
export interface Attempt {
  readonly userName: string | undefined;
  readonly password: Buffer | undefined;
  readonly clientId: string;
  /** Numeric address. */
  readonly peer: string;
}

/** By what a client was let in; only the authenticator that gave it knows what it says. */
export interface Grant {
  readonly kind: "certificate" | "password" | "token";
}

/** Who a client is, and by what. */
export interface Standing {
  readonly identity: Identity;
  /** null: nothing tells later whether it still holds. */
  readonly grant: Grant | null;
}

/** For how long a client is let in; Infinity = as long as its connection lasts. What comes first ends it. */
export interface Term {
  /** Unix ms: what others have written down for it. */
  readonly expiresAt: number;
  /** Monotonic ms: what this gateway grants, whatever its clock is set to meanwhile. */
  readonly validUntil: number;
}

export const UNLIMITED: Term = { expiresAt: Number.POSITIVE_INFINITY, validUntil: Number.POSITIVE_INFINITY };

export interface Allowed extends Standing, Term {
  readonly isAllowed: true;
}

/** Why a client is refused. The wire says no more than this word. */
export type Refusal =
  /** Wrong user name, password or token; which of them, nobody is told. */
  | "credentials"
  /** Known, but not let in. */
  | "forbidden"
  /** Too many wrong attempts from this address: not even looked at. */
  | "slowed"
  /** More at once than the gateway checks. */
  | "busy"
  /** What knows the answer does not answer. */
  | "unavailable";

export interface Denied {
  readonly isAllowed: false;
  readonly refusal: Refusal;
  /** For the gateway's log; never a password. */
  readonly detail: string;
}

export type Verdict = Allowed | Denied;

/** One enhanced authentication (MQTT 5 §4.12), from the client's first data to a verdict. */
export interface Exchange {
  /**
   * Takes the client's data. A refusal may come late, to slow guessing. After a verdict the exchange is over.
   */
  step(data: Buffer | undefined): ExchangeStep | Promise<Denied>;
}

/** More is wanted of the client; or it is let in, and `data` is the last thing to tell it. */
export type ExchangeStep = { readonly challenge: Buffer } | { readonly verdict: Allowed; readonly data: Buffer };

export interface Authenticator {
  /** A user who is known by a certificate: the password file may give it groups. */
  ofCertificate(user: string): Standing;
  /** Grows whenever `again` may answer something else than before. */
  readonly changes: number;
  /** What a grant is worth now. @returns null when it does not hold any more: user deleted, password changed, key of tokens gone */
  again(grant: Grant): Standing | null;
  /** Checks user name and password, or a token. Never rejects. */
  check(attempt: Attempt): Promise<Verdict>;
  /** Begins an enhanced authentication. @returns null when the method is not known */
  begin(method: string, peer: string): Exchange | null;
}

/** What becomes the user of a client with a certificate. */
export const CERTIFICATE_IDENTITIES = ["none", "common_name", "subject_alternative_name"] as const;
export type CertificateIdentity = (typeof CERTIFICATE_IDENTITIES)[number];

/** From the configuration, `auth` in penstock.yaml; paths absolute. */
export interface AuthOptions {
  readonly passwordFile: string;
  readonly tokens: TokenOptions | null;
  readonly http: HttpOptions | null;
}

export interface TokenOptions {
  /** "" = none; one of the two files is given. */
  readonly secretFile: string;
  readonly keySetFile: string;
  /** "" = any. */
  readonly issuer: string;
  readonly audience: string;
  readonly userClaim: string;
  readonly groupsClaim: string;
  readonly leewayMs: number;
}

export interface HttpOptions {
  readonly url: string;
  /** "" = none. */
  readonly tokenFile: string;
  readonly deadlineMs: number;
  /** How long an answer is used again for the same credentials. */
  readonly cacheMs: number;
  /** How much longer an answer that let a client in is used while the back-end fails. */
  readonly staleMs: number;
  /** How long a client stays before it must come again to be asked about; 0 = until it goes. */
  readonly validForMs: number;
  readonly concurrency: number;
}
