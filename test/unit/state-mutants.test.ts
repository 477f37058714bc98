// State files that are cut off, flipped, spliced or made up: an error in a sentence, or a whole TPM; never a trap, never half of one.
//
// WTPM_TEST_MUTANTS=20000 tries more of them: that many for each kind of file, some minutes.
import { describe, expect, test } from "vitest";
import { type Backend, BackendError } from "../../src/backend/backend.ts";
import { TpmClient, TpmError } from "../../src/codec/client.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { plainFormat } from "../../src/state/container.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { LinearStore } from "../../src/state/linear-store.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import type { StateBlobs, StateStore } from "../../src/state/store.ts";
import { TestHost } from "../support/engine-tpm.ts";
import { type DiskImage, SimulatedDisk } from "../support/faulty-disk.ts";
import { mutant } from "../support/faulty-mutants.ts";
import { LONG_SCRIPT, observe, SHORT_SCRIPT, type Step } from "../support/faulty-script.ts";
import { swtpmContainer, swtpmLinearStore } from "../support/faulty-swtpm.ts";
import { Seeded } from "../support/seeded.ts";

const MUTANTS = Number(process.env.WTPM_TEST_MUTANTS ?? 300);
const ROOT = "/tpm";
const STARTUP_CLEAR = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);
const MAX_SENTENCE = 400;

/** The blobs of a TPM after a script, and a volatile state. */
async function blobsAfter(script: readonly Step[]): Promise<Required<Pick<StateBlobs, "permanent" | "volatile">>> {
  const store = new MemoryStore();
  const backend = createEngineBackend({ store, host: new TestHost("mutants") });
  await backend.powerOn();
  await backend.execute(STARTUP_CLEAR, 0);
  const client = new TpmClient((command) => backend.execute(command, 0));
  for (const { run } of script) await run(client);
  await backend.storeVolatile();
  const { permanent, volatile } = store.load().blobs;
  await backend.close();
  return { permanent: permanent!, volatile: volatile! };
}

/** Where a mutant is put: a disk on which the file of that name is the one to change. */
interface Target {
  readonly file: string;
  readonly image: (blobs: Required<Pick<StateBlobs, "permanent" | "volatile">>) => DiskImage;
  readonly open: (disk: SimulatedDisk) => StateStore;
}

const inDirectory = (fileSystem: SimulatedDisk) => new DirStore(ROOT, { lock: false, fileSystem });
const inFile = (fileSystem: SimulatedDisk) => new LinearStore(`${ROOT}/nvram`, { fileSystem });
const PERMALL = `${ROOT}/tpm2-00.permall`;
const VOLATILE = `${ROOT}/tpm2-00.volatilestate`;

const targets: Readonly<Record<string, Target>> = {
  "a permanent state": {
    file: PERMALL,
    open: inDirectory,
    image: ({ permanent }) => new Map([[PERMALL, Buffer.from(plainFormat.encode("permanent", permanent, 7))]]),
  },
  "a permanent state of swtpm's, without checksum": {
    file: PERMALL,
    open: inDirectory,
    image: ({ permanent }) => new Map([[PERMALL, swtpmContainer(permanent)]]),
  },
  "a volatile state of swtpm's beside a good permanent one": {
    file: VOLATILE,
    open: inDirectory,
    image: ({ permanent, volatile }) =>
      new Map([
        [PERMALL, swtpmContainer(permanent)],
        [VOLATILE, swtpmContainer(volatile)],
      ]),
  },
  "a linear file": {
    file: `${ROOT}/nvram`,
    open: inFile,
    image: (blobs) => {
      const disk = new SimulatedDisk(ROOT);
      const store = inFile(disk);
      const fence = store.acquire();
      store.commit({ number: 1, blobs: { permanent: blobs.permanent } }, fence);
      store.commit({ number: 2, blobs }, fence);
      return disk.image();
    },
  },
  "a linear file of swtpm's": {
    file: `${ROOT}/nvram`,
    open: inFile,
    image: (blobs) => new Map([[`${ROOT}/nvram`, swtpmLinearStore(blobs)]]),
  },
};

/** What became of a mutant: "refused" with a sentence, or "started" as a TPM that works. */
async function outcomeOf(store: StateStore): Promise<"refused" | "started"> {
  const warnings: string[] = [];
  const backend = createEngineBackend({ store, host: new TestHost("mutant"), warn: (text) => warnings.push(text) });
  try {
    await backend.powerOn();
  } catch (error) {
    if (!(error instanceof BackendError)) throw error;
    expect(error.kind).toBe("bad-state");
    expect(error.message).toMatch(/^[^\n]{20,}$/);
    expect(error.message.length).toBeLessThan(MAX_SENTENCE);
    return "refused";
  }
  await exercise(backend);
  expect(warnings).toEqual([]);
  await backend.close();
  return "started";
}

/** It answers what it is asked, and what it saves is a state. */
async function exercise(backend: Backend): Promise<void> {
  await backend.execute(STARTUP_CLEAR, 0);
  const client = new TpmClient((command) => backend.execute(command, 0));
  await observe(client).catch((error: unknown) => {
    if (!(error instanceof TpmError) || error.parts.name === "TPM_RC_FAILURE") throw error;
  });
  const permanent = await backend.getState("permanent");
  const copy = createEngineBackend({ store: new MemoryStore({ permanent }), host: new TestHost("copy") });
  await copy.powerOn();
  await copy.close();
}

describe.each(Object.entries(targets))("%s", (name, { file, image, open }) => {
  test(`goes wrong in ${MUTANTS} ways`, { timeout: 120_000 + 100 * MUTANTS }, async () => {
    const random = new Seeded(`mutants of ${name}`);
    const images = [image(await blobsAfter(SHORT_SCRIPT)), image(await blobsAfter(LONG_SCRIPT.slice(0, 25)))];
    const counts = { refused: 0, started: 0 };
    for (let i = 0; i < MUTANTS; i++) {
      const [whole, other] = i % 2 === 0 ? [images[0]!, images[1]!] : [images[1]!, images[0]!];
      const changed = mutant(whole.get(file)!, other.get(file)!, random);
      try {
        counts[await outcomeOf(open(new SimulatedDisk(ROOT, new Map([...whole, [file, changed]]))))]++;
      } catch (error) {
        throw new Error(`mutant ${i}: ${(error as Error).message}\n${changed.toString("hex")}`, { cause: error });
      }
    }
    expect(counts.refused).toBeGreaterThan(MUTANTS / 10);
  });
});
