// tpm2-tools: objects and their life: templates, seeds, credentials, persistence, duplication, import.
import { Buffer } from "node:buffer";
import { generateKeyPairSync, randomBytes, verify } from "node:crypto";
import { expect, test } from "vitest";
import { CMD, control, u32 } from "../support/tpm-client.ts";
import { field, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();
const MESSAGE = "signed by what was loaded";

const primary = (...options: string[]) => tools().flushing("createprimary", "-Q", "-c", "primary", ...options);

/** Creates an object under "primary" and loads it as "key". */
async function makeKey(...options: string[]): Promise<void> {
  await tools().flushing("create", "-Q", "-C", "primary", "-u", "public", "-r", "private", ...options);
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key");
}

async function signs(...options: string[]): Promise<void> {
  tools().write("message", MESSAGE);
  const sign = ["-c", "key", "-g", "sha256", "-f", "plain", "-o", "signature", ...options];
  await tools().flushing("sign", "-Q", ...sign, "message");
  await tools().flushing("readpublic", "-Q", "-c", "key", "-f", "pem", "-o", "key.pub");
  expect(verify("sha256", Buffer.from(MESSAGE), tools().read("key.pub").toString(), tools().read("signature"))).toBe(
    true,
  );
}

/** The name of the primary key that a hierarchy has for a template. */
async function primaryName(type: string, hierarchy: string): Promise<string> {
  await primary("-G", type, "-C", hierarchy);
  return field(await tools().flushing("readpublic", "-c", "primary"), "name");
}

test.each(["rsa2048", "ecc256", "ecc384", "aes128cfb"])(
  "createprimary makes the same %s key from the same template, and another from another seed",
  async (type) => {
    const owner = await primaryName(type, "o");
    expect(await primaryName(type, "o")).toBe(owner);
    expect(await primaryName(type, "e")).not.toBe(owner);
    await tools()("clear");
    expect(await primaryName(type, "o")).not.toBe(owner);
  },
);

test("changeeps and changepps replace the endorsement's and the platform's seed", async () => {
  const name = (hierarchy: string) => primaryName("ecc", hierarchy);
  const [endorsement, platform, owner] = [await name("e"), await name("p"), await name("o")];
  await tools()("changeeps");
  expect(await name("e")).not.toBe(endorsement);
  expect(await name("p")).toBe(platform);
  await tools()("changepps");
  expect(await name("p")).not.toBe(platform);
  expect(await name("o")).toBe(owner);
});

test("an object with data unseals it to who knows its authorisation, which changeauth replaces", async () => {
  await primary("-G", "ecc");
  tools().write("sealed", "secret data");
  await makeKey("-i", "sealed", "-p", "first");
  expect(await tools().flushing("unseal", "-c", "key", "-p", "first")).toBe("secret data");
  expect(await tools().fails("unseal", "-c", "key", "-p", "wrong")).toMatch(/0x98E/);
  await tools()("flushcontext", "-t");
  const change = ["-c", "key", "-C", "primary", "-p", "first", "-r", "private", "second"];
  await tools().flushing("changeauth", ...change);
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key");
  expect(await tools().flushing("unseal", "-c", "key", "-p", "second")).toBe("secret data");
});

test("evictcontrol makes a key persistent over a reset, and evicts it", async () => {
  await primary("-G", "ecc");
  await makeKey("-G", "ecc");
  await tools().flushing("evictcontrol", "-C", "o", "-c", "key", "0x81000005");
  await tools()("shutdown", "--clear");
  expect(await control(tools().emulator.controlSocket, CMD.INIT, u32(0))).toBe(0);
  await tools()("startup", "--clear");
  expect(await tools()("getcap", "handles-persistent")).toContain("0x81000005");
  tools().write("message", MESSAGE);
  await tools()("sign", "-Q", "-c", "0x81000005", "-g", "sha256", "-f", "plain", "-o", "signature", "message");
  await tools()("readpublic", "-Q", "-c", "0x81000005", "-f", "pem", "-o", "key.pub");
  const key = tools().read("key.pub").toString();
  expect(verify("sha256", Buffer.from(MESSAGE), key, tools().read("signature"))).toBe(true);
  await tools()("evictcontrol", "-C", "o", "-c", "0x81000005");
  expect(await tools()("getcap", "handles-persistent")).not.toContain("0x81000005");
});

test.each([
  ["rsa", "rsassa"],
  ["ecc", "ecdsa"],
])("createek, createak and a credential that only this pair of %s keys activates", async (type, scheme) => {
  await tools().flushing("createek", "-Q", "-c", "ek", "-G", type, "-u", "ek.pub");
  const names = ["-u", "ak.pub", "-r", "ak.priv", "-n", "ak.name"];
  await tools().flushing("createak", "-Q", "-C", "ek", "-c", "ak", "-G", type, "-g", "sha256", "-s", scheme, ...names);
  tools().write("secret", "0123456789abcdef");
  const name = tools().read("ak.name").toString("hex");
  await tools().flushing("readpublic", "-Q", "-c", "ek", "-f", "pem", "-o", "ek.pem");
  // By the tool alone, and by the TPM.
  await tools()(
    "makecredential",
    "-Q",
    "-T",
    "none",
    "-u",
    "ek.pem",
    "-s",
    "secret",
    "-n",
    name,
    "-o",
    "outside",
    "-G",
    type,
  );
  await tools().flushing("makecredential", "-Q", "-u", "ek.pub", "-s", "secret", "-n", name, "-o", "inside");
  for (const credential of ["outside", "inside"]) {
    await tools()("startauthsession", "-S", "session", "--policy-session");
    await tools()("policysecret", "-Q", "-S", "session", "-c", "e");
    const activate = ["-c", "ak", "-C", "ek", "-i", credential, "-o", "activated", "-P", "session:session"];
    await tools().flushing("activatecredential", "-Q", ...activate);
    await tools()("flushcontext", "session");
    expect(tools().read("activated").toString(), credential).toBe("0123456789abcdef");
  }
});

test.each([
  ["rsa", { modulusLength: 2048 }, "rsassa"],
  ["ecc", { namedCurve: "P-256" }, "ecdsa"],
])("import takes an %s key that OpenSSL made, and the TPM signs with it", async (type, options, scheme) => {
  const pair =
    type === "rsa"
      ? generateKeyPairSync("rsa", options as { modulusLength: number })
      : generateKeyPairSync("ec", options as { namedCurve: string });
  tools().write("outside.pem", pair.privateKey.export({ type: type === "rsa" ? "pkcs1" : "sec1", format: "pem" }));
  await primary("-G", "ecc");
  await tools().flushing(
    "import",
    "-Q",
    "-C",
    "primary",
    "-G",
    type,
    "-i",
    "outside.pem",
    "-u",
    "public",
    "-r",
    "private",
  );
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key");
  await signs("-s", scheme);
  expect(tools().read("key.pub").toString()).toBe(pair.publicKey.export({ type: "spki", format: "pem" }));
});

test("loadexternal takes a whole key pair for use in the null hierarchy", async () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  tools().write("outside.pem", privateKey.export({ type: "pkcs1", format: "pem" }));
  const load = ["-C", "n", "-G", "rsa", "-r", "outside.pem", "-c", "key"];
  await tools().flushing("loadexternal", "-Q", ...load);
  await signs("-s", "rsassa");
});

test.each(["null", "aes"])(
  "duplicate and import move a key to another parent, with inner wrapping %s",
  async (wrapping) => {
    await tools()("startauthsession", "-S", "trial");
    await tools()("policycommandcode", "-S", "trial", "-L", "policy", "TPM2_CC_Duplicate");
    await tools()("flushcontext", "trial");
    await primary("-G", "ecc");
    await makeKey("-G", "ecc", "-L", "policy", "-a", "sensitivedataorigin|userwithauth|sign");
    await tools().flushing("createprimary", "-Q", "-C", "e", "-G", "rsa", "-c", "parent");
    tools().write("wrapping", Buffer.alloc(16, 5));

    await tools()("startauthsession", "-S", "session", "--policy-session");
    await tools()("policycommandcode", "-S", "session", "TPM2_CC_Duplicate");
    const inner = wrapping === "null" ? ["-G", "null"] : ["-G", "aes", "-i", "wrapping"];
    const made = ["-r", "duplicate", "-s", "seed", "-u", "copy.pub"];
    await tools().flushing("duplicate", "-Q", "-C", "parent", "-c", "key", ...inner, "-p", "session:session", ...made);
    await tools()("flushcontext", "session");

    const outer = wrapping === "null" ? [] : ["-k", "wrapping"];
    const copy = ["-C", "parent", "-i", "duplicate", "-s", "seed", "-u", "public", "-r", "copy.priv", "-L", "policy"];
    await tools().flushing("import", "-Q", "-G", "ecc", ...copy, ...outer);
    await tools().flushing("load", "-Q", "-C", "parent", "-u", "public", "-r", "copy.priv", "-c", "key");
    await signs("-s", "ecdsa");
  },
);

test("getekcertificate finds the certificate that the manufacturer left in NV", async () => {
  const certificate = randomBytes(767); // The tool passes on what is there.
  tools().write("certificate", certificate);
  const attributes = "platformcreate|ppwrite|ppread|ownerread|authread|no_da";
  // TCG EK Credential Profile, 2.2.1.4: the certificate of the RSA-2048 key.
  await tools()("nvdefine", "0x1c00002", "-C", "p", "-s", "767", "-a", attributes);
  await tools()("nvwrite", "0x1c00002", "-C", "p", "-i", "certificate");
  await tools()("getekcertificate", "-o", "found");
  expect(tools().read("found").equals(certificate)).toBe(true);
});

test("send passes bytes to the TPM and back", async () => {
  tools().write("command", Buffer.from("80010000000c0000017b0008", "hex")); // TPM2_GetRandom(8)
  await tools()("send", "-o", "response", "command");
  expect(tools().read("response").toString("hex")).toMatch(/^800100000014000000000008[0-9a-f]{16}$/);
});
