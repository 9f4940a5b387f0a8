// Brings a fresh clone to a runnable state: dependencies, TypeScript, the native part. `npm start` and `npm test` run it first, every time;
// when nothing changed it only compares fingerprints (well under a second). Plain JavaScript without dependencies, since it runs before
// anything is installed, and in syntax that an old Node.js still reads, so that its own message about the version can appear.
//
//   node src/setup.mjs            what is missing or out of date
//   node src/setup.mjs --generate also write anew what is generated from sources and committed: native/core/layout.h, docs/errors.md, docs/mqtt-conformance.md (npm run build)
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { accessSync, chmodSync, constants, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, realpathSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const NODE_MINIMUM = [20, 19];
const GCC_MINIMUM = 10;
const ADDON = join(ROOT, "native", "build", "Release", "penstock.node");
const NATIVE_STAMP = join(ROOT, "native", "build", "stamp.json");
const DIST = join(ROOT, "dist");
const TYPESCRIPT_STAMP = join(DIST, ".stamp");
/** Folders whose TypeScript is compiled (tsconfig.json, "include"). */
const SOURCE_FOLDERS = ["src", "workers", "test", "bench"];

/** What the operator must mend; printed without a stack. */
class SetupError extends Error {}

/** @param {string} text */
function say(text) {
  console.log(`setup: ${text}`);
}

/**
 * Every file below `folder` for which `wants` says yes, sorted, as paths from the root.
 * @param {string} folder @param {(name: string) => boolean} wants @param {readonly string[]} [skipped] names of folders to pass over
 * @returns {string[]}
 */
function filesBelow(folder, wants, skipped = []) {
  const found = [];
  const visit = (/** @type {string} */ directory) => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        if (!skipped.includes(entry.name)) visit(path);
      } else if (wants(entry.name)) found.push(relative(ROOT, path));
    }
  };
  if (existsSync(join(ROOT, folder))) visit(join(ROOT, folder));
  return found.sort();
}

/**
 * A hash over the names and contents of `paths`, and whatever else the result depends on. Contents, not times: a checkout changes times.
 * @param {readonly string[]} paths @param {readonly string[]} others
 */
function fingerprint(paths, others) {
  const hash = createHash("sha256");
  for (const other of others) hash.update(`${other}\n`);
  for (const path of paths) hash.update(`${path}\n`).update(readFileSync(join(ROOT, path)));
  return hash.digest("hex");
}

/** @param {string} path */
function readText(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

/**
 * Runs a program in the project's root with its output shown.
 * @param {string} what for the error message @param {string} program @param {readonly string[]} parameters @param {Record<string, string>} [environment]
 */
function run(what, program, parameters, environment = {}) {
  const result = spawnSync(program, parameters, { cwd: ROOT, stdio: "inherit", env: { ...process.env, ...environment } });
  if (result.error) throw new SetupError(`${what} could not be started: ${result.error.message}`);
  if (result.status !== 0) throw new SetupError(`${what} failed (${result.signal ?? `exit code ${result.status}`}); its output stands above.`);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const isOld = major < NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor < NODE_MINIMUM[1]);
  if (isOld) throw new SetupError(`Node.js ${process.versions.node} is too old: Penstock needs ${NODE_MINIMUM.join(".")} or newer (the active LTS from nodejs.org, or your distribution's nodejs package).`);
  if (process.platform !== "linux") throw new SetupError(`Penstock runs on Linux (its data plane uses epoll); this is ${process.platform}.`);
}

/** npm as the one that runs us, else the one on the path. @returns {[string, string[]]} */
function npm() {
  const own = process.env["npm_execpath"];
  return own !== undefined && own.endsWith(".js") ? [process.execPath, [own]] : ["npm", []];
}

/** True when node_modules holds what package-lock.json asks for, by npm's own note of what it installed. */
function hasDependencies() {
  const note = readText(join(ROOT, "node_modules", ".package-lock.json"));
  if (note === "") return false;
  const wanted = JSON.parse(readFileSync(join(ROOT, "package-lock.json"), "utf8")).packages;
  const installed = JSON.parse(note).packages;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    const have = installed[path];
    if (have === undefined ? !(entry.optional || entry.devOptional) : have.version !== entry.version) return false;
  }
  return true;
}

function installDependencies() {
  if (hasDependencies()) return;
  // npm would empty the folder that the link leads to, under whoever else works with it.
  if (lstatSync(join(ROOT, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink() === true) {
    say("node_modules is a link and differs from package-lock.json: left as it is");
    return;
  }
  say("installing dependencies (npm ci)");
  const [program, parameters] = npm();
  // The TypeScript compiler is a development dependency, and no package of ours needs an install script.
  run("npm ci", program, [...parameters, "ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund"]);
}

/** Where tsc puts what it makes of `source`. @param {string} source */
function outputOf(source) {
  return join(DIST, source.replace(/\.ts$/, ".js"));
}

/**
 * Removes what was compiled from sources that no longer exist, so that nothing runs or is tested that is not in the tree.
 * @param {readonly string[]} sources
 */
function removeStaleOutputs(sources) {
  const wanted = new Set(sources.map((source) => outputOf(source)));
  const visit = (/** @type {string} */ directory) => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) visit(path);
      else if (/\.js(\.map)?$/.test(entry.name) && !wanted.has(path.replace(/\.map$/, ""))) rmSync(path);
    }
    if (readdirSync(directory).length === 0) rmdirSync(directory);
  };
  for (const folder of SOURCE_FOLDERS) if (existsSync(join(DIST, folder))) visit(join(DIST, folder));
}

/** The one file that is started, whatever the layout beneath it. */
function placeEntry() {
  const path = join(DIST, "main.js");
  const text = '#!/usr/bin/env node\nimport "./src/main.js";\n';
  if (readText(path) !== text) writeFileSync(path, text);
  chmodSync(path, 0o755);
}

function buildTypeScript() {
  const sources = SOURCE_FOLDERS.flatMap((folder) => filesBelow(folder, (name) => name.endsWith(".ts") && !name.endsWith(".d.ts")));
  if (!sources.includes(join("src", "main.ts"))) throw new SetupError("src/main.ts is missing: this is no whole clone.");
  const stamp = fingerprint([...sources, "tsconfig.json", "package.json"], [readText(join(ROOT, "node_modules", "typescript", "package.json"))]);
  const isWhole = sources.every((source) => existsSync(outputOf(source))) && existsSync(join(DIST, "main.js"));
  if (isWhole && readText(TYPESCRIPT_STAMP) === stamp) return;
  say("compiling TypeScript");
  mkdirSync(DIST, { recursive: true });
  rmSync(TYPESCRIPT_STAMP, { force: true });
  // The compiler's own memory of what it wrote would keep it from writing removed outputs again.
  if (!isWhole) rmSync(join(DIST, ".tsbuildinfo"), { force: true });
  removeStaleOutputs(sources);
  run("The TypeScript compiler", process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", "."]);
  placeEntry();
  writeFileSync(TYPESCRIPT_STAMP, stamp);
}

/** The first of `names` found on the path. @param {readonly string[]} names @returns {string | undefined} */
function findProgram(names) {
  for (const name of names) {
    const places = name.includes("/") ? [name] : (process.env["PATH"] ?? "").split(delimiter).map((directory) => join(directory, name));
    for (const place of places) {
      try {
        accessSync(place, constants.X_OK);
        return place;
      } catch {
        // Not here: the next place may have it.
      }
    }
  }
  return undefined;
}

/** How to install the build tools on this distribution, the others' ways after it. */
function toolInstructions() {
  const release = readText("/etc/os-release").toLowerCase();
  const ways = [
    { pattern: /debian|ubuntu/, text: "Debian, Ubuntu, Raspberry Pi OS:  apt-get install make g++ python3" },
    { pattern: /fedora|rhel|centos/, text: "Fedora, RHEL:                     dnf install make gcc-c++ python3" },
    { pattern: /alpine/, text: "Alpine:                           apk add make g++ python3 linux-headers" },
  ];
  const own = ways.filter((way) => way.pattern.test(release));
  return (own.length > 0 ? own : ways).map((way) => `    ${way.text}`).join("\n");
}

/** @throws SetupError naming all that is missing, and how to get it */
function checkTools() {
  const missing = [];
  if (findProgram([process.env["MAKE"] ?? "make"]) === undefined) missing.push("make");
  const compiler = findProgram((process.env["CXX"] ?? "g++").trim().split(/\s+/).slice(0, 1));
  if (compiler === undefined) missing.push("g++ (or another C++20 compiler named by CXX)");
  const python = process.env["npm_config_python"] ?? process.env["PYTHON"];
  if (findProgram(python === undefined || python === "" ? ["python3", "python"] : [python]) === undefined) missing.push("python3 (node-gyp needs it)");
  if (missing.length > 0) throw new SetupError(`The native part cannot be built. Missing: ${missing.join(", ")}.\n  Install the tools, then run the command again:\n${toolInstructions()}`);
  const version = /^g(?:cc|\+\+)/.test((compiler ?? "").split("/").pop() ?? "") ? spawnSync(compiler ?? "", ["-dumpversion"], { encoding: "utf8" }).stdout.trim() : "";
  if (version !== "" && Number.parseInt(version, 10) < GCC_MINIMUM) throw new SetupError(`g++ ${version} is too old: the native part is C++20 and needs g++ ${GCC_MINIMUM} or newer.\n${toolInstructions()}`);
}

/** True when `directory` holds the headers of exactly the Node.js that runs this. @param {string} directory */
function hasHeaders(directory) {
  const text = readText(join(directory, "include", "node", "node_version.h"));
  const part = (/** @type {string} */ name) => new RegExp(`#define NODE_${name}_VERSION (\\d+)`).exec(text)?.[1];
  return existsSync(join(directory, "include", "node", "node.h")) && [part("MAJOR"), part("MINOR"), part("PATCH")].join(".") === process.versions.node;
}

/**
 * Where node-gyp finds Node's headers: beside the executable, else where the user's npm configuration says, else (undefined) node-gyp's own
 * way, which fetches them.
 * @returns {string | undefined}
 */
function headersDirectory() {
  for (const executable of [process.execPath, realpathSync(process.execPath)]) {
    const prefix = dirname(dirname(executable));
    if (hasHeaders(prefix)) return prefix;
  }
  let configured = process.env["npm_config_nodedir"] ?? "";
  if (configured === "") {
    const [program, parameters] = npm();
    const answer = spawnSync(program, [...parameters, "config", "get", "nodedir"], { cwd: ROOT, encoding: "utf8" });
    configured = answer.status === 0 ? answer.stdout.trim() : "";
  }
  return configured === "" || configured === "undefined" || configured === "null" ? undefined : resolve(ROOT, configured);
}

/** Writes the C++ side of the memory layout, the users' page of error codes and the table of MQTT's statements. Not at every start: tests fail when they are stale. */
function writeGenerated() {
  run("The generator of native/core/layout.h", process.execPath, [join(DIST, "src", "ring", "generate-header.js")]);
  run("The generator of docs/errors.md", process.execPath, [join(DIST, "src", "cli", "errors-page.js")]);
  run("The generator of docs/mqtt-conformance.md", process.execPath, [join(DIST, "test", "conformance", "clauses.js")]);
}

function buildNative() {
  const sources = filesBelow("native", (name) => /\.(cc|cpp|h|hpp|gyp|gypi)$/.test(name), ["build", "test", "node_modules"]);
  if (!sources.includes(join("native", "binding.gyp"))) throw new SetupError("native/binding.gyp is missing: this is no whole clone.");
  // A change of these wants everything made anew (node-gyp lists the sources when it configures); a change inside sources is make's business.
  const frame = fingerprint([join("native", "binding.gyp")], [...sources, process.version, process.arch, process.execPath, process.env["CXX"] ?? "", process.env["CXXFLAGS"] ?? "", readText(join(ROOT, "node_modules", "node-addon-api", "package.json"))]);
  const stamp = JSON.stringify({ frame, sources: fingerprint(sources, []) });
  const last = readText(NATIVE_STAMP);
  if (existsSync(ADDON) && last === stamp) return;
  checkTools();
  const isConfigured = last !== "" && JSON.parse(last).frame === frame && existsSync(join(ROOT, "native", "build", "Makefile"));
  const nodedir = headersDirectory();
  say(`compiling the native part (Node.js headers: ${nodedir ?? "fetched by node-gyp"})`);
  const parameters = [join("node_modules", "node-gyp", "bin", "node-gyp.js"), isConfigured ? "build" : "rebuild", "-C", "native", "--loglevel=warn"];
  if (nodedir !== undefined) parameters.push(`--nodedir=${nodedir}`);
  if (!isConfigured) rmSync(NATIVE_STAMP, { force: true });
  // JOBS=max: as many compilers as cores.
  run("The native build", process.execPath, parameters, { JOBS: process.env["JOBS"] ?? "max" });
  if (!existsSync(ADDON)) throw new SetupError(`The native build made no ${relative(ROOT, ADDON)}.`);
  writeFileSync(NATIVE_STAMP, stamp);
}

function main() {
  const began = Date.now();
  checkNode();
  installDependencies();
  buildTypeScript();
  if (process.argv.includes("--generate")) writeGenerated();
  buildNative();
  const seconds = (Date.now() - began) / 1000;
  if (seconds > 1) say(`done in ${seconds.toFixed(1)} s`);
}

try {
  main();
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`setup: ${error.message}`);
  process.exitCode = 1;
}
