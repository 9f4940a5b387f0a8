// What the front does with peers that are slow, wrong or hostile: each is refused by a stable word, counted, and harms nobody else.
import { once } from "node:events";
import { connect as connectTls } from "node:tls";
import t from "tap";
import { Authority } from "./certificates.js";
import { connectFrame, dial, dialTls, echo, FrontAlone, Gateway, gone, hangUp, listener, type Settings } from "./gateway.js";

const authority = await Authority.create("devices");
const server = await authority.issueServer("gateway.example");
const ca = authority.certificate;
const device = { certificate: server.certificate, key: server.key, clientCertificate: "off", alpn: ["mqtt"] } as const;

/** Listener 0 speaks TLS, 1 plain MQTT, 2 plain lines. */
async function startGateway(settings: Settings = {}): Promise<Gateway> {
  return Gateway.start([listener("mqtt", "device"), listener("mqtt"), listener("line")], { device }, settings);
}

/** Connects, sends, and waits until the front has ended it. */
async function sendAndLose(port: number, bytes: Uint8Array | string): Promise<void> {
  const socket = await dial(port);
  socket.write(bytes);
  await gone(socket);
}

void t.test("the TLS port recognises what is no TLS", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  const cases = [
    [connectFrame("plain"), "looks like MQTT without TLS: use TLS, or the plain port"],
    ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "looks like HTTP without TLS"],
    ['{"message_type":"Connect"}\n', "looks like JSON lines without TLS"],
    [Buffer.from("8046010301002d", "hex"), "no TLS"],
  ] as const;
  for (const [bytes, detail] of cases) {
    await sendAndLose(gateway.port(0), bytes);
    t.strictSame(await gateway.refused(), { listener: 0, peer: "127.0.0.1", reason: "NOT_TLS", detail });
  }
  t.equal(gateway.count("NOT_TLS"), cases.length);
  t.equal(gateway.count("HANDSHAKE_FAILED"), 0);
});

void t.test("garbage that begins like TLS fails its handshake", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  const cases = [Buffer.concat([Buffer.from("1603010010", "hex"), Buffer.alloc(16, 0xaa)]), Buffer.from("160909ffff0101", "hex"), Buffer.from("16030100050100000100", "hex")];
  for (const bytes of cases) {
    const socket = await dial(gateway.port(0));
    socket.end(bytes);
    await gone(socket);
  }
  t.equal((await gateway.refused()).reason, "HANDSHAKE_FAILED");
  const healthy = await dialTls(gateway.port(0), { ca });
  await echo(healthy, connectFrame("healthy"));
  await hangUp(healthy);
});

void t.test("a client that does not trust the certificate goes, and is counted once", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  const socket = connectTls({ port: gateway.port(0), host: "127.0.0.1", servername: "localhost", ca: (await Authority.create("other")).certificate });
  t.ok(await gone(socket));
  const isCounted = (): boolean => gateway.count("HANDSHAKE_FAILED") + gateway.count("PEER_CLOSED") === 1;
  while (!isCounted()) await new Promise((resolve) => setImmediate(resolve));
  t.pass("counted");
});

void t.test("the plain port refuses what is no CONNECT, in plain words", async (t) => {
  const gateway = await startGateway({ firstFrameSizeMax: 300 });
  t.teardown(() => gateway.stop());
  const malformed = connectFrame("device");
  malformed[1]! -= 1; // the frame now ends before its client id does
  const cases = [
    ["GET / HTTP/1.1\r\n\r\n", "looks like HTTP"],
    [Buffer.from("16030100c8010000", "hex"), "looks like TLS: use the TLS port"],
    [Buffer.from("c000", "hex"), "the first packet is not a CONNECT"],
    [Buffer.from("1100", "hex"), "the first packet is not a CONNECT"],
    [Buffer.from("10ffffffff01", "hex"), "the remaining length has more than four bytes"],
    [connectFrame("x".repeat(300)), "the CONNECT is too large"],
    [malformed, "the CONNECT is malformed"],
    [Buffer.from("1000", "hex"), "the CONNECT is malformed"],
  ] as const;
  for (const [bytes, detail] of cases) {
    await sendAndLose(gateway.port(1), bytes);
    t.strictSame(await gateway.refused(), { listener: 1, peer: "127.0.0.1", reason: "FIRST_FRAME_REFUSED", detail });
  }
  await sendAndLose(gateway.port(2), Buffer.from("16030100c8010000", "hex"));
  t.strictSame(await gateway.refused(), { listener: 2, peer: "127.0.0.1", reason: "FIRST_FRAME_REFUSED", detail: "looks like TLS: use the TLS port" });
  t.equal(gateway.count("FIRST_FRAME_REFUSED"), cases.length + 1);
  t.equal(gateway.adoptedInAll(), 0);
});

void t.test("a refusal inside TLS says goodbye by close_notify", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  const socket = await dialTls(gateway.port(0), { ca });
  socket.write("no CONNECT");
  const ended = once(socket, "end");
  t.equal((await gateway.refused()).reason, "FIRST_FRAME_REFUSED");
  socket.resume();
  await ended;
  t.pass("the client saw an orderly end");
});

void t.test("silent clients and half frames are ended at their deadlines, while others are served", async (t) => {
  const gateway = await startGateway({ handshakeDeadlineMs: 300, firstFrameDeadlineMs: 400 });
  t.teardown(() => gateway.stop());
  const began = performance.now();
  const silentTls = await dial(gateway.port(0));
  const halfHello = await dial(gateway.port(0));
  halfHello.write(Buffer.from("16030100c801", "hex"));
  const silentPlain = await dial(gateway.port(1));
  const halfConnect = await dial(gateway.port(1));
  halfConnect.write(connectFrame("slow").subarray(0, 7));
  const halfLine = await dial(gateway.port(2));
  halfLine.write('{"message');
  const silentInTls = await dialTls(gateway.port(0), { ca });
  const healthy = await dialTls(gateway.port(0), { ca });
  await echo(healthy, connectFrame("healthy"));
  await Promise.all([silentTls, halfHello].map(gone));
  t.ok(performance.now() - began >= 290, "not before the handshake's deadline");
  await Promise.all([silentPlain, halfConnect, halfLine, silentInTls].map(gone));
  t.ok(performance.now() - began >= 390, "not before the first frame's deadline");
  const details: string[] = [];
  for (let i = 0; i < 6; i++) {
    const refusal = await gateway.refused();
    details.push(`${refusal.reason}: ${refusal.detail}`);
  }
  t.strictSame(details.sort(), [
    "FIRST_FRAME_TIMEOUT: nothing was sent",
    "FIRST_FRAME_TIMEOUT: nothing was sent",
    "FIRST_FRAME_TIMEOUT: only 7 bytes of the first frame were sent",
    "FIRST_FRAME_TIMEOUT: only 9 bytes of the first frame were sent",
    "HANDSHAKE_TIMEOUT: the TLS handshake took too long",
    "HANDSHAKE_TIMEOUT: the TLS handshake took too long",
  ]);
  t.equal(gateway.count("HANDSHAKE_TIMEOUT"), 2);
  t.equal(gateway.count("FIRST_FRAME_TIMEOUT"), 4);
  await echo(healthy, Buffer.from("c000", "hex"));
  await hangUp(healthy);
});

void t.test("a CONNECT that trickles in does not get its deadline anew with each byte", async (t) => {
  const gateway = await startGateway({ firstFrameDeadlineMs: 300 });
  t.teardown(() => gateway.stop());
  const socket = await dial(gateway.port(1));
  const frame = connectFrame("x".repeat(100));
  let sent = 0;
  const timer = setInterval(() => socket.write(frame.subarray(sent, ++sent)), 20);
  await gone(socket);
  clearInterval(timer);
  t.ok(sent > 1 && sent < frame.length, `${sent} of ${frame.length} bytes were sent`);
  t.equal(gateway.count("FIRST_FRAME_TIMEOUT"), 1);
});

void t.test("peers that go before their first frame are counted, not reported", async (t) => {
  const gateway = await startGateway();
  t.teardown(() => gateway.stop());
  for (const port of [gateway.port(0), gateway.port(1)]) {
    const socket = await dial(port);
    socket.end();
    await gone(socket);
    const reset = await dial(port);
    reset.resetAndDestroy();
    await gone(reset);
  }
  while (gateway.count("PEER_CLOSED") < 4) await new Promise((resolve) => setImmediate(resolve));
  t.equal(gateway.count("PEER_CLOSED"), 4);
});

void t.test("a flood of refusals is reported at a bounded rate and counted in full", async (t) => {
  const alone = new FrontAlone([listener("mqtt")]);
  t.teardown(() => alone.stop());
  alone.front.start();
  const began = performance.now();
  for (let i = 0; i < 100; i++) await sendAndLose(alone.port(), "x");
  const seconds = (performance.now() - began) / 1000;
  t.equal(alone.count("FIRST_FRAME_REFUSED"), 100);
  const reported = 100 - alone.count("REFUSALS_UNREPORTED");
  t.ok(reported >= 20 && reported <= 21 + 20 * seconds, `${reported} in ${seconds} s`);
});
