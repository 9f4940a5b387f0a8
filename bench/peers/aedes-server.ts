// A plain aedes broker: node aedes-server.js PORT TLS_PORT CERTIFICATE KEY. Started by aedes.ts.
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { Aedes } from "aedes";

const [port, tlsPort, certificate, key] = process.argv.slice(2);
// Many clients connect at once here; the default refuses what waits too long for its turn.
const broker = await Aedes.createBroker({ concurrency: 1000, maxClientsIdLength: 64, connectTimeout: 120_000, drainTimeout: 60_000 });

createServer({ noDelay: true }, (socket) => void broker.handle(socket)).listen({ port: Number(port), host: "127.0.0.1", backlog: 1024 });
createTlsServer({ cert: readFileSync(certificate!), key: readFileSync(key!), minVersion: "TLSv1.3", noDelay: true }, (socket) => void broker.handle(socket)).listen({
  port: Number(tlsPort),
  host: "127.0.0.1",
  backlog: 1024,
});
