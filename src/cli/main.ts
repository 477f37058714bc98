// The `wtpm` command. `socket` is dispatched at once, because programs wait for its socket; the rest is for people.
import type { BackendFactory } from "./backend-factory.ts";

const createBackend: BackendFactory = async ({ store, profile, warn }) => {
  const { createEngineBackend } = await import("../engine/engine-backend.ts");
  return createEngineBackend({
    store,
    ...(warn && { warn }),
    ...(profile === undefined ? {} : { profile, profileMustApply: true }),
  });
};

/** Runs a command line, without the program's name, and gives the exit status. */
export async function main(words: readonly string[]): Promise<number> {
  const [command, ...rest] = words;
  switch (command) {
    case "socket": {
      const { socketCommand } = await import("./socket.ts");
      return socketCommand(rest, createBackend);
    }
    case "chardev":
    case "cuse":
      process.stderr.write(
        `wtpm: the interface '${command}' is not supported: it needs calls to the kernel that this runtime does not have. Use 'wtpm socket'.\n`,
      );
      return 1;
    case "-v":
    case "--version": {
      const { packageVersion, runtimeDetails } = await import("./version.ts");
      process.stdout.write(`TPM emulator version ${packageVersion()}, wtpm\n`);
      if (rest.includes("--verbose")) process.stdout.write(await runtimeDetails());
      return 0;
    }
    case undefined:
      process.stderr.write("Missing TPM interface type; see wtpm --help\n");
      return 1;
    case "exec": {
      // Its output is the command's, which shares it: Node would make a pipe there non-blocking for both.
      const { commandLine } = await import("./commands.ts");
      return commandLine(words, createBackend);
    }
    default: {
      const [{ commandLine }, { watchOutput, writtenOutput }] = await Promise.all([
        import("./commands.ts"),
        import("./output.ts"),
      ]);
      watchOutput();
      return writtenOutput(await commandLine(words, createBackend));
    }
  }
}
