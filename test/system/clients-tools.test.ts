// tpm2-tools on the ways to the TPM that tools-*.test.ts do not take: TCP and tpm2-abrmd.
import { describe, expect, test } from "vitest";
import { type Client, useClient } from "../support/clients.ts";
import { hash, parsePcrs } from "../support/tpm2-tools.ts";

const MESSAGE = "signed with tpm2-tools";

/** Runs a tool ("getrandom"), and flushes what it has loaded. */
async function tool(client: Client, name: string, ...args: string[]): Promise<string> {
  const printed = await client(`tpm2_${name}`, ...args);
  await client("tpm2_flushcontext", "-t");
  return printed;
}

async function makeKey(client: Client, ...options: string[]): Promise<void> {
  client.write("message", MESSAGE);
  await tool(client, "createprimary", "-Q", "-G", "ecc", "-c", "primary");
  await tool(client, "create", "-Q", "-C", "primary", "-u", "public", "-r", "private", ...options);
  await tool(client, "load", "-Q", "-C", "primary", "-u", "public", "-r", "private", "-c", "key");
}

describe.each(["a TCP port", "tpm2-abrmd"] as const)("tpm2-tools over %s", (way) => {
  const client = useClient(way);

  test.each([
    ["rsa2048", "rsassa"],
    ["ecc384", "ecdsa"],
  ])("a key of type %s signs, and OpenSSL verifies", async (type, scheme) => {
    await makeKey(client(), "-G", type);
    const plain = ["-g", "sha256", "-s", scheme, "-f", "plain", "-o", "signature"];
    await tool(client(), "sign", "-Q", "-c", "key", ...plain, "message");
    await tool(client(), "readpublic", "-Q", "-c", "key", "-f", "pem", "-o", "key.pub");
    const verify = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"];
    expect(await client()("openssl", ...verify)).toBe("Verified OK\n");
  });

  test("a secret is unsealed while the PCR is as it was", async () => {
    await client()("tpm2_createpolicy", "-Q", "--policy-pcr", "-l", "sha256:16", "-L", "policy");
    client().write("secret", "sealed with tpm2-tools");
    await makeKey(client(), "-i", "secret", "-L", "policy");
    const unseal = ["-c", "key", "-p", "pcr:sha256:16"];
    expect(await tool(client(), "unseal", ...unseal)).toBe("sealed with tpm2-tools");
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    expect(await client().fails("tpm2_unseal", ...unseal)).toMatch(/0x99D/);
  });

  test("an encrypted session writes and reads an index, which is there after a restart", async () => {
    const attributes = "authread|authwrite|no_da";
    await tool(client(), "createprimary", "-Q", "-G", "ecc", "-c", "primary");
    await client()("tpm2_nvdefine", "0x1500001", "-a", attributes, "-s", "6", "-p", "secret");
    client().write("data", "stored");
    await client()("tpm2_startauthsession", "-S", "session", "--hmac-session", "-c", "primary");
    await client()("tpm2_sessionconfig", "session", "--enable-encrypt", "--enable-decrypt");
    await client()("tpm2_nvwrite", "0x1500001", "-P", "session:session+secret", "-i", "data");
    expect(await client()("tpm2_nvread", "0x1500001", "-P", "session:session+secret")).toBe("stored");
    await client()("tpm2_flushcontext", "session");
    await client().restart();
    expect(await client()("tpm2_nvread", "0x1500001", "-P", "secret")).toBe("stored");
  });

  test("an event is measured, and a quote of it verifies", async () => {
    await makeKey(
      client(),
      "-G",
      "ecc256:ecdsa-sha256:null",
      "-a",
      "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign",
    );
    await client()("tpm2_pcrevent", "-Q", "16", "message");
    const value = hash("sha256", new Uint8Array(32), hash("sha256", MESSAGE)).toString("hex");
    expect(
      parsePcrs(await client()("tpm2_pcrread", "sha256:16"))
        .get("sha256")!
        .get(16),
    ).toBe(value);
    const made = ["-m", "attest", "-s", "signature", "-o", "pcrs"];
    await tool(client(), "quote", "-Q", "-c", "key", "-l", "sha256:16", "-q", "0102", "-g", "sha256", ...made);
    await tool(client(), "readpublic", "-Q", "-c", "key", "-f", "pem", "-o", "key.pub");
    const check = ["-u", "key.pub", "-m", "attest", "-s", "signature", "-f", "pcrs", "-g", "sha256"];
    await client()("tpm2_checkquote", ...check, "-q", "0102");
    await client().fails("tpm2_checkquote", ...check, "-q", "0103");
  });
});
