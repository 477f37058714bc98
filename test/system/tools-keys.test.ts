// tpm2-tools: what keys do. Node's crypto is the other side.
import { Buffer } from "node:buffer";
import {
  constants,
  createCipheriv,
  createHmac,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type JsonWebKey,
  privateDecrypt,
  publicEncrypt,
  randomBytes,
  verify,
} from "node:crypto";
import { expect, test } from "vitest";
import { u16 } from "../support/tpm-client.ts";
import { field, hash, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();
const MESSAGE = "what the key is used on";

/** Makes "key" (with its public part as PEM in key.pub) of the type given, under a primary key. */
async function makeKey(type: string, ...options: string[]): Promise<void> {
  await tools().flushing("createprimary", "-Q", "-c", "primary");
  await tools().flushing("create", "-Q", "-C", "primary", "-G", type, "-u", "public", "-r", "private", ...options);
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key");
}

async function publicPem(): Promise<string> {
  await tools().flushing("readpublic", "-Q", "-c", "key", "-f", "pem", "-o", "key.pub");
  return tools().read("key.pub").toString();
}

const { RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING, RSA_PKCS1_OAEP_PADDING } = constants;

test.each([
  ["rsa2048", "rsassa", "sha256", RSA_PKCS1_PADDING],
  ["rsa2048", "rsassa", "sha512", RSA_PKCS1_PADDING],
  ["rsa2048", "rsapss", "sha384", RSA_PKCS1_PSS_PADDING],
  ["rsa3072", "rsassa", "sha1", RSA_PKCS1_PADDING],
])("sign with %s, %s and %s makes a signature that OpenSSL verifies", async (type, scheme, digest, padding) => {
  await makeKey(type);
  tools().write("message", MESSAGE);
  const sign = ["-c", "key", "-g", digest, "-s", scheme];
  await tools().flushing("sign", "-Q", ...sign, "-f", "plain", "-o", "signature", "message");
  const key = { key: await publicPem(), padding };
  expect(verify(digest, Buffer.from(MESSAGE), key, tools().read("signature"))).toBe(true);
  await tools().flushing("sign", "-Q", ...sign, "-o", "tpmt", "message");
  await tools().flushing("verifysignature", "-c", "key", "-g", digest, "-m", "message", "-s", "tpmt");
  tools().write("message", "something else");
  expect(await tools().fails("verifysignature", "-c", "key", "-g", digest, "-m", "message", "-s", "tpmt")).toMatch(
    /0x2DB/i,
  );
});

test.each([
  ["ecc256", "sha256"],
  ["ecc256", "sha1"],
  ["ecc384", "sha384"],
  ["ecc521", "sha512"],
])(
  "sign with %s and %s makes a signature that OpenSSL verifies, and the TPM verifies OpenSSL's",
  async (type, digest) => {
    await makeKey(type);
    tools().write("message", MESSAGE);
    const sign = ["-c", "key", "-g", digest, "-s", "ecdsa", "-f", "plain", "-o", "signature"];
    await tools().flushing("sign", "-Q", ...sign, "message");
    expect(verify(digest, Buffer.from(MESSAGE), await publicPem(), tools().read("signature"))).toBe(true);
    const verifySignature = ["-c", "key", "-g", digest, "-m", "message", "-f", "ecdsa", "-s", "signature"];
    await tools().flushing("verifysignature", ...verifySignature);
  },
);

test.each(["ecschnorr"])("sign with %s makes a signature that the TPM verifies", async (scheme) => {
  await makeKey("ecc256");
  tools().write("message", MESSAGE);
  await tools().flushing("sign", "-Q", "-c", "key", "-g", "sha256", "-s", scheme, "-o", "signature", "message");
  await tools().flushing("verifysignature", "-c", "key", "-g", "sha256", "-m", "message", "-s", "signature");
});

test.each([
  ["rsaes", { padding: RSA_PKCS1_PADDING }],
  ["oaep", { padding: RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" }],
])("rsadecrypt with %s decrypts what rsaencrypt and OpenSSL encrypted", async (scheme, padding) => {
  await makeKey("rsa2048");
  tools().write("message", MESSAGE);
  await tools().flushing("rsaencrypt", "-c", "key", "-s", scheme, "-o", "encrypted", "message");
  await tools().flushing("rsadecrypt", "-c", "key", "-s", scheme, "-o", "plain", "encrypted");
  expect(tools().read("plain").toString()).toBe(MESSAGE);
  tools().write("encrypted", publicEncrypt({ key: await publicPem(), ...padding }, Buffer.from(MESSAGE)));
  await tools().flushing("rsadecrypt", "-c", "key", "-s", scheme, "-o", "plain", "encrypted");
  expect(tools().read("plain").toString()).toBe(MESSAGE);
});

test("rsaencrypt with a key from outside is decrypted outside", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  tools().write("outside.pem", publicKey.export({ type: "spki", format: "pem" }));
  await tools().flushing("loadexternal", "-Q", "-C", "n", "-G", "rsa", "-u", "outside.pem", "-c", "key");
  tools().write("message", MESSAGE);
  await tools().flushing("rsaencrypt", "-c", "key", "-s", "oaep", "-o", "encrypted", "message");
  const padding = { padding: RSA_PKCS1_OAEP_PADDING, oaepHash: "sha256" };
  expect(privateDecrypt({ key: privateKey, ...padding }, tools().read("encrypted")).toString()).toBe(MESSAGE);
});

test.each(["128", "256"])("encryptdecrypt with aes%scfb is AES in CFB", async (bits) => {
  const key = randomBytes(Number(bits) / 8);
  const iv = randomBytes(16);
  const data = randomBytes(1500); // Two commands.
  tools().write("raw", key);
  tools().write("iv", iv);
  tools().write("data", data);
  await tools().flushing("loadexternal", "-Q", "-C", "n", "-G", "aes", "-r", "raw", "-c", "key");
  await tools().flushing("encryptdecrypt", "-Q", "-c", "key", "-G", "cfb", "--iv", "iv", "-o", "encrypted", "data");
  const cipher = createCipheriv(`aes-${bits}-cfb`, key, iv);
  expect(tools().read("encrypted").toString("hex")).toBe(cipher.update(data).toString("hex"));
  const decrypt = ["-d", "-c", "key", "-G", "cfb", "--iv", "iv", "-o", "plain", "encrypted"];
  await tools().flushing("encryptdecrypt", "-Q", ...decrypt);
  expect(tools().read("plain").equals(data)).toBe(true);
});

test("hmac is the HMAC of an imported secret, in one command and in a sequence", async () => {
  const secret = randomBytes(32);
  tools().write("secret", secret);
  await tools().flushing("createprimary", "-Q", "-c", "primary");
  await tools().flushing("import", "-Q", "-C", "primary", "-G", "hmac", "-i", "secret", "-u", "u", "-r", "r");
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "u", "-r", "r", "-c", "key");
  for (const size of [0, 100, 4000]) {
    const data = randomBytes(size);
    tools().write("data", data);
    await tools().flushing("hmac", "-c", "key", "-g", "sha256", "-o", "mac", "data");
    const expected = createHmac("sha256", secret).update(data).digest("hex");
    expect(tools().read("mac").toString("hex"), `${size} bytes`).toBe(expected);
  }
});

/** A TPM2B_ECC_POINT (Part 2, 11.2.5.3): its size, then x and y with theirs. */
function encodePoint({ x, y }: JsonWebKey): Buffer {
  const parts = [x!, y!].flatMap((text) => {
    const bytes = Buffer.from(text, "base64url");
    return [u16(bytes.length), bytes];
  });
  const point = Buffer.concat(parts);
  return Buffer.concat([u16(point.length), point]);
}

const xOf = (point: Buffer) => point.subarray(4, 4 + point.readUInt16BE(2));

test.each([
  ["ecc256", "P-256"],
  ["ecc384", "P-384"],
])("ecdhkeygen and ecdhzgen with %s agree with each other and with OpenSSL", async (type, curve) => {
  await makeKey(`${type}:ecdh`);
  await tools().flushing("ecdhkeygen", "-c", "key", "-u", "ephemeral", "-o", "secret");
  await tools().flushing("ecdhzgen", "-c", "key", "-u", "ephemeral", "-o", "again");
  expect(tools().read("again").equals(tools().read("secret"))).toBe(true);

  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: curve });
  tools().write("peer", encodePoint(publicKey.export({ format: "jwk" })));
  await tools().flushing("ecdhzgen", "-c", "key", "-u", "peer", "-o", "secret");
  const expected = diffieHellman({ privateKey, publicKey: createPublicKey(await publicPem()) });
  expect(xOf(tools().read("secret")).toString("hex")).toBe(expected.toString("hex"));
});

test("zgen2phase derives from the static and an ephemeral key, and takes each ephemeral key once", async () => {
  await makeKey("ecc256:ecdh");
  await tools()("ecephemeral", "-u", "ephemeral", "-t", "counter", "ecc256");
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  tools().write("peer", encodePoint(publicKey.export({ format: "jwk" })));
  const counter = `0x${tools().read("counter").toString("hex")}`;
  const peers = ["--static-public", "peer", "--ephemeral-public", "peer"];
  const derive = ["-c", "key", ...peers, "-t", counter, "--output-Z1", "z1", "--output-Z2", "z2"];
  await tools().flushing("zgen2phase", ...derive);
  const secret = diffieHellman({ privateKey, publicKey: createPublicKey(await publicPem()) });
  expect(xOf(tools().read("z1")).toString("hex")).toBe(secret.toString("hex"));
  expect(tools().read("z2").equals(tools().read("z1"))).toBe(false);
  expect(await tools().fails("zgen2phase", ...derive)).toMatch(/0x4C4/);
  await tools()("flushcontext", "-t");
});

test("commit begins what an ECDAA signature ends", async () => {
  await makeKey("ecc256:ecdaa");
  const points = ["--eccpoint-K", "k", "--eccpoint-L", "l", "-u", "e"];
  await tools().flushing("commit", "-c", "key", "-t", "counter", ...points);
  expect(tools().read("counter").toString("hex")).toBe("0000");
  tools().write("message", MESSAGE);
  const sign = ["-c", "key", "-g", "sha256", "-s", "ecdaa", "--commit-index", "0", "-o", "signature", "message"];
  await tools().flushing("sign", "-Q", ...sign);
  expect(await tools().fails("sign", "-Q", ...sign)).toMatch(/\(0x84\)/);
});

test("geteccparameters gives the curve", async () => {
  await tools()("geteccparameters", "ecc256", "-o", "parameters");
  expect(tools().read("parameters").toString("hex")).toContain(
    "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", // p
  );
});

test("testparms takes the parameters that a TPM with libtpms' null profile has, and no others", async () => {
  const taken = ["rsa1024", "rsa3072", "ecc224", "ecc521", "ecc256:sm2", "aes256cfb", "camellia128cfb", "hmac", "xor"];
  for (const type of taken) await tools()("testparms", type);
  for (const type of ["rsa4096", "aes192cfb", "sm4"]) await tools().fails("testparms", type);
});

test("a name is the digest of the public area", async () => {
  await makeKey("ecc256");
  const text = await tools().flushing("readpublic", "-c", "key", "-f", "tss", "-o", "area", "-n", "name");
  const area = tools().read("area").subarray(2);
  expect(tools().read("name").toString("hex")).toBe(`000b${hash("sha256", area).toString("hex")}`);
  expect(field(text, "name")).toBe(tools().read("name").toString("hex"));
});
