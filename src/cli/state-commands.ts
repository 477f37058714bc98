// `wtpm state …`: looking at stored states, checking, converting, copying and moving them.
import { Command, CommanderError, Option } from "commander";
import type { RekeyOptions } from "./rekey.ts";
import type { PlaceOptions } from "./state-place.ts";

/** A directory, file or URI, or swtpm's options for it. */
interface From {
  readonly tpmstate?: string;
  readonly key?: string;
}
interface To {
  readonly toTpmstate?: string;
  readonly toKey?: string;
  readonly decrypt?: boolean;
  readonly replace?: boolean;
}

/** Runs `wtpm state` with the words after it and gives the exit status. @throws Error whose message is for the user */
export async function stateCommand(words: readonly string[]): Promise<number> {
  let status = 0;
  const program = new Command("wtpm state")
    .description("Look at the stored state of a TPM 2.0, check, convert, copy and move it.")
    .helpOption("-h, --help", "show this help")
    .helpCommand(false)
    .exitOverride();

  source(program.command("inspect"))
    .description("show what a state holds; secrets are shown as their size")
    .option("--json", "as JSON, every field")
    .option("--secrets", "SHOW ALL SECRETS: seeds, proofs, authorization values, private keys, data")
    .action(async (place: string | undefined, options: From & { json?: boolean; secrets?: boolean }) => {
      const { inspectCommand } = await import("./state-inspect.ts");
      status = await inspectCommand({ place, ...options }, options);
    });

  source(program.command("verify"))
    .description("check that a TPM can go on with a state, and that nothing is lost; status 1 if not")
    .action(async (place: string | undefined, options: From) => {
      const { verifyCommand } = await import("./state-verify.ts");
      status = await verifyCommand({ place, ...options });
    });

  target(source(program.command("convert")))
    .description("put a state into another place or encryption, or under another profile")
    .addOption(profile())
    .action(async (place: string | undefined, to: string | undefined, options: From & To & { profile?: string }) => {
      const { convertCommand } = await import("./state-convert.ts");
      status = await convertCommand(...bothPlaces(place, to, options), options);
    });

  target(source(program.command("clone")))
    .description("copy a TPM: with the same identity, or with one of its own")
    .option("--new-identity", "new seeds and proofs: keys, and what is sealed, stay with the original")
    .option("--remove-ek-certificates", "with --new-identity: remove the certificates that no longer fit")
    .action(
      async (
        place: string | undefined,
        to: string | undefined,
        options: From & To & { newIdentity?: boolean; removeEkCertificates?: boolean },
      ) => {
        const { cloneCommand } = await import("./state-clone.ts");
        status = await cloneCommand(...bothPlaces(place, to, options), options);
      },
    );

  program
    .command("rekey")
    .description("change the keys of a state in wtpm's encrypted format (--key provider=…)")
    .exitOverride()
    .helpOption("-h, --help", "show this help")
    .argument("[place]", "directory, dir://DIRECTORY or file://FILE of the state (default: TPM_PATH)")
    .option("--tpmstate <list>", "where the state is, as in `wtpm socket`")
    .option(
      "--key <list>",
      "a key of the state, as in `wtpm socket`; for --new-data-key one for each slot",
      collect,
      [],
    )
    .option("--add <list>", "add a key slot, for a key that is named as with --key; slot=NAME names it", collect)
    .option("--remove <slot>", "remove a key slot", collect)
    .option("--new-data-key", "encrypt everything under a new random data key")
    .option("--list", "show the key slots")
    .action(async (place: string | undefined, options: { tpmstate?: string } & RekeyOptions) => {
      const { rekeyCommand } = await import("./rekey.ts");
      status = await rekeyCommand({ place, tpmstate: options.tpmstate }, options);
    });

  source(program.command("export"))
    .description("write a state into files: one archive, or swtpm's migration blobs")
    .option("--archive <file>", "a tar archive of state files as swtpm has them in a directory")
    .option("--permanent <file>", "the permanent state, as swtpm_ioctl --save permanent")
    .option("--volatile <file>", "the volatile state, as swtpm_ioctl --save volatile")
    .option("--migration-key <list>", "encrypt the migration blobs: as swtpm's --migration-key")
    .option("--archive-key <list>", "encrypt the files in the archive: as swtpm's --key")
    .action(async (place: string | undefined, options: From & Transfer) => {
      const { exportCommand } = await import("./state-transfer.ts");
      status = await exportCommand({ place, ...options }, options);
    });

  source(program.command("import"))
    .description("put a state from files into a place")
    .option("--archive <file>", "what `wtpm state export --archive` wrote")
    .option("--permanent <file>", "what swtpm_ioctl --save permanent, or export, wrote")
    .option("--volatile <file>", "what swtpm_ioctl --save volatile, or export, wrote")
    .option("--migration-key <list>", "with which the migration blobs are encrypted")
    .option("--archive-key <list>", "with which the files in the archive are encrypted")
    .option("--replace", "put it in the place of a state that is there")
    .action(async (place: string | undefined, options: From & Transfer & { replace?: boolean }) => {
      const { importCommand } = await import("./state-transfer.ts");
      status = await importCommand({ place, ...options }, options);
    });

  try {
    await program.parseAsync(words, { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
  return status;
}

const collect = (word: string, before: readonly string[] = []) => [...before, word];

interface Transfer {
  readonly archive?: string;
  readonly permanent?: string;
  readonly volatile?: string;
  readonly migrationKey?: string;
  readonly archiveKey?: string;
}

const profile = () =>
  new Option(
    "--profile <profile>",
    "the profile from now on: null, default-v1, default-v2, or libtpms' JSON. States with the null profile start in libtpms 0.9",
  );

function source(command: Command): Command {
  return command
    .exitOverride()
    .helpOption("-h, --help", "show this help")
    .argument("[place]", "directory, dir://DIRECTORY or file://FILE of the state (default: TPM_PATH)")
    .option("--tpmstate <list>", "where the state is, as in `wtpm socket`")
    .option("--key <list>", "the key of an encrypted state, as in `wtpm socket`")
    .addOption(new Option("--tpm2", "a TPM 2.0, which is meant anyway").hideHelp());
}

function target(command: Command): Command {
  return command
    .argument("[target]", "where to; with --tpmstate the only one to name")
    .option("--to-tpmstate <list>", "where to, as --tpmstate")
    .option("--to-key <list>", "the key there, as --key; without it the same as before")
    .option("--decrypt", "write the state unencrypted there")
    .option("--replace", "put it in the place of a state that is there");
}

export interface TargetOptions extends PlaceOptions {
  /** Without a key, although the source has one. */
  readonly decrypt: boolean;
  readonly replace: boolean;
}

/** Source and target. Where --tpmstate says the source, the first word is the target. */
function bothPlaces(
  first: string | undefined,
  second: string | undefined,
  { tpmstate, key, toTpmstate, toKey, decrypt, replace }: From & To,
): [PlaceOptions, TargetOptions] {
  const [place, target] = tpmstate !== undefined && second === undefined ? [undefined, first] : [first, second];
  return [
    { place, tpmstate, key },
    { place: target, tpmstate: toTpmstate, key: toKey, decrypt: decrypt ?? false, replace: replace ?? false },
  ];
}
