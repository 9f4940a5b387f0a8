import { once } from "node:events";
import t from "tap";
import { CLOSE_REASON, OVERFLOW_DELIVERY_MARK, OVERFLOW_HARD_MARK, OVERFLOW_READ_STOP_MARK } from "../../src/ring/layout.js";
import { frame, OP, words } from "./protocol.js";
import { Client, Gate, Shard } from "./shard.js";

const KIB = 1024;

/** Writes as the socket takes it, so that the test's own memory stays small; stops when the peer does not read for long enough to fill all buffers. */
function isBlocked(client: Client): boolean {
  return client.socket.writableNeedDrain;
}

t.test("a slow reader is pressed, loses multicasts beyond the mark, and is relieved", async (t) => {
  const shard = await Shard.start(0);
  const gate = await Gate.open([0]);
  const slow = await Client.connected(gate.port);
  await shard.next("opened");
  const fast = await Client.connected(gate.port);
  await shard.next("opened");
  slow.socket.pause();
  // Multicasts of 32 KiB until the kernel's buffers and the overflow up to the mark are full.
  const message = frame(OP.ALL, Buffer.alloc(32 * KIB));
  let sent = 0;
  const isPressed = shard.next("pressed").then(() => true);
  while (shard.count("DELIVERIES_DROPPED") < 10) {
    fast.socket.write(message);
    await fast.expect(message);
    sent++;
  }
  t.ok(await isPressed, "PRESSED was told");
  t.ok(shard.count("OVERFLOW_BYTES") >= OVERFLOW_DELIVERY_MARK - message.length, `${shard.count("OVERFLOW_BYTES")} bytes wait`);
  t.ok(shard.count("OVERFLOW_BYTES") <= OVERFLOW_DELIVERY_MARK + 64 * KIB, "and no more than the mark and one send");
  const dropped = shard.count("DELIVERIES_DROPPED");
  slow.socket.resume();
  await slow.read((sent - dropped) * message.length);
  await shard.next("relieved");
  t.equal(slow.pending(), 0, "whole frames were dropped, none twice");
  fast.socket.write(frame(OP.ALL, "again"));
  await slow.expect(frame(OP.ALL, "again"));
  slow.socket.destroy();
  fast.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("a client that sends but never reads is not read any more beyond the read-stop mark, and loses nothing", async (t) => {
  const shard = await Shard.start(1);
  const gate = await Gate.open([1]);
  const client = await Client.connected(gate.port, { keepAliveMs: 300 });
  const healthy = await Client.connected(gate.port);
  client.socket.pause();
  const message = frame(OP.ECHO, Buffer.alloc(4 * KIB, 0x61));
  let sent = 0;
  // Until its overflow is beyond the mark and its own socket is full, so that a write would have to wait.
  while (!(shard.count("OVERFLOW_BYTES") > OVERFLOW_READ_STOP_MARK && isBlocked(client))) {
    if (!isBlocked(client)) {
      client.socket.write(message);
      sent++;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(shard.count("OVERFLOW_BYTES") < OVERFLOW_HARD_MARK, "memory stays bounded");
  // Longer than its keep-alive: it is exempt, since it is we who do not read. The healthy one's traffic is the clock.
  const until = Date.now() + 800;
  while (Date.now() < until) {
    healthy.socket.write(frame(OP.ECHO, "healthy"));
    await healthy.expect(frame(OP.ECHO, "healthy"));
  }
  t.equal(shard.count("CONNECTIONS_OPEN"), 2);
  client.socket.resume();
  for (let i = 0; i < sent; i++) await client.expect(message);
  t.pass(`all of ${sent} echoes arrive once it reads`);
  await client.gone;
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.KEEP_ALIVE, "and its silence counts again");
  healthy.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("beyond the hard mark the connection is closed", async (t) => {
  const shard = await Shard.start(2);
  const gate = await Gate.open([2]);
  const client = await Client.connected(gate.port);
  client.socket.pause();
  client.socket.write(frame(OP.BLAST, words(200, 256 * KIB)));
  const { reason } = await shard.next("closed");
  t.equal(reason, CLOSE_REASON.STALLED);
  t.equal(shard.count("OVERFLOW_BYTES") <= OVERFLOW_HARD_MARK, true);
  await shard.turn();
  t.equal(shard.count("OVERFLOW_BYTES"), 0);
  client.socket.resume();
  await client.gone;
  await gate.close();
  await shard.stop();
});

t.test("more than a command memory of replies reaches a client that reads", async (t) => {
  const shard = await Shard.start(3, { commandSize: 128 * KIB });
  const gate = await Gate.open([3]);
  const client = await Client.connected(gate.port);
  client.socket.write(frame(OP.BLAST, words(1000, 1000)));
  const expected = frame(OP.ECHO, Buffer.alloc(1000, 0x2e));
  for (let i = 0; i < 1000; i++) await client.expect(expected);
  t.pass("1 MB in 1000 commands");
  client.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("JavaScript leaves records unread: the ring fills, reading stops, nothing is lost", async (t) => {
  const shard = await Shard.start(4, { capacity: 128 * KIB });
  const gate = await Gate.open([4]);
  const clients = await Promise.all(Array.from({ length: 4 }, () => Client.connected(gate.port)));
  shard.order({ type: "leave" });
  await shard.turn();
  const message = frame(OP.ECHO, Buffer.alloc(8 * KIB, 0x62));
  const full = shard.count("INBOUND_FULL");
  let rounds = 0;
  while (shard.count("INBOUND_FULL") === full) {
    for (const client of clients) client.socket.write(message);
    rounds++;
    await shard.turn();
  }
  for (const client of clients) client.socket.write(message);
  rounds++;
  const received = shard.count("BYTES_IN");
  for (let i = 0; i < 20; i++) await shard.turn();
  t.equal(shard.count("BYTES_IN"), received, "no byte is read while the ring is full");
  shard.order({ type: "take" });
  for (const client of clients) for (let i = 0; i < rounds; i++) await client.expect(message);
  t.pass("every frame comes back");
  for (const client of clients) client.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("pauseAll stops reading but not sending; resumeAll goes on without a keep-alive falling due", async (t) => {
  const shard = await Shard.start(5);
  const gate = await Gate.open([5]);
  const client = await Client.connected(gate.port, { keepAliveMs: 200 });
  const { id } = await shard.next("opened");
  shard.order({ type: "pauseAll" });
  await shard.next("done");
  client.socket.write(frame(OP.ECHO, "wait"));
  const until = Date.now() + 500;
  while (Date.now() < until) {
    shard.order({ type: "send", id, bytes: frame(OP.ECHO, "sent while paused") });
    await client.expect(frame(OP.ECHO, "sent while paused"));
  }
  shard.order({ type: "resumeAll" });
  await shard.next("done");
  await client.expect(frame(OP.ECHO, "wait"));
  t.equal(shard.count("CONNECTIONS_OPEN"), 1);
  client.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("PAUSE and RESUME of one connection", async (t) => {
  const shard = await Shard.start(6);
  const gate = await Gate.open([6]);
  const client = await Client.connected(gate.port, { keepAliveMs: 150 });
  const { id } = await shard.next("opened");
  const other = await Client.connected(gate.port);
  client.socket.write(frame(OP.PAUSE));
  await shard.turn();
  client.socket.write(frame(OP.ECHO, "later"));
  const until = Date.now() + 400;
  while (Date.now() < until) {
    other.socket.write(frame(OP.ECHO, "other"));
    await other.expect(frame(OP.ECHO, "other"));
  }
  t.equal(client.pending(), 0, "nothing is read of it, and it is exempt from keep-alive");
  shard.order({ type: "resume", id });
  await client.expect(frame(OP.ECHO, "later"));
  client.socket.destroy();
  other.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("keep-alive closes the silent and keeps the talking", async (t) => {
  const shard = await Shard.start(7);
  const gate = await Gate.open([7]);
  // Before the silent one's interval begins, however late this thread comes to its turn.
  const started = Date.now();
  const silent = await Client.connected(gate.port, { keepAliveMs: 250 });
  const { id } = await shard.next("opened");
  const talking = await Client.connected(gate.port, { keepAliveMs: 250 });
  let isGone = false;
  void silent.gone.then(() => (isGone = true));
  while (!isGone) {
    talking.socket.write(frame(OP.ECHO, "here"));
    await talking.expect(frame(OP.ECHO, "here"));
  }
  const elapsed = Date.now() - started;
  t.ok(elapsed >= 240 && elapsed < 5000, `closed after ${elapsed} ms`);
  const closed = await shard.next("closed");
  t.same([closed.id, closed.reason], [id, CLOSE_REASON.KEEP_ALIVE]);
  t.equal(shard.count("CONNECTIONS_OPEN"), 1);
  talking.socket.destroy();
  await gate.close();
  await shard.stop();
});

t.test("a peer that resets is told, also while it is held", async (t) => {
  const shard = await Shard.start(8);
  const gate = await Gate.open([8]);
  const held = await Client.connected(gate.port, { hold: true });
  await shard.next("opened");
  held.socket.write(frame(OP.ECHO, "unread"));
  await shard.turn();
  held.socket.resetAndDestroy();
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.PEER_RESET);
  const open = await Client.connected(gate.port);
  open.socket.resetAndDestroy();
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.PEER_RESET);
  await gate.close();
  await shard.stop();
});

t.test("a held connection's later frames wait for ACCEPT", async (t) => {
  const shard = await Shard.start(9);
  const gate = await Gate.open([9]);
  const client = await Client.open(gate.port);
  client.socket.write(Buffer.concat([frame(OP.CONNECT, JSON.stringify({ hold: true })), frame(OP.ECHO, "1"), frame(OP.ECHO, Buffer.alloc(100_000)), frame(OP.ECHO, "2")]));
  const { id } = await shard.next("opened");
  for (let i = 0; i < 10; i++) await shard.turn();
  t.equal(shard.count("FRAMES_IN"), 1, "only the first frame was delivered");
  t.equal(client.pending(), 0);
  shard.order({ type: "accept", id });
  await client.expect(Buffer.concat([frame(OP.ECHO, "1"), frame(OP.ECHO, Buffer.alloc(100_000)), frame(OP.ECHO, "2")]));
  shard.order({ type: "close", id, reason: CLOSE_REASON.NOT_AUTHORISED });
  await once(client.socket, "close");
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.NOT_AUTHORISED);
  await gate.close();
  await shard.stop();
});

t.test("CLOSE sends what is queued first, however much the peer has sent that nobody read", async (t) => {
  const shard = await Shard.start(10);
  const gate = await Gate.open([10]);
  const client = await Client.connected(gate.port);
  const goodbye = frame(OP.CLOSE, Buffer.alloc(200_000, 0x63));
  client.socket.write(Buffer.concat([goodbye, ...Array.from({ length: 20 }, () => frame(OP.ECHO, Buffer.alloc(10_000)))]));
  await client.expect(goodbye);
  t.equal(await client.gone, undefined, "an orderly end, no reset");
  t.equal((await shard.next("closed")).reason, CLOSE_REASON.BY_GATEWAY);
  await gate.close();
  await shard.stop();
});
