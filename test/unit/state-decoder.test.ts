// The decoder of libtpms' states: beside libtpms' own states of every StateFormatLevel, beside what a TPM says of itself, and on
// what is no state.
import { createHash } from "node:crypto";
import { inspect } from "node:util";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { commandBits, commandCodes, nvIndices, profileOf } from "../../src/state/libtpms/facts.ts";
import { toJson } from "../../src/state/libtpms/json.ts";
import { decodePermanent, encodePermanent, type PermanentState } from "../../src/state/libtpms/permanent.ts";
import { Secret } from "../../src/state/libtpms/secret.ts";
import { permanentText, volatileText } from "../../src/state/libtpms/text.ts";
import { decodeVolatile, encodeVolatile } from "../../src/state/libtpms/volatile.ts";
import { StateError } from "../../src/state/store.ts";
import { EngineTpm, type SavedState } from "../support/engine-tpm.ts";
import { create, load, rsa } from "../support/engine-templates.ts";
import { recordedStates } from "../support/profiles.ts";
import { bytesOf } from "../support/recorded.ts";
import { answersOf, fillTpm, writeOrderly } from "../support/state-filled.ts";
import { peerDecodes, permanentForPeer, volatileForPeer } from "../support/state-peer.ts";
import { changed, structuresOf } from "../support/state-versions.ts";

/** A TPM with something everywhere, and its state after TPM2_Shutdown(STATE). */
let filled: EngineTpm;
let saved: SavedState;
let state: PermanentState;

beforeAll(async () => {
  filled = new EngineTpm();
  await fillTpm(filled.client);
  // The new allocation of PCRs comes into force.
  filled.shutdown("CLEAR");
  filled.powerCycle();
  filled.startup("CLEAR");
  await writeOrderly(filled.client);
  await runningThings(filled);
  expect(filled.shutdown("STATE")).toBe(0);
  saved = filled.save();
  state = decodePermanent(saved.permanent);
});

/** A key, a sequence and a session, loaded. */
async function runningThings({ client }: EngineTpm): Promise<void> {
  const storage = 0x81000001;
  await load(client, storage, await create(client, storage, rsa({ attributes: { sign: true } })));
  await client.command("HashSequenceStart", { parameters: { auth: "aa", hashAlg: "SHA256" } });
  await client.startAuthSession({ sessionType: "POLICY" });
  await client.command("PCR_Extend", {
    handles: { pcrHandle: 9 },
    parameters: { digests: [{ hashAlg: "SHA256", digest: "11".repeat(32) }] },
  });
}

describe("a state that libtpms wrote", () => {
  test.each(recordedStates().map((recorded) => [recorded.name, recorded] as const))(
    "%s is decoded, and encoded to the byte",
    (_name, recorded) => {
      const permanent = decodePermanent(bytesOf(recorded.permanent));
      expect(toHex(encodePermanent(permanent))).toBe(recorded.permanent);
      expect(toHex(encodeVolatile(decodeVolatile(bytesOf(recorded.volatile))))).toBe(recorded.volatile);
      const level = /"StateFormatLevel":(\d)/.exec(Buffer.from(recorded.permanent, "hex").toString("latin1"))?.[1];
      expect(profileOf(permanent).stateFormatLevel).toBe(Number(level ?? 1));
    },
  );
});

describe("a decoded state says what the TPM says of itself:", () => {
  let answers: Record<string, unknown>;
  beforeAll(async () => {
    filled.powerCycle();
    expect(filled.startup("STATE")).toBe(0);
    answers = await answersOf(filled.client);
  });

  test("it is the same to the byte when it is encoded", () => {
    expect(toHex(encodePermanent(state))).toBe(toHex(saved.permanent));
    expect(toHex(encodeVolatile(decodeVolatile(saved.volatile)))).toBe(toHex(saved.volatile));
  });

  test("persistent objects with their names", () => {
    const objects = state.userNvram.entries.filter(({ object }) => object);
    expect(objects.map(({ handle }) => handle.toString(16))).toEqual([
      "81000001",
      "81000002",
      "81000003",
      "81000004",
      "81800001",
    ]);
    for (const { handle, object } of objects) {
      const { outPublic, name, qualifiedName } = answers[`object ${handle.toString(16)}`] as Record<string, unknown>;
      expect(object?.object).toMatchObject({ publicArea: outPublic, name, qualifiedName });
    }
  });

  test("NV indices with their names, current attributes and data", () => {
    const indices = nvIndices(state);
    expect(indices.length).toBe(11);
    for (const { handle, publicArea, name, data } of indices) {
      const answer = answers[`index ${handle.toString(16)}`] as { nvPublic: object; nvName: unknown; data: unknown };
      expect({ nvPublic: publicArea, nvName: name }).toEqual({ nvPublic: answer.nvPublic, nvName: answer.nvName });
      if (publicArea.attributes.WRITTEN) expect({ data: data.reveal() }).toEqual(answer.data);
    }
    expect(indices.map(({ handle, content }) => `${handle.toString(16)} ${content}`)).toEqual([
      "1000010 undefined",
      "1000011 count 3",
      "1000012 bits 0x8000000000000005",
      expect.stringMatching(/^1000013 digest [0-9a-f]{64}$/),
      "1000014 PIN count 1 of 5",
      "1000015 PIN count 1 of 5",
      "1000020 undefined",
      "1000021 count 6",
      "1000022 bits 0x8000000000000005",
      "1000030 not written",
      "1c00002 undefined",
    ]);
  });

  test("PCR banks, dictionary attack, audit", () => {
    const data = state.persistentData;
    const property = (name: string) =>
      (answers.properties as { property: string; value: number }[]).find((item) => item.property === name)?.value;
    expect(data).toMatchObject({
      failedTries: property("TPM_PT_LOCKOUT_COUNTER"),
      maxTries: 7,
      recoveryTime: 12_345,
      lockoutRecovery: 54_321,
      auditHashAlg: "TPM_ALG_SHA256",
    });
    expect(data.pcrAllocated).toEqual(answers.banks);
    const names = (list: Uint8Array) => commandCodes(list, data.version).sort((a, b) => a - b);
    expect(names(data.auditCommands)).toEqual([0x134, 0x140, 0x158, 0x192]);
    expect(data.ownerAuth.revealHex()).toBe("0a0b0c");
  });
});

describe("secrets", () => {
  test("are in no view unless asked for", () => {
    const { persistentData, userNvram } = state;
    const secrets = [
      ...(["EPSeed", "SPSeed", "PPSeed", "phProof", "shProof", "ehProof", "ownerAuth"] as const).map((name) =>
        persistentData[name].revealHex(),
      ),
      ...userNvram.entries.flatMap(({ object, data, handle }) => [
        object?.object?.sensitive.sensitive?.revealHex() ?? "",
        object?.object?.sensitive.seedValue.revealHex() ?? "",
        // Counters and their like are no secrets.
        handle === 0x01000010 ? (data?.revealHex() ?? "") : "",
      ]),
    ].filter((secret) => secret.length > 4);
    expect(secrets.length).toBeGreaterThan(12);
    const running = decodeVolatile(saved.volatile);
    const views = [
      permanentText(state),
      volatileText(running),
      JSON.stringify(toJson(state)),
      JSON.stringify(toJson(running)),
      inspect(state, { depth: 20 }),
      JSON.stringify(state.persistentData.EPSeed),
      `${state.persistentData.EPSeed}`,
    ];
    for (const view of views) for (const secret of secrets) expect(view).not.toContain(secret);
    const open = permanentText(state, { secrets: true }) + JSON.stringify(toJson(state, { secrets: true }));
    for (const secret of secrets) expect(open).toContain(secret);
  });

  test("the text names what there is", () => {
    const text = permanentText(state);
    for (const line of [
      /profile +null, StateFormatLevel 1/,
      /last stop +stopped after TPM2_Shutdown\(STATE\)/,
      /owner +authorization set, 3 bytes, policy empty/,
      /endorsement +authorization set, 2 bytes, policy SHA256 [0-9a-f]{64}/,
      /failed tries +\d of 7, one forgotten every 12345 s/,
      /in force +SHA256 0-23; SHA512 0-23\n +saved/,
      /commands +NV_Increment SetCommandCodeAuditStatus Quote PolicyAuthorizeNV/,
      /0x01000011 +counter, 8 bytes: count 3/,
      /0x01000010 +ordinary, 40 bytes: set, 40 bytes/,
      /0x81000002 +RSA 1024 signing key, owner hierarchy/,
      /0x81000004 +sealed data, owner hierarchy/,
      /0x81800001 +NIST_P256 storage key, platform hierarchy, primary/,
    ])
      expect(text).toMatch(line);
    const running = volatileText(decodeVolatile(saved.volatile));
    expect(running).toMatch(/PCRs that were extended\n {2}9 SHA256 +[0-9a-f]{64}\n\n/);
    expect(running).toMatch(/0x8000000\d +hash sequence(?:.|\n)*slot \d +policy session with SHA256/);
  });
});

test("lists of commands keep their commands in either form", () => {
  for (const version of [4, 5]) {
    const codes = commandCodes(new Uint8Array(16).fill(0xff), version).filter((code) => code <= 0x197);
    expect(codes.length).toBe(version === 4 ? 110 : 121);
    expect(commandCodes(commandBits(codes, version), version)).toEqual(codes);
  }
});

test("a CMAC in progress is in the extension of a hash state; what else may be there is passed over", () => {
  const running = decodeVolatile(saved.volatile);
  const slot = running.objects.findIndex(({ sequence }) => sequence);
  const path = ["objects", slot, "sequence", "hashStates", 0];
  const secret = (byte: number) => new Secret(new Uint8Array(16).fill(byte));
  const cmac = { algorithm: "TPM_ALG_AES", keyBits: 128, key: secret(0x77), block: secret(0x88), count: 5 };
  const blob = encodeVolatile(changed(running, path, (part) => ({ ...part, cmac })));
  const again = decodeVolatile(blob);
  expect(again.objects[slot]?.sequence?.hashStates?.[0]).toMatchObject({
    cmac: { algorithm: "TPM_ALG_AES", count: 5 },
  });
  expect(toHex(encodeVolatile(again))).toBe(toHex(blob));
  expect(JSON.stringify(toJson(again))).not.toContain("7777");
  // The same bytes, but for their magic number.
  const at = Buffer.from(blob).indexOf("434d4143", 0, "hex");
  const other = blob.slice();
  other[at] = 1;
  other.set(createHash("sha1").update(other.subarray(0, -20)).digest(), other.length - 20);
  expect(decodeVolatile(other)).toEqual(running);
});

describe("what is no state", () => {
  const decoders = { permanent: decodePermanent, volatile: decodeVolatile } as const;

  /** Never anything but a StateError. */
  function decodeOr(part: keyof typeof decoders, blob: Uint8Array): StateError | undefined {
    try {
      decoders[part](blob);
      return undefined;
    } catch (error) {
      if (error instanceof StateError) return error;
      throw error;
    }
  }

  test.each(["permanent", "volatile"] as const)("every truncation of a %s state is damaged", (part) => {
    for (let size = 0; size < saved[part].length; size += size < 200 ? 1 : 13)
      expect(decodeOr(part, saved[part].subarray(0, size))?.kind, `${size} bytes`).toBe("damaged");
    const longer = new Uint8Array([...saved[part], 0]);
    expect(decodeOr(part, longer)?.kind).toBe("damaged");
  });

  test.each(["permanent", "volatile"] as const)("a mutated %s state is refused or decoded, nothing else", (part) => {
    const blob = saved[part];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(blob.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.option(fc.tuple(fc.nat(blob.length - 1), fc.nat(64))),
        (bytes, cut) => {
          const mutant = blob.slice();
          for (const [at, value] of bytes) mutant[at] = value;
          const whole = cut ? new Uint8Array([...mutant.slice(0, cut[0]), ...mutant.slice(cut[0] + cut[1])]) : mutant;
          const error = decodeOr(part, whole);
          // A SHA-1 protects the volatile state: behind it the structures are checked all the same.
          if (error) expect(["damaged", "too-new"]).toContain(error.kind);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test("an error says where: the field and the byte", () => {
    const at = state.userNvram.entries.findIndex(({ index }) => index);
    const path = ["userNvram", "entries", at, "index"] as const;
    const wrong = encodePermanent(changed(state, path, (index) => ({ ...index, minVersion: 9, version: 9 })));
    expect(decodeOr("permanent", wrong)).toMatchObject({
      kind: "too-new",
      message: expect.stringMatching(
        /^the permanent state was written by a newer version: userNvram\.entries\[\d\]\.index, byte \d+: NV_INDEX needs a reader of its version 9, and this one knows version 2$/,
      ),
    });
  });

  test("every structure has a version that is checked", () => {
    const structures = structuresOf(state);
    expect(structures.length).toBeGreaterThan(50);
    for (const path of structures) {
      const newer = encodePermanent(changed(state, path, (part) => ({ ...part, version: 99, minVersion: 99 })));
      expect(decodeOr("permanent", newer)?.kind, path.join(".")).toBe("too-new");
    }
  });
});

const peer = process.env.WTPM_STATE_DECODER;
if (!peer) console.log("the decoder beside another one: not run, WTPM_STATE_DECODER names no program");
else
  describe("another decoder reads the same:", () => {
    test("a filled TPM", () => {
      expect(peerDecodes(peer, saved.permanent)).toMatchObject(permanentForPeer(state));
      expect(peerDecodes(peer, saved.volatile)).toMatchObject(volatileForPeer(decodeVolatile(saved.volatile)));
    });

    test.each(recordedStates().map((recorded) => [recorded.name, recorded] as const))("%s", (_name, recorded) => {
      const [permanent, running] = [bytesOf(recorded.permanent), bytesOf(recorded.volatile)];
      expect(peerDecodes(peer, permanent)).toMatchObject(permanentForPeer(decodePermanent(permanent)));
      expect(peerDecodes(peer, running)).toMatchObject(volatileForPeer(decodeVolatile(running)));
    });
  });
