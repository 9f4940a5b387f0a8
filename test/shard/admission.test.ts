// Clients that wait to be let in: order, what comes meanwhile, deadlines, enhanced authentication. On 1, 2 and 4 shards, with an authenticator
// whose answers the test gives.
import t, { type Test } from "tap";
import type { Packet } from "mqtt-packet";
import { type Attempt, type Authenticator, type Denied, type Exchange, type Standing, type Term, UNLIMITED, type Verdict } from "../../src/base/authenticator.js";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { CLOSE_REASON } from "../../src/ring/layout.js";
import { clientIdOn, type GatewayOptions, TestGateway, type TestClient } from "./harness.js";
import { publish, subscribe } from "./support.js";

interface Asked {
  readonly attempt: Attempt;
  readonly answer: (verdict: Verdict) => Promise<void>;
}

/** Answers when the test says; method "TEST" asks for "two" after "one", then lets `user` in. */
class TestAuthenticator implements Authenticator {
  readonly asked: Asked[] = [];
  gateway!: TestGateway;
  user = "tester";
  refusal: ((denied: Denied) => void) | null = null;

  readonly changes = 0;

  ofCertificate(user: string): Standing {
    return { identity: { user, groups: [`${user}s`] }, grant: null };
  }

  again(): null {
    return null;
  }

  check(attempt: Attempt): Promise<Verdict> {
    return new Promise((resolve) => {
      this.asked.push({
        attempt,
        answer: async (verdict) => {
          resolve(verdict);
          await Promise.resolve();
          this.gateway.run();
        },
      });
    });
  }

  begin(method: string): Exchange | null {
    if (method !== "TEST") return null;
    return {
      step: (data) => {
        const said = data?.toString() ?? "";
        if (said === "one") return { challenge: Buffer.from("two?") };
        if (said === "two") return { verdict: allowed(this.user), data: Buffer.from("three") };
        return new Promise((resolve) => (this.refusal = resolve));
      },
    };
  }

  async refuse(): Promise<void> {
    this.refusal!(denied("credentials"));
    await Promise.resolve();
    this.gateway.run();
  }
}

function allowed(user: string, term: Partial<Term> = {}): Verdict & { isAllowed: true } {
  return { isAllowed: true, identity: { user, groups: ["g"] }, grant: null, ...UNLIMITED, ...term };
}

function denied(refusal: Denied["refusal"]): Denied {
  return { isAllowed: false, refusal, detail: "the secret detail" };
}

interface Fixture {
  readonly gateway: TestGateway;
  readonly authenticator: TestAuthenticator;
  /** Client ids on the first and the last shard. */
  readonly a: string;
  readonly b: string;
}

function onShards(name: string, run: (t: Test, fixture: Fixture) => Promise<void>, options: GatewayOptions = {}): void {
  for (const shards of [1, 2, 4]) {
    void t.test(`${name} (${shards} shards)`, async (t) => {
      const authenticator = new TestAuthenticator();
      const gateway = new TestGateway({ ...options, shards, authenticator });
      authenticator.gateway = gateway;
      t.teardown(() => gateway.stop());
      await run(t, { gateway, authenticator, a: clientIdOn(0, shards, "a"), b: clientIdOn(shards - 1, shards, "b") });
    });
  }
}

const WITH_PASSWORD = { username: "u", password: Buffer.from("p") };

function sum(gateway: TestGateway, counter: number): number {
  return gateway.counters.reduce((total, block) => total + block[counter]!, 0);
}

function auth(reasonCode: number, data: string, authenticationMethod = "TEST"): Packet {
  return { cmd: "auth", reasonCode, properties: { authenticationMethod, authenticationData: Buffer.from(data) } } as unknown as Packet;
}

function connect5(gateway: TestGateway, clientId: string, properties: object, more: Record<string, unknown> = {}): TestClient {
  return gateway.connect(clientId, { protocolVersion: 5, properties, ...more });
}

onShards("who needs no check is let in within the turn; who gives a password waits, and is then its user", async (t, { gateway, authenticator, a, b }) => {
  t.match(gateway.connect(a).drain("connack"), [{ returnCode: 0 }]);
  t.equal(authenticator.asked.length, 0);
  const client = gateway.connect(b, WITH_PASSWORD);
  t.same(client.received, []);
  t.equal(sum(gateway, SHARD_COUNTER.AUTH_WAITING), 1);
  t.match(authenticator.asked, [{ attempt: { userName: "u", password: Buffer.from("p"), clientId: b, peer: "127.0.0.1" } }]);
  await authenticator.asked[0]!.answer(allowed("user u"));
  t.match(client.drain("connack"), [{ returnCode: 0 }]);
  t.equal(sum(gateway, SHARD_COUNTER.AUTH_WAITING), 0);
  const status = gateway.shards.flatMap((shard) => shard.clients());
  t.equal(status.find((one) => one.clientId === a)?.user, "");
  t.equal(status.find((one) => one.clientId === b)?.user, "user u");
});

onShards("what a client sends before CONNACK is handled after it, in order [MQTT-3.1.4-5]", async (t, { gateway, authenticator, a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("x/#"));
  const client = gateway.open(gateway.shardOf(b), 5);
  client.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: b, ...WITH_PASSWORD }, subscribe("y"), publish("x/1", "one"), publish("x/2", "two"));
  client.send(publish("x/3", "three"), publish("y", "own"));
  t.same(watcher.payloads(), []);
  t.same(client.received, []);
  await authenticator.asked[0]!.answer(allowed("u"));
  t.match(client.received[0], { cmd: "connack" });
  t.same(client.received.map((packet) => packet.cmd).sort(), ["connack", "publish", "suback"]);
  t.same(watcher.payloads(), ["one", "two", "three"]);
});

onShards("a refusal has the standard's word, says nothing more, and nothing of the client is handled", async (t, { gateway, authenticator, a, b }) => {
  const watcher = gateway.connect(a);
  watcher.send(subscribe("#"));
  const words = [["credentials", 0x86, 4], ["forbidden", 0x87, 5], ["slowed", 0x9f, 3], ["busy", 0x89, 3], ["unavailable", 0x88, 3]] as const;
  for (const [refusal, reasonCode, returnCode] of words) {
    const five = connect5(gateway, b, {}, WITH_PASSWORD);
    five.send(publish("x", "never"));
    const four = gateway.connect(b, WITH_PASSWORD);
    for (const { answer } of authenticator.asked.splice(0)) await answer(denied(refusal));
    const [connack] = five.drain("connack") as unknown as { reasonCode: number; properties: { reasonString: string } }[];
    t.equal(connack!.reasonCode, reasonCode, refusal);
    t.notMatch(connack!.properties.reasonString, /secret detail|"u"/);
    t.match(four.drain("connack"), [{ returnCode, sessionPresent: false }], refusal);
    for (const client of [five, four]) t.not(client.closeReason, null);
  }
  t.same(watcher.payloads(), []);
  t.ok(gateway.logged.some((line) => line.includes("the secret detail")), "the log tells");
  t.equal(gateway.shards.flatMap((shard) => shard.clients()).length, 1);
});

onShards("credentials are checked also where none are needed: wrong ones are refused on loopback, and with anonymous always", async (t, { gateway, authenticator, b }) => {
  for (const more of [WITH_PASSWORD, { username: "u" }]) {
    const client = gateway.connect(b, more);
    await authenticator.asked.pop()!.answer(denied("credentials"));
    t.match(client.drain("connack"), [{ returnCode: 4 }]);
  }
}, { anonymous: "always" });

onShards("a client that is gone before the answer is forgotten; the answer changes nothing", async (t, { gateway, authenticator, a, b }) => {
  const client = gateway.connect(b, { ...WITH_PASSWORD, will: { topic: "will", payload: Buffer.from("gone"), qos: 0, retain: false } });
  const watcher = gateway.connect(a);
  watcher.send(subscribe("will"));
  client.cut();
  t.equal(sum(gateway, SHARD_COUNTER.AUTH_WAITING), 0);
  await authenticator.asked[0]!.answer(allowed("u"));
  t.same(client.received, []);
  t.same(watcher.payloads(), [], "it was never connected");
  t.equal(gateway.shards.flatMap((shard) => shard.clients()).length, 1);
});

onShards("one that gets no answer in time is refused; the answer that comes then changes nothing", async (t, { gateway, authenticator, a, b }) => {
  const four = gateway.connect(b, WITH_PASSWORD);
  const five = connect5(gateway, a, {}, WITH_PASSWORD);
  gateway.advance(29_000);
  t.same([...four.received, ...five.received], []);
  gateway.advance(1_001);
  t.match(four.drain("connack"), [{ returnCode: 3 }]);
  t.match(five.drain("connack"), [{ reasonCode: 0x89 }]);
  t.equal(sum(gateway, SHARD_COUNTER.AUTH_TIMEOUTS), 2);
  for (const { answer } of authenticator.asked) await answer(allowed("u"));
  t.same([...four.received, ...five.received], []);
});

onShards("of two CONNECTs with one client id the later one keeps the session, in whichever order they are answered", async (t, { gateway, authenticator, b }) => {
  for (const order of [[0, 1], [1, 0]]) {
    const clients = [gateway.connect(b, WITH_PASSWORD), gateway.connect(b, WITH_PASSWORD)];
    const asked = authenticator.asked.splice(0);
    for (const index of order) await asked[index]!.answer(allowed("u"));
    t.equal(clients[0]!.closeReason, CLOSE_REASON.TAKEN_OVER, String(order));
    t.equal(clients[1]!.closeReason, null);
    t.match(clients[1]!.drain("connack"), [{ returnCode: 0 }]);
    clients[1]!.cut();
  }
});

onShards("a stop waits for nobody who waits: MQTT is told that the server is unavailable", async (t, { gateway, authenticator, a, b }) => {
  const four = gateway.connect(b, WITH_PASSWORD);
  const five = connect5(gateway, a, {}, WITH_PASSWORD);
  let drained = 0;
  for (const shard of gateway.shards) shard.drain(10_000, () => drained++);
  gateway.run();
  t.match(four.drain("connack"), [{ returnCode: 3 }]);
  t.match(five.drain("connack"), [{ reasonCode: 0x88 }]);
  for (const { answer } of authenticator.asked) await answer(allowed("u"));
  t.same([...four.received, ...five.received], []);
  await new Promise<void>((resolve) => setImmediate(resolve));
  t.equal(drained, gateway.shards.length);
});

onShards("a token that expires ends the connection with its will: 5 is told 0xA0, 3.1.1 is closed", async (t, { gateway, authenticator, a, b }) => {
  const watcher = gateway.connect(`${a}-watcher`);
  watcher.send(subscribe("will/#"));
  const will = (name: string): object => ({ will: { topic: `will/${name}`, payload: Buffer.from(name), qos: 0, retain: false } });
  const four = gateway.connect(b, { ...WITH_PASSWORD, ...will("four") });
  const five = connect5(gateway, a, {}, { ...WITH_PASSWORD, ...will("five") });
  for (const { answer } of authenticator.asked) await answer(allowed("u", { expiresAt: gateway.clock.wall() + 60_000 }));
  gateway.advance(59_000);
  t.equal(five.drain("disconnect").length, 0);
  gateway.advance(1_000);
  t.match(five.drain("disconnect"), [{ reasonCode: 0xa0 }]);
  t.equal(four.closeReason, CLOSE_REASON.NOT_AUTHORISED);
  t.same(watcher.payloads().sort(), ["five", "four"]);
  t.equal(sum(gateway, SHARD_COUNTER.AUTH_EXPIRED), 2);
  t.equal(sum(gateway, SHARD_COUNTER.PROTOCOL_ERRORS), 0);
});

onShards("a client that is let in for a time goes when that is over, whatever the clock is set to, as one whose answer names an hour goes at that hour", async (t, { gateway, authenticator, a, b }) => {
  const lasting = connect5(gateway, a, {}, WITH_PASSWORD);
  const dated = connect5(gateway, b, {}, WITH_PASSWORD);
  const both = connect5(gateway, `${a}-both`, {}, WITH_PASSWORD);
  const { clock } = gateway;
  const validUntil = clock.monotonic() + 60_000;
  const expiresAt = clock.wall() + 60_000;
  for (const { attempt, answer } of authenticator.asked) {
    await answer(allowed("u", attempt.clientId === a ? { validUntil } : attempt.clientId === b ? { expiresAt } : { validUntil, expiresAt: expiresAt - 50_000 }));
  }
  gateway.advance(10_000);
  t.match(both.drain("disconnect"), [{ reasonCode: 0xa0 }], "what comes first decides");
  clock.wallOffset = 3_600_000;
  gateway.advance(1_000);
  t.match(dated.drain("disconnect"), [{ reasonCode: 0xa0 }]);
  clock.wallOffset = -3_600_000;
  gateway.advance(48_000);
  t.equal(lasting.drain("disconnect").length, 0, "59 s");
  gateway.advance(1_000);
  t.match(lasting.drain("disconnect"), [{ reasonCode: 0xa0 }]);
  t.equal(sum(gateway, SHARD_COUNTER.AUTH_EXPIRED), 3);
});

const CERTIFICATE = { commonName: "device-7", subject: "CN=device-7", alternativeNames: ["DNS:seven.example", "URI:urn:x"], fingerprint: "00" };

for (const [identity, user] of [["none", ""], ["common_name", "device-7"], ["subject_alternative_name", "seven.example"]] as const) {
  onShards(`a certificate's identity ${identity}`, async (t, { gateway, authenticator, b }) => {
    const open = (certificate: object, more: object = {}): TestClient => {
      const client = gateway.open(gateway.shardOf(b), 5, { isLoopback: false, tls: { version: "TLSv1.3", cipher: "x", context: 1, isResumed: false, certificate: certificate as typeof CERTIFICATE } });
      client.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: b, ...more } as Packet);
      return client;
    };
    t.match(open(CERTIFICATE).drain("connack"), [{ reasonCode: 0 }]);
    t.equal(gateway.shards.flatMap((shard) => shard.clients())[0]!.user, user);
    const withPassword = open(CERTIFICATE, WITH_PASSWORD);
    t.equal(authenticator.asked.length, identity === "none" ? 1 : 0, "the certificate decides when it names the user");
    if (identity !== "none") t.match(withPassword.drain("connack"), [{ reasonCode: 0 }]);
    const nameless = open({ ...CERTIFICATE, commonName: "", alternativeNames: [] });
    t.match(nameless.drain("connack"), [{ reasonCode: identity === "none" ? 0 : 0x87 }]);
  }, { identity });
}

onShards("enhanced authentication: AUTH 0x18 both ways, CONNACK with method and data [MQTT-4.12.0-2] [MQTT-4.12.0-3] [MQTT-4.12.0-5]", async (t, { gateway, b }) => {
  const client = connect5(gateway, b, { authenticationMethod: "TEST", authenticationData: Buffer.from("one") });
  t.match(client.drain("auth"), [{ reasonCode: 0x18, properties: { authenticationMethod: "TEST", authenticationData: Buffer.from("two?") } }]);
  t.same(client.received, []);
  client.send(auth(0x18, "two"));
  t.match(client.drain("connack"), [{ reasonCode: 0, properties: { authenticationMethod: "TEST", authenticationData: Buffer.from("three") } }]);
  client.send(subscribe("x"), publish("x", "hello"));
  t.same(client.payloads(), ["hello"]);
  t.equal(gateway.shards.flatMap((shard) => shard.clients())[0]!.user, "tester");
});

onShards("an unknown method is refused with 0x8C [MQTT-4.12.0-1], also on loopback; without one CONNACK names none [MQTT-4.12.0-6]", async (t, { gateway, b }) => {
  const client = connect5(gateway, b, { authenticationMethod: "KERBEROS" });
  t.match(client.drain("connack"), [{ reasonCode: 0x8c }]);
  t.not(client.closeReason, null);
  const [connack] = connect5(gateway, b, {}).drain("connack") as unknown as { properties: object }[];
  t.notOk("authenticationMethod" in connack!.properties);
});

for (const [what, packets, reasonCode] of [
  ["PUBLISH", [publish("x", "y")], 0x82],
  ["SUBSCRIBE", [subscribe("x")], 0x82],
  ["PINGREQ", [{ cmd: "pingreq" }], 0x82],
  ["a second CONNECT", [{ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: "z" }], 0x82],
  ["AUTH with another method", [auth(0x18, "two", "OTHER")], 0x82],
  ["AUTH that says 0x19", [auth(0x19, "two")], 0x82],
  ["AUTH without a method", [{ cmd: "auth", reasonCode: 0x18, properties: {} }], 0x82],
] as readonly (readonly [string, readonly unknown[], number])[]) {
  onShards(`before CONNACK of an enhanced authentication ${what} is refused [MQTT-3.1.2-30]`, async (t, { gateway, b }) => {
    const client = connect5(gateway, b, { authenticationMethod: "TEST", authenticationData: Buffer.from("one") });
    client.drain("auth");
    client.send(...(packets as Packet[]));
    t.match(client.drain("connack"), [{ reasonCode }]);
    t.not(client.closeReason, null);
    t.equal(sum(gateway, SHARD_COUNTER.AUTH_WAITING), 0);
  });
}

onShards("a client may leave an enhanced authentication by DISCONNECT, by closing, or by saying nothing", async (t, { gateway, b }) => {
  const start = (): TestClient => connect5(gateway, b, { authenticationMethod: "TEST", authenticationData: Buffer.from("one") });
  const polite = start();
  polite.send({ cmd: "disconnect", reasonCode: 0 } as Packet);
  t.equal(polite.closeReason, CLOSE_REASON.DISCONNECTED);
  start().cut();
  t.equal(sum(gateway, SHARD_COUNTER.AUTH_WAITING), 0);
  const silent = start();
  gateway.advance(30_001);
  t.match(silent.drain("connack"), [{ reasonCode: 0x87 }]);
});

onShards("a wrong proof is refused when the authenticator says so, and nothing may come meanwhile [MQTT-4.12.0-4]", async (t, { gateway, authenticator, a, b }) => {
  const client = connect5(gateway, b, { authenticationMethod: "TEST", authenticationData: Buffer.from("wrong") });
  t.same(client.received, []);
  await authenticator.refuse();
  t.match(client.drain("connack"), [{ reasonCode: 0x86 }]);
  const hasty = connect5(gateway, a, { authenticationMethod: "TEST" });
  hasty.send(auth(0x18, "one"));
  t.match(hasty.drain("connack"), [{ reasonCode: 0x82 }]);
});

onShards("a client authenticates again while it works; the new identity counts (MQTT 5 §4.12.1)", async (t, { gateway, b }) => {
  const client = connect5(gateway, b, { authenticationMethod: "TEST", authenticationData: Buffer.from("one") });
  client.send(auth(0x18, "two"));
  client.drain("auth");
  client.drain("connack");
  client.send(subscribe("x"));
  client.send(auth(0x19, "one"), publish("x", "meanwhile"));
  t.match(client.drain("auth"), [{ reasonCode: 0x18, properties: { authenticationMethod: "TEST", authenticationData: Buffer.from("two?") } }]);
  t.same(client.payloads(), ["meanwhile"]);
  client.send(auth(0x18, "two"));
  t.match(client.drain("auth"), [{ reasonCode: 0, properties: { authenticationMethod: "TEST", authenticationData: Buffer.from("three") } }]);
  client.send(auth(0x19, "one"), auth(0x18, "two"));
  t.equal(client.drain("auth").length, 2, "and once more");
  t.equal(client.closeReason, null);
});

for (const [what, packets, reasonCode] of [
  ["AUTH 0x18 that answers nothing", [auth(0x18, "two")], 0x82],
  ["a second AUTH 0x19 before the first is over", [auth(0x19, "one"), auth(0x19, "one")], 0x82],
  ["another method [MQTT-4.12.1-1]", [auth(0x19, "one", "OTHER")], 0x82],
  ["AUTH 0x00, which only a server sends", [auth(0x00, "one")], 0x82],
] as readonly (readonly [string, readonly Packet[], number])[]) {
  onShards(`authenticating again goes wrong: ${what}`, async (t, { gateway, b }) => {
    const client = connect5(gateway, b, { authenticationMethod: "TEST", authenticationData: Buffer.from("one") });
    client.send(auth(0x18, "two"));
    client.send(...packets);
    t.match(client.drain("disconnect"), [{ reasonCode }]);
    t.not(client.closeReason, null);
  });
}

onShards("who fails to authenticate again, or takes too long, or is another user now, is closed [MQTT-4.12.1-2]", async (t, { gateway, authenticator, b }) => {
  const start = (): TestClient => {
    authenticator.user = "tester";
    const client = connect5(gateway, b, { authenticationMethod: "TEST", authenticationData: Buffer.from("one") });
    client.send(auth(0x18, "two"));
    return client;
  };
  const wrong = start();
  wrong.send(auth(0x19, "wrong"));
  t.equal(wrong.closeReason, null, "the answer may come late");
  await authenticator.refuse();
  t.match(wrong.drain("disconnect"), [{ reasonCode: 0x87 }]);
  t.equal(wrong.closeReason, CLOSE_REASON.NOT_AUTHORISED);
  const slow = start();
  slow.send(auth(0x19, "one"));
  gateway.advance(30_001);
  t.match(slow.drain("disconnect"), [{ reasonCode: 0x87 }]);
  const other = start();
  authenticator.user = "somebody else";
  other.send(auth(0x19, "one"), auth(0x18, "two"));
  t.match(other.drain("disconnect"), [{ reasonCode: 0x87 }]);
});

onShards("AUTH of a client that named no method is a protocol error [MQTT-4.12.0-7], in 3.1.1 the packet does not exist", async (t, { gateway, a, b }) => {
  const five = connect5(gateway, b, {});
  five.send(auth(0x19, "one"));
  t.match(five.drain("disconnect"), [{ reasonCode: 0x82 }]);
  const four = gateway.connect(a);
  four.sendBytes(Buffer.from([0xf0, 0x00]));
  t.equal(four.closeReason, CLOSE_REASON.PROTOCOL_ERROR);
});
