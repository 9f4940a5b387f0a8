// SCRAM-SHA-256 against the exchange that RFC 7677 gives, and against clients that do it wrong.
import { createHmac, pbkdf2Sync } from "node:crypto";
import t from "tap";
import { keysOfNobody, formatScramKeys, hmac, makeScramKeys, parseScramKeys, prepared, type ScramKeys, sha256 } from "../../src/security/scram-keys.js";
import { ScramServer, type ScramResult } from "../../src/security/scram.js";
import { clientFinal } from "./scram-client.js";

const SALT = Buffer.from("W22ZaJ0SNY7soEsUEjb6gQ==", "base64");
const CLIENT_FIRST = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const OWN_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

let keys: ScramKeys;
t.before(async () => {
  keys = await makeScramKeys("pencil", 4096, SALT);
});

function challenge(result: ScramResult): string {
  if (!("challenge" in result)) throw new Error(JSON.stringify(result));
  return result.challenge.toString();
}

t.test("the exchange of RFC 7677 §3 comes out as written there", async (t) => {
  const asked: string[] = [];
  const server = new ScramServer((user) => {
    asked.push(user);
    return keys;
  }, OWN_NONCE);
  t.equal(challenge(server.step(Buffer.from(CLIENT_FIRST))), SERVER_FIRST);
  const result = server.step(Buffer.from(CLIENT_FINAL));
  t.same(result, { user: "user", proof: Buffer.from(SERVER_FINAL) });
  t.same(asked, ["user"]);
  t.ok("fault" in server.step(Buffer.from(CLIENT_FINAL)), "an exchange that is over takes nothing more");
  t.equal(clientFinal(CLIENT_FIRST, SERVER_FIRST, "pencil").message, CLIENT_FINAL, "the tests' own client says what the RFC's says");
});

t.test("the keys are those of RFC 5802 §3, and survive being written", async (t) => {
  const salted = pbkdf2Sync("pencil", SALT, 4096, 32, "sha256");
  t.same(keys.storedKey, sha256(createHmac("sha256", salted).update("Client Key").digest()));
  t.same(keys.serverKey, hmac(salted, "Server Key"));
  t.same(parseScramKeys(formatScramKeys(keys)), keys);
  const good = formatScramKeys(keys);
  for (const bad of ["", "x", good.slice(0, -8), good.replace("SHA-256", "SHA-1"), good.replace("4096", "4095"), good.replace("4096", "99999999"), good.replace(/\$.*:/, "$4096:AAAA$")]) {
    t.equal(parseScramKeys(bad), null, bad);
  }
});

t.test("a wrong password, a changed message, another nonce, channel binding and rubbish are refused", async (t) => {
  const start = (first = CLIENT_FIRST): { server: ScramServer; result: ScramResult } => {
    const server = new ScramServer(() => keys, OWN_NONCE);
    return { server, result: server.step(Buffer.from(first)) };
  };
  const finals = [
    clientFinal(CLIENT_FIRST, SERVER_FIRST, "pencils").message,
    CLIENT_FINAL.replace("p=d", "p=e"),
    CLIENT_FINAL.replace("biws", "eSws"),
    CLIENT_FINAL.replace("%hv", "%hw"),
    CLIENT_FINAL.replace(/,p=.*/, ""),
    CLIENT_FINAL.replace(/,p=.*/, ",p=AAAA"),
    "", "c=", CLIENT_FIRST, "x".repeat(5000),
  ];
  for (const final of finals) {
    const { server, result } = start();
    t.ok("challenge" in result);
    t.ok("fault" in server.step(Buffer.from(final)), final.slice(0, 80));
  }
  const firsts = [
    "p=tls-unique,,n=user,r=rOprNGfwEbeRWgbNEkqO", "n,,n=,r=rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=short", "n,,n=us=er,r=rOprNGfwEbeRWgbNEkqO", "n,a=other,n=user,r=rOprNGfwEbeRWgbNEkqO",
    "n,,m=ext,n=user,r=rOprNGfwEbeRWgbNEkqO", "n=user,r=rOprNGfwEbeRWgbNEkqO", "", "x".repeat(5000),
  ];
  for (const first of firsts) t.ok("fault" in start(first).result, first.slice(0, 80));
  t.ok("fault" in new ScramServer(() => keys).step(undefined), "without data");
  t.ok("challenge" in start("n,a=user,n=user,r=rOprNGfwEbeRWgbNEkqO").result, "acting as oneself");
  t.ok("challenge" in start("y,,n=user,r=rOprNGfwEbeRWgbNEkqO").result, "a client that could bind");
});

t.test("names with commas and equals signs are unescaped (RFC 5802 §5.1)", async (t) => {
  let asked = "";
  const server = new ScramServer((user) => {
    asked = user;
    return keys;
  });
  const first = "n,,n=a=2Cb=3Dc,r=rOprNGfwEbeRWgbNEkqO";
  const final = clientFinal(first, challenge(server.step(Buffer.from(first))), "pencil");
  t.match(server.step(Buffer.from(final.message)), { user: "a,b=c", proof: Buffer.from(`v=${final.expected}`) });
  t.equal(asked, "a,b=c");
});

t.test("a user that does not exist has a salt of its own, always the same, and no password", async (t) => {
  const secret = Buffer.from("0123456789abcdef");
  t.same(keysOfNobody(secret, "a").salt, keysOfNobody(secret, "a").salt);
  t.notSame(keysOfNobody(secret, "a").salt, keysOfNobody(secret, "b").salt);
  t.notSame(keysOfNobody(secret, "a").salt, keysOfNobody(Buffer.from("fedcba9876543210"), "a").salt);
  t.equal(keysOfNobody(secret, "a").salt.length, (await makeScramKeys("x", 4096)).salt.length, "as long as a real one");
});

t.test("passwords are prepared (RFC 4013 §3): the same letters in other code points are the same password", async (t) => {
  for (const [given, wanted] of [["I\u00adX", "IX"], ["user", "user"], ["USER", "USER"], ["\u00aa", "a"], ["\u2168", "IX"], ["a\u00a0b", "a b"]]) t.equal(prepared(given!), wanted);
  for (const bad of ["\u0007", "a\u2028b", "\ud800", "\ue000"]) t.throws(() => prepared(bad), Buffer.from(bad).toString("hex"));
});
