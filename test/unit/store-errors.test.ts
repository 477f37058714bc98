// A disk that refuses: at every call of a script, with every error, for once or for good. The command fails as the specification demands, the
// TPM is in failure mode until it starts again, and goes on from what was acknowledged.
import { describe, expect, test } from "vitest";
import { TpmClient, TpmError } from "../../src/codec/client.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { LinearStore } from "../../src/state/linear-store.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import type { StateStore } from "../../src/state/store.ts";
import { TestHost } from "../support/engine-tpm.ts";
import { SimulatedDisk, systemError } from "../support/faulty-disk.ts";
import { observe, SHORT_SCRIPT } from "../support/faulty-script.ts";

const ROOT = "/tpm";
const STARTUP_CLEAR = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);

const kinds: Readonly<Record<string, (fileSystem: SimulatedDisk) => StateStore>> = {
  directory: (fileSystem) => new DirStore(ROOT, { lock: false, fileSystem }),
  "directory with backup": (fileSystem) => new DirStore(ROOT, { lock: false, backup: true, fileSystem }),
  "linear file": (fileSystem) => new LinearStore(`${ROOT}/nvram`, { fileSystem }),
};

/** What the disk does from a call on. */
interface Trouble {
  readonly code: string;
  /** It goes on until it is repaired. */
  readonly lasting: boolean;
  /** Reading fails too. */
  readonly reads: boolean;
}

const troubles: readonly Trouble[] = [
  ...["ENOSPC", "EIO", "EROFS"].flatMap((code) => [true, false].map((lasting) => ({ code, lasting, reads: false }))),
  // The directory has vanished, or the disk with it.
  { code: "ENOENT", lasting: true, reads: true },
  { code: "EIO", lasting: true, reads: true },
];

/** A disk that gets into trouble at a call. */
class TroubledDisk extends SimulatedDisk {
  struck = false;
  #repaired = false;

  constructor(strikeAt: number, { code, lasting, reads }: Trouble) {
    super(ROOT);
    let calls = 0;
    const strike = (changes: boolean) => {
      const first = !this.struck && changes && calls++ === strikeAt;
      this.struck ||= first;
      if (first || (this.struck && lasting && !this.#repaired && (changes || reads))) throw systemError(code, "disk");
    };
    this.onCall = ({ part }) => {
      // A disk that is full takes what it has room for.
      if (code === "ENOSPC" && !this.struck && calls === strikeAt) part?.(0.5);
      strike(true);
    };
    this.onRead = () => strike(false);
  }

  repair(): void {
    this.#repaired = true;
  }
}

/** What a step leaves to be seen, by its position. */
async function observations(): Promise<string[]> {
  const backend = createEngineBackend({ store: new MemoryStore(), host: new TestHost("errors") });
  const client = new TpmClient((command) => backend.execute(command, 0));
  await backend.powerOn();
  await backend.execute(STARTUP_CLEAR, 0);
  const seen = [await observe(client)];
  for (const { run } of SHORT_SCRIPT) {
    await run(client);
    seen.push(await observe(client));
  }
  await backend.close();
  return seen;
}

const isFailureMode = (error: unknown) => error instanceof TpmError && error.parts.name === "TPM_RC_FAILURE";

/** Runs the script on the disk; false when the trouble comes after its end. */
async function struck(
  open: (disk: SimulatedDisk) => StateStore,
  disk: TroubledDisk,
  lasting: boolean,
  seen: readonly string[],
): Promise<boolean> {
  const warnings: string[] = [];
  const backend = createEngineBackend({
    store: open(disk),
    host: new TestHost("errors"),
    warn: (sentence) => warnings.push(sentence),
  });
  const client = new TpmClient((command) => backend.execute(command, 0));
  try {
    await backend.powerOn();
  } catch (error) {
    // It never started: nothing was promised. It starts once the disk is well.
    expect(error).toMatchObject({ name: "BackendError", kind: "storage" });
    disk.repair();
    await backend.powerOn();
    await backend.execute(STARTUP_CLEAR, 0);
    expect(await observe(client)).toBe(seen[0]);
    await backend.close();
    return true;
  }
  let acknowledged = 0;
  let failed = false;
  try {
    const startup = await backend.execute(STARTUP_CLEAR, 0);
    if (startup[9] === 1) throw new TpmError("Startup", 0x101);
    for (const { run } of SHORT_SCRIPT) {
      await run(client);
      acknowledged++;
    }
  } catch (error) {
    if (!isFailureMode(error)) throw error;
    failed = true;
  }
  if (!disk.struck) {
    await backend.close();
    return false;
  }
  if (failed) {
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(
      /failure mode until it is started again: the state could not be stored: .*(disk|vanished)/,
    );
    // Nothing is let out that could not be kept.
    await expect(observe(client)).rejects.toSatisfy(isFailureMode);
    if (lasting) disk.repair();
    await backend.powerOn();
    await backend.execute(STARTUP_CLEAR, 0);
  } else disk.repair();
  const possible = [seen[acknowledged], ...(failed ? [seen[acknowledged + 1]] : [])];
  expect(possible).toContain(await observe(client));

  // It goes on, and what is acknowledged now is there for the next process.
  const present = await observe(client);
  await client.command("HierarchyChangeAuth", {
    handles: { authHandle: "ENDORSEMENT" },
    parameters: { newAuth: "aa" },
  });
  await backend.close();
  const again = createEngineBackend({
    store: open(new SimulatedDisk(ROOT, disk.image())),
    host: new TestHost("again"),
  });
  await again.powerOn();
  await again.execute(STARTUP_CLEAR, 0);
  const restarted = new TpmClient((command) => again.execute(command, 0));
  expect(await observe(restarted)).toBe(present);
  await expect(
    restarted.command("HierarchyChangeAuth", {
      handles: { authHandle: { handle: 0x4000000b, auth: "aa" } },
      parameters: { newAuth: "" },
    }),
  ).resolves.toBeDefined();
  await again.close();
  return true;
}

describe.each(Object.entries(kinds))("%s", (_name, open) => {
  test.each(troubles)("$code, lasting: $lasting, reads: $reads", async (trouble) => {
    const seen = await observations();
    let points = 0;
    for (;;) {
      const disk = new TroubledDisk(points, trouble);
      if (!(await struck(open, disk, trouble.lasting, seen))) break;
      points++;
    }
    expect(points).toBeGreaterThan(40);
  });

  test("a disk that takes seven bytes at a time loses nothing", async () => {
    const disk = new SimulatedDisk(ROOT);
    disk.longestWrite = 7;
    const backend = createEngineBackend({ store: open(disk), host: new TestHost("errors") });
    await backend.powerOn();
    await backend.execute(STARTUP_CLEAR, 0);
    const client = new TpmClient((command) => backend.execute(command, 0));
    for (const { run } of SHORT_SCRIPT) await run(client);
    await backend.close();
    const again = createEngineBackend({ store: open(new SimulatedDisk(ROOT, disk.image())) });
    await again.powerOn();
    await again.execute(STARTUP_CLEAR, 0);
    expect(await observe(new TpmClient((command) => again.execute(command, 0)))).toBe((await observations()).at(-1));
    await again.close();
  });

  test("what reads back as something else is not relied on", async () => {
    const disk = new SimulatedDisk(ROOT);
    const store = open(disk);
    const fence = await store.acquire();
    await store.load();
    await store.commit({ number: 1, blobs: { permanent: Uint8Array.of(1) } }, fence);
    const before = disk.image();
    const read = disk.readSync.bind(disk);
    disk.readSync = (fd, bytes, at, length, offset) => {
      const size = read(fd, bytes, at, length, offset);
      // What is read back, and not the header.
      if (length !== 512) bytes[at + length - 1]! ^= 1;
      return size;
    };
    const second = { number: 2, blobs: { permanent: new Uint8Array(300) } };
    expect(() => store.commit(second, fence)).toThrow(/does not hold what was written/);
    disk.readSync = read;
    const found = await open(new SimulatedDisk(ROOT, disk.image())).load();
    expect([...found.blobs.permanent!]).toEqual([1]);
    expect(before.size).toBeLessThanOrEqual(disk.image().size);
  });
});
