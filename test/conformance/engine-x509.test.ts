// TPM2_CertifyX509: OpenSSL reads the certificates that come of it, and verifies them.
import { createHash, createPublicKey, X509Certificate } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { TpmClient } from "../../src/codec/client.ts";
import type { inputs, values } from "../../src/codec/index.ts";
import { Tpm } from "../../src/tpm.ts";

let tpm: Tpm;
let client: TpmClient;
beforeAll(async () => {
  tpm = await Tpm.create();
  client = new TpmClient((command) => tpm.execute(command));
});
afterAll(() => tpm?.close());

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const n = content.length;
  const length = n < 128 ? [n] : n < 256 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return Buffer.concat([Uint8Array.of(tag, ...length), content]);
}
const commonName = (name: string) => der(0x30, der(0x31, der(0x30, hex("0603550403"), der(0x0c, Buffer.from(name)))));
const validity = der(0x30, der(0x17, Buffer.from("250101000000Z")), der(0x17, Buffer.from("450101000000Z")));
const keyUsage = (bits: string) => der(0x30, hex("0603551d0f"), hex("0101ff"), der(0x04, hex(bits)));
const DIGITAL_SIGNATURE = keyUsage("03020780");
const extensions = (...list: Buffer[]) => der(0xa3, der(0x30, ...list));
const partial = (...list: Buffer[]) => der(0x30, commonName("issuer"), validity, commonName("subject"), ...list);

type Scheme = "ECDSA" | "RSASSA" | "RSAPSS";
function template(scheme: Scheme, hashAlg: "SHA1" | "SHA256" | "SHA384"): inputs.TPMT_PUBLIC {
  const common = {
    nameAlg: "SHA256",
    objectAttributes: {
      fixedTPM: true,
      fixedParent: true,
      sensitiveDataOrigin: true,
      userWithAuth: true,
      sign: true,
      noDA: true,
    },
    authPolicy: "",
  } as const;
  const symmetric = { algorithm: "NULL" } as const;
  if (scheme === "ECDSA") {
    const parameters = {
      symmetric,
      scheme: { scheme, details: { hashAlg } },
      curveID: "NIST_P256",
      kdf: { scheme: "NULL" },
    } as const;
    return { ...common, type: "ECC", parameters, unique: { x: "", y: "" } };
  }
  const parameters = { symmetric, scheme: { scheme, details: { hashAlg } }, keyBits: 2048, exponent: 0 } as const;
  return { ...common, type: "RSA", parameters, unique: "" };
}
const create = (inPublic: inputs.TPMT_PUBLIC) =>
  client.command("CreatePrimary", {
    handles: { primaryHandle: "OWNER" },
    parameters: { inSensitive: { userAuth: "", data: "" }, inPublic, outsideInfo: "", creationPCR: [] },
  });
const flush = (handle: number) => client.command("FlushContext", { parameters: { flushHandle: handle } });

const certify = (objectHandle: number, signHandle: number, partialCertificate: Uint8Array) =>
  client.command("CertifyX509", {
    handles: { objectHandle, signHandle },
    parameters: { reserved: "", inScheme: { scheme: "NULL" }, partialCertificate },
  });

/** The elements in a constructed one. */
function elements(bytes: Uint8Array): Buffer[] {
  const list: Buffer[] = [];
  const header = (at: number): [start: number, end: number] => {
    const first = bytes[at + 1] as number;
    const n = first < 128 ? 0 : first & 127;
    const length = n === 0 ? first : Buffer.from(bytes).readUIntBE(at + 2, n);
    return [at + 2 + n, at + 2 + n + length];
  };
  for (let [at, end] = header(0); at < end; ) {
    const next = header(at)[1];
    list.push(Buffer.from(bytes.subarray(at, next)));
    at = next;
  }
  return list;
}

function signatureBytes(signature: values.TPMT_SIGNATURE): Buffer {
  const value = signature.signature as { signatureR?: Uint8Array; signatureS?: Uint8Array; sig?: Uint8Array };
  if (value.sig) return Buffer.from(value.sig);
  const integer = (bytes: Uint8Array) => {
    // As short as can be, with a sign bit of 0.
    const digits = bytes.subarray(bytes.findIndex((byte) => byte !== 0));
    return der(0x02, Buffer.alloc((digits[0] as number) >> 7), digits);
  };
  return der(0x30, integer(value.signatureR as Uint8Array), integer(value.signatureS as Uint8Array));
}

describe.each([
  ["ECDSA", "SHA256"],
  ["ECDSA", "SHA384"],
  ["RSASSA", "SHA256"],
  ["RSAPSS", "SHA256"],
] as const)("%s with %s", (scheme, hashAlg) => {
  test("the TPM completes a certificate that OpenSSL verifies", async () => {
    const issuer = await create(template(scheme, hashAlg));
    const subject = await create(template(scheme === "ECDSA" ? "RSASSA" : "ECDSA", "SHA256"));
    const given = elements(partial(extensions(DIGITAL_SIGNATURE)));
    const answer = await certify(subject.objectHandle, issuer.objectHandle, der(0x30, ...given));
    const [version, serial, algorithm, key] = elements(answer.addedToCertificate) as [Buffer, Buffer, Buffer, Buffer];
    const [issuerName, dates, subjectName, extended] = given as [Buffer, Buffer, Buffer, Buffer];
    const tbs = der(0x30, version, serial, algorithm, issuerName, dates, subjectName, key, extended);
    expect(Buffer.from(answer.tbsDigest)).toEqual(createHash(hashAlg).update(tbs).digest());
    const signature = der(0x03, Uint8Array.of(0), signatureBytes(answer.signature));
    const certificate = new X509Certificate(der(0x30, tbs, algorithm, signature));
    const issuerKey = issuer.outPublic.unique as Uint8Array & { x: Uint8Array; y: Uint8Array };
    const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64url");
    const jwk =
      scheme === "ECDSA"
        ? { kty: "EC", crv: "P-256", x: base64(issuerKey.x), y: base64(issuerKey.y) }
        : { kty: "RSA", n: base64(issuerKey), e: "AQAB" };
    expect(certificate.verify(createPublicKey({ key: jwk, format: "jwk" }))).toBe(true);
    expect(certificate.subject).toBe("CN=subject");
    expect(certificate.serialNumber.length).toBeLessThanOrEqual(40);
    expect(certificate.publicKey.asymmetricKeyType).toBe(scheme === "ECDSA" ? "rsa" : "ec");
    // The same again has the same serial number.
    const again = await certify(subject.objectHandle, issuer.objectHandle, der(0x30, ...given));
    expect(Buffer.from(again.addedToCertificate)).toEqual(Buffer.from(answer.addedToCertificate));
    await flush(issuer.objectHandle);
    await flush(subject.objectHandle);
  });
});

describe("what is refused", () => {
  let handle: number;
  beforeAll(async () => {
    handle = (await create(template("ECDSA", "SHA256"))).objectHandle;
  });
  afterAll(() => flush(handle));
  const object = (bits: number) => {
    const value = Buffer.alloc(4);
    value.writeUInt32BE(bits);
    return der(0x30, hex("0607678105 0a010101"), der(0x04, der(0x03, Uint8Array.of(0), value)));
  };
  const ATTRIBUTES = 0x0004_0472;
  test.each([
    ["nothing at all", Buffer.alloc(0), 0x3c4],
    ["something behind the sequence", Buffer.concat([partial(extensions(DIGITAL_SIGNATURE)), hex("0500")]), 0x3d5],
    ["no extensions", partial(), 0x3c4],
    ["two extension fields", partial(extensions(DIGITAL_SIGNATURE), extensions(DIGITAL_SIGNATURE)), 0x3c4],
    ["too few fields", der(0x30, validity, commonName("subject"), extensions(DIGITAL_SIGNATURE)), 0x3c4],
    ["no key usage", partial(extensions(object(ATTRIBUTES))), 0x3c4],
    ["a usage that the key does not have", partial(extensions(keyUsage("03020410"))), 0x3c4],
    ["reserved usage bits", partial(extensions(keyUsage("0303008040"))), 0x3e1],
    ["attributes that are not the key's", partial(extensions(object(ATTRIBUTES ^ 0x40), DIGITAL_SIGNATURE)), 0x182],
    ["a length beyond the end", hex("30823fff"), 0x3d5],
  ])("%s", async (_what, bytes, responseCode) => {
    await expect(certify(handle, handle, bytes)).rejects.toMatchObject({ responseCode });
  });
  test("attributes that are the key's are accepted", async () => {
    await certify(handle, handle, partial(extensions(object(ATTRIBUTES), DIGITAL_SIGNATURE)));
  });
});
