// The command line as users run it: the built program in a process of its own.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { EXIT } from "../../src/control/exit-codes.js";

const MAIN = new URL("../../src/main.js", import.meta.url).pathname;
/** Gives a program a terminal. */
const SCRIPT = "/usr/bin/script";
const VERSION = (JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as { version: string }).version;

function run(directory: string, parameters: readonly string[], environment: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...parameters], { cwd: directory, encoding: "utf8", timeout: 60_000, env: { PATH: process.env["PATH"], ...environment } });
  return { status, stdout, stderr };
}

t.test("--version and --help", async (t) => {
  const directory = t.testdir({});
  t.same(run(directory, ["--version"]), { status: EXIT.OK, stdout: `${VERSION}\n`, stderr: "" });
  const help = run(directory, ["--help"]);
  t.equal(help.status, EXIT.OK);
  for (const word of ["start", "config", "--config <file>"]) t.ok(help.stdout.includes(word), word);
});

t.test("an unknown command or option is refused with the code for that", async (t) => {
  for (const parameters of [["--what"], ["config", "burn"], ["start", "extra"], ["strat"]]) {
    const { status, stderr } = run(t.testdir({}), parameters);
    t.equal(status, EXIT.CONFIG, parameters.join(" "));
    t.match(stderr, /error: |Usage/, parameters.join(" "));
  }
});

t.test("config check accepts a right file, and tells all mistakes of a wrong one", async (t) => {
  const directory = t.testdir({ "penstock.yaml": "shards: 2\n", "wrong.yaml": "shrads: 2\nlog: loud\n" });
  t.match(run(directory, ["config", "check"]), { status: EXIT.OK, stdout: /penstock\.yaml: no mistakes/ });
  t.match(run(directory, ["config", "check"], { PENSTOCK_SHARD: "1" }), { status: EXIT.OK, stderr: /did you mean PENSTOCK_SHARDS/ });
  const wrong = run(directory, ["--config", "wrong.yaml", "config", "check"]);
  t.equal(wrong.status, EXIT.CONFIG);
  t.match(wrong.stderr, /2 mistakes/);
  t.match(wrong.stderr, /shrads \(line 1\): 2[\s\S]*Did you mean `shards`/);
  t.match(wrong.stderr, /log \(line 2\): "loud"[\s\S]*allowed: trace, debug/);
});

t.test("config show prints every value, with its origin when asked; what it prints is a right file", async (t) => {
  const directory = t.testdir({ "penstock.yaml": "log: debug\nlisteners: { coap: false }\n" });
  const plain = run(directory, ["config", "show"], { PENSTOCK_SHARDS: "2" });
  t.equal(plain.status, EXIT.OK);
  t.match(plain.stdout, /^log: debug$/m);
  const { stdout } = run(directory, ["config", "show", "--origin"], { PENSTOCK_SHARDS: "2" });
  t.match(stdout, /^log: debug +# file$/m);
  t.match(stdout, /^shards: 2 +# environment$/m);
  t.match(stdout, /^lanes: auto +# default, here: 1$/m);
  t.match(stdout, /^ {2}coap: false +# file$/m);
  t.match(stdout, /^ {2}mqtt:\n {4}host: 127\.0\.0\.1 +# default\n {4}port: 1883 +# default$/m);
  t.match(stdout, /^ {2}packet_size_max: 1MiB +# default$/m);
  const again = t.testdir({ "penstock.yaml": stdout });
  t.same(run(again, ["config", "show"]).stdout, run(directory, ["config", "show"], { PENSTOCK_SHARDS: "2" }).stdout);
});

t.test("start with a wrong configuration starts nothing", async (t) => {
  const directory = t.testdir({ "wrong.yaml": "history: 5\n" });
  const { status, stdout, stderr } = run(directory, ["start", "--config", "wrong.yaml"]);
  t.equal(status, EXIT.CONFIG);
  t.equal(stdout, "");
  t.match(stderr, /history \(line 1\)/);
  t.throws(() => readFileSync(join(directory, "certs", "ca.pem")), "no certificates were made");
});

t.test("a mistake in the access rules stops start and config, not the commands that need no rules", async (t) => {
  const directory = t.testdir({ "penstock.yaml": "acl: { file: access.yaml }\n", "access.yaml": "rules: [{ allow: al, topics: a }]\n" });
  for (const parameters of [["start"], ["config", "check"], ["config", "show"]]) {
    const { status, stderr } = run(directory, parameters);
    t.equal(status, EXIT.CONFIG, parameters.join(" "));
    t.match(stderr, /rules\[1\]\.allow \(.*access\.yaml, line 1\)/, parameters.join(" "));
  }
  t.match(run(directory, ["passwd", "set", "gate", "--no-password", "--group", "ops"]), { status: EXIT.OK, stderr: "" });
  t.match(run(directory, ["passwd", "list"]), { status: EXIT.OK, stdout: /^gate {2}no password {2}groups: ops$/m });
  t.match(run(directory, ["passwd", "delete", "gate"]), { status: EXIT.OK, stdout: /ends the connections that its password had let in/ });
  t.match(run(directory, ["cert", "show"]), { status: EXIT.OK });
});

t.test("passwd says so when the disk takes nothing, and leaves the file as it was", async (t) => {
  const directory = t.testdir({});
  const path = join(directory, "data", "passwords");
  t.match(run(directory, ["passwd", "set", "first", "--no-password"]), { status: EXIT.OK });
  const before = readFileSync(path, "utf8");
  const limited = spawnSync("sh", ["-c", 'ulimit -f 0; exec "$@"', "sh", process.execPath, MAIN, "passwd", "set", "second", "--no-password"], { cwd: directory, encoding: "utf8", timeout: 60_000, env: { PATH: process.env["PATH"] } });
  t.match(limited, { status: EXIT.CONFIG, stderr: /passwords cannot be changed \(EFBIG\), and is as it was/ });
  t.equal(readFileSync(path, "utf8"), before);
  t.match(run(directory, ["passwd", "set", "second", "--no-password"]), { status: EXIT.OK }, "nothing is left in its way");
});

t.test("passwd set asks a terminal twice: what is pasted in one go counts, the end of input leaves everything as it was", { skip: existsSync(SCRIPT) ? false : `${SCRIPT} (util-linux) is not there to make a terminal` }, async (t) => {
  const directory = t.testdir({});
  for (const [typed, status, said] of [["\x04", EXIT.CONFIG, /no password was given; nothing was changed/], ["a\n\x04", EXIT.CONFIG, /no password was given/], ["a\nb\n", EXIT.CONFIG, /not the same/], ["a\na\n", EXIT.OK, /added user/]] as const) {
    const result = spawnSync(SCRIPT, ["-qec", `'${process.execPath}' '${MAIN}' passwd set user`, "/dev/null"], { cwd: directory, encoding: "utf8", timeout: 60_000, input: typed, env: { PATH: process.env["PATH"] } });
    t.equal(result.status, status, JSON.stringify(typed));
    t.match(result.stdout, said, JSON.stringify(typed));
  }
});
