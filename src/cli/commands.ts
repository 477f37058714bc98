// The commands for people, and the help.
import { Command, CommanderError } from "commander";
import type { BackendFactory } from "./backend-factory.ts";

const DEFAULT_STATE = "./wtpm-state";

/** Runs everything but `socket`. */
export async function commandLine(words: readonly string[], createBackend: BackendFactory): Promise<number> {
  let status = 0;
  const program = new Command("wtpm")
    .description("A TPM 2.0 in WebAssembly, with swtpm's command line and protocols.")
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .option("-v, --version", "show the version")
    .exitOverride()
    .enablePositionalOptions();
  program
    .command("socket")
    .description("serve a TPM over swtpm's protocol, for QEMU, libvirt and TSS clients (wtpm socket --help)")
    .helpOption(false);
  program
    .command("start")
    .description("run a TPM with lasting state, and show how to attach to it and what arrives")
    .option("--state <directory>", "where the state is kept", DEFAULT_STATE)
    .option("-q, --quiet", "do not show the commands")
    .action(async (options: { state: string; quiet?: boolean }) => {
      const { startCommand } = await import("./start.ts");
      status = await startCommand(options, createBackend);
    });
  program
    .command("exec")
    .description("run a command with a throw-away TPM in its environment (TPM2TOOLS_TCTI and others)")
    .argument("<command...>", "what to run; put -- before it")
    .option("-V, --verbose", "show TPM commands on standard error")
    .passThroughOptions()
    .action(async (words: string[], options: { verbose?: boolean }) => {
      const { execCommand } = await import("./exec.ts");
      status = await execCommand(words, options, createBackend);
    });
  try {
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    process.stderr.write(`wtpm: ${(error as Error).message}\n`);
    return 1;
  }
  return status;
}
