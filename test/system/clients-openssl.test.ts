// tpm2-openssl: the TPM as an OpenSSL provider. What it makes is checked by OpenSSL alone.
import { describe, expect, test } from "vitest";
import { type Client, useClient } from "../support/clients.ts";
import { WAYS } from "../support/clients-ways.ts";
import { until } from "../support/process.ts";

const PROVIDERS = ["-provider", "tpm2", "-provider", "default"];
/** For programs that find the implementation by algorithm and not by key. */
const PREFER_TPM = [...PROVIDERS, "-propquery", "?provider=tpm2"];
const MESSAGE = "signed by the TPM\n";

/** The kinds of keys, as the options of genpkey. */
const KEYS = {
  "RSA-2048": ["-algorithm", "RSA", "-pkeyopt", "bits:2048"],
  "P-256": ["-algorithm", "EC", "-pkeyopt", "group:P-256"],
  "P-384": ["-algorithm", "EC", "-pkeyopt", "group:P-384"],
} as const;
const kinds = Object.keys(KEYS) as (keyof typeof KEYS)[];

/** Makes the TPM key key.pem, with key.pub for OpenSSL. */
async function makeKey(client: Client, kind: keyof typeof KEYS): Promise<void> {
  client.write("message", MESSAGE);
  await client("openssl", "genpkey", "-provider", "tpm2", ...KEYS[kind], "-out", "key.pem");
  await client("openssl", "pkey", ...PROVIDERS, "-in", "key.pem", "-pubout", "-out", "key.pub");
}

describe.each(WAYS)("tpm2-openssl over %s", (way) => {
  const client = useClient(way);

  test.each(kinds)("makes a %s key, signs with it, and OpenSSL verifies", async (kind) => {
    await makeKey(client(), kind);
    expect(client().read("key.pem").toString()).toMatch(/^-----BEGIN TSS2 PRIVATE KEY-----/);
    for (const digest of ["sha256", "sha384"]) {
      await client()(
        "openssl",
        "dgst",
        `-${digest}`,
        ...PREFER_TPM,
        "-sign",
        "key.pem",
        "-out",
        "signature",
        "message",
      );
      const verify = ["dgst", `-${digest}`, "-verify", "key.pub", "-signature", "signature", "message"];
      expect(await client()("openssl", ...verify)).toBe("Verified OK\n");
    }
    client().write("message", "another message\n");
    const verify = ["dgst", "-sha384", "-verify", "key.pub", "-signature", "signature", "message"];
    expect(await client().fails("openssl", ...verify)).toContain("Verification failure");
  });

  test("decrypts what OpenSSL encrypted for an RSA key", async () => {
    await makeKey(client(), "RSA-2048");
    await client()("openssl", "pkeyutl", "-encrypt", "-pubin", "-inkey", "key.pub", "-in", "message", "-out", "secret");
    expect(await client()("openssl", "pkeyutl", ...PROVIDERS, "-decrypt", "-inkey", "key.pem", "-in", "secret")).toBe(
      MESSAGE,
    );
  });

  test("makes a certificate request and a certificate that OpenSSL accepts", async () => {
    await makeKey(client(), "P-256");
    await client()("openssl", "req", "-new", ...PROVIDERS, "-key", "key.pem", "-subj", "/CN=tpm", "-out", "request");
    await client()("openssl", "req", "-verify", "-noout", "-in", "request");
    await client()(
      "openssl",
      "req",
      "-x509",
      ...PROVIDERS,
      "-key",
      "key.pem",
      "-subj",
      "/CN=tpm",
      "-out",
      "certificate",
    );
    expect(await client()("openssl", "verify", "-CAfile", "certificate", "certificate")).toBe("certificate: OK\n");
  });

  test("signs with RSA-PSS", async () => {
    await makeKey(client(), "RSA-2048");
    const hashed = ["-rawin", "-in", "message", "-digest", "sha256"];
    const sign = ["-sign", "-inkey", "key.pem", ...hashed, "-pkeyopt", "pad-mode:pss", "-out", "signature"];
    await client()("openssl", "pkeyutl", ...PROVIDERS, ...sign);
    const verify = ["-verify", "-pubin", "-inkey", "key.pub", ...hashed, "-pkeyopt", "rsa_padding_mode:pss"];
    expect(await client()("openssl", "pkeyutl", ...verify, "-sigfile", "signature")).toMatch(/Verified Successfully/);
  });

  test("derives the secret that OpenSSL derives from the other key", async () => {
    await makeKey(client(), "P-256");
    await client()("openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", "peer.pem");
    await client()("openssl", "pkey", "-in", "peer.pem", "-pubout", "-out", "peer.pub");
    const derive = (...words: string[]) => client()("openssl", "pkeyutl", "-derive", ...words);
    await derive(...PROVIDERS, "-inkey", "key.pem", "-peerkey", "peer.pub", "-out", "here");
    await derive("-inkey", "peer.pem", "-peerkey", "key.pub", "-out", "there");
    expect(client().read("here")).toHaveLength(32);
    expect(client().read("here").equals(client().read("there"))).toBe(true);
  });

  test("a key with a password wants it, also after a restart", async () => {
    const protectedKey = ["-pkeyopt", "user-auth:secret", "-out", "key.pem"];
    await client()("openssl", "genpkey", "-provider", "tpm2", ...KEYS["P-256"], ...protectedKey);
    await client()(
      "openssl",
      "pkey",
      ...PROVIDERS,
      "-in",
      "key.pem",
      "-passin",
      "pass:secret",
      "-pubout",
      "-out",
      "key.pub",
    );
    client().write("message", MESSAGE);
    await client().restart();
    const sign = ["dgst", "-sha256", ...PREFER_TPM, "-sign", "key.pem", "-out", "signature", "-passin"];
    expect(await client().fails("openssl", ...sign, "pass:wrong", "message")).toMatch(/auth/i);
    await client()("openssl", ...sign, "pass:secret", "message");
    const verify = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"];
    expect(await client()("openssl", ...verify)).toBe("Verified OK\n");
  });

  test("uses a key that tpm2-tools made persistent", async () => {
    await client()("tpm2_createprimary", "-Q", "-c", "primary");
    await client()("tpm2_create", "-Q", "-C", "primary", "-G", "ecc", "-u", "public", "-r", "private", "-c", "key");
    await client()("tpm2_flushcontext", "-t");
    await client()("tpm2_evictcontrol", "-Q", "-c", "key", "0x81000010");
    await client().restart();
    client().write("message", MESSAGE);
    await client()("openssl", "pkey", ...PROVIDERS, "-in", "handle:0x81000010", "-pubout", "-out", "key.pub");
    await client()(
      "openssl",
      "dgst",
      "-sha256",
      ...PREFER_TPM,
      "-sign",
      "handle:0x81000010",
      "-out",
      "signature",
      "message",
    );
    const verify = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"];
    expect(await client()("openssl", ...verify)).toBe("Verified OK\n");
  });
});

describe("tpm2-openssl and tpm2-tools", () => {
  const client = useClient("a UNIX socket");

  test("a key that tpm2-tools made is encoded for OpenSSL", async () => {
    await client()("tpm2_createprimary", "-Q", "-G", "ecc", "-c", "primary");
    await client()("tpm2_flushcontext", "-t");
    await client()("tpm2_evictcontrol", "-Q", "-c", "primary", "0x81000001");
    await client()("tpm2_flushcontext", "-t");
    await client()("tpm2_create", "-Q", "-C", "0x81000001", "-G", "ecc", "-u", "public", "-r", "private");
    await client()("tpm2_encodeobject", "-C", "0x81000001", "-u", "public", "-r", "private", "-o", "key.pem");
    client().write("message", MESSAGE);
    const password = ["-passin", "pass:"];
    await client()("openssl", "pkey", ...PROVIDERS, "-in", "key.pem", ...password, "-pubout", "-out", "key.pub");
    const sign = ["dgst", "-sha256", ...PREFER_TPM, "-sign", "key.pem", ...password, "-out", "signature", "message"];
    await client()("openssl", ...sign);
    const verify = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "message"];
    expect(await client()("openssl", ...verify)).toBe("Verified OK\n");
  });
});

describe("tpm2-openssl in TLS", () => {
  // With a TPM of three object slots alone, the hashes of the handshake do not leave one for the key.
  const client = useClient("tpm2-abrmd");

  test.each(["RSA-2048", "P-256"] as const)("a server proves its name with a %s key", async (kind) => {
    await makeKey(client(), kind);
    const name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    await client()("openssl", "req", "-x509", ...PREFER_TPM, "-key", "key.pem", ...name, "-out", "certificate");
    const identity = ["-key", "key.pem", "-cert", "certificate"];
    const server = client().start("openssl", "s_server", ...PREFER_TPM, ...identity, "-accept", "127.0.0.1:0", "-www");
    const port = await until("the TLS server to listen", () => /ACCEPT \S+:(\d+)/.exec(server.output().stdout)?.[1]);
    const trust = ["-CAfile", "certificate", "-verify_return_error", "-verify_hostname", "localhost"];
    const get = ["s_client", "-connect", `127.0.0.1:${port}`, ...trust, "-ign_eof"];
    const page = await client().feed("GET / HTTP/1.0\r\n\r\n", "openssl", ...get);
    expect(page).toContain("Verification: OK");
    expect(page).toContain("HTTP/1.0 200 ok");
    expect(page).toMatch(/Peer signature type: (RSA-PSS|ECDSA)/);
    expect(page).toMatch(/New, TLSv1\.3, Cipher is TLS_/);
  });
});
