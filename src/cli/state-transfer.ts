// `wtpm state export` and `import`: a state as files to carry elsewhere.
import fs from "node:fs";
import { decodeMigrationBlob, encodeMigrationBlob } from "../state/container.ts";
import { BLOB_TYPES, type StateBlobs, StateError } from "../state/store.ts";
import { migrationKey, stateFormat } from "./key-options.ts";
import { OptionError } from "./option-list.ts";
import { readArchive, writeArchive } from "./state-archive.ts";
import { checkState } from "./state-check.ts";
import { type PlaceOptions, placeOf, readPlace, say, warn, writePlace } from "./state-place.ts";

export interface TransferOptions {
  /** A tar archive of swtpm's state files. */
  readonly archive?: string;
  /** Files with swtpm's migration blobs. */
  readonly permanent?: string;
  readonly volatile?: string;
  readonly migrationKey?: string;
  readonly archiveKey?: string;
}

const MIGRATION_TYPES = ["permanent", "volatile"] as const;

/** Writes the files and gives the exit status. @throws StateError, OptionError */
export async function exportCommand(from: PlaceOptions, options: TransferOptions): Promise<number> {
  checkFiles(options);
  const place = await placeOf(from);
  const { generation, inUse } = await readPlace(place);
  const { blobs, number } = generation;
  if (inUse) warn(`${place.uri}: a running TPM uses it and may be ahead of what is exported`);
  if (options.archive !== undefined) {
    const format = await stateFormat(options.archiveKey, warn);
    writeFile(options.archive, writeArchive(blobs, number, format));
    say(`${options.archive}: ${BLOB_TYPES.filter((type) => blobs[type]).join(" and ")} state, ${format.name}`);
    return 0;
  }
  const key = migrationKey(options.migrationKey, warn);
  for (const type of MIGRATION_TYPES) {
    const file = options[type];
    if (file === undefined) {
      if (blobs[type]) warn(`there is a ${type} state, which is not exported: --${type} FILE`);
      continue;
    }
    writeFile(file, encodeMigrationBlob(blobs[type] ?? new Uint8Array(), { migration: key }));
    say(`${file}: ${blobs[type] ? `${type} state` : `no ${type} state`}${key ? ", encrypted" : ""}`);
  }
  return 0;
}

/** Reads the files, checks them, stores them, and gives the exit status. @throws StateError, OptionError */
export async function importCommand(
  to: PlaceOptions,
  options: TransferOptions & { readonly replace?: boolean },
): Promise<number> {
  checkFiles(options);
  const place = await placeOf(to);
  const blobs = await readFiles(options);
  for (const { kind, part, text } of checkState(blobs)) {
    if (kind === "problem") throw new StateError("damaged", `${part} state: ${text}`);
  }
  await writePlace(place, blobs, options);
  say(`${place.uri}: ${BLOB_TYPES.filter((type) => blobs[type]).join(" and ")} state, ${place.format.name}`);
  return 0;
}

function checkFiles({ archive, permanent, volatile, migrationKey: key, archiveKey }: TransferOptions): void {
  const separate = permanent ?? volatile;
  if (archive === undefined && separate === undefined)
    throw new OptionError("which files? --archive FILE, or --permanent FILE and --volatile FILE");
  if (archive !== undefined && separate !== undefined)
    throw new OptionError("--archive holds everything: leave --permanent and --volatile out");
  if (archive !== undefined && key !== undefined)
    throw new OptionError("--migration-key goes with --permanent and --volatile; an archive has --archive-key");
  if (separate !== undefined && archiveKey !== undefined) throw new OptionError("--archive-key goes with --archive");
}

async function readFiles(options: TransferOptions): Promise<StateBlobs> {
  if (options.archive !== undefined)
    return readArchive(readFile(options.archive), await stateFormat(options.archiveKey, warn));
  const key = migrationKey(options.migrationKey, warn);
  const blobs: { permanent?: Uint8Array; volatile?: Uint8Array } = {};
  for (const type of MIGRATION_TYPES) {
    const file = options[type];
    const blob = file === undefined ? undefined : decodeMigrationBlob(readFile(file), false, { migration: key });
    if (blob?.length) blobs[type] = blob;
  }
  return blobs;
}

/** A new file that only its owner reads: it holds the TPM's secrets. What cannot be written whole is not left there. */
function writeFile(file: string, bytes: Uint8Array): void {
  let made = false;
  try {
    const fd = fs.openSync(file, "wx", 0o600);
    made = true;
    try {
      fs.writeFileSync(fd, bytes);
      fs.fsyncSync(fd);
    } finally {
      fs.closeSync(fd);
    }
  } catch (error) {
    if (made) fs.rmSync(file, { force: true });
    throw new StateError("io", `cannot write ${file}: ${(error as Error).message}`, { cause: error });
  }
}

function readFile(file: string): Uint8Array {
  try {
    return new Uint8Array(fs.readFileSync(file));
  } catch (error) {
    throw new StateError("io", `cannot read ${file}: ${(error as Error).message}`, { cause: error });
  }
}
