// The front's way from a first frame to a shard.
import { randomBytes } from "node:crypto";
import t from "tap";
import { fnv1aOf } from "../../src/base/bytes.js";
import { connectFrame, dial, echo, gone, Gateway, hangUp, listener, SHARDS } from "./gateway.js";

void t.test("a client id goes to the shard that fnv1a in TypeScript names", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")]);
  t.teardown(() => gateway.stop());
  const random = Array.from({ length: 60 }, () => randomBytes(1 + Math.floor(Math.random() * 40)).toString("base64url"));
  const ids = ["a", "device-1", "Gerät-ß", "温度计", "😀", "x".repeat(3000), ...random];
  const expected = new Array<number>(SHARDS).fill(0);
  for (const [index, id] of ids.entries()) {
    const version = ([4, 5, 3] as const)[index % 3]!;
    const socket = await dial(gateway.port());
    await echo(socket, connectFrame(id, version, version === 5 ? { properties: { sessionExpiryInterval: 5, userProperties: { a: "b" } } } : {}));
    expected[fnv1aOf(id) % SHARDS]!++;
    t.strictSame(gateway.adopted(), expected, `${id.slice(0, 50)} by MQTT ${version}`);
    await hangUp(socket);
  }
  t.ok(expected.every((count) => count > 0), "both shards had their share");
});

void t.test("empty client ids are dealt out in turn", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")]);
  t.teardown(() => gateway.stop());
  for (let i = 0; i < 6; i++) {
    const socket = await dial(gateway.port());
    await echo(socket, connectFrame("", i % 2 === 0 ? 4 : 5));
    await hangUp(socket);
  }
  t.strictSame(gateway.adopted(), [3, 3]);
});

void t.test("a CONNECT of an unknown version is handed over: the shard knows its answer", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")]);
  t.teardown(() => gateway.stop());
  const frame = connectFrame("later", 4);
  frame[8] = 9; // protocol level
  const socket = await dial(gateway.port());
  await echo(socket, frame);
  t.equal(gateway.adoptedInAll(), 1);
  await hangUp(socket);
});

void t.test("a CONNECT cut at every byte waits for its rest", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")]);
  t.teardown(() => gateway.stop());
  const frame = connectFrame("cut", 5, { properties: { receiveMaximum: 10 } });
  for (let at = 1; at < frame.length; at++) {
    const socket = await dial(gateway.port());
    await echo(socket, frame.subarray(0, at), frame.subarray(at));
    await hangUp(socket);
  }
  t.equal(gateway.adoptedInAll(), frame.length - 1);
});

void t.test("what comes in one segment with the CONNECT is not lost", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")]);
  t.teardown(() => gateway.stop());
  const publish = Buffer.from("300a000464657631", "hex");
  const socket = await dial(gateway.port());
  const frames = Buffer.concat([connectFrame("pipelined"), publish, Buffer.from("0101", "hex"), Buffer.from("c000", "hex")]);
  await echo(socket, frames);
  await hangUp(socket);
  t.equal(gateway.adoptedInAll(), 1);
});

void t.test("the shard is told who connected", async (t) => {
  const gateway = await Gateway.start([listener("line"), listener("mqtt")]);
  t.teardown(() => gateway.stop());
  const socket = await dial(gateway.port(1));
  await echo(socket, connectFrame("device-1"));
  const shard = fnv1aOf("device-1") % SHARDS;
  t.strictSame(await gateway.opened(shard), { listener: 1, peer: "127.0.0.1", peerPort: socket.localPort!, isLoopback: true });
  await hangUp(socket);
});

void t.test("a line listener hands over after the first whole line, to any shard", async (t) => {
  const gateway = await Gateway.start([listener("line")], {}, { firstFrameSizeMax: 100 });
  t.teardown(() => gateway.stop());
  const endless = await dial(gateway.port());
  endless.write("x".repeat(100));
  await gateway.opened(0);
  t.pass("an endless line is the shard's affair from firstFrameSizeMax on");
  await hangUp(endless);
  const connect = Buffer.from('{"message_type":"Connect"}\n');
  for (let i = 0; i < 3; i++) {
    const socket = await dial(gateway.port());
    await echo(socket, connect.subarray(0, 10), connect.subarray(10));
    await hangUp(socket);
  }
  t.strictSame(gateway.adopted(), [2, 2]);
});

void t.test("a shard that is down: the connection is closed and counted", async (t) => {
  const gateway = await Gateway.start([listener("mqtt")]);
  t.teardown(() => gateway.stop());
  await gateway.shards[0]!.stop();
  const ids = ["a", "b", "c", "d", "e", "f"].filter((id) => fnv1aOf(id) % SHARDS === 0);
  t.ok(ids.length > 0);
  const socket = await dial(gateway.port());
  socket.write(connectFrame(ids[0]!));
  t.strictSame(await gateway.refused(), { listener: 0, peer: "127.0.0.1", reason: "SHARD_DOWN", detail: "its shard is starting or has no room" });
  await gone(socket);
  t.equal(gateway.count("SHARD_DOWN"), 1);
  const other = await dial(gateway.port());
  await echo(other, connectFrame("", 4));
  t.equal(gateway.adoptedInAll(), 1, "an empty client id goes to a shard that is up");
  await hangUp(other);
});
