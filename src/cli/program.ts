// The command line: `penstock [start]`, `penstock config check|show`, `penstock passwd set|delete|list`, `penstock cert client|revoke|show`. Each command loads what it needs when it runs.
import { Command, CommanderError } from "commander";
import { EXIT, type ExitCode } from "../control/exit-codes.js";
import type { ClientOptions } from "./cert-commands.js";
import type { SetOptions } from "./passwd-commands.js";
import { packageVersion } from "../control/version.js";

/** As src/security has it; the commands load that only when they run. */
const SCRAM_ITERATIONS_DEFAULT = 32_768;

interface FileOption {
  readonly config?: string;
}

/**
 * Runs one command.
 *
 * @returns the process's exit code, or undefined when the gateway runs now
 */
export async function runCommandLine(argv: readonly string[]): Promise<ExitCode | undefined> {
  let code: ExitCode | undefined = EXIT.OK;
  const program = new Command("penstock")
    .description("IoT edge gateway: MQTT broker with durable acknowledgements, edge analytics and a built-in time-series history")
    .version(packageVersion())
    .option("--config <file>", "configuration file (default: penstock.yaml in the working directory, if there is one)")
    .exitOverride()
    .showHelpAfterError("(--help shows what there is)");
  const file = (): string | undefined => program.opts<FileOption>().config;
  program
    .command("start", { isDefault: true })
    .description("start the gateway (the default)")
    .action(async () => {
      const { start } = await import("./start.js");
      code = await start(file());
    });
  const config = program.command("config").description("look at the configuration without starting");
  config
    .command("check")
    .description("read and check the configuration; all findings at once")
    .action(async () => {
      const { checkConfig } = await import("./config-commands.js");
      code = checkConfig(file());
    });
  config
    .command("show")
    .description("print the configuration in force")
    .option("--origin", "with where each value comes from: default, file or environment")
    .action(async (options: { readonly origin?: boolean }) => {
      const { showConfig } = await import("./config-commands.js");
      code = showConfig(file(), options.origin === true);
    });
  const cert = program.command("cert").description("certificates of the certs directory");
  cert
    .command("client <name>")
    .description("make a key and a certificate for a client, signed by the gateway's own authority")
    .option("--out <directory>", "where to put them (default: clients in the certs directory)")
    .option("--days <number>", "how long it is valid", "1095")
    .option("--replace", "make new ones when there are files of that name")
    .action(async (name: string, options: ClientOptions) => {
      const { certClient } = await import("./cert-commands.js");
      code = await certClient(file(), name, options);
    });
  cert
    .command("revoke <name>")
    .description("put a client's certificate (its name, or a file) on the list of those that are refused; a running gateway takes it over")
    .action(async (name: string) => {
      const { certRevoke } = await import("./cert-commands.js");
      code = await certRevoke(file(), name);
    });
  cert
    .command("show")
    .description("print what certificates there are")
    .action(async () => {
      const { certShow } = await import("./cert-commands.js");
      code = await certShow(file());
    });
  const passwd = program.command("passwd").description("users of the password file (auth.password_file)");
  passwd
    .command("set <user>")
    .description("add a user or change its password, read from the terminal or from standard input")
    .option("--group <name>", "a group it is in, again for each; in the place of those it has; \"\" for none", (name: string, before: readonly string[] | undefined) => [...(before ?? []), name])
    .option("--no-password", "no password: the line gives groups to a client known by its certificate")
    .option("--scram <iterations>", "iterations of SCRAM-SHA-256's hash, which is the clients' work", String(SCRAM_ITERATIONS_DEFAULT))
    .option("--no-scram", "without keys for SCRAM-SHA-256")
    .action(async (user: string, options: SetOptions) => {
      const { setPassword } = await import("./passwd-commands.js");
      code = await setPassword(file(), user, options);
    });
  passwd
    .command("delete <user>")
    .description("remove a user")
    .action(async (user: string) => {
      const { deletePassword } = await import("./passwd-commands.js");
      code = await deletePassword(file(), user);
    });
  passwd
    .command("list")
    .description("print the users and their groups")
    .action(async () => {
      const { listPasswords } = await import("./passwd-commands.js");
      code = await listPasswords(file());
    });
  try {
    // Else commander takes it for a word too many behind the default command.
    const [word] = program.parseOptions(argv.slice(2)).operands;
    if (word !== undefined && word !== "help" && !program.commands.some((command) => command.name() === word)) program.error(`error: there is no command '${word}'`);
    await program.parseAsync(argv);
  } catch (error) {
    // Commander has printed what is wrong, or the help or version that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.OK : EXIT.CONFIG;
    throw error;
  }
  return code;
}
