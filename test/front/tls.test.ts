// TLS of the front against Node's own TLS client: versions, resumption, names, ALPN, client certificates, replacement while running.
import { once } from "node:events";
import type { Socket } from "node:net";
import type { ConnectionOptions, TLSSocket } from "node:tls";
import { connect as connectTls } from "node:tls";
import { generate } from "mqtt-packet";
import t from "tap";
import type { SecureContextOptions } from "../../src/reactor/reactor.js";
import { Authority, type Issued } from "./certificates.js";
import { connectFrame, dialTls, echo, Gateway, gone, hangUp, ID_OF_SHARD_0, listener } from "./gateway.js";

const VERSIONS = ["TLSv1.2", "TLSv1.3"] as const;
const authority = await Authority.create("devices");
const strangers = await Authority.create("strangers");
const server = await authority.issueServer("first.example");
const ca = authority.certificate;

function atVersion(version: (typeof VERSIONS)[number]): ConnectionOptions {
  return { ca, minVersion: version, maxVersion: version };
}

function contextOf(issued: Issued, more: Partial<SecureContextOptions> = {}): SecureContextOptions {
  return { certificate: issued.certificate, key: issued.key, clientCertificate: "off", alpn: ["mqtt"], ...more };
}

function commonNameOf(socket: TLSSocket): string {
  return String(socket.getPeerCertificate().subject.CN);
}

async function startGateway(more: Partial<SecureContextOptions> = {}): Promise<Gateway> {
  return Gateway.start([listener("mqtt", "device")], { device: contextOf(server, more) });
}

/** Connects, says CONNECT, and takes the session that the gateway gave. */
async function connectOnce(gateway: Gateway, options: ConnectionOptions): Promise<{ readonly socket: TLSSocket; readonly session: Buffer }> {
  const socket = connectTls({ port: gateway.port(), host: "127.0.0.1", servername: "localhost", ...options });
  let session: Buffer | undefined;
  socket.on("session", (given: Buffer) => (session = given));
  await once(socket, "secureConnect");
  await echo(socket, connectFrame(ID_OF_SHARD_0)); // TLS 1.3: the ticket comes before the echo
  return { socket, session: session ?? socket.getSession()! };
}

async function isResumed(gateway: Gateway, options: ConnectionOptions, session: Buffer): Promise<boolean> {
  const { socket } = await connectOnce(gateway, { ...options, session });
  const isReused = socket.isSessionReused();
  t.equal((await gateway.opened(0)).tls?.isResumed, isReused, "the shard is told the same");
  await hangUp(socket);
  return isReused;
}

/** How a client fares that the gateway must refuse: under TLS 1.3 it sees that only when it reads. */
async function refusedWith(gateway: Gateway, options: ConnectionOptions): Promise<string | undefined> {
  const socket: Socket = connectTls({ port: gateway.port(), host: "127.0.0.1", servername: "localhost", ...options });
  return gone(socket);
}

void t.test("serves TLS 1.2 and 1.3 and says which", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  for (const version of VERSIONS) {
    const { socket } = await connectOnce(gateway, { ...atVersion(version), ALPNProtocols: ["x", "mqtt"] });
    const opened = await gateway.opened(0);
    t.equal(opened.tls?.version, version);
    t.equal(opened.tls?.cipher, socket.getCipher().name);
    t.equal(opened.tls?.serverName, "localhost");
    t.equal(opened.tls?.isResumed, false);
    t.notOk(opened.tls !== undefined && "certificate" in opened.tls);
    t.equal(socket.alpnProtocol, "mqtt");
    await echo(socket, generate({ cmd: "publish", topic: "a/b", payload: Buffer.alloc(40_000, 0x2e), qos: 0, dup: false, retain: false }));
    await hangUp(socket);
  }
  t.equal(gateway.count("HANDSHAKES_DONE"), 2);
});

void t.test("a client that offers no ALPN protocol of ours is served all the same", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  for (const ALPNProtocols of [[], ["h2"]]) {
    const { socket } = await connectOnce(gateway, { ca, ALPNProtocols });
    t.equal(socket.alpnProtocol, false);
    await hangUp(socket);
  }
});

void t.test("TLS 1.1 is refused", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  t.ok(await refusedWith(gateway, { ca, minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" }));
  const refusal = await gateway.refused();
  t.equal(refusal.reason, "HANDSHAKE_FAILED");
  t.match(refusal.detail, /unsupported protocol|version/);
});

void t.test("each session resumes the one before, every time", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  for (const version of VERSIONS) {
    let { socket, session } = await connectOnce(gateway, atVersion(version));
    await gateway.opened(0);
    t.notOk(socket.isSessionReused());
    for (let i = 0; i < 4; i++) {
      await hangUp(socket);
      ({ socket, session } = await connectOnce(gateway, { ...atVersion(version), session }));
      t.ok(socket.isSessionReused(), `${version}, round ${i}`);
      t.equal((await gateway.opened(0)).tls?.isResumed, true);
    }
    await hangUp(socket);
  }
  t.equal(gateway.count("HANDSHAKES_RESUMED"), 8);
});

void t.test("the certificate is chosen by the name that the client asks for", async (t) => {
  const second = await authority.issueServer("second.example");
  const wild = await authority.issue("CN=wild", [{ type: "dns", value: "*.wild.example" }]);
  const names = [{ name: "Second.example", ...second }, { name: "*.wild.example", ...wild }];
  const gateway = await startGateway({ names });
  t.teardown(() => gateway.stop());
  const commonNameFor = async (servername: string): Promise<string> => {
    const socket = await dialTls(gateway.port(), { ca, servername, checkServerIdentity: () => undefined });
    await echo(socket, connectFrame(ID_OF_SHARD_0));
    t.equal((await gateway.opened(0)).tls?.serverName, servername);
    const name = commonNameOf(socket);
    await hangUp(socket);
    return name;
  };
  t.equal(await commonNameFor("second.example"), "second.example");
  t.equal(await commonNameFor("SECOND.example"), "second.example");
  t.equal(await commonNameFor("a.wild.example"), "wild");
  t.equal(await commonNameFor("a.b.wild.example"), "first.example", "a star stands for one label");
  t.equal(await commonNameFor("wild.example"), "first.example");
  t.equal(await commonNameFor("unknown.example"), "first.example");
});

void t.test("a client's certificate is verified and told to the shard, in a resumed session too", async (t) => {
  const gateway = await startGateway({ ca, clientCertificate: "required" });
  t.teardown(() => gateway.stop());
  const device = await authority.issue('CN=Gerät \\"7\\",O=Werk', [{ type: "dns", value: "d7.example" }, { type: "url", value: "urn:device:7" }, { type: "ip", value: "192.0.2.7" }, { type: "email", value: "d7@example.org" }]);
  for (const version of VERSIONS) {
    const options = { ...atVersion(version), cert: device.certificate, key: device.key };
    const { socket, session } = await connectOnce(gateway, options);
    const fingerprint = (socket.getCertificate() as { fingerprint256: string }).fingerprint256.replaceAll(":", "").toLowerCase();
    const certificate = (await gateway.opened(0)).tls?.certificate;
    t.equal(certificate?.commonName, 'Gerät "7"');
    t.match(certificate?.subject, /CN=Gerät \\"7\\"/);
    t.match(certificate?.subject, /O=Werk/);
    t.strictSame(certificate?.alternativeNames, ["DNS:d7.example", "URI:urn:device:7", "IP:192.0.2.7", "email:d7@example.org"]);
    t.equal(certificate?.fingerprint, fingerprint);
    await hangUp(socket);
    const again = await connectOnce(gateway, { ...options, session });
    t.ok(again.socket.isSessionReused());
    t.equal((await gateway.opened(0)).tls?.certificate?.fingerprint, fingerprint);
    await hangUp(again.socket);
  }
});

void t.test("required: no certificate, a stranger's, and an expired one are refused, each with its reason", async (t) => {
  const gateway = await startGateway({ ca, clientCertificate: "required" });
  t.teardown(() => gateway.stop());
  const stranger = await strangers.issue("CN=stranger");
  const expired = await authority.issue("CN=old", [], new Date(Date.now() - 3600_000));
  for (const version of VERSIONS) {
    const cases: readonly (readonly [ConnectionOptions, RegExp])[] = [
      [{}, /peer did not return a certificate/],
      [{ cert: stranger.certificate, key: stranger.key }, /unable to (verify|get local issuer)/],
      [{ cert: expired.certificate, key: expired.key }, /certificate has expired/],
    ];
    for (const [options, detail] of cases) {
      t.match(await refusedWith(gateway, { ...atVersion(version), ...options }), /^ERR_SSL_.*(ALERT|REQUIRED)/, "the client is told by an alert");
      const refusal = await gateway.refused();
      t.equal(refusal.reason, "CLIENT_CERTIFICATE_REFUSED");
      t.match(refusal.detail, detail);
    }
  }
  t.equal(gateway.count("CLIENT_CERTIFICATE_REFUSED"), 6);
  t.equal(gateway.adoptedInAll(), 0);
});

void t.test("optional: served without a certificate, refused with a bad one", async (t) => {
  const gateway = await startGateway({ ca, clientCertificate: "optional" });
  t.teardown(() => gateway.stop());
  const { socket } = await connectOnce(gateway, { ca });
  t.equal((await gateway.opened(0)).tls?.certificate, undefined);
  await hangUp(socket);
  const stranger = await strangers.issue("CN=stranger");
  t.ok(await refusedWith(gateway, { ca, cert: stranger.certificate, key: stranger.key }));
  t.equal((await gateway.refused()).reason, "CLIENT_CERTIFICATE_REFUSED");
});

void t.test("the shard is told by which context a client was verified, also when that was replaced before its first frame", async (t) => {
  const gateway = await startGateway({ names: [{ name: "named.example", certificate: server.certificate, key: server.key }] });
  t.teardown(() => gateway.stop());
  for (const servername of ["localhost", "named.example"]) {
    const options = { ...atVersion("TLSv1.3"), servername, checkServerIdentity: () => undefined };
    const set = (): number => gateway.front.setContext("device", contextOf(server, { names: [{ name: "named.example", certificate: server.certificate, key: server.key }] }));
    const old = set();
    const early = await dialTls(gateway.port(), options);
    const now = set();
    t.ok(now > old && old > 1);
    await echo(early, connectFrame(ID_OF_SHARD_0));
    t.equal((await gateway.opened(0)).tls?.context, old, servername);
    const { socket } = await connectOnce(gateway, options);
    t.equal((await gateway.opened(0)).tls?.context, now, servername);
    for (const each of [early, socket]) await hangUp(each);
  }
});

void t.test("a revoked certificate is refused, by a ticket from before too", async (t) => {
  const good = await authority.issue("CN=good");
  const bad = await authority.issue("CN=bad");
  const gateway = await startGateway({ ca, clientCertificate: "required", crl: await authority.revoke() });
  t.teardown(() => gateway.stop());
  for (const version of VERSIONS) {
    gateway.front.setContext("device", contextOf(server, { ca, clientCertificate: "required", crl: await authority.revoke() }));
    const options = { ...atVersion(version), cert: bad.certificate, key: bad.key };
    const before = await connectOnce(gateway, options);
    await gateway.opened(0);
    gateway.front.setContext("device", contextOf(server, { ca, clientCertificate: "required", crl: await authority.revoke(bad) }));
    await echo(before.socket, Buffer.from("c000", "hex"));
    await hangUp(before.socket);
    for (const more of [{}, { session: before.session }]) {
      t.ok(await refusedWith(gateway, { ...options, ...more }));
      const refusal = await gateway.refused();
      t.equal(refusal.reason, "CLIENT_CERTIFICATE_REFUSED");
      t.equal(refusal.detail, "certificate revoked");
    }
    const other = await connectOnce(gateway, { ...atVersion(version), cert: good.certificate, key: good.key });
    await gateway.opened(0);
    await hangUp(other.socket);
  }
});

void t.test("tickets resume after a new certificate, and not after a new CA, CRL or client-certificate rule", async (t) => {
  const device = await authority.issue("CN=device");
  const asked = { ca, clientCertificate: "optional" } as const;
  const gateway = await startGateway(asked);
  t.teardown(() => gateway.stop());
  for (const version of VERSIONS) {
    const options = { ...atVersion(version), cert: device.certificate, key: device.key };
    const resumesAfter = async (next: SecureContextOptions): Promise<boolean> => {
      gateway.front.setContext("device", contextOf(server, asked));
      const { socket, session } = await connectOnce(gateway, options);
      await gateway.opened(0);
      await hangUp(socket);
      gateway.front.setContext("device", next);
      return isResumed(gateway, options, session);
    };
    t.ok(await resumesAfter(contextOf(await authority.issueServer("next.example"), asked)), `${version}: new certificate`);
    t.notOk(await resumesAfter(contextOf(server, { ...asked, ca: ca + strangers.certificate })), `${version}: new CA`);
    t.notOk(await resumesAfter(contextOf(server, { ...asked, crl: await authority.revoke() })), `${version}: CRL`);
    t.notOk(await resumesAfter(contextOf(server, { ca, clientCertificate: "required" })), `${version}: required`);
    t.notOk(await resumesAfter(contextOf(server)), `${version}: off`);
  }
});

void t.test("a context that is wrong is refused with the part that is, and the old one stays", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  const other = await authority.issueServer("other.example");
  const set = (change: Partial<SecureContextOptions>) => () => gateway.front.setContext("device", contextOf(server, change));
  t.throws(set({ certificate: "" }), /^secure context device: certificate: no PEM block/);
  t.throws(set({ key: other.key }), /^secure context device: key: does not belong to the certificate/);
  t.throws(set({ key: "-----BEGIN ENCRYPTED PRIVATE KEY-----\n" }), /key: is encrypted with a passphrase/);
  t.throws(set({ clientCertificate: "required" }), /ca: client certificates are asked for/);
  t.throws(set({ clientCertificate: "required", ca: "?" }), /ca: no PEM block/);
  t.throws(set({ clientCertificate: "required", ca, crl: "?" }), /crl: no PEM block/);
  t.throws(set({ names: [{ name: "n.example", certificate: other.certificate, key: server.key }] }), /names: n\.example: key: does not belong/);
  t.throws(set({ alpn: [""] }), /alpn: /);
  t.throws(set({ clientCertificate: "perhaps" as "off" }), /clientCertificate must be off, optional or required/);
  const { socket } = await connectOnce(gateway, { ca });
  t.equal(commonNameOf(socket), "first.example");
  await hangUp(socket);
});

void t.test("the certificate is replaced under load: old connections live on, new ones get the new one", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  const ping = Buffer.from("c000", "hex");
  const names = new Set<string>();
  const kept: TLSSocket[] = [];
  let isReplaced = false;
  const load = async (index: number): Promise<void> => {
    for (let i = 0; !isReplaced || i < 5; i++) {
      const socket = await dialTls(gateway.port(), atVersion(VERSIONS[index % 2]!));
      await echo(socket, connectFrame(`load-${index}-${i}`));
      names.add(commonNameOf(socket));
      if (i < 3) kept.push(socket);
      else await hangUp(socket);
    }
  };
  const loads = [0, 1, 2, 3].map(load);
  for (let i = 0; i < 20; i++) {
    gateway.front.setContext("device", contextOf(await authority.issueServer(`number-${i}.example`)));
    await Promise.all(kept.map((socket) => echo(socket, ping)));
  }
  isReplaced = true;
  await Promise.all(loads);
  await Promise.all(kept.map((socket) => echo(socket, ping)));
  const last = await dialTls(gateway.port(), { ca });
  t.equal(commonNameOf(last), "number-19.example");
  t.ok(names.size > 1, `${names.size} certificates were seen`);
  t.equal(gateway.count("HANDSHAKE_FAILED"), 0);
  await hangUp(last, ...kept);
});
