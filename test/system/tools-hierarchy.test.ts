// tpm2-tools: the hierarchies, their authorisations and policies, and TPM2_Clear.
import { expect, test } from "vitest";
import { field, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();
const ATTRIBUTES = "authread|authwrite";
const defineIndex = (index: string, ...options: string[]) =>
  tools()("nvdefine", index, "-s", "8", "-a", ATTRIBUTES, ...options);

test.each(["owner", "endorsement", "lockout"])("changeauth replaces the authorisation of %s", async (hierarchy) => {
  await tools()("changeauth", "-c", hierarchy, "first");
  expect(field(await tools()("getcap", "properties-variable"), `${hierarchy}AuthSet`)).toBe("1");
  if (hierarchy !== "lockout") {
    expect(await tools().fails("changeauth", "-c", hierarchy, "-p", "wrong", "second")).toMatch(/0x9A2/);
  }
  await tools()("changeauth", "-c", hierarchy, "-p", "first", "second");
  await tools()("changeauth", "-c", hierarchy, "-p", "second");
  expect(field(await tools()("getcap", "properties-variable"), `${hierarchy}AuthSet`)).toBe("0");
});

test("a wrong lockout authorisation locks the lockout authority itself", async () => {
  await tools()("changeauth", "-c", "lockout", "secret");
  expect(await tools().fails("dictionarylockout", "-c", "-p", "wrong")).toMatch(/0x98E/);
  expect(await tools().fails("dictionarylockout", "-c", "-p", "secret")).toMatch(/0x921/);
});

test("clear removes the owner's indices and authorisations, and the platform keeps its own", async () => {
  await tools()("changeauth", "-c", "owner", "secret");
  await tools()("changeauth", "-c", "endorsement", "secret");
  await defineIndex("0x1500001", "-C", "o", "-P", "secret");
  await tools()("nvdefine", "0x1500002", "-C", "p", "-s", "8", "-a", `${ATTRIBUTES}|platformcreate`);
  await tools()("clear", "-c", "l");
  const indices = await tools()("getcap", "handles-nv-index");
  expect(indices).not.toContain("0x1500001");
  expect(indices).toContain("0x1500002");
  const variable = await tools()("getcap", "properties-variable");
  expect(field(variable, "ownerAuthSet")).toBe("0");
  expect(field(variable, "endorsementAuthSet")).toBe("0");
  await defineIndex("0x1500001", "-C", "o");
});

test("clearcontrol disables clear, and only the platform enables it again", async () => {
  await tools()("clearcontrol", "-C", "l", "s");
  expect(field(await tools()("getcap", "properties-variable"), "disableClear")).toBe("1");
  expect(await tools().fails("clear", "-c", "l")).toMatch(/0x120/);
  await tools().fails("clearcontrol", "-C", "l", "c");
  await tools()("clearcontrol", "-C", "p", "c");
  await tools()("clear", "-c", "p");
});

test("hierarchycontrol disables a hierarchy until the platform enables it", async () => {
  await tools()("hierarchycontrol", "-C", "o", "shEnable", "clear");
  expect(field(await tools()("getcap", "properties-variable"), "shEnable")).toBe("0");
  await tools().fails("nvdefine", "0x1500001", "-C", "o", "-s", "8", "-a", ATTRIBUTES);
  await tools()("hierarchycontrol", "-C", "p", "shEnable", "set");
  await defineIndex("0x1500001", "-C", "o");
});

test("setprimarypolicy lets a policy session stand for the owner", async () => {
  await tools()("startauthsession", "-S", "trial");
  await tools()("policycommandcode", "-S", "trial", "-L", "policy", "TPM2_CC_NV_DefineSpace");
  await tools()("flushcontext", "trial");
  await tools()("setprimarypolicy", "-C", "o", "-L", "policy", "-g", "sha256");
  await tools()("changeauth", "-c", "owner", "secret");

  await tools()("startauthsession", "-S", "session", "--policy-session");
  await tools()("policycommandcode", "-S", "session", "TPM2_CC_NV_DefineSpace");
  await defineIndex("0x1500001", "-C", "o", "-P", "session:session");
  await tools()("flushcontext", "session");
  expect(await tools()("getcap", "handles-nv-index")).toContain("0x1500001");

  await tools()("startauthsession", "-S", "other", "--policy-session");
  await tools()("policycommandcode", "-S", "other", "TPM2_CC_NV_UndefineSpace");
  expect(
    await tools().fails("nvdefine", "0x1500002", "-C", "o", "-P", "session:other", "-s", "8", "-a", ATTRIBUTES),
  ).toMatch(/0x99D/);
});
