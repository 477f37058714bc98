// tpm2-tools: the assertions of enhanced authorisation on a sealed secret, with and without what they demand (Part 3, 23).
import { Buffer } from "node:buffer";
import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { expect, test } from "vitest";
import { TPM, u16 } from "../support/tpm-client.ts";
import { hash, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();
const INDEX = "0x1500016";
const ZERO = new Uint8Array(32);
/** TPM_RC_POLICY_FAIL for session 1, TPM_RC_POLICY. */
const POLICY_FAIL = /0x99D/;
const POLICY = /0x126/;

/** A step in a session: a tool without its session, and its words. */
type Step = readonly [name: string, ...args: string[]];

async function inSession(kind: "trial" | "policy", steps: readonly Step[]): Promise<void> {
  await tools()("startauthsession", "-S", "session", ...(kind === "policy" ? ["--policy-session"] : []));
  for (const [name, ...args] of steps) await tools().flushing(name, "-S", "session", ...args);
}

/** Seals "secret" under the policy that the steps make in a trial session. */
async function sealUnder(...steps: readonly Step[]): Promise<void> {
  await inSession("trial", steps);
  await tools()("getpolicydigest", "-S", "session", "-o", "policy");
  await tools()("flushcontext", "session");
  tools().write("data", "secret");
  await tools().flushing("createprimary", "-Q", "-G", "ecc", "-c", "primary");
  await tools().flushing(
    "create",
    "-Q",
    "-C",
    "primary",
    "-L",
    "policy",
    "-i",
    "data",
    "-u",
    "public",
    "-r",
    "private",
  );
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "sealed");
}

async function unseal(...steps: readonly Step[]): Promise<string> {
  await inSession("policy", steps);
  const secret = await tools().flushing("unseal", "-c", "sealed", "-p", "session:session");
  await tools()("flushcontext", "session");
  return secret;
}

/** The error of unsealing after steps that all succeed. */
async function unsealFails(...steps: readonly Step[]): Promise<string> {
  await inSession("policy", steps);
  const error = await tools().fails("unseal", "-c", "sealed", "-p", "session:session");
  await tools()("flushcontext", "-t");
  await tools()("flushcontext", "session");
  return error;
}

/** The error of the last step, after others that succeed. */
async function stepFails(...steps: readonly Step[]): Promise<string> {
  await inSession("policy", steps.slice(0, -1));
  const [name, ...args] = steps.at(-1)!;
  const error = await tools().fails(name, "-S", "session", ...args);
  await tools()("flushcontext", "-t");
  await tools()("flushcontext", "session");
  return error;
}

/** Loads a public key as "signer", with its name in "signer.name", and gives the private one. */
async function makeSigner(): Promise<KeyObject> {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  tools().write("signer.pem", publicKey.export({ type: "spki", format: "pem" }));
  const load = ["-C", "o", "-G", "rsa", "-u", "signer.pem", "-c", "signer", "-n", "signer.name"];
  await tools().flushing("loadexternal", "-Q", ...load);
  return privateKey;
}

async function defineIndex(attributes: string, ...options: string[]): Promise<void> {
  await tools()("nvdefine", INDEX, "-C", "o", "-a", attributes, ...options);
}

test("policyor takes either branch, and not a third", async () => {
  await inSession("trial", [["policypassword"]]);
  await tools()("getpolicydigest", "-S", "session", "-o", "branch1");
  await tools()("policyrestart", "-S", "session");
  await tools()("policycommandcode", "-S", "session", "-L", "branch2", "TPM2_CC_Unseal");
  await tools()("flushcontext", "session");
  const or: Step = ["policyor", "sha256:branch1,branch2"];
  await sealUnder(["policycommandcode", "TPM2_CC_Unseal"], or);
  const digest = hash("sha256", ZERO, Buffer.from("00000171", "hex"), tools().read("branch1"), tools().read("branch2"));
  expect(tools().read("policy").toString("hex")).toBe(digest.toString("hex"));
  expect(await unseal(["policypassword"], or)).toBe("secret");
  expect(await unseal(["policycommandcode", "TPM2_CC_Unseal"], or)).toBe("secret");
  expect(await stepFails(["policylocality", "three"], or)).toMatch(/0x1C4/);
});

test("policysigned wants a signature, and policyticket its ticket for as long as it lasts", async () => {
  const key = await makeSigner();
  // aHash: expiration, cpHashA and policyRef, all empty.
  tools().write("signature", sign("sha256", Buffer.alloc(4), key));
  const signed: Step = ["policysigned", "-c", "signer", "-g", "sha256", "-s", "signature", "-f", "rsassa"];
  await sealUnder(signed);
  expect(await unseal(signed)).toBe("secret");
  expect(await unsealFails()).toMatch(POLICY_FAIL);

  // A negative expiration asks for a ticket that lasts as many seconds.
  await tools()("startauthsession", "-S", "session", "--policy-session");
  const lasting = ["-c", "signer", "-x", "-t", "-500"];
  await tools().flushing("policysigned", "-S", "session", ...lasting, "--raw-data", "to-sign");
  tools().write("signature", sign("sha256", tools().read("to-sign"), key));
  const ticket = ["--ticket", "ticket", "--timeout", "timeout"];
  await tools().flushing("policysigned", "-S", "session", ...signed.slice(3), ...lasting, ...ticket);
  await tools()("flushcontext", "session");
  const byTicket: Step = ["policyticket", "-n", "signer.name", "--ticket", "ticket", "--timeout", "timeout"];
  expect(await unseal(byTicket)).toBe("secret");
  const forged = tools().read("ticket");
  forged[forged.length - 1]! ^= 1;
  tools().write("ticket", forged);
  expect(await stepFails(byTicket)).toMatch(/0x5E0/);

  tools().write("signature", sign("sha256", Buffer.alloc(5), key));
  expect(await stepFails(signed)).toMatch(/0x5DB/);
});

test("policyauthorize takes any policy that its key signed", async () => {
  const key = await makeSigner();
  await sealUnder(["policyauthorize", "-n", "signer.name", "-i", "/dev/null"]);
  await inSession("trial", [["policycommandcode", "TPM2_CC_Unseal"]]);
  await tools()("getpolicydigest", "-S", "session", "-o", "approved");
  await tools()("flushcontext", "session");
  tools().write("signature", sign("sha256", tools().read("approved"), key));
  const check = ["-c", "signer", "-g", "sha256", "-m", "approved", "-s", "signature", "-f", "rsassa", "-t", "ticket"];
  await tools().flushing("verifysignature", ...check);
  const authorize: Step = ["policyauthorize", "-i", "approved", "-n", "signer.name", "-t", "ticket"];
  expect(await unseal(["policycommandcode", "TPM2_CC_Unseal"], authorize)).toBe("secret");
  expect(await stepFails(["policypassword"], authorize)).toMatch(/0x1C4/);
});

test("policylocality holds at its localities only", async () => {
  await sealUnder(["policylocality", "zero"]);
  expect(await unseal(["policylocality", "zero"])).toBe("secret");
  await sealUnder(["policylocality", "three"]);
  expect(await unsealFails(["policylocality", "three"])).toMatch(/0x907/);
});

test("policyauthorizenv takes the policy that an index holds", async () => {
  await defineIndex("ownerread|ownerwrite|authread|authwrite", "-s", "34");
  const approve = async (...steps: Step[]) => {
    await inSession("trial", steps);
    await tools()("getpolicydigest", "-S", "session", "-o", "approved");
    await tools()("flushcontext", "session");
    tools().write("approved", Buffer.concat([u16(TPM.ALG_SHA256), tools().read("approved")]));
    await tools()("nvwrite", INDEX, "-C", "o", "-i", "approved");
  };
  await approve(["policycommandcode", "TPM2_CC_Unseal"]);
  const authorize: Step = ["policyauthorizenv", "-C", "o", INDEX];
  await sealUnder(["policycommandcode", "TPM2_CC_Unseal"], authorize);
  expect(await unseal(["policycommandcode", "TPM2_CC_Unseal"], authorize)).toBe("secret");
  await approve(["policypassword"]);
  expect(await stepFails(["policycommandcode", "TPM2_CC_Unseal"], authorize)).toMatch(/\(0x84\)/);
  expect(await unseal(["policypassword"], authorize)).toBe("secret");
});

/** With 0x81 in the index: 129, or -127 (Part 3, 23.9). libtpms before 0.10 had negative numbers in the wrong order. */
test.each([
  ["eq", "81", "80"],
  ["neq", "80", "81"],
  ["sgt", "80", "82"],
  ["ugt", "80", "82"],
  ["slt", "82", "80"],
  ["ult", "82", "80"],
  ["sge", "80", "01"],
  ["uge", "7f", "82"],
  ["sle", "01", "80"],
  ["ule", "82", "80"],
  ["bs", "81", "02"],
  ["bc", "7e", "01"],
])("policynv compares the index by %s: 81 with %s, not with %s", async (operation, passes, fails) => {
  await defineIndex("authread|authwrite|ownerread|ownerwrite", "-s", "1");
  tools().write("value", Buffer.from([0x81]));
  await tools()("nvwrite", INDEX, "-C", "o", "-i", "value");
  tools().write("passes", Buffer.from(passes, "hex"));
  tools().write("fails", Buffer.from(fails, "hex"));
  await inSession("policy", [["policynv", "-C", "o", "-i", "passes", INDEX, operation]]);
  await tools()("flushcontext", "session");
  expect(await stepFails(["policynv", "-C", "o", "-i", "fails", INDEX, operation])).toMatch(POLICY);
});

test("policycountertimer holds while the clock is below a limit", async () => {
  const below = (limit: string): Step => ["policycountertimer", "--ult", limit];
  await sealUnder(below("3600000"));
  expect(await unseal(below("3600000"))).toBe("secret");
  await tools()("setclock", "3700000");
  // This tool compares the time since the last power-on, which TPM2_ClockSet leaves as it is.
  expect(await unseal(below("3600000"))).toBe("secret");
  expect(await stepFails(below("1"))).toMatch(POLICY);
  expect(await unsealFails(below("3500000"))).toMatch(POLICY_FAIL);
});

test("policynvwritten and policycommandcode let an index be written once", async () => {
  const once: Step[] = [
    ["policycommandcode", "TPM2_CC_NV_Write"],
    ["policynvwritten", "c"],
  ];
  await inSession("trial", once);
  await tools()("getpolicydigest", "-S", "session", "-o", "policy");
  await tools()("flushcontext", "session");
  await defineIndex("authread|policywrite", "-s", "6", "-L", "policy");
  tools().write("data", "secret");
  await inSession("policy", once);
  await tools()("nvwrite", INDEX, "-P", "session:session", "-i", "data");
  await tools()("flushcontext", "session");
  await inSession("policy", once);
  expect(await tools().fails("nvwrite", INDEX, "-P", "session:session", "-i", "data")).toMatch(POLICY_FAIL);
  expect(await tools()("nvread", INDEX)).toBe("secret");
});

/** Owner policy: the steps of a trial session, one of which needs what `prepare` leaves behind. */
async function setOwnerPolicy(...steps: readonly Step[]): Promise<void> {
  await inSession("trial", steps);
  await tools()("getpolicydigest", "-S", "session", "-o", "policy");
  await tools()("flushcontext", "session");
  await tools()("setprimarypolicy", "-C", "o", "-L", "policy", "-g", "sha256");
  await tools()("changeauth", "-c", "o", "owner-secret");
}

test("policycphash binds the parameters of a command", async () => {
  await tools()("changeauth", "-c", "o", "new-secret", "--cphash", "cphash"); // Computed, not sent.
  const cpHash: Step = ["policycphash", "--cphash-input", "cphash"];
  await setOwnerPolicy(cpHash);
  await inSession("policy", [cpHash]);
  expect(await tools().fails("changeauth", "-c", "o", "-p", "session:session", "other-secret")).toMatch(POLICY_FAIL);
  await tools()("changeauth", "-c", "o", "-p", "session:session", "new-secret");
  await tools()("changeauth", "-c", "o", "-p", "new-secret");
});

test("policytemplate binds the template of a key", async () => {
  await tools().flushing("createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "primary", "--template-data", "template");
  tools().write("template-hash", hash("sha256", tools().read("template")));
  const template: Step = ["policytemplate", "--template-hash", "template-hash"];
  await setOwnerPolicy(template);
  await inSession("policy", [template]);
  const create = ["-Q", "-C", "o", "-P", "session:session", "-c", "primary"];
  expect(await tools().fails("createprimary", ...create, "-G", "rsa")).toMatch(POLICY_FAIL);
  await tools().flushing("createprimary", ...create, "-G", "ecc");
});

test("policynamehash binds the handles of a command", async () => {
  await tools().flushing("createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "primary");
  tools().write("names", hash("sha256", Buffer.from("40000001", "hex"))); // The name of the owner, and of nothing else.
  const names: Step = ["policynamehash", "-n", "names"];
  await setOwnerPolicy(names);
  await inSession("policy", [names]);
  const owner = ["-C", "o", "-P", "session:session"];
  expect(await tools().fails("evictcontrol", ...owner, "-c", "primary", "0x81000005")).toMatch(POLICY_FAIL);
  await tools()("nvdefine", INDEX, ...owner, "-s", "8", "-a", "authread|authwrite");
});

test("policyduplicationselect binds the new parent", async () => {
  await tools().flushing("createprimary", "-Q", "-C", "o", "-G", "ecc", "-c", "primary");
  for (const [parent, hierarchy] of [
    ["right", "n"],
    ["wrong", "e"],
  ] as const) {
    await tools().flushing("createprimary", "-Q", "-C", hierarchy, "-G", "ecc", "-c", parent);
    await tools().flushing("readpublic", "-Q", "-c", parent, "-n", `${parent}.name`);
  }
  await inSession("trial", [["policyduplicationselect", "-N", "right.name"]]);
  await tools()("getpolicydigest", "-S", "session", "-o", "policy");
  await tools()("flushcontext", "session");
  const attributes = "sensitivedataorigin|userwithauth|sign";
  const made = ["-L", "policy", "-a", attributes, "-u", "public", "-r", "private"];
  await tools().flushing("create", "-Q", "-C", "primary", "-G", "ecc", ...made);
  await tools().flushing("load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key");
  await tools().flushing("readpublic", "-Q", "-c", "key", "-n", "key.name");

  const select: Step = ["policyduplicationselect", "-N", "right.name", "-n", "key.name"];
  const duplicate = ["-Q", "-c", "key", "-G", "null", "-p", "session:session", "-r", "duplicate", "-s", "seed"];
  await inSession("policy", [select]);
  expect(await tools().fails("duplicate", "-C", "wrong", ...duplicate)).toMatch(POLICY_FAIL);
  await tools()("flushcontext", "-t");
  await tools().flushing("duplicate", "-C", "right", ...duplicate);
  expect(tools().read("duplicate").length).toBeGreaterThan(100);
});

test("createpolicy makes the digest that policypcr makes", async () => {
  await tools()("createpolicy", "--policy-pcr", "-l", "sha256:0,16", "-L", "created");
  await inSession("trial", [["policypcr", "-l", "sha256:0,16"]]);
  await tools()("getpolicydigest", "-S", "session", "-o", "policy");
  expect(tools().read("created").equals(tools().read("policy"))).toBe(true);
});
