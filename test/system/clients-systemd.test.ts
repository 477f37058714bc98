// systemd's credentials and enrolment of LUKS2 volumes, with the TPM named as a TCTI where a device is usual.
import { Buffer } from "node:buffer";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { describe, expect, test } from "vitest";
import { type Client, useClient } from "../support/clients.ts";
import { WAYS } from "../support/clients-ways.ts";

const SECRET = "the password of a service";
const CREDENTIAL = ["--name=password", "credential"];

/** Without a resource manager the sessions of systemd 252, which are left behind, fill the TPM after three calls. */
const flushSessions = (client: Client) => client("tpm2_flushcontext", "-l");

describe.each(WAYS)("systemd-creds over %s", (way) => {
  const client = useClient(way);
  const encrypt = async (key: "tpm2" | "tpm2-with-public-key", ...options: string[]) => {
    const device = `--tpm2-device=${client().tcti}`;
    const words = ["encrypt", `--with-key=${key}`, device, ...options, "--name=password", "-", "credential"];
    await client().feed(SECRET, "systemd-creds", ...words);
    await flushSessions(client());
  };
  const decrypt = async () => {
    const secret = await client()("systemd-creds", "decrypt", ...CREDENTIAL);
    await flushSessions(client());
    return secret;
  };

  test("encrypts and decrypts a credential, also after a restart", async () => {
    await encrypt("tpm2");
    expect(client().read("credential").toString()).not.toContain(SECRET);
    expect(await decrypt()).toBe(SECRET);
    await client().restart();
    expect(await decrypt()).toBe(SECRET);
  });

  test("decrypts in any state that the holder of a key has signed", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    client().write("vendor.pem", publicKey.export({ type: "spki", format: "pem" }));
    const vendor = createHash("sha256")
      .update(publicKey.export({ type: "pkcs1", format: "der" }))
      .digest("hex");
    /** The signed policy of the present PCRs, as systemd-measure writes it. */
    const approve = async () => {
      await client()("tpm2_createpolicy", "--policy-pcr", "-l", "sha256:16", "-L", "policy");
      await flushSessions(client());
      const policy = client().read("policy");
      const signature = sign("sha256", policy, privateKey).toString("base64");
      const entry = { pcrs: [16], pkfp: vendor, pol: policy.toString("hex"), sig: signature };
      client().write("signature.json", JSON.stringify({ sha256: [entry] }));
    };
    const decryptSigned = ["decrypt", "--tpm2-signature=signature.json", ...CREDENTIAL];
    await approve();
    const signedPcrs = ["--tpm2-public-key=vendor.pem", "--tpm2-public-key-pcrs=16"];
    await encrypt("tpm2-with-public-key", "--tpm2-pcrs=15", ...signedPcrs);
    expect(await client()("systemd-creds", ...decryptSigned)).toBe(SECRET);
    await flushSessions(client());
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    expect(await client().fails("systemd-creds", ...decryptSigned)).toContain(
      "Couldn't find signature for this PCR bank",
    );
    await flushSessions(client());
    await approve();
    expect(await client()("systemd-creds", ...decryptSigned)).toBe(SECRET);
  });

  test("refuses as soon as a PCR of the policy has changed", async () => {
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    await encrypt("tpm2", "--tpm2-pcrs=16");
    expect(await decrypt()).toBe(SECRET);
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    expect(await client().fails("systemd-creds", "decrypt", ...CREDENTIAL)).toContain(
      "Current policy digest does not match",
    );
  });
});

describe.each(WAYS)("systemd-cryptenroll over %s", (way) => {
  const client = useClient(way);
  const cryptsetup = (...args: string[]) => client()("/usr/sbin/cryptsetup", ...args);

  /** The key that a token of systemd's seals, as tpm2-tools unseal it. */
  async function unsealToken(): Promise<string> {
    const metadata = JSON.parse(await cryptsetup("luksDump", "--dump-json-metadata", "volume"));
    const token = Object.values<Record<string, string>>(metadata.tokens).find(({ type }) => type === "systemd-tpm2")!;
    const blob = Buffer.from(token["tpm2-blob"]!, "base64"); // TPM2B_PRIVATE and TPM2B_PUBLIC, one after the other.
    const border = 2 + blob.readUInt16BE();
    client().write("private", blob.subarray(0, border));
    client().write("public", blob.subarray(border));
    await client()("tpm2_createprimary", "-Q", "-G", "ecc", "-c", "primary");
    await client()("tpm2_flushcontext", "-t");
    await client()("tpm2_load", "-Q", "-C", "primary", "-r", "private", "-u", "public", "-c", "object");
    await client()("tpm2_flushcontext", "-t");
    await client()("tpm2_unseal", "-Q", "-c", "object", "-p", "pcr:sha256:16", "-o", "key");
    return client().read("key").toString("base64");
  }

  test("seals a key that opens a LUKS2 volume while the PCR is as it was", async () => {
    client().write("volume", Buffer.alloc(20 << 20));
    client().write("passphrase", "passphrase");
    const quick = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    await cryptsetup("luksFormat", "--type", "luks2", "--batch-mode", ...quick, "volume", "passphrase");
    const enrol = [`--tpm2-device=${client().tcti}`, "--tpm2-pcrs=16", "--unlock-key-file=passphrase", "volume"];
    await client()("env", "PASSWORD=passphrase", "systemd-cryptenroll", ...enrol);
    await flushSessions(client());
    await client().restart();
    const unlock = ["open", "--test-passphrase", "--key-slot", "1", "--key-file=-", "volume"];
    await client().feed(await unsealToken(), "/usr/sbin/cryptsetup", ...unlock);
    await client().failsFed("passphrase", "/usr/sbin/cryptsetup", ...unlock);
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    await client()("tpm2_flushcontext", "-t");
    await expect(unsealToken()).rejects.toThrow(/0x99D/);
  });
});
