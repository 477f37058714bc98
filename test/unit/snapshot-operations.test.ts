// Keeping and restoring the state of a stopped TPM: the store and the repository together, against a model, and stopped at any call.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DirStore } from "../../src/state/dir-store.ts";
import { LinearStore } from "../../src/state/linear-store.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import {
  createSnapshot,
  deleteSnapshot,
  pruneSnapshots,
  restoreSnapshot,
  type SnapshotSubject,
  withStoredTpm,
} from "../../src/state/snapshot/operations.ts";
import { SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import { type StateBlobs, StateError, type StateStore } from "../../src/state/store.ts";
import { DiskError, Disk } from "../support/snapshot-disk.ts";
import { type DiskImage, SimulatedDisk } from "../support/faulty-disk.ts";

const ROOT = "/tpm";
const blobs = (permanent: string, volatile?: string): StateBlobs => ({
  permanent: new TextEncoder().encode(permanent),
  ...(volatile === undefined ? {} : { volatile: new TextEncoder().encode(volatile) }),
});
const textOf = ({ permanent, volatile }: StateBlobs) =>
  [permanent, volatile].map((blob) => blob && new TextDecoder().decode(blob)).join("|");

const stores: Readonly<Record<string, (disk: SimulatedDisk) => StateStore>> = {
  "a directory": (fileSystem) => new DirStore(ROOT, { lock: false, fileSystem }),
  "a single file": (fileSystem) => new LinearStore(`${ROOT}/nvram`, { fileSystem }),
};

/** A state and its snapshots on two simulated disks; each use is a process of its own. */
class Place {
  readonly #open: (disk: SimulatedDisk) => StateStore;
  readonly snapshots: Disk;
  state: SimulatedDisk;

  constructor(open: (disk: SimulatedDisk) => StateStore, snapshots = new Disk("/s"), image?: DiskImage) {
    this.#open = open;
    this.snapshots = snapshots;
    this.state = new SimulatedDisk(ROOT, image);
  }

  get repository(): SnapshotRepository {
    return new SnapshotRepository("/s/snapshots", { fileSystem: this.snapshots.fileSystem, now: () => 0 });
  }

  use<T>(work: (subject: SnapshotSubject, repository: SnapshotRepository) => Promise<T>): Promise<T> {
    return withStoredTpm(this.#open(this.state), (subject) => work(subject, this.repository));
  }

  change(state: StateBlobs): Promise<void> {
    return this.use(async (subject) => subject.replace(state));
  }

  /** What the next process finds, when it has noted what the one before did. */
  async found(): Promise<{ state: string; head: string | undefined; names: string[] }> {
    return this.use(async (subject, repository) => {
      const stored = await subject.stored();
      repository.settle(stored);
      const index = repository.index();
      for (const { name } of index?.snapshots ?? []) repository.load(name);
      return { state: textOf(stored), head: index?.head, names: (index?.snapshots ?? []).map(({ name }) => name) };
    });
  }
}

const AUTO = "auto-19700101-000000";

/** Snapshots a (with a volatile state), b and c, of which a state d came. */
async function prepared(open: (disk: SimulatedDisk) => StateStore): Promise<Place> {
  const place = new Place(open);
  for (const name of ["a", "b", "c"]) {
    await place.change(blobs(`state ${name}`, name === "a" ? "volatile a" : undefined));
    await place.use((subject, repository) => createSnapshot(repository, subject, { name }));
  }
  await place.change(blobs("state d", "volatile d"));
  return place;
}

type Found = Awaited<ReturnType<Place["found"]>>;
const before: Found = { state: "state d|volatile d", head: "c", names: ["a", "b", "c"] };

interface Operation {
  readonly run: (subject: SnapshotSubject, repository: SnapshotRepository) => Promise<unknown>;
  /** What is found in the end, and what else may be when it is stopped. */
  readonly after: Found;
  readonly between?: readonly Found[];
}

const operations: Readonly<Record<string, Operation>> = {
  create: {
    run: (subject, repository) => createSnapshot(repository, subject, { name: "n" }),
    after: { ...before, head: "n", names: ["a", "b", "c", "n"] },
  },
  restore: {
    run: (subject, repository) => restoreSnapshot(repository, subject, "a"),
    after: { state: "state a|volatile a", head: "a", names: ["a", "b", "c", AUTO] },
    // Kept, and not restored yet.
    between: [{ ...before, names: ["a", "b", "c", AUTO] }],
  },
  "restore without undo": {
    run: (subject, repository) => restoreSnapshot(repository, subject, "b", { undo: false }),
    after: { state: "state b|", head: "b", names: ["a", "b", "c"] },
  },
  "delete of what it came from": {
    run: (subject, repository) => deleteSnapshot(repository, subject, "c"),
    after: { ...before, head: "b", names: ["a", "b"] },
  },
};

test("what a restore that broke off has done is known before undo snapshots are forgotten", async () => {
  const place = await prepared(stores["a directory"]!);
  await place.use(async (subject, repository) => {
    repository.beginRestore("a", { keep: { blobs: await subject.stored(), running: false } });
    await subject.replace(repository.load("a").blobs);
  });
  await place.use((subject, repository) => pruneSnapshots(repository, subject));
  expect(await place.found()).toEqual({ state: "state a|volatile a", head: "a", names: ["a", "b", "c"] });
});

describe.each(Object.entries(stores))("in %s", (_where, open) => {
  describe.each(Object.entries(operations))("%s", (_name, { run, after, between = [] }) => {
    const possible = [before, ...between, after].map((found) => JSON.stringify(found));

    /** Runs it and stops it at a call to either disk. */
    async function stoppedAt(call: number): Promise<{ place: Place; calls: number; done: boolean; image: DiskImage }> {
      const place = await prepared(open);
      let calls = 0;
      const count = () => {
        if (++calls >= call) throw new DiskError("EIO", "the process is dead");
      };
      place.snapshots.onCall = count;
      place.state.onCall = count;
      let done = true;
      try {
        await place.use(run);
      } catch (error) {
        expect(error).toBeInstanceOf(StateError);
        done = false;
      }
      return { place, calls, done, image: place.state.image() };
    }

    test("a process that ends at any call leaves what was before, what is after, or a step between", async () => {
      const { calls, done } = await stoppedAt(Number.POSITIVE_INFINITY);
      expect(done).toBe(true);
      for (let call = 1; call <= calls; call++) {
        const { place, image } = await stoppedAt(call);
        place.snapshots.kill();
        const next = new Place(open, place.snapshots, image);
        const found = JSON.stringify(await next.found());
        expect(possible, `call ${call} of ${calls}`).toContain(found);
        // The same once more ends well.
        if (found !== possible.at(-1)) await next.use(run).catch((error) => expect(error.kind).toBe("exists"));
      }
    });

    test("so does a power loss, whatever was written of the rest", async () => {
      const { calls } = await stoppedAt(Number.POSITIVE_INFINITY);
      for (let call = 1; call <= calls + 1; call++) {
        const { place, done } = await stoppedAt(call);
        const images = distinct(place.state.imagesAfterPowerLoss());
        let coin = call;
        for (const image of images) {
          const { place: again } = await stoppedAt(call);
          again.snapshots.losePower(() => {
            coin = (coin * 1_103_515_245 + 12_345) & 0x7fff_ffff;
            return coin > 0x4000_0000;
          });
          const found = JSON.stringify(await new Place(open, again.snapshots, image).found());
          if (done) expect(found).toBe(possible.at(-1));
          else expect(possible, `call ${call} of ${calls}`).toContain(found);
        }
      }
    });
  });
});

/** Each image once. */
function distinct(images: Iterable<DiskImage>): DiskImage[] {
  const text = (image: DiskImage) =>
    [...image]
      .map(([name, content]) => `${name} ${content.toString("latin1")}`)
      .sort()
      .join();
  return [...new Map([...images].map((image) => [text(image), image])).values()];
}

type Step =
  | { readonly kind: "change"; readonly permanent: string; readonly volatile: string | undefined }
  | { readonly kind: "create" }
  | { readonly kind: "restore"; readonly pick: number; readonly cold: boolean; readonly undo: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constant("change" as const),
    permanent: fc.constantFrom("1", "2", "3"),
    volatile: fc.constantFrom(undefined, "v", "w"),
  }),
  fc.record({ kind: fc.constant("create" as const) }),
  fc.record({ kind: fc.constant("restore" as const), pick: fc.nat(1000), cold: fc.boolean(), undo: fc.boolean() }),
);

test("any sequence of changes, snapshots and restores leaves the state that the model says", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const disk = new Disk("/s");
      const store = new MemoryStore({ ...blobs("0") });
      let state = "0|";
      let resumes: string | undefined;
      const states = new Map<string, string>();
      for (const [number, step] of steps.entries()) {
        const repository = new SnapshotRepository("/s/snapshots", {
          fileSystem: disk.fileSystem,
          now: () => number * 1000,
        });
        await withStoredTpm(store, async (subject) => {
          if (step.kind === "change") {
            await subject.replace(blobs(step.permanent, step.volatile));
            state = `${step.permanent}|${step.volatile ?? ""}`;
          } else if (step.kind === "create") {
            states.set((await createSnapshot(repository, subject)).name, state);
          } else if (states.size > 0) {
            const [name, wanted] = [...states][step.pick % states.size]!;
            const { kept, resumes: goesOn } = await restoreSnapshot(repository, subject, name, step);
            if (step.undo) expect(states.get(kept!) ?? state).toBe(state);
            else expect(kept).toBeUndefined();
            if (kept !== undefined) states.set(kept, state);
            state = step.cold ? `${wanted.split("|")[0]}|` : wanted;
            expect(goesOn).toBe(!state.endsWith("|"));
            resumes = goesOn ? state.split("|")[1] : undefined;
            expect(repository.index()?.head).toBe(name);
          }
          const stored = await subject.stored();
          expect(textOf(stored)).toBe(state);
          const volatile = state.split("|")[1];
          expect(repository.resumes(stored)).toBe(volatile !== "" && volatile === resumes);
        });
      }
    }),
    { numRuns: 300 },
  );
});
