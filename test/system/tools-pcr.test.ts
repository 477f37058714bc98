// tpm2-tools: platform configuration registers.
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { CMD, control, u32 } from "../support/tpm-client.ts";
import { BANKS, bankNames, hash, parsePcrs, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();

const pcrs = async (...selection: string[]) => parsePcrs(await tools()("pcrread", ...selection));

test("after a reset the PCRs of the dynamic launch are all ones and the others zero, in every bank", async () => {
  const banks = await pcrs();
  expect([...banks.keys()]).toEqual(bankNames);
  for (const bank of bankNames) {
    for (let pcr = 0; pcr < 24; pcr++) {
      const digit = pcr >= 17 && pcr <= 22 ? "f" : "0";
      expect(banks.get(bank)!.get(pcr), `${bank}:${pcr}`).toBe(digit.repeat(2 * BANKS[bank]));
    }
  }
});

test("pcrextend extends the named banks only", async () => {
  const digests = { sha1: hash("sha1", "a"), sha384: hash("sha384", "b") };
  await tools()("pcrextend", `4:sha1=${digests.sha1.toString("hex")},sha384=${digests.sha384.toString("hex")}`);
  await tools()("pcrextend", `4:sha384=${digests.sha384.toString("hex")}`);
  const banks = await pcrs("sha1:4+sha256:4+sha384:4+sha512:4");
  const once = (bank: "sha1" | "sha384") => hash(bank, new Uint8Array(BANKS[bank]), digests[bank]);
  expect(banks.get("sha1")!.get(4)).toBe(once("sha1").toString("hex"));
  expect(banks.get("sha384")!.get(4)).toBe(hash("sha384", once("sha384"), digests.sha384).toString("hex"));
  expect(banks.get("sha256")!.get(4)).toBe("0".repeat(64));
  expect(banks.get("sha512")!.get(4)).toBe("0".repeat(128));
});

test.each([0, 1024, 1025, 3000])("pcrevent of %i bytes hashes and extends them in every bank", async (size) => {
  const data = randomBytes(size);
  tools().write("event", data);
  const printed = await tools()("pcrevent", "9", "event");
  const banks = await pcrs(bankNames.map((bank) => `${bank}:9`).join("+"));
  for (const bank of bankNames) {
    const digest = hash(bank, data);
    expect(printed).toContain(`${bank}: ${digest.toString("hex")}`);
    expect(banks.get(bank)!.get(9)).toBe(hash(bank, new Uint8Array(BANKS[bank]), digest).toString("hex"));
  }
});

test("pcrreset resets PCR 16 and 23 and refuses the others", async () => {
  tools().write("event", "measured");
  for (const pcr of ["0", "16", "23"]) await tools()("pcrevent", pcr, "event");
  await tools()("pcrreset", "16", "23");
  const bank = (await pcrs("sha256:0,16,23")).get("sha256")!;
  expect(bank.get(16)).toBe("0".repeat(64));
  expect(bank.get(23)).toBe("0".repeat(64));
  expect(bank.get(0)).toBe(hash("sha256", new Uint8Array(32), hash("sha256", "measured")).toString("hex"));
  for (const pcr of ["0", "15"]) expect(await tools().fails("pcrreset", pcr)).toMatch(/0x907/);
});

test("pcrallocate takes effect at the next reset", async () => {
  const activeBanks = async () => [...(await pcrs())].filter(([, bank]) => bank.size > 0).map(([name]) => name);
  await tools()("pcrallocate", "sha1:none+sha256:all+sha384:all+sha512:none");
  expect(await activeBanks()).toEqual(bankNames);
  await tools()("shutdown", "--clear");
  expect(await control(tools().emulator.controlSocket, CMD.INIT, u32(0))).toBe(0);
  await tools()("startup", "--clear");
  expect(await activeBanks()).toEqual(["sha256", "sha384"]);
  expect(await tools()("getcap", "pcrs")).toMatch(/sha1: \[ \]/);
});
