// tpm2-abrmd: many clients and many objects on one TPM. That the other clients work through it is in their own files.
import path from "node:path";
import { describe, expect, test } from "vitest";
import { useClient } from "../support/clients.ts";
import { WAYS } from "../support/clients-ways.ts";
import { repository } from "../support/emulator.ts";

const PYTHON = "/usr/bin/python3";
const PROGRAM = path.join(repository, "test/support/clients-many.py");

describe("tpm2-abrmd", () => {
  const client = useClient("tpm2-abrmd");

  test("holds more keys and sessions for a client than the TPM does", async () => {
    expect((await client()(PYTHON, PROGRAM, client().tcti, "20", "4")).trim()).toBe("40");
  });

  test("serves clients that hold keys and sessions at the same time", async () => {
    const clients = Array.from({ length: 4 }, () => client()(PYTHON, PROGRAM, client().tcti, "6", "4"));
    expect((await Promise.all(clients)).map((text) => text.trim())).toEqual(["12", "12", "12", "12"]);
  });

  test("keeps what one client has loaded from the next, and cleans up after it", async () => {
    for (const name of ["a", "b", "c", "d", "e"]) await client()("tpm2_createprimary", "-Q", "-G", "ecc", "-c", name);
    expect(await client()("tpm2_getcap", "handles-transient")).toBe("");
    for (const name of ["a", "e"]) expect(await client()("tpm2_readpublic", "-c", name)).toContain("name:");
  });

  test("a session goes from one client to the next", async () => {
    await client()("tpm2_startauthsession", "-S", "session", "--policy-session");
    await client()("tpm2_policypcr", "-Q", "-S", "session", "-l", "sha256:16", "-L", "policy");
    await client()("tpm2_nvdefine", "0x1500001", "-a", "authread|authwrite|policyread", "-s", "6", "-L", "policy");
    client().write("data", "secret");
    await client()("tpm2_nvwrite", "0x1500001", "-i", "data");
    expect(await client()("tpm2_nvread", "0x1500001", "-P", "session:session")).toBe("secret");
    await client()("tpm2_flushcontext", "session");
  });
});

describe.each(WAYS)("over %s", (way) => {
  const client = useClient(way);

  test("clients that come at the same time are served one after the other", async () => {
    const clients = Array.from({ length: 8 }, () => client()("tpm2_getrandom", "--hex", "8"));
    expect(new Set(await Promise.all(clients)).size).toBe(8);
  });
});
