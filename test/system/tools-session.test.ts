// tpm2-tools: policy sessions, HMAC sessions, parameter encryption.
import { expect, test } from "vitest";
import { u16, u32 } from "../support/tpm-client.ts";
import { hash, parsePcrs, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();
const INDEX = "0x1500016";
const ZERO = new Uint8Array(32);
const SECRET = "12345678";

/** Part 2, 6.5.2. */
const CC = { NV_Read: 0x14e, PolicySecret: 0x151, PolicyAuthValue: 0x16b, PolicyCommandCode: 0x16c, PolicyPCR: 0x17f };
const PCR_SELECTION = Buffer.concat([u32(1), u16(0x000b), Buffer.from([3, 0x01, 0x00, 0x01])]); // sha256:0,16

/** How Part 3 says a policy digest grows by each assertion. */
const policyDigest = {
  policypcr: (old: Uint8Array, pcrs: Uint8Array) =>
    hash("sha256", old, u32(CC.PolicyPCR), PCR_SELECTION, hash("sha256", pcrs)),
  policysecret: (old: Uint8Array) => hash("sha256", hash("sha256", old, u32(CC.PolicySecret), u32(0x40000001))),
  policyauthvalue: (old: Uint8Array) => hash("sha256", old, u32(CC.PolicyAuthValue)),
  policypassword: (old: Uint8Array) => hash("sha256", old, u32(CC.PolicyAuthValue)),
  policycommandcode: (old: Uint8Array) => hash("sha256", old, u32(CC.PolicyCommandCode), u32(CC.NV_Read)),
};

const assertions: [keyof typeof policyDigest, string[]][] = [
  ["policypcr", ["-l", "sha256:0,16"]],
  ["policysecret", ["-c", "o"]],
  ["policyauthvalue", []],
  ["policypassword", []],
  ["policycommandcode", ["TPM2_CC_NV_Read"]],
];

async function pcrValues(): Promise<Buffer> {
  const bank = parsePcrs(await tools()("pcrread", "sha256:0,16")).get("sha256")!;
  return Buffer.from(bank.get(0)! + bank.get(16)!, "hex");
}

/** Runs one assertion in a trial session and keeps the digest in the file "policy". */
async function trial(name: string, args: readonly string[]): Promise<void> {
  await tools()("startauthsession", "-S", "trial");
  await tools()(name, "-S", "trial", "-L", "policy", ...args);
  await tools()("flushcontext", "trial");
}

/** An index that is read by the policy in the file "policy", and holds SECRET. */
async function definePolicyIndex(...options: string[]): Promise<void> {
  await tools()("nvdefine", INDEX, "-C", "o", "-s", "8", "-a", "ownerwrite|policyread", "-L", "policy", ...options);
  tools().write("data", SECRET);
  await tools()("nvwrite", INDEX, "-C", "o", "-i", "data");
}

test.each(assertions)("%s in a trial session gives the digest that Part 3 defines", async (name, args) => {
  tools().write("event", "measured");
  await tools()("pcrevent", "16", "event");
  await trial(name, args);
  expect(tools().read("policy").toString("hex")).toBe(policyDigest[name](ZERO, await pcrValues()).toString("hex"));
});

test.each(assertions)("an index that wants %s is read with such a session and not without", async (name, args) => {
  const byValue = name === "policyauthvalue" || name === "policypassword";
  await trial(name, args);
  await definePolicyIndex(...(byValue ? ["-p", "secret"] : []));
  await tools()("startauthsession", "-S", "session", "--policy-session");
  const auth = `session:session${byValue ? "+secret" : ""}`;
  expect(await tools().fails("nvread", INDEX, "-P", auth, "-s", "8")).toMatch(/0x99D/);
  await tools()("policyrestart", "-S", "session");
  await tools()(name, "-S", "session", ...args);
  expect(await tools()("nvread", INDEX, "-P", auth, "-s", "8")).toBe(SECRET);
});

test("assertions add up in order, and policyrestart starts again", async () => {
  await tools()("startauthsession", "-S", "trial");
  await tools()("policycommandcode", "-S", "trial", "TPM2_CC_NV_Read");
  await tools()("policysecret", "-S", "trial", "-c", "o", "-L", "policy");
  const expected = policyDigest.policysecret(policyDigest.policycommandcode(ZERO));
  expect(tools().read("policy").toString("hex")).toBe(expected.toString("hex"));
  await tools()("policyrestart", "-S", "trial");
  await tools()("policyauthvalue", "-S", "trial", "-L", "policy");
  expect(tools().read("policy").toString("hex")).toBe(policyDigest.policyauthvalue(ZERO).toString("hex"));
});

test("a PCR policy fails once the PCR has changed, before and after its assertion", async () => {
  await trial("policypcr", ["-l", "sha256:0,16"]);
  await definePolicyIndex();
  tools().write("event", "changed");
  await tools()("startauthsession", "-S", "session", "--policy-session");
  await tools()("policypcr", "-S", "session", "-l", "sha256:0,16");
  await tools()("pcrevent", "0", "event");
  expect(await tools().fails("nvread", INDEX, "-P", "session:session", "-s", "8")).toMatch(/0x128/);
  await tools()("policyrestart", "-S", "session");
  await tools()("policypcr", "-S", "session", "-l", "sha256:0,16");
  expect(await tools().fails("nvread", INDEX, "-P", "session:session", "-s", "8")).toMatch(/0x99D/);
});

test("policysecret wants the secret, and policycommandcode its command", async () => {
  await tools()("changeauth", "-c", "owner", "owner-secret");
  await tools()("startauthsession", "-S", "session", "--policy-session");
  expect(await tools().fails("policysecret", "-S", "session", "-c", "o", "wrong")).toMatch(/0x9A2/);
  await tools()("policysecret", "-S", "session", "-c", "o", "owner-secret");
  await tools()("flushcontext", "session");

  await tools()("changeauth", "-c", "owner", "-p", "owner-secret");
  await trial("policycommandcode", ["TPM2_CC_NV_Write"]);
  await definePolicyIndex();
  await tools()("startauthsession", "-S", "session", "--policy-session");
  await tools()("policycommandcode", "-S", "session", "TPM2_CC_NV_Write");
  expect(await tools().fails("nvread", INDEX, "-P", "session:session", "-s", "8")).toMatch(/0x9A4/);
});

test.each(["plain", "bound"])(
  "a %s HMAC session authorises, encrypts both ways and refuses a wrong secret",
  async (kind) => {
    await tools()("changeauth", "-c", "owner", "owner-secret");
    const bind = kind === "bound" ? ["--bind-context", "o", "--bind-auth", "owner-secret"] : [];
    await tools()("startauthsession", "-S", "session", "--hmac-session", ...bind);
    await tools()("sessionconfig", "session", "--enable-encrypt", "--enable-decrypt");
    const owner = "session:session+owner-secret";
    const attributes = "authread|authwrite|no_da";
    await tools()("nvdefine", INDEX, "-C", "o", "-P", owner, "-s", "8", "-a", attributes, "-p", "secret");
    tools().write("data", SECRET);
    await tools()("nvwrite", INDEX, "-P", "session:session+secret", "-i", "data");
    expect(await tools()("nvread", INDEX, "-P", "session:session+secret", "-s", "8")).toBe(SECRET);
    expect(await tools().fails("nvread", INDEX, "-P", "session:session+wrong", "-s", "8")).toMatch(/0x9A2/);
    // Encryption and decryption cancel out above only if both ends agree on the secret: read it in the clear too.
    expect(await tools()("nvread", INDEX, "-P", "secret", "-s", "8")).toBe(SECRET);
  },
);

test("sessions are counted, listed and flushed", async () => {
  for (const name of ["a", "b", "c", "d"]) await tools()("startauthsession", "-S", name, "--hmac-session");
  const saved = await tools()("getcap", "handles-saved-session");
  expect(saved.trim().split("\n")).toHaveLength(4);
  for (const name of ["a", "b", "c", "d"]) await tools()("flushcontext", name);
  expect((await tools()("getcap", "handles-saved-session")).trim()).toBe("");
});
