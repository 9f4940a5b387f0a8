// MQTT over WebSocket and over a Unix socket with clients that people use, against a built gateway on 1, 2 and 4 shards: MQTT.js, paho,
// mosquitto's.
import { once } from "node:events";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import mqtt from "mqtt";
import t, { type Test } from "tap";
import { connectFrame, dial } from "../front/gateway.js";
import { binary, closeCode, frameOf, OPCODE, upgradeRequest, WebSocketClient } from "../front/websocket-client.js";
import { RunningGateway } from "./gateway.js";
import { run } from "./run.js";

const PAHO_CLIENT = new URL("../../../test/e2e/paho-client.py", import.meta.url).pathname;
const LISTENERS = { https: "{ host: 127.0.0.1, port: 0 }", ws: "{ port: 0 }", unix: "{ mode: 600 }" };

const wssPort = (gateway: RunningGateway): number => gateway.portOf(/wss:\/\/127\.0\.0\.1:(\d+)\/mqtt/);
const wsPort = (gateway: RunningGateway): number => gateway.portOf(/ws:\/\/127\.0\.0\.1:(\d+)\/mqtt/);

/** Every client of `subscribers` gets everything that every client of `publishers` sends, in the order it was sent. */
async function exchange(t: Test, gateway: RunningGateway, protocolVersion: 4 | 5): Promise<void> {
  const ca = readFileSync(gateway.caFile);
  const urls = [`mqtt://127.0.0.1:${gateway.mqttPort}`, `mqtts://127.0.0.1:${gateway.mqttsPort}`, `wss://127.0.0.1:${wssPort(gateway)}/mqtt`, `ws://127.0.0.1:${wsPort(gateway)}/mqtt`];
  const open = (url: string, clientId: string) => mqtt.connectAsync(url, { ca, protocolVersion, reconnectPeriod: 0, clientId });
  const sizes = [0, 1, 125, 126, 5000, 65_535, 300_000];
  const expected = urls.flatMap((_, publisher) => [0, 1, 2].flatMap((qos) => sizes.map((size) => `x/${protocolVersion}/${publisher}/${qos} ${size}`))).sort();
  const subscribers = await Promise.all(
    urls.map(async (url, index) => {
      const client = await open(url, `sub-${protocolVersion}-${index}`);
      const got: string[] = [];
      const whole = new Promise<void>((resolve) => {
        client.on("message", (topic, payload) => {
          if (!payload.every((byte) => byte === payload.length % 251)) throw new Error(`other bytes in ${topic}`);
          got.push(`${topic} ${payload.length}`);
          if (got.length === expected.length) resolve();
        });
      });
      await client.subscribeAsync(`x/${protocolVersion}/#`, { qos: 2 });
      return { client, got, whole };
    }),
  );
  for (const [publisher, url] of urls.entries()) {
    const client = await open(url, protocolVersion === 5 && publisher > 1 ? "" : `pub-${protocolVersion}-${publisher}`);
    for (const qos of [0, 1, 2] as const) await Promise.all(sizes.map((size) => client.publishAsync(`x/${protocolVersion}/${publisher}/${qos}`, Buffer.alloc(size, size % 251), { qos })));
    await client.endAsync();
  }
  for (const [index, { client, got, whole }] of subscribers.entries()) {
    await whole;
    t.same([...got].sort(), expected, urls[index]!);
    await client.endAsync();
  }
}

async function unixSocket(t: Test, gateway: RunningGateway): Promise<void> {
  const path = join(gateway.directory, "data", "mqtt.sock");
  t.equal(statSync(path).mode & 0o777, 0o600);
  for (const [version, qos] of [["mqttv311", "1"], ["mqttv5", "2"]] as const) {
    const published = await run("mosquitto_pub", ["--unix", path, "-V", version, "-q", qos, "-r", "-t", `unix/${version}`, "-m", "by path"]);
    t.equal(published.code, 0, published.output);
    const subscribed = await run("mosquitto_sub", ["--unix", path, "-V", version, "-q", qos, "-t", `unix/${version}`, "-C", "1", "-W", "20", "-v"]);
    t.same(subscribed, { code: 0, output: `unix/${version} by path\n` });
  }
}

async function hostileFrames(t: Test, gateway: RunningGateway): Promise<void> {
  const cases = [
    ["text", frameOf(OPCODE.TEXT, Buffer.from("{}")), 1003],
    ["unmasked", frameOf(OPCODE.BINARY, Buffer.from("c000", "hex"), { isMasked: false }), 1002],
    ["a packet that is too large", binary(Buffer.from("30ffffff7f", "hex")), 1009],
    ["a packet that is malformed", binary(Buffer.from("30ffffffffff01", "hex")), 1002],
    ["a packet that the standard forbids", binary(Buffer.from("36040001612a", "hex")), 1002],
  ] as const;
  for (const [name, bytes, code] of cases) {
    const client = await WebSocketClient.open(await dial(wsPort(gateway)), upgradeRequest(), binary(connectFrame(name)));
    t.match((await client.stream(4)).toString("hex"), /^2002..00$/);
    client.send(bytes);
    t.strictSame(await client.next(), { opcode: OPCODE.CLOSE, payload: closeCode(code) }, name);
    t.equal(await client.next(), undefined);
  }
  // A fault of MQTT is told MQTT 5 clients in its own words first [MQTT-3.2.2-15] [MQTT-1.5.5-1]; one of WebSocket is not MQTT's to tell.
  for (const [name, bytes, code, reason] of [["text", cases[0][1], 1003, null], ["too large", cases[2][1], 1009, 0x95], ["malformed", cases[3][1], 1002, 0x81]] as const) {
    const client = await WebSocketClient.open(await dial(wsPort(gateway)), upgradeRequest(), binary(connectFrame(`five ${name}`, 5)));
    t.equal((await client.next())?.opcode, OPCODE.BINARY, "CONNACK");
    client.send(bytes);
    if (reason !== null) t.match((await client.next())?.payload.toString("hex"), new RegExp(`^e0..${reason.toString(16)}`), name);
    t.strictSame(await client.next(), { opcode: OPCODE.CLOSE, payload: closeCode(code) }, name);
  }
  const { body } = await gateway.get("/metrics");
  t.match(body, /penstock_reactor_closed_total\{shard="\d",reason="websocket_error"\} [123]/);
  t.equal(await gateway.metric("penstock_front_upgraded_total") > cases.length, true);
}

for (const shards of [1, 2, 4]) {
  void t.test(`WebSocket and Unix sockets on ${shards} shards`, { timeout: 180_000 }, async (t) => {
    const gateway = await RunningGateway.start({ shards, listeners: LISTENERS, more: "auth: { anonymous: always }" });
    t.teardown(() => gateway.remove());
    await t.test("MQTT.js 3.1.1: over ws, wss, TCP and TLS each gets what the others send", (t) => exchange(t, gateway, 4));
    await t.test("MQTT.js 5: over ws, wss, TCP and TLS each gets what the others send", (t) => exchange(t, gateway, 5));
    await t.test("paho over wss, 3.1.1 and 5", async (t) => {
      for (const version of ["4", "5"]) {
        const { code, output } = await run("/usr/bin/python3", [PAHO_CLIENT, "127.0.0.1", String(wssPort(gateway)), gateway.caFile, version]);
        t.same({ code, output }, { code: 0, output: `paho/${version}/0 0 100\npaho/${version}/1 1 10000\npaho/${version}/2 2 1000000\n` });
      }
    });
    await t.test("mosquitto_pub and mosquitto_sub over the Unix socket", (t) => unixSocket(t, gateway));
    await t.test("broken frames and packets end their connection with a code", (t) => hostileFrames(t, gateway));
    await t.test("Pings of WebSocket keep no MQTT connection alive [MQTT-3.1.2-24]", async (t) => {
      const client = await WebSocketClient.open(await dial(wsPort(gateway)), upgradeRequest(), binary(connectFrame("silent", 4, { keepalive: 1 })));
      t.equal((await client.stream(4))[0], 0x20);
      const timer = setInterval(() => client.send(frameOf(OPCODE.PING, Buffer.alloc(0))), 100);
      while ((await client.next())?.opcode === OPCODE.PONG);
      clearInterval(timer);
      t.match((await gateway.get("/metrics")).body, /reason="keep_alive"\} 1/);
    });
    await t.test("a drain says that the gateway goes away, by DISCONNECT and by Close", async (t) => {
      const client = await WebSocketClient.open(await dial(wsPort(gateway)), upgradeRequest(), binary(connectFrame("waiting", 5)));
      t.equal((await client.next())?.payload[0], 0x20);
      const stopped = gateway.stop();
      const disconnect = await client.next();
      t.strictSame([disconnect?.payload[0], disconnect?.payload[2]], [0xe0, 0x8b]);
      t.strictSame(await client.next(), { opcode: OPCODE.CLOSE, payload: closeCode(1001) });
      t.same(await stopped, { code: 0, signal: null });
      t.notOk(existsSync(join(gateway.directory, "data", "mqtt.sock")), "the socket is gone");
    });
  });
}

void t.test("without other settings: local clients over wss and by the socket, no one over ws, and a dead socket is replaced", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ listeners: LISTENERS });
  t.teardown(() => gateway.remove());
  const ca = readFileSync(gateway.caFile);
  const options = { ca, reconnectPeriod: 0 } as const;
  await (await mqtt.connectAsync(`wss://127.0.0.1:${wssPort(gateway)}/mqtt`, options)).endAsync();
  await t.rejects(mqtt.connectAsync(`ws://127.0.0.1:${wsPort(gateway)}/mqtt`, options, false), { code: 5 }, "whoever comes through a proxy has its address");
  await t.rejects(mqtt.connectAsync(`wss://127.0.0.1:${wssPort(gateway)}/mqtt`, { ...options, wsOptions: { headers: { "X-Forwarded-For": "192.0.2.1" } } }, false), { code: 5 });
  const page = mqtt.connectAsync(`wss://127.0.0.1:${wssPort(gateway)}/mqtt`, { ...options, wsOptions: { origin: "https://evil.example" } }, false);
  await t.rejects(page);
  t.equal(await gateway.metric("penstock_front_origin_refused_total"), 1);
  const socket = connectTls({ host: "127.0.0.1", port: wssPort(gateway), ca, ALPNProtocols: ["h2", "http/1.1"] });
  await once(socket, "secureConnect");
  t.equal(socket.alpnProtocol, "http/1.1", "browsers speak HTTP/1.1");
  socket.destroy();
  await gateway.kill();
  const path = join(gateway.directory, "data", "mqtt.sock");
  t.ok(existsSync(path), "SIGKILL leaves it behind");
  await gateway.restart();
  t.equal((await run("mosquitto_pub", ["--unix", path, "-t", "x", "-m", "x", "-q", "1"])).code, 0);
  t.same(await gateway.stop(), { code: 0, signal: null });
  t.notOk(existsSync(path));
});
