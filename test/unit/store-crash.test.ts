// Whatever a process or a machine is stopped in the middle of: after it the state is that before or after the command, and never less than
// was acknowledged.
//
// A real engine runs a long script over a store on a simulated disk. At every call that changes the disk all the media are worked out that a
// kill or a power loss at that moment could leave, and the state is opened on each.
import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { TpmClient } from "../../src/codec/client.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { encryptedFormat } from "../../src/state/container.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { AesCbcKey } from "../../src/state/encryption/aes-cbc.ts";
import { LinearStore } from "../../src/state/linear-store.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import { BLOB_TYPES, type Generation, type StateBlobs, type StateStore } from "../../src/state/store.ts";
import { TestHost } from "../support/engine-tpm.ts";
import { type DiskImage, SimulatedDisk } from "../support/faulty-disk.ts";
import { LONG_SCRIPT, observe, type Step } from "../support/faulty-script.ts";
import { swtpmContainer, swtpmLinearStore } from "../support/faulty-swtpm.ts";

const ROOT = "/tpm";
const STARTUP_CLEAR = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x44, 0, 0);

/** A store, and whether a power loss may find it unsynced. */
interface Kind {
  readonly open: (disk: SimulatedDisk) => StateStore;
  readonly synced: boolean;
  /** What is there in the beginning, with the state of a TPM in it; nothing without it. */
  readonly image?: (permanent: Uint8Array) => DiskImage;
}

const directory = (fileSystem: SimulatedDisk) => new DirStore(ROOT, { lock: false, fileSystem });
const linear = (fileSystem: SimulatedDisk) => new LinearStore(`${ROOT}/nvram`, { fileSystem });
const withKey = () => encryptedFormat(new AesCbcKey(Buffer.alloc(32, 7)));

const kinds: Readonly<Record<string, Kind>> = {
  directory: { synced: true, open: directory },
  "directory with backup": {
    synced: true,
    open: (fileSystem) => new DirStore(ROOT, { lock: false, backup: true, fileSystem }),
  },
  "directory without fsync": {
    synced: false,
    open: (fileSystem) => new DirStore(ROOT, { lock: false, fsync: false, fileSystem }),
  },
  "linear file": { synced: true, open: linear },
  "linear file without fsync": {
    synced: false,
    open: (fileSystem) => new LinearStore(`${ROOT}/nvram`, { fsync: false, fileSystem }),
  },
  "directory with a key": {
    synced: true,
    open: (fileSystem) => new DirStore(ROOT, { lock: false, format: withKey(), fileSystem }),
  },
  "linear file with a key": {
    synced: true,
    open: (fileSystem) => new LinearStore(`${ROOT}/nvram`, { format: withKey(), fileSystem }),
  },
  "directory that swtpm left in the middle of a write": {
    synced: true,
    open: directory,
    image: (permanent) =>
      new Map([
        [`${ROOT}/tpm2-00.permall`, swtpmContainer(permanent)],
        [`${ROOT}/TMP2-00.permall`, swtpmContainer(permanent).subarray(0, 500)],
      ]),
  },
  "directory that swtpm left in the middle of a backup": {
    synced: true,
    open: (fileSystem) => new DirStore(ROOT, { lock: false, backup: true, fileSystem }),
    image: (permanent) =>
      new Map([
        [`${ROOT}/tpm2-00.permall`, Buffer.alloc(0)],
        [`${ROOT}/tpm2-00.permall.bak`, swtpmContainer(permanent)],
      ]),
  },
  "linear file of swtpm's": {
    synced: true,
    open: linear,
    image: (permanent) => new Map([[`${ROOT}/nvram`, swtpmLinearStore({ permanent })]]),
  },
};

/** Knows what was acknowledged and what is on its way. */
class Ledger implements StateStore {
  readonly name: string;
  readonly #store: StateStore;
  acknowledged: StateBlobs = {};
  underWay: StateBlobs | undefined;
  commits = 0;

  constructor(store: StateStore) {
    this.name = store.name;
    this.#store = store;
  }
  acquire() {
    return this.#store.acquire();
  }
  release() {
    return this.#store.release();
  }
  load() {
    return this.#store.load();
  }
  commit(next: Generation, fence: number): void {
    this.underWay = next.blobs;
    this.#store.commit(next, fence);
    this.acknowledged = next.blobs;
    this.underWay = undefined;
    this.commits++;
  }
  close() {
    return this.#store.close();
  }
}

function same(one: StateBlobs, other: StateBlobs): boolean {
  return BLOB_TYPES.every((type) => {
    const [a, b] = [one[type], other[type]];
    return a && b ? Buffer.compare(a, b) === 0 : a === b;
  });
}

/** Opens the state on every medium, once on those that are alike, and lets the TPM go on there. */
class Inspector {
  readonly #kind: Kind;
  readonly #ledger: Ledger;
  readonly #seen = new Set<string>();
  readonly failures: string[] = [];
  points = 0;
  media = 0;

  constructor(kind: Kind, ledger: Ledger) {
    this.#kind = kind;
    this.#ledger = ledger;
  }

  inspect(what: string, image: DiskImage): void {
    this.points++;
    const hash = createHash("sha1").update(`${this.#ledger.commits}`);
    for (const [name, content] of image) hash.update(`${name} ${content.length} `).update(content);
    const key = hash.digest("base64");
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    this.media++;

    const failure = this.#failureOn(new SimulatedDisk(ROOT, image));
    if (failure) this.failures.push(`${what}, with ${[...image.keys()].join(" and ")}: ${failure}`);
  }

  #failureOn(disk: SimulatedDisk): string | undefined {
    try {
      const store = this.#kind.open(disk);
      const found = store.load() as Generation;
      const { acknowledged, underWay } = this.#ledger;
      if (!same(found.blobs, acknowledged) && !(underWay && same(found.blobs, underWay)))
        return "what is found is neither the state before nor the one after";
      return this.#failureAfterwards(disk, store, found);
    } catch (error) {
      return (error as Error).message;
    }
  }

  /** The TPM goes on with what was found, and stores something. */
  #failureAfterwards(disk: SimulatedDisk, store: StateStore, found: Generation): string | undefined {
    const next = { number: found.number + 1, blobs: { ...found.blobs, permanent: MARK } };
    const fence = store.acquire() as number;
    store.commit({ ...next, number: (store.load() as Generation).number + 1 }, fence);
    const media = this.#kind.synced ? disk.imagesAfterPowerLoss() : [disk.image()];
    for (const image of media) {
      const { blobs } = this.#kind.open(new SimulatedDisk(ROOT, image)).load() as Generation;
      if (!same(blobs, next.blobs)) return "what is stored afterwards is lost";
    }
    return undefined;
  }
}

const MARK = new Uint8Array(100).fill(0x4d);

/** How much of a write a killed process has done. */
const SHARES = [0.01, 0.03, 0.05, 0.07, 0.09, 0.2, 0.5, 0.75, 0.99];

async function sweep(kind: Kind, script: readonly Step[]) {
  const host = new TestHost("sweep");
  const disk = new SimulatedDisk(ROOT, kind.image?.(await manufactured(host)));
  const ledger = new Ledger(kind.open(disk));
  ledger.acknowledged = ((await kind.open(disk).load()) as Generation).blobs;
  const inspector = new Inspector(kind, ledger);
  const look = (what: string) => {
    inspector.inspect(`killed ${what}`, disk.image());
    if (kind.synced) for (const image of disk.imagesAfterPowerLoss()) inspector.inspect(`power lost ${what}`, image);
  };
  let step = "power-on";
  disk.onCall = ({ name, number, part }) => {
    look(`before call ${number} (${name}), in ${step}`);
    for (const share of part ? SHARES : []) {
      part!(share);
      look(`in call ${number} (${name}, ${share} of it), in ${step}`);
    }
  };

  const backend = createEngineBackend({ store: ledger, host });
  await backend.powerOn();
  await backend.execute(STARTUP_CLEAR, 0);
  const client = new TpmClient((command) => backend.execute(command, 0));
  const observations: { readonly blobs: StateBlobs; readonly seen: string; readonly what: string }[] = [];
  for (const [i, { what, run }] of script.entries()) {
    step = what;
    await run(client);
    if (i % 5 === 4) await backend.storeVolatile();
    look(`after ${step}`);
    observations.push({ blobs: ledger.acknowledged, seen: await observe(client), what });
  }
  await backend.close();
  return { ledger, inspector, observations };
}

describe.each(Object.entries(kinds))("%s", (_name, kind) => {
  test("holds the state before or after, wherever it stops", { timeout: 600_000 }, async () => {
    const { ledger, inspector, observations } = await sweep(kind, LONG_SCRIPT);
    expect(inspector.failures.slice(0, 5)).toEqual([]);
    expect(ledger.commits).toBeGreaterThan(50);
    expect(inspector.points).toBeGreaterThan(kind.synced ? 5000 : 500);

    // What was acknowledged is what a TPM that starts from it shows.
    const known = new Map<string, string>();
    for (const { blobs, seen, what } of observations) {
      const key = createHash("sha1").update(blobs.permanent!).digest("base64");
      const shown = known.get(key) ?? (await restarted(blobs));
      known.set(key, shown);
      expect(shown, what).toBe(seen);
    }
    expect(known.size).toBeGreaterThan(30);
  });
});

test("without syncs the simulated disk loses states: the sweep would notice", async () => {
  const open = (fileSystem: SimulatedDisk) => new DirStore(ROOT, { lock: false, fsync: false, fileSystem });
  const { inspector } = await sweep({ synced: true, open }, LONG_SCRIPT.slice(0, 5));
  expect(inspector.failures.length).toBeGreaterThan(10);
});

async function manufactured(host: TestHost): Promise<Uint8Array> {
  const store = new MemoryStore();
  const backend = createEngineBackend({ store, host });
  await backend.powerOn();
  await backend.close();
  return store.load().blobs.permanent!;
}

async function restarted({ permanent }: StateBlobs): Promise<string> {
  const backend = createEngineBackend({
    store: new MemoryStore({ permanent: permanent! }),
    host: new TestHost("again"),
  });
  await backend.powerOn();
  await backend.execute(STARTUP_CLEAR, 0);
  const seen = await observe(new TpmClient((command) => backend.execute(command, 0)));
  await backend.close();
  return seen;
}
