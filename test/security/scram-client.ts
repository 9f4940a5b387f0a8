// The client's side of SCRAM-SHA-256 (RFC 5802 §3), for tests.
import { createHash, createHmac, pbkdf2Sync } from "node:crypto";

export function clientFirst(user: string, nonce: string): string {
  return `n,,n=${user},r=${nonce}`;
}

/** @returns the client's final message, and the signature that the server must then show */
export function clientFinal(first: string, serverFirst: string, password: string): { readonly message: string; readonly expected: string } {
  const [, nonce, salt, iterations] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(serverFirst)!;
  const header = /^[^,]*,[^,]*,/.exec(first)![0];
  const salted = pbkdf2Sync(password, Buffer.from(salt!, "base64"), Number(iterations), 32, "sha256");
  const mac = (key: Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();
  const clientKey = mac(salted, "Client Key");
  const without = `c=${Buffer.from(header).toString("base64")},r=${nonce!}`;
  const message = `${first.slice(header.length)},${serverFirst},${without}`;
  const signature = mac(createHash("sha256").update(clientKey).digest(), message);
  const proof = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!));
  return { message: `${without},p=${proof.toString("base64")}`, expected: mac(mac(salted, "Server Key"), message).toString("base64") };
}
