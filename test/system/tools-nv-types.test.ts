// tpm2-tools: the types of NV indices besides the ordinary one, and their locks.
import { expect, test } from "vitest";
import { CMD, control, u32 } from "../support/tpm-client.ts";
import { hash, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();
const INDEX = "0x1500017";

const define = (attributes: string, ...more: string[]) =>
  tools()("nvdefine", INDEX, "-C", "o", "-a", attributes, ...more);
const refusal = (name: string, ...args: string[]) => tools().fails(name, INDEX, ...args);

async function read(...options: string[]): Promise<Buffer> {
  await tools()("nvread", INDEX, "-o", "read", ...options);
  return tools().read("read");
}

async function restart(): Promise<void> {
  await tools()("shutdown", "--clear");
  expect(await control(tools().emulator.controlSocket, CMD.INIT, u32(0))).toBe(0);
  await tools()("startup", "--clear");
}

test("a counter counts, keeps its count over a reset, and its successor goes on from there", async () => {
  await define("nt=counter|authread|authwrite");
  expect(await refusal("nvread")).toMatch(/0x14A/); // Never written.
  await tools()("nvincrement", INDEX);
  const first = (await read()).readBigUInt64BE();
  await tools()("nvincrement", INDEX);
  await restart();
  expect((await read()).readBigUInt64BE()).toBe(first + 1n);
  await tools()("nvundefine", INDEX, "-C", "o");
  await define("nt=counter|authread|authwrite");
  await tools()("nvincrement", INDEX);
  expect((await read()).readBigUInt64BE()).toBeGreaterThan(first + 1n);
  tools().write("data", "12345678");
  expect(await refusal("nvwrite", "-i", "data")).toMatch(/\(0x82\)/);
});

test("bits are only ever set", async () => {
  await define("nt=bits|authread|authwrite");
  await tools()("nvsetbits", INDEX, "-i", "0x8001");
  await tools()("nvsetbits", INDEX, "-i", "0x0110");
  expect((await read()).toString("hex")).toBe("0000000000008111");
});

test("an extend index is extended as a PCR is, with the algorithm of its name", async () => {
  await define("nt=extend|authread|authwrite", "-g", "sha384");
  let expected: Uint8Array = new Uint8Array(48);
  for (const data of ["first", "second"]) {
    tools().write("data", data);
    await tools()("nvextend", INDEX, "-i", "data");
    expected = hash("sha384", expected, data);
  }
  expect((await read()).toString("hex")).toBe(Buffer.from(expected).toString("hex"));
});

test("a read lock holds until the next reset, a write lock for good with writedefine", async () => {
  await define("authread|authwrite|ownerread|ownerwrite|read_stclear|writedefine", "-s", "8");
  tools().write("data", "12345678");
  await tools()("nvwrite", INDEX, "-i", "data");
  await tools()("nvreadlock", INDEX);
  expect(await refusal("nvread")).toMatch(/0x148/);
  await tools()("nvwritelock", INDEX);
  expect(await refusal("nvwrite", "-i", "data")).toMatch(/0x148/);
  await restart();
  expect((await read()).toString()).toBe("12345678");
  expect(await refusal("nvwrite", "-i", "data")).toMatch(/0x148/);
});

test("the global lock locks the indices that take part in it, until the next reset", async () => {
  const OTHER = "0x1500018";
  await define("authread|authwrite|globallock", "-s", "8");
  await tools()("nvdefine", OTHER, "-C", "o", "-a", "authread|authwrite", "-s", "8");
  tools().write("data", "12345678");
  await tools()("nvwritelock", "-C", "o", "--global");
  expect(await refusal("nvwrite", "-i", "data")).toMatch(/0x148/);
  await tools()("nvwrite", OTHER, "-i", "data");
  await restart();
  await tools()("nvwrite", INDEX, "-i", "data");
});

test("a PIN index admits its PIN as often as it says", async () => {
  await define("nt=pinfail|authread|ownerread|ownerwrite|no_da", "-p", "pin");
  tools().write("limits", Buffer.from("0000000000000002", "hex")); // pinCount 0, pinLimit 2
  await tools()("nvwrite", INDEX, "-C", "o", "-i", "limits");
  expect((await read("-P", "pin")).toString("hex")).toBe("0000000000000002");
  for (const _ of [1, 2]) expect(await refusal("nvread", "-P", "wrong")).toMatch(/0x9A2/);
  expect((await read("-C", "o")).toString("hex")).toBe("0000000200000002");
  await refusal("nvread", "-P", "pin");
});

test("an index of the platform that only a policy deletes goes with nvundefine's policy", async () => {
  await tools()("startauthsession", "-S", "trial");
  await tools()("policycommandcode", "-S", "trial", "-L", "policy", "TPM2_CC_NV_UndefineSpaceSpecial");
  await tools()("flushcontext", "trial");
  const attributes = "platformcreate|policydelete|ppread|ppwrite|authread|authwrite";
  await tools()("nvdefine", INDEX, "-C", "p", "-a", attributes, "-s", "8", "-L", "policy");
  await tools()("startauthsession", "-S", "session", "--policy-session");
  expect(await refusal("nvundefine", "-S", "session")).toMatch(/0x99D/);
  await tools()("flushcontext", "session");
  await tools()("startauthsession", "-S", "session", "--policy-session");
  await tools()("policycommandcode", "-S", "session", "TPM2_CC_NV_UndefineSpaceSpecial");
  await tools()("nvundefine", INDEX, "-S", "session");
  expect(await tools()("getcap", "handles-nv-index")).not.toContain(INDEX);
});
