// A process with two live shards under load that ends in one of three ways: main exits (code 7), a worker exits inside onBatch, main
// terminates both. Its exit code and the absence of a signal are what the test looks at.
import { frame, OP } from "./protocol.js";
import { Client, Gate, Shard } from "./shard.js";

const shards = await Promise.all([Shard.start(0), Shard.start(1)]);
const gate = await Gate.open([0, 1]);
const clients = await Promise.all(Array.from({ length: 10 }, () => Client.connected(gate.port)));
for (const client of clients) client.socket.write(frame(OP.ECHO, "x".repeat(1000)));
await Promise.all(clients.map((client) => client.read(100)));
switch (process.argv[2]) {
  case "main":
    for (const client of clients) client.socket.write(frame(OP.ECHO, "x".repeat(1000)));
    process.exit(7);
    break;
  case "worker":
    clients[0]!.socket.write(frame(OP.EXIT));
    await shards[0].ended;
    await shards[1].worker.terminate();
    break;
  default:
    for (const client of clients) client.socket.write(frame(OP.ECHO, "x".repeat(1000)));
    await Promise.all(shards.map((shard) => shard.worker.terminate()));
}
for (const client of clients) client.socket.destroy();
await gate.close();
