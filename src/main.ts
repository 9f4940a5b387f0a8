// The program's entry: the command line decides what runs. `dist/main.js`, put in place by the build, loads this.
import { runCommandLine } from "./cli/program.js";
import { EXIT } from "./control/exit-codes.js";

try {
  const code = await runCommandLine(process.argv);
  if (code !== undefined) process.exitCode = code;
} catch (error) {
  console.error(error);
  process.exit(EXIT.BUG);
}
