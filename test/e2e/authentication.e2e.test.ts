// Authentication end to end: a built gateway, `passwd` on the command line, mosquitto_pub and MQTT.js as clients, real certificates and a real
// HTTP back-end. On 1, 2 and 4 shards.
import { spawnSync } from "node:child_process";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect as connectTcp, type AddressInfo } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { SignJWT } from "jose";
import mqtt, { type IClientOptions, type MqttClient } from "mqtt";
import mqttPacket, { type IAuthPacket } from "mqtt-packet";
import t, { type Test } from "tap";
import { EXIT } from "../../src/control/exit-codes.js";
import { Authority } from "../front/certificates.js";
import { clientFinal, clientFirst } from "../security/scram-client.js";
import { onceOf } from "./events.js";
import { RunningGateway } from "./gateway.js";
import { run } from "./run.js";

const MAIN = new URL("../../main.js", import.meta.url).pathname;
const SECRET = "0123456789abcdef0123456789abcdef";

interface Fixture {
  readonly shards: number;
  readonly gateway: RunningGateway;
  /** Client ids that the HTTP back-end lets in no more. */
  readonly disabled: Set<string>;
  readonly signer: ReturnType<typeof generateKeyPairSync>["privateKey"];
}

/** Runs `passwd` with the gateway's own configuration. */
function passwd(gateway: RunningGateway, parameters: readonly string[], input = ""): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, "--config", gateway.configFile, "passwd", ...parameters], { encoding: "utf8", timeout: 60_000, input });
  return { status, output: `${stdout}${stderr}` };
}

function publish(gateway: RunningGateway, more: readonly string[], port = gateway.mqttPort): Promise<{ readonly code: number; readonly output: string }> {
  return run("mosquitto_pub", ["-h", "127.0.0.1", "-p", String(port), "-q", "1", "-t", "t", "-m", "x", ...more]);
}

function readAgain(times: number): RegExp {
  return new RegExp(`(was read again[\\s\\S]*){${times}}`);
}

async function userOf(gateway: RunningGateway, clientId: string): Promise<string | undefined> {
  const { body } = await gateway.get("/api/v1/clients");
  return (body as { clients: { clientId: string; user: string }[] }).clients.find((client) => client.clientId === clientId)?.user;
}

async function start(t: Test, shards: number): Promise<Fixture> {
  const directory = mkdtempSync(join(tmpdir(), "penstock-auth-"));
  const pair = generateKeyPairSync("ed25519");
  writeFileSync(join(directory, "jwks.json"), JSON.stringify({ keys: [{ ...pair.publicKey.export({ format: "jwk" }), alg: "EdDSA" }] }));
  const disabled = new Set<string>();
  const backend = createServer((request, response) => {
    let body = "";
    request.on("data", (part: Buffer) => (body += part.toString()));
    request.on("end", () => {
      const { username, password, client_id: clientId } = JSON.parse(body) as Record<string, string>;
      const isKnown = username === "remote" && password === "pw" && !disabled.has(clientId!);
      const end = clientId === "dated" ? { expire_at: Math.floor(Date.now() / 1000) + 3 } : {};
      response.end(JSON.stringify({ allow: isKnown, groups: ["cloud"], ...end }));
    });
  });
  backend.listen(0, "127.0.0.1");
  await once(backend, "listening");
  const more = `auth:
  anonymous: never
  jwt: { jwks_file: ${join(directory, "jwks.json")}, leeway: 0s }
  http: { url: "http://127.0.0.1:${(backend.address() as AddressInfo).port}/", cache: 100ms, valid_for: 4s }
`;
  const gateway = await RunningGateway.start({ shards, more });
  t.teardown(async () => {
    await gateway.remove();
    backend.closeAllConnections();
    backend.close();
    rmSync(directory, { recursive: true, force: true });
  });
  return { shards, gateway, disabled, signer: pair.privateKey };
}

async function passwords(t: Test, { gateway, shards }: Fixture): Promise<void> {
  t.match(await publish(gateway, []), { output: /not authori[sz]ed/i }, "nobody without credentials");
  t.match(passwd(gateway, ["set", "alice", "--group", "ops", "--group", "dev"], "first\n"), { status: EXIT.OK, output: /added alice/ });
  t.match(passwd(gateway, ["list"]), { status: EXIT.OK, output: /^alice {2}password, SCRAM-SHA-256 {2}groups: ops, dev$/m });
  const tries = async (password: string): Promise<number> => (await publish(gateway, ["-u", "alice", "-P", password])).code;
  t.ok(await gateway.says(readAgain(shards)), "every shard has seen the new user");
  for (const version of ["mqttv311", "mqttv5"]) {
    t.equal((await publish(gateway, ["-V", version, "-u", "alice", "-P", "first"])).code, 0, version);
    t.match(await publish(gateway, ["-V", version, "-u", "alice", "-P", "second"]), { output: /bad user name or password/i }, version);
  }
  t.match(passwd(gateway, ["set", "alice"], "second\n"), { status: EXIT.OK, output: /changed alice/ });
  t.ok(await gateway.says(readAgain(2 * shards)), "every shard has seen the new password");
  t.equal(await tries("second"), 0);
  t.not(await tries("first"), 0);
  t.match(passwd(gateway, ["list"]), { output: /groups: ops, dev/ }, "the groups stayed");
  t.match(passwd(gateway, ["delete", "nobody"]), { status: EXIT.CONFIG, output: /no user nobody/ });
  t.match(passwd(gateway, ["set", "bob"], ""), { status: EXIT.CONFIG, output: /1 to 65535 bytes/ });
  t.match(passwd(gateway, ["set", "bob", "secret"], ""), { status: EXIT.CONFIG }, "never on the command line");
  t.ok((await gateway.metric("penstock_shard_auth_failures_total")) >= 3);
}

/** Everything in one write, without waiting for CONNACK [MQTT-3.1.4-5]; once over TCP, once over TLS. */
async function hasty(t: Test, { gateway }: Fixture): Promise<void> {
  for (const protocolVersion of [4, 5] as const) {
    for (const socket of [connectTcp(gateway.mqttPort, "127.0.0.1"), connectTls({ port: gateway.mqttsPort, host: "127.0.0.1", ca: readFileSync(gateway.caFile) })]) {
      const got: string[] = [];
      const parser = mqttPacket.parser({ protocolVersion });
      const answered = new Promise<void>((resolve) => {
        parser.on("packet", (packet) => {
          if (got.push(packet.cmd) === 4) resolve();
        });
      });
      socket.on("data", (bytes) => parser.parse(bytes));
      const packets: mqttPacket.Packet[] = [
        { cmd: "connect", protocolId: "MQTT", protocolVersion, clean: true, keepalive: 0, clientId: `hasty-${protocolVersion}`, username: "alice", password: Buffer.from("second") },
        { cmd: "publish", topic: "hasty", payload: "x".repeat(20_000), qos: 1, messageId: 1, dup: false, retain: false },
        { cmd: "publish", topic: "hasty", payload: "y", qos: 1, messageId: 2, dup: false, retain: false },
      ];
      socket.write(Buffer.concat(packets.map((packet) => mqttPacket.generate(packet, { protocolVersion }))));
      socket.write(mqttPacket.generate({ cmd: "pingreq" }));
      await answered;
      t.equal(got[0], "connack");
      t.same(got.slice(1).sort(), ["pingresp", "puback", "puback"]);
      socket.destroy();
    }
  }
}

/** A user's connections end with its password, or with the user; what they have subscribed to waits for them until then. */
async function endings(t: Test, { gateway, shards }: Fixture): Promise<void> {
  const reads = (): number => gateway.output.split("was read again").length - 1;
  const change = async (parameters: readonly string[], input = ""): Promise<void> => {
    const before = reads();
    t.match(passwd(gateway, parameters, input), { status: EXIT.OK });
    await gateway.until("every shard has read the file", async () => (reads() >= before + shards ? true : undefined));
  };
  await change(["set", "carol"], "pw\n");
  await change(["set", "dave"], "pw\n");
  const connect = (clientId: string, username: string, protocolVersion: 4 | 5): Promise<MqttClient> =>
    mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { protocolVersion, reconnectPeriod: 0, clientId, username, password: "pw" });
  const five = await connect("carol-5", "carol", 5);
  const three = await connect("carol-3", "carol", 4);
  const other = await connect("dave", "dave", 5);
  const ends = [onceOf(five, "disconnect"), onceOf(three, "close")] as const;
  await change(["set", "carol"], "another\n");
  t.match(await ends[0], [{ reasonCode: 0x87 }]);
  await ends[1];
  await other.publishAsync("t", "still here", { qos: 1 });
  const end = onceOf(other, "disconnect");
  await change(["delete", "dave"]);
  t.match(await end, [{ reasonCode: 0x87 }]);
  t.equal(await gateway.metric("penstock_shard_auth_revoked_total"), 3);
  for (const client of [five, three, other]) await client.endAsync(true);
}

async function remoteUsers(t: Test, { gateway }: Fixture): Promise<void> {
  t.equal((await publish(gateway, ["-u", "remote", "-P", "pw"])).code, 0);
  t.not((await publish(gateway, ["-u", "remote", "-P", "no"])).code, 0);
  t.ok((await gateway.metric("penstock_shard_auth_http_requests_total")) >= 2);
}

/** Clients that the back-end let in: one until an hour that it names, one until it is asked about again and finds its account disabled. */
async function remoteEndings(t: Test, { gateway, disabled }: Fixture): Promise<void> {
  const connect = (clientId: string, reconnectPeriod: number): Promise<MqttClient> =>
    mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { protocolVersion: 5, reconnectPeriod, clientId, username: "remote", password: "pw" });
  const expired = await gateway.metric("penstock_shard_auth_expired_total");
  const dated = await connect("dated", 0);
  t.match(await onceOf(dated, "disconnect"), [{ reasonCode: 0xa0 }], "at expire_at");
  await dated.endAsync(true);
  const lasting = await connect("lasting", 10);
  t.match(await onceOf(lasting, "disconnect"), [{ reasonCode: 0xa0 }], "after auth.http.valid_for");
  await onceOf(lasting, "connect");
  t.ok(await userOf(gateway, "lasting"), "it came again, and was let in again");
  disabled.add("lasting");
  t.match(await onceOf(lasting, "disconnect"), [{ reasonCode: 0xa0 }]);
  t.match(await onceOf(lasting, "error"), [{ code: 0x86 }], "its account is disabled");
  await lasting.endAsync(true);
  t.equal((await gateway.metric("penstock_shard_auth_expired_total")) - expired, 3);
}

async function tokens(t: Test, { gateway, signer }: Fixture): Promise<void> {
  const token = (expiresIn: number): Promise<string> => new SignJWT({ sub: "device-9", groups: ["g"] }).setProtectedHeader({ alg: "EdDSA" }).setExpirationTime(Math.floor(Date.now() / 1000) + expiresIn).sign(signer);
  t.equal((await publish(gateway, ["-u", "any", "-P", await token(60)])).code, 0);
  t.not((await publish(gateway, ["-u", "any", "-P", await token(-1)])).code, 0);
  const short = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { protocolVersion: 5, reconnectPeriod: 0, clientId: "token", username: "any", password: await token(3) });
  t.equal(await userOf(gateway, "token"), "device-9");
  const [packet] = (await onceOf(short, "disconnect")) as [{ reasonCode: number }];
  t.equal(packet.reasonCode, 0xa0, "the token has expired");
  await short.endAsync(true);
}

/** MQTT.js with the method and a client's side of SCRAM. */
function scramClient(gateway: RunningGateway, clientId: string, user: string, password: string): { readonly client: MqttClient; readonly shown: () => { readonly expected: string; readonly got: string } } {
  const first = clientFirst(user, randomBytes(12).toString("hex"));
  let expected = "";
  let got = "";
  const authenticationMethod = "SCRAM-SHA-256";
  const options: IClientOptions = { protocolVersion: 5, reconnectPeriod: 0, clientId, properties: { authenticationMethod, authenticationData: Buffer.from(first) } };
  const client = mqtt.connect(`mqtt://127.0.0.1:${gateway.mqttPort}`, options);
  client.handleAuth = (packet, callback) => {
    const final = clientFinal(first, packet.properties!.authenticationData!.toString(), password);
    ({ expected } = final);
    const answer: IAuthPacket = { cmd: "auth", reasonCode: 0x18, properties: { authenticationMethod, authenticationData: Buffer.from(final.message) } };
    callback(undefined as unknown as Error, answer);
  };
  client.on("connect", (connack) => (got = connack.properties?.authenticationData?.toString() ?? ""));
  client.on("error", () => undefined);
  return { client, shown: () => ({ expected: `v=${expected}`, got }) };
}

async function scram(t: Test, { gateway }: Fixture): Promise<void> {
  const { client, shown } = scramClient(gateway, "scram", "alice", "second");
  await onceOf(client, "connect");
  t.equal(shown().got, shown().expected, "the gateway knows the password, too");
  t.equal(await userOf(gateway, "scram"), "alice");
  await client.subscribeAsync("scram/#");
  const message = onceOf(client, "message");
  await client.publishAsync("scram/x", "hello", { qos: 1 });
  t.match(await message, ["scram/x"]);
  await client.endAsync();
  for (const [user, password] of [["alice", "first"], ["nobody", "x"]] as const) {
    const wrong = scramClient(gateway, "wrong", user, password).client;
    const [error] = (await onceOf(wrong, "error")) as [{ code: number }];
    t.equal(error.code, 0x86, user);
    await wrong.endAsync(true);
  }
  const unknown = mqtt.connect(`mqtt://127.0.0.1:${gateway.mqttPort}`, { protocolVersion: 5, reconnectPeriod: 0, properties: { authenticationMethod: "OTHER" } });
  const [error] = (await onceOf(unknown, "error")) as [{ code: number }];
  t.equal(error.code, 0x8c);
  await unknown.endAsync(true);
}

for (const shards of [1, 2, 4]) {
  void t.test(`authentication on ${shards} shards`, { timeout: 240_000 }, async (t) => {
    const fixture = await start(t, shards);
    await t.test("passwords: set, change, list, delete while the gateway runs", (t) => passwords(t, fixture));
    await t.test("packets before CONNACK, over TCP and TLS", (t) => hasty(t, fixture));
    await t.test("SCRAM-SHA-256 with MQTT.js", (t) => scram(t, fixture));
    await t.test("connections end with their user's password, and with the user", (t) => endings(t, fixture));
    // Wrong attempts take up to eight seconds each by now: once is enough for what has nothing to do with the number of shards.
    if (shards === 2) await t.test("users of the HTTP back-end", (t) => remoteUsers(t, fixture));
    if (shards === 2) await t.test("users of the HTTP back-end are asked about again", (t) => remoteEndings(t, fixture));
    if (shards === 2) await t.test("tokens, and the end of one while its client is connected", (t) => tokens(t, fixture));
    t.notMatch(fixture.gateway.output, /first|second|eyJ/, "no password or token is in the log");
    t.same(await fixture.gateway.stop(), { code: 0, signal: null });
  });
}

void t.test("a client certificate's common name is the user, with groups of the password file", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2 });
  t.teardown(() => gateway.remove());
  await gateway.stop();
  const authority = await Authority.create("devices");
  const device = await authority.issue("CN=device-7");
  appendFileSync(gateway.caFile, authority.certificate);
  gateway.useConfig((text) => text.replace("mqtts: {", "mqtts: { client_certificate: required, identity: common_name,"));
  t.ok(await gateway.says(/started in/), gateway.output);
  const client = await mqtt.connectAsync(`mqtts://127.0.0.1:${gateway.mqttsPort}`, {
    ca: readFileSync(gateway.caFile), cert: device.certificate, key: device.key, clientId: "with-certificate", reconnectPeriod: 0,
  });
  t.equal(await userOf(gateway, "with-certificate"), "device-7");
  await client.endAsync();
});

void t.test("files that others can read stop the start, and say what to do", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 1 });
  t.teardown(() => gateway.remove());
  await gateway.stop();
  const secret = join(gateway.directory, "secret");
  writeFileSync(secret, SECRET, { mode: 0o644 });
  gateway.useConfig((text) => `${text}\nauth: { jwt: { secret_file: ${secret} } }\n`);
  t.same(await gateway.ended(), { code: EXIT.START, signal: null });
  t.match(gateway.output, new RegExp(`AUTH_FILE_BAD.*chmod 600 ${secret}`));
  chmodSync(join(gateway.directory, "certs", "key.pem"), 0o640);
  gateway.useConfig((text) => text);
  t.same(await gateway.ended(), { code: EXIT.START, signal: null });
  t.match(gateway.output, /CERTIFICATE_BAD.*chmod 600 .*key\.pem/);
});
