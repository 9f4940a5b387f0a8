// Starting and stopping as an operator sees it: a second gateway, a taken port, a wrong file, SIGTERM under load.
import { once } from "node:events";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import mqtt from "mqtt";
import mqttPacket, { type Packet } from "mqtt-packet";
import t from "tap";
import { RunningGateway } from "./gateway.js";
import { StubbornPublisher } from "./publisher.js";

void t.test("start and stop", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2 });
  t.teardown(() => gateway.remove());

  await t.test("the first start made certificates with a private key that only its owner reads", (t) => {
    t.match(readFileSync(gateway.caFile, "utf8"), /BEGIN CERTIFICATE/);
    t.equal(statSync(join(gateway.directory, "certs", "key.pem")).mode & 0o777, 0o600);
    t.end();
  });

  await t.test("a second gateway on the same data directory is refused, with what to do", async (t) => {
    const second = gateway.again();
    const exit = await second.ended();
    t.not(exit.code, 0);
    t.match(second.output, /DATA_IN_USE/);
    t.match(second.output, /its own `data` directory/);
  });

  await t.test("SIGTERM under load: MQTT 5 hears 0x8B, everything acknowledged is kept, the exit code is 0", async (t) => {
    const socket = connect({ port: gateway.mqttPort, host: "127.0.0.1" });
    const parser = mqttPacket.parser({ protocolVersion: 5 });
    const packets: Packet[] = [];
    parser.on("packet", (packet) => packets.push(packet));
    socket.on("data", (chunk) => parser.parse(chunk));
    socket.on("error", () => socket.destroy());
    socket.write(mqttPacket.generate({ cmd: "connect", protocolId: "MQTT", protocolVersion: 5, clean: true, keepalive: 0, clientId: "hears" }, { protocolVersion: 5 }));
    await once(socket, "data");
    const publisher = new StubbornPublisher("under-load", 2, 100);
    const run = publisher.run(gateway.mqttPort);
    await gateway.until("some are acknowledged", () => Promise.resolve(publisher.acknowledged.size > 200 ? true : undefined));
    const [exit] = await Promise.all([gateway.stop(), once(socket, "close"), run]);
    t.same(exit, { code: 0, signal: null });
    t.match(packets.at(-1), { cmd: "disconnect", reasonCode: 0x8b });
    await gateway.restart();
    publisher.limit = publisher.next;
    const rest = publisher.run(gateway.mqttPort);
    await gateway.until("the rest is acknowledged", () => Promise.resolve(publisher.unacknowledged === 0 ? true : undefined));
    publisher.cut();
    await rest;
    await gateway.until("all are in history, once", async () => {
      const { body } = await gateway.get(`/api/v1/series/under-load/n?from=${publisher.timeBase}&to=${publisher.timeBase + 600_000}&step=10m`);
      const { points = [] } = body as { readonly points?: readonly { readonly count: number }[] };
      return points.reduce((sum, point) => sum + point.count, 0) === publisher.next ? true : undefined;
    });
  });

  await t.test("a configured port that is taken stops the start, naming port and key", async (t) => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    await gateway.stop();
    const { port } = server.address() as AddressInfo;
    gateway.useConfig((text) => text.replace(/mqtt: \{ host: 127.0.0.1, port: \d+ \}/, `mqtt: { host: 127.0.0.1, port: ${port} }`));
    const exit = await gateway.ended();
    t.not(exit.code, 0);
    t.match(gateway.output, new RegExp(`port ${port}.*listeners\\.mqtt`));
    server.close();
  });

  await t.test("a wrong configuration is refused with all findings at once", async (t) => {
    gateway.useConfig((text) => text.replace("durability: disk", "durability: maybe").replace("shards: 2", "shards: many\nlisteningers: 3"));
    const exit = await gateway.ended();
    t.not(exit.code, 0);
    for (const key of ["durability", "shards", "listeningers"]) t.match(gateway.output, new RegExp(key));
  });

  await t.test("a certificate that is not one is refused by name", async (t) => {
    writeFileSync(join(gateway.directory, "certs", "cert.pem"), "nonsense");
    gateway.useConfig((text) => text);
    const exit = await gateway.ended();
    t.not(exit.code, 0);
    t.match(gateway.output, /cert\.pem/);
  });
});

void t.test("without history, lanes go on after a stop where they were, and after a crash hardly before it", { timeout: 120_000 }, async (t) => {
  const gateway = await RunningGateway.start({ shards: 2, lanes: 2, more: "history: { engine: off }" });
  t.teardown(() => gateway.remove());
  const send = async (from: number, to: number): Promise<void> => {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, { reconnectPeriod: 0 });
    for (let i = from; i < to; i++) await client.publishAsync(`devices/d${i % 5}/telemetry`, `{"n":${i}}`, { qos: 1 });
    await client.endAsync();
  };
  const taken = (count: number): Promise<true> => gateway.until(`${count} messages in the lanes`, async () => ((await gateway.metric("penstock_lane_messages_total")) >= count ? true : undefined));
  await send(0, 50);
  await taken(50);
  t.same(await gateway.stop(), { code: 0, signal: null });
  const { read } = JSON.parse(readFileSync(join(gateway.directory, "data", "lanes.json"), "utf8")) as { read: number[] };
  t.equal(read.length, 2);
  await gateway.restart();
  await send(50, 60);
  await taken(10);
  t.equal(await gateway.metric("penstock_lane_messages_total"), 10, "nothing from before the stop");
  await gateway.kill();
  await gateway.restart();
  await send(60, 65);
  await taken(5);
  t.ok((await gateway.metric("penstock_lane_messages_total")) <= 15, "at most what came since the last note");
});
