// Listening on a path: who may connect, who is there already, and what is left behind.
import { once } from "node:events";
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { ListenerOptions } from "../../src/reactor/reactor.js";
import { connectFrame, echo, FrontAlone, Gateway, hangUp, ID_OF_SHARD_0 } from "./gateway.js";

function unixListener(path: string, mode = 0o660): ListenerOptions {
  return { name: "unix", host: "", port: 0, protocol: "mqtt", unix: { path, mode } };
}

/** A short path: a socket's has at most 107 bytes. */
function makeDirectory(t: Test): string {
  const directory = mkdtempSync(join(tmpdir(), "penstock-unix-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return directory;
}

async function dialUnix(path: string): Promise<Socket> {
  const socket = connect({ path });
  await once(socket, "connect");
  return socket;
}

/** What became of a listener on `path`. */
async function stateOf(path: string): Promise<unknown> {
  const front = new FrontAlone([unixListener(path)]);
  const [state] = front.front.listeners;
  await front.stop();
  return state;
}

void t.test("a client of this machine is handed over with its process and user, and counts as local", async (t) => {
  const path = join(makeDirectory(t), "mqtt.sock");
  const gateway = await Gateway.start([unixListener(path, 0o600)]);
  t.teardown(() => gateway.stop());
  t.equal(statSync(path).mode & 0o777, 0o600);
  const socket = await dialUnix(path);
  await echo(socket, connectFrame(ID_OF_SHARD_0), Buffer.from("c000", "hex"));
  t.strictSame(await gateway.opened(0), { listener: 0, peer: `unix:pid=${process.pid},uid=${process.getuid!()}`, peerPort: 0, isLoopback: true });
  await hangUp(socket);
  await gateway.stop();
  t.notOk(existsSync(path), "nothing is left behind");
});

void t.test("clients are limited and refused as over TCP", async (t) => {
  const path = join(makeDirectory(t), "mqtt.sock");
  const gateway = await Gateway.start([unixListener(path)], {}, { perAddressMax: 1 });
  t.teardown(() => gateway.stop());
  const first = await dialUnix(path);
  await echo(first, connectFrame("first"));
  const second = await dialUnix(path);
  await once(second.resume(), "close");
  const refusal = await gateway.refused();
  t.strictSame([refusal.reason, refusal.peer], ["ADDRESS_LIMIT", `unix:pid=${process.pid},uid=${process.getuid!()}`]);
  await hangUp(first);
});

void t.test("a socket that nobody listens on is replaced; one that somebody does, and any other file, is left alone", async (t) => {
  const directory = makeDirectory(t);
  const path = join(directory, "mqtt.sock");
  const server = createServer();
  server.listen(path);
  await once(server, "listening");
  t.strictSame(await stateOf(path), { error: "EADDRINUSE" });
  t.ok(existsSync(path), "the other's socket is still there");
  await hangUp(await dialUnix(path));
  server.close();
  await once(server, "close");
  const dead = new FrontAlone([unixListener(path)]);
  t.strictSame(dead.front.listeners[0], { port: 0 });
  const live = new FrontAlone([unixListener(path)]);
  t.strictSame(live.front.listeners[0], { error: "EADDRINUSE" }, "one of our own is live, too");
  await live.stop();
  t.ok(existsSync(path), "whoever could not have it does not remove it");
  await dead.stop();
  const file = join(directory, "file");
  writeFileSync(file, "text");
  t.strictSame(await stateOf(file), { error: "EEXIST" });
  t.strictSame(await stateOf(join(directory, "missing", "mqtt.sock")), { error: "ENOENT" });
  t.strictSame(await stateOf(join(directory, "x".repeat(120))), { error: "ENAMETOOLONG" });
});
