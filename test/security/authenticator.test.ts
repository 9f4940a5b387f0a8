// The authenticator as a shard has it: which method decides, what is delayed and what is refused unseen, SCRAM over the password file.
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SignJWT } from "jose";
import { Worker } from "node:worker_threads";
import t, { type Test } from "tap";
import type { Attempt, AuthOptions, Exchange, Grant, TokenOptions, Verdict } from "../../src/base/authenticator.js";
import { COUNTER_BLOCK_COUNT, SHARD_COUNTER } from "../../src/base/counters.js";
import { checkAuthFiles, GatewayAuthenticator } from "../../src/security/authenticator.js";
import { Gate } from "../../src/security/gate.js";
import { deleteUser, setUser } from "../../src/security/passwd.js";
import { addressOf, ATTEMPTS_SIZE, initAttempts, SlowDown } from "../../src/security/slow-down.js";
import { Lines } from "../control/supervisor-fixture.js";
import { clientFinal, clientFirst } from "./scram-client.js";

const root = mkdtempSync(join(tmpdir(), "penstock-authenticator-"));
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const passwordFile = join(root, "passwords");
const secretFile = join(root, "secret");
const SECRET = "0123456789abcdef0123456789abcdef";
const TOKENS: TokenOptions = { secretFile, keySetFile: "", issuer: "", audience: "", userClaim: "sub", groupsClaim: "groups", leewayMs: 0 };

t.before(async () => {
  await setUser(passwordFile, { user: "alice", password: "right", groups: ["ops"], scramIterations: 4096 });
  await setUser(passwordFile, { user: "plain", password: "right", groups: [], scramIterations: 0 });
  await setUser(passwordFile, { user: "device-7", password: undefined, groups: ["sensors"], scramIterations: 0 });
  writeFileSync(secretFile, SECRET, { mode: 0o600 });
});

function newTable(): SharedArrayBuffer {
  const table = new SharedArrayBuffer(ATTEMPTS_SIZE);
  initAttempts(table, randomBytes(16));
  return table;
}

/** One shard's; others of the same gateway have the same table of attempts. */
function open(t: Test, options: Partial<AuthOptions> = {}, attempts = newTable()): { readonly authenticator: GatewayAuthenticator; readonly counters: Float64Array } {
  const counters = new Float64Array(COUNTER_BLOCK_COUNT);
  const authenticator = new GatewayAuthenticator({
    options: { passwordFile, tokens: null, http: null, ...options }, clock: { wall: () => Date.now(), monotonic: () => performance.now() }, log: new Lines().log, counters, attempts,
  });
  t.teardown(() => authenticator.close());
  return { authenticator, counters };
}

function attempt(userName: string | undefined, password: string | undefined, peer = "192.0.2.1"): Attempt {
  return { userName, password: password === undefined ? undefined : Buffer.from(password), clientId: "c", peer };
}

t.test("the password file: right, wrong, unknown, without a password", async (t) => {
  const { authenticator, counters } = open(t);
  t.match(await authenticator.check(attempt("alice", "right")), { isAllowed: true, identity: { user: "alice", groups: ["ops"] }, expiresAt: Number.POSITIVE_INFINITY });
  t.match(await authenticator.check(attempt("alice", "right")), { isAllowed: true }, "and again");
  const wrong = [attempt("alice", "wrong", "192.0.2.2"), attempt("nobody", "right", "192.0.2.3"), attempt("device-7", "", "192.0.2.4"), attempt("alice", undefined, "192.0.2.5"), attempt(undefined, "right", "192.0.2.6"), attempt("", "", "192.0.2.7")];
  for (const answer of await Promise.all(wrong.map((one) => authenticator.check(one)))) t.match(answer, { isAllowed: false, refusal: "credentials" });
  t.equal(counters[SHARD_COUNTER.AUTH_FAILURES], wrong.length);
  t.same(authenticator.ofCertificate("device-7").identity.groups, ["sensors"]);
  t.same(authenticator.ofCertificate("other").identity.groups, []);
});

t.test("a password that was changed or taken away is void at once, also one that was right before", async (t) => {
  const { authenticator } = open(t);
  await setUser(passwordFile, { user: "eve", password: "one", groups: [], scramIterations: 0 });
  authenticator.look();
  t.match(await authenticator.check(attempt("eve", "one")), { isAllowed: true });
  await setUser(passwordFile, { user: "eve", password: "two", groups: ["new"], scramIterations: 0 });
  authenticator.look();
  t.match(await authenticator.check(attempt("eve", "one")), { isAllowed: false });
  t.match(await authenticator.check(attempt("eve", "two")), { isAllowed: true, identity: { groups: ["new"] } });
  deleteUser(passwordFile, "eve");
  authenticator.look();
  t.match(await authenticator.check(attempt("eve", "two", "192.0.2.9")), { isAllowed: false });
});

t.test("what let a client in is void when its user, password or key is gone; groups are those of now", async (t) => {
  const { authenticator } = open(t, { tokens: TOKENS });
  const grantOf = async (userName: string, password: string): Promise<Grant> => {
    const verdict = await authenticator.check(attempt(userName, password));
    if (!verdict.isAllowed || verdict.grant === null) throw new Error("no grant");
    return verdict.grant;
  };
  await setUser(passwordFile, { user: "mallory", password: "one", groups: ["old"], scramIterations: 4096 });
  authenticator.look();
  const changes = authenticator.changes;
  const first = clientFirst("mallory", "fyko+d2lbbFgONRv");
  const exchange = authenticator.begin("SCRAM-SHA-256", "192.0.2.1")!;
  const step = exchange.step(Buffer.from(clientFinal(first, challengeOf(exchange, first), "one").message));
  const byProof = "verdict" in step ? step.verdict.grant! : null;
  const grants = [await grantOf("mallory", "one"), byProof!];
  const alice = await grantOf("alice", "right");
  const token = await grantOf("any", await new SignJWT({ sub: "d1", groups: ["g"] }).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(SECRET)));
  for (const grant of grants) t.match(authenticator.again(grant), { identity: { user: "mallory", groups: ["old"] } });

  await setUser(passwordFile, { user: "mallory", password: undefined, groups: ["new"], scramIterations: 0 });
  authenticator.look();
  t.equal(authenticator.changes, changes + 1);
  for (const grant of grants) t.equal(authenticator.again(grant), null, "without a password no password lets in");
  await setUser(passwordFile, { user: "mallory", password: "one", groups: ["new"], scramIterations: 4096 });
  authenticator.look();
  for (const grant of grants) t.equal(authenticator.again(grant), null, "a password that was set again is another");
  const again = await grantOf("mallory", "one");
  const lines = readFileSync(passwordFile, "utf8");
  writeFileSync(passwordFile, lines.replace('"groups":["new"]', '"groups":["newer"]'));
  authenticator.look();
  t.match(authenticator.again(again), { identity: { user: "mallory", groups: ["newer"] } }, "the same password, other groups");
  deleteUser(passwordFile, "mallory");
  authenticator.look();
  t.equal(authenticator.again(again), null);
  t.match(authenticator.again(alice), { identity: { user: "alice", groups: ["ops"] } });
  t.match(authenticator.again(authenticator.ofCertificate("anybody").grant!), { identity: { user: "anybody", groups: [] } }, "the file does not decide about certificates");

  t.match(authenticator.again(token), { identity: { user: "d1", groups: ["g"] } });
  writeFileSync(secretFile, `${SECRET}2`, { mode: 0o600 });
  authenticator.look();
  t.equal(authenticator.again(token), null, "its key is gone");
  writeFileSync(secretFile, SECRET, { mode: 0o600 });
});

t.test("no password file at all: nobody is known", async (t) => {
  const { authenticator } = open(t, { passwordFile: join(root, "none") });
  t.match(await authenticator.check(attempt("alice", "right")), { isAllowed: false, refusal: "credentials" });
  t.equal(authenticator.begin("SCRAM-SHA-256", "192.0.2.1"), null, "and no method exists");
});

t.test("what looks like a token is one, whatever the user name; else it is a password", async (t) => {
  const token = await new SignJWT({ sub: "d1", groups: ["g"] }).setProtectedHeader({ alg: "HS256" }).sign(Buffer.from(SECRET));
  const { authenticator } = open(t, { tokens: TOKENS });
  for (const name of ["alice", undefined]) t.match(await authenticator.check(attempt(name, token)), { isAllowed: true, identity: { user: "d1", groups: ["g"] } });
  t.match(await authenticator.check(attempt("alice", "right")), { isAllowed: true, identity: { user: "alice" } });
  t.match(await authenticator.check(attempt("alice", `${token}x`)), { isAllowed: false, refusal: "credentials", detail: /token/ });
  t.match(await open(t).authenticator.check(attempt("alice", token, "192.0.2.8")), { isAllowed: false, detail: /wrong password/ }, "without a key it is a password like another");
});

t.test("unknown users cost what known ones do: a hash is computed for both", async (t) => {
  const { authenticator } = open(t);
  const timeOf = async (name: string, peer: string): Promise<number> => {
    const before = process.cpuUsage();
    await authenticator.check(attempt(name, "wrong", peer));
    const { user, system } = process.cpuUsage(before);
    return user + system;
  };
  const known: number[] = [];
  const unknown: number[] = [];
  for (let i = 0; i < 5; i++) {
    known.push(await timeOf("alice", `192.0.2.${20 + i}`));
    unknown.push(await timeOf("nobody", `192.0.2.${40 + i}`));
  }
  // A hash takes tens of milliseconds, all else far less than one: the quickest of each tell.
  const ratio = Math.min(...unknown) / Math.min(...known);
  t.ok(ratio > 0.5 && ratio < 2, `unknown / known: ${ratio.toFixed(2)}`);
});

t.test("guessing is slowed: answers come later and later, then the address is not looked at, others are", async (t) => {
  const { authenticator, counters } = open(t);
  const guesses = Array.from({ length: 16 }, (_, i) => authenticator.check(attempt("alice", `guess ${i}`, "198.51.100.1")));
  t.match(await Promise.race(guesses), { isAllowed: false, refusal: "credentials" });
  // One has been answered; another takes its place, and the next is too many.
  const { authenticator: full } = open(t);
  const held = Array.from({ length: 16 }, () => full.begin("SCRAM-SHA-256", "198.51.100.2")!).map((exchange) => exchange.step(Buffer.from("rubbish")));
  t.equal(held.length, 16);
  t.match(await full.check(attempt("alice", "right", "198.51.100.2")), { isAllowed: false, refusal: "slowed" }, "even with the right password");
  t.match(await full.begin("SCRAM-SHA-256", "198.51.100.2")!.step(Buffer.from(clientFirst("alice", "0123456789"))), { refusal: "slowed" });
  t.match(await full.check(attempt("alice", "right", "198.51.100.3")), { isAllowed: true }, "from elsewhere all is as it was");
  t.ok(counters[SHARD_COUNTER.AUTH_FAILURES]! >= 1);
});

t.test("guesses that came all at once are not all looked at: those that still wait when others have failed are refused unseen", async (t) => {
  let requests = 0;
  const server = createServer((request, response) => {
    requests++;
    request.resume().on("end", () => response.end('{"allow":false}'));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const http = { url, tokenFile: "", deadlineMs: 5000, cacheMs: 0, staleMs: 0, validForMs: 0, concurrency: 2 };
  for (const [user, options] of [["alice", {}], ["remote", { http }]] as const) {
    const { authenticator, counters } = open(t, options);
    const guesses = Array.from({ length: 100 }, (_, i) => authenticator.check(attempt(user, `guess ${i}`, "198.51.100.9")));
    let slowed = 0;
    const unseen = new Promise<void>((resolve) => {
      for (const guess of guesses) {
        void guess.then((verdict) => {
          if (!verdict.isAllowed && verdict.refusal === "slowed" && ++slowed === 60) resolve();
        });
      }
    });
    await unseen;
    t.ok(counters[SHARD_COUNTER.AUTH_SLOWED]! >= 60, user);
    t.ok(counters[SHARD_COUNTER.AUTH_FAILURES]! <= 40, "sixteen, and as many more as were answered meanwhile");
  }
  t.ok(requests <= 40, `${requests} requests`);
});

t.test("delays double from a quarter of a second to eight, on whatever shards, and are forgotten; the table is bounded", async (t) => {
  let now = 1_000_000;
  const table = newTable();
  const shards = Array.from({ length: 4 }, () => new SlowDown(table, () => now));
  const [slow, other] = shards as [SlowDown, SlowDown];
  const delays: number[] = [];
  for (let i = 0; i < 8; i++) {
    delays.push(shards[i % 4]!.failed("a"));
    shards[i % 4]!.answered("a");
  }
  t.same(delays, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
  t.equal(slow.failed("b"), 250);
  now += 301;
  t.equal(slow.failed("a"), 250, "forgotten");
  t.equal(slow.isBlocked("a"), false);
  for (let i = 0; i < 15; i++) shards[i % 4]!.failed("a");
  for (const shard of shards) t.equal(shard.isBlocked("a"), true, "sixteen on all shards together");
  t.equal(other.isBlocked("b"), false);
  other.answered("a");
  t.equal(slow.isBlocked("a"), false);
  slow.failed("a");
  now += 31;
  t.equal(slow.isBlocked("a"), false, "answers that a dead shard held do not block for ever");
  t.equal(slow.failed("a"), 8000, "but the failures count");

  // A state has 16 bits for its seconds.
  for (let i = 0; i < 16; i++) slow.failed("c");
  now += 0x10000;
  t.equal(slow.isBlocked("c"), false, "what was held 18 hours ago is not held now");
  t.equal(slow.failed("c"), 250, "forgotten long ago");

  // More addresses than there is room for: those with held answers stay the longest.
  for (let i = 0; i < 16; i++) slow.failed("held");
  for (let i = 0; i < 100_000; i++) {
    const address = `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`;
    other.failed(address);
    other.answered(address);
  }
  t.equal(slow.isBlocked("held"), true);
  const address = "10.0.0.0";
  other.answered(address);
  t.ok(other.failed(address) <= 500, "forgotten, or not");
});

t.test("two threads that count one address lose nothing", async (t) => {
  const table = newTable();
  const program = `
    const { parentPort, workerData } = require("node:worker_threads");
    import(workerData.module).then(({ SlowDown }) => {
      const slow = new SlowDown(workerData.table);
      for (let i = 0; i < 20_000; i++) { slow.failed("192.0.2.1"); slow.answered("192.0.2.1"); }
      for (let i = 0; i < 8; i++) slow.failed("192.0.2.1");
      parentPort.postMessage("done");
    });`;
  const module = new URL("../../src/security/slow-down.js", import.meta.url).href;
  await Promise.all([0, 1].map(() => once(new Worker(program, { eval: true, workerData: { module, table } }), "message")));
  const slow = new SlowDown(table);
  t.equal(slow.isBlocked("192.0.2.1"), true);
  slow.answered("192.0.2.1");
  t.equal(slow.isBlocked("192.0.2.1"), false, "sixteen were held, not one more or less");
});

t.test("an attacker that changes its client id, and so its shard, gains nothing by it", async (t) => {
  const attempts = newTable();
  const shards = Array.from({ length: 4 }, () => open(t, {}, attempts).authenticator);
  const held = Array.from({ length: 16 }, (_, i) => shards[i % 4]!.begin("SCRAM-SHA-256", "198.51.100.4")!.step(Buffer.from("rubbish")));
  for (const shard of shards) t.match(await shard.check(attempt("alice", "right", "198.51.100.4")), { isAllowed: false, refusal: "slowed" });
  t.equal(held.length, 16);
});

t.test("an IPv6 host is its /64, an IPv4 address in IPv6 is itself", async (t) => {
  t.equal(addressOf("192.0.2.1"), "192.0.2.1");
  t.equal(addressOf("::ffff:192.0.2.1"), "192.0.2.1");
  t.equal(addressOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  t.equal(addressOf("2001:db8:1:2::9"), "2001:db8:1:2::/64");
  t.equal(addressOf("2001:db8::1"), "2001:db8:0:0::/64");
  t.equal(addressOf("::1"), "0:0:0:0::/64");
  t.equal(addressOf("fe80::1%eth0"), "fe80:0:0:0::/64");
});

t.test("a gate lets so many run and so many wait", async (t) => {
  let now = 0;
  const gate = new Gate({ wall: () => 0, monotonic: () => now }, 2, 3);
  let running = 0;
  let most = 0;
  const ends: (() => void)[] = [];
  const job = async (): Promise<number> => {
    most = Math.max(most, ++running);
    await new Promise<void>((resolve) => ends.push(resolve));
    return running--;
  };
  const jobs = Array.from({ length: 6 }, () => gate.run(job));
  t.equal(await jobs[5], null, "one too many");
  for (let i = 0; i < 5; i++) {
    while (ends.length === 0) await Promise.resolve();
    ends.shift()!();
  }
  t.same((await Promise.all(jobs.slice(0, 5))).length, 5);
  t.equal(most, 2);
  await t.rejects(gate.run(() => Promise.reject(new Error("no"))), { message: "no" });
  t.equal(await gate.run(async () => "free again"), "free again");
  const [first, second] = [gate.run(job), gate.run(job)];
  const late = gate.run(async () => "late");
  now += 10_001;
  const soon = gate.run(async () => "soon");
  for (const end of ends.splice(0)) end();
  await Promise.all([first, second]);
  t.equal(await late, null, "who waited too long is not begun");
  t.equal(await soon, "soon");
});

function challengeOf(exchange: Exchange, data: string): string {
  const step = exchange.step(Buffer.from(data));
  if (!("challenge" in step)) throw new Error("no challenge");
  return step.challenge.toString();
}

t.test("SCRAM over the password file; without keys, without a user and with a wrong proof it looks the same until its end", async (t) => {
  const { authenticator } = open(t);
  t.equal(authenticator.begin("SCRAM-SHA-1", "192.0.2.1"), null);
  const first = clientFirst("alice", "fyko+d2lbbFgONRv");
  const exchange = authenticator.begin("SCRAM-SHA-256", "192.0.2.1")!;
  const final = clientFinal(first, challengeOf(exchange, first), "right");
  t.match(exchange.step(Buffer.from(final.message)), { verdict: { isAllowed: true, identity: { user: "alice", groups: ["ops"] } }, data: Buffer.from(`v=${final.expected}`) });
  const refused = ["alice", "nobody", "plain", "device-7"].map(async (user, index) => {
    const hello = clientFirst(user, "fyko+d2lbbFgONRv");
    const other = authenticator.begin("SCRAM-SHA-256", `192.0.2.${50 + index}`)!;
    const serverFirst = challengeOf(other, hello);
    t.match(serverFirst, /^r=fyko\+d2lbbFgONRv[^,]{24},s=[^,]{24},i=\d+$/, user);
    return (await other.step(Buffer.from(clientFinal(hello, serverFirst, "guess").message))) as Verdict;
  });
  for (const verdict of await Promise.all(refused)) t.match(verdict, { isAllowed: false, refusal: "credentials" });
});

t.test("files that cannot be used are found before anything starts", async (t) => {
  const has = (): boolean => true;
  checkAuthFiles({ passwordFile, tokens: TOKENS, http: null }, has);
  const loose = join(root, "loose");
  writeFileSync(loose, "", { mode: 0o644 });
  t.throws(() => checkAuthFiles({ passwordFile: loose, tokens: null, http: null }, has), { code: "AUTH_FILE_BAD", message: /chmod 600/ });
  checkAuthFiles({ passwordFile: loose, tokens: null, http: null }, () => false);
  t.throws(() => checkAuthFiles({ passwordFile, tokens: { ...TOKENS, secretFile: loose }, http: null }, has), { message: /chmod 600/ });
  const http = { url: "http://127.0.0.1/", tokenFile: loose, deadlineMs: 1, cacheMs: 0, staleMs: 0, validForMs: 0, concurrency: 1 };
  t.throws(() => checkAuthFiles({ passwordFile, tokens: null, http }, has), { message: /chmod 600/ });
  const empty = join(root, "empty");
  writeFileSync(empty, "\n", { mode: 0o600 });
  t.throws(() => checkAuthFiles({ passwordFile, tokens: null, http: { ...http, tokenFile: empty } }, has), { message: /is empty/ });
});
