// The built gateway as a process: certificates replaced while it runs, an end that is forced.
import { once } from "node:events";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import t, { type Test } from "tap";
import { EXIT } from "../../src/control/exit-codes.js";
import { makeCertificates } from "../../src/security/certificate-maker.js";
import { RunningGateway } from "../e2e/gateway.js";

async function start(t: Test, options?: Parameters<typeof RunningGateway.start>[0]): Promise<RunningGateway> {
  const gateway = await RunningGateway.start(options);
  t.teardown(() => gateway.remove());
  return gateway;
}

/** Connects by TLS trusting `caFile`. @returns the socket, or the error's code */
async function handshake(gateway: RunningGateway, caFile: string): Promise<TLSSocket | string> {
  const socket = connect({ host: "127.0.0.1", port: gateway.mqttsPort, ca: readFileSync(caFile) });
  return new Promise((resolve) => {
    socket.once("secureConnect", () => resolve(socket));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}

t.test("certificates are replaced while it runs: new connections see the new ones, old connections live on, bad ones change nothing", async (t) => {
  const gateway = await start(t, { shards: 1 });
  const certs = join(gateway.directory, "certs");
  const others = join(gateway.directory, "others");
  await makeCertificates(others, Date.now());
  const old = await handshake(gateway, gateway.caFile);
  if (typeof old === "string") throw new Error(old);
  // CONNECT, so that the connection is handed over and stays.
  old.write(Buffer.from([0x10, 13, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 1, 0x61]));
  await once(old, "data");

  writeFileSync(join(certs, "cert.pem"), "noise");
  t.ok(await gateway.says(/cannot be used; the old ones stay in use/), "it says that they cannot be used");
  const still = await handshake(gateway, gateway.caFile);
  t.not(typeof still, "string", "the old ones are in use");
  if (typeof still !== "string") still.destroy();

  copyFileSync(gateway.caFile, join(gateway.directory, "old-ca.pem"));
  for (const name of ["key.pem", "ca.pem", "ca-key.pem", "cert.pem"]) copyFileSync(join(others, name), join(certs, name));
  t.ok(await gateway.says(/new certificates are in use/));
  const renewed = await handshake(gateway, join(others, "ca.pem"));
  t.not(typeof renewed, "string", "the new CA verifies it");
  if (typeof renewed !== "string") renewed.destroy();
  t.match(await handshake(gateway, join(gateway.directory, "old-ca.pem")), /UNABLE_TO|SELF_SIGNED|CERT/, "the old CA does not");
  old.write(Buffer.from([0xc0, 0]));
  const [pong] = (await once(old, "data")) as [Buffer];
  t.same([...pong], [0xd0, 0], "the old connection still answers");
  old.destroy();
});

t.test("a second signal ends it at once, with its own code", async (t) => {
  const gateway = await start(t, { shards: 1 });
  gateway.child.kill("SIGTERM");
  gateway.child.kill("SIGINT");
  t.match(await gateway.ended(), { code: EXIT.FORCED });
  t.match(gateway.output, /SIG(TERM|INT) came again/);
});
