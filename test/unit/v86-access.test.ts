// Whatever a guest reads and writes where its TPM is, nothing throws.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { attachTpm } from "../../bindings/v86/index.ts";
import type { Backend } from "../../src/backend/backend.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import { FakeEmulator, withMember } from "../support/v86-fake.ts";

const BASE = 0xfed40000;
/** The device's block and the log's. */
const RANGE = 0x40000;

/** Mostly registers and buffers, but any address of both blocks. */
const address = fc.oneof(
  fc.integer({ min: 0, max: 0x100 }),
  fc.tuple(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 0x90 })).map(([page, at]) => page * 0x1000 + at),
  fc.integer({ min: 0xf00, max: 0x1010 }),
  fc.integer({ min: 0x4ff0, max: 0x5410 }),
  fc.integer({ min: 0, max: RANGE - 1 }),
);
const value = fc.oneof(fc.constantFrom(0, 1, 2, 8, 0x20, 0x40, 0x80, 0x8001, -1), fc.integer());
const access = fc.oneof(
  fc.record({ kind: fc.constant("load" as const), address, size: fc.constantFrom<1 | 2 | 4>(1, 2, 4) }),
  fc.record({
    kind: fc.constant("store" as const),
    address,
    size: fc.constantFrom<1 | 2 | 4 | 8 | 16>(1, 2, 4, 8, 16),
    value,
  }),
  fc.record({ kind: fc.constant("reset" as const) }),
);

const engine = () => createEngineBackend({ store: new MemoryStore() });

/** An engine behind something that answers later, with nonsense, or not at all. */
const unreliable = (execute: Backend["execute"]) => withMember(engine(), "execute", () => execute);

const backends: Record<string, () => Backend> = {
  "an engine": engine,
  "a TPM that never answers": () => unreliable(() => new Promise(() => {})),
  "a TPM that answers nonsense": () => unreliable((command) => command.slice(0, 3)),
  "a TPM that has died": () =>
    unreliable(() => {
      throw new Error("gone");
    }),
};

describe.each(["tis", "crb"] as const)("%s", (device) => {
  test.each(Object.entries(backends))("any access, with %s", async (_name, backend) => {
    const errors: unknown[] = [];
    await fc.assert(
      fc.asyncProperty(fc.array(access, { maxLength: 200 }), async (accesses) => {
        const emulator = new FakeEmulator();
        await attachTpm(emulator, { device, backend: backend(), onError: (error) => errors.push(error) });
        for (const step of accesses) {
          if (step.kind === "load") expect(Number.isInteger(emulator.load(BASE + step.address, step.size))).toBe(true);
          else if (step.kind === "store") emulator.store(BASE + step.address, step.size, step.value);
          else emulator.cpu.reboot_internal();
        }
      }),
      { numRuns: 60 },
    );
    expect(errors.every((error) => error instanceof Error)).toBe(true);
  });

  test("what is stored in memory is there, in any width; elsewhere there is nothing", async () => {
    const emulator = new FakeEmulator();
    const tpm = await attachTpm(emulator, { device });
    const log = BASE + 0x20000;
    emulator.store(log + 1, 16, 0x12345678);
    expect(emulator.load(log + 1, 4)).toBe(0x12345678);
    expect(emulator.load(log + 15, 2)).toBe(0x1234);
    expect([...tpm.log.subarray(0, 6)]).toEqual([0, 0x78, 0x56, 0x34, 0x12, 0x78]);
    emulator.store(log + 0xfffe, 4, 0x01020304);
    expect(emulator.load(log + 0xfffe, 4)).toBe(0xffff0304 | 0);
    const presence = BASE + 0x5000;
    emulator.store(presence + 0x109, 4, 23);
    expect(emulator.load(presence + 0x109, 4)).toBe(23);
    expect(emulator.load(BASE + 0x6000, 4)).toBe(-1);
    expect(emulator.load(BASE + 0x6000, 1)).toBe(0xff);
  });
});
