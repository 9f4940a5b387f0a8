// aedes, the broker of the npm world, in a process of its own (aedes-server.ts).
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { makeCertificates } from "../certificates.js";
import { freePort } from "../child.js";
import { rootDirectory } from "../generator.js";
import { makeDirectory, type Peer, startTarget } from "./target.js";

const SERVER = join(import.meta.dirname, "aedes-server.js");

export const aedes: Peer = {
  name: "aedes",

  missing: () => "",

  async start(options) {
    const directory = makeDirectory(options.directory, "aedes");
    const files = await makeCertificates(directory);
    const port = await freePort();
    const tlsPort = await freePort();
    return startTarget(
      { name: "aedes", version: version(), port, tlsPort, wsPort: 0, caFile: files.ca, api: "" },
      [process.execPath, SERVER, String(port), String(tlsPort), files.certificate, files.key],
      { prefix: options.prefix, directory },
    );
  },
};

function version(): string {
  const file = join(rootDirectory(), "node_modules", "aedes", "package.json");
  return (JSON.parse(readFileSync(file, "utf8")) as { readonly version: string }).version;
}
