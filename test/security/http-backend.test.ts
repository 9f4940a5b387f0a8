// The HTTP back-end: what is asked, what its answers mean, and every way in which it can fail: the client is refused then.
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { once } from "node:events";
import t, { type Test } from "tap";
import type { Attempt, HttpOptions, Verdict } from "../../src/base/authenticator.js";
import { COUNTER_BLOCK_COUNT, SHARD_COUNTER } from "../../src/base/counters.js";
import { HttpBackend } from "../../src/security/http-backend.js";

type Handler = (body: Record<string, unknown>, response: ServerResponse, request: IncomingMessage) => void;

const NOW_SECONDS = 1_800_000_000;
const ATTEMPT: Attempt = { userName: "alice", password: Buffer.from("pw"), clientId: "c1", peer: "192.0.2.1" };

interface Fixture {
  readonly backend: { readonly check: (attempt: Attempt) => Promise<Verdict> };
  readonly counters: Float64Array;
  readonly clock: { now: number; wall: number };
  readonly url: string;
}

async function open(t: Test, handler: Handler, options: Partial<HttpOptions> = {}, token = ""): Promise<Fixture> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => handler(JSON.parse(Buffer.concat(parts).toString()) as Record<string, unknown>, response, request));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/auth`;
  const counters = new Float64Array(COUNTER_BLOCK_COUNT);
  const clock = { now: 1000, wall: NOW_SECONDS * 1000 };
  const backend = new HttpBackend({ url, tokenFile: "", deadlineMs: 5000, cacheMs: 0, staleMs: 0, validForMs: 0, concurrency: 4, ...options }, () => token, { wall: () => clock.wall, monotonic: () => clock.now }, counters);
  t.teardown(() => {
    backend.close();
    server.closeAllConnections();
    server.close();
  });
  return { backend: { check: (attempt) => backend.check(attempt, () => null) }, counters, clock, url };
}

function json(value: unknown): Handler {
  return (_body, response) => response.end(JSON.stringify(value));
}

t.test("it is asked with user name, password, client id and peer, and a token of its own", async (t) => {
  let asked: Record<string, unknown> = {};
  let authorization: string | undefined;
  const { backend, counters } = await open(t, (body, response, request) => {
    asked = body;
    ({ authorization } = request.headers);
    t.equal(request.method, "POST");
    t.equal(request.headers["content-type"], "application/json");
    response.end('{"allow":true}');
  }, {}, "shared");
  t.match(await backend.check(ATTEMPT), { isAllowed: true, identity: { user: "alice", groups: [] }, expiresAt: Number.POSITIVE_INFINITY });
  t.same(asked, { username: "alice", password: "pw", client_id: "c1", peer: "192.0.2.1" });
  t.equal(authorization, "Bearer shared");
  await backend.check({ ...ATTEMPT, userName: undefined, password: undefined });
  t.same(asked, { username: null, password: null, client_id: "c1", peer: "192.0.2.1" });
  t.equal(counters[SHARD_COUNTER.AUTH_HTTP_REQUESTS], 2);
});

t.test("its answer names user and groups, or refuses", async (t) => {
  const { backend } = await open(t, (body, response) => response.end(JSON.stringify(body["username"] === "alice" ? { allow: true, user: "a", groups: ["g"], more: 1 } : { allow: false })));
  t.match(await backend.check(ATTEMPT), { isAllowed: true, identity: { user: "a", groups: ["g"] } });
  t.match(await backend.check({ ...ATTEMPT, userName: "bob" }), { isAllowed: false, refusal: "credentials" });
});

for (const [what, handler] of [
  ["500", (_body, response) => response.writeHead(500).end('{"allow":true}')],
  ["a redirection", (_body, response) => response.writeHead(302, { location: "/" }).end()],
  ["204", (_body, response) => response.writeHead(204).end()],
  ["no JSON", (_body, response) => response.end("<html>")],
  ["null", json(null)],
  ["no allow", json({ user: "a" })],
  ["allow as a word", json({ allow: "true" })],
  ["groups as a word", json({ allow: true, groups: "g" })],
  ["a user that is a number", json({ allow: true, user: 5 })],
  ["an end that is a text", json({ allow: true, expire_at: "2030-01-01" })],
  ["an end in milliseconds", json({ allow: true, expire_at: NOW_SECONDS * 1000 + 60_000 })],
  ["an end before all time", json({ allow: true, expire_at: -1 })],
  ["more than it should", json({ allow: true, more: "x".repeat(70_000) })],
  ["half an answer", (_body, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("{");
    setImmediate(() => response.destroy());
  }],
  ["nothing but a closed connection", (_body, response) => response.destroy()],
] as readonly (readonly [string, Handler])[]) {
  void t.test(`an answer that is none refuses the client: ${what}`, async (t) => {
    const { backend, counters } = await open(t, handler);
    t.match(await backend.check(ATTEMPT), { isAllowed: false, refusal: "unavailable" });
    t.equal(counters[SHARD_COUNTER.AUTH_HTTP_FAILURES], 1);
  });
}

t.test("one that takes too long, also byte by byte, is not waited for", async (t) => {
  const { backend } = await open(t, () => undefined, { deadlineMs: 50 });
  t.match(await backend.check(ATTEMPT), { isAllowed: false, refusal: "unavailable", detail: /within 50 ms/ });
  const dripping = await open(t, (_body, response) => {
    response.writeHead(200);
    const timer = setInterval(() => response.write(" "), 5);
    response.on("close", () => clearInterval(timer));
  }, { deadlineMs: 60 });
  t.match(await dripping.backend.check(ATTEMPT), { isAllowed: false, detail: /within 60 ms/ });
});

t.test("a connection that was kept and is closed when the next request comes is no failure; a new one that is closed is", async (t) => {
  const connections: number[] = [];
  let answersEach = 1;
  const server = createTcpServer((socket) => {
    const index = connections.push(0) - 1;
    socket.on("error", () => undefined);
    // Each request comes in one piece.
    socket.on("data", () => {
      if (++connections[index]! > answersEach) socket.destroy();
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"allow":true}');
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const { backend, counters } = await open(t, json({}), { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` });
  for (const user of ["a", "b"]) t.match(await backend.check({ ...ATTEMPT, userName: user }), { isAllowed: true }, user);
  t.same(connections, [2, 1]);
  t.equal(counters[SHARD_COUNTER.AUTH_HTTP_FAILURES], 0);
  answersEach = 0;
  t.match(await backend.check(ATTEMPT), { isAllowed: false, refusal: "unavailable" });
  t.equal(connections.length, 3, "it is not tried for ever");
});

t.test("nobody at the address", async (t) => {
  const { url } = await open(t, json({ allow: true }));
  const port = Number(new URL(url).port);
  const gone = createServer();
  gone.listen(0, "127.0.0.1");
  await once(gone, "listening");
  const free = (gone.address() as AddressInfo).port;
  gone.close();
  await once(gone, "close");
  t.not(free, port);
  const { backend } = await open(t, json({ allow: true }), { url: `http://127.0.0.1:${free}/` });
  t.match(await backend.check(ATTEMPT), { isAllowed: false, refusal: "unavailable", detail: /ECONNREFUSED/ });
});

t.test("answers are used again for the same credentials, for a while; refusals for a shorter one", async (t) => {
  let count = 0;
  let allow = true;
  const { backend, clock } = await open(t, (_body, response) => {
    count++;
    response.end(JSON.stringify({ allow }));
  }, { cacheMs: 60_000 });
  await backend.check(ATTEMPT);
  await backend.check(ATTEMPT);
  t.equal(count, 1);
  for (const other of [{ ...ATTEMPT, password: Buffer.from("pW") }, { ...ATTEMPT, userName: "alicep", password: Buffer.from("w") }, { ...ATTEMPT, clientId: "c2" }, { ...ATTEMPT, password: undefined }]) await backend.check(other);
  t.equal(count, 5, "other credentials are other credentials");
  allow = false;
  clock.now += 59_999;
  t.match(await backend.check(ATTEMPT), { isAllowed: true });
  clock.now += 1;
  t.match(await backend.check(ATTEMPT), { isAllowed: false });
  t.equal(count, 6);
  clock.now += 4_999;
  await backend.check(ATTEMPT);
  t.equal(count, 6);
  allow = true;
  clock.now += 1;
  t.match(await backend.check(ATTEMPT), { isAllowed: true });
});

t.test("while it fails, those whom it let in lately go on as long as auth.http.stale says, and nobody else", async (t) => {
  let isUp = true;
  const { backend, clock } = await open(t, (_body, response) => response.writeHead(isUp ? 200 : 503).end('{"allow":true}'), { cacheMs: 1000, staleMs: 10_000 });
  await backend.check(ATTEMPT);
  isUp = false;
  clock.now += 5000;
  t.match(await backend.check(ATTEMPT), { isAllowed: true });
  t.match(await backend.check({ ...ATTEMPT, password: Buffer.from("other") }), { isAllowed: false, refusal: "unavailable" });
  clock.now += 6001;
  t.match(await backend.check(ATTEMPT), { isAllowed: false, refusal: "unavailable" });
});

t.test("its answer may say until when the client may stay, and null is as if it said nothing", async (t) => {
  let end: unknown = NOW_SECONDS + 60;
  const { backend, clock } = await open(t, (_body, response) => response.end(JSON.stringify({ allow: true, user: null, groups: null, expire_at: end })));
  t.match(await backend.check(ATTEMPT), { isAllowed: true, identity: { user: "alice", groups: [] }, expiresAt: (NOW_SECONDS + 60) * 1000, validUntil: Number.POSITIVE_INFINITY });
  end = NOW_SECONDS + 0.5;
  t.match(await backend.check(ATTEMPT), { isAllowed: true, expiresAt: NOW_SECONDS * 1000 + 500 });
  end = null;
  t.match(await backend.check(ATTEMPT), { isAllowed: true, expiresAt: Number.POSITIVE_INFINITY });
  end = NOW_SECONDS;
  t.match(await backend.check(ATTEMPT), { isAllowed: false, refusal: "forbidden", detail: /"alice".*expire_at/ }, "over already: not let in, and no wrong password either");
  clock.wall -= 1;
  t.match(await backend.check(ATTEMPT), { isAllowed: true });
});

t.test("an answer is not used again beyond the end that it names, also while the service fails", async (t) => {
  let count = 0;
  let isUp = true;
  const { backend, clock } = await open(t, (_body, response) => {
    count++;
    response.writeHead(isUp ? 200 : 503).end(JSON.stringify({ allow: true, expire_at: clock.wall / 1000 + 10 }));
  }, { cacheMs: 60_000, staleMs: 60_000 });
  await backend.check(ATTEMPT);
  clock.wall += 9_999;
  t.match(await backend.check(ATTEMPT), { isAllowed: true, expiresAt: clock.wall + 1 });
  t.equal(count, 1);
  clock.wall += 1;
  t.match(await backend.check(ATTEMPT), { isAllowed: true, expiresAt: clock.wall + 10_000 });
  t.equal(count, 2);
  isUp = false;
  clock.wall += 10_000;
  t.match(await backend.check(ATTEMPT), { isAllowed: false, refusal: "unavailable" });
});

t.test("auth.http.valid_for: each client stays a little shorter than that from its answer on, however long answers are used again", async (t) => {
  let count = 0;
  let isUp = true;
  const { backend, clock } = await open(t, (_body, response) => {
    count++;
    response.writeHead(isUp ? 200 : 503).end('{"allow":true}');
  }, { validForMs: 1000, cacheMs: 60_000, staleMs: 60_000 });
  const ends = new Set<number>();
  const ask = async (clientId: string): Promise<number> => {
    const verdict = await backend.check({ ...ATTEMPT, clientId });
    return verdict.isAllowed ? verdict.validUntil - clock.now : 0;
  };
  for (let i = 0; i < 100; i++) {
    const left = await ask(`c${i}`);
    ends.add(left);
    if (left < 750 || left > 1000) t.fail(`it may stay ${left} ms`);
  }
  t.ok(ends.size > 50, "they do not all go at once");
  t.equal(count, 100);
  const first = await ask("c0");
  t.equal(count, 100, "the same answer");
  clock.now += 500;
  t.equal(await ask("c0"), first - 500, "counts from when it was given");
  clock.now += 500;
  t.ok((await ask("c0")) >= 750);
  t.equal(count, 101, "and is not used beyond that");
  clock.now += 30_000;
  isUp = false;
  t.ok((await ask("c0")) >= 750, "auth.http.stale: while the service fails it is let in again, for the same time");
});

t.test("no more requests at once than configured; the others wait their turn", async (t) => {
  const open4: ServerResponse[] = [];
  let arrived = (): void => undefined;
  const { backend } = await open(t, (_body, response) => {
    open4.push(response);
    arrived();
  });
  const answers = Array.from({ length: 10 }, (_, i) => backend.check({ ...ATTEMPT, userName: `u${i}` }));
  let most = 0;
  for (let answered = 0; answered < 10; ) {
    while (open4.length === 0) await new Promise<void>((resolve) => (arrived = resolve));
    most = Math.max(most, open4.length);
    open4.shift()!.end('{"allow":true}');
    answered++;
    await Promise.race([new Promise<void>((resolve) => (arrived = resolve)), Promise.all(answers)]);
  }
  for (const answer of await Promise.all(answers)) t.match(answer, { isAllowed: true });
  t.ok(most <= 4, `${most} at once`);
});
