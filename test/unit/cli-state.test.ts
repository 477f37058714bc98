import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { decodePermanent, encodePermanent } from "../../src/state/libtpms/permanent.ts";
import { EngineTpm, TestHost } from "../support/engine-tpm.ts";
import { createPrimary, rsa } from "../support/engine-templates.ts";
import { listing, loadFrom, storeIn, usePlaces, wtpmState } from "../support/state-command.ts";
import { answersOf, primariesOf } from "../support/state-filled.ts";
import { asLibtpms07 } from "../support/state-versions.ts";

const places = usePlaces();
const { fresh } = places;

/** A TPM that starts with what a directory holds. */
function tpmFrom(directory: string): EngineTpm {
  const tpm = new EngineTpm({ startup: false });
  tpm.powerCycleWith(loadFrom(directory).permanent!);
  expect(tpm.startup("CLEAR")).toBe(0);
  return tpm;
}

describe("inspect", () => {
  test("shows what is there, and changes nothing", async () => {
    fs.rmSync(path.join(places.dir, ".lock"));
    const before = listing(places.dir);
    const { status, stdout, stderr } = await wtpmState("inspect", places.dir);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^dir:\/\/.*: generation 1, swtpm\n\nPermanent state, version 3\n/);
    expect(stdout).toContain("0x01000011              counter, 8 bytes: count 3");
    expect(stdout).not.toContain(places.state.persistentData.EPSeed.revealHex());
    expect(listing(places.dir)).toEqual(before);
  });

  test("makes nothing where nothing is", async () => {
    const nothing = fresh();
    for (const place of [nothing, `file://${nothing}`]) {
      expect(await wtpmState("inspect", place)).toMatchObject({ status: 1 });
      expect(await wtpmState("verify", place)).toMatchObject({ status: 1 });
      expect(fs.existsSync(nothing)).toBe(false);
    }
  });

  test("takes swtpm's options, a URI, and TPM_PATH", async () => {
    const expected = (await wtpmState("inspect", places.dir)).stdout;
    for (const words of [
      ["--tpmstate", `dir=${places.dir}`],
      ["--tpm2", "--tpmstate", `backend-uri=dir://${places.dir}`],
      [`dir://${places.dir}`],
    ])
      expect((await wtpmState("inspect", ...words)).stdout).toBe(expected);
    process.env.TPM_PATH = places.dir;
    try {
      expect((await wtpmState("inspect")).stdout).toBe(expected);
    } finally {
      delete process.env.TPM_PATH;
    }
  });

  test("--json has every field, secrets as sizes", async () => {
    const { stdout } = await wtpmState("inspect", places.dir, "--json");
    const found = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    expect(found).toMatchObject({
      place: `dir://${places.dir}`,
      generation: 1,
      format: "swtpm",
      inUse: false,
      facts: { profile: { name: "null", stateFormatLevel: 1 } },
      permanent: {
        version: 3,
        persistentData: { EPSeed: { size: 64 }, ownerAuth: { size: 3 }, maxTries: 7, auditCounter: 1 },
      },
    });
    expect(found.facts?.nvIndices).toContainEqual(
      expect.objectContaining({ handle: "0x01000012", content: "bits 0x8000000000000005" }),
    );
    expect(stdout).not.toContain(places.state.persistentData.EPSeed.revealHex());
  });

  test("--secrets shows them, and says so", async () => {
    for (const words of [[], ["--json"]]) {
      const { stdout, stderr } = await wtpmState("inspect", places.dir, "--secrets", ...words);
      expect(stdout).toContain(places.state.persistentData.EPSeed.revealHex());
      expect(stderr).toMatch(/^wtpm: Warning: this shows every secret/);
    }
    expect((await wtpmState("inspect", "--help")).stdout).toMatch(/--secrets +SHOW ALL SECRETS/);
  });

  test("a place that a TPM uses is read, with a note", async () => {
    const store = new DirStore(places.dir);
    store.acquire();
    expect((await wtpmState("inspect", places.dir)).stdout).toContain("in use: a running TPM may be ahead");
    expect(JSON.parse((await wtpmState("inspect", places.dir, "--json")).stdout)).toMatchObject({ inUse: true });
    expect((await wtpmState("verify", places.dir)).stdout).toContain("note: a running TPM uses it");
    store.close();
  });

  test.each([
    ["nothing there", () => [fresh()], /there is no state of a TPM 2.0/],
    ["no place", () => [], /where is the state\?/],
    ["a place that keeps nothing", () => ["--tpmstate", `dir=${places.dir},ephemeral`], /leave it out/],
    ["two places", () => [places.dir, "--tpmstate", `dir=${places.dir}`], /leave one out/],
    ["another backend", () => ["http://there"], /unsupported state backend/],
  ] as const)("%s is an error", async (_what, words, message) => {
    const { status, stdout, stderr } = await wtpmState("inspect", ...words());
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });
});

describe("verify", () => {
  test("a sound state has status 0", async () => {
    expect(await wtpmState("verify", places.dir)).toEqual({
      status: 0,
      stderr: "",
      stdout: [
        `ok: dir://${places.dir}: containers and checksums, generation 1, swtpm`,
        `ok: permanent state: every field of its ${places.permanent.length} bytes is understood`,
        "ok: permanent state: a TPM starts with it",
        "ok: permanent state: what a TPM stores again is the same to the byte",
        "",
      ].join("\n"),
    });
  });

  test("a flipped bit in the file is noticed by its checksum", async () => {
    const file = path.join(places.dir, "tpm2-00.permall");
    const bytes = fs.readFileSync(file);
    bytes[bytes.length >> 1]! ^= 4;
    fs.writeFileSync(file, bytes);
    const { status, stdout } = await wtpmState("verify", places.dir);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^problem: .*tpm2-00\.permall.*checksum/);
  });

  test("a damaged blob in a sound file is located", async () => {
    const wrong = {
      ...places.state,
      persistentData: { ...places.state.persistentData, EPSeed: places.state.persistentData.ownerAuth },
    };
    const blob = encodePermanent(wrong);
    storeIn(places.dir, { permanent: blob.subarray(0, blob.length - 200) });
    const { status, stdout } = await wtpmState("verify", places.dir);
    expect(status).toBe(1);
    expect(stdout).toMatch(
      /problem: permanent state: the permanent state is damaged: userNvram\..*byte \d+: it ends too early/,
    );
    expect(stdout).toMatch(/problem: permanent state: no TPM starts with it: .*response code 0x/);
  });

  test("a volatile state of another TPM does not fit", async () => {
    const other = new EngineTpm({ host: new TestHost("another") });
    await createPrimary(other.client, rsa({ attributes: { sign: true } }), "NULL");
    const { permanent: own, volatile } = other.save();
    storeIn(places.dir, { permanent: own, volatile });
    const fits = await wtpmState("verify", places.dir);
    expect(fits).toMatchObject({ status: 0, stdout: expect.stringMatching(/volatile state: what a TPM stores again/) });
    storeIn(places.dir, { permanent: places.permanent, volatile });
    const { status, stdout } = await wtpmState("verify", places.dir);
    expect(status).toBe(1);
    expect(stdout).toMatch(/ok: volatile state: every field(?:.|\n)*problem: volatile state: no TPM starts with it/);
  });

  test("what a newer version wrote is named", async () => {
    storeIn(places.dir, { permanent: encodePermanent({ ...places.state, version: 7, minVersion: 7 }) });
    const { status, stdout } = await wtpmState("verify", places.dir);
    expect(status).toBe(1);
    expect(stdout).toContain("PERSISTENT_ALL needs a reader of its version 7, and this one knows version 4");
  });
});

describe("convert", () => {
  const key = () => `pwdfile=${places.passphrase},mode=aes-256-cbc`;

  test("encrypts and decrypts in place, and keeps the key in another place", async () => {
    const encrypted = await wtpmState("convert", places.dir, "--to-key", key());
    expect(encrypted).toMatchObject({ status: 0, stderr: "" });
    expect(await wtpmState("verify", places.dir)).toMatchObject({
      status: 1,
      stdout: expect.stringContaining("encrypted"),
    });
    expect(await wtpmState("verify", places.dir, "--key", key())).toMatchObject({ status: 0 });
    const copy = fresh();
    await wtpmState("convert", places.dir, copy, "--key", key());
    expect(await wtpmState("verify", copy)).toMatchObject({ status: 1 });
    expect(await wtpmState("verify", copy, "--key", key())).toMatchObject({ status: 0 });
    const plain = await wtpmState("convert", "--tpmstate", `dir=${places.dir}`, "--key", key(), "--decrypt");
    expect(plain).toMatchObject({ status: 0 });
    expect(loadFrom(places.dir)).toEqual({ permanent: places.permanent });
  });

  test("between a directory and a single file", async () => {
    const file = `${fresh()}.bin`;
    expect(await wtpmState("convert", places.dir, `file://${file}`)).toMatchObject({ status: 0, stderr: "" });
    expect(await wtpmState("verify", file)).toMatchObject({ status: 0 });
    const back = fresh();
    expect(await wtpmState("convert", file, back)).toMatchObject({ status: 0 });
    expect(loadFrom(back)).toEqual({ permanent: places.permanent });
  });

  test.each(["default-v1", "default-v2", '{"Name":"custom:mine","StateFormatLevel":4}'])(
    "to the profile %s and back: the same TPM",
    async (profile) => {
      const before = tpmFrom(places.dir);
      const keys = await primariesOf(before.client);
      const answers = await answersOf(before.client);
      expect(await wtpmState("convert", places.dir, "--profile", profile)).toMatchObject({ status: 0, stderr: "" });
      expect(decodePermanent(loadFrom(places.dir).permanent!)).toMatchObject({ version: 4 });
      expect(await wtpmState("verify", places.dir)).toMatchObject({ status: 0 });
      const after = tpmFrom(places.dir);
      expect(await primariesOf(after.client)).toEqual(keys);
      expect(await answersOf(after.client)).toEqual(answers);
      expect(await wtpmState("convert", places.dir, "--profile", "null")).toMatchObject({ status: 0 });
      expect(toHex(loadFrom(places.dir).permanent!)).toBe(toHex(places.permanent));
    },
  );

  test("a profile that lacks something the TPM uses is refused with a sentence", async () => {
    const tpm = new EngineTpm({ profile: '{"Name":"default-v2"}' });
    const big = await createPrimary(tpm.client, {
      ...rsa({ attributes: { sign: true } }, undefined, 4096),
    });
    await tpm.client.command("EvictControl", {
      handles: { auth: "OWNER", objectHandle: big.objectHandle },
      parameters: { persistentHandle: 0x81000005 },
    });
    tpm.shutdown("CLEAR");
    storeIn(places.dir, { permanent: tpm.save().permanent });
    const before = listing(places.dir);
    expect(await wtpmState("convert", places.dir, "--profile", "null")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/the profile cannot be changed: the TPM uses the kind of key at 0x81000005/),
    });
    storeIn(places.dir, { permanent: places.permanent });
    const noSha1 =
      '{"Name":"custom","Algorithms":"rsa,rsa-min-size=1024,hmac,aes,aes-min-size=128,mgf1,keyedhash,xor,sha256,sha384,null,oaep,ecdsa,ecdh,kdf1-sp800-56a,kdf2,kdf1-sp800-108,ecc,ecc-min-size=192,ecc-nist,symcipher,cfb"}';
    expect(await wtpmState("convert", places.dir, "--profile", noSha1)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/the TPM uses SHA512, which the profile does not have/),
    });
    expect(await wtpmState("convert", places.dir, "--profile", "default-v9")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/not a profile/),
    });
    expect(listing(places.dir).length).toBe(before.length);
  });

  test("an old state is written in the versions of today", async () => {
    storeIn(places.dir, { permanent: encodePermanent(asLibtpms07(places.state)) });
    expect(await wtpmState("verify", places.dir)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("writes version 3 of compileConstants instead of 2, version 4 of persistentData"),
    });
    expect(await wtpmState("convert", places.dir, "--profile", "null")).toMatchObject({ status: 0 });
    expect(decodePermanent(loadFrom(places.dir).permanent!)).toMatchObject({
      compileConstants: { version: 3 },
      persistentData: { version: 4, EPSeedCompatLevel: 0 },
    });
  });

  test("a suspended TPM keeps its profile", async () => {
    const tpm = new EngineTpm();
    storeIn(places.dir, tpm.save());
    expect(await wtpmState("convert", places.dir, "--profile", "default-v1")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/suspended keeps its profile/),
    });
  });
});

test("unknown words and help", async () => {
  expect(await wtpmState("bogus")).toMatchObject({ status: 1 });
  const { status, stdout } = await wtpmState("--help");
  expect(status).toBe(0);
  for (const name of ["inspect", "verify", "convert", "clone", "export", "import"])
    expect(stdout).toContain(`  ${name} `);
});
