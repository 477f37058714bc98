// Dictionary attack protection (Part 1, 19.8; Part 3, 25) and time (Part 1, 36), with a clock that the test moves.
import { beforeEach, describe, expect, it } from "vitest";
import type { AuthSession } from "../../src/codec/client.ts";
import { EngineTpm, outcome } from "../support/engine-tpm.ts";

const SECOND = 1000;
const TPM_PT_PERMANENT = 0x200;
const TPM_PT_LOCKOUT_COUNTER = 0x20e;
const IN_LOCKOUT = 1 << 9;
const index = 0x01000001;
const right = "736563726574";

let tpm: EngineTpm;

const property = async (tag: number) => {
  const { capabilityData } = await tpm.client.command("GetCapability", {
    parameters: { capability: "TPM_PROPERTIES", property: tag, propertyCount: 1 },
  });
  return (capabilityData.data as readonly { readonly value: number }[])[0]!.value;
};
const counter = () => property(TPM_PT_LOCKOUT_COUNTER);
const inLockout = async () => ((await property(TPM_PT_PERMANENT)) & IN_LOCKOUT) !== 0;

const define = (noDa: boolean) =>
  tpm.client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth: right,
      publicInfo: {
        nvIndex: index,
        nameAlg: "SHA256",
        attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: noDa },
        authPolicy: "",
        dataSize: 4,
      },
    },
  });

const write = (auth: string) =>
  outcome(
    tpm.client.command("NV_Write", {
      handles: { authHandle: { handle: index, auth }, nvIndex: index },
      parameters: { data: "01020304", offset: 0 },
    }),
  );

const parameters = (newMaxTries: number, newRecoveryTime: number, lockoutRecovery: number) =>
  tpm.client.command("DictionaryAttackParameters", {
    handles: { lockHandle: "LOCKOUT" },
    parameters: { newMaxTries, newRecoveryTime, lockoutRecovery },
  });

const lockReset = (auth = "") =>
  outcome(tpm.client.command("DictionaryAttackLockReset", { handles: { lockHandle: { handle: 0x4000000a, auth } } }));

beforeEach(async () => {
  tpm = new EngineTpm();
  await define(false);
});

describe("failures of protected authorizations", () => {
  it("count, and lock the TPM out at maxTries", async () => {
    for (const failures of [1, 2, 3]) {
      expect(await write("00ff")).toBe("TPM_RC_AUTH_FAIL session 1");
      expect(await counter()).toBe(failures);
    }
    expect(await inLockout()).toBe(true);
    expect(await write(right)).toBe("TPM_RC_LOCKOUT");
    expect(await counter()).toBe(3);
  });

  it("do not count for an index with NO_DA, which works in lockout", async () => {
    await tpm.client.command("NV_UndefineSpace", { handles: { authHandle: "OWNER", nvIndex: index } });
    await define(true);
    expect(await write("ff")).toBe("TPM_RC_BAD_AUTH session 1");
    expect(await counter()).toBe(0);
    await parameters(0, 1000, 1000);
    expect(await write(right)).toBe("TPM_RC_SUCCESS");
  });

  it("heal one by one as recoveryTime passes", async () => {
    await parameters(5, 100, 1000);
    for (let i = 0; i < 3; i++) await write("ff");
    expect(await counter()).toBe(3);
    tpm.host.advance(99 * SECOND);
    expect(await counter()).toBe(3);
    tpm.host.advance(SECOND);
    expect(await counter()).toBe(2);
    tpm.host.advance(150 * SECOND);
    expect(await counter()).toBe(1);
    tpm.host.advance(50 * SECOND);
    expect(await counter()).toBe(0);
    expect(await write(right)).toBe("TPM_RC_SUCCESS");
  });

  it("end with DictionaryAttackLockReset", async () => {
    for (let i = 0; i < 3; i++) await write("ff");
    expect(await lockReset()).toBe("TPM_RC_SUCCESS");
    expect(await counter()).toBe(0);
    expect(await write(right)).toBe("TPM_RC_SUCCESS");
  });

  it("stay through power cycles and migrations, and heal only while powered", async () => {
    for (let i = 0; i < 2; i++) await write("ff");
    tpm.migrate();
    expect(await counter()).toBe(2);
    tpm.shutdown("CLEAR");
    tpm.powerCycle(100_000 * SECOND);
    tpm.startup("CLEAR");
    expect(await counter()).toBe(2);
  });

  it("count a pulled plug after a protected authValue was used, once", async () => {
    expect(await write(right)).toBe("TPM_RC_SUCCESS");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await counter()).toBe(1);
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await counter()).toBe(1);
  });

  it("do not count an orderly shutdown or a pulled plug without such a use", async () => {
    expect(await write(right)).toBe("TPM_RC_SUCCESS");
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await counter()).toBe(0);
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await counter()).toBe(0);
  });

  it("count when an HMAC is wrong, and lock a session out that is bound to a protected entity", async () => {
    const session: AuthSession = await tpm.client.startAuthSession({ bind: { handle: index, auth: "ff" } });
    const use = () =>
      outcome(
        tpm.client.command("NV_Write", {
          handles: { authHandle: { handle: index, auth: "ff" }, nvIndex: index },
          parameters: { data: "01020304", offset: 0 },
          sessions: [session],
        }),
      );
    for (let i = 0; i < 3; i++) expect(await use()).toBe("TPM_RC_AUTH_FAIL session 1");
    expect(await use()).toBe("TPM_RC_LOCKOUT");
  });
});

describe("lockoutAuth", () => {
  const change = (newAuth: string) =>
    tpm.client.command("HierarchyChangeAuth", { handles: { authHandle: "LOCKOUT" }, parameters: { newAuth } });

  it("is out of use for lockoutRecovery after one failure", async () => {
    await parameters(3, 1000, 60);
    await change("6c6f636b");
    expect(await lockReset("ff")).toBe("TPM_RC_AUTH_FAIL session 1");
    expect(await lockReset("6c6f636b")).toBe("TPM_RC_LOCKOUT");
    expect(await counter()).toBe(0);
    tpm.host.advance(59 * SECOND);
    expect(await lockReset("6c6f636b")).toBe("TPM_RC_LOCKOUT");
    tpm.host.advance(SECOND);
    expect(await lockReset("6c6f636b")).toBe("TPM_RC_SUCCESS");
  });

  it("with lockoutRecovery 0 is out of use until the next startup, however long", async () => {
    await parameters(3, 1000, 0);
    await change("6c6f636b");
    expect(await lockReset("ff")).toBe("TPM_RC_AUTH_FAIL session 1");
    tpm.host.advance(1_000_000 * SECOND);
    expect(await lockReset("6c6f636b")).toBe("TPM_RC_LOCKOUT");
    tpm.migrate();
    expect(await lockReset("6c6f636b")).toBe("TPM_RC_LOCKOUT");
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await lockReset("6c6f636b")).toBe("TPM_RC_SUCCESS");
  });
});

describe("the clock", () => {
  const read = async () => (await tpm.client.command("ReadClock")).currentTime;

  it("counts milliseconds with the time since power-on, and time alone starts over", async () => {
    const first = await read();
    tpm.host.advance(12_345);
    const second = await read();
    expect(second.time - first.time).toBe(12_345n);
    expect(second.clockInfo.clock - first.clockInfo.clock).toBe(12_345n);
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    const third = await read();
    expect(third.time).toBeLessThan(second.time);
    expect(third.clockInfo.clock).toBeGreaterThanOrEqual(second.clockInfo.clock);
    expect(third.clockInfo.resetCount).toBe(second.clockInfo.resetCount + 1);
    expect(third.clockInfo.safe).toBe(true);
  });

  it("is not safe after a pulled plug until it passes the next save point, 4096 ms away at most", async () => {
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect((await read()).clockInfo.safe).toBe(false);
    tpm.host.advance(4096);
    expect((await read()).clockInfo.safe).toBe(true);
  });

  it("goes forward when set, never back, never beyond its range", async () => {
    const set = (newTime: bigint) =>
      outcome(tpm.client.command("ClockSet", { handles: { auth: "OWNER" }, parameters: { newTime } }));
    expect(await set(1_000_000n)).toBe("TPM_RC_SUCCESS");
    expect((await read()).clockInfo.clock).toBe(1_000_000n);
    expect(await set(999_999n)).toBe("TPM_RC_VALUE parameter 1");
    expect(await set(0xffff000000000001n)).toBe("TPM_RC_VALUE parameter 1");
    expect(await set(0xffff000000000000n)).toBe("TPM_RC_SUCCESS");
  });

  it("runs slower and faster with ClockRateAdjust, within its limits", async () => {
    const elapsed = async () => {
      const before = (await read()).time;
      tpm.host.advance(300_000);
      return Number((await read()).time - before);
    };
    const adjust = (rateAdjust: "COARSE_FASTER" | "COARSE_SLOWER") =>
      tpm.client.command("ClockRateAdjust", { handles: { auth: "OWNER" }, parameters: { rateAdjust } });
    expect(await elapsed()).toBe(300_000);
    await adjust("COARSE_FASTER");
    expect(Math.abs((await elapsed()) - (300_000 * 30_000) / 29_700)).toBeLessThanOrEqual(1);
    for (let i = 0; i < 30; i++) await adjust("COARSE_SLOWER");
    expect(Math.abs((await elapsed()) - (300_000 * 30_000) / 35_000)).toBeLessThanOrEqual(1);
  });
});
