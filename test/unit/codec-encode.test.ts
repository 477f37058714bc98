import { describe, expect, it } from "vitest";
import { CodecError, decodeStructure, encodeCommand, encodeStructure } from "../../src/codec/index.ts";
import { bytesOf } from "../support/recorded.ts";

/** The message of the error that `encode` throws. */
function failure(encode: () => unknown): string {
  try {
    encode();
  } catch (error) {
    if (error instanceof CodecError) return error.message;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("encodeCommand", () => {
  it("writes the bytes of Part 1, 18.2", () => {
    expect(encodeCommand("Startup", { parameters: { startupType: "CLEAR" } })).toEqual(
      bytesOf("80010000000c000001440000"),
    );
    expect(
      encodeCommand("PCR_Reset", { handles: { pcrHandle: 16 }, sessions: [{ password: bytesOf("6161") }] }),
    ).toEqual(bytesOf("80020000001d0000013d000000100000000b4000000900000100026161"));
  });

  it("accepts names with and without their prefix, numbers, hexadecimal digits and bytes", () => {
    const bytes = encodeCommand("Hash", {
      parameters: { data: bytesOf("61"), hashAlg: "TPM_ALG_SHA256", hierarchy: "TPM_RH_NULL" },
    });
    expect(bytes).toEqual(bytesOf("80010000001300000" + "17d000161000b40000007"));
    expect(encodeCommand("Hash", { parameters: { data: "61", hashAlg: "SHA256", hierarchy: "NULL" } })).toEqual(bytes);
    expect(encodeCommand("Hash", { parameters: { data: "61", hashAlg: 0x000b, hierarchy: 0x40000007 } })).toEqual(
      bytes,
    );
  });

  it("says which field is wrong", () => {
    // @ts-expect-error no such command
    expect(failure(() => encodeCommand("CreateSecondary"))).toBe("the specification has no command CreateSecondary");
    expect(failure(() => encodeCommand("GetRandom", { parameters: { bytesRequested: 65536 } }))).toBe(
      "parameters.bytesRequested: 65536 does not fit into 2 bytes",
    );
    // @ts-expect-error a parameter is missing
    expect(failure(() => encodeCommand("GetRandom", { parameters: {} }))).toBe("parameters.bytesRequested: is missing");
    // @ts-expect-error no such parameter
    expect(failure(() => encodeCommand("GetRandom", { parameters: { bytesRequested: 1, count: 1 } }))).toBe(
      "parameters.count: there is no such field; there are bytesRequested",
    );
    // @ts-expect-error no such handle
    expect(failure(() => encodeCommand("PCR_Reset", { handles: { pcrHandle: "OWNR" } }))).toBe(
      'handles.pcrHandle: "OWNR" is no TPM_HANDLE',
    );
    expect(
      failure(() =>
        encodeCommand("PCR_Extend", {
          handles: { pcrHandle: 0 },
          parameters: {
            digests: [
              { hashAlg: "SHA1", digest: "00".repeat(20) },
              { hashAlg: "SHA256", digest: "00".repeat(20) },
            ],
          },
        }),
      ),
    ).toBe("parameters.digests[1].digest: must be 32 bytes, is 20");
    expect(failure(() => encodeCommand("StirRandom", { parameters: { inData: "abc" } }))).toBe(
      "parameters.inData: must be a Uint8Array or hexadecimal digits",
    );
    const session = { sessionHandle: 0x02000000, nonce: "", hmac: "" };
    expect(
      failure(() => encodeCommand("ReadClock", { sessions: [{ ...session, sessionAttributes: { continue: true } }] })),
    ).toBe("sessions[0].sessionAttributes.continue: TPMA_SESSION has no such attribute");
  });
});

describe("structures on their own", () => {
  it("are the same after decoding and encoding", () => {
    const publicArea = bytesOf("0001000b00030072000000060080004300100800000000000000");
    const value = decodeStructure("TPMT_PUBLIC", publicArea);
    expect(value).toMatchObject({
      type: "TPM_ALG_RSA",
      objectAttributes: { fixedTPM: true, restricted: true, decrypt: true, sign: false },
      parameters: { symmetric: { algorithm: "TPM_ALG_AES", keyBits: 128, mode: "TPM_ALG_CFB" }, keyBits: 2048 },
    });
    expect(encodeStructure("TPMT_PUBLIC", value)).toEqual(publicArea);
  });

  it("keep reserved bits, names of bit fields and unknown values", () => {
    const word = bytesOf("80000018");
    const value = decodeStructure("TPMA_NV", word);
    expect(value).toMatchObject({ TPM_NT: "TPM_NT_COUNTER", READ_STCLEAR: true });
    expect(encodeStructure("TPMA_NV", value)).toEqual(bytesOf("80000018"));
    expect(decodeStructure("TPMA_SESSION", bytesOf("19"))).toMatchObject({ continueSession: true, reserved: 0x18 });
    expect(decodeStructure("TPM_ALG_ID", bytesOf("7fff"))).toBe(0x7fff);
  });

  it("refuse bytes that are too few or too many, with the field", () => {
    expect(failure(() => decodeStructure("TPMS_TIME_INFO", bytesOf("0000000000000001000000")))).toBe(
      "clockInfo.clock: needs 8 bytes, has 3 (byte 8)",
    );
    expect(failure(() => decodeStructure("UINT16", bytesOf("000102")))).toBe("UINT16: 1 byte left over (byte 2)");
    expect(failure(() => decodeStructure("TPMU_PUBLIC_ID" as "TPMT_PUBLIC", bytesOf("0000")))).toBe(
      "TPMU_PUBLIC_ID needs the structure that selects its arm",
    );
  });
});
