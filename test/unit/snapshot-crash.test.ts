// The repository of snapshots against a model, and at every place where a process or a machine can stop.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { plainFormat } from "../../src/state/container.ts";
import type { SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import { StateError } from "../../src/state/store.ts";
import { Disk } from "../support/snapshot-disk.ts";
import { capture, FOLDER, repositoryOn, restore, shape, stateOf, textOf } from "../support/snapshot-repository.ts";

type Step =
  | { readonly kind: "change"; readonly to: string }
  | {
      readonly kind: "create" | "delete" | "delete all" | "prune" | "restore" | "restore without undo";
      readonly pick: number;
    };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ kind: fc.constant("change" as const), to: fc.constantFrom("1", "2", "3", "4") }),
  fc.record({
    kind: fc.constantFrom(
      "create" as const,
      "create" as const,
      "delete" as const,
      "delete all" as const,
      "prune" as const,
      "restore" as const,
      "restore without undo" as const,
    ),
    pick: fc.nat(1000),
  }),
);

/** The same as a repository and a state, as plainly as it can be said. */
class Model {
  state = "0";
  head: string | undefined;
  snapshots: { name: string; parent: string | undefined; state: string; undo: boolean }[] = [];

  names(): string[] {
    return this.snapshots.map(({ name }) => name);
  }
  #add(name: string, undo = false): void {
    this.snapshots.push({ name, parent: this.head, state: this.state, undo });
  }
  create(name: string): void {
    this.#add(name);
    this.head = name;
  }
  restore(name: string, auto?: string): void {
    if (auto !== undefined && !this.snapshots.some(({ state }) => state === this.state)) this.#add(auto, true);
    this.state = this.snapshots.find((snapshot) => snapshot.name === name)!.state;
    this.head = name;
  }
  prune(keep: number): void {
    const undo = this.snapshots.filter(({ name, undo }) => undo && name !== this.head);
    while (undo.length > keep) this.delete(undo.shift()!.name, false);
  }
  delete(name: string, all: boolean): void {
    const children = this.snapshots.filter(({ parent }) => parent === name);
    if (all) for (const child of children) this.delete(child.name, true);
    const gone = this.snapshots.find((snapshot) => snapshot.name === name)!;
    this.snapshots = this.snapshots.filter((snapshot) => snapshot !== gone);
    for (const snapshot of this.snapshots) if (snapshot.parent === name) snapshot.parent = gone.parent;
    if (this.head === name) this.head = gone.parent;
  }
}

test("any sequence of changes, snapshots, restores and deletions is as in the model", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const disk = new Disk("/state");
      const model = new Model();
      steps.forEach((step, number) => {
        // Each step is a process of its own.
        const repository = repositoryOn(disk, { now: () => number * 1000 });
        if (step.kind === "change") {
          model.state = step.to;
          return;
        }
        if (step.kind === "create") {
          const { name } = repository.create(capture(model.state));
          model.create(name);
          return;
        }
        if (step.kind === "prune") {
          repository.prune(step.pick % 3);
          model.prune(step.pick % 3);
          return;
        }
        const name = model.names()[step.pick % model.names().length];
        if (name === undefined) return;
        if (step.kind === "restore" || step.kind === "restore without undo") {
          const undo = step.kind === "restore";
          restore(repository, name, undo ? stateOf(model.state) : undefined);
          const auto = `auto-${new Date(number * 1000).toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}`;
          model.restore(name, undo ? auto : undefined);
        } else {
          repository.delete(name, { descendants: step.kind === "delete all" });
          model.delete(name, step.kind === "delete all");
        }
        const index = repository.index();
        expect(index?.head).toBe(model.head);
        expect(index?.snapshots.map(({ name, parent }) => ({ name, parent }))).toEqual(
          model.snapshots.map(({ name, parent }) => ({ name, parent })),
        );
        for (const { name, state } of model.snapshots)
          expect(textOf(repository.load(name).blobs)).toEqual([state, undefined]);
        expect(disk.usage(`${FOLDER}/objects`).files).toBe(new Set(model.snapshots.map(({ state }) => state)).size);
      });
    }),
    { numRuns: 300 },
  );
});

/** A repository with some history; the changes begin with it. */
function prepared(): Disk {
  const disk = new Disk("/state");
  const repository = repositoryOn(disk);
  for (const name of ["a", "b", "c"]) repository.create(capture(`state ${name}`, "v"), { name });
  disk.calls = 0;
  return disk;
}

/** With snapshots that restores made. */
function restored(): Disk {
  const disk = prepared();
  const repository = repositoryOn(disk);
  for (const name of ["a", "b", "c"]) restore(repository, name, stateOf(`before ${name}`, "w"));
  return disk;
}

const contents = (repository: SnapshotRepository) =>
  JSON.stringify([
    shape(repository.index()),
    repository.index()?.restoring,
    (repository.index()?.snapshots ?? []).map(({ name }) => textOf(repository.load(name).blobs)),
  ]);

const changes: [string, () => Disk, (repository: SnapshotRepository) => unknown][] = [
  ["the first create", () => new Disk("/state"), (r) => r.create(capture("p", "v"), { name: "n" })],
  ["create", prepared, (r) => r.create(capture("p", "v"), { name: "n" })],
  ["create of an equal state", prepared, (r) => r.create(capture("state a", "v"), { name: "n" })],
  ["the begin of a restore", prepared, (r) => r.beginRestore("a", { keep: capture("p", "w") })],
  ["delete", prepared, (r) => r.delete("b")],
  ["delete with descendants", prepared, (r) => r.delete("b", { descendants: true })],
  ["prune", restored, (r) => r.prune(1)],
  ["another key", prepared, (r) => r.convert(plainFormat)],
];

describe.each(changes)("%s", (_name, prepare, change) => {
  const disk = prepare();
  const before = contents(repositoryOn(disk));
  disk.calls = 0;
  change(repositoryOn(disk));
  const { calls } = disk;
  const after = contents(repositoryOn(disk));

  test(`a process that ends at any of ${calls} calls leaves the repository before or after`, () => {
    let unchanged = 0;
    for (let call = 1; call <= calls; call++) {
      const disk = prepare();
      disk.calls = 0;
      disk.dead = call;
      try {
        change(repositoryOn(disk));
      } catch (error) {
        expect(error).toBeInstanceOf(StateError);
      }
      disk.kill();
      const found = contents(repositoryOn(disk));
      expect([before, after], `call ${call}`).toContain(found);
      if (found === before) unchanged++;
      // It goes on, and cleans up.
      const repository = repositoryOn(disk);
      repository.create(capture("next"), { name: "next" });
      const named = new Set(repository.index()!.snapshots.flatMap(({ objects }) => Object.values(objects)));
      expect(disk.usage(`${FOLDER}/objects`).files).toBe(named.size);
    }
    expect(unchanged).toBeGreaterThan(0);
  });

  test("a call that fails is an error and leaves the repository before, or it is not known", () => {
    for (let call = 1; call <= calls; call++) {
      const disk = prepare();
      disk.calls = 0;
      disk.failing = call;
      let kind: string | undefined;
      try {
        change(repositoryOn(disk));
      } catch (error) {
        expect(error).toBeInstanceOf(StateError);
        kind = (error as StateError).kind;
      }
      disk.kill();
      const found = contents(repositoryOn(disk));
      if (kind === undefined) expect(found, `call ${call}`).toBe(after);
      else if (kind === "io") expect(found, `call ${call}`).toBe(before);
      else expect([before, after], `call ${call}`).toContain(found);
    }
  });

  test("a power loss at any call, whatever was written of the rest, leaves the repository before or after", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: calls + 1 }), fc.infiniteStream(fc.boolean()), (call, choices) => {
        const disk = prepare();
        disk.calls = 0;
        disk.dead = call;
        try {
          change(repositoryOn(disk));
        } catch (error) {
          expect(error).toBeInstanceOf(StateError);
        }
        disk.losePower(() => choices.next().value as boolean);
        const found = contents(repositoryOn(disk));
        if (call > calls) expect(found).toBe(after);
        else expect([before, after]).toContain(found);
        repositoryOn(disk).create(capture("next"), { name: "next" });
        expect(repositoryOn(disk).load("next").snapshot.name).toBe("next");
      }),
      { numRuns: 500 },
    );
  });
});
