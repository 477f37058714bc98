// `wtpm state clone`, `export` and `import`.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { toHex } from "../../src/codec/bytes.ts";
import { decodeMigrationBlob, plainFormat } from "../../src/state/container.ts";
import { DirStore } from "../../src/state/dir-store.ts";
import { decodePermanent } from "../../src/state/libtpms/permanent.ts";
import { EngineTpm } from "../support/engine-tpm.ts";
import { listing, loadFrom, storeIn, usePlaces, wtpmState } from "../support/state-command.ts";

const places = usePlaces();
const { fresh } = places;

describe("clone", () => {
  test("the same TPM once more", async () => {
    const copy = fresh();
    const { status, stdout } = await wtpmState("clone", places.dir, copy);
    expect({ status, same: /the same TPM once more/.test(stdout) }).toEqual({ status: 0, same: true });
    expect(loadFrom(copy)).toEqual({ permanent: places.permanent });
  });

  test("--new-identity: new seeds and proofs, the owner's objects stay behind", async () => {
    const copy = fresh();
    const { status, stdout } = await wtpmState("clone", places.dir, copy, "--new-identity");
    expect(status).toBe(0);
    const clone = decodePermanent(loadFrom(copy).permanent!);
    for (const name of ["EPSeed", "SPSeed", "PPSeed", "phProof", "shProof", "ehProof"] as const)
      expect(clone.persistentData[name].revealHex(), name).not.toBe(places.state.persistentData[name].revealHex());
    expect(clone.orderlyData.drbgState.seed.revealHex()).not.toBe(places.state.orderlyData.drbgState.seed.revealHex());
    expect(clone.persistentData.ownerAuth.size).toBe(0);
    expect(clone.userNvram.entries.map(({ handle }) => handle)).toEqual([0x01c00002]);
    expect(stdout).toContain("0x81000002: persistent object of the old identity: not in the clone");
    expect(await wtpmState("verify", copy)).toMatchObject({ status: 0 });
    const another = fresh();
    await wtpmState("clone", places.dir, another, "--new-identity");
    const second = decodePermanent(loadFrom(another).permanent!).persistentData;
    expect(second.EPSeed.revealHex()).not.toBe(clone.persistentData.EPSeed.revealHex());
    expect(loadFrom(places.dir)).toEqual({ permanent: places.permanent });
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
    storeIn(places.dir, { permanent: tpm.save().permanent });
    const [kept, removed] = [fresh(), fresh()];
    const first = await wtpmState("clone", places.dir, kept, "--new-identity");
    expect(first.stdout).toMatch(/0x01c00002: certificate: no longer fits\n0x01c0000a: certificate: no longer fits\n$/);
    const second = await wtpmState("clone", places.dir, removed, "--new-identity", "--remove-ek-certificates");
    expect(second.stdout).toMatch(/0x01c00002: certificate: removed\n0x01c0000a: certificate: removed\n$/);
    const handles = (directory: string) =>
      decodePermanent(loadFrom(directory).permanent!).userNvram.entries.map(({ handle }) => handle.toString(16));
    expect(handles(kept)).toEqual(["1c00002", "1c0000a", "1c00004"]);
    expect(handles(removed)).toEqual(["1c00004"]);
    expect(await wtpmState("clone", places.dir, fresh(), "--remove-ek-certificates")).toMatchObject({ status: 1 });
  });

  test("TPM2_Clear that is disabled is disabled in the clone too", async () => {
    const tpm = new EngineTpm();
    await tpm.client.command("ClearControl", { handles: { auth: "LOCKOUT" }, parameters: { disable: true } });
    tpm.shutdown("CLEAR");
    storeIn(places.dir, { permanent: tpm.save().permanent });
    const copy = fresh();
    expect(await wtpmState("clone", places.dir, copy, "--new-identity")).toMatchObject({ status: 0 });
    expect(decodePermanent(loadFrom(copy).permanent!).persistentData.disableClear).toBe(true);
  });

  test("a state that is there is replaced only when that is asked for, and never under a running TPM", async () => {
    const copy = fresh();
    const other = new EngineTpm().save().permanent;
    storeIn(copy, { permanent: other });
    expect(await wtpmState("clone", places.dir, copy)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("--replace"),
    });
    expect(loadFrom(copy)).toEqual({ permanent: other });
    const store = new DirStore(copy);
    store.acquire();
    expect(await wtpmState("clone", places.dir, copy, "--replace")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("in use by another process"),
    });
    expect(loadFrom(copy)).toEqual({ permanent: other });
    store.close();
    expect(await wtpmState("clone", places.dir, copy, "--replace")).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent: places.permanent });
    expect(await wtpmState("clone", places.dir)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("where to?"),
    });
  });

  test("the original is not lost to its clone, whatever it is called", async () => {
    const link = fresh();
    fs.symlinkSync(places.dir, link);
    for (const name of [places.dir, `${places.dir}/.`, `dir://${places.dir}`, link])
      for (const options of [["--replace"], ["--replace", "--new-identity"]])
        expect(await wtpmState("clone", places.dir, name, ...options)).toMatchObject({
          status: 1,
          stderr: expect.stringContaining("original"),
        });
    expect(await wtpmState("convert", places.dir, link, "--replace")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("leave the target out"),
    });
    expect(loadFrom(places.dir)).toEqual({ permanent: places.permanent });
    fs.rmSync(link);
  });

  test("what belongs to --tpmstate is no name of a place", async () => {
    for (const words of [
      ["clone", places.dir, "dir=copy"],
      ["clone", places.dir, "backend-uri=dir://copy"],
      ["inspect", "dir=x"],
    ])
      expect(await wtpmState(...words)).toMatchObject({ status: 1, stderr: expect.stringContaining("--tpmstate") });
  });

  test("a damaged state is not copied", async () => {
    storeIn(places.dir, { permanent: places.permanent.subarray(0, 500) });
    const copy = fresh();
    expect(await wtpmState("clone", places.dir, copy)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("damaged"),
    });
    expect(fs.existsSync(copy)).toBe(false);
  });
});

describe("export and import", () => {
  test("an archive has swtpm's files, for tar as for import", async () => {
    const archive = `${fresh()}.tar`;
    expect(await wtpmState("export", places.dir, "--archive", archive)).toMatchObject({ status: 0, stderr: "" });
    expect(fs.statSync(archive).mode & 0o777).toBe(0o600);
    const copy = fresh();
    expect(await wtpmState("import", copy, "--archive", archive)).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent: places.permanent });
    const unpacked = fresh();
    fs.mkdirSync(unpacked);
    expect(spawnSync("tar", ["-xf", archive, "-C", unpacked]).status).toBe(0);
    expect(listing(unpacked)).toEqual([
      ["tpm2-00.permall", toHex(plainFormat.encode("permanent", places.permanent, 1))],
    ]);
    // And what tar packed can be imported.
    const packed = `${fresh()}.tar`;
    expect(spawnSync("tar", ["-cf", packed, "-C", unpacked, "."]).status).toBe(0);
    expect(await wtpmState("import", copy, "--archive", packed, "--replace")).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent: places.permanent });
  });

  test("an encrypted archive needs its key", async () => {
    const archive = `${fresh()}.tar`;
    const key = ["--archive-key", `pwdfile=${places.passphrase}`];
    expect(await wtpmState("export", places.dir, "--archive", archive, ...key)).toMatchObject({ status: 0 });
    expect(await wtpmState("import", fresh(), "--archive", archive)).toMatchObject({ status: 1 });
    const copy = fresh();
    expect(await wtpmState("import", copy, "--archive", archive, ...key)).toMatchObject({ status: 0 });
    expect(loadFrom(copy)).toEqual({ permanent: places.permanent });
  });

  test("migration blobs, as swtpm_ioctl --save and --load have them", async () => {
    const running = new EngineTpm().save();
    storeIn(places.dir, running);
    const [one, two] = [fresh(), fresh()];
    const key = ["--migration-key", `pwdfile=${places.passphrase},kdf=sha512`];
    for (const words of [[], key]) {
      expect(await wtpmState("export", places.dir, "--permanent", one, "--volatile", two, ...words)).toMatchObject({
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
    const partly = await wtpmState("export", places.dir, "--permanent", one);
    expect(partly).toMatchObject({ status: 0, stderr: expect.stringContaining("there is a volatile state") });
  });

  test.each([
    ["no file", [], /which files\?/],
    ["both forms", ["--archive", "a", "--permanent", "b"], /leave --permanent and --volatile out/],
    ["a key of the other form", ["--archive", "a", "--migration-key", "file=k"], /--archive-key/],
  ])("%s is refused", async (_what, words, message) => {
    for (const command of ["export", "import"])
      expect(await wtpmState(command, places.dir, ...words)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(message),
      });
  });

  test("a file that cannot be written whole is not left behind", async () => {
    const archive = `${fresh()}.tar`;
    const full = vi.spyOn(fs, "fsyncSync").mockImplementation(() => {
      throw new Error("ENOSPC: no space left on device, fsync");
    });
    try {
      expect(await wtpmState("export", places.dir, "--archive", archive)).toMatchObject({
        status: 1,
        stderr: expect.stringContaining("ENOSPC"),
      });
      expect(full).toHaveBeenCalledOnce();
    } finally {
      full.mockRestore();
    }
    expect(fs.existsSync(archive)).toBe(false);
    expect(await wtpmState("export", places.dir, "--archive", archive)).toMatchObject({ status: 0 });
  });

  test("no file is written over, no state without being asked, and nothing damaged is stored", async () => {
    const archive = `${fresh()}.tar`;
    fs.writeFileSync(archive, "mine");
    expect(await wtpmState("export", places.dir, "--archive", archive)).toMatchObject({ status: 1 });
    expect(fs.readFileSync(archive, "utf8")).toBe("mine");
    fs.rmSync(archive);
    await wtpmState("export", places.dir, "--archive", archive);
    expect(await wtpmState("import", places.dir, "--archive", archive)).toMatchObject({
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
