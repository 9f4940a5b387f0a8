// How a front begins and ends: in what order, with which options, and that a process ends cleanly whatever is connected.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import t from "tap";
import { native, type FrontOptions } from "../../src/reactor/reactor.js";
import { FRONT_COUNTER_COUNT } from "../../src/ring/layout.js";
import { connectFrame, dial, echo, FrontAlone, Gateway, gone, hangUp, listener } from "./gateway.js";

void t.test("start names the listener whose context is missing", async (t) => {
  const alone = new FrontAlone([listener("mqtt", "device")]);
  t.throws(() => alone.front.start(), /^listener mqtt-device: there is no secure context device/);
  await alone.stop();
  t.throws(() => alone.front.start(), /stopped/);
  t.throws(() => alone.front.setContext("device", { certificate: "", key: "", clientCertificate: "off", alpn: [] }), /stopped/);
});

void t.test("a front can be started once", async (t) => {
  const alone = new FrontAlone([listener("mqtt")]);
  alone.front.start();
  t.throws(() => alone.front.start(), /started before/);
  await alone.stop();
});

void t.test("clients that connect before start wait for it", async (t) => {
  const alone = new FrontAlone([listener("mqtt")]);
  t.teardown(() => alone.stop());
  const early = await dial(alone.port());
  early.write("x");
  alone.front.start();
  await gone(early);
  t.equal((await alone.refused()).reason, "FIRST_FRAME_REFUSED");
});

void t.test("stop closes what is pending and the listeners, leaves what was handed over, and may be called again", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")]);
  t.teardown(() => gateway.stop());
  const served = await dial(gateway.port());
  await echo(served, connectFrame("served"));
  const pending = await dial(gateway.port());
  pending.write(connectFrame("half").subarray(0, 5));
  const port = gateway.port();
  gateway.front.stop();
  gateway.front.stop();
  await gone(pending);
  t.equal(gateway.count("PENDING"), 0);
  const late = connect(port, "127.0.0.1");
  t.equal(await gone(late), "ECONNREFUSED");
  await echo(served, Buffer.from("c000", "hex"));
  await hangUp(served);
});

void t.test("options that are wrong are named", (t) => {
  const good: FrontOptions = {
    listeners: [listener("mqtt")], shards: 1, counters: new Float64Array(new SharedArrayBuffer(FRONT_COUNTER_COUNT * 8)), handshakeDeadlineMs: 1, firstFrameDeadlineMs: 1,
    pendingMax: 1, perAddressMax: 1, connectionsMax: 1, firstFrameSizeMax: 100, onRefused: () => undefined,
  };
  const create = (change: Record<string, unknown>) => () => native().createFront({ ...good, ...change });
  t.throws(create({ listeners: "all" }), /^listeners must be a list/);
  t.throws(create({ listeners: [{ ...listener("mqtt"), port: 70_000 }] }), /^listeners\[0\]\.port must be a number from 0 to 65535/);
  t.throws(create({ listeners: [{ ...listener("mqtt"), protocol: "smtp" }] }), /^listeners\[0\]\.protocol must be mqtt, line or websocket/);
  const websocket = { ...listener("mqtt"), protocol: "websocket" };
  t.throws(create({ listeners: [websocket] }), /^listeners\[0\]\.websocket must be an object/);
  t.throws(create({ listeners: [{ ...websocket, websocket: { origins: "same" } }] }), /^listeners\[0\]\.websocket\.isBehindProxy must be true or false/);
  t.throws(create({ listeners: [{ ...websocket, websocket: { origins: 5, isBehindProxy: false } }] }), /^listeners\[0\]\.websocket\.origins must be a list/);
  t.throws(create({ listeners: [{ ...listener("mqtt"), unix: { path: "/x" } }] }), /^listeners\[0\]\.unix\.mode must be a number/);
  t.throws(create({ shards: 0 }), /^shards must be a number/);
  t.throws(create({ pendingMax: "many" }), /^pendingMax must be a number/);
  t.throws(create({ counters: new Float64Array(1) }), /^counters must be/);
  t.throws(create({ onRefused: undefined }), /^onRefused must be a function/);
  t.throws(() => native().createFront(undefined as unknown as FrontOptions), /takes options/);
  create({})().stop();
  t.end();
});

/** Runs front-process.js; it tells its port, and ends as `how` says once it has accepted. */
async function runProcess(how: "exit" | "stop" | "throw" | "unstarted" | "signal"): Promise<{ readonly code: number | null; readonly signal: string | null }> {
  const script = new URL("./front-process.js", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, how], { stdio: ["ignore", "inherit", "pipe", "ipc"] });
  child.stderr?.resume();
  const ended = once(child, "exit");
  const [ports] = (await once(child, "message")) as [readonly number[]];
  const sockets: Socket[] = [];
  if (how !== "unstarted") {
    for (const [index, port] of ports.entries()) {
      const pending = await dial(port);
      const second = await dial(port);
      second.write(index === 0 ? "\x16\x03\x01" : connectFrame("device-2"));
      for (const socket of [pending, second]) sockets.push(socket.on("error", () => undefined)); // how they end is not the question
    }
    child.send("go");
  }
  const [code, signal] = (await ended) as [number | null, string | null];
  await Promise.all(sockets.map(gone));
  return { code, signal };
}

void t.test("a process ends cleanly with live connections: process.exit", async (t) => {
  t.strictSame(await runProcess("exit"), { code: 0, signal: null });
});

void t.test("a process ends by itself after stop", async (t) => {
  t.strictSame(await runProcess("stop"), { code: 0, signal: null });
});

void t.test("a process ends by itself when its front was never started", async (t) => {
  t.strictSame(await runProcess("unstarted"), { code: 0, signal: null });
});

void t.test("an uncaught exception ends a process with its own exit code", async (t) => {
  t.strictSame(await runProcess("throw"), { code: 1, signal: null });
});

void t.test("signals are main's: its handler runs although the front's thread is the busy one", async (t) => {
  t.strictSame(await runProcess("signal"), { code: 7, signal: null });
});

void t.test("what onRefused throws is an uncaught exception", async (t) => {
  const script = new URL("./front-process.js", import.meta.url).pathname;
  const child = spawn(process.execPath, [script, "refusal"], { stdio: ["ignore", "inherit", "pipe", "ipc"] });
  let text = "";
  child.stderr?.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const ended = once(child, "exit");
  const [ports] = (await once(child, "message")) as [readonly number[]];
  const socket = await dial(ports[1]!);
  socket.write("x");
  t.strictSame(await ended, [1, null]);
  t.match(text, /thrown inside onRefused/);
  await gone(socket);
});
