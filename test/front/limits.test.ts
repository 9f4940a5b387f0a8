// Listeners that cannot be had, and the front's limits: of pending connections, of one address, of all, of file descriptors.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { setTimeout as after } from "node:timers/promises";
import t from "tap";
import { connectFrame, dial, echo, FrontAlone, Gateway, gone, hangUp, listener } from "./gateway.js";
import type { DescriptorReport } from "./few-descriptors.js";

void t.test("a port in use is named by its error code, and the other listeners are bound", async (t) => {
  const taken = createServer();
  taken.listen(0, "127.0.0.1");
  await once(taken, "listening");
  const port = (taken.address() as AddressInfo).port;
  const alone = new FrontAlone([{ ...listener("mqtt"), port }, listener("mqtt"), { ...listener("mqtt"), host: "192.0.2.1" }, { ...listener("mqtt"), host: "localhost" }]);
  t.teardown(() => alone.stop());
  taken.close();
  const [first, second, third, fourth] = alone.front.listeners;
  t.strictSame(first, { error: "EADDRINUSE" });
  t.ok(alone.port(1) > 0 && second !== undefined);
  t.strictSame(third, { error: "EADDRNOTAVAIL" });
  t.strictSame(fourth, { error: "EINVAL" }, "names are not resolved");
  alone.front.start();
  await hangUp(await dial(alone.port(1)));
});

void t.test("two fronts cannot have one port", async (t) => {
  const one = new FrontAlone([listener("mqtt")]);
  const two = new FrontAlone([{ ...listener("mqtt"), port: one.port() }]);
  t.strictSame(two.front.listeners, [{ error: "EADDRINUSE" }]);
  await two.stop();
  await one.stop();
  const three = new FrontAlone([{ ...listener("mqtt"), port: one.port() }]);
  t.equal(three.port(), one.port(), "it is free again after stop");
  await three.stop();
});

void t.test("'::' takes IPv4 clients too, and names them by their IPv4 address", async (t) => {
  const gateway = await Gateway.start([{ ...listener("mqtt"), host: "::" }]);
  t.teardown(() => gateway.stop());
  const socket = await dial(gateway.port());
  await echo(socket, connectFrame("device-2"));
  const opened = await gateway.opened(0);
  t.equal(opened.peer, "127.0.0.1");
  t.equal(opened.isLoopback, true);
  await hangUp(socket);
});

void t.test("too many connections before their first frame: new ones are refused, those handed over do not count", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")], {}, { pendingMax: 3 });
  t.teardown(() => gateway.stop());
  const served = [];
  for (let i = 0; i < 5; i++) {
    const socket = await dial(gateway.port());
    await echo(socket, connectFrame(`served-${i}`));
    served.push(socket);
  }
  const silent = [];
  for (let i = 0; i < 3; i++) silent.push(await dial(gateway.port()));
  const refused = await dial(gateway.port());
  await gone(refused);
  t.equal((await gateway.refused()).reason, "PENDING_LIMIT");
  t.equal(gateway.count("PENDING_LIMIT"), 1);
  await echo(silent[0]!, connectFrame("late"));
  const next = await dial(gateway.port());
  await echo(next, connectFrame("next"));
  await hangUp(next, ...silent, ...served);
});

void t.test("too many connections from one address: refused until one ends, wherever it ended", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")], {}, { perAddressMax: 3 });
  t.teardown(() => gateway.stop());
  const served = [];
  for (const id of ["a", "b"]) {
    const socket = await dial(gateway.port());
    await echo(socket, connectFrame(id));
    served.push(socket);
  }
  const pending = await dial(gateway.port());
  const refused = await dial(gateway.port());
  await gone(refused);
  const refusal = await gateway.refused();
  t.equal(refusal.reason, "ADDRESS_LIMIT");
  t.equal(refusal.peer, "127.0.0.1");
  await hangUp(served[0]!);
  await gateway.shards[0]!.next("closed");
  const next = await dial(gateway.port());
  await echo(next, connectFrame("next"));
  t.equal(gateway.count("ADDRESS_LIMIT"), 1);
  await hangUp(next, pending, served[1]!);
});

void t.test("the limit of all connections counts those of the shards", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")], {}, { connectionsMax: 2 });
  t.teardown(() => gateway.stop());
  const served = [];
  for (const id of ["a", "c"]) {
    const socket = await dial(gateway.port());
    await echo(socket, connectFrame(id));
    served.push(socket);
  }
  await gone(await dial(gateway.port()));
  t.equal((await gateway.refused()).reason, "CONNECTION_LIMIT");
  await hangUp(served[0]!);
  await gateway.shards[0]!.next("closed");
  const next = await dial(gateway.port());
  await echo(next, connectFrame("next"));
  t.equal(gateway.count("CONNECTION_LIMIT"), 1);
  await hangUp(next, served[1]!);
});

void t.test("without file descriptors: connections are refused at once, nothing spins, and it recovers", async (t) => {
  const script = new URL("./few-descriptors.js", import.meta.url).pathname;
  const child = spawn("sh", ["-c", 'ulimit -n 60; exec "$0" "$1"', process.execPath, script], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
  const ended = once(child, "exit");
  t.teardown(() => void child.kill());
  const report = async (): Promise<DescriptorReport> => ((await once(child, "message")) as [DescriptorReport])[0];
  const ask = async (): Promise<DescriptorReport> => {
    child.send("report");
    return report();
  };
  const { port } = await report();
  const clients = 100;
  const sockets: Socket[] = [];
  for (let i = 0; i < clients; i++) {
    const socket = await dial(port);
    socket.on("error", () => undefined).resume();
    sockets.push(socket);
  }
  let now = await ask();
  while (now.accepted + now.acceptFailed < clients) now = await ask();
  t.ok(now.accepted > 10 && now.acceptFailed > 30, `${now.accepted} accepted, ${now.acceptFailed} refused`);
  t.equal(now.accepted + now.acceptFailed, clients, "each was answered once");
  await after(1000); // the span over which processor time is measured
  const later = await ask();
  t.ok(later.cpuMs - now.cpuMs < 500, `${later.cpuMs - now.cpuMs} ms of processor time in a second of waiting`);
  await hangUp(...sockets);
  const last = await dial(port);
  last.write("x");
  await gone(last);
  t.equal((await ask()).firstFrameRefused, 1, "served again");
  child.disconnect();
  t.strictSame(await ended, [0, null]);
});
