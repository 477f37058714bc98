// The words of `wtpm snapshot`.
import { type Command, InvalidArgumentError } from "commander";

/** Adds the command with its own commands. */
export function addSnapshotCommands(program: Command): void {
  const snapshot = program
    .command("snapshot")
    .description("keep states of a stopped or running TPM, and go back to them")
    .helpCommand(false);
  const command = (usage: string, about: string) =>
    snapshot
      .command(usage)
      .description(about)
      .option("--state <directory>", "where the state is (default: TPM_PATH, else ./wtpm-state)")
      .option("--tpmstate <list>", "where the state is, as wtpm socket has it")
      .option("--key <list>", "the key of the state, as wtpm socket has it");
  const withServer = (made: Command) =>
    made.option("--management <path>", "the socket of the running TPM, if it is not beside the state");

  withServer(command("create [name]", "keep the state; the name is made of the time if it is left out"))
    .option("-d, --description <text>", "what to remember it by")
    .action(async (name, options) => (await import("./snapshot.ts")).createCommand(name, options));
  withServer(command("restore <name>", "go back to a snapshot"))
    .option("--running", "also if the TPM is running: what uses it finds it changed")
    .option("--cold", "let the TPM start anew, even if the snapshot is of a running one")
    .option("--no-undo", "do not keep the state before as a snapshot")
    .action(async (name, options) => (await import("./snapshot.ts")).restoreCommand(name, options));
  withServer(command("delete <name>", "forget a snapshot; those made from it come from its parent then"))
    .option("--children", "forget those made from it too")
    .action(async (name, options) => (await import("./snapshot.ts")).deleteCommand(name, options));
  withServer(
    command("prune", "forget the snapshots that restores made to be undone, except the one that the state comes from"),
  )
    .option("--keep <number>", "leave so many of the newest", count, 0)
    .action(async (options) => (await import("./snapshot.ts")).pruneCommand(options));
  command("list", "list the snapshots; * marks the one that the state comes from")
    .option("--json", "for programs")
    .action(async (options) => (await import("./snapshot.ts")).listCommand(options));
  command("tree", "draw what came from what").action(async (options) =>
    (await import("./snapshot.ts")).treeCommand(options),
  );
}

function count(word: string): number {
  if (/^\d{1,9}$/.test(word)) return Number(word);
  throw new InvalidArgumentError("It is a number of snapshots.");
}
