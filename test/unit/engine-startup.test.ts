// TPM2_Startup and TPM2_Shutdown (Part 1, 12.2; Part 3, 9): what is left of each kind of state after each way of going off and on.
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { EngineTpm, outcome } from "../support/engine-tpm.ts";
import { bytesOf } from "../support/recorded.ts";

const INITIALIZE = 0x100;
const VALUE_1 = 0x1c4;
const LOCALITY = 0x907;
const TYPE_1 = 0x1ca;

type Way = "reset" | "restart" | "resume" | "unorderly" | "state, then pulled plug";

/** Goes off and on in that way; the response code of the last TPM2_Startup. */
function goThrough(tpm: EngineTpm, way: Way): number {
  switch (way) {
    case "reset":
      expect(tpm.shutdown("CLEAR")).toBe(0);
      tpm.powerCycle();
      return tpm.startup("CLEAR");
    case "restart":
      expect(tpm.shutdown("STATE")).toBe(0);
      tpm.powerCycle();
      return tpm.startup("CLEAR");
    case "resume":
      expect(tpm.shutdown("STATE")).toBe(0);
      tpm.powerCycle();
      return tpm.startup("STATE");
    case "unorderly":
      tpm.powerCycle();
      return tpm.startup("CLEAR");
    case "state, then pulled plug":
      expect(tpm.shutdown("STATE")).toBe(0);
      // A command that changes what was saved makes the shutdown void.
      expect(tpm.rc(extend(0, "11"))).toBe(0);
      tpm.powerCycle();
      expect(tpm.startup("STATE")).toBe(VALUE_1);
      return tpm.startup("CLEAR");
  }
}

const extend = (pcr: number, byte: string) =>
  `80020000004100000182${pcr.toString(16).padStart(8, "0")}0000000940000009000000000000000001000b${byte.repeat(32)}`;

async function pcr(tpm: EngineTpm, register: number): Promise<string> {
  const { pcrValues } = await tpm.client.command("PCR_Read", {
    parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [register] }] },
  });
  return toHex(pcrValues[0]!);
}

const extended = (byte: string) =>
  createHash("sha256")
    .update(new Uint8Array(32))
    .update(bytesOf(byte.repeat(32)))
    .digest("hex");
const ZERO = "00".repeat(32);
const ONES = "ff".repeat(32);

async function define(
  tpm: EngineTpm,
  nvIndex: number,
  attributes: Readonly<Record<string, boolean | string>>,
): Promise<void> {
  await tpm.client.command("NV_DefineSpace", {
    handles: { authHandle: "OWNER" },
    parameters: {
      auth: "",
      publicInfo: {
        nvIndex,
        nameAlg: "SHA256",
        attributes: { AUTHREAD: true, AUTHWRITE: true, NO_DA: true, ...attributes },
        authPolicy: "",
        dataSize: 8,
      },
    },
  });
}
const write = (tpm: EngineTpm, nvIndex: number, data: string) =>
  outcome(
    tpm.client.command("NV_Write", { handles: { authHandle: nvIndex, nvIndex }, parameters: { data, offset: 0 } }),
  );
async function read(tpm: EngineTpm, nvIndex: number): Promise<string> {
  try {
    const handles = { authHandle: nvIndex, nvIndex };
    return toHex((await tpm.client.command("NV_Read", { handles, parameters: { size: 8, offset: 0 } })).data);
  } catch (error) {
    return (error as { parts?: { name?: string } }).parts?.name ?? String(error);
  }
}

const DATA = "0102030405060708";

describe("response codes", () => {
  it("a TPM that was not started answers TPM_RC_INITIALIZE to all but TPM2_Startup, a started one to that", () => {
    const tpm = new EngineTpm({ startup: false });
    for (const command of ["80010000000c0000017b0008", "80010000000c000001450000", "80010000000a0000017c"]) {
      expect(tpm.rc(command)).toBe(INITIALIZE);
    }
    expect(tpm.startup("CLEAR")).toBe(0);
    expect(tpm.startup("CLEAR")).toBe(INITIALIZE);
    expect(tpm.startup("STATE")).toBe(INITIALIZE);
    tpm.migrate();
    expect(tpm.startup("CLEAR")).toBe(INITIALIZE);
  });

  it("TPM2_Startup(STATE) needs TPM2_Shutdown(STATE) before", () => {
    const tpm = new EngineTpm({ startup: false });
    expect(tpm.startup("STATE")).toBe(VALUE_1);
    expect(tpm.startup("CLEAR")).toBe(0);
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    expect(tpm.startup("STATE")).toBe(VALUE_1);
    expect(tpm.startup("CLEAR")).toBe(0);
    tpm.powerCycle();
    expect(tpm.startup("STATE")).toBe(VALUE_1);
  });

  it("TPM2_Startup comes from locality 0 or 3, and TPM2_Startup(STATE) from the one of the TPM2_Startup before", () => {
    const tpm = new EngineTpm({ startup: false });
    for (const locality of [1, 2, 4]) {
      tpm.locality = locality;
      expect(tpm.startup("CLEAR")).toBe(LOCALITY);
    }
    tpm.locality = 3;
    expect(tpm.startup("CLEAR")).toBe(0);
    tpm.shutdown("STATE");
    tpm.powerCycle();
    tpm.locality = 0;
    expect(tpm.startup("STATE")).toBe(LOCALITY);
    tpm.locality = 3;
    expect(tpm.startup("STATE")).toBe(0);
  });

  it("TPM2_Shutdown(STATE) is refused while a PCR allocation waits", () => {
    const tpm = new EngineTpm();
    expect(tpm.rc("8002000000250000012b4000000c0000000940000009000000000000000001000403000000")).toBe(0);
    expect(tpm.shutdown("STATE")).toBe(TYPE_1);
    tpm.migrate();
    expect(tpm.shutdown("STATE")).toBe(TYPE_1);
    expect(goThrough(tpm, "reset")).toBe(0);
    expect(tpm.shutdown("STATE")).toBe(0);
  });
});

/** What is left: PCR 0 (saved), PCR 16 (not), platformAuth and phEnable, indexes, resetCount and restartCount. A TPM Reset takes the data
 * of every orderly index but counters, also after TPM2_Shutdown(CLEAR) (Part 2, 13.4 "TPMA_NV"). */
const expectations = {
  reset: {
    pcr0: ZERO,
    platform: "",
    resets: 1,
    restarts: 0,
    stclear: "TPM_RC_NV_UNINITIALIZED",
    orderly: "TPM_RC_NV_UNINITIALIZED",
  },
  restart: { pcr0: ZERO, platform: "", resets: 0, restarts: 1, stclear: "TPM_RC_NV_UNINITIALIZED", orderly: DATA },
  resume: { pcr0: extended("22"), platform: "706c6174", resets: 0, restarts: 1, stclear: DATA, orderly: DATA },
  unorderly: {
    pcr0: ZERO,
    platform: "",
    resets: 1,
    restarts: 0,
    stclear: "TPM_RC_NV_UNINITIALIZED",
    orderly: "TPM_RC_NV_UNINITIALIZED",
  },
} as const;

describe.each(["stays on one machine", "migrates at every step"] as const)(
  "state after a power cycle that %s",
  (how) => {
    it.each(Object.keys(expectations) as (keyof typeof expectations)[])("%s", async (way) => {
      const tpm = new EngineTpm();
      const migrate = () => {
        if (how === "migrates at every step") tpm.migrate();
      };
      const before = await tpm.client.command("ReadClock");
      tpm.rc(extend(0, "22"));
      tpm.rc(extend(16, "22"));
      migrate();
      await tpm.client.command("HierarchyChangeAuth", {
        handles: { authHandle: "PLATFORM" },
        parameters: { newAuth: "706c6174" },
      });
      await tpm.client.command("HierarchyChangeAuth", {
        handles: { authHandle: "OWNER" },
        parameters: { newAuth: "" },
      });
      const [plain, stclear, orderly, locked, readLocked] = [
        0x01000010, 0x01000011, 0x01000012, 0x01000013, 0x01000014,
      ];
      await define(tpm, plain, {});
      await define(tpm, stclear, { CLEAR_STCLEAR: true });
      await define(tpm, orderly, { ORDERLY: true });
      await define(tpm, locked, { WRITE_STCLEAR: true });
      await define(tpm, readLocked, { READ_STCLEAR: true });
      migrate();
      for (const index of [plain, stclear, orderly, locked, readLocked])
        expect(await write(tpm, index, DATA)).toBe("TPM_RC_SUCCESS");
      await tpm.client.command("NV_WriteLock", { handles: { authHandle: locked, nvIndex: locked } });
      await tpm.client.command("NV_ReadLock", { handles: { authHandle: readLocked, nvIndex: readLocked } });
      expect(await write(tpm, locked, DATA)).toBe("TPM_RC_NV_LOCKED");
      expect(await read(tpm, readLocked)).toBe("TPM_RC_NV_LOCKED");
      migrate();

      expect(goThrough(tpm, way)).toBe(0);
      migrate();

      const left = expectations[way];
      expect(await pcr(tpm, 0)).toBe(left.pcr0);
      expect(await pcr(tpm, 16)).toBe(ZERO);
      expect(await pcr(tpm, 17)).toBe(ONES);
      const platform = (auth: string) =>
        outcome(
          tpm.client.command("SetPrimaryPolicy", {
            handles: { authHandle: { handle: 0x4000000c, auth } },
            parameters: { authPolicy: "", hashAlg: "NULL" },
          }),
        );
      expect(await platform(left.platform)).toBe("TPM_RC_SUCCESS");
      expect(await platform("ff")).toBe("TPM_RC_BAD_AUTH session 1");
      const after = await tpm.client.command("ReadClock");
      const [was, is] = [before.currentTime.clockInfo, after.currentTime.clockInfo];
      expect(is.resetCount - was.resetCount).toBe(left.resets);
      expect(is.restartCount).toBe(left.restarts);
      expect(is.safe).toBe(way !== "unorderly");
      expect(await read(tpm, plain)).toBe(DATA);
      expect(await read(tpm, stclear)).toBe(left.stclear);
      expect(await read(tpm, orderly)).toBe(left.orderly);
      const resumed = way === "resume";
      expect(await write(tpm, locked, DATA)).toBe(resumed ? "TPM_RC_NV_LOCKED" : "TPM_RC_SUCCESS");
      expect(await read(tpm, readLocked)).toBe(resumed ? "TPM_RC_NV_LOCKED" : DATA);
    });

    it("a state that was saved and then changed is lost", async () => {
      const tpm = new EngineTpm();
      expect(goThrough(tpm, "state, then pulled plug")).toBe(0);
      expect(await pcr(tpm, 0)).toBe(ZERO);
    });
  },
);

describe("the H-CRTM and D-RTM signals", () => {
  it("before TPM2_Startup measure into PCR 0, from 4", async () => {
    const tpm = new EngineTpm({ startup: false });
    tpm.engine.hashStart();
    tpm.engine.hashData(bytesOf("616263"));
    tpm.engine.hashEnd();
    expect(tpm.startup("CLEAR")).toBe(0);
    const start = new Uint8Array(32);
    start[31] = 4;
    const digest = createHash("sha256").update("abc").digest();
    expect(await pcr(tpm, 0)).toBe(createHash("sha256").update(start).update(digest).digest("hex"));
    expect(tpm.engine.established).toBe(true);
  });

  it("after it measure into PCR 17 from zero and reset the other dynamic registers, also across a migration", async () => {
    const tpm = new EngineTpm();
    expect(await pcr(tpm, 17)).toBe(ONES);
    tpm.engine.hashStart();
    tpm.engine.hashData(bytesOf("61"));
    tpm.migrate();
    tpm.engine.hashData(bytesOf("6263"));
    tpm.engine.hashEnd();
    const digest = createHash("sha256").update("abc").digest();
    expect(await pcr(tpm, 17)).toBe(createHash("sha256").update(new Uint8Array(32)).update(digest).digest("hex"));
    for (const register of [18, 19, 20, 21, 22]) expect(await pcr(tpm, register)).toBe(ZERO);
  });
});
