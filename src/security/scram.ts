// The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677) in AUTH packets (MQTT 5 §4.12): no password crosses the wire, and each side
// proves to the other that it knows it. Thread: the shard's; only HMACs are computed here, the costly hash is the client's to do.
//
//   client: n,,n=user,r=nonce           CONNECT, or AUTH 0x19
//   server: r=nonce+ours,s=salt,i=n     AUTH 0x18
//   client: c=biws,r=nonce+ours,p=…     AUTH 0x18
//   server: v=…                         CONNACK, or AUTH 0x00
import { randomBytes, timingSafeEqual } from "node:crypto";
import { hmac, KEY_SIZE, type ScramKeys, sha256 } from "./scram-keys.js";

export const SCRAM_SHA_256 = "SCRAM-SHA-256";

const MESSAGE_SIZE_MAX = 4096;
const NONCE_SIZE = 18;
const PRINTABLE_NONCE = /^[\x21-\x2b\x2d-\x7e]{8,256}$/;
/** gs2-header, then authzid; only "n" and "y": there is no channel binding in MQTT. */
const FIRST = /^([ny],(?:a=([^,]*))?,)(n=([^,]+),r=([^,]+)(?:,.*)?)$/s;
const FINAL = /^(c=([A-Za-z0-9+/]+={0,2}),r=([^,]+)(?:,[^p][^,]*)*),p=([A-Za-z0-9+/]+={0,2})$/s;

export type ScramResult = { readonly challenge: Buffer } | { readonly user: string; readonly proof: Buffer } | { readonly fault: string };

/** Finds a user's keys; made-up ones for a user that does not exist. */
export type KeysOf = (user: string) => ScramKeys;

export class ScramServer {
  private readonly keysOf: KeysOf;
  private readonly ownNonce: string;
  private user = "";
  private header = "";
  private firstBare = "";
  private challenge = "";
  private nonce = "";
  private keys: ScramKeys | null = null;
  private isOver = false;

  constructor(keysOf: KeysOf, ownNonce: string = randomBytes(NONCE_SIZE).toString("base64")) {
    this.keysOf = keysOf;
    this.ownNonce = ownNonce;
  }

  step(data: Buffer | undefined): ScramResult {
    if (this.isOver || data === undefined || data.length > MESSAGE_SIZE_MAX) return this.fail("a SCRAM message is missing or too long");
    const text = data.toString("utf8");
    return this.keys === null ? this.first(text) : this.final(text, this.keys);
  }

  private first(text: string): ScramResult {
    const match = FIRST.exec(text);
    if (match === null) return this.fail("the first SCRAM message is malformed, or asks for channel binding");
    const user = unescaped(match[4]!);
    const actAs = match[2] === undefined ? user : unescaped(match[2]);
    if (user === null || user === "" || actAs !== user) return this.fail("the first SCRAM message names no user, or another one to act as");
    if (!PRINTABLE_NONCE.test(match[5]!)) return this.fail("the nonce is malformed");
    this.user = user;
    this.header = match[1]!;
    this.firstBare = match[3]!;
    this.nonce = match[5]! + this.ownNonce;
    this.keys = this.keysOf(user);
    this.challenge = `r=${this.nonce},s=${this.keys.salt.toString("base64")},i=${this.keys.iterations}`;
    return { challenge: Buffer.from(this.challenge) };
  }

  private final(text: string, keys: ScramKeys): ScramResult {
    const match = FINAL.exec(text);
    if (match === null) return this.fail("the final SCRAM message is malformed");
    const [, withoutProof, binding, nonce, proofText] = match;
    if (Buffer.from(binding!, "base64").toString("utf8") !== this.header || nonce !== this.nonce) return this.fail("the final SCRAM message does not belong to the first");
    const proof = Buffer.from(proofText!, "base64");
    if (proof.length !== KEY_SIZE) return this.fail("the proof has another length");
    const message = `${this.firstBare},${this.challenge},${withoutProof!}`;
    const signature = hmac(keys.storedKey, message);
    const clientKey = Buffer.alloc(KEY_SIZE);
    for (let i = 0; i < KEY_SIZE; i++) clientKey[i] = proof[i]! ^ signature[i]!;
    if (!timingSafeEqual(sha256(clientKey), keys.storedKey)) return this.fail(`wrong SCRAM proof for ${JSON.stringify(this.user.slice(0, 128))}`);
    this.isOver = true;
    return { user: this.user, proof: Buffer.from(`v=${hmac(keys.serverKey, message).toString("base64")}`) };
  }

  private fail(fault: string): ScramResult {
    this.isOver = true;
    return { fault };
  }
}

/** "=2C" is a comma, "=3D" an equals sign (RFC 5802 §5.1). @returns null when another "=" stands there */
function unescaped(text: string): string | null {
  return /=(?!2C|3D)/.test(text) ? null : text.replaceAll("=2C", ",").replaceAll("=3D", "=");
}
