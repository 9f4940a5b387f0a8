// JSON Web Tokens (RFC 7519) in the place of a password: signature, times, issuer and audience are checked, claims become user and groups.
// Thread: the shard's; signatures are checked in libuv's pool. A key is used only with algorithms of its own kind, so that no token can turn a
// public key into a shared secret.
import { createHash } from "node:crypto";
import { createLocalJWKSet, errors, jwtVerify, type JSONWebKeySet, type JWTPayload, type JWTVerifyGetKey } from "jose";
import { type Grant, type TokenOptions, UNLIMITED, type Verdict } from "../base/authenticator.js";
import { StartError } from "../base/errors.js";
import type { Identity } from "../base/identity.js";
import { readPrivateFile, readPublicFile } from "./private-file.js";

export const SIGNATURES: readonly string[] = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];
/** RFC 7518 §3.2: the secret is at least as long as the hash. */
const SECRETS: readonly (readonly [string, number])[] = [["HS256", 32], ["HS384", 48], ["HS512", 64]];
const TOKEN_SIZE_MAX = 16 * 1024;
const TOKEN = /^eyJ[\w-]*\.[\w-]*\.[\w-]*$/;
const GROUPS_MAX = 256;

/** What tokens are checked with. */
export interface TokenKeys {
  readonly algorithms: readonly string[];
  readonly keyFor: JWTVerifyGetKey;
  /** A mark of each key that a token of this `kid` may have been checked with: another mark, another key. */
  readonly marksOf: (kid: string | undefined) => readonly string[];
}

/** A client that was let in by a token: as long as the key that it was checked with is among those in use. */
export interface TokenGrant extends Grant {
  readonly kind: "token";
  readonly identity: Identity;
  readonly kid: string | undefined;
  readonly marks: readonly string[];
}

/** Keys that join take nothing from a token; one of those that it may have been checked with must not go. */
export function isStanding({ kid, marks }: TokenGrant, keys: TokenKeys): boolean {
  const present = keys.marksOf(kid);
  return marks.length > 0 && marks.every((mark) => present.includes(mark));
}

/** True for what looks like a signed token: then it is one, or wrong. */
export function isToken(password: Uint8Array): boolean {
  return password.length <= TOKEN_SIZE_MAX && TOKEN.test(Buffer.from(password.buffer, password.byteOffset, password.byteLength).toString("latin1"));
}

/** @throws StartError AUTH_FILE_BAD */
export function readSecret(path: string): TokenKeys {
  const bytes = readPrivateFile(path);
  // A line end at the end is what editors put there.
  const secret = bytes.subarray(0, bytes.length - (/\r?\n$/.exec(bytes.toString("latin1"))?.[0].length ?? 0));
  const algorithms = SECRETS.filter(([, size]) => secret.length >= size).map(([name]) => name);
  if (algorithms.length === 0) throw new StartError("AUTH_FILE_BAD", `${path} holds ${secret.length} bytes; a secret has 32 for HS256, 48 for HS384, 64 for HS512 at least: openssl rand -hex 32 > ${path}`);
  const key = new Uint8Array(secret);
  const marks = [digestOf(key)];
  return { algorithms, keyFor: () => key, marksOf: () => marks };
}

/** A JSON Web Key Set (RFC 7517 §5) of public keys. @throws StartError AUTH_FILE_BAD */
export function readKeySet(path: string): TokenKeys {
  let set: JSONWebKeySet;
  try {
    set = JSON.parse(readPublicFile(path).toString("utf8")) as JSONWebKeySet;
    if (!Array.isArray(set.keys) || set.keys.length === 0) throw new Error("there is no list of keys");
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError("AUTH_FILE_BAD", `${path} is no JSON Web Key Set, {"keys":[…]}: ${(error as Error).message}`);
  }
  // Who checks tokens needs no key that can sign them.
  if (set.keys.some((key) => key.kty === "oct" || "d" in key)) {
    throw new StartError("AUTH_FILE_BAD", `${path} holds a private key or a shared secret; a key set holds public keys only. A shared secret belongs into auth.jwt.secret_file`);
  }
  const marks = set.keys.map((key) => ({ kid: key.kid, mark: digestOf(JSON.stringify(key)) }));
  const marksOf = (kid: string | undefined): readonly string[] => marks.filter((one) => kid === undefined || one.kid === kid).map(({ mark }) => mark);
  return { algorithms: SIGNATURES, keyFor: createLocalJWKSet(set), marksOf };
}

function digestOf(key: string | Uint8Array): string {
  return createHash("sha256").update(key).digest("base64");
}

/** @param now Unix ms */
export async function checkToken(password: Uint8Array, keys: TokenKeys, options: TokenOptions, now: number): Promise<Verdict> {
  try {
    const { payload, protectedHeader } = await jwtVerify(Buffer.from(password).toString("latin1"), keys.keyFor, {
      algorithms: [...keys.algorithms],
      clockTolerance: options.leewayMs / 1000,
      currentDate: new Date(now),
      ...(options.issuer === "" ? {} : { issuer: options.issuer }),
      ...(options.audience === "" ? {} : { audience: options.audience }),
    });
    return verdictOf(payload, options, protectedHeader.kid, keys);
  } catch (error) {
    // jose's own words name claim or algorithm, never the token.
    const why = error instanceof errors.JOSEError ? error.message : "it cannot be checked with the keys at hand";
    return { isAllowed: false, refusal: "credentials", detail: `the token is refused: ${why}` };
  }
}

function verdictOf(payload: JWTPayload, options: TokenOptions, kid: string | undefined, keys: TokenKeys): Verdict {
  const user = payload[options.userClaim];
  if (typeof user !== "string" || user === "") return { isAllowed: false, refusal: "credentials", detail: `the token has no claim ${JSON.stringify(options.userClaim)} that names a user` };
  const claimed = payload[options.groupsClaim];
  const groups = typeof claimed === "string" ? claimed.split(" ") : claimed;
  const isList = groups === undefined || (Array.isArray(groups) && groups.length <= GROUPS_MAX && groups.every((group) => typeof group === "string"));
  if (!isList) return { isAllowed: false, refusal: "credentials", detail: `the token's claim ${JSON.stringify(options.groupsClaim)} is no list of names` };
  const expiresAt = payload.exp === undefined ? Number.POSITIVE_INFINITY : payload.exp * 1000 + options.leewayMs;
  const identity = { user, groups: (groups ?? []).filter((group) => group !== "") };
  const grant: TokenGrant = { kind: "token", identity, kid, marks: keys.marksOf(kid) };
  return { isAllowed: true, identity, grant, ...UNLIMITED, expiresAt };
}
