// `passwd set | delete | list`: the users of the password file. A password comes from the terminal, without echo, or from standard input; never from
// the command line, which every user of the machine can read.
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { StartError } from "../base/errors.js";
import { deleteUser, listUsers, setUser } from "../control/auth-options.js";
import { EXIT, type ExitCode } from "../control/exit-codes.js";
import { loadOrExplain } from "./config-commands.js";

const INPUT_SIZE_MAX = 128 * 1024;

export interface SetOptions {
  readonly group?: readonly string[];
  readonly password: boolean;
  /** false: without SCRAM; else iterations. */
  readonly scram: false | string;
}

export async function setPassword(file: string | undefined, user: string, options: SetOptions): Promise<ExitCode> {
  const scramIterations = options.scram === false ? 0 : Number(options.scram);
  if (options.scram !== false && (!Number.isInteger(scramIterations) || scramIterations < 4096 || scramIterations > 10_000_000)) {
    console.error("--scram takes a whole number of iterations from 4096 to 10000000");
    return EXIT.CONFIG;
  }
  return withFile(file, async (path) => {
    const password = options.password ? await readPassword(user) : undefined;
    if (password === null) return EXIT.CONFIG;
    const groups = options.group?.filter((group) => group !== "");
    const isNew = await setUser(path, { user, password, groups, scramIterations });
    console.log(`${isNew ? "added" : "changed"} ${user} in ${path}; a running gateway sees it within about a second`);
    return EXIT.OK;
  });
}

export function deletePassword(file: string | undefined, user: string): Promise<ExitCode> {
  return withFile(file, (path) => {
    if (deleteUser(path, user)) {
      console.log(`deleted ${user} from ${path}; within seconds a running gateway ends the connections that its password had let in`);
      return EXIT.OK;
    }
    console.error(`${path} has no user ${user}`);
    return EXIT.CONFIG;
  });
}

export function listPasswords(file: string | undefined): Promise<ExitCode> {
  return withFile(file, (path) => {
    const users = listUsers(path);
    if (users.length === 0) console.log(`${path} has no users; penstock passwd set USER adds one`);
    for (const { user, groups, hasPassword, hasScram } of users) {
      const kinds = [...(hasPassword ? ["password"] : []), ...(hasScram ? ["SCRAM-SHA-256"] : [])];
      console.log([user, kinds.join(", ") || "no password", groups.length === 0 ? "" : `groups: ${groups.join(", ")}`].filter((part) => part !== "").join("  "));
    }
    return EXIT.OK;
  });
}

async function withFile(file: string | undefined, run: (path: string) => ExitCode | Promise<ExitCode>): Promise<ExitCode> {
  const loaded = loadOrExplain(file);
  if (loaded === undefined) return EXIT.CONFIG;
  try {
    return await run(loaded.config.auth.password_file);
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (error instanceof StartError) console.error(error.message);
    else if (syscall !== undefined) console.error(`${loaded.config.auth.password_file} cannot be changed (${code ?? "?"}), and is as it was`);
    else throw error;
    return EXIT.CONFIG;
  }
}

/** @returns null after saying what is wrong */
async function readPassword(user: string): Promise<string | null> {
  if (!process.stdin.isTTY) return firstLine();
  // The prompt comes when the terminal has stopped echoing, not before; it echoes nothing until both answers are there.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  terminal.on("SIGINT", () => process.exit(EXIT.FORCED));
  const lines = terminal[Symbol.asyncIterator]() as AsyncIterator<string, undefined>;
  const password = await ask(lines, `Password of ${user}: `);
  const again = password === null ? null : await ask(lines, "The same again: ");
  terminal.close();
  if (password !== null && password === again) return password;
  console.error(again === null ? "no password was given; nothing was changed" : "the two are not the same; nothing was changed");
  return null;
}

async function firstLine(): Promise<string> {
  let text = "";
  process.stdin.setEncoding("utf8");
  for await (const part of process.stdin) {
    text += part as string;
    if (text.includes("\n") || text.length > INPUT_SIZE_MAX) break;
  }
  return text.split(/\r?\n/, 1)[0]!;
}

/** @returns null when the terminal says that no more comes (Control-D) */
async function ask(lines: AsyncIterator<string, undefined>, prompt: string): Promise<string | null> {
  process.stderr.write(prompt);
  const { value, done } = await lines.next();
  process.stderr.write("\n");
  return done === true ? null : value;
}
