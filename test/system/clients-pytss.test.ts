// tpm2-pytss: a Python program that uses the TPM. What it reports is checked without the TPM.
import { Buffer } from "node:buffer";
import { createHash, verify } from "node:crypto";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { useClient } from "../support/clients.ts";
import { WAYS } from "../support/clients-ways.ts";
import { repository } from "../support/emulator.ts";

/** Debian's modules are for Debian's Python. */
const PYTHON = "/usr/bin/python3";
const PROGRAM = path.join(repository, "test/support/clients-pytss.py");
const MESSAGE = "signed through pytss";
/** Part 2, 6.6.3: TPM_RC_POLICY_FAIL for session 1. */
const POLICY_FAIL_SESSION_1 = 0x99d;

interface EcdsaSignature {
  readonly key: string;
  readonly r: string;
  readonly s: string;
}

/** What the program prints; bytes are hexadecimal. */
interface Results {
  readonly random: string;
  readonly hash: string;
  readonly sign: { readonly ecdsa: EcdsaSignature; readonly rsa: { readonly key: string; readonly signature: string } };
  readonly decrypted: string;
  readonly sealed: { readonly unsealed: string; readonly refused: number };
  readonly stored: string;
  readonly quote: EcdsaSignature & Readonly<Record<"attest" | "qualifier" | "pcrDigest" | "pcr", string>>;
}

const sha256 = (data: Uint8Array) => createHash("sha256").update(data).digest();

function ecdsaVerifies(message: Uint8Array, { key, r, s }: EcdsaSignature): boolean {
  const signature = Buffer.from(r.padStart(64, "0") + s.padStart(64, "0"), "hex");
  return verify("sha256", message, { key, dsaEncoding: "ieee-p1363" }, signature);
}

describe.each(WAYS)("tpm2-pytss over %s", (way) => {
  const client = useClient(way);

  test("signs, decrypts, seals, stores and quotes", async () => {
    const results = JSON.parse(await client()(PYTHON, PROGRAM, client().tcti)) as Results;
    const { random, hash, sign, decrypted, sealed, stored, quote } = results;
    expect(random).toMatch(/^[0-9a-f]{32}$/);
    expect(hash).toBe(createHash("sha384").update(MESSAGE).digest("hex"));
    expect(ecdsaVerifies(Buffer.from(MESSAGE), sign.ecdsa)).toBe(true);
    expect(verify("sha256", Buffer.from(MESSAGE), sign.rsa.key, Buffer.from(sign.rsa.signature, "hex"))).toBe(true);
    expect(decrypted).toBe(MESSAGE);
    expect(sealed).toEqual({ unsealed: "sealed through pytss", refused: POLICY_FAIL_SESSION_1 });
    expect(stored).toBe("sealed through pytss");

    const pcr = sha256(Buffer.concat([new Uint8Array(32), sha256(Buffer.from(MESSAGE))]));
    expect(quote.pcr).toBe(pcr.toString("hex"));
    expect(quote.pcrDigest).toBe(sha256(pcr).toString("hex"));
    expect(quote.qualifier).toBe("freshness");
    expect(ecdsaVerifies(Buffer.from(quote.attest, "hex"), quote)).toBe(true);
  });
});
