// systemd's credentials and enrolment of LUKS2 volumes, with the TPM named as a TCTI where a device is usual.
import { describe, expect, test } from "vitest";
import { type Client, useClient } from "../support/clients.ts";
import { WAYS } from "../support/clients-ways.ts";

const SECRET = "the password of a service";
const CREDENTIAL = ["--name=password", "credential"];

/** Without a resource manager the sessions of systemd 252, which are left behind, fill the TPM after three calls. */
const flushSessions = (client: Client) => client("tpm2_flushcontext", "-l");

describe.each(WAYS)("systemd-creds over %s", (way) => {
  const client = useClient(way);
  const encrypt = async (...options: string[]) => {
    const device = `--tpm2-device=${client().tcti}`;
    const words = ["encrypt", "--with-key=tpm2", device, ...options, "--name=password", "-", "credential"];
    await client().feed(SECRET, "systemd-creds", ...words);
    await flushSessions(client());
  };
  const decrypt = async () => {
    const secret = await client()("systemd-creds", "decrypt", ...CREDENTIAL);
    await flushSessions(client());
    return secret;
  };

  test("encrypts and decrypts a credential, also after a restart", async () => {
    await encrypt();
    expect(client().read("credential").toString()).not.toContain(SECRET);
    expect(await decrypt()).toBe(SECRET);
    await client().restart();
    expect(await decrypt()).toBe(SECRET);
  });

  test("refuses as soon as a PCR of the policy has changed", async () => {
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    await encrypt("--tpm2-pcrs=16");
    expect(await decrypt()).toBe(SECRET);
    await client()("tpm2_pcrextend", `16:sha256=${"01".repeat(32)}`);
    expect(await client().fails("systemd-creds", "decrypt", ...CREDENTIAL)).toContain("Current policy digest does not match");
  });
});
