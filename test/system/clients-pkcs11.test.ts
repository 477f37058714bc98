// tpm2-pkcs11: the TPM as a PKCS #11 token, with OpenSC's pkcs11-tool and GnuTLS' p11tool. OpenSSL alone checks what it makes.
import { existsSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Client, useClient } from "../support/clients.ts";
import { WAYS } from "../support/clients-ways.ts";

const MODULE = ["x86_64", "aarch64"]
  .map((machine) => `/usr/lib/${machine}-linux-gnu/pkcs11/libtpm2_pkcs11.so`)
  .find((file) => existsSync(file));
const SO_PIN = ["--so-pin", "87654321"];
const PIN = ["--login", "--pin", "1234"];
const MESSAGE = "signed by the token\n";

/** pkcs11-tool with the token "tok". */
const tool = (client: Client, ...args: string[]) => client("pkcs11-tool", ...words(...args));
const words = (...args: string[]) => ["--module", MODULE!, "--token-label", "tok", ...args];

async function makeToken(client: Client): Promise<void> {
  client.write("message", MESSAGE);
  const module = ["--module", MODULE!];
  await client("pkcs11-tool", ...module, "--init-token", "--slot-index", "0", "--label", "tok", ...SO_PIN);
  await tool(client, "--init-pin", ...SO_PIN, "--pin", "1234");
}

async function makeKey(client: Client, type: string): Promise<void> {
  await tool(client, ...PIN, "--keypairgen", "--key-type", type, "--label", "key", "--id", "01");
  await tool(client, "--read-object", "--type", "pubkey", "--id", "01", "-o", "key.der");
  await client("openssl", "pkey", "-pubin", "-inform", "DER", "-in", "key.der", "-out", "key.pub");
}

describe.each(WAYS)("tpm2-pkcs11 over %s", (way) => {
  const client = useClient(way);

  test.each([
    ["rsa:2048", "SHA256-RSA-PKCS", []],
    ["EC:prime256v1", "ECDSA-SHA256", ["--signature-format", "openssl"]],
  ])("a token's %s key signs, and OpenSSL verifies", async (type, mechanism, options) => {
    await makeToken(client());
    await makeKey(client(), type);
    const sign = ["--sign", "--mechanism", mechanism, ...options, "--id", "01", "-i", "message", "-o", "signature"];
    await tool(client(), ...PIN, ...sign);
    const verify = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"];
    expect(await client()("openssl", ...verify)).toBe("Verified OK\n");
  });

  test("a token's RSA key decrypts what OpenSSL encrypted", async () => {
    await makeToken(client());
    await makeKey(client(), "rsa:2048");
    await client()("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", "key.pub", "-in", "message", "-out", "secret");
    await tool(client(), ...PIN, "--decrypt", "--mechanism", "RSA-PKCS", "--id", "01", "-i", "secret", "-o", "plain");
    expect(client().read("plain").toString()).toBe(MESSAGE);
  });

  test("the token asks for its PIN, and is there after a restart", async () => {
    await makeToken(client());
    await makeKey(client(), "EC:prime256v1");
    const sign = ["--sign", "--mechanism", "ECDSA-SHA256", "--id", "01", "-i", "message", "-o", "signature"];
    expect(await client().fails("pkcs11-tool", ...words("--login", "--pin", "4321", ...sign))).toContain(
      "CKR_PIN_INCORRECT",
    );
    await client().restart();
    await tool(client(), ...PIN, ...sign);
    expect(client().read("signature")).toHaveLength(64);
  });

  test("GnuTLS finds the token and the key, and signs", async () => {
    await makeToken(client());
    await makeKey(client(), "EC:prime256v1");
    const p11tool = (...args: string[]) => client()("p11tool", "--provider", MODULE!, ...args);
    expect(await p11tool("--list-tokens")).toContain("Label: tok");
    const key = "pkcs11:token=tok;object=key;type=private";
    expect(await p11tool("--login", "--set-pin", "1234", "--list-all", key)).toContain(
      "Private key (EC/ECDSA-SECP256R1)",
    );
    await p11tool("--login", "--set-pin", "1234", "--test-sign", key);
  });
});
