// MQTT over WebSocket: the front's way from an HTTP request to a shard, and the reactor's frames both ways.
import { randomBytes } from "node:crypto";
import t, { type Test } from "tap";
import { fnv1aOf } from "../../src/base/bytes.js";
import { Authority } from "./certificates.js";
import { connectFrame, dial, dialTls, echo, Gateway, hangUp, ID_OF_SHARD_0, listener, SHARDS, type Settings } from "./gateway.js";
import { binary, closeCode, frameOf, OPCODE, upgradeRequest, WebSocketClient, websocketListener, type RequestParts } from "./websocket-client.js";

const authority = await Authority.create("devices");
const server = await authority.issueServer("gateway.example");
const device = { certificate: server.certificate, key: server.key, clientCertificate: "off", alpn: ["http/1.1"] } as const;
const tls = { ca: authority.certificate, ALPNProtocols: ["h2", "http/1.1"] };
const PINGREQ = Buffer.from("c000", "hex");

/** Listener 0 is plain, 1 speaks TLS, 2 is plain MQTT, 3 stands behind a proxy. */
async function startGateway(t: Test, settings: Settings = {}): Promise<Gateway> {
  const gateway = await Gateway.start([websocketListener(), websocketListener("device"), listener("mqtt"), websocketListener(undefined, { isBehindProxy: true, origins: ["https://app.example"] })], { device }, settings);
  t.teardown(() => gateway.stop());
  return gateway;
}

async function open(gateway: Gateway, isTls = false, first?: Uint8Array): Promise<WebSocketClient> {
  const socket = isTls ? await dialTls(gateway.port(1), tls) : await dial(gateway.port(0));
  const client = await WebSocketClient.open(socket, upgradeRequest(), first);
  if (!client.head.startsWith("HTTP/1.1 101 ")) throw new Error(client.head);
  return client;
}

void t.test("a client id inside frames goes to the shard that owns it, with and without TLS", async (t) => {
  const gateway = await startGateway(t);
  const expected = new Array<number>(SHARDS).fill(0);
  for (const isTls of [false, true]) {
    for (const id of ["a", "device-1", "Gerät-ß", "x".repeat(3000), ...Array.from({ length: 10 }, () => randomBytes(9).toString("base64url"))]) {
      const client = await open(gateway, isTls);
      const connect = connectFrame(id, 5);
      client.send(binary(connect));
      t.ok((await client.stream(connect.length)).equals(connect));
      expected[fnv1aOf(id) % SHARDS]!++;
      t.strictSame(gateway.adopted(), expected);
      await hangUp(client.socket);
    }
  }
  t.equal(gateway.count("UPGRADED"), gateway.adoptedInAll());
  for (let i = 0; i < 2; i++) {
    const client = await open(gateway);
    client.send(binary(connectFrame("")));
    await client.stream(1);
    await hangUp(client.socket);
  }
  t.strictSame(gateway.adopted(), expected.map((count) => count + 1), "empty client ids are dealt out in turn");
});

void t.test("the answer is that of RFC 6455 with the subprotocol mqtt [MQTT-6.0.0-4], and ALPN makes browsers speak HTTP/1.1", async (t) => {
  const gateway = await startGateway(t);
  const socket = await dialTls(gateway.port(1), tls);
  t.equal(socket.alpnProtocol, "http/1.1");
  const client = await WebSocketClient.open(socket, upgradeRequest({ protocol: "mqttv3.1, mqtt", more: "Sec-WebSocket-Extensions: permessage-deflate\r\n" }));
  t.equal(client.head, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n");
  await hangUp(socket);
});

void t.test("packets and frames need not agree [MQTT-6.0.0-2]: the same stream comes out however it is cut", async (t) => {
  const gateway = await startGateway(t);
  const packets = [connectFrame(ID_OF_SHARD_0), Buffer.from("300a000464657631aabbccdd", "hex"), PINGREQ, Buffer.concat([Buffer.from("30d00f000174", "hex"), Buffer.alloc(1997, 7)])];
  const stream = Buffer.concat(packets);
  const echoes = async (isTls: boolean, ...parts: readonly Uint8Array[]): Promise<void> => {
    const client = await open(gateway, isTls, parts[0]);
    for (const part of parts.slice(1)) {
      client.send(part);
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (!(await client.stream(stream.length)).equals(stream)) throw new Error("other bytes came back");
    await hangUp(client.socket);
  };
  for (const isTls of [false, true]) {
    await echoes(isTls, binary(stream));
    await echoes(isTls, ...packets.map((packet) => binary(packet)));
    await echoes(isTls, ...Array.from(stream.subarray(0, 60), (byte) => binary(Buffer.from([byte]))), binary(stream.subarray(60)));
  }
  const head = stream.subarray(0, 60);
  for (let at = 1; at < head.length; at++) await echoes(false, Buffer.concat([frameOf(OPCODE.BINARY, head.subarray(0, at), { isFinal: false }), frameOf(OPCODE.PONG, Buffer.alloc(0)), frameOf(OPCODE.CONTINUATION, stream.subarray(at))]));
  const wire = binary(stream);
  for (let at = 1; at < 80; at++) await echoes(at % 2 === 0, wire.subarray(0, at), wire.subarray(at));
  t.pass("every cut");
});

void t.test("large packets come back whole, in frames of any length", { timeout: 60_000 }, async (t) => {
  const gateway = await startGateway(t);
  for (const isTls of [false, true]) {
    const client = await open(gateway, isTls);
    client.send(binary(connectFrame("large")));
    await client.stream(connectFrame("large").length);
    for (const size of [125, 126, 8190, 65_535, 65_536, 900_000]) {
      const packet = Buffer.concat([Buffer.from([0x30, (size & 0x7f) | 0x80, ((size >> 7) & 0x7f) | 0x80, size >> 14]), randomBytes(size)]);
      client.send(binary(packet));
      t.ok((await client.stream(packet.length)).equals(packet), `${size} bytes in one frame`);
      const parts: Buffer[] = [];
      for (let at = 0; at < packet.length; at += 10_007) parts.push(frameOf(at === 0 ? OPCODE.BINARY : OPCODE.CONTINUATION, packet.subarray(at, at + 10_007), { isFinal: at + 10_007 >= packet.length }));
      client.send(...parts);
      t.ok((await client.stream(packet.length)).equals(packet), `${size} bytes in ${parts.length} frames`);
    }
    await hangUp(client.socket);
  }
});

void t.test("Ping is answered by Pong, before the CONNECT and after it; a Close by the same code", async (t) => {
  const gateway = await startGateway(t);
  for (const isTls of [false, true]) {
    const client = await open(gateway, isTls);
    const connect = connectFrame("pinging");
    client.send(frameOf(OPCODE.PING, Buffer.from("early")));
    t.strictSame(await client.next(), { opcode: OPCODE.PONG, payload: Buffer.from("early") });
    client.send(binary(connect));
    await client.stream(connect.length);
    client.send(frameOf(OPCODE.PING, Buffer.from("first")), frameOf(OPCODE.PING, Buffer.alloc(125, "p")));
    const pong = await client.next();
    t.equal(pong?.opcode, OPCODE.PONG);
    client.send(frameOf(OPCODE.CLOSE, closeCode(4321, "done")));
    let last = await client.next();
    while (last?.opcode === OPCODE.PONG) last = await client.next();
    t.strictSame(last, { opcode: OPCODE.CLOSE, payload: closeCode(4321) });
    t.equal(await client.next(), undefined, "and then the connection ends");
    const hasty = await open(gateway, isTls, Buffer.concat([binary(connect, PINGREQ), frameOf(OPCODE.CLOSE, closeCode(1000))]));
    t.ok((await hasty.stream(connect.length + 2)).equals(Buffer.concat([connect, PINGREQ])), "what came with the CONNECT, before the Close, counts");
    t.strictSame(await hasty.next(), { opcode: OPCODE.CLOSE, payload: closeCode(1000) });
    t.equal(await hasty.next(), undefined);
    const early = await open(gateway, isTls, frameOf(OPCODE.CLOSE, Buffer.alloc(0)));
    t.strictSame(await early.next(), { opcode: OPCODE.CLOSE, payload: Buffer.alloc(0) });
    t.equal(await early.next(), undefined);
  }
  t.equal(gateway.count("PEER_CLOSED"), 2);
});

const BROKEN: readonly (readonly [string, Buffer, number])[] = [
  ["a text frame [MQTT-6.0.0-1]", frameOf(OPCODE.TEXT, Buffer.from("hello")), 1003],
  ["an unmasked frame", frameOf(OPCODE.BINARY, PINGREQ, { isMasked: false }), 1002],
  ["a reserved opcode", frameOf(5, PINGREQ), 1002],
  ["a reserved bit", frameOf(0x40 | OPCODE.BINARY, PINGREQ), 1002],
  ["a continuation of nothing", frameOf(OPCODE.CONTINUATION, PINGREQ), 1002],
  ["a control frame that is too large", frameOf(OPCODE.PING, Buffer.alloc(126)), 1002],
  ["a fragmented Close", frameOf(OPCODE.CLOSE, Buffer.alloc(0), { isFinal: false }), 1002],
  ["a frame of 2^62 bytes", Buffer.from("82ff400000000000000001020304", "hex"), 1009],
];

void t.test("frames that break the rules end the connection with a code, before the CONNECT and after it", async (t) => {
  const gateway = await startGateway(t);
  for (const [name, bytes, code] of BROKEN) {
    for (const isTls of [false, true]) {
      const early = await open(gateway, isTls, bytes);
      t.strictSame(await early.next(), { opcode: OPCODE.CLOSE, payload: closeCode(code) }, `${name}, before the CONNECT`);
      t.equal(await early.next(), undefined);
      t.equal((await gateway.refused()).reason, "WEBSOCKET_REFUSED");
      const late = await open(gateway, isTls);
      const connect = connectFrame(name);
      late.send(binary(connect, PINGREQ), bytes);
      t.ok((await late.stream(connect.length + PINGREQ.length)).equals(Buffer.concat([connect, PINGREQ])), "what came before counts");
      t.strictSame(await late.next(), { opcode: OPCODE.CLOSE, payload: closeCode(code) }, `${name}, after the CONNECT`);
      t.equal(await late.next(), undefined);
      late.socket.destroy();
    }
  }
  t.equal(gateway.count("WEBSOCKET_REFUSED"), 2 * BROKEN.length);
});

void t.test("what is no upgrade, or offers no mqtt [MQTT-6.0.0-3], gets its status, is counted and ended", async (t) => {
  const gateway = await startGateway(t);
  const cases: readonly (readonly [RequestParts, number, "HTTP_NOT_FOUND" | "UPGRADE_REFUSED" | "ORIGIN_REFUSED"])[] = [
    [{ line: "GET / HTTP/1.1" }, 404, "HTTP_NOT_FOUND"],
    [{ line: "POST /api/v1/devices HTTP/1.1" }, 404, "HTTP_NOT_FOUND"],
    [{ line: "DELETE /mqtt HTTP/1.1" }, 405, "UPGRADE_REFUSED"],
    [{ version: "12" }, 426, "UPGRADE_REFUSED"],
    [{ protocol: "soap" }, 400, "UPGRADE_REFUSED"],
    [{ line: "GET /mqtt HTTP/3.0" }, 400, "UPGRADE_REFUSED"],
    [{ more: `X: ${"x".repeat(9000)}\r\n` }, 431, "UPGRADE_REFUSED"],
    [{ more: "Origin: https://evil.example\r\n" }, 403, "ORIGIN_REFUSED"],
  ];
  for (const [parts, status, reason] of cases) {
    for (const isTls of [false, true]) {
      const socket = isTls ? await dialTls(gateway.port(1), tls) : await dial(gateway.port(0));
      const client = await WebSocketClient.open(socket, upgradeRequest(parts));
      t.match(client.head, new RegExp(`^HTTP/1\\.1 ${status} [^]*\r\nConnection: [^]*Content-Length: \\d+\r\n`));
      t.match(await client.rest(), /^[^\n]+\n$/, "one line says why");
      const refusal = await gateway.refused();
      t.strictSame([refusal.listener, refusal.reason], [isTls ? 1 : 0, reason], refusal.detail);
    }
  }
  for (const name of ["HTTP_NOT_FOUND", "UPGRADE_REFUSED", "ORIGIN_REFUSED"] as const) t.equal(gateway.count(name), 2 * cases.filter(([, , reason]) => reason === name).length, name);
  for (const [bytes, detail] of [[connectFrame("plain"), "looks like MQTT without WebSocket"], [Buffer.from("16030100c8010000", "hex"), "looks like TLS"]] as const) {
    const socket = await dial(gateway.port(0));
    await WebSocketClient.open(socket, "", bytes);
    t.strictSame(await gateway.refused(), { listener: 0, peer: "127.0.0.1", reason: "UPGRADE_REFUSED", detail });
  }
});

void t.test("a request cut at every byte waits for its rest, within one deadline for all", async (t) => {
  const gateway = await startGateway(t, { firstFrameDeadlineMs: 400 });
  const request = upgradeRequest();
  const connect = connectFrame("trickling");
  const whole = Buffer.concat([Buffer.from(request), binary(connect)]);
  for (let at = 1; at < whole.length; at += 3) {
    const socket = await dial(gateway.port(0));
    socket.write(whole.subarray(0, at));
    await new Promise((resolve) => setImmediate(resolve));
    const client = await WebSocketClient.open(socket, "", whole.subarray(at));
    t.ok((await client.stream(connect.length)).equals(connect));
    await hangUp(socket);
  }
  const slow = await dial(gateway.port(0));
  const client = await WebSocketClient.open(slow, request);
  const began = performance.now();
  const timer = setInterval(() => client.send(frameOf(OPCODE.PING, Buffer.alloc(0))), 20);
  while ((await client.next())?.opcode === OPCODE.PONG);
  clearInterval(timer);
  t.ok(performance.now() - began > 200, "pings do not hold it open");
  t.equal((await gateway.refused()).reason, "FIRST_FRAME_TIMEOUT");
});

void t.test("a loopback address speaks for the client only when nothing speaks of a proxy", async (t) => {
  const gateway = await startGateway(t);
  const isLoopback = async (index: number, parts: RequestParts): Promise<boolean> => {
    const client = await WebSocketClient.open(await dial(gateway.port(index)), upgradeRequest(parts), binary(connectFrame(ID_OF_SHARD_0)));
    const opened = await gateway.opened(0);
    t.strictSame([opened.listener, opened.peer], [index, "127.0.0.1"]);
    await hangUp(client.socket);
    return opened.isLoopback;
  };
  t.equal(await isLoopback(0, { host: "localhost:1" }), true);
  t.equal(await isLoopback(0, { host: "127.0.0.1" }), true);
  t.equal(await isLoopback(0, { host: "rebound.example" }), false, "a name that was made to point here");
  t.equal(await isLoopback(0, { more: "X-Forwarded-For: 192.0.2.1\r\n" }), false, "a proxy on this machine");
  t.equal(await isLoopback(3, {}), false, "a listener for proxies");
  t.equal(await isLoopback(3, { more: "Origin: https://app.example\r\n" }), false);
  const refused = await WebSocketClient.open(await dial(gateway.port(3)), upgradeRequest({ more: "Origin: http://localhost\r\n" }));
  t.match(refused.head, /^HTTP\/1\.1 403 /);
  refused.socket.destroy();
});

void t.test("a plain connection beside them is served as ever", async (t) => {
  const gateway = await startGateway(t);
  const websocket = await open(gateway, false, binary(connectFrame("framed")));
  await websocket.stream(connectFrame("framed").length);
  const plain = await dial(gateway.port(2));
  await echo(plain, connectFrame("plain"), PINGREQ);
  websocket.send(binary(PINGREQ));
  t.ok((await websocket.stream(2)).equals(PINGREQ));
  await hangUp(plain, websocket.socket);
});
