// Attestation: OpenSSL checks the signatures, the codec reads what was signed.
import { createPublicKey, createHash, type KeyObject, verify } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TpmClient, TpmError } from "../../src/codec/client.ts";
import { decodeStructure, type inputs, type values } from "../../src/codec/index.ts";
import { Tpm } from "../../src/tpm.ts";

let tpm: Tpm;
let client: TpmClient;

const base64url = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64url");

function template(type: "ECC" | "RSA", extra: object = {}): inputs.TPMT_PUBLIC {
  const common = {
    nameAlg: "SHA256",
    objectAttributes: {
      fixedTPM: true,
      fixedParent: true,
      sensitiveDataOrigin: true,
      userWithAuth: true,
      sign: true,
      noDA: true,
      ...extra,
    },
    authPolicy: "",
  } as const;
  if (type === "ECC") {
    return {
      ...common,
      type,
      parameters: {
        symmetric: { algorithm: "NULL" },
        scheme: { scheme: "ECDSA", details: { hashAlg: "SHA256" } },
        curveID: "NIST_P256",
        kdf: { scheme: "NULL" },
      },
      unique: { x: "", y: "" },
    };
  }
  return {
    ...common,
    type,
    parameters: {
      symmetric: { algorithm: "NULL" },
      scheme: { scheme: "RSASSA", details: { hashAlg: "SHA384" } },
      keyBits: 2048,
      exponent: 0,
    },
    unique: "",
  };
}

interface Key {
  readonly handle: number;
  readonly name: Uint8Array;
  readonly publicKey: KeyObject;
  readonly created: values.Commands["CreatePrimary"];
}

async function createKey(hierarchy: "OWNER" | "ENDORSEMENT", type: "ECC" | "RSA", extra?: object): Promise<Key> {
  const created = await client.command("CreatePrimary", {
    handles: { primaryHandle: hierarchy },
    parameters: {
      inSensitive: { userAuth: "", data: "" },
      inPublic: template(type, extra),
      outsideInfo: "",
      creationPCR: [],
    },
  });
  const unique = created.outPublic.unique;
  const jwk =
    unique instanceof Uint8Array
      ? { kty: "RSA", n: base64url(unique), e: "AQAB" }
      : {
          kty: "EC",
          crv: "P-256",
          x: base64url((unique as { x: Uint8Array }).x),
          y: base64url((unique as { y: Uint8Array }).y),
        };
  const publicKey = createPublicKey({ key: jwk, format: "jwk" });
  return { handle: created.objectHandle, name: created.name, publicKey, created };
}

const flush = (handle: number) => client.command("FlushContext", { parameters: { flushHandle: handle } });

/** Whether the key signed exactly these bytes. */
function signed(key: Key, data: Uint8Array, signature: values.TPMT_SIGNATURE): boolean {
  const value = signature.signature as { signatureR?: Uint8Array; signatureS?: Uint8Array; sig?: Uint8Array };
  if (value.sig) return verify("sha384", data, key.publicKey, value.sig);
  const pad = (bytes: Uint8Array): Uint8Array => Buffer.concat([Buffer.alloc(32 - bytes.length), bytes]);
  const rs = Buffer.concat([pad(value.signatureR as Uint8Array), pad(value.signatureS as Uint8Array)]);
  return verify("sha256", data, { key: key.publicKey, dsaEncoding: "ieee-p1363" }, rs);
}

const NULL_SCHEME = { scheme: "NULL" } as const;
const read = (bytes: Uint8Array) => decodeStructure("TPMS_ATTEST", bytes);

beforeAll(async () => {
  tpm = await Tpm.create();
  client = new TpmClient((command) => tpm.execute(command));
});
afterAll(() => tpm?.close());

describe.each(["ECC", "RSA"] as const)("signed by an %s key", (type) => {
  let key: Key;
  beforeAll(async () => {
    key = await createKey("ENDORSEMENT", type, { restricted: true });
  });
  afterAll(() => flush(key.handle));

  test("a quote has the digest of the selected registers", async () => {
    const pcr = Buffer.alloc(32, 0x5a);
    await client.command("PCR_Extend", {
      handles: { pcrHandle: 16 },
      parameters: { digests: [{ hashAlg: "SHA256", digest: pcr }] },
    });
    const { quoted, signature } = await client.command("Quote", {
      handles: { signHandle: key.handle },
      parameters: {
        qualifyingData: "0102",
        inScheme: NULL_SCHEME,
        PCRselect: [{ hash: "SHA256", pcrSelect: [0, 16] }],
      },
    });
    expect(signed(key, quoted, signature)).toBe(true);
    expect(
      signed(
        key,
        Uint8Array.from(quoted, (byte, i) => (i === 40 ? byte ^ 1 : byte)),
        signature,
      ),
    ).toBe(false);
    const attest = read(quoted);
    const values = await client.command("PCR_Read", {
      parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [0, 16] }] },
    });
    const hash = createHash(type === "ECC" ? "sha256" : "sha384");
    for (const value of values.pcrValues) hash.update(value);
    expect(attest.type).toBe("TPM_ST_ATTEST_QUOTE");
    expect(Buffer.from((attest.attested as { pcrDigest: Uint8Array }).pcrDigest)).toEqual(hash.digest());
    expect(Buffer.from(attest.extraData).toString("hex")).toBe("0102");
  });

  test("a key, and how it was made, is certified", async () => {
    const { certifyInfo, signature } = await client.command("Certify", {
      handles: { objectHandle: key.handle, signHandle: key.handle },
      parameters: { qualifyingData: "", inScheme: NULL_SCHEME },
    });
    expect(signed(key, certifyInfo, signature)).toBe(true);
    expect((read(certifyInfo).attested as { name: Uint8Array }).name).toEqual(key.name);
    const { creationHash, creationTicket } = key.created;
    const parameters = { qualifyingData: "", creationHash, inScheme: NULL_SCHEME, creationTicket };
    const handles = { signHandle: key.handle, objectHandle: key.handle };
    const creation = await client.command("CertifyCreation", { handles, parameters });
    expect(signed(key, creation.certifyInfo, creation.signature)).toBe(true);
    const forged = { ...parameters, creationHash: Uint8Array.from(creationHash, (byte) => byte ^ 1) };
    await expect(client.command("CertifyCreation", { handles, parameters: forged })).rejects.toMatchObject({
      responseCode: 0x4e0,
    });
  });

  test("time and the command audit are certified", async () => {
    const time = await client.command("GetTime", {
      handles: { privacyAdminHandle: "ENDORSEMENT", signHandle: key.handle },
      parameters: { qualifyingData: "", inScheme: NULL_SCHEME },
    });
    expect(signed(key, time.timeInfo, time.signature)).toBe(true);
    const audit = async () => {
      const { auditInfo, signature } = await client.command("GetCommandAuditDigest", {
        handles: { privacyHandle: "ENDORSEMENT", signHandle: key.handle },
        parameters: { qualifyingData: "", inScheme: NULL_SCHEME },
      });
      expect(signed(key, auditInfo, signature)).toBe(true);
      return read(auditInfo).attested as { auditCounter: bigint; auditDigest: Uint8Array };
    };
    const before = await audit();
    await client.command("SetCommandCodeAuditStatus", {
      handles: { auth: "OWNER" },
      parameters: { auditAlg: "NULL", setList: ["GetRandom"], clearList: [] },
    });
    await client.command("GetRandom", { parameters: { bytesRequested: 8 } });
    const after = await audit();
    expect(after.auditCounter).toBe(before.auditCounter + 1n);
    expect(after.auditDigest.length).toBe(64);
    expect((await audit()).auditDigest.length).toBe(0);
    await client.command("SetCommandCodeAuditStatus", {
      handles: { auth: "OWNER" },
      parameters: { auditAlg: "NULL", setList: [], clearList: ["GetRandom"] },
    });
  });

  test("an index is certified by its data or by their digest", async () => {
    const nvIndex = 0x0150_0077;
    const data = Uint8Array.from({ length: 20 }, (_, i) => i);
    await client.command("NV_DefineSpace", {
      handles: { authHandle: "OWNER" },
      parameters: {
        auth: "",
        publicInfo: {
          nvIndex,
          nameAlg: "SHA256",
          attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: true },
          authPolicy: "",
          dataSize: 20,
        },
      },
    });
    await client.command("NV_Write", { handles: { authHandle: nvIndex, nvIndex }, parameters: { data, offset: 0 } });
    const certify = async (size: number, offset: number) => {
      const { certifyInfo, signature } = await client.command("NV_Certify", {
        handles: { signHandle: key.handle, authHandle: nvIndex, nvIndex },
        parameters: { qualifyingData: "", inScheme: NULL_SCHEME, size, offset },
      });
      expect(signed(key, certifyInfo, signature)).toBe(true);
      return read(certifyInfo).attested as { nvContents?: Uint8Array; nvDigest?: Uint8Array; offset?: number };
    };
    const part = await certify(5, 10);
    expect([part.offset, ...(part.nvContents as Uint8Array)]).toEqual([10, 10, 11, 12, 13, 14]);
    const digest = createHash(type === "ECC" ? "sha256" : "sha384")
      .update(data)
      .digest();
    expect(Buffer.from((await certify(0, 0)).nvDigest as Uint8Array)).toEqual(digest);
    await expect(certify(11, 10)).rejects.toMatchObject({ responseCode: 0x146 });
    await client.command("NV_UndefineSpace", { handles: { authHandle: "OWNER", nvIndex } });
  });
});

test("keys outside the endorsement and platform hierarchies do not tell firmware and resets (Part 1, 36.7)", async () => {
  const open = await createKey("ENDORSEMENT", "ECC");
  const hidden = await createKey("OWNER", "ECC");
  const info = async (key: Key | undefined) => {
    const { timeInfo } = await client.command("GetTime", {
      handles: { privacyAdminHandle: "ENDORSEMENT", signHandle: key?.handle ?? "NULL" },
      parameters: { qualifyingData: "", inScheme: NULL_SCHEME },
    });
    return read(timeInfo);
  };
  const plain = await info(open);
  const first = await info(hidden);
  const { currentTime } = await client.command("ReadClock");
  expect(plain.clockInfo.resetCount).toBe(currentTime.clockInfo.resetCount);
  expect((plain.attested as { firmwareVersion: bigint }).firmwareVersion).toBe(plain.firmwareVersion);
  expect(first.firmwareVersion).not.toBe(plain.firmwareVersion);
  expect((await info(hidden)).firmwareVersion).toBe(first.firmwareVersion);
  expect((await info(undefined)).firmwareVersion).not.toBe(plain.firmwareVersion);
  await flush(open.handle);
  await flush(hidden.handle);
});

test("a key that does not sign certifies nothing, and a scheme that is not the key's is refused", async () => {
  const key = await createKey("OWNER", "ECC");
  const wrongScheme = client.command("Quote", {
    handles: { signHandle: key.handle },
    parameters: { qualifyingData: "", inScheme: { scheme: "ECDSA", details: { hashAlg: "SHA384" } }, PCRselect: [] },
  });
  await expect(wrongScheme).rejects.toMatchObject({ responseCode: 0x2d2 });
  const unsigned = client.command("Quote", {
    handles: { signHandle: "NULL" },
    parameters: { qualifyingData: "", inScheme: NULL_SCHEME, PCRselect: [] },
  });
  await expect(unsigned).rejects.toBeInstanceOf(TpmError);
  await flush(key.handle);
});

test("TPM2_PolicySigned wants a signature of the nonce, the expiration, the cpHash and the policyRef", async () => {
  const key = await createKey("OWNER", "ECC");
  const session = await client.startAuthSession({ sessionType: "POLICY" });
  const policyRef = Buffer.from("ref");
  const expiration = Buffer.alloc(4);
  const message = Buffer.concat([session.nonceTPM, expiration, policyRef]);
  const digest = createHash("sha256").update(message).digest();
  const { signature } = await client.command("Sign", {
    handles: { keyHandle: key.handle },
    parameters: { digest, inScheme: NULL_SCHEME, validation: { tag: "HASHCHECK", hierarchy: "NULL", digest: "" } },
  });
  const assertion = (ref: Uint8Array) =>
    client.command("PolicySigned", {
      handles: { authObject: key.handle, policySession: session.handle },
      parameters: { nonceTPM: session.nonceTPM, cpHashA: "", policyRef: ref, expiration: 0, auth: signature },
    });
  await expect(assertion(Buffer.from("rex"))).rejects.toMatchObject({ responseCode: 0x5db });
  const { policyTicket } = await assertion(policyRef);
  expect(policyTicket.digest.length).toBe(0);
  const { policyDigest } = await client.command("PolicyGetDigest", { handles: { policySession: session.handle } });
  const first = createHash("sha256")
    .update(Buffer.alloc(32))
    .update(Buffer.from("00000160", "hex"))
    .update(key.name)
    .digest();
  expect(Buffer.from(policyDigest)).toEqual(createHash("sha256").update(first).update(policyRef).digest());
  await flush(session.handle);
  await flush(key.handle);
});
