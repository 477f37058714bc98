// `wtpm state …` inside the test process, and places with a filled TPM for it.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, vi } from "vitest";
import { commandLine } from "../../src/cli/commands.ts";
import { plainFormat } from "../../src/state/container.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import type { StateFormat } from "../../src/state/format.ts";
import { decodePermanent, type PermanentState } from "../../src/state/libtpms/permanent.ts";
import type { StateBlobs } from "../../src/state/store.ts";
import { EngineTpm, type EngineTpmOptions } from "./engine-tpm.ts";
import { fillTpm } from "./state-filled.ts";

export interface CommandResult {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `wtpm state` with these words. */
export async function wtpmState(...words: string[]): Promise<CommandResult> {
  const printed = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) =>
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      printed[name] += String(text);
      return true;
    }),
  );
  try {
    const status = await commandLine(["state", ...words], () => Promise.reject(new Error("no TPM is to be run")));
    return { status, ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** A filled TPM, shut down. */
export async function filledTpm(options: EngineTpmOptions = {}): Promise<EngineTpm> {
  const tpm = new EngineTpm(options);
  await fillTpm(tpm.client);
  tpm.shutdown("CLEAR");
  return tpm;
}

/** Stores a state in a directory, which is made. */
export function storeIn(directory: string, blobs: StateBlobs, format: StateFormat = plainFormat): void {
  mkdirSync(directory, { recursive: true });
  const store = new DirStore(directory, { format });
  const fence = store.acquire();
  store.commit({ number: store.load().number + 1, blobs }, fence);
  store.close();
}

/** What a directory holds. */
export function loadFrom(directory: string, format: StateFormat = plainFormat): StateBlobs {
  const { blobs } = new DirStore(directory, { format, readOnly: true }).load();
  return Object.fromEntries(Object.entries(blobs).map(([type, blob]) => [type, new Uint8Array(blob)]));
}

/** Names and bytes of all that is in a directory. */
export const listing = (directory: string): [string, string][] =>
  readdirSync(directory).map((name) => [name, readFileSync(path.join(directory, name), "hex")]);

export interface Places {
  /** A directory with the state of a filled TPM, new for each test. */
  readonly dir: string;
  readonly permanent: Uint8Array;
  /** What it holds, decoded. */
  readonly state: PermanentState;
  /** A file with a passphrase. */
  readonly passphrase: string;
  /** A path that nothing has yet. */
  fresh(): string;
}

/** Gives the tests of a file places of state. */
export function usePlaces(): Places {
  let number = 0;
  const root = mkdtempSync(path.join(tmpdir(), "wtpm-state-command-"));
  const fresh = () => path.join(root, `place-${number++}`);
  const places = { dir: "", permanent: new Uint8Array(), passphrase: path.join(root, "passphrase"), fresh } as {
    -readonly [Name in keyof Places]: Places[Name];
  };
  beforeAll(async () => {
    writeFileSync(places.passphrase, "correct horse battery staple");
    places.permanent = (await filledTpm()).save().permanent;
    places.state = decodePermanent(places.permanent);
  });
  beforeEach(() => {
    places.dir = fresh();
    storeIn(places.dir, { permanent: places.permanent });
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));
  return places;
}
