// IBM's TSS, which speaks to the TCP port as it is: keys, sessions, NV and a quote; OpenSSL checks what it makes.
import { Buffer } from "node:buffer";
import { verify } from "node:crypto";
import { expect, test } from "vitest";
import { useClient } from "../support/clients.ts";

const client = useClient("a TCP port");
const MESSAGE = "signed by IBM's TSS";

/** Runs tss* with the ports of the TPM. */
function tss(name: string, ...args: string[]): Promise<string> {
  const port = Number(/port=(\d+)/.exec(client().tcti)![1]);
  const environment = {
    TPM_INTERFACE_TYPE: "socsim",
    TPM_SERVER_TYPE: "raw",
    TPM_SERVER_NAME: "127.0.0.1",
    TPM_COMMAND_PORT: port,
    TPM_PLATFORM_PORT: port + 1,
    TPM_DATA_DIR: client().folder,
    TPM_ENCRYPT_SESSIONS: 0, // Each program would encrypt the files of its sessions with a key of its own.
  };
  const words = Object.entries(environment).map(([variable, value]) => `${variable}=${value}`);
  return client()("env", ...words, `tss${name}`, ...args);
}

const handleIn = (text: string) => /Handle ([0-9a-f]{8})/.exec(text)![1]!;

/** The fields of a TPMT_SIGNATURE of RSASSA or ECDSA (Part 2, 11.3.4): after two algorithms each a size and bytes. */
function signatureFields(signature: Buffer): Buffer[] {
  const fields: Buffer[] = [];
  for (let at = 4; at < signature.length; ) {
    const end = at + 2 + signature.readUInt16BE(at);
    fields.push(signature.subarray(at + 2, end));
    at = end;
  }
  return fields;
}

test.each([
  ["RSA", "-rsa", []],
  ["ECC", "-ecc", ["nistp256"]],
])("an %s key signs in a salted and encrypted session, and OpenSSL verifies", async (_type, option, curve) => {
  const primary = handleIn(await tss("createprimary", "-hi", "o", "-ecc", "nistp256"));
  const session = handleIn(await tss("startauthsession", "-se", "h", "-hs", primary));
  const encrypted = ["-se0", session, "61"];
  const key = ["-si", option, ...curve, "-kt", "f", "-kt", "p", "-pwdk", "secret"];
  await tss("create", "-hp", primary, ...key, "-opu", "public", "-opr", "private", "-opem", "key.pem", ...encrypted);
  const loaded = handleIn(await tss("load", "-hp", primary, "-ipu", "public", "-ipr", "private", ...encrypted));
  client().write("message", MESSAGE);
  const sign = ["-hk", loaded, "-halg", "sha256", option, "-if", "message", "-os", "signature", "-pwdk", "secret"];
  await tss("sign", ...sign, "-se0", session, "1");
  await tss("verifysignature", "-hk", loaded, "-halg", "sha256", option, "-if", "message", "-is", "signature");
  const publicKey = { key: client().read("key.pem").toString(), dsaEncoding: "ieee-p1363" } as const;
  const signature = Buffer.concat(signatureFields(client().read("signature")));
  expect(verify("sha256", Buffer.from(MESSAGE), publicKey, signature)).toBe(true);
  await tss("flushcontext", "-ha", session);
});

test("an index is defined, written and read with its password in an HMAC session", async () => {
  await tss("nvdefinespace", "-ha", "01500001", "-hi", "o", "-sz", "16", "-pwdn", "secret");
  const session = handleIn(await tss("startauthsession", "-se", "h"));
  await tss("nvwrite", "-ha", "01500001", "-pwdn", "secret", "-ic", "sixteen bytes it", "-se0", session, "21");
  await tss("nvread", "-ha", "01500001", "-pwdn", "secret", "-sz", "16", "-of", "read", "-se0", session, "41");
  expect(client().read("read").toString()).toBe("sixteen bytes it");
  await expect(tss("nvread", "-ha", "01500001", "-pwdn", "wrong", "-sz", "16")).rejects.toThrow(/TPM_RC_BAD_AUTH/);
});
