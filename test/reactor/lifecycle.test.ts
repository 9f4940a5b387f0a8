import { once } from "node:events";
import { Worker } from "node:worker_threads";
import t from "tap";
import { native } from "../../src/reactor/reactor.js";
import { CLOSE_REASON, DOORBELL } from "../../src/ring/layout.js";
import { frame, OP, words } from "./protocol.js";
import { Client, Gate, Shard } from "./shard.js";

t.test("connections migrate between two shards while their clients write", async (t) => {
  const shards = await Promise.all([Shard.start(0), Shard.start(1)]);
  const gate = await Gate.open([0, 1]);
  const clients = await Promise.all(Array.from({ length: 60 }, () => Client.open(gate.port)));
  const rounds = 20;
  const hello = frame(OP.CONNECT, "{}");
  await Promise.all(
    clients.map(async (client, number) => {
      client.socket.write(hello);
      await client.expect(hello);
      for (let round = 0; round < rounds; round++) {
        // The migration is in the middle of a pipeline, once with a large frame in flight behind it.
        const before = Array.from({ length: 10 }, (_, i) => frame(OP.ECHO, `${number} ${round} ${i}`));
        const after = Array.from({ length: 10 }, (_, i) => frame(i % 2 === 0 ? OP.ECHO : OP.ECHO_COPY, `${number} ${round} after ${i}`));
        if (round % 5 === 0) after.push(frame(OP.ECHO, Buffer.alloc(70_000, round)));
        client.socket.write(Buffer.concat([...before, frame(OP.MIGRATE, words((round + number + 1) % 2)), ...after]));
        // The other shard sees CONNECT first and answers it; what was already delivered behind MIGRATE is lost to a closed id, so the
        // shard must not let that happen: it is held until CONNECT is accepted. Here the shard migrates late, so frames of the same
        // batch are answered by it or dropped; hence the client waits for CONNECT's answer and sends the rest anew.
        await client.expect(Buffer.concat(before));
        await client.expect(hello);
        const marker = frame(OP.ECHO, `marker ${number} ${round}`);
        client.socket.write(marker);
        for (;;) if ((await client.readFrame()).equals(marker)) break;
      }
      client.socket.destroy();
    }),
  );
  const migrated = shards.reduce((sum, shard) => sum + shard.counters[16 + CLOSE_REASON.MIGRATED]!, 0);
  t.equal(migrated, clients.length * rounds);
  await gate.close();
  await Promise.all(shards.map((shard) => shard.stop()));
});

t.test("a held connection migrates with everything behind its first frame, in order", async (t) => {
  const shards = await Promise.all([Shard.start(2), Shard.start(3)]);
  const gate = await Gate.open([2]);
  const clients = await Promise.all(Array.from({ length: 40 }, () => Client.open(gate.port)));
  await Promise.all(
    clients.map(async (client, number) => {
      const frames = [frame(OP.MIGRATE, words(3))];
      // As first frame, MIGRATE brings no CONNECT along: the other shard's first frame is the next one.
      const hello = frame(OP.CONNECT, "{}");
      const rest = [hello, ...Array.from({ length: 300 }, (_, i) => frame(OP.ECHO, `${number} ${i}`)), frame(OP.ECHO, Buffer.alloc(100_000, number))];
      client.socket.write(Buffer.concat([...frames, ...rest]));
      await client.expect(Buffer.concat(rest));
      client.socket.destroy();
    }),
  );
  t.equal(shards[0].counters[16 + CLOSE_REASON.MIGRATED], clients.length);
  await gate.close();
  await Promise.all(shards.map((shard) => shard.stop()));
});

t.test("migration to a shard that is down closes the connection and says so", async (t) => {
  const shard = await Shard.start(4);
  const gate = await Gate.open([4]);
  const client = await Client.connected(gate.port);
  client.socket.write(frame(OP.MIGRATE, words(31)));
  await client.gone;
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.SHARD_GONE);
  await gate.close();
  await shard.stop();
});

t.test("what a client sent on its old connection is read before its new one, however the two become known: its DISCONNECT is not too late for its will", async (t) => {
  const shard = await Shard.start(11);
  const gate = await Gate.open([11]);
  const old = await Client.connected(gate.port);
  await shard.next("opened");
  const isOver = new SharedArrayBuffer(4);
  shard.order({ type: "stand", until: isOver });
  await shard.next("done");
  // The reactor's other descriptor is ready first.
  native().ring(DOORBELL.SHARD + 11);
  const toAll = frame(OP.ALL, "to all that are known");
  await new Promise((resolve) => old.socket.write(toAll, resolve));
  const fresh = await Client.open(gate.port);
  await gate.handed(2);
  new Int32Array(isOver)[0] = 1;
  Atomics.notify(new Int32Array(isOver), 0);
  await old.expect(toAll);
  const hello = frame(OP.CONNECT, "{}");
  fresh.socket.write(hello);
  t.same(await fresh.read(hello.length), hello, "the new one was not known yet");
  for (const client of [old, fresh]) client.socket.destroy();
  await gate.close();
  await shard.stop();
});

/** Writes echoes until the connection ends; gives back how many came. */
async function flood(client: Client): Promise<number> {
  const message = frame(OP.ECHO, Buffer.alloc(500));
  let received = 0;
  client.socket.on("data", (chunk) => (received += chunk.length));
  let isGone = false;
  void client.gone.then(() => (isGone = true));
  while (!isGone) {
    if (!client.socket.writableNeedDrain) client.socket.write(message);
    await new Promise((resolve) => setImmediate(resolve));
  }
  return received;
}

t.test("a worker terminated under load is gone cleanly, and a new one takes its place", async (t) => {
  const gate = await Gate.open([5]);
  for (let round = 0; round < 5; round++) {
    const shard = await Shard.start(5, { wake: round % 2 === 0 ? "latency" : "throughput" });
    const clients = await Promise.all(Array.from({ length: 20 }, () => Client.connected(gate.port)));
    const floods = clients.map(flood);
    await Promise.all(clients.map((client) => client.read(10_000)));
    await shard.worker.terminate();
    t.equal((await shard.ended).error, undefined);
    const received = await Promise.all(floods);
    t.ok(received.every((size) => size > 0));
  }
  const refused = await Client.open(gate.port);
  await refused.gone;
  t.pass("while the shard is down a connection is closed, not left hanging");
  await gate.close();
});

t.test("what onBatch throws is the worker's uncaught exception; its clients are disconnected", async (t) => {
  const gate = await Gate.open([6]);
  for (const [op, message] of [
    [OP.THROW, /thrown inside onBatch/],
    [OP.BAD_COMMAND, /commands that are none/],
  ] as const) {
    const shard = await Shard.start(6);
    const other = await Client.connected(gate.port);
    const client = await Client.connected(gate.port);
    client.socket.write(frame(op));
    await Promise.all([client.gone, other.gone]);
    const { code, error } = await shard.ended;
    t.equal(code, 1);
    t.match(error?.message, message);
  }
  await gate.close();
});

t.test("drain: a farewell, what is queued, then the end; nobody new is let in", async (t) => {
  const shard = await Shard.start(7);
  const gate = await Gate.open([7]);
  const clients = await Promise.all(Array.from({ length: 10 }, () => Client.connected(gate.port)));
  const ids = await Promise.all(clients.map(async () => (await shard.next("opened")).id));
  const stuck = await Client.connected(gate.port);
  const stuckId = (await shard.next("opened")).id;
  stuck.socket.pause();
  const goodbye = frame(OP.ECHO, Buffer.alloc(300_000, 0x67));
  for (const id of ids) shard.order({ type: "send", id, bytes: goodbye });
  for (let i = 0; i < 40; i++) shard.order({ type: "send", id: stuckId, bytes: goodbye.subarray(0, 40_000) });
  const started = Date.now();
  shard.order({ type: "drain", reason: CLOSE_REASON.SHUTDOWN, lingerMs: 500 });
  await Promise.all(clients.map((client) => client.expect(goodbye)));
  await Promise.all(clients.map((client) => client.gone));
  await shard.next("drained");
  t.ok(Date.now() - started < 5000, "bounded, although one client never reads");
  for (let i = 0; i <= clients.length; i++) t.equal((await shard.next("closed")).reason, CLOSE_REASON.SHUTDOWN);
  t.equal(shard.count("CONNECTIONS_OPEN"), 0);
  const late = await Client.open(gate.port);
  await late.gone;
  stuck.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("drain without connections is done at once", async (t) => {
  const shard = await Shard.start(8);
  shard.order({ type: "drain", reason: CLOSE_REASON.SHUTDOWN, lingerMs: 500 });
  await shard.next("drained");
  await shard.stop();
  t.pass();
});

t.test("later and the shard's doorbell call onBatch, coalesced", async (t) => {
  const shard = await Shard.start(9);
  const before = await shard.turn();
  native().ring(DOORBELL.SHARD + 9);
  // The ring and the order reach the worker in either order; a second turn is behind both.
  await shard.turn();
  let after = await shard.turn();
  while (after < before + 3) after = await shard.turn();
  t.ok(after >= before + 3, "two turns and a ring");
  await shard.stop();
  native().ring(DOORBELL.SHARD + 9);
  t.pass("ringing for a shard that is down does nothing");
});

t.test("options that cannot be are refused with a reason", (t) => {
  const buffer = new SharedArrayBuffer(1024 * 1024);
  const options = {
    shard: 10,
    inbound: { buffer, byteOffset: 0, capacity: 256 * 1024 },
    commands: { byteOffset: 512 * 1024, size: 256 * 1024 },
    counters: new Float64Array(new SharedArrayBuffer(48 * 8)),
    wake: "latency",
    maximumFrameSize: 64 * 1024,
    onBatch: () => 0,
  } as const;
  t.throws(() => native().createReactor({ ...options, shard: 32 }), /shard is out of range/);
  t.throws(() => native().createReactor({ ...options, inbound: { ...options.inbound, capacity: 200_000 } }), /power of two/);
  t.throws(() => native().createReactor({ ...options, inbound: { ...options.inbound, byteOffset: 1024 * 1024 - 64 } }), /does not lie in its buffer/);
  t.throws(() => native().createReactor({ ...options, commands: { byteOffset: 1024 * 1024 - 8, size: 16 } }), /does not lie in the buffer/);
  t.throws(() => native().createReactor({ ...options, counters: new Float64Array(2) }), /counters is too short/);
  t.throws(() => native().createReactor({ ...options, maximumFrameSize: 65 * 1024 }), /maximumFrameSize/);
  t.throws(() => native().adopt(10, 0, 9, "{}", new Uint8Array(0)), /framing/);
  t.throws(() => native().adopt(10, 99_999, 0, "{}", new Uint8Array(0)), /adopt: Bad file descriptor/);
  const reactor = native().createReactor(options);
  t.throws(() => {
    reactor.flush(0);
  }, /inside onBatch/);
  reactor.destroy();
  reactor.destroy();
  reactor.pauseAll();
  reactor.later();
  const again = native().createReactor(options);
  again.destroy();
  t.pass("destroyed twice, used afterwards, made again");
  t.end();
});

t.test("process.exit inside a worker's batch and of main with live reactors is clean", async (t) => {
  // A process of its own: an open handle at exit would abort it.
  const { spawn } = await import("node:child_process");
  const script = new URL("./exit-process.js", import.meta.url).pathname;
  for (const how of ["main", "worker", "terminate"]) {
    const child = spawn(process.execPath, [script, how], { stdio: ["ignore", "pipe", "inherit"] });
    const [code, signal] = (await once(child, "exit")) as [number | null, string | null];
    t.same([code, signal], [how === "main" ? 7 : 0, null], how);
  }
});

t.test("a doorbell wakes the thread that owns it, and only a living one", async (t) => {
  const rung = new Promise<void>((resolve) => {
    const doorbell = native().createDoorbell(DOORBELL.CONTROL, () => {
      doorbell.close();
      doorbell.close();
      resolve();
    });
  });
  const worker = new Worker(new URL("./ring-worker.js", import.meta.url), { workerData: { slot: DOORBELL.CONTROL } });
  await rung;
  await once(worker, "exit");
  native().ring(DOORBELL.CONTROL);
  t.throws(() => native().createDoorbell(128, () => undefined), /slot/);
  t.pass();
});
