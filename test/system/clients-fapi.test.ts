// The Feature API of tpm2-tss through its tools, tss2_*: keys by path, seals under policies, NV, quotes.
import { Buffer } from "node:buffer";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { type Client, useClient } from "../support/clients.ts";
import { hash } from "../support/tpm2-tools.ts";

const MESSAGE = "signed by a path";
const PROFILES = ["P_ECCP256SHA256", "P_RSA2048SHA256"] as const;
type Profile = (typeof PROFILES)[number];

/** Makes a key store for the TPM. The emulator's TPM has no certificate for its endorsement key. */
async function provision(client: Client, profile: Profile): Promise<void> {
  const folders = Object.fromEntries(
    ["user_dir", "system_dir", "log_dir"].map((name) => [name, path.join(client.folder, name)]),
  );
  for (const folder of Object.values(folders)) mkdirSync(folder);
  const configuration = {
    profile_name: profile,
    profile_dir: "/etc/tpm2-tss/fapi-profiles/",
    ...folders,
    tcti: client.tcti,
    system_pcrs: [],
    ek_cert_less: "yes",
  };
  client.write("fapi-config.json", JSON.stringify(configuration));
  await client("tss2_provision");
}

describe.each(["a UNIX socket", "tpm2-abrmd"] as const)("the Feature API over %s", (way) => {
  const client = useClient(way);

  test.each(PROFILES)("a key of %s signs, and OpenSSL verifies, also after a restart", async (profile) => {
    await provision(client(), profile);
    await client()("tss2_createkey", "--path=HS/SRK/signer", "--type=sign,noDa", "--authValue=");
    expect(await client()("tss2_list", "--searchPath=HS")).toContain(`/${profile}/HS/SRK/signer`);
    client().write("message", MESSAGE);
    client().write("digest", hash("sha256", MESSAGE));
    const sign = [
      "--keyPath=HS/SRK/signer",
      "--digest=digest",
      "--signature=signature",
      "--publicKey=key.pub",
      "--force",
    ];
    const padding = profile === "P_RSA2048SHA256" ? ["--padding=RSA_SSA"] : [];
    for (const again of [false, true]) {
      if (again) await client().restart();
      await client()("tss2_sign", ...sign, ...padding);
      const verify = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"];
      expect(await client()("openssl", ...verify)).toBe("Verified OK\n");
    }
  });

  test("a seal under a PCR policy opens until the PCR changes", async () => {
    await provision(client(), "P_ECCP256SHA256");
    const policy = { description: "the state of PCR 16", policy: [{ type: "POLICYPCR", currentPCRs: [16] }] };
    client().write("policy.json", JSON.stringify(policy));
    await client()("tss2_import", "--path=/policy/pcr16", "--importData=policy.json");
    client().write("secret", "sealed by a path");
    await client()(
      "tss2_createseal",
      "--path=HS/SRK/seal",
      "--policyPath=/policy/pcr16",
      "--type=noDa",
      "--authValue=",
      "--data=secret",
    );
    const unseal = ["--path=HS/SRK/seal", "--data=unsealed", "--force"];
    await client()("tss2_unseal", ...unseal);
    expect(client().read("unsealed").toString()).toBe("sealed by a path");
    client().write("event", "changed");
    await client()("tss2_pcrextend", "--pcr=16", "--data=event");
    expect(await client().fails("tss2_unseal", ...unseal)).toMatch(/policy/i);
  });

  test("NV keeps data over a restart, and counts", async () => {
    await provision(client(), "P_ECCP256SHA256");
    client().write("data", "kept by a path");
    await client()("tss2_createnv", "--path=/nv/Owner/data", "--type=noDa", "--size=14", "--authValue=");
    await client()("tss2_nvwrite", "--nvPath=/nv/Owner/data", "--data=data");
    await client()("tss2_createnv", "--path=/nv/Owner/count", "--type=noDa,counter", "--authValue=");
    for (const _ of [1, 2]) await client()("tss2_nvincrement", "--nvPath=/nv/Owner/count");
    await client().restart();
    await client()("tss2_nvread", "--nvPath=/nv/Owner/data", "--data=read", "--force");
    expect(client().read("read").toString()).toBe("kept by a path");
    const count = async () => {
      await client()("tss2_nvread", "--nvPath=/nv/Owner/count", "--data=count", "--force");
      return client().read("count").readBigUInt64BE();
    };
    const before = await count();
    await client()("tss2_nvincrement", "--nvPath=/nv/Owner/count");
    expect(await count()).toBe(before + 1n);
  });

  test("an RSA key decrypts what was encrypted for it", async () => {
    await provision(client(), "P_RSA2048SHA256");
    await client()("tss2_createkey", "--path=HS/SRK/decrypter", "--type=decrypt,noDa", "--authValue=");
    client().write("plain", MESSAGE);
    await client()("tss2_encrypt", "--keyPath=HS/SRK/decrypter", "--plainText=plain", "--cipherText=cipher");
    expect(client().read("cipher")).toHaveLength(256);
    await client()("tss2_decrypt", "--keyPath=HS/SRK/decrypter", "--cipherText=cipher", "--plainText=again");
    expect(client().read("again").toString()).toBe(MESSAGE);
  });

  test("bits are set, an index is extended, and the TPM tells about itself", async () => {
    await provision(client(), "P_ECCP256SHA256");
    await client()("tss2_createnv", "--path=/nv/Owner/bits", "--type=noDa,bitfield", "--authValue=");
    await client()("tss2_nvsetbits", "--nvPath=/nv/Owner/bits", "--bitmap=0x0102030405060608");
    await client()("tss2_nvread", "--nvPath=/nv/Owner/bits", "--data=bits");
    expect(client().read("bits").toString("hex")).toBe("0102030405060608");
    await client()("tss2_createnv", "--path=/nv/Owner/log", "--type=noDa,pcr", "--authValue=");
    client().write("event", "measured");
    await client()("tss2_nvextend", "--nvPath=/nv/Owner/log", "--data=event");
    await client()("tss2_nvread", "--nvPath=/nv/Owner/log", "--data=log");
    expect(client().read("log").toString("hex")).toBe(hash("sha256", Buffer.alloc(32), "measured").toString("hex"));
    await client()("tss2_getrandom", "--numBytes=20", "--data=random");
    expect(client().read("random")).toHaveLength(20);
    await client()("tss2_getinfo", "--info=info");
    expect(client().read("info").toString()).toContain("tpm2-tss 3.2");
  });

  test.each(PROFILES)("a quote by a key of %s verifies, and a changed one does not", async (profile) => {
    await provision(client(), profile);
    await client()("tss2_createkey", "--path=HS/SRK/ak", "--type=sign,restricted,noDa", "--authValue=");
    client().write("event", "measured");
    await client()("tss2_pcrextend", "--pcr=16", "--data=event");
    client().write("nonce", Buffer.alloc(20, 7));
    const made = ["--quoteInfo=info", "--signature=signature", "--certificate=certificate", "--pcrLog=log", "--force"];
    await client()("tss2_quote", "--keyPath=HS/SRK/ak", "--pcrList=16", "--qualifyingData=nonce", ...made);
    await client()("tss2_exportkey", "--pathOfKeyToDuplicate=HS/SRK/ak", "--exportedData=ak.json", "--force");
    await client()("tss2_import", "--path=/ext/ak", "--importData=ak.json");
    const verify = ["--publicKeyPath=/ext/ak", "--quoteInfo=info", "--signature=signature", "--qualifyingData=nonce"];
    await client()("tss2_verifyquote", ...verify);
    client().write("nonce", Buffer.alloc(20, 8));
    await client().fails("tss2_verifyquote", ...verify);
  });
});
