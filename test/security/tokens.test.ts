// JSON Web Tokens: every algorithm, and the ways in which a token is not to be trusted.
import { generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SignJWT, UnsecuredJWT, type JWTPayload } from "jose";
import t from "tap";
import type { TokenOptions } from "../../src/base/authenticator.js";
import { checkToken, isStanding, isToken, readKeySet, readSecret, SIGNATURES, type TokenKeys } from "../../src/security/tokens.js";

const NOW = Date.parse("2026-11-22T12:00:00Z");
const SECONDS = NOW / 1000;
const root = mkdtempSync(join(tmpdir(), "penstock-tokens-"));
t.teardown(() => rmSync(root, { recursive: true, force: true }));

const OPTIONS: TokenOptions = { secretFile: "", keySetFile: "", issuer: "", audience: "", userClaim: "sub", groupsClaim: "groups", leewayMs: 10_000 };

/** A pair of keys for each algorithm. */
const PAIRS: Readonly<Record<string, () => { publicKey: KeyObject; privateKey: KeyObject }>> = {
  R: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  P: () => generateKeyPairSync("rsa", { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync("ec", { namedCurve: "P-256" }),
  ES384: () => generateKeyPairSync("ec", { namedCurve: "P-384" }),
  ES512: () => generateKeyPairSync("ec", { namedCurve: "P-521" }),
  Ed: () => generateKeyPairSync("ed25519"),
};

function pairOf(algorithm: string): { publicKey: KeyObject; privateKey: KeyObject } {
  return (PAIRS[algorithm] ?? PAIRS[algorithm.slice(0, 2)] ?? PAIRS[algorithm.slice(0, 1)])!();
}

function write(name: string, text: string | Buffer, mode = 0o600): string {
  const path = join(root, name);
  writeFileSync(path, text, { mode });
  return path;
}

async function sign(payload: JWTPayload, algorithm: string, key: KeyObject | Uint8Array, kid?: string): Promise<Buffer> {
  return Buffer.from(await new SignJWT(payload).setProtectedHeader({ alg: algorithm, ...(kid === undefined ? {} : { kid }) }).sign(key));
}

t.test("every signature algorithm with a key set; keys are told apart by kid", async (t) => {
  for (const algorithm of SIGNATURES) {
    const one = pairOf(algorithm);
    const other = pairOf(algorithm);
    const keys = [one, other].map(({ publicKey }, index) => ({ ...publicKey.export({ format: "jwk" }), kid: String(index), alg: algorithm, use: "sig" }));
    const set = readKeySet(write("jwks.json", JSON.stringify({ keys }), 0o644));
    for (const [index, { privateKey }] of [one, other].entries()) {
      const token = await sign({ sub: "d1", groups: ["g"] }, algorithm, privateKey, String(index));
      t.ok(isToken(token), algorithm);
      t.match(await checkToken(token, set, OPTIONS, NOW), { isAllowed: true, identity: { user: "d1", groups: ["g"] }, expiresAt: Number.POSITIVE_INFINITY }, algorithm);
      t.match(await checkToken(await sign({ sub: "d1" }, algorithm, privateKey, String(1 - index)), set, OPTIONS, NOW), { isAllowed: false, refusal: "credentials" }, `${algorithm} with the other's kid`);
    }
    t.match(await checkToken(await sign({ sub: "d1" }, algorithm, pairOf(algorithm).privateKey, "0"), set, OPTIONS, NOW), { isAllowed: false }, `${algorithm} of a stranger`);
  }
});

t.test("shared secrets: each hash with a secret of its length, a line end is no part of it", async (t) => {
  for (const [algorithm, size] of [["HS256", 32], ["HS384", 48], ["HS512", 64]] as const) {
    const secret = randomBytes(size / 2).toString("hex");
    const keys = readSecret(write("secret", `${secret}\n`));
    t.match(await checkToken(await sign({ sub: "d1" }, algorithm, Buffer.from(secret)), keys, OPTIONS, NOW), { isAllowed: true }, algorithm);
    t.match(await checkToken(await sign({ sub: "d1" }, algorithm, Buffer.from(`${secret}\n`)), keys, OPTIONS, NOW), { isAllowed: false }, algorithm);
  }
  const short = randomBytes(16).toString("hex");
  const keys = readSecret(write("secret", short));
  t.same(keys.algorithms, ["HS256"], "too short for the longer hashes");
  t.match(await checkToken(await sign({ sub: "d1" }, "HS512", Buffer.from(short)), keys, OPTIONS, NOW), { isAllowed: false });
});

t.test("a public key is never taken for a secret, and alg none is none", async (t) => {
  const { publicKey } = pairOf("RS256");
  const set = readKeySet(write("jwks.json", JSON.stringify({ keys: [publicKey.export({ format: "jwk" })] })));
  for (const key of [publicKey.export({ format: "pem", type: "spki" }), publicKey.export({ format: "der", type: "spki" })]) {
    t.match(await checkToken(await sign({ sub: "d1" }, "HS256", Buffer.from(key)), set, OPTIONS, NOW), { isAllowed: false });
  }
  const none = Buffer.from(new UnsecuredJWT({ sub: "d1" }).encode());
  t.ok(isToken(none));
  t.match(await checkToken(none, set, OPTIONS, NOW), { isAllowed: false });
});

const secret = Buffer.from("0123456789abcdef0123456789abcdef");
const secretKeys: TokenKeys = { algorithms: ["HS256"], marksOf: () => [], keyFor: () => new Uint8Array(secret) };

async function verdict(payload: JWTPayload, options: Partial<TokenOptions> = {}): Promise<unknown> {
  return checkToken(await sign(payload, "HS256", secret), secretKeys, { ...OPTIONS, ...options }, NOW);
}

t.test("a key that joins a set leaves tokens of the others as they were; one that is replaced or leaves does not", async (t) => {
  const [one, two, three] = ["one", "two", "one"].map((kid) => ({ ...generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }), kid })) as [object, object, object];
  const path = join(root, "marks.json");
  const keysOf = (...keys: object[]): TokenKeys => {
    writeFileSync(path, JSON.stringify({ keys }));
    return readKeySet(path);
  };
  /** Whether a token of this kid that `before` let in stands with `after`. */
  const stands = (kid: string | undefined, before: readonly object[], after: readonly object[]): boolean =>
    isStanding({ kind: "token", identity: { user: "d", groups: [] }, kid, marks: keysOf(...before).marksOf(kid) }, keysOf(...after));
  t.ok(stands("one", [one], [one, two]), "a key joins");
  t.ok(stands("one", [one, two], [one]), "another one leaves");
  t.ok(stands("two", [one, two], [three, two]), "another one is replaced");
  t.notOk(stands("one", [one], [three, two]), "it is replaced by one of its name");
  t.notOk(stands("one", [one, two], [two]), "it leaves");
  t.notOk(stands("gone", [one], [one]), "no key, no token");
  t.ok(stands("one", [one], [one, three]), "a namesake joins");
  t.ok(stands(undefined, [one], [two, one]), "a token without a kid may be any key's: all are there still");
  t.notOk(stands(undefined, [one], [two]));
  t.notOk(stands(undefined, [one, two], [two]));
});

t.test("times: exp and nbf are honoured with the leeway, and the end of a token ends the connection", async (t) => {
  t.match(await verdict({ sub: "d", exp: SECONDS + 60 }), { isAllowed: true, expiresAt: NOW + 70_000 });
  t.match(await verdict({ sub: "d", exp: SECONDS - 5 }), { isAllowed: true }, "within the leeway");
  t.match(await verdict({ sub: "d", exp: SECONDS - 11 }), { isAllowed: false, detail: /"exp"/ });
  t.match(await verdict({ sub: "d", exp: SECONDS - 5 }, { leewayMs: 0 }), { isAllowed: false });
  t.match(await verdict({ sub: "d", nbf: SECONDS + 5 }), { isAllowed: true });
  t.match(await verdict({ sub: "d", nbf: SECONDS + 60 }), { isAllowed: false, detail: /"nbf"/ });
});

t.test("issuer and audience, when asked for", async (t) => {
  const options = { issuer: "https://issuer.example", audience: "penstock" };
  t.match(await verdict({ sub: "d", iss: "https://issuer.example", aud: ["x", "penstock"] }, options), { isAllowed: true });
  t.match(await verdict({ sub: "d", iss: "https://issuer.example" }, options), { isAllowed: false, detail: /"aud"/ });
  t.match(await verdict({ sub: "d", iss: "other", aud: "penstock" }, options), { isAllowed: false, detail: /"iss"/ });
});

t.test("claims: the user, the groups as list or words, other names for both, and what is neither", async (t) => {
  t.match(await verdict({ sub: "d", groups: ["a", "b"] }), { identity: { user: "d", groups: ["a", "b"] } });
  t.match(await verdict({ sub: "d", scope: "a b" }, { groupsClaim: "scope" }), { identity: { groups: ["a", "b"] } });
  t.match(await verdict({ client: "c" }, { userClaim: "client" }), { identity: { user: "c", groups: [] } });
  for (const payload of [{}, { sub: "" }, { sub: 5 as unknown as string }]) t.match(await verdict(payload), { isAllowed: false, detail: /no claim "sub"/ });
  for (const groups of [5, [5], {}, Array.from({ length: 257 }, () => "g")]) t.match(await verdict({ sub: "d", groups }), { isAllowed: false, detail: /"groups"/ });
});

t.test("a token that is changed, cut or rubbish is refused, and its words stay out of the log", async (t) => {
  const token = (await sign({ sub: "d" }, "HS256", secret)).toString();
  const [head, body, signature] = token.split(".") as [string, string, string];
  for (const bad of [`${head}.${Buffer.from('{"sub":"admin"}').toString("base64url")}.${signature}`, `${head}.${body}.`, `${head}.${body}.${signature.slice(1)}`, `${head}..${signature}`, "eyJ.eyJ.x"]) {
    t.ok(isToken(Buffer.from(bad)), bad);
    const answer = (await checkToken(Buffer.from(bad), secretKeys, OPTIONS, NOW)) as { isAllowed: boolean; detail: string };
    t.equal(answer.isAllowed, false, bad);
    t.notOk(answer.detail.includes(signature.slice(1)), answer.detail);
  }
  for (const other of ["", "secret", "a.b.c", `${head}.${body}`, `${token} `, `eyJ${"a".repeat(20_000)}.b.c`]) t.notOk(isToken(Buffer.from(other)), other.slice(0, 40));
});

t.test("files that cannot be used stop the start with what to do", async (t) => {
  t.throws(() => readSecret(write("short", "0123456789\n")), { code: "AUTH_FILE_BAD", message: /10 bytes.*openssl rand/ });
  t.throws(() => readSecret(write("loose", secret, 0o644)), { message: /chmod 600/ });
  t.throws(() => readSecret(join(root, "none")), { message: /ENOENT/ });
  for (const text of ["", "[]", "{}", '{"keys":[]}', '{"keys":{}}']) t.throws(() => readKeySet(write("bad.json", text)), { code: "AUTH_FILE_BAD", message: /JSON Web Key Set/ }, text);
  for (const key of [pairOf("ES256").privateKey.export({ format: "jwk" }), { kty: "oct", k: "AAAA" }]) {
    t.throws(() => readKeySet(write("private.json", JSON.stringify({ keys: [key] }))), { message: /public keys only.*secret_file/ });
  }
});
