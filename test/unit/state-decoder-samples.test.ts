// The sample states in swtpm's repository, some as old as libtpms 0.6, with what swtpm's own tests expect of them. They are not part of
// this project: WTPM_SWTPM_TESTS names the folder `tests` of that repository.
import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend } from "../../src/backend/backend.ts";
import { checkState } from "../../src/cli/state-check.ts";
import { placeOf, readPlace } from "../../src/cli/state-place.ts";
import { migrationKey } from "../../src/cli/key-options.ts";
import { toHex } from "../../src/codec/bytes.ts";
import { TpmClient } from "../../src/codec/client.ts";
import { decodeStructure, encodeStructure, type inputs } from "../../src/codec/index.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { decodeMigrationBlob } from "../../src/state/container.ts";
import { decodePermanent, encodePermanent } from "../../src/state/libtpms/permanent.ts";
import { decodeVolatile, encodeVolatile } from "../../src/state/libtpms/volatile.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import type { StateBlobs } from "../../src/state/store.ts";
import { outcome } from "../support/engine-tpm.ts";
import { bytesOf } from "../support/recorded.ts";

/**
 * Variables of a shell script that hold bytes, as in name='\x80\x01' or name=' 80 01', with what is added by +=: as they are when
 * they are first set, or at last.
 */
function shellBytes(script: string, when: "first" | "last"): Map<string, string> {
  const values = new Map<string, string>();
  const done = new Set<string>();
  for (const [, name = "", plus, text = ""] of script.matchAll(/^(\w+)(\+?)='([^']*)'/gm)) {
    if (!plus && values.has(name) && when === "first") done.add(name);
    if (done.has(name)) continue;
    const digits = text.replaceAll(/\\x|\s/g, "");
    values.set(name, plus ? (values.get(name) ?? "") + digits : digits);
  }
  return values;
}

test("bytes are read from shell scripts", () => {
  const script = "a_cmd='\\x80\\x01'\na_cmd+='\\x00'\na_exp=' 80 01 '\na_exp='90'\n";
  expect(Object.fromEntries(shellBytes(script, "first"))).toEqual({ a_cmd: "800100", a_exp: "8001" });
  expect(Object.fromEntries(shellBytes(script, "last"))).toEqual({ a_cmd: "800100", a_exp: "90" });
});

const folder = process.env.WTPM_SWTPM_TESTS;

if (!folder || !existsSync(folder)) console.log("swtpm's sample states: not run, WTPM_SWTPM_TESTS names no folder");
else describe("swtpm's sample states", () => samples(folder));

function samples(folder: string): void {
  const sample = (name: string) => path.join(copies, name);
  const file = (name: string) => readFileSync(sample(name));
  let copies: string;
  const backends: Backend[] = [];
  beforeAll(() => {
    copies = mkdtempSync(path.join(tmpdir(), "wtpm-samples-"));
    cpSync(path.join(folder, "data"), copies, { recursive: true });
  });
  afterAll(async () => {
    for (const backend of backends) await backend.close();
    rmSync(copies, { recursive: true, force: true });
  });

  /** Passwords as swtpm's tests give them to --key. */
  const keyOf = (name: string): string | undefined => {
    const pwdfile = `pwdfile=${sample(name)}/pwdfile.txt`;
    if (name === "tpm2state2") return `${pwdfile},kdf=sha512`;
    return name === "tpm2state2b" ? `${pwdfile},mode=aes-256-cbc` : undefined;
  };
  const blobsOf = async (name: string): Promise<StateBlobs> => {
    const place = await placeOf({ place: sample(name), key: keyOf(name) });
    return (await readPlace(place)).generation.blobs;
  };
  /** A TPM that goes on with the sample, where it was or after TPM2_Startup(CLEAR). */
  async function tpmWith(name: string): Promise<TpmClient> {
    const blobs = await blobsOf(name);
    const backend = createEngineBackend({ store: new MemoryStore(blobs) });
    backends.push(backend);
    await backend.powerOn();
    const client = new TpmClient((command) => backend.execute(command, 0));
    if (!blobs.volatile) await client.command("Startup", { parameters: { startupType: "CLEAR" } });
    return client;
  }
  const digest123 = createHash("sha256").update("123").digest();
  const verify = (client: TpmClient, keyHandle: number, digest: Uint8Array, signature: Uint8Array) =>
    client.command("VerifySignature", {
      handles: { keyHandle },
      parameters: { digest, signature: decodeStructure("TPMT_SIGNATURE", signature) as inputs.TPMT_SIGNATURE },
    });

  test.each([
    ...["tpm2state1", "tpm2state2", "tpm2state2b", "tpm2state3", "tpm2state3b", "tpm2state3c", "tpm2state3d"],
    ...["tpm2state4", "tpm2state5", "tpm2state6", "tpm2state7"],
    ...["v0.9-null", "v0.10-null", "v0.10-default-v1"].map((version) => `tpm2state8/tpmstate-${version}.bin`),
  ])("%s: every byte is understood, and nothing is lost", async (name) => {
    const { permanent, volatile } = await blobsOf(name);
    expect(toHex(encodePermanent(decodePermanent(permanent!)))).toBe(toHex(permanent!));
    if (volatile) expect(toHex(encodeVolatile(decodeVolatile(volatile)))).toBe(toHex(volatile));
    const findings = checkState({ permanent, volatile } as StateBlobs);
    expect(findings.filter(({ kind }) => kind === "problem")).toEqual([]);
    expect(findings.length).toBe(volatile ? 6 : 3);
  });

  /** TPM2_PCR_Extend of PCR 10 with "test", padded. */
  const extended = createHash("sha256")
    .update(Buffer.alloc(32))
    .update(Buffer.alloc(32).fill("test", 0, 4))
    .digest();
  const pcr10 = async (client: TpmClient) => {
    const pcrSelectionIn = [{ hash: "SHA256", pcrSelect: [10] }] as const;
    return toHex((await client.command("PCR_Read", { parameters: { pcrSelectionIn } })).pcrValues[0]!);
  };

  test.each(["tpm2state1", "tpm2state2", "tpm2state2b"])("%s goes on with its PCR 10", async (name) => {
    expect(await pcr10(await tpmWith(name))).toBe(toHex(extended));
  });

  test("migkey1: a volatile state of version 1, encrypted with a migration key", async () => {
    writeFileSync(sample("migkey1/password"), "migration");
    const key = migrationKey(`pwdfile=${sample("migkey1/password")},kdf=sha512`, () => {});
    const volatile = decodeMigrationBlob(file("migkey1/tpm2-volatilestate.bin"), false, { migration: key });
    const { permanent } = await blobsOf("tpm2state1");
    expect(checkState({ permanent: permanent!, volatile }).filter(({ kind }) => kind === "problem")).toEqual([]);
  });

  test.each([
    ["tpm2state1", "first"],
    ["tpm2state4", "last"],
  ] as const)("%s: keys are derived as swtpm's tests expect", async (name, when) => {
    const script = readFileSync(path.join(folder, "_test_tpm2_derived_keys"), "utf8");
    const bytes = shellBytes(script, when);
    const { permanent } = await blobsOf(name);
    for (const [...steps] of [
      [["1"]],
      [["2"]],
      [["3"]],
      [["4"]],
      [
        ["5", "1"],
        ["5", "2"],
      ],
    ]) {
      const backend = createEngineBackend({ store: new MemoryStore({ permanent: permanent! }) });
      await backend.powerOn();
      await backend.execute(bytesOf("80010000000c000001440000"), 0);
      for (const [number, part = ""] of steps) {
        const response = await backend.execute(bytesOf(bytes.get(`test${number}_cmd${part}`)!), 0);
        expect(toHex(response), `test ${number} ${part}`).toBe(bytes.get(`test${number}_exp${part}`));
      }
      await backend.close();
    }
  });

  test("tpm2state3: NV indices, a key, PCR banks, hierarchy passwords", async () => {
    const client = await tpmWith("tpm2state3");
    const auth = Buffer.from("nnn");
    const read = (nvIndex: number, size: number) =>
      client.command("NV_Read", {
        handles: { authHandle: { handle: nvIndex, auth }, nvIndex },
        parameters: { size, offset: 0 },
      });
    // Orderly ones are lost with a reset.
    for (const index of [0x01000000, 0x01000001])
      expect(await outcome(read(index, 10))).toMatch(/TPM_RC_NV_UNINITIALIZED/);
    for (let index = 0x01000002; index < 0x0100000a; index++)
      expect(Buffer.from((await read(index, 10)).data).toString()).toBe("Hello TPM2");
    expect(toHex((await read(0x01000010, 8)).data)).toBe("0000000000000001");
    await verify(client, 0x81000000, digest123, file("tpm2state3/signature.bin"));
    const { capabilityData } = await client.command("GetCapability", {
      parameters: { capability: "PCRS", property: 0, propertyCount: 16 },
    });
    const banks = (capabilityData.data as { hash: string; pcrSelect: Uint8Array }[]).map(
      ({ hash, pcrSelect }) => `${hash} ${toHex(pcrSelect)}`,
    );
    expect(banks).toContain("TPM_ALG_SHA256 ffffff");
    expect(banks).toContain("TPM_ALG_SHA512 000000");
    for (const [authHandle, password] of [
      [0x4000000a, "lll"],
      [0x4000000b, "eee"],
      [0x40000001, "ooo"],
    ] as const) {
      const own = { handle: authHandle, auth: Buffer.from(password) };
      await client.command("HierarchyChangeAuth", { handles: { authHandle: own }, parameters: { newAuth: own.auth } });
    }
  });

  const complete = (client: TpmClient, handle: number) =>
    client.command("SequenceComplete", {
      handles: { sequenceHandle: { handle } },
      parameters: { buffer: Buffer.from("456"), hierarchy: "NULL" },
    });

  test("tpm2state3b: hash sequences in progress, a session", async () => {
    const client = await tpmWith("tpm2state3b");
    for (const [i, algorithm] of ["sha1", "sha256", "sha384"].entries()) {
      const expected = createHash(algorithm).update("123456").digest("hex");
      expect(toHex((await complete(client, 0x80000000 + i)).result)).toBe(expected);
    }
    const { capabilityData } = await client.command("GetCapability", {
      parameters: { capability: "HANDLES", property: 0x02000000, propertyCount: 8 },
    });
    expect(capabilityData.data).toEqual([0x02000000]);
  });

  test("tpm2state3c: an HMAC sequence in progress", async () => {
    const { result } = await complete(await tpmWith("tpm2state3c"), 0x80000002);
    expect(toHex(result)).toContain("6e40331a");
  });

  test("tpm2state3d: a loaded key, and a public key that goes through a context", async () => {
    const client = await tpmWith("tpm2state3d");
    await verify(client, 0x80000000, digest123, file("tpm2state3d/signature2.bin"));
    const { context } = await client.command("ContextSave", { handles: { saveHandle: 0x80000001 } });
    await client.command("FlushContext", { parameters: { flushHandle: 0x80000001 } });
    const { loadedHandle } = await client.command("ContextLoad", {
      parameters: { context: context as inputs.TPMS_CONTEXT },
    });
    expect(loadedHandle).toBe(0x80000001);
  });

  test("tpm2state5: NV memory full of keys", async () => {
    const client = await tpmWith("tpm2state5");
    const { capabilityData } = await client.command("GetCapability", {
      parameters: { capability: "HANDLES", property: 0x81000000, propertyCount: 80 },
    });
    const keys = capabilityData.data as number[];
    expect(keys.length).toBe(65);
    for (const key of keys) await verify(client, key, digest123, file("tpm2state5/signature.bin"));
  });

  test.each(["v0.9-null", "v0.10-null", "v0.10-default-v1"])(
    "tpm2state8, %s: RSA-3072 and AES keys",
    async (version) => {
      const client = await tpmWith(`tpm2state8/tpmstate-${version}.bin`);
      const digest = createHash("sha256").update(file("tpm2state8/tosign.txt")).digest();
      await verify(client, 0x81000000, digest, file(`tpm2state8/signature-${version}.bin`));
      const { outData } = await client.command("EncryptDecrypt", {
        handles: { keyHandle: 0x81000001 },
        parameters: {
          decrypt: true,
          mode: "NULL",
          ivIn: new Uint8Array(16),
          inData: file(`tpm2state8/encrypted-${version}.bin`),
        },
      });
      expect(toHex(outData)).toBe(toHex(file("tpm2state8/toencrypt.txt")));
      const { outPublic } = await client.command("ReadPublic", { handles: { objectHandle: 0x81000000 } });
      const template = { ...outPublic!, unique: "" } as unknown as inputs.TPMT_PUBLIC;
      const primary = await client.command("CreatePrimary", {
        handles: { primaryHandle: "OWNER" },
        parameters: { inSensitive: { userAuth: "", data: "" }, inPublic: template, outsideInfo: "", creationPCR: [] },
      });
      expect(toHex(encodeStructure("TPMT_PUBLIC", primary.outPublic as unknown as inputs.TPMT_PUBLIC))).toBe(
        toHex(encodeStructure("TPMT_PUBLIC", outPublic as unknown as inputs.TPMT_PUBLIC)),
      );
    },
  );
}
