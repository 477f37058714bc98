// swtpm_bios, which does what a BIOS does with a TPM that has just been powered on.
import { expect, test } from "vitest";
import { run } from "../support/process.ts";
import { field, useTools } from "../support/tpm2-tools.ts";

const tools = useTools({ flags: "not-need-init" });

/** Exit status 0 for success, 128 for an answer of the TPM that is an error. */
const bios = async (...options: string[]) => {
  const { status, stdout, stderr } = await run("swtpm_bios", [
    "--unix",
    tools().emulator.dataSocket,
    "--tpm2",
    ...options,
  ]);
  return { status, text: stdout + stderr };
};

test("starts the TPM once", async () => {
  expect(await tools().fails("getrandom", "8")).toMatch(/0x100\b/);
  expect(await bios("-c", "-o")).toEqual({ status: 0, text: "" });
  await tools()("getrandom", "8", "--hex");
  expect(await bios("-c", "-o")).toMatchObject({ status: 128, text: expect.stringMatching(/0x0*100\b/) });
});

test("has a TPM that has no saved state refuse to resume", async () => {
  expect(await bios("-s", "-o")).toMatchObject({ status: 128, text: expect.stringMatching(/0x0*1C4\b/i) });
});

test("runs the self-test and gives the platform hierarchy a random authorisation", async () => {
  expect(await bios("-c", "-cs", "-u")).toEqual({ status: 0, text: "" });
  expect(await tools().fails("clear", "-c", "p")).toMatch(/0x9A2/);
  await tools()("clear", "-c", "l");
  expect(field(await tools()("gettestresult"), "status")).toBe("success");
});
