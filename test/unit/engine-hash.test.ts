// Hashes, hash and event sequences (Part 1, 32; Part 3, 17) and self-tests (Part 3, 10), failure mode (Part 1, 12.3).
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { EngineTpm, outcome } from "../support/engine-tpm.ts";
import { Seeded } from "../support/seeded.ts";

const algorithms = { SHA1: "sha1", SHA256: "sha256", SHA384: "sha384", SHA512: "sha512" } as const;
const names = Object.keys(algorithms) as (keyof typeof algorithms)[];
const digest = (name: keyof typeof algorithms, ...data: Uint8Array[]) =>
  data.reduce((hash, part) => hash.update(part), createHash(algorithms[name])).digest("hex");

describe.each(names)("%s", (hashAlg) => {
  it("of data of every length around a block is right, in one command and in pieces that migrate in between", async () => {
    const tpm = new EngineTpm();
    const random = new Seeded(hashAlg);
    for (const length of [0, 1, 55, 56, 63, 64, 65, 111, 112, 119, 127, 128, 129, 255, 1024]) {
      const data = random.bytes(length);
      const { outHash } = await tpm.client.command("Hash", { parameters: { data, hashAlg, hierarchy: "OWNER" } });
      expect(toHex(outHash)).toBe(digest(hashAlg, data));
      const { sequenceHandle } = await tpm.client.command("HashSequenceStart", {
        parameters: { auth: "0102", hashAlg },
      });
      const entity = { handle: sequenceHandle, auth: "0102" };
      const cut = random.below(length + 1);
      await tpm.client.command("SequenceUpdate", {
        handles: { sequenceHandle: entity },
        parameters: { buffer: data.subarray(0, cut) },
      });
      tpm.migrate();
      const { result } = await tpm.client.command("SequenceComplete", {
        handles: { sequenceHandle: entity },
        parameters: { buffer: data.subarray(cut), hierarchy: "OWNER" },
      });
      expect(toHex(result)).toBe(digest(hashAlg, data));
    }
  });
});

describe("a hash's ticket", () => {
  const GENERATED = Uint8Array.of(0xff, 0x54, 0x43, 0x47);
  const ticketOf = async (parts: readonly Uint8Array[], hierarchy: "OWNER" | "NULL") => {
    const tpm = new EngineTpm();
    const { sequenceHandle } = await tpm.client.command("HashSequenceStart", {
      parameters: { auth: "", hashAlg: "SHA256" },
    });
    const last = parts.at(-1)!;
    for (const buffer of parts.slice(0, -1)) {
      await tpm.client.command("SequenceUpdate", { handles: { sequenceHandle }, parameters: { buffer } });
    }
    const { validation } = await tpm.client.command("SequenceComplete", {
      handles: { sequenceHandle },
      parameters: { buffer: last, hierarchy },
    });
    return validation.digest.length > 0;
  };
  const some = Uint8Array.of(1, 2, 3, 4, 5);
  const none = new Uint8Array();

  it.each([
    ["ordinary data", [some], "OWNER", true],
    ["no hierarchy", [some], "NULL", false],
    ["data that begins as the TPM's own", [Uint8Array.from([...GENERATED, 1])], "OWNER", false],
    ["such data after an empty block", [none, GENERATED], "OWNER", false],
    ["such data in the middle", [some, GENERATED], "OWNER", true],
    ["a first block too short to tell", [some.subarray(0, 3), some], "OWNER", false],
  ] as const)("of %s", async (_, parts, hierarchy, expected) => {
    expect(await ticketOf(parts, hierarchy)).toBe(expected);
  });
});

describe("an event sequence", () => {
  it("gives the digests of all banks and extends a PCR with them", async () => {
    const tpm = new EngineTpm();
    const data = new Seeded("event").bytes(300);
    const { sequenceHandle } = await tpm.client.command("HashSequenceStart", {
      parameters: { auth: "", hashAlg: "NULL" },
    });
    expect(
      await outcome(
        tpm.client.command("SequenceComplete", {
          handles: { sequenceHandle },
          parameters: { buffer: "", hierarchy: "NULL" },
        }),
      ),
    ).toBe("TPM_RC_MODE handle 1");
    await tpm.client.command("SequenceUpdate", {
      handles: { sequenceHandle },
      parameters: { buffer: data.subarray(0, 77) },
    });
    tpm.migrate();
    const { results } = await tpm.client.command("EventSequenceComplete", {
      handles: { pcrHandle: 9, sequenceHandle },
      parameters: { buffer: data.subarray(77) },
    });
    expect(results.map(({ hashAlg, digest }) => [hashAlg, toHex(digest as Uint8Array)])).toEqual(
      names.map((name) => [`TPM_ALG_${name}`, digest(name, data)]),
    );
    for (const hash of names) {
      const size = createHash(algorithms[hash]).digest().length;
      const { pcrValues } = await tpm.client.command("PCR_Read", {
        parameters: { pcrSelectionIn: [{ hash, pcrSelect: [9] }] },
      });
      const event = createHash(algorithms[hash]).update(data).digest();
      expect(toHex(pcrValues[0]!)).toBe(digest(hash, new Uint8Array(size), event));
    }
  });

  it("holds one of three object slots", async () => {
    const tpm = new EngineTpm();
    const start = () => tpm.client.command("HashSequenceStart", { parameters: { auth: "", hashAlg: "SHA256" } });
    for (let i = 0; i < 3; i++) expect((await start()).sequenceHandle).toBe(0x80000000 + i);
    expect(await outcome(start())).toBe("TPM_RC_OBJECT_MEMORY");
    await tpm.client.command("FlushContext", { parameters: { flushHandle: 0x80000001 } });
    expect((await start()).sequenceHandle).toBe(0x80000001);
  });
});

describe("self-tests", () => {
  it("are due for what was not tested yet, and done after TPM2_SelfTest(YES)", async () => {
    const tpm = new EngineTpm();
    const untested = async (toTest: readonly ("SHA1" | "AES")[]) =>
      (await tpm.client.command("IncrementalSelfTest", { parameters: { toTest } })).toDoList;
    const due = await untested([]);
    expect(due).toContain("TPM_ALG_AES");
    const after = await untested(["AES"]);
    expect(after).not.toContain("TPM_ALG_AES");
    expect(after.length).toBeLessThan(due.length);
    await tpm.client.command("SelfTest", { parameters: { fullTest: true } });
    expect(await untested([])).toEqual([]);
    const { outData, testResult } = await tpm.client.command("GetTestResult");
    expect([outData.length, testResult]).toEqual([0, 0]);
  });
});

describe("failure mode", () => {
  const failed = () => {
    const tpm = new EngineTpm();
    tpm.engine.enterFailureMode();
    return tpm;
  };
  const FAILURE = "80010000000a00000101";

  it("answers TPM_RC_FAILURE to all but TPM2_GetTestResult and TPM2_GetCapability of properties, in their exact shapes", () => {
    const tpm = failed();
    for (const command of [
      "80010000000c0000017b0008",
      "80010000000c000001440000",
      "80010000000b0000017c00",
      "80020000000a0000017c",
      "8001000000160000017a000000020000010000000001",
      "8001000000170000017a00000006000001000000000100",
      "8001",
      "",
    ]) {
      expect(toHex(tpm.send(command)), command).toBe(FAILURE);
    }
  });

  it("tells where it failed", () => {
    const answer = toHex(failed().send("80010000000a0000017c"));
    expect(answer).toMatch(/^80010000001c00000000000c[0-9a-f]{24}00000101$/);
  });

  it("lists properties one by one, from the manufacturer to the firmware version", () => {
    const tpm = failed();
    const ask = (property: number) =>
      toHex(tpm.send(`8001000000160000017a00000006${property.toString(16).padStart(8, "0")}0000000a`));
    expect(ask(0x100)).toBe("80010000001b0000000001000000060000000100000105" + "49424d00");
    expect(ask(0x10b)).toMatch(/^80010000001b00000000010000000600000001\w{8}/);
    expect(ask(0x10c)).toBe("80010000001b0000000000000000060000000100" + "00010c00120000");
  });

  it("ends with a power cycle only, and moves with a migration", () => {
    const tpm = failed();
    tpm.migrate();
    expect(tpm.engine.inFailureMode).toBe(true);
    tpm.powerCycle();
    expect(tpm.engine.inFailureMode).toBe(false);
    expect(tpm.startup("CLEAR")).toBe(0);
  });
});
