// tpm2-tools: NV storage and the dictionary-attack protection of its authorisations.
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { CMD, control, u32 } from "../support/tpm-client.ts";
import { field, hash, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();
const INDEX = "0x1500016";

const define = (size: number, attributes: string, ...more: string[]) =>
  tools()("nvdefine", INDEX, "-C", "o", "-s", String(size), "-a", attributes, ...more);

async function restart(): Promise<void> {
  await tools()("shutdown", "--clear");
  expect(await control(tools().emulator.controlSocket, CMD.INIT, u32(0))).toBe(0);
  await tools()("startup", "--clear");
}

async function nvread(size: number, ...options: string[]): Promise<Buffer> {
  await tools()("nvread", INDEX, "-s", String(size), "-o", "read", ...options);
  return tools().read("read");
}

test("an index is defined, written in part, read, kept over a reset and undefined", async () => {
  const data = randomBytes(2000);
  tools().write("data", data);
  await define(2048, "ownerread|ownerwrite|authread|authwrite", "-p", "secret");
  await tools()("nvwrite", INDEX, "-P", "secret", "-i", "data");
  tools().write("patch", "patched");
  await tools()("nvwrite", INDEX, "-C", "o", "--offset", "1996", "-i", "patch");
  data.write("patched".slice(0, 4), 1996);
  expect((await nvread(2000, "-P", "secret")).equals(data)).toBe(true);
  await restart();
  expect((await nvread(2000, "-C", "o")).equals(data)).toBe(true);
  expect(await tools()("getcap", "handles-nv-index")).toContain("0x1500016");
  await tools()("nvundefine", INDEX, "-C", "o");
  expect(await tools()("getcap", "handles-nv-index")).not.toContain("0x1500016");
  await tools().fails("nvread", INDEX, "-C", "o", "-s", "1");
});

test("nvreadpublic gives the public area and the name that follows from it", async () => {
  await define(24, "ownerread|ownerwrite|authread|no_da");
  const text = await tools()("nvreadpublic", INDEX);
  const attributes = Number(field(text.slice(text.indexOf("attributes")), "value"));
  expect(field(text, "size")).toBe("24");
  const nvPublic = Buffer.alloc(14);
  nvPublic.writeUInt32BE(Number(INDEX));
  nvPublic.writeUInt16BE(0x000b, 4);
  nvPublic.writeUInt32BE(attributes, 6);
  nvPublic.writeUInt16BE(24, 12); // after an empty authPolicy, whose size is inserted below
  const name = hash("sha256", nvPublic.subarray(0, 10), new Uint8Array(2), nvPublic.subarray(12));
  expect(field(text, "name")).toBe(`000b${name.toString("hex")}`);
});

test("an index that is not written yet, a wrong range and a second definition are refused", async () => {
  await define(8, "ownerread|ownerwrite");
  expect(await tools().fails("nvread", INDEX, "-C", "o", "-s", "8")).toMatch(/0x14A/);
  tools().write("long", "123456789");
  await tools().fails("nvwrite", INDEX, "-C", "o", "-i", "long");
  const args = [INDEX, "-C", "o", "-s", "8", "-a", "ownerread|ownerwrite"];
  expect(await tools().fails("nvdefine", ...args)).toMatch(/0x14C/);
});

test("a wrong authorisation is refused and counts; too many lock the TPM until the lockout authority clears it", async () => {
  await define(8, "authread|authwrite", "-p", "secret");
  tools().write("data", "12345678");
  await tools()("nvwrite", INDEX, "-P", "secret", "-i", "data");
  await tools()("dictionarylockout", "-s", "-n", "2", "-t", "1000", "-l", "1000");
  const variable = () => tools()("getcap", "properties-variable");
  expect(field(await variable(), "TPM2_PT_MAX_AUTH_FAIL")).toBe("0x2");

  expect(await tools().fails("nvread", INDEX, "-P", "wrong", "-s", "8")).toMatch(/0x98E/);
  expect(field(await variable(), "TPM2_PT_LOCKOUT_COUNTER")).toBe("0x1");
  expect((await nvread(8, "-P", "secret")).toString()).toBe("12345678");
  await tools().fails("nvread", INDEX, "-P", "wrong", "-s", "8");
  expect(await tools().fails("nvread", INDEX, "-P", "secret", "-s", "8")).toMatch(/0x921/);
  expect(field(await variable(), "inLockout")).toBe("1");

  await tools()("dictionarylockout", "-c");
  expect(field(await variable(), "TPM2_PT_LOCKOUT_COUNTER")).toBe("0x0");
  expect((await nvread(8, "-P", "secret")).toString()).toBe("12345678");
});

test("failures of an index without dictionary-attack protection do not count", async () => {
  await define(8, "authread|authwrite|no_da", "-p", "secret");
  tools().write("data", "12345678");
  await tools()("nvwrite", INDEX, "-P", "secret", "-i", "data");
  for (let i = 0; i < 5; i++) expect(await tools().fails("nvread", INDEX, "-P", "wrong", "-s", "8")).toMatch(/0x9A2/);
  expect(field(await tools()("getcap", "properties-variable"), "TPM2_PT_LOCKOUT_COUNTER")).toBe("0x0");
  expect((await nvread(8, "-P", "secret")).toString()).toBe("12345678");
});
