// Connections whose right to be here ends while they are connected: what let them in is asked again when something has changed. On 1, 2 and
// 4 shards, with an authenticator whose answers the test gives, and certificates whose faults it names.
import t from "tap";
import { type Attempt, type Authenticator, type Grant, type Standing, UNLIMITED, type Verdict } from "../../src/base/authenticator.js";
import { SHARD_COUNTER } from "../../src/base/counters.js";
import { ACCESS_ALL } from "../../src/base/access.js";
import { CLOSE_REASON } from "../../src/ring/layout.js";
import { clientIdOn, type TestClient, TestGateway } from "./harness.js";
import { publish, subscribe } from "./support.js";

interface UserGrant extends Grant {
  readonly user: string;
}

/** Lets everybody in by the password grant of the user that it names, as long as that is among `users`. */
class Users implements Authenticator {
  changes = 0;
  groups: readonly string[] = [];
  asked = 0;
  readonly users = new Set<string>();

  ofCertificate(user: string): Standing {
    const grant: UserGrant = { kind: "certificate", user };
    return { identity: { user, groups: this.groups }, grant };
  }

  again(grant: Grant): Standing | null {
    this.asked++;
    const { user } = grant as UserGrant;
    return grant.kind === "certificate" ? this.ofCertificate(user) : this.users.has(user) ? { identity: { user, groups: this.groups }, grant } : null;
  }

  async check({ userName = "" }: Attempt): Promise<Verdict> {
    const grant: UserGrant = { kind: "password", user: userName };
    return { isAllowed: true, identity: { user: userName, groups: this.groups }, grant, ...UNLIMITED };
  }

  begin(): null {
    return null;
  }
}

/** A connection with a certificate that was verified by the secure context of this number. */
const verifiedBy = (context: number) => ({ tls: { version: "TLSv1.3", cipher: "x", context, isResumed: false, certificate: { commonName: "seven", subject: "CN=seven", alternativeNames: [], fingerprint: "" } } });

async function settled(gateway: TestGateway): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await Promise.resolve();
    gateway.run();
  }
}

function withPassword(gateway: TestGateway, clientId: string, username: string, protocolVersion: 4 | 5 = 5): TestClient {
  return gateway.connect(clientId, { protocolVersion, username, password: Buffer.from("p") });
}

for (const shards of [1, 2, 4]) {
  const ids = { a: clientIdOn(0, shards, "a"), b: clientIdOn(shards - 1, shards, "b"), c: clientIdOn(0, shards, "c"), d: clientIdOn(shards - 1, shards, "d") };

  void t.test(`a user that is gone loses its connections, others go on (${shards} shards)`, async (t) => {
    const users = new Users();
    const gateway = new TestGateway({ shards, authenticator: users });
    t.teardown(() => gateway.stop());
    for (const user of ["stays", "goes"]) users.users.add(user);
    const five = withPassword(gateway, ids.a, "goes");
    const three = withPassword(gateway, ids.b, "goes", 4);
    const other = withPassword(gateway, ids.c, "stays");
    const anonymous = gateway.connect(ids.d);
    await settled(gateway);
    for (const client of [five, three, other, anonymous]) t.equal(client.drain("connack").length, 1);
    gateway.advance(1000);
    t.equal(users.asked, 3, "asked for each when it was let in, and not again while nothing changes");

    users.users.delete("goes");
    users.changes++;
    gateway.advance(1000);
    t.match(five.drain("disconnect"), [{ reasonCode: 0x87 }]);
    t.equal(five.closeReason, CLOSE_REASON.NOT_AUTHORISED);
    t.same(three.received, [], "3.1.1 has no word for it");
    t.equal(three.closeReason, CLOSE_REASON.NOT_AUTHORISED);
    t.equal(other.closeReason, null);
    t.equal(anonymous.closeReason, null);
    t.equal(gateway.counted(SHARD_COUNTER.AUTH_REVOKED), 2);
    t.ok(gateway.logged.some((line) => /user was deleted, or has another password/.test(line)));
    other.send(publish("x", "still here", 1));
    gateway.commit();
    t.equal(other.drain("puback").length, 1);
  });

  void t.test(`who goes on has the groups of now (${shards} shards)`, async (t) => {
    const users = new Users();
    users.users.add("u");
    users.groups = ["readers"];
    const access = { isDefaultAllow: false, groupsOf: {}, rules: [{ isAllow: true, actions: ACCESS_ALL, users: null, groups: ["readers"], clients: null, anonymous: null, topics: ["x"] }, { isAllow: true, actions: ACCESS_ALL, users: ["boss"], groups: null, clients: null, anonymous: null, topics: ["#"] }] };
    const gateway = new TestGateway({ shards, authenticator: users, access });
    t.teardown(() => gateway.stop());
    users.users.add("boss");
    const reader = withPassword(gateway, ids.a, "u");
    const boss = withPassword(gateway, ids.b, "boss");
    await settled(gateway);
    reader.send(subscribe("x"));
    boss.send(publish("x", "one"));
    t.same(reader.payloads(), ["one"]);
    users.groups = [];
    users.changes++;
    gateway.advance(1000);
    boss.send(publish("x", "two"));
    t.same(reader.payloads(), [], "it is in no group any more");
    t.equal(reader.closeReason, null);
  });

  void t.test(`a verdict whose ground has gone meanwhile lets nobody in (${shards} shards)`, async (t) => {
    const gateway = new TestGateway({ shards, authenticator: new Users() });
    t.teardown(() => gateway.stop());
    const late = withPassword(gateway, ids.a, "deleted while the hash was computed");
    await settled(gateway);
    t.match(late.drain("connack"), [{ reasonCode: 0x86 }]);
    t.equal(late.closeReason, CLOSE_REASON.NOT_AUTHORISED);
  });

  void t.test(`a certificate that is not accepted any more ends its connection, connected or not yet (${shards} shards)`, async (t) => {
    const users = new Users();
    const gateway = new TestGateway({ shards, authenticator: users, identity: "common_name" });
    t.teardown(() => gateway.stop());
    const withCertificate = (clientId: string, context = 1, fault = ""): TestClient => {
      const client = gateway.open(gateway.shardOf(clientId), 5, verifiedBy(context));
      client.certificateFault = fault;
      client.send({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 60, clientId });
      return client;
    };
    const good = withCertificate(ids.a);
    const bad = withCertificate(ids.b);
    const early = gateway.open(gateway.shardOf(ids.c), 5, verifiedBy(1));
    // The front verifies by what is new before the shards have heard of it, which must not judge its clients by what is old.
    const ahead = withCertificate(`${ids.a}-ahead`, 3);
    gateway.run();
    bad.certificateFault = early.certificateFault = "certificate revoked";
    ahead.certificateFault = "unable to get issuer certificate";
    gateway.advance(60_000);
    t.equal(bad.closeReason, null, "nothing says that anything changed");

    gateway.trust({ listener: "another", ca: "", crl: "", context: 2 });
    t.equal(bad.closeReason, null, "nor does another listener's change");
    gateway.trust({ listener: "mqtt", ca: "", crl: "", context: 3 });
    t.match(bad.drain("disconnect"), [{ reasonCode: 0x87, properties: { reasonString: /certificate revoked/ } }]);
    t.equal(early.closeReason, CLOSE_REASON.NOT_AUTHORISED);
    t.equal(good.closeReason, null);
    t.equal(gateway.counted(SHARD_COUNTER.AUTH_REVOKED), 2);

    const late = withCertificate(ids.d, 2, "certificate revoked");
    t.equal(late.closeReason, CLOSE_REASON.NOT_AUTHORISED, "its handshake was under way when the list changed");
    t.same(late.received, [], "and it is never let in");
    t.equal(gateway.counted(SHARD_COUNTER.AUTH_REVOKED), 3);
    gateway.advance(60_000);
    for (const client of [good, ahead]) t.equal(client.closeReason, null);
  });

  void t.test(`changes that come with every turn keep nobody from being looked at (${shards} shards)`, async (t) => {
    const users = new Users();
    for (const user of ["stays", "goes"]) users.users.add(user);
    const gateway = new TestGateway({ shards, authenticator: users });
    t.teardown(() => gateway.stop());
    const seconds = gateway.shards[0] as unknown as { everySecond(): void };
    const clients = Array.from({ length: 3000 }, () => gateway.open(0, 5));
    for (const [i, client] of clients.entries()) gateway.put(client, { cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 60, clientId: clientIdOn(0, shards, `c${i}-`), username: i < 2900 ? "stays" : "goes", password: Buffer.from("p") });
    gateway.run();
    await settled(gateway);
    users.users.delete("goes");
    for (let turn = 0; turn < 3; turn++) {
      users.changes++;
      seconds.everySecond();
      gateway.turn(0);
    }
    t.equal(gateway.counted(SHARD_COUNTER.AUTH_REVOKED), 100);
    gateway.run();
    t.equal(users.asked - 3000, 1023 + 1024 + 3000, "all once since the last change, from where the walk stood");

    const shown = Array.from({ length: 100 }, () => gateway.open(0, 5, verifiedBy(1)));
    gateway.run();
    for (const client of shown.slice(90)) client.certificateFault = "certificate revoked";
    const goneThrough = Math.ceil(3100 / 1024);
    for (let turn = 0; turn < 4 + goneThrough; turn++) {
      users.changes++;
      gateway.shards[0]!.useTrust({ listener: "mqtt", ca: "", crl: "", context: 2 + turn });
      seconds.everySecond();
      gateway.turn(0);
    }
    t.equal(gateway.counted(SHARD_COUNTER.AUTH_REVOKED), 110);
    t.ok(shown.slice(0, 90).every(({ closeReason }) => closeReason === null));
  });

  void t.test(`a shard that is started again judges certificates by what holds, also of whom it takes over (${shards} shards)`, async (t) => {
    const gateway = new TestGateway({ shards, authenticator: new Users(), identity: "common_name" });
    t.teardown(() => gateway.stop());
    const last = shards - 1;
    gateway.trust({ listener: "mqtt", ca: "one", crl: "", context: 2 });
    gateway.trust({ listener: "another", ca: "x", crl: "", context: 3 });
    gateway.kill(last);
    gateway.run();
    gateway.trust({ listener: "mqtt", ca: "two", crl: "list", context: 4 });
    gateway.trusted.length = 0;
    gateway.revive(last);
    gateway.run();
    gateway.enliven(last);
    gateway.run();
    t.same(gateway.trusted, [{ shard: last, key: 0, ca: "two", crl: "list" }]);
    const late = gateway.open(last, 5, verifiedBy(3));
    late.certificateFault = "certificate revoked";
    gateway.run();
    t.equal(late.closeReason, CLOSE_REASON.NOT_AUTHORISED, "its handshake was under way when the shard died");
  });

  void t.test(`who waited unread, since the shard was behind, is looked at when it has been read (${shards} shards)`, async (t) => {
    const users = new Users();
    const gateway = new TestGateway({ shards, authenticator: users, ringCapacity: 512 * 1024 });
    t.teardown(() => gateway.stop());
    const publisher = gateway.connect(ids.a, { protocolVersion: 5 });
    gateway.isStoreStopped = true;
    for (let i = 0; i < 600; i++) gateway.put(publisher, publish("x", "y".repeat(1000), 1));
    gateway.run();
    const behind = gateway.open(0, 5, verifiedBy(1));
    behind.certificateFault = "certificate revoked";
    gateway.trust({ listener: "mqtt", ca: "", crl: "", context: 2 });
    for (let i = 0; i < 3; i++) gateway.advance(30_000);
    t.equal(behind.closeReason, null, "it has not been read");
    gateway.isStoreStopped = false;
    gateway.commit();
    t.equal(publisher.drain("puback").length, 600);
    t.equal(behind.closeReason, CLOSE_REASON.NOT_AUTHORISED);
  });

  void t.test(`thousands of connections are looked at over several turns (${shards} shards)`, async (t) => {
    const users = new Users();
    users.users.add("u");
    const gateway = new TestGateway({ shards, authenticator: users });
    t.teardown(() => gateway.stop());
    const clients = Array.from({ length: 3000 }, () => gateway.open(0, 5));
    for (const [i, client] of clients.entries()) gateway.put(client, { cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 60, clientId: clientIdOn(0, shards, `c${i}-`), username: "u", password: Buffer.from("p") });
    gateway.run();
    await settled(gateway);
    t.equal(gateway.counted(SHARD_COUNTER.CLIENTS), 3000);
    users.users.clear();
    users.changes++;
    const asked = users.asked;
    (gateway.shards[0] as unknown as { everySecond(): void }).everySecond();
    gateway.turn(0);
    t.equal(users.asked - asked, 1023, "slot 0 is never used");
    gateway.run();
    t.equal(users.asked - asked, 3000);
    t.equal(gateway.counted(SHARD_COUNTER.AUTH_REVOKED), 3000);
    t.equal(gateway.counted(SHARD_COUNTER.CLIENTS), 0);
    t.ok(clients.every(({ closeReason }) => closeReason === CLOSE_REASON.NOT_AUTHORISED));
    t.ok(gateway.logged.some((line) => line.startsWith("3000 connections were ended")));
  });
}
