import { spawn, spawnSync } from "node:child_process";
import t from "tap";
import { temporaryDirectory } from "../support.js";

const CHILD = new URL("./disk-full-child.js", import.meta.url).pathname;
/** In the shell's blocks of 512 bytes: enough to open the database, too little for the rows. */
const LIMIT_BLOCKS = 4000;

t.test("rows that cannot be stored wait, and are stored once there is room", { timeout: 90_000 }, async (t) => {
  const directory = temporaryDirectory();
  t.teardown(directory.remove);
  // Without the test runner's hooks: they end a process at SIGXFSZ, which Node.js itself ignores.
  const child = spawn("sh", ["-c", `ulimit -S -f ${LIMIT_BLOCKS}; unset NODE_OPTIONS; exec "$0" "$@"`, process.execPath, CHILD, directory.path], { stdio: ["ignore", "pipe", "pipe"] });
  const deadline = setTimeout(() => child.kill("SIGKILL"), 80_000);
  let output = "";
  let errors = "";
  let isLifted = false;
  child.stderr.on("data", (chunk: Buffer) => {
    errors += chunk.toString("utf8");
  });
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString("utf8");
    if (isLifted || !output.includes("answered")) return;
    isLifted = true;
    spawnSync("prlimit", ["--pid", String(child.pid), "--fsize=unlimited"]);
  });
  const code = await new Promise<number | null>((resolve) => {
    child.on("close", resolve);
  });
  clearTimeout(deadline);
  t.equal(code, 0, errors);
  t.match(output, /^failed at \d+: rows cannot be stored; trying again$/m);
  t.match(output, /^answered true$/m);
  t.match(output, /^stored 300000 undefined$/m);
});
