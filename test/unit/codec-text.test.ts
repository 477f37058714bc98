import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import {
  decodeCommand,
  decodeResponse,
  describeCommand,
  describeResponse,
  describeResponseCode,
  encodeCommand,
  encodeResponse,
  encodeStructure,
  formatCommand,
  formatResponse,
} from "../../src/codec/index.ts";
import { bytesOf } from "../support/recorded.ts";

const TPM_CC_PCR_Read = 0x17e;

describe("describeResponseCode", () => {
  it.each([
    [0x000, "SUCCESS"],
    [0x1c4, "TPM_RC_VALUE (parameter 1) 0x1c4"],
    [0xfc4, "TPM_RC_VALUE (parameter 15) 0xfc4"],
    [0x084, "TPM_RC_VALUE 0x084"],
    [0x28b, "TPM_RC_HANDLE (handle 2) 0x28b"],
    [0x98e, "TPM_RC_AUTH_FAIL (session 1) 0x98e"],
    [0xba2, "TPM_RC_BAD_AUTH (session 3) 0xba2"],
    [0x882, "TPM_RC_ATTRIBUTES (session) 0x882"],
    [0x01e, "TPM_RC_BAD_TAG 0x01e"],
    [0x100, "TPM_RC_INITIALIZE 0x100"],
    [0x125, "TPM_RC_AUTH_MISSING 0x125"],
    [0x910, "TPM_RC_REFERENCE_H0 0x910"],
    [0x922, "TPM_RC_RETRY 0x922"],
    [0x900, "unknown code 0x900"],
    [0x026, "TPM_INVALID_POSTINIT 0x026"],
    [0x802, "TPM_DOING_SELFTEST 0x802"],
    [0x500, "vendor-defined code 0x500"],
    [0x0b0143, "TPM_RC_COMMAND_CODE from layer 11 0xb0143"],
  ])("%i is %s", (code, text) => {
    expect(describeResponseCode(code)).toBe(text);
  });
});

describe("describeCommand", () => {
  it("names the handle, the algorithm and the kind of session", () => {
    const command = encodeCommand("PCR_Extend", {
      handles: { pcrHandle: 0 },
      sessions: [{ password: "" }],
      parameters: { digests: [{ hashAlg: "SHA256", digest: "4f2a91b2".repeat(8) }] },
    });
    expect(describeCommand(command)).toBe(
      "TPM2_PCR_Extend pcrHandle=PCR 0 digests=[SHA256 4f2a91b2…] · password session",
    );
  });

  it("shows selections as PCR numbers and attributes by name", () => {
    const command = encodeCommand("PCR_Read", {
      parameters: { pcrSelectionIn: [{ hash: "SHA1", pcrSelect: [0, 7, 23] }] },
    });
    expect(describeCommand(command)).toBe("TPM2_PCR_Read pcrSelectionIn=[SHA1:0,7,23]");
  });

  it("tells sessions apart", () => {
    const session = { nonce: "", hmac: "" };
    const command = encodeCommand("NV_Read", {
      handles: { authHandle: "OWNER", nvIndex: 0x01800001 },
      sessions: [
        { ...session, sessionHandle: 0x03000001, sessionAttributes: {} },
        { ...session, sessionHandle: 0x02000000, sessionAttributes: { audit: true, encrypt: true } },
      ],
      parameters: { size: 8, offset: 0 },
    });
    expect(describeCommand(command)).toBe(
      "TPM2_NV_Read authHandle=TPM_RH_OWNER nvIndex=0x01800001 size=8 offset=0 · policy session 0x03000001 · " +
        "HMAC session 0x02000000 (encrypt, audit)",
    );
  });

  it("says where a command stops making sense", () => {
    expect(describeCommand(bytesOf("80010000000b0000017b00"))).toBe(
      "TPM2_GetRandom · malformed at byte 10: parameters.bytesRequested needs 2 bytes, has 1",
    );
    expect(describeCommand(bytesOf("80010000000a00000fff"))).toBe(
      "command 0xfff · malformed at byte 6: commandCode no such command",
    );
    expect(describeCommand(bytesOf("8001"))).toBe("2 bytes, too short for a command");
    expect(describeCommand(bytesOf("00c10000000c000000990001"))).toBe("TPM 1.2 ordinal 0x00000099, 12 bytes");
  });
});

describe("describeResponse", () => {
  it("names the error and what is at fault", () => {
    expect(describeResponse(bytesOf("80010000000a000001c4"), TPM_CC_PCR_Read)).toBe("TPM_RC_VALUE (parameter 1) 0x1c4");
    expect(describeResponse(bytesOf("80010000000a00000000"), 0x144)).toBe("SUCCESS");
    expect(describeResponse(bytesOf("00c40000000a00000026"), 0)).toBe("TPM_INVALID_POSTINIT 0x026");
  });

  it("shows what a command answered", () => {
    const response = encodeResponse("PCR_Read", {
      parameters: {
        pcrUpdateCounter: 20,
        pcrSelectionOut: [{ hash: "SHA256", pcrSelect: [1] }],
        pcrValues: ["00".repeat(32)],
      },
    });
    expect(describeResponse(response, TPM_CC_PCR_Read)).toBe(
      "SUCCESS pcrUpdateCounter=20 pcrSelectionOut=[SHA256:1] pcrValues=[00000000…]",
    );
  });
});

describe("formatCommand", () => {
  it("breaks long values into their fields", () => {
    const command = encodeCommand("CreatePrimary", {
      handles: { primaryHandle: "TPM_RH_OWNER" },
      sessions: [{ password: "6f776e6572" }],
      parameters: {
        inSensitive: { userAuth: "7365637265", data: "" },
        inPublic: {
          type: "ECC",
          nameAlg: "SHA256",
          objectAttributes: { fixedTPM: true, restricted: true, decrypt: true },
          authPolicy: "",
          parameters: {
            symmetric: { algorithm: "AES", keyBits: 128, mode: "CFB" },
            scheme: { scheme: "NULL" },
            curveID: "NIST_P256",
            kdf: { scheme: "NULL" },
          },
          unique: { x: "", y: "" },
        },
        outsideInfo: "",
        creationPCR: [],
      },
    });
    expect(formatCommand(decodeCommand(command))).toBe(
      [
        "TPM2_CreatePrimary, 77 bytes, TPM_ST_SESSIONS",
        "  primaryHandle: TPM_RH_OWNER",
        "  session 1: password",
        "    nonce: empty",
        "    hmac: <5 bytes>",
        "  inSensitive: {userAuth=<5 bytes>, data=<0 bytes>}",
        "  inPublic:",
        "    type: ECC",
        "    nameAlg: SHA256",
        "    objectAttributes: fixedTPM|restricted|decrypt",
        "    authPolicy: empty",
        "    parameters:",
        "      symmetric: {algorithm=AES, keyBits=128, mode=CFB}",
        "      scheme: {scheme=NULL}",
        "      curveID: TPM_ECC_NIST_P256",
        "      kdf: {scheme=NULL}",
        "    unique: {x=empty, y=empty}",
        "  outsideInfo: empty",
        "  creationPCR: []",
      ].join("\n"),
    );
  });
});

describe("formatResponse", () => {
  it("shows the structure inside an attestation", () => {
    const quoted = encodeStructure("TPMS_ATTEST", {
      magic: "VALUE",
      type: "TPM_ST_ATTEST_QUOTE",
      qualifiedSigner: "",
      extraData: "abcd",
      clockInfo: { clock: 7n, resetCount: 1, restartCount: 2, safe: true },
      firmwareVersion: 0x2001122334455667n,
      attested: { pcrSelect: [{ hash: "SHA256", pcrSelect: [7] }], pcrDigest: "deadbeef" },
    });
    const response = encodeResponse("Quote", {
      parameters: {
        quoted,
        signature: { sigAlg: "ECDSA", signature: { hash: "SHA256", signatureR: "01", signatureS: "02" } },
      },
    });
    const text = formatResponse(decodeResponse(response, 0x158));
    expect(text).toContain("    type: TPM_ST_ATTEST_QUOTE\n");
    expect(text).toContain("    extraData: abcd\n");
    expect(text).toContain("    attested: {pcrSelect=[SHA256:7], pcrDigest=deadbeef}\n");
    expect(text).toContain("  signature: {sigAlg=ECDSA, signature={hash=SHA256, signatureR=01, signatureS=02}}");
  });
});

describe("secrets", () => {
  const secret = fc.uint8Array({ minLength: 8, maxLength: 32 });

  /** All texts that are made of a command and of a response. */
  function texts(command: Uint8Array, response: Uint8Array, code: number): string {
    return [
      describeCommand(command),
      formatCommand(decodeCommand(command)),
      // The same command with its end missing: what was not decoded must not leak either.
      formatCommand(decodeCommand(command.slice(0, -1))),
      describeResponse(response, code),
      formatResponse(decodeResponse(response, code)),
      formatResponse(decodeResponse(response.slice(0, -1), code)),
    ].join("\n");
  }

  it("are never printed", () => {
    const cases: [name: string, code: number, build: (s: Uint8Array) => [command: Uint8Array, response: Uint8Array]][] =
      [
        [
          "HierarchyChangeAuth",
          0x129,
          (newAuth) => [
            encodeCommand("HierarchyChangeAuth", {
              handles: { authHandle: "TPM_RH_OWNER" },
              sessions: [{ password: newAuth }],
              parameters: { newAuth },
            }),
            encodeResponse("HierarchyChangeAuth", { sessions: [{ nonce: "", sessionAttributes: 1, hmac: newAuth }] }),
          ],
        ],
        [
          "Unseal",
          0x15e,
          (outData) => [
            encodeCommand("Unseal", { handles: { itemHandle: 0x80000000 }, sessions: [{ password: outData }] }),
            encodeResponse("Unseal", { parameters: { outData } }),
          ],
        ],
        [
          "LoadExternal",
          0x167,
          (key) => [
            encodeCommand("LoadExternal", {
              parameters: {
                inPrivate: { sensitiveType: "ECC", authValue: "", seedValue: key, sensitive: key },
                inPublic: {
                  type: "KEYEDHASH",
                  nameAlg: "SHA256",
                  objectAttributes: 0,
                  authPolicy: "",
                  parameters: { scheme: { scheme: "NULL" } },
                  unique: "",
                },
                hierarchy: "TPM_RH_NULL",
              },
            }),
            encodeResponse("LoadExternal", { handle: 0x80000000, parameters: { name: "" } }),
          ],
        ],
        [
          "GetRandom",
          0x17b,
          (randomBytes) => [
            encodeCommand("GetRandom", { parameters: { bytesRequested: 32 } }),
            encodeResponse("GetRandom", { parameters: { randomBytes } }),
          ],
        ],
        [
          "RSA_Decrypt",
          0x159,
          (message) => [
            encodeCommand("RSA_Decrypt", {
              handles: { keyHandle: 0x80000000 },
              sessions: [{ password: message }],
              parameters: { cipherText: "", inScheme: { scheme: "RSAES" }, label: "" },
            }),
            encodeResponse("RSA_Decrypt", { parameters: { message } }),
          ],
        ],
      ];
    for (const [name, code, build] of cases) {
      fc.assert(
        fc.property(secret, (bytes) => {
          const all = texts(...build(bytes), code);
          // Four bytes of it in a row would be too much.
          for (let i = 0; i + 4 <= bytes.length; i++) expect(all, name).not.toContain(toHex(bytes.subarray(i, i + 4)));
        }),
        { numRuns: 20, examples: [[Uint8Array.from({ length: 32 }, (_, i) => 0xa0 + i)]] },
      );
    }
  });
});
