// The commands for people, and the help.
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import type { BackendFactory } from "./backend-factory.ts";
import { FAMILIES, type FirmwareCommandOptions, INTERFACES, MACHINES } from "./firmware-options.ts";
import { addSnapshotCommands } from "./snapshot-commands.ts";

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
  program
    .command("firmware")
    .description("write ACPI tables and fw_cfg files of a machine's TPM, for who writes the machine")
    .argument("[directory]", "where to; it is made if it is missing")
    .addOption(new Option("--machine <machine>", "QEMU's name of it").choices(MACHINES))
    .addOption(new Option("--device <device>", "the TPM's interface").choices(INTERFACES))
    .addOption(new Option("--family <version>", "the TPM's version (default: 2.0)").choices(FAMILIES))
    .option("--no-ppi", "without the physical presence interface")
    .option("--base <address>", "the device's address, if not QEMU's", address32)
    .option("--log-address <address>", "link the table to an event log of 64 KiB there", address)
    .option("--list", "print the files, of all configurations that fit, instead of writing them")
    .action(async (directory: string | undefined, options: FirmwareCommandOptions) => {
      const { firmwareCommand } = await import("./firmware.ts");
      status = firmwareCommand(directory, options);
    });
  program
    .command("state")
    .description("look at stored states, check, convert, clone and move them (wtpm state --help)")
    .helpOption(false)
    .allowUnknownOption()
    .argument("[words...]")
    .passThroughOptions()
    .action(async (words: string[]) => {
      const { stateCommand } = await import("./state-commands.ts");
      status = await stateCommand(words);
    });
  addSnapshotCommands(program);
  try {
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    process.stderr.write(`wtpm: ${(error as Error).message}\n`);
    return 1;
  }
  return status;
}

/** An address in decimal or, with 0x, hexadecimal digits. */
function address(text: string): number {
  const value = /^(0x[0-9a-f]+|\d+)$/i.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(value))
    throw new InvalidArgumentError("An address is a number as 4275306496 or 0xfed40000.");
  return value;
}

/** What a Memory32Fixed resource can say. */
function address32(text: string): number {
  const value = address(text);
  if (value >= 2 ** 32) throw new InvalidArgumentError("A device's address has 32 bits.");
  return value;
}
