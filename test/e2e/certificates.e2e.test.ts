// Client certificates as a user has them: made by `cert client`, shown by mosquitto's clients, revoked, all while a connection goes on;
// certificate, key and authority replaced while running; files of one listener elsewhere.
import { copyFileSync, cpSync, existsSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { once } from "node:events";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import mqttPacket from "mqtt-packet";
import t from "tap";
import { makeCertificates } from "../../src/security/certificate-maker.js";
import { revokeCertificate, signClient } from "../../src/security/client-certificates.js";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";
import { type Outcome, penstock, run } from "./run.js";

const MAIN = new URL("../../main.js", import.meta.url).pathname;

function publishWith(gateway: RunningGateway, name: string, ca = gateway.caFile): Promise<Outcome> {
  const clients = join(gateway.directory, "certs", "clients");
  return run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(gateway.mqttsPort), "--cafile", ca, "--cert", join(clients, `${name}.pem`), "--key", join(clients, `${name}-key.pem`), "-t", "t", "-q", "1", "-m", name]);
}

/** Puts a file in another's place at once, as a careful operator does. */
function put(from: string, to: string): void {
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}

/** A client with its certificate that does not come back by itself; `more` may bring a TLS session to resume. */
function connectWith(gateway: RunningGateway, name: string, clientId: string, more: Pick<ConnectionOptions, "session" | "minVersion" | "maxVersion"> = {}): Promise<MqttClient> {
  const clients = join(gateway.directory, "certs", "clients");
  const options = { ca: readFileSync(gateway.caFile), cert: readFileSync(join(clients, `${name}.pem`)), key: readFileSync(join(clients, `${name}-key.pem`)), reconnectPeriod: 0, protocolVersion: 5, clientId, ...more };
  return mqtt.connectAsync(`mqtts://127.0.0.1:${gateway.mqttsPort}`, options as IClientOptions);
}

/** A client of these that has done its handshake and said nothing yet. */
async function shakeHands(gateway: RunningGateway, name: string, version: "TLSv1.2" | "TLSv1.3"): Promise<TLSSocket> {
  const clients = join(gateway.directory, "certs", "clients");
  const socket = connectTls({ port: gateway.mqttsPort, host: "127.0.0.1", ca: readFileSync(gateway.caFile), cert: readFileSync(join(clients, `${name}.pem`)), key: readFileSync(join(clients, `${name}-key.pem`)), maxVersion: version, minVersion: version });
  await once(socket, "secureConnect");
  return socket;
}

t.test("certificates from the first to the last", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ more: "auth: { anonymous: never }", environment: { PENSTOCK_LISTENERS_MQTTS_CLIENT_CERTIFICATE: "required" } });
  t.teardown(() => gateway.remove());
  const certs = join(gateway.directory, "certs");
  const others = mkdtempSync(join(tmpdir(), "penstock-others-"));
  t.teardown(() => rmSync(others, { recursive: true, force: true }));

  await run("sh", ["-c", `echo pw | ${process.execPath} ${MAIN} --config ${gateway.configFile} passwd set inside`]);
  t.match(await penstock(gateway.configFile, "cert", "client", "lost"), { code: 0, output: /clients\/lost\.pem\n.*lost-key\.pem\n[^]*mosquitto_pub .*--cert/ });
  t.match(await penstock(gateway.configFile, "cert", "client", "kept"), { code: 0 });
  t.match(await penstock(gateway.configFile, "cert", "client", "kept"), { code: 3, output: /is there already/ });
  t.match(await publishWith(gateway, "lost"), { code: 0 });
  const without = await run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(gateway.mqttsPort), "--cafile", gateway.caFile, "-t", "t", "-q", "1", "-m", "x"]);
  t.not(without.code, 0, "a certificate is required");

  const connected = await connectWith(gateway, "kept", "kept");
  let isClosed = false;
  connected.on("close", () => (isClosed = true));

  await t.test("a revoked certificate is refused without a restart, its connections end, others are served", async (t) => {
    // Of one full handshake and one that resumes its TLS session; both versions, since they keep the peer's certificates differently.
    const losing: MqttClient[] = [];
    for (const [index, version] of (["TLSv1.2", "TLSv1.3"] as const).entries()) {
      const first = await connectWith(gateway, "lost", `full-${index}`, { maxVersion: version, minVersion: version });
      const socket = first.stream as TLSSocket;
      const ticket = version === "TLSv1.2" ? socket.getSession()! : await new Promise<Buffer>((resolve) => {
        socket.once("session", resolve);
        // The ticket of TLS 1.3 has come already with CONNACK, or comes with what follows it.
        if (socket.getSession() !== undefined) resolve(socket.getSession()!);
      });
      const second = await connectWith(gateway, "lost", `resumed-${index}`, { maxVersion: version, minVersion: version, session: ticket });
      t.ok((second.stream as TLSSocket).isSessionReused(), version);
      losing.push(first, second);
    }
    const ends = losing.map((client) => onceOf(client, "disconnect"));
    const late = [await shakeHands(gateway, "lost", "TLSv1.2"), await shakeHands(gateway, "lost", "TLSv1.3")];
    t.match(await penstock(gateway.configFile, "cert", "revoke", "lost"), { code: 0, output: /is revoked/ });
    t.ok(await gateway.says(/new certificates are in use/));
    for (const end of ends) t.match(await end, [{ reasonCode: 0x87 }]);
    t.equal(await gateway.metric("penstock_shard_auth_revoked_total"), losing.length);
    for (const [index, socket] of late.entries()) {
      const got: Buffer[] = [];
      socket.on("data", (bytes: Buffer) => got.push(bytes));
      const closed = once(socket, "close");
      // On the shard of one that was ended: that shard has heard of the list.
      socket.write(mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: `full-${index}` }));
      await closed;
      t.equal(Buffer.concat(got).length, 0, "its handshake was done before, its CONNECT came after: it is not let in");
    }
    t.equal(await gateway.metric("penstock_shard_auth_revoked_total"), losing.length + late.length);
    for (const client of losing) await client.endAsync(true);
    t.ok(await gateway.says(/AUTH_REVOKED.*certificate revoked|certificate revoked.*AUTH_REVOKED/), "the log says why");
    t.not((await publishWith(gateway, "lost")).code, 0);
    t.ok(await gateway.says(/connection was refused.*certificate revoked/), "and who is refused since");
    t.notOk(isClosed, "the other's connection goes on");
    t.match(await publishWith(gateway, "kept"), { code: 0 });
    t.match(await penstock(gateway.configFile, "cert", "show"), { code: 0, output: /lost\.pem\n(?: .*\n)*? {2}valid: .*revoked/ });
  });

  await t.test("certificate, key and authority are replaced; clients of an authority that is not there any more lose their connections", async (t) => {
    await makeCertificates(others, Date.now());
    await signClient(others, "next", join(others, "clients"), 30, false, Date.now());
    const end = onceOf(connected, "disconnect");
    const anonymous = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { reconnectPeriod: 0, username: "inside", password: "pw", clientId: "inside" });
    const lines = gateway.output.split("new certificates are in use").length;
    rmSync(join(certs, "crl.pem"));
    for (const name of ["ca.pem", "key.pem", "cert.pem"]) put(join(others, name), join(certs, name));
    await gateway.until("the new certificates", async () => (gateway.output.split("new certificates are in use").length > lines ? true : undefined));
    const next = ["--cert", join(others, "clients", "next.pem"), "--key", join(others, "clients", "next-key.pem")];
    const published = await run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(gateway.mqttsPort), "--cafile", join(others, "ca.pem"), ...next, "-t", "t", "-q", "1", "-m", "next"]);
    t.equal(published.code, 0, published.output);
    t.not((await publishWith(gateway, "kept", join(others, "ca.pem"))).code, 0, "the old authority's clients are strangers now");
    t.match(await end, [{ reasonCode: 0x87 }]);
    await anonymous.publishAsync("t", "no certificate has let this one in", { qos: 1 });
    await anonymous.endAsync();
  });

  await connected.endAsync(true);
  t.same(await gateway.stop(), { code: 0, signal: null });
});

/** Authorities: that of the gateway's own certificate, and that of the clients. Nothing is in the certs directory. */
t.test("a listener whose certificate and whose clients come from authorities of their own", { timeout: 60_000 }, async (t) => {
  const own = mkdtempSync(join(tmpdir(), "penstock-own-"));
  t.teardown(() => rmSync(own, { recursive: true, force: true }));
  const [server, clients] = [join(own, "server"), join(own, "clients")];
  for (const directory of [server, clients]) await makeCertificates(directory, Date.now());
  await signClient(clients, "seven", clients, 30, false, Date.now());
  const environment = Object.fromEntries(Object.entries({ certificate: join(server, "cert.pem"), key: join(server, "key.pem"), ca: join(clients, "ca.pem") }).map(([option, path]) => [`PENSTOCK_LISTENERS_MQTTS_${option.toUpperCase()}`, path]));
  const gateway = await RunningGateway.start({ environment });
  t.teardown(() => gateway.remove());
  t.notOk(existsSync(join(gateway.directory, "certs")), "what nobody uses is not made");
  const publish = (ca: string, ...more: string[]): Promise<Outcome> => run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(gateway.mqttsPort), "--cafile", ca, ...more, "-t", "t", "-q", "1", "-m", "x"]);
  t.match(await publish(join(server, "ca.pem")), { code: 0 });
  t.match(await publish(join(server, "ca.pem"), "--cert", join(clients, "seven.pem"), "--key", join(clients, "seven-key.pem")), { code: 0 });
  t.not((await publish(join(clients, "ca.pem"))).code, 0);
  t.match(gateway.output, new RegExp(`mosquitto_pub -h 127\\.0\\.0\\.1 -p ${gateway.mqttPort} -q`), "the greeting shows a command that works, without the clients' authority");
  t.same(await gateway.stop(), { code: 0, signal: null });
});

t.test("one authority follows another: both serve, each revokes its own, also when the directory is another one", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ more: "auth: { anonymous: never }", environment: { PENSTOCK_LISTENERS_MQTTS_CLIENT_CERTIFICATE: "required" } });
  t.teardown(() => gateway.remove());
  const certs = join(gateway.directory, "certs");
  for (const name of ["old-lost", "old-kept"]) t.match(await penstock(gateway.configFile, "cert", "client", name), { code: 0 });
  // The new authority's certificate stands behind the old one's; the gateway goes on with its own certificate.
  const next = join(gateway.directory, "next");
  await makeCertificates(next, Date.now());
  const old = join(gateway.directory, "old-authority");
  cpSync(certs, old, { recursive: true });
  writeFileSync(join(certs, "ca.pem.new"), readFileSync(join(certs, "ca.pem"), "utf8") + readFileSync(join(next, "ca.pem"), "utf8"));
  renameSync(join(certs, "ca.pem.new"), join(certs, "ca.pem"));
  put(join(next, "ca-key.pem"), join(certs, "ca-key.pem"));
  t.ok(await gateway.says(/new certificates are in use/));
  for (const name of ["lost", "kept"]) t.match(await penstock(gateway.configFile, "cert", "client", name), { code: 0 });
  for (const name of ["old-lost", "old-kept", "lost", "kept"]) t.match(await publishWith(gateway, name), { code: 0 }, name);

  await t.test("the lists of both", async (t) => {
    await revokeCertificate(old, join(certs, "clients", "old-lost.pem"), Date.now());
    put(join(old, "crl.pem"), join(certs, "crl.pem"));
    t.ok(await gateway.says(/has no list of the authority CN=Penstock CA .*are refused/), "half of the lists is warned of");
    const revoked = await penstock(gateway.configFile, "cert", "revoke", "lost");
    t.match(revoked, { code: 0, output: /is revoked \(1 on the list\)/ });
    t.notMatch(revoked.output, "Warning");
    await gateway.until("both are served", async () => ((await publishWith(gateway, "old-kept")).code === 0 && (await publishWith(gateway, "kept")).code === 0 ? true : undefined));
    for (const name of ["old-lost", "lost"]) t.not((await publishWith(gateway, name)).code, 0, name);
  });

  await t.test("another directory in its place", async (t) => {
    t.match(await penstock(gateway.configFile, "cert", "client", "late"), { code: 0 });
    const connected = await connectWith(gateway, "late", "late");
    const end = onceOf(connected, "disconnect");
    cpSync(certs, join(gateway.directory, "certs-2027"), { recursive: true });
    renameSync(certs, join(gateway.directory, "certs-2026"));
    symlinkSync("certs-2027", certs);
    t.match(await penstock(gateway.configFile, "cert", "revoke", "late"), { code: 0 });
    t.match(await end, [{ reasonCode: 0x87 }], "a list in the new directory is seen");
    await connected.endAsync(true);
    t.match(await publishWith(gateway, "kept"), { code: 0 });
  });
  t.same(await gateway.stop(), { code: 0, signal: null });
});
