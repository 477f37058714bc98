// clevis: data that only this TPM decrypts, and with a PCR policy only in this state.
import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { useClient } from "../support/clients.ts";
import { WAYS } from "../support/clients-ways.ts";

const SECRET = "the passphrase of a disk";

describe.each(WAYS)("clevis-tpm2 over %s", (way) => {
  const client = useClient(way);
  const encrypt = (config: object) => client().feed(SECRET, "clevis", "encrypt", "tpm2", JSON.stringify(config));

  test.each(["ecc", "rsa"])("decrypts under a primary key of type %s, also after a restart", async (key) => {
    const jwe = await encrypt({ key });
    expect(jwe).not.toContain(SECRET);
    expect(await client().feed(jwe, "clevis", "decrypt")).toBe(SECRET);
    await client().restart();
    expect(await client().feed(jwe, "clevis", "decrypt")).toBe(SECRET);
  });

  test("refuses as soon as a PCR of the policy has changed", async () => {
    const jwe = await encrypt({ pcr_bank: "sha256", pcr_ids: "7,16" });
    expect(await client().feed(jwe, "clevis", "decrypt")).toBe(SECRET);
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    expect(await client().failsFed(jwe, "clevis", "decrypt")).toContain("Unsealing jwk from TPM failed!");
    await client()("tpm2_pcrreset", "16");
    expect(await client().feed(jwe, "clevis", "decrypt")).toBe(SECRET);
  });

  test("another TPM does not decrypt", async () => {
    const jwe = await encrypt({});
    await client()("tpm2_clear");
    expect(await client().failsFed(jwe, "clevis", "decrypt")).toContain("Loading jwk to TPM2 failed!");
  });

  test("a LUKS2 volume that is bound to the TPM gives its passphrase to clevis", async () => {
    client().write("volume", Buffer.alloc(20 << 20));
    client().write("passphrase", SECRET);
    const quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    const cryptsetup = "/usr/sbin/cryptsetup";
    await client()(cryptsetup, "luksFormat", "--type", "luks2", "--batch-mode", ...quick, "volume", "passphrase");
    const pin = ["tpm2", JSON.stringify({ pcr_bank: "sha256", pcr_ids: "16" })];
    await client()("clevis", "luks", "bind", "-y", "-k", "passphrase", "-d", "volume", ...pin);
    const passphrase = await client()("clevis", "luks", "pass", "-d", "volume", "-s", "1");
    await client().feed(
      passphrase,
      cryptsetup,
      "open",
      "--test-passphrase",
      "--key-slot",
      "1",
      "--key-file=-",
      "volume",
    );
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    await client().fails("clevis", "luks", "pass", "-d", "volume", "-s", "1");
  });
});
