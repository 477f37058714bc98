// tpm2-tools: random numbers, hashes, self-test, clock, capabilities, start and stop.
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { CMD, control, u32 } from "../support/tpm-client.ts";
import { bankNames, field, hash, useTools } from "../support/tpm2-tools.ts";

const tools = useTools();

test("getrandom gives as many bytes as asked for, each time others", async () => {
  const first = await tools()("getrandom", "--hex", "32");
  const second = await tools()("getrandom", "--hex", "32");
  expect(first).toMatch(/^[0-9a-f]{64}$/);
  expect(second).toMatch(/^[0-9a-f]{64}$/);
  expect(second).not.toBe(first);
});

test("stirrandom takes up to 128 bytes", async () => {
  tools().write("noise", randomBytes(128));
  await tools()("stirrandom", "noise");
  tools().write("too-much", randomBytes(129));
  await tools().fails("stirrandom", "too-much");
});

test.each(bankNames)("hash computes %s of one buffer and, in a sequence, of many", async (algorithm) => {
  for (const size of [0, 3, 1024, 1025, 5000]) {
    const data = randomBytes(size);
    tools().write("data", data);
    await tools()("hash", "-g", algorithm, "-C", "o", "-o", "digest", "-t", "ticket", "data");
    expect(tools().read("digest").toString("hex"), `${size} bytes`).toBe(hash(algorithm, data).toString("hex"));
  }
});

test("the ticket of a hash names its hierarchy", async () => {
  tools().write("data", "not TPM_GENERATED_VALUE");
  await tools()("hash", "-g", "sha256", "-C", "e", "-o", "digest", "-t", "ticket", "data");
  // TPMT_TK_HASHCHECK (Part 2, 10.7.6); the tool stores its fields in the order of the structure.
  expect(tools().read("ticket").toString("hex")).toContain("4000000b");
});

test("selftest, incrementalselftest and gettestresult report success", async () => {
  await tools()("selftest");
  await tools()("selftest", "--fulltest");
  await tools()("incrementalselftest", "sha256", "sha1", "aes");
  expect(field(await tools()("gettestresult"), "status")).toBe("success");
});

test("readclock shows a clock that runs and can only be set forward", async () => {
  const before = await tools()("readclock");
  expect(field(before, "safe")).toBe("yes");
  const start = Number(field(before, "clock"));
  await tools()("setclock", String(start + 1_000_000));
  const after = await tools()("readclock");
  expect(Number(field(after, "clock"))).toBeGreaterThanOrEqual(start + 1_000_000);
  expect(Number(field(after, "time"))).toBeLessThan(start + 1_000_000);
  expect(await tools().fails("setclock", String(start))).toMatch(/0x1C4|out of range/i);
  await tools()("clockrateadjust", "s");
  await tools()("clockrateadjust", "f");
});

test("shutdown and a power cycle count as a reset, and a startup is wanted after it", async () => {
  const resets = Number(field(await tools()("readclock"), "reset_count"));
  await tools()("shutdown", "--clear");
  expect(await control(tools().emulator.controlSocket, CMD.INIT, u32(0))).toBe(0);
  expect(await tools().fails("getrandom", "8")).toMatch(/0x100\b/);
  await tools()("startup", "--clear");
  expect(Number(field(await tools()("readclock"), "reset_count"))).toBe(resets + 1);
});

test("shutdown with state, power cycle, startup with state is a resume that keeps the PCR", async () => {
  tools().write("event", "measured");
  await tools()("pcrevent", "7", "event");
  const before = await tools()("pcrread", "sha256:7");
  const clock = await tools()("readclock");
  await tools()("shutdown");
  expect(await control(tools().emulator.controlSocket, CMD.INIT, u32(0))).toBe(0);
  await tools()("startup");
  expect(await tools()("pcrread", "sha256:7")).toBe(before);
  const resumed = await tools()("readclock");
  expect(field(resumed, "reset_count")).toBe(field(clock, "reset_count"));
  expect(Number(field(resumed, "restart_count"))).toBe(Number(field(clock, "restart_count")) + 1);
});

test("getcap answers every capability group it lists", async () => {
  const groups = (await tools()("getcap", "-l")).split("\n").map((line) => line.replace(/^- /, "").trim());
  const names = groups.filter((name) => name);
  expect(names.length).toBeGreaterThanOrEqual(13);
  for (const name of names) await tools()("getcap", name);
});

test("getcap describes a TPM 2.0 with libtpms' limits", async () => {
  const fixed = await tools()("getcap", "properties-fixed");
  expect(fixed).toMatch(/TPM2_PT_FAMILY_INDICATOR:\s+raw: 0x322E3000/);
  expect(fixed).toMatch(/TPM2_PT_PCR_COUNT:\s+raw: 0x18/);
  expect(fixed).toMatch(/TPM2_PT_MAX_COMMAND_SIZE:\s+raw: 0x1000/);
  const algorithms = await tools()("getcap", "algorithms");
  for (const name of [...bankNames, "hmac", "aes", "cfb", "keyedhash", "xor", "kdf1_sp800_108"]) {
    expect(algorithms, name).toMatch(new RegExp(`^${name}:`, "m"));
  }
  const commands = await tools()("getcap", "commands");
  for (const name of ["Startup", "GetCapability", "PCR_Extend", "NV_DefineSpace", "StartAuthSession", "PolicyPCR"]) {
    expect(commands, name).toMatch(new RegExp(`^TPM2_CC_${name}:`, "m"));
  }
  expect(await tools()("getcap", "handles-permanent")).toContain("0x40000001");
  expect(await tools()("getcap", "handles-pcr")).toContain("0x17");
});
