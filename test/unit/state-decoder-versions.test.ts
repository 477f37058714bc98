// Versions of libtpms' state: what each StateFormatLevel writes, what older versions wrote, and what is refused because it is newer.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { checkState } from "../../src/cli/state-check.ts";
import { Engine } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { stateErrorText } from "../../src/engine/state-error.ts";
import { compileConstants } from "../../src/state/libtpms/constants.ts";
import { decodePermanent, encodePermanent, type PermanentState } from "../../src/state/libtpms/permanent.ts";
import { Secret } from "../../src/state/libtpms/secret.ts";
import { decodeVolatile, encodeVolatile } from "../../src/state/libtpms/volatile.ts";
import { StateError } from "../../src/state/store.ts";
import { EngineTpm, type SavedState, TestHost } from "../support/engine-tpm.ts";
import { createPrimary, ecc } from "../support/engine-templates.ts";
import { engineWith, recordedStates } from "../support/profiles.ts";
import { bytesOf } from "../support/recorded.ts";
import { answersOf, fillTpm, primariesOf, usePrivateParts, writeOrderly } from "../support/state-filled.ts";
import { asLibtpms07, asVersion2, changed, type Path, structuresOf } from "../support/state-versions.ts";

const TPM_RC_BAD_VERSION = 0x2e;
const TPM_RC_VALUE = 0x84;
const BAD_PARAMETER = 0x03;

let saved: SavedState;
let state: PermanentState;
let answers: Record<string, unknown>;

beforeAll(async () => {
  const tpm = new EngineTpm();
  await fillTpm(tpm.client);
  tpm.shutdown("CLEAR");
  tpm.powerCycle();
  tpm.startup("CLEAR");
  await writeOrderly(tpm.client);
  await createPrimary(tpm.client, ecc({ attributes: { sign: true } }), "NULL");
  expect(tpm.shutdown("STATE")).toBe(0);
  saved = tpm.save();
  state = decodePermanent(saved.permanent);
  answers = await answersOf((await started(saved.permanent)).client);
});

/** A TPM that goes on with this permanent state. */
async function started(permanent: Uint8Array, startup: "STATE" | "CLEAR" = "STATE"): Promise<EngineTpm> {
  const tpm = new EngineTpm({ startup: false });
  tpm.powerCycleWith(permanent);
  expect(tpm.startup(startup)).toBe(0);
  return tpm;
}

/** What loading gives. */
const load = (permanent: Uint8Array): number => new Engine(engineModule(), new TestHost()).loadPermanent(permanent);

function loadVolatile(permanent: Uint8Array, blob: Uint8Array): number {
  const engine = new Engine(engineModule(), new TestHost());
  expect(engine.loadPermanent(permanent)).toBe(0);
  engine.init();
  return engine.loadVolatile(blob);
}

describe("versions that are written", () => {
  test.each([
    [1, [3, 3], [4, 4], [3, 3]],
    [2, [4, 4], [4, 4], [3, 3]],
    [3, [4, 4], [5, 5], [3, 3]],
    [5, [4, 4], [5, 5], [3, 3]],
    [6, [4, 4], [5, 5], [4, 4]],
    [8, [4, 4], [5, 5], [4, 4]],
  ])("StateFormatLevel %i", (level, all, data, object) => {
    const recorded = recordedStates().find(({ name }) => name === (level === 1 ? "null" : `level-${level}`))!;
    const found = decodePermanent(bytesOf(recorded.permanent));
    const pair = ({ version, minVersion }: { version: number; minVersion: number }) => [version, minVersion];
    expect(pair(found)).toEqual(all);
    expect(pair(found.persistentData)).toEqual(data);
    expect(pair(found.stateReset!)).toEqual([4, 4]);
    for (const { object: entry } of found.userNvram.entries)
      if (entry?.object) expect(pair(entry.object)).toEqual(object);
    // The engine writes the same: profile.test.ts compares the bytes.
    expect(load(bytesOf(recorded.permanent))).toBe(0);
  });

  test("a TPM that was made with no profile writes what libtpms 0.9 reads", () => {
    expect(decodePermanent(engineWith("").savePermanent())).toMatchObject({ version: 3, minVersion: 3 });
    expect(decodePermanent(engineWith('{"Name":"default-v1"}').savePermanent())).toMatchObject({ version: 4 });
  });
});

describe("states of older versions", () => {
  test.each([
    ["libtpms 0.6 and 0.7", asLibtpms07, 0],
    ["before libtpms 0.6", asVersion2, 0],
    ["libtpms 0.8 and later", (current: PermanentState) => current, 1],
  ] as const)("%s: all that was in it goes on", async (_name, older, level) => {
    const blob = encodePermanent(older(state));
    const tpm = await started(blob);
    expect(await answersOf(tpm.client)).toEqual(answers);
    await usePrivateParts(tpm.client);
    const again = decodePermanent(tpm.save().permanent);
    expect(again).toMatchObject({
      version: 3,
      compileConstants: { version: 3 },
      persistentData: { version: 4, EPSeedCompatLevel: level, SPSeedCompatLevel: level, PPSeedCompatLevel: level },
    });
    // Persistent objects stay as they were written.
    expect(again.userNvram.entries).toEqual(older(state).userNvram.entries);
  });

  test("a seed keeps the derivation of its level: RSA keys of level 0 are others, ECC keys the same", async () => {
    const [old, current] = await Promise.all(
      [encodePermanent(asLibtpms07(state)), saved.permanent].map(async (blob) => {
        const tpm = await started(blob, "CLEAR");
        const first = await primariesOf(tpm.client);
        tpm.shutdown("CLEAR");
        // Stored again in the newest version they are still the same.
        tpm.powerCycle();
        tpm.startup("CLEAR");
        expect(await primariesOf(tpm.client)).toEqual(first);
        return first;
      }),
    );
    for (const name of Object.keys(current!)) {
      if (name.endsWith("RSA")) expect(old![name], name).not.toEqual(current![name]);
      else expect(old![name], name).toEqual(current![name]);
    }
  });

  test("a new seed gets the new derivation, the others keep theirs", async () => {
    const tpm = await started(encodePermanent(asLibtpms07(state)), "CLEAR");
    await tpm.client.command("ChangeEPS", { handles: { authHandle: "PLATFORM" } });
    expect(decodePermanent(tpm.save().permanent).persistentData).toMatchObject({
      EPSeedCompatLevel: 1,
      SPSeedCompatLevel: 0,
      PPSeedCompatLevel: 0,
    });
  });

  test("the volatile state too, with contexts counted in eight bits", () => {
    const running = decodeVolatile(saved.volatile);
    for (const version of [2, 3]) {
      const { contextSlotMask: _, nullSeedCompatLevel: level, ...reset } = running.stateReset;
      const older = {
        ...running,
        stateReset: { ...reset, version, minVersion: 1, ...(version === 3 ? { nullSeedCompatLevel: level } : {}) },
      } as typeof running;
      const blob = encodeVolatile(older);
      expect(decodeVolatile(blob)).toEqual(older);
      expect(loadVolatile(saved.permanent, blob)).toBe(0);
    }
  });
});

describe("states of a libtpms that was built otherwise", () => {
  const withConstant = (i: number, change: number) =>
    encodePermanent({
      ...state,
      compileConstants: {
        ...state.compileConstants,
        values: state.compileConstants.values.map((value, at) => (at === i ? value + change : value)),
      },
    });

  test("there are 120 constants, of which 50 may be smaller", () => {
    expect(compileConstants.length).toBe(state.compileConstants.values.length);
    expect(compileConstants.filter(({ mayBeSmaller }) => mayBeSmaller).length).toBe(50);
    expect(compileConstants[65]).toEqual({ name: "MAX_NV_INDEX_SIZE", mayBeSmaller: false });
  });

  test.each(compileConstants.map(({ name, mayBeSmaller }, i) => [name, mayBeSmaller, i] as const))(
    "%s",
    (name, mayBeSmaller, i) => {
      const value = state.compileConstants.values[i]!;
      const larger = withConstant(i, 1);
      expect(load(larger)).toBe(BAD_PARAMETER);
      expect(checkState({ permanent: larger }).at(-1)?.text).toMatch(
        new RegExp(`^${name} is ${value + 1} instead of (at most )?${value}$`),
      );
      if (value > 0) expect(load(withConstant(i, -1))).toBe(mayBeSmaller ? 0 : BAD_PARAMETER);
    },
  );
});

describe("states of newer versions", () => {
  const parts = {
    permanent: () => ({ decoded: state, encode: (value: unknown) => encodePermanent(value as PermanentState) }),
    volatile: () => ({
      decoded: decodeVolatile(saved.volatile),
      encode: (value: unknown) => encodeVolatile(value as ReturnType<typeof decodeVolatile>),
    }),
  };
  const rcOf = (part: keyof typeof parts, blob: Uint8Array) =>
    part === "permanent" ? load(blob) : loadVolatile(saved.permanent, blob);

  test.each(["permanent", "volatile"] as const)(
    "a %s state that needs a newer reader is refused wherever it says so",
    (part) => {
      const { decoded, encode } = parts[part]();
      const structures = structuresOf(decoded);
      expect(structures.length).toBeGreaterThan(30);
      for (const path of structures) {
        const newer = encode(changed(decoded, path, (node) => ({ ...node, version: 50, minVersion: 50 })));
        expect(rcOf(part, newer), path.join(".")).toBe(TPM_RC_BAD_VERSION);
      }
    },
  );

  test.each(["permanent", "volatile"] as const)("what a newer version added to a %s state is passed over", (part) => {
    const { decoded, encode } = parts[part]();
    // Where the version says what comes before the extension, a newer one would be read differently.
    const structures = structuresOf(decoded).filter((path) => hasOpenExtension(path, decoded));
    expect(structures.length).toBeGreaterThan(20);
    for (const path of structures) {
      const newer = encode(
        changed(decoded, path, (node) => ({ ...node, unknown: new Secret(Uint8Array.of(1, 2, 3)) })),
      );
      expect(newer.length).toBe(encode(decoded).length + 3);
      expect(rcOf(part, newer), path.join(".")).toBe(0);
    }
  });

  test("the sentence says what is needed", () => {
    const newer = encodePermanent({ ...state, version: 5, minVersion: 5 });
    expect(load(newer)).toBe(TPM_RC_BAD_VERSION);
    expect(stateErrorText("permanent", TPM_RC_BAD_VERSION, newer)).toMatch(
      /needs a reader of version 5 .* this one knows up to 4/,
    );
    const inside = encodePermanent(
      changed(state, ["persistentData"], (node) => ({ ...node, minVersion: 6, version: 6 })),
    );
    expect(load(inside)).toBe(TPM_RC_BAD_VERSION);
    expect(stateErrorText("permanent", TPM_RC_BAD_VERSION, inside)).toContain("newer version of libtpms or wtpm");
    expect(() => decodePermanent(inside)).toThrow(StateError);
  });

  test("a profile with a newer StateFormatLevel is refused", () => {
    const profiled = decodePermanent(bytesOf(recordedStates().find(({ name }) => name === "level-8")!.permanent));
    const newer = encodePermanent({
      ...profiled,
      profile: profiled.profile!.replace(/"StateFormatLevel":8/, '"StateFormatLevel":9'),
    });
    expect(load(newer)).toBe(TPM_RC_VALUE);
    expect(stateErrorText("permanent", TPM_RC_VALUE, newer)).toContain(
      "StateFormatLevel 9, and this version knows up to 8",
    );
  });
});

describe("mutants", () => {
  /** The decoder's opinion. */
  function isDecoded(part: "permanent" | "volatile", blob: Uint8Array): boolean {
    try {
      if (part === "permanent") decodePermanent(blob);
      else decodeVolatile(blob);
      return true;
    } catch (error) {
      if (error instanceof StateError) return false;
      throw error;
    }
  }

  test.each(["permanent", "volatile"] as const)(
    "of a %s state: the engine never stops at one, and takes none that the decoder refuses",
    (part) => {
      let taken = 0;
      fc.assert(
        fc.property(
          fc.array(fc.tuple(fc.nat(saved[part].length - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }),
          (bytes) => {
            const mutant = saved[part].slice();
            for (const [at, value] of bytes) mutant[at] = value;
            // Behind the SHA-1 the structures are checked all the same.
            if (part === "volatile")
              mutant.set(createHash("sha1").update(mutant.subarray(0, -20)).digest(), mutant.length - 20);
            const rc = part === "permanent" ? load(mutant) : loadVolatile(saved.permanent, mutant);
            if (rc !== 0) return;
            taken++;
            expect(isDecoded(part, mutant)).toBe(true);
          },
        ),
        { numRuns: 300 },
      );
      expect(taken).toBeGreaterThan(50);
    },
  );
});

/** Whether there is room for additions behind what is known of the structure. */
function hasOpenExtension(path: Path, decoded: unknown): boolean {
  const node = path.reduce((part, name) => (part as Record<string, unknown>)[name as string], decoded) as object;
  const isFreeSlot = path.at(-2) === "slots" && !("session" in node);
  // OBJECT ends with the hierarchy of its newest version.
  return !isFreeSlot && !("qualifiedName" in node);
}
