import { randomBytes } from "node:crypto";
import t from "tap";
import { FRAMING, CLOSE_REASON, CONNECTION_SLOT_MASK } from "../../src/ring/layout.js";
import { frame, OP, words } from "./protocol.js";
import { Client, Gate, Shard } from "./shard.js";

t.test("a shard echoes frames", async (t) => {
  const shard = await Shard.start(0);
  const gate = await Gate.open([0]);
  t.teardown(async () => {
    await gate.close();
    await shard.stop();
  });

  await t.test("pipelined frames come back in order, the ones behind CONNECT too", async () => {
    const client = await Client.open(gate.port);
    const frames = [frame(OP.CONNECT, "{}")];
    for (let i = 0; i < 5000; i++) frames.push(frame(i % 2 === 0 ? OP.ECHO : OP.ECHO_COPY, `message ${i}`));
    const all = Buffer.concat(frames);
    client.socket.write(all);
    await client.expect(all);
    client.socket.destroy();
    await shard.next("closed");
  });

  await t.test("frames cut at every byte come back whole", async () => {
    const sent = Buffer.concat([frame(OP.CONNECT, "{}"), frame(OP.ECHO, "a"), frame(OP.ECHO, ""), frame(OP.ECHO_COPY, randomBytes(200))]);
    const clients = await Promise.all(Array.from({ length: sent.length - 1 }, () => Client.open(gate.port)));
    // Each client's two writes are told apart by the shard having seen the first: it says so in its counters, or its bytes just arrive
    // together; both ways are right, and over so many cuts both happen.
    await Promise.all(
      clients.map(async (client, i) => {
        client.socket.write(sent.subarray(0, i + 1));
        await new Promise((resolve) => setImmediate(resolve));
        client.socket.write(sent.subarray(i + 1));
        await client.expect(sent);
        client.socket.destroy();
      }),
    );
  });

  await t.test("a stream written byte by byte comes back whole", async () => {
    const client = await Client.connected(gate.port);
    const sent = Buffer.concat([frame(OP.ECHO, "one"), frame(OP.ECHO, randomBytes(300)), frame(OP.ECHO_COPY, "three")]);
    for (const byte of sent) {
      client.socket.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    await client.expect(sent);
    client.socket.destroy();
  });

  for (const size of [8190, 8192, 60_000, 300_000, 1024 * 1024 - 4]) {
    await t.test(`frames of ${size} bytes come back whole, small ones around them`, async () => {
      const client = await Client.connected(gate.port);
      const sent = Buffer.concat([frame(OP.ECHO, "before"), frame(OP.ECHO, randomBytes(size)), frame(OP.ECHO, "between"), frame(OP.ECHO, randomBytes(size)), frame(OP.ECHO, "after")]);
      client.socket.write(sent);
      await client.expect(sent);
      client.socket.destroy();
    });
  }

  await t.test("flush inside a batch sends at once and in order", async () => {
    const client = await Client.connected(gate.port);
    const sent = frame(OP.FLUSH, "twice");
    client.socket.write(Buffer.concat([frame(OP.ECHO, "1"), sent, frame(OP.ECHO, "2")]));
    await client.expect(Buffer.concat([frame(OP.ECHO, "1"), sent, sent, frame(OP.ECHO, "2")]));
    client.socket.destroy();
  });

  await t.test("replies to the last frames reach a peer that has finished sending", async (t) => {
    const client = await Client.open(gate.port, true);
    const sent = Buffer.concat([frame(OP.CONNECT, "{}"), frame(OP.ECHO, randomBytes(4000))]);
    client.socket.end(sent);
    await client.expect(sent);
    await client.gone;
    t.pass("and the gateway closes its side");
  });
});

t.test("ids of gone connections are never valid again", async (t) => {
  const shard = await Shard.start(1);
  const gate = await Gate.open([1]);
  const seen = new Set<number>();
  const slots = new Set<number>();
  for (let i = 0; i < 50; i++) {
    const client = await Client.connected(gate.port);
    const { id } = await shard.next("opened");
    t.notOk(seen.has(id), "a new id");
    seen.add(id);
    slots.add(id & CONNECTION_SLOT_MASK);
    client.socket.destroy();
    const closed = await shard.next("closed");
    t.equal(closed.id, id);
  }
  t.ok(slots.size < 10, `slots are used again (${slots.size} slots for 50 connections)`);
  const client = await Client.connected(gate.port);
  for (const id of seen) shard.order({ type: "send", id, bytes: frame(OP.ECHO, "for somebody else") });
  await shard.turn();
  client.socket.write(frame(OP.ECHO, "mine"));
  await client.expect(frame(OP.ECHO, "mine"));
  t.equal(client.pending(), 0);
  client.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("what is no frame, or too large a one, closes the connection", async (t) => {
  const shard = await Shard.start(2, { maximumFrameSize: 10_000 });
  const gate = await Gate.open([2]);
  const closedBy = async (bytes: Uint8Array, options = {}): Promise<number> => {
    const client = await Client.connected(gate.port, options);
    client.socket.write(bytes);
    await client.gone;
    return (await shard.next("closed")).reason;
  };
  t.equal(await closedBy(Buffer.from([OP.ECHO, 0x80, 0x80, 0x80, 0x80, 0x01])), CLOSE_REASON.FRAME_MALFORMED, "five length bytes");
  t.equal(await closedBy(Buffer.from([OP.ECHO, 0xff, 0xff, 0xff, 0xff])), CLOSE_REASON.FRAME_MALFORMED, "known after the fourth");
  t.equal(await closedBy(Buffer.from([OP.ECHO, 0xff, 0xff, 0xff, 0x7f])), CLOSE_REASON.FRAME_TOO_LARGE, "256 MiB announced");
  t.equal(await closedBy(frame(OP.ECHO, Buffer.alloc(9_998))), CLOSE_REASON.FRAME_TOO_LARGE, "one byte more than the reactor takes");
  t.equal(await closedBy(frame(OP.ECHO, Buffer.alloc(99)), { frameSizeMax: 100 }), CLOSE_REASON.FRAME_TOO_LARGE, "one byte more than this connection may");
  const first = await Client.open(gate.port);
  first.socket.write(Buffer.from([0x10, 0xff, 0xff, 0xff, 0xff]));
  await first.gone;
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.FRAME_MALFORMED, "in the first frame");

  const client = await Client.connected(gate.port, { frameSizeMax: 100 });
  client.socket.write(frame(OP.ECHO, Buffer.alloc(98)));
  await client.expect(frame(OP.ECHO, Buffer.alloc(98)));
  t.pass("a frame of exactly the largest size is taken");
  client.socket.write(Buffer.concat([frame(OP.ECHO, "good"), Buffer.from([OP.ECHO, 0xff, 0xff, 0xff, 0xff])]));
  await client.gone;
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.FRAME_MALFORMED, "whole frames before it were delivered");
  client.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("lines and raw bytes", async (t) => {
  const shard = await Shard.start(3, { plainEcho: true, maximumFrameSize: 100_000 });
  const lines = await Gate.open([3], FRAMING.LINE);
  const raw = await Gate.open([3], FRAMING.RAW);

  const line = await Client.open(lines.port);
  const text = Buffer.from(`first\n\n${"x".repeat(50_000)}\nlast\n`);
  line.socket.write(text);
  await line.expect(text);
  line.socket.write("no end yet");
  line.socket.write(", now\n");
  await line.expect(Buffer.from("no end yet, now\n"));
  line.socket.write(Buffer.alloc(100_001, 0x61));
  await line.gone;
  await shard.next("opened");
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.FRAME_TOO_LARGE, "a line without end");

  const stream = await Client.open(raw.port);
  const bytes = randomBytes(500_000);
  stream.socket.write(bytes);
  await stream.expect(bytes);
  stream.socket.destroy();
  await shard.next("closed");
  await lines.close();
  await raw.close();
  await shard.stop();
});

t.test("one frame goes to every connection of the shard", async (t) => {
  const shard = await Shard.start(4);
  const gate = await Gate.open([4]);
  const clients = await Promise.all(Array.from({ length: 200 }, () => Client.connected(gate.port)));
  const sent: Buffer[] = [];
  for (let i = 0; i < 50; i++) sent.push(frame(i % 2 === 0 ? OP.ALL : OP.ALL_COPY, words(i, i + 1)));
  const all = Buffer.concat(sent);
  clients[0]!.socket.write(all);
  await Promise.all(clients.map((client) => client.expect(all)));
  t.equal(shard.count("DELIVERIES_DROPPED"), 0);
  t.equal(shard.count("CONNECTIONS_OPEN"), 200);
  for (const client of clients) client.socket.destroy();
  await gate.close();
  await shard.stop();
});
