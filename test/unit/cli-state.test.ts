// `wtpm state`: inspect, verify, convert, clone, export, import.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { decodeMigrationBlob, plainFormat } from "../../src/state/container.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { decodePermanent, encodePermanent, type PermanentState } from "../../src/state/libtpms/permanent.ts";
import { EngineTpm, TestHost } from "../support/engine-tpm.ts";
import { createPrimary, rsa } from "../support/engine-templates.ts";
import { filledTpm, loadFrom, storeIn, wtpmState } from "../support/state-command.ts";
import { answersOf, primariesOf } from "../support/state-filled.ts";

let root: string;
let dir: string;
let passphrase: string;
let permanent: Uint8Array;
let state: PermanentState;

beforeAll(async () => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-cli-state-"));
  passphrase = path.join(root, "passphrase");
  fs.writeFileSync(passphrase, "correct horse battery staple");
  permanent = (await filledTpm()).save().permanent;
  state = decodePermanent(permanent);
});
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

let number = 0;
/** A path that nothing has yet. */
const fresh = (): string => path.join(root, `place-${number++}`);
beforeEach(() => {
  dir = fresh();
  storeIn(dir, { permanent });
});

/** Names and bytes of all that is in a directory. */
const listing = (directory: string): [string, string][] =>
  fs.readdirSync(directory).map((name) => [name, fs.readFileSync(path.join(directory, name), "hex")]);

/** A TPM that starts with what a directory holds. */
function tpmFrom(directory: string): EngineTpm {
  const tpm = new EngineTpm({ startup: false });
  tpm.powerCycleWith(loadFrom(directory).permanent!);
  expect(tpm.startup("CLEAR")).toBe(0);
  return tpm;
}

describe("inspect", () => {
  test("shows what is there, and changes nothing", async () => {
    fs.rmSync(path.join(dir, ".lock"));
    const before = listing(dir);
    const { status, stdout, stderr } = await wtpmState("inspect", dir);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^dir:\/\/.*: generation 1, swtpm\n\nPermanent state, version 3\n/);
    expect(stdout).toContain("0x01000011              counter, 8 bytes: count 3");
    expect(stdout).not.toContain(state.persistentData.EPSeed.revealHex());
    expect(listing(dir)).toEqual(before);
  });

  test("takes swtpm's options, a URI, and TPM_PATH", async () => {
    const expected = (await wtpmState("inspect", dir)).stdout;
    for (const words of [
      ["--tpmstate", `dir=${dir}`],
      ["--tpm2", "--tpmstate", `backend-uri=dir://${dir}`],
      [`dir://${dir}`],
    ])
      expect((await wtpmState("inspect", ...words)).stdout).toBe(expected);
    process.env.TPM_PATH = dir;
    try {
      expect((await wtpmState("inspect")).stdout).toBe(expected);
    } finally {
      delete process.env.TPM_PATH;
    }
  });

  test("--json has every field, secrets as sizes", async () => {
    const { stdout } = await wtpmState("inspect", dir, "--json");
    const found = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    expect(found).toMatchObject({
      place: `dir://${dir}`,
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
    expect(stdout).not.toContain(state.persistentData.EPSeed.revealHex());
  });

  test("--secrets shows them, and says so", async () => {
    for (const words of [[], ["--json"]]) {
      const { stdout, stderr } = await wtpmState("inspect", dir, "--secrets", ...words);
      expect(stdout).toContain(state.persistentData.EPSeed.revealHex());
      expect(stderr).toMatch(/^wtpm: Warning: this shows every secret/);
    }
    expect((await wtpmState("inspect", "--help")).stdout).toMatch(/--secrets +SHOW ALL SECRETS/);
  });

  test("a place that a TPM uses is read, with a note", async () => {
    const store = new DirStore(dir);
    store.acquire();
    expect((await wtpmState("inspect", dir)).stdout).toContain("in use: a running TPM may be ahead");
    expect(JSON.parse((await wtpmState("inspect", dir, "--json")).stdout)).toMatchObject({ inUse: true });
    expect((await wtpmState("verify", dir)).stdout).toContain("note: a running TPM uses it");
    store.close();
  });

  test.each([
    ["nothing there", () => [fresh()], /there is no state of a TPM 2.0/],
    ["no place", () => [], /where is the state\?/],
    ["two places", () => [dir, "--tpmstate", `dir=${dir}`], /leave one out/],
    ["another backend", () => ["http://there"], /unsupported state backend/],
  ] as const)("%s is an error", async (_what, words, message) => {
    const { status, stdout, stderr } = await wtpmState("inspect", ...words());
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });
});

describe("verify", () => {
  test("a sound state has status 0", async () => {
    expect(await wtpmState("verify", dir)).toEqual({
      status: 0,
      stderr: "",
      stdout: [
        `ok: dir://${dir}: containers and checksums, generation 1, swtpm`,
        `ok: permanent state: every field of its ${permanent.length} bytes is understood`,
        "ok: permanent state: a TPM starts with it",
        "ok: permanent state: what a TPM stores again is the same to the byte",
        "",
      ].join("\n"),
    });
  });

  test("a flipped bit in the file is noticed by its checksum", async () => {
    const file = path.join(dir, "tpm2-00.permall");
    const bytes = fs.readFileSync(file);
    bytes[bytes.length >> 1]! ^= 4;
    fs.writeFileSync(file, bytes);
    const { status, stdout } = await wtpmState("verify", dir);
    expect(status).toBe(1);
    expect(stdout).toMatch(/^problem: .*tpm2-00\.permall.*checksum/);
  });

  test("a damaged blob in a sound file is located", async () => {
    const wrong = { ...state, persistentData: { ...state.persistentData, EPSeed: state.persistentData.ownerAuth } };
    const blob = encodePermanent(wrong);
    storeIn(dir, { permanent: blob.subarray(0, blob.length - 200) });
    const { status, stdout } = await wtpmState("verify", dir);
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
    storeIn(dir, { permanent: own, volatile });
    const fits = await wtpmState("verify", dir);
    expect(fits).toMatchObject({ status: 0, stdout: expect.stringMatching(/volatile state: what a TPM stores again/) });
    storeIn(dir, { permanent, volatile });
    const { status, stdout } = await wtpmState("verify", dir);
    expect(status).toBe(1);
    expect(stdout).toMatch(/ok: volatile state: every field(?:.|\n)*problem: volatile state: no TPM starts with it/);
  });

  test("what a newer version wrote is named", async () => {
    storeIn(dir, { permanent: encodePermanent({ ...state, version: 7, minVersion: 7 }) });
    const { status, stdout } = await wtpmState("verify", dir);
    expect(status).toBe(1);
    expect(stdout).toContain("PERSISTENT_ALL needs a reader of its version 7, and this one knows version 4");
  });
});

describe("convert", () => {
  const key = () => `pwdfile=${passphrase},mode=aes-256-cbc`;

  test("encrypts and decrypts in place, and keeps the key in another place", async () => {
    const encrypted = await wtpmState("convert", dir, "--to-key", key());
    expect(encrypted).toMatchObject({ status: 0, stderr: "" });
    expect(await wtpmState("verify", dir)).toMatchObject({ status: 1, stdout: expect.stringContaining("encrypted") });
    expect(await wtpmState("verify", dir, "--key", key())).toMatchObject({ status: 0 });
    const copy = fresh();
    await wtpmState("convert", dir, copy, "--key", key());
    expect(await wtpmState("verify", copy)).toMatchObject({ status: 1 });
    expect(await wtpmState("verify", copy, "--key", key())).toMatchObject({ status: 0 });
    const plain = await wtpmState("convert", "--tpmstate", `dir=${dir}`, "--key", key(), "--decrypt");
    expect(plain).toMatchObject({ status: 0 });
    expect(loadFrom(dir)).toEqual({ permanent });
  });

  test("between a directory and a single file", async () => {
    const file = `${fresh()}.bin`;
    expect(await wtpmState("convert", dir, `file://${file}`)).toMatchObject({ status: 0, stderr: "" });
    expect(await wtpmState("verify", file)).toMatchObject({ status: 0 });
    const back = fresh();
    expect(await wtpmState("convert", file, back)).toMatchObject({ status: 0 });
    expect(loadFrom(back)).toEqual({ permanent });
  });

  test.each(["default-v1", "default-v2", '{"Name":"custom:mine","StateFormatLevel":4}'])(
    "to the profile %s and back: the same TPM",
    async (profile) => {
      const before = tpmFrom(dir);
      const keys = await primariesOf(before.client);
      const answers = await answersOf(before.client);
      expect(await wtpmState("convert", dir, "--profile", profile)).toMatchObject({ status: 0, stderr: "" });
      expect(decodePermanent(loadFrom(dir).permanent!)).toMatchObject({ version: 4 });
      expect(await wtpmState("verify", dir)).toMatchObject({ status: 0 });
      const after = tpmFrom(dir);
      expect(await primariesOf(after.client)).toEqual(keys);
      expect(await answersOf(after.client)).toEqual(answers);
      expect(await wtpmState("convert", dir, "--profile", "null")).toMatchObject({ status: 0 });
      expect(toHex(loadFrom(dir).permanent!)).toBe(toHex(permanent));
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
    storeIn(dir, { permanent: tpm.save().permanent });
    const before = listing(dir);
    expect(await wtpmState("convert", dir, "--profile", "null")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/the profile cannot be changed: the TPM uses the kind of key at 0x81000005/),
    });
    storeIn(dir, { permanent });
    const noSha1 =
      '{"Name":"custom","Algorithms":"rsa,rsa-min-size=1024,hmac,aes,aes-min-size=128,mgf1,keyedhash,xor,sha256,sha384,null,oaep,ecdsa,ecdh,kdf1-sp800-56a,kdf2,kdf1-sp800-108,ecc,ecc-min-size=192,ecc-nist,symcipher,cfb"}';
    expect(await wtpmState("convert", dir, "--profile", noSha1)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/the TPM uses SHA512, which the profile does not have/),
    });
    expect(await wtpmState("convert", dir, "--profile", "default-v9")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/not a profile/),
    });
    expect(listing(dir).length).toBe(before.length);
  });

  test("a suspended TPM keeps its profile", async () => {
    const tpm = new EngineTpm();
    storeIn(dir, tpm.save());
    expect(await wtpmState("convert", dir, "--profile", "default-v1")).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/suspended keeps its profile/),
    });
  });
});

describe("clone", () => {
  test("the same TPM once more", async () => {
    const copy = fresh();
    const { status, stdout } = await wtpmState("clone", dir, copy);
    expect({ status, same: /the same TPM once more/.test(stdout) }).toEqual({ status: 0, same: true });
    expect(loadFrom(copy)).toEqual({ permanent });
  });

  test("--new-identity: new seeds and proofs, the owner's objects stay behind", async () => {
    const copy = fresh();
    const { status, stdout } = await wtpmState("clone", dir, copy, "--new-identity");
    expect(status).toBe(0);
    const clone = decodePermanent(loadFrom(copy).permanent!);
    for (const name of ["EPSeed", "SPSeed", "PPSeed", "phProof", "shProof", "ehProof"] as const)
      expect(clone.persistentData[name].revealHex(), name).not.toBe(state.persistentData[name].revealHex());
    expect(clone.orderlyData.drbgState.seed.revealHex()).not.toBe(state.orderlyData.drbgState.seed.revealHex());
    expect(clone.persistentData.ownerAuth.size).toBe(0);
    expect(clone.userNvram.entries.map(({ handle }) => handle)).toEqual([0x01c00002]);
    expect(stdout).toContain("0x81000002: persistent object of the old identity: not in the clone");
    expect(await wtpmState("verify", copy)).toMatchObject({ status: 0 });
    const another = fresh();
    await wtpmState("clone", dir, another, "--new-identity");
    const second = decodePermanent(loadFrom(another).permanent!).persistentData;
    expect(second.EPSeed.revealHex()).not.toBe(clone.persistentData.EPSeed.revealHex());
    expect(loadFrom(dir)).toEqual({ permanent });
  });

  test("--new-identity: certificates of the endorsement key are named, and removed when that is asked for", async () => {
    const tpm = new EngineTpm();
    for (const [nvIndex, head] of [
      [0x01c00002, "30820101"],
      [0x01c0000a, "30820102"],
      [0x01c00004, "00010203"],
    ] as const) {
      const handles = { authHandle: "PLATFORM", nvIndex } as const;
      await tpm.client.command("NV_DefineSpace", {
        handles: { authHandle: "PLATFORM" },
        parameters: {
          auth: "",
          publicInfo: {
            nvIndex,
            nameAlg: "SHA256",
            attributes: {
              TPM_NT: "ORDINARY",
              PPWRITE: true,
              PPREAD: true,
              AUTHREAD: true,
              PLATFORMCREATE: true,
              NO_DA: true,
            },
            authPolicy: "",
            dataSize: 16,
          },
        },
      });
      await tpm.client.command("NV_Write", { handles, parameters: { data: head.padEnd(32, "0"), offset: 0 } });
    }
    tpm.shutdown("CLEAR");
    storeIn(dir, { permanent: tpm.save().permanent });
    const [kept, removed] = [fresh(), fresh()];
    const first = await wtpmState("clone", dir, kept, "--new-identity");
    expect(first.stdout).toMatch(/0x01c00002: certificate: no longer fits\n0x01c0000a: certificate: no longer fits\n$/);
    const second = await wtpmState("clone", dir, removed, "--new-identity", "--remove-ek-certificates");
    expect(second.stdout).toMatch(/0x01c00002: certificate: removed\n0x01c0000a: certificate: removed\n$/);
    const handles = (directory: string) =>
      decodePermanent(loadFrom(directory).permanent!).userNvram.entries.map(({ handle }) => handle.toString(16));
    expect(handles(kept)).toEqual(["1c00002", "1c0000a", "1c00004"]);
    expect(handles(removed)).toEqual(["1c00004"]);
    expect(await wtpmState("clone", dir, fresh(), "--remove-ek-certificates")).toMatchObject({ status: 1 });
  });

  test("TPM2_Clear that is disabled is disabled in the clone too", async () => {
    const tpm = new EngineTpm();
    await tpm.client.command("ClearControl", { handles: { auth: "LOCKOUT" }, parameters: { disable: true } });
    tpm.shutdown("CLEAR");
    storeIn(dir, { permanent: tpm.save().permanent });
    const copy = fresh();
    expect(await wtpmState("clone", dir, copy, "--new-identity")).toMatchObject({ status: 0 });
    expect(decodePermanent(loadFrom(copy).permanent!).persistentData.disableClear).toBe(true);
  });

  test("a state that is there is replaced only when that is asked for, and never under a running TPM", async () => {
    const copy = fresh();
    const other = new EngineTpm().save().permanent;
    storeIn(copy, { permanent: other });
    expect(await wtpmState("clone", dir, copy)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("--replace"),
    });
    expect(loadFrom(copy)).toEqual({ permanent: other });
    const store = new DirStore(copy);
    store.acquire();
    expect(await wtpmState("clone", dir, copy, "--replace")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("in use by another process"),
    });
    expect(loadFrom(copy)).toEqual({ permanent: other });
    store.close();
    expect(await wtpmState("clone", dir, copy, "--replace")).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent });
    expect(await wtpmState("clone", dir)).toMatchObject({ status: 1, stderr: expect.stringContaining("where to?") });
  });

  test("a damaged state is not copied", async () => {
    storeIn(dir, { permanent: permanent.subarray(0, 500) });
    const copy = fresh();
    expect(await wtpmState("clone", dir, copy)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("damaged"),
    });
    expect(fs.existsSync(copy)).toBe(false);
  });
});

describe("export and import", () => {
  test("an archive has swtpm's files, for tar as for import", async () => {
    const archive = `${fresh()}.tar`;
    expect(await wtpmState("export", dir, "--archive", archive)).toMatchObject({ status: 0, stderr: "" });
    expect(fs.statSync(archive).mode & 0o777).toBe(0o600);
    const copy = fresh();
    expect(await wtpmState("import", copy, "--archive", archive)).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent });
    const unpacked = fresh();
    fs.mkdirSync(unpacked);
    expect(spawnSync("tar", ["-xf", archive, "-C", unpacked]).status).toBe(0);
    expect(listing(unpacked)).toEqual([["tpm2-00.permall", toHex(plainFormat.encode("permanent", permanent, 1))]]);
    // And what tar packed can be imported.
    const packed = `${fresh()}.tar`;
    expect(spawnSync("tar", ["-cf", packed, "-C", unpacked, "."]).status).toBe(0);
    expect(await wtpmState("import", copy, "--archive", packed, "--replace")).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent });
  });

  test("an encrypted archive needs its key", async () => {
    const archive = `${fresh()}.tar`;
    const key = ["--archive-key", `pwdfile=${passphrase}`];
    expect(await wtpmState("export", dir, "--archive", archive, ...key)).toMatchObject({ status: 0 });
    expect(await wtpmState("import", fresh(), "--archive", archive)).toMatchObject({ status: 1 });
    const copy = fresh();
    expect(await wtpmState("import", copy, "--archive", archive, ...key)).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent });
  });

  test("migration blobs, as swtpm_ioctl --save and --load have them", async () => {
    const running = new EngineTpm().save();
    storeIn(dir, running);
    const [one, two] = [fresh(), fresh()];
    const key = ["--migration-key", `pwdfile=${passphrase},kdf=sha512`];
    for (const words of [[], key]) {
      expect(await wtpmState("export", dir, "--permanent", one, "--volatile", two, ...words)).toMatchObject({
        status: 0,
      });
      if (words.length === 0) expect(toHex(decodeMigrationBlob(fs.readFileSync(one)))).toBe(toHex(running.permanent));
      const copy = fresh();
      expect(await wtpmState("import", copy, "--permanent", one, "--volatile", two, ...words)).toMatchObject({
        status: 0,
      });
      expect(loadFrom(copy)).toEqual(running);
      for (const file of [one, two]) fs.rmSync(file);
    }
    const partly = await wtpmState("export", dir, "--permanent", one);
    expect(partly).toMatchObject({ status: 0, stderr: expect.stringContaining("there is a volatile state") });
  });

  test.each([
    ["no file", [], /which files\?/],
    ["both forms", ["--archive", "a", "--permanent", "b"], /leave --permanent and --volatile out/],
    ["a key of the other form", ["--archive", "a", "--migration-key", "file=k"], /--archive-key/],
  ])("%s is refused", async (_what, words, message) => {
    for (const command of ["export", "import"])
      expect(await wtpmState(command, dir, ...words)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(message),
      });
  });

  test("no file is written over, no state without being asked, and nothing damaged is stored", async () => {
    const archive = `${fresh()}.tar`;
    fs.writeFileSync(archive, "mine");
    expect(await wtpmState("export", dir, "--archive", archive)).toMatchObject({ status: 1 });
    expect(fs.readFileSync(archive, "utf8")).toBe("mine");
    fs.rmSync(archive);
    await wtpmState("export", dir, "--archive", archive);
    expect(await wtpmState("import", dir, "--archive", archive)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("--replace"),
    });
    const bytes = fs.readFileSync(archive);
    for (const [at, message] of [
      [10, /byte 0: no header of a tar archive/],
      [700, /checksum/],
    ] as const) {
      const wrong = Buffer.from(bytes);
      wrong[at]! ^= 1;
      fs.writeFileSync(archive, wrong);
      const copy = fresh();
      expect(await wtpmState("import", copy, "--archive", archive)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(message),
      });
      expect(fs.existsSync(copy)).toBe(false);
    }
    for (let size = 0; size < bytes.length; size += 256) {
      fs.writeFileSync(archive, bytes.subarray(0, size));
      const { status } = await wtpmState("import", fresh(), "--archive", archive);
      // The two empty records at the end may be missing.
      expect(status, `${size} bytes`).toBe(size < bytes.length - 1024 ? 1 : 0);
    }
  });
});

test("unknown words and help", async () => {
  expect(await wtpmState("bogus")).toMatchObject({ status: 1 });
  const { status, stdout } = await wtpmState("--help");
  expect(status).toBe(0);
  for (const name of ["inspect", "verify", "convert", "clone", "export", "import"])
    expect(stdout).toContain(`  ${name} `);
});
