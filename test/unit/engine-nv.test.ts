// NV indexes (Part 1, 37; Part 3, 31): kinds, locks, limits.
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { EngineTpm, outcome } from "../support/engine-tpm.ts";
import { bytesOf } from "../support/recorded.ts";

let tpm: EngineTpm;
const first = 0x01000020;

beforeEach(() => {
  tpm = new EngineTpm();
});

type Attributes = Readonly<Record<string, boolean | string | number>>;

const define = (attributes: Attributes = {}, dataSize = 8, nvIndex = first, by: "OWNER" | "PLATFORM" = "OWNER") =>
  outcome(
    tpm.client.command("NV_DefineSpace", {
      handles: { authHandle: by },
      parameters: {
        auth: "70696e",
        publicInfo: {
          nvIndex,
          nameAlg: "SHA256",
          attributes: {
            AUTHREAD: true,
            AUTHWRITE: true,
            OWNERWRITE: true,
            OWNERREAD: true,
            NO_DA: true,
            ...attributes,
          },
          authPolicy: "",
          dataSize,
        },
      },
    }),
  );
const owner = { handle: 0x40000001 };
const own = (auth = "70696e") => ({ handle: first, auth });
const write = (data: string, offset = 0, by: { handle: number; auth?: string } = owner) =>
  outcome(
    tpm.client.command("NV_Write", { handles: { authHandle: by, nvIndex: first }, parameters: { data, offset } }),
  );
const increment = (nvIndex = first) =>
  outcome(tpm.client.command("NV_Increment", { handles: { authHandle: owner, nvIndex } }));
async function read(
  size = 8,
  offset = 0,
  by: { handle: number; auth?: string } = owner,
  nvIndex = first,
): Promise<string> {
  let data = "";
  const result = await outcome(
    tpm.client
      .command("NV_Read", { handles: { authHandle: by, nvIndex }, parameters: { size, offset } })
      .then((response) => {
        data = toHex(response.data);
      }),
  );
  return data === "" && size > 0 ? result : data;
}
const undefine = () =>
  outcome(tpm.client.command("NV_UndefineSpace", { handles: { authHandle: "OWNER", nvIndex: first } }));
const value = async (nvIndex = first) => BigInt(`0x${await read(8, 0, owner, nvIndex)}`);

describe("an ordinary index", () => {
  it("is written and read in parts, its unwritten bytes are ones", async () => {
    await define({}, 12);
    expect(await read()).toBe("TPM_RC_NV_UNINITIALIZED");
    expect(await write("aabb", 4)).toBe("TPM_RC_SUCCESS");
    expect(await read(12)).toBe("ffffffffaabbffffffffffff");
    expect(await read(3, 4)).toBe("aabbff");
    expect(await write("aabb", 11)).toBe("TPM_RC_NV_RANGE");
    expect(await read(5, 8)).toBe("TPM_RC_NV_RANGE");
    expect(await write("aa", 13)).toMatch(/TPM_RC_(NV_RANGE|VALUE parameter 2)/);
    expect(await increment()).toBe("TPM_RC_ATTRIBUTES handle 2");
  });

  it("with WRITEALL is written as a whole only", async () => {
    await define({ WRITEALL: true });
    expect(await write("0102")).toBe("TPM_RC_NV_RANGE");
    expect(await write("0102030405060708")).toBe("TPM_RC_SUCCESS");
  });

  it("with WRITEDEFINE is locked for good by NV_WriteLock, with GLOBALLOCK until the next startup by NV_GlobalWriteLock", async () => {
    const lock = () => outcome(tpm.client.command("NV_WriteLock", { handles: { authHandle: owner, nvIndex: first } }));
    await define();
    expect(await lock()).toBe("TPM_RC_ATTRIBUTES handle 2");
    await undefine();
    await define({ WRITEDEFINE: true });
    await write("01");
    expect(await lock()).toBe("TPM_RC_SUCCESS");
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await write("01")).toBe("TPM_RC_NV_LOCKED");
    await undefine();
    await define({ GLOBALLOCK: true, WRITE_STCLEAR: true });
    await tpm.client.command("NV_GlobalWriteLock", { handles: { authHandle: "OWNER" } });
    expect(await write("01")).toBe("TPM_RC_NV_LOCKED");
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await write("01")).toBe("TPM_RC_SUCCESS");
  });
});

describe("a counter", () => {
  it("starts above every counter that was ever deleted, and only goes up", async () => {
    await define({ TPM_NT: "COUNTER" });
    expect(await read()).toBe("TPM_RC_NV_UNINITIALIZED");
    for (const expected of [1n, 2n, 3n]) {
      expect(await increment()).toBe("TPM_RC_SUCCESS");
      expect(await value()).toBe(expected);
    }
    expect(await write("0000000000000009")).toBe("TPM_RC_ATTRIBUTES");
    await undefine();
    await define({ TPM_NT: "COUNTER" });
    await increment();
    expect(await value()).toBe(4n);
    tpm.migrate();
    await increment();
    expect(await value()).toBe(5n);
  });

  it("that is orderly never goes back, whatever happens to the power", async () => {
    await define({ TPM_NT: "COUNTER", ORDERLY: true });
    let last = 0n;
    for (let round = 0; round < 4; round++) {
      for (let i = 0; i < 100; i++) {
        await increment();
        const now = await value();
        expect(now).toBe(i === 0 && round > 0 ? now : last + 1n);
        expect(now).toBeGreaterThan(last);
        last = now;
      }
      if (round % 2) tpm.shutdown("CLEAR");
      tpm.powerCycle();
      tpm.startup("CLEAR");
      expect(await value()).toBeGreaterThanOrEqual(last);
      last = await value();
    }
  });
});

describe("other kinds", () => {
  it("bits are only ever set", async () => {
    await define({ TPM_NT: "BITS" });
    const set = (bits: bigint) =>
      outcome(
        tpm.client.command("NV_SetBits", { handles: { authHandle: owner, nvIndex: first }, parameters: { bits } }),
      );
    await set(0n);
    expect(await value()).toBe(0n);
    await set(5n);
    await set(0x8000000000000000n);
    expect(await value()).toBe(0x8000000000000005n);
    expect(await write("00")).toBe("TPM_RC_ATTRIBUTES");
  });

  it("an extended index is H(old || data)", async () => {
    await define({ TPM_NT: "EXTEND" }, 32);
    let expected = new Uint8Array(32);
    for (const data of ["00", "616263", ""]) {
      await tpm.client.command("NV_Extend", { handles: { authHandle: owner, nvIndex: first }, parameters: { data } });
      expected = Uint8Array.from(createHash("sha256").update(expected).update(bytesOf(data)).digest());
      expect(await read(32)).toBe(toHex(expected));
    }
  });

  it("PIN Fail counts failures and locks at its limit; a success starts it over", async () => {
    await define({ TPM_NT: "PIN_FAIL", AUTHWRITE: false });
    expect(await write("0000000000000003")).toBe("TPM_RC_SUCCESS");
    const use = (auth?: string) => read(8, 0, own(auth));
    expect(await use("ff")).toMatch(/TPM_RC_(AUTH_FAIL|BAD_AUTH)/);
    expect(await read()).toBe("0000000100000003");
    expect(await use()).toBe("0000000000000003");
    for (let i = 0; i < 3; i++) await use("ff");
    expect(await use()).toMatch(/TPM_RC_AUTH_UNAVAILABLE/);
    tpm.migrate();
    expect(await use()).toMatch(/TPM_RC_AUTH_UNAVAILABLE/);
    expect(await write("0000000000000003")).toBe("TPM_RC_SUCCESS");
    expect(await use()).toBe("0000000000000003");
  });

  it("PIN Pass counts successes and locks at its limit", async () => {
    await define({ TPM_NT: "PIN_PASS", AUTHWRITE: false });
    await write("0000000000000002");
    expect(await read(8, 0, own())).toBe("0000000100000002");
    expect(await read(8, 0, own("ff"))).toMatch(/TPM_RC_(AUTH_FAIL|BAD_AUTH)/);
    expect(await read(8, 0, own())).toBe("0000000200000002");
    expect(await read(8, 0, own())).toMatch(/TPM_RC_AUTH_UNAVAILABLE/);
    expect(await read()).toBe("0000000200000002");
  });
});

describe("the memory", () => {
  it("has room for 25 orderly counters, then no more", async () => {
    for (let i = 0; i < 25; i++)
      expect(await define({ TPM_NT: "COUNTER", ORDERLY: true }, 8, first + i)).toBe("TPM_RC_SUCCESS");
    expect(await define({ TPM_NT: "COUNTER", ORDERLY: true }, 8, first + 25)).toBe("TPM_RC_NV_SPACE");
    for (let i = 0; i < 25; i++) await increment(first + i);
    tpm.migrate();
    tpm.shutdown("CLEAR");
    tpm.powerCycle();
    tpm.startup("CLEAR");
    for (let i = 0; i < 25; i++) expect(await value(first + i)).toBe(1n);
  });

  it("fills up with ordinary indexes, survives it, and gives the room back", async () => {
    let defined = 0;
    while ((await define({}, 2048, first + defined)) === "TPM_RC_SUCCESS") defined++;
    expect(defined).toBeGreaterThan(40);
    expect(await define({}, 2048, first + defined)).toBe("TPM_RC_NV_SPACE");
    tpm.migrate();
    tpm.powerCycle();
    tpm.startup("CLEAR");
    expect(await define({}, 2048, first + defined)).toBe("TPM_RC_NV_SPACE");
    expect(await undefine()).toBe("TPM_RC_SUCCESS");
    expect(await define({}, 2048)).toBe("TPM_RC_SUCCESS");
    await tpm.client.command("Clear", { handles: { authHandle: "LOCKOUT" } });
    expect(await read(1)).toBe("TPM_RC_HANDLE handle 2");
  });
});
