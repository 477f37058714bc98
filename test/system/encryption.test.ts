// Encrypted state goes from Debian's swtpm to wtpm and back: files with every form of key, and blobs with migration keys.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { repository, temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import {
  type Blob,
  DECRYPTED,
  ENCRYPTED,
  type Kind,
  Peer,
  type PeerOptions,
  refused,
} from "../support/encryption-peer.ts";
import { run } from "../support/process.ts";

const HEX_128 = "00112233445566778899aabbccddeeff";
const HEX_256 = HEX_128 + HEX_128.replace("00", "77");
const STARTUP = Buffer.from("80010000000c000001440000", "hex");
const KEY_FILES: Readonly<Record<string, string | Buffer>> = {
  hex128: HEX_128,
  other128: HEX_128.replace("00", "ff"),
  hex256: `0x${HEX_256}\n`,
  bin128: Buffer.from(HEX_128, "hex"),
  other256: Buffer.alloc(32, 7),
  bin256: Buffer.from(HEX_256, "hex"),
  passphrase: "correct horse battery staple\n",
  long: "x".repeat(5000),
  bad: "xyz",
  short: "0011",
  odd: HEX_128.slice(1),
  bin10: "0123456789",
  empty: "",
};

let dir: string;
const peers: Peer[] = [];
beforeEach(() => {
  dir = temporaryFolder();
  for (const [name, content] of Object.entries(KEY_FILES)) fs.writeFileSync(path.join(dir, name), content);
});
afterEach(async () => {
  for (const peer of peers.splice(0)) await peer.program.kill();
  fs.rmSync(dir, { recursive: true, force: true });
});

async function open(
  kind: Kind,
  state: string,
  words: readonly string[] | undefined = [],
  redirections?: string,
): Promise<Peer> {
  const options: PeerOptions = { cwd: dir, state, words, ...(redirections && { redirections }) };
  const peer = await Peer.open(kind, options);
  peers.push(peer);
  return peer;
}

/** As QEMU does it. */
async function load(target: Peer, blobs: readonly Blob[]): Promise<void> {
  await target.stop();
  for (const blob of blobs) expect(await target.setBlob(blob), `blob ${blob.type}`).toBe(0);
  expect(await target.init(1)).toBe(0);
}

const permall = (state: string) => path.join(dir, state, "tpm2-00.permall");

/** The key forms, with the redirections that open their descriptors. */
const FORMS: readonly (readonly [key: string, redirections: string])[] = [
  ["file=hex128", ""],
  ["file=hex256,mode=aes-256-cbc,format=hex", ""],
  ["file=bin128,format=binary,mode=aes-cbc", ""],
  ["file=bin256,format=binary,mode=aes-256-cbc", ""],
  ["file=bin128,format=binary,mode=aes-256-cbc", ""],
  ["fd=5,mode=aes-128-cbc", "5<hex128"],
  ["pwdfile=passphrase", ""],
  ["pwdfile=passphrase,kdf=sha512", ""],
  ["pwdfile=long,mode=aes-256-cbc,kdf=pbkdf2", ""],
  ["pwdfd=6,mode=aes-256-cbc,kdf=sha512", "6<passphrase"],
];

describe("state files", () => {
  test.each(FORMS)("--key %s: from swtpm to wtpm and back", async (key, redirections) => {
    const words = ["--key", key];
    const first = await open("swtpm", "state", words, redirections);
    await first.fill();
    const { nv } = await first.content();
    await first.shutdown();

    const second = await open("wtpm", "state", words, redirections);
    expect(await second.config()).toBe(1);
    expect(await second.init()).toBe(0);
    await second.command(STARTUP);
    expect((await second.content()).nv).toBe(nv);
    await second.write("written by wtpm");
    await second.shutdown();
    const file = fs.readFileSync(permall("state"));
    expect(file.includes("written by wtpm")).toBe(false);

    const third = await open("swtpm", "state", words, redirections);
    expect(await third.init()).toBe(0);
    await third.command(STARTUP);
    expect((await third.content()).nv.trim()).toBe("written by wtpm");
    await third.shutdown();
  });

  test("remove unlinks the file once it was read", async () => {
    for (const [name, words] of [
      ["hex128", ["--key", "file=hex128,remove"]],
      ["passphrase", ["--migration-key", "pwdfile=passphrase,remove=true"]],
    ] as const) {
      const peer = await open("wtpm", `state-${name}`, words);
      expect(fs.existsSync(path.join(dir, name))).toBe(false);
      await peer.shutdown();
    }
  });

  test("a wrong key, a changed file and a key too many or too few: refused as by swtpm, and nothing is touched", async () => {
    const keys = {
      none: [],
      "128": ["--key", "file=hex128"],
      other: ["--key", "file=other128"],
      "256": ["--key", "file=hex256,mode=aes-256-cbc"],
    } as const;
    for (const made of ["none", "128", "256"] as const) {
      const peer = await open("swtpm", `made-${made}`, keys[made]);
      await peer.fill();
      await peer.shutdown();
    }
    const whole = fs.readFileSync(permall("made-128"));
    fs.mkdirSync(path.join(dir, "made-changed"));
    const changed = Buffer.from(whole);
    changed[500]! ^= 1;
    fs.writeFileSync(permall("made-changed"), changed);
    for (const [made, given] of [
      ["none", "128"],
      ["none", "256"],
      ["128", "none"],
      ["128", "other"],
      ["128", "256"],
      ["256", "128"],
      ["changed", "128"],
    ] as const) {
      const before = fs.readFileSync(permall(`made-${made}`));
      for (const kind of ["swtpm", "wtpm"] as const) {
        const peer = await open(kind, `made-${made}`, keys[given]);
        expect(await peer.init(), `${kind}: state ${made}, key ${given}`).toBe(0x101);
        await peer.shutdown();
        expect(fs.readFileSync(permall(`made-${made}`)).equals(before)).toBe(true);
      }
    }
  });
});

describe("wtpm's own format", () => {
  const FILE = ["--key", "provider=file,file=bin256"];
  const RESCUE = "provider=passphrase,pwdfile=passphrase,cost=14,slot=rescue";

  /** Runs `wtpm state rekey`. */
  async function rekey(...words: string[]): Promise<string> {
    const [program, ...before] = wtpmCommand;
    const { status, stdout, stderr } = await run(program!, [...before, "state", "rekey", "state", ...words], {
      cwd: dir,
    });
    return status === 0 ? stdout : `${status}: ${stderr}`;
  }

  async function contentWith(words: readonly string[]): Promise<string> {
    const peer = await open("wtpm", "state", words);
    expect(await peer.init()).toBe(0);
    await peer.command(STARTUP);
    const { nv } = await peer.content();
    await peer.shutdown();
    return nv;
  }

  test("a TPM is made, used and started again; swtpm and other keys are refused and touch nothing", async () => {
    const first = await open("wtpm", "state", FILE);
    expect(await first.config()).toBe(1);
    await first.fill();
    const { nv } = await first.content();
    await first.shutdown();
    const file = fs.readFileSync(permall("state"));
    expect(file.subarray(0, 4).toString()).toBe("WTPM");
    for (const [kind, words] of [
      ["swtpm", []],
      ["swtpm", ["--key", "file=hex128"]],
      ["wtpm", []],
      ["wtpm", ["--key", "file=hex256,mode=aes-256-cbc"]],
      ["wtpm", ["--key", RESCUE]],
      ["wtpm", ["--key", "provider=file,file=other256"]],
    ] as const) {
      const peer = await open(kind, "state", words);
      expect(await peer.init(), `${kind} ${words.join(" ")}`).toBe(0x101);
      await peer.shutdown();
      expect(fs.readFileSync(permall("state")).equals(file)).toBe(true);
    }
    expect(await contentWith(FILE)).toBe(nv);
  });

  test("it moves to swtpm and back, and with its own key between two of wtpm", async () => {
    const first = await open("wtpm", "first", FILE);
    const second = await open("swtpm", "second", ["--key", "file=hex128"]);
    const third = await open("wtpm", "third", ["--key", "provider=file,fd=5,slot=elsewhere"], "5<hex256");
    const fourth = await open("wtpm", "fourth", FILE);
    await first.fill();
    const content = await first.content();
    await load(second, await first.blobs());
    expect(await second.content()).toEqual(content);
    await load(third, await second.blobs());
    expect(await third.content()).toEqual(content);
    const encrypted = await third.blobs(0);
    for (const { flags } of encrypted) expect(flags).toBe(ENCRYPTED);
    await load(fourth, encrypted);
    expect(await fourth.content()).toEqual(content);
    expect(await second.stop().then(() => second.setBlob(encrypted[0]!))).toBe(0x09);
    for (const peer of [first, second, third, fourth]) await peer.shutdown();
  });

  test("wtpm state rekey adds and removes slots and changes the data key", async () => {
    const peer = await open("wtpm", "state", FILE);
    await peer.fill();
    const { nv } = await peer.content();
    expect(await rekey(...FILE, "--new-data-key")).toMatch(/^1: .*in use by another process/);
    await peer.shutdown();

    const before = fs.readFileSync(permall("state"));
    expect(await rekey(...FILE, "--list")).toBe("file\tfile\n");
    expect(await rekey(...FILE, "--add", RESCUE, "--list")).toMatch(
      /: file, rescue\nfile\tfile\nrescue\tpassphrase\n$/,
    );
    expect(await contentWith(["--key", RESCUE])).toBe(nv);
    expect(await contentWith(FILE)).toBe(nv);

    expect(await rekey(...FILE, "--new-data-key")).toMatch(/^1: .*the key of the slot 'rescue'/);
    expect(await rekey(...FILE, "--key", RESCUE, "--new-data-key")).toContain("; a new data key");
    expect(await contentWith(FILE)).toBe(nv);

    expect(await rekey(...FILE, "--remove", "file")).toMatch(/^1: .*none of the keys given/);
    expect(await rekey("--key", RESCUE, "--remove", "file", "--new-data-key", "--list")).toContain(
      "rescue\tpassphrase",
    );
    const refusedPeer = await open("wtpm", "state", FILE);
    expect(await refusedPeer.init()).toBe(0x101);
    await refusedPeer.shutdown();
    expect(await contentWith(["--key", RESCUE])).toBe(nv);
    expect(await rekey("--key", RESCUE, "--remove", "rescue")).toMatch(/^1: .*last key slot/);

    // An old copy still opens with the old key, and nothing in it opens the new state.
    fs.writeFileSync(permall("state"), before);
    expect(await contentWith(FILE)).toBe(nv);
  });

  test("wtpm state convert takes the snapshots along to another key, format, or none", async () => {
    const keys = ["file=hex128", "provider=file,file=bin256", undefined];
    const wtpm = async (...words: string[]) => {
      const [program, ...before] = wtpmCommand;
      const { status, stdout, stderr } = await run(program!, [...before, ...words], { cwd: dir });
      expect(status, `${words.join(" ")}\n${stderr}`).toBe(0);
      return stdout;
    };
    const key = (list: string | undefined) => (list ? ["--key", list] : []);
    const peer = await open("wtpm", "state", key(keys[0]));
    await peer.fill();
    const { nv } = await peer.content();
    await peer.shutdown();
    await wtpm("snapshot", "create", "before", "--state", "state", ...key(keys[0]));
    for (const [i, to] of keys.slice(1).entries()) {
      const target = to ? ["--to-key", to] : ["--decrypt"];
      const before = fs.readFileSync(permall("state"));
      await wtpm("state", "convert", "state", ...key(keys[i]), ...target);
      // As if it had been interrupted when the snapshots were written.
      fs.writeFileSync(permall("state"), before);
      await wtpm("state", "convert", "state", ...key(keys[i]), ...target);
      expect(await wtpm("snapshot", "list", "--state", "state", ...key(to))).toContain("before");
      await wtpm("snapshot", "restore", "before", "--state", "state", ...key(to));
      expect(await contentWith(key(to))).toBe(nv);
    }
  });

  test("wtpm state rekey refuses keys of swtpm's, and to do nothing", async () => {
    expect(await rekey("--key", "file=hex128", "--new-data-key")).toMatch(/^1: .*wtpm state convert/);
    expect(await rekey("--new-data-key")).toMatch(/^1: .*which key/);
    expect(await rekey(...FILE)).toMatch(/^1: .*what is to change/);
    expect(await rekey(...FILE, "--list")).toMatch(/^1: .*no state/);
  });
});

test("the examples of docs/encryption.md work, one after the other", async () => {
  const page = fs.readFileSync(path.join(repository, "docs/encryption.md"), "utf8");
  const examples = [...page.matchAll(/^```sh\n(.*?)^```/gms)].map(([, code]) => code!);
  expect(examples.length).toBeGreaterThan(2);
  const [program, file] = wtpmCommand;
  fs.mkdirSync(path.join(dir, "bin"));
  fs.writeFileSync(path.join(dir, "bin/wtpm"), `#!/bin/sh\nexec "${program}" "${file}" "$@"\n`, { mode: 0o755 });
  const shell = (code: string) =>
    run("sh", ["-euc", code], { cwd: dir, env: { PATH: `${dir}/bin:${process.env.PATH}` } });
  for (const [i, code] of examples.entries()) {
    const { status, stderr } = await shell(code);
    expect(status, `${code}\n${stderr}`).toBe(0);
    if (i > 0) continue;
    // The page's TPM, which its reader started with the key of the first example.
    const peer = await open("wtpm", "tpm", ["--key", "file=tpm.key,mode=aes-256-cbc"]);
    await peer.fill();
    await peer.shutdown();
  }
  const peer = await open("wtpm", "safe", ["--key", "provider=file,file=next.key"]);
  expect(await peer.init()).toBe(0);
  await peer.shutdown();
});

describe("options that are refused", () => {
  test.each([
    ["foo=1"],
    ["remove"],
    ["file=nowhere"],
    ["file=."],
    ["fd=77"],
    ["fd=x"],
    ["file=bad"],
    ["file=short"],
    ["file=odd"],
    ["file=empty"],
    ["file=hex256"],
    ["file=hex128,mode=aes-256-cbc"],
    ["file=hex128,mode=aes-512-cbc"],
    ["file=hex128,format=base64"],
    ["file=bin256,format=binary"],
    ["pwdfile=nowhere"],
    ["pwdfd=77"],
    ["pwdfile=passphrase,kdf=md5"],
    ["pwdfile=passphrase,mode=x,kdf=md5"],
  ])("with %s: swtpm's message and status", async (list) => {
    fs.mkdirSync(path.join(dir, "state"));
    const option = list === "file=bad" ? "--migration-key" : "--key";
    const start = (kind: Kind) => refused(kind, { cwd: dir, state: "state", words: [option, list] });
    const [ours, theirs] = await Promise.all([start("wtpm"), start("swtpm")]);
    expect(theirs.status).toBe(1);
    expect(ours.status).toBe(1);
    expect(ours.stderr).toBe(theirs.stderr.replace(/^swtpm:/, "wtpm:"));
  });

  test.each([3, 8])("descriptor %i, which nobody passed on and the runtime may use itself", async (fd) => {
    fs.mkdirSync(path.join(dir, "state"));
    const { status, stderr } = await refused("wtpm", { cwd: dir, state: "state", words: ["--key", `fd=${fd}`] });
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringMatching(/^wtpm: Unable to read key: .*\n$/),
    });
  });

  test("a binary key of another size, about which swtpm says nothing", async () => {
    fs.mkdirSync(path.join(dir, "state"));
    const options = { cwd: dir, state: "state", words: ["--key", "file=bin10,format=binary"] };
    expect((await refused("swtpm", options)).status).toBe(1);
    expect(await refused("wtpm", options)).toMatchObject({
      status: 1,
      stderr: "wtpm: The key has 10 bytes; 16 or 32 are needed.\n",
    });
  });
});

describe("blobs of the control channel", () => {
  const FILE_KEY = ["--key", "file=hex128"];
  // Debian's swtpm fails where it has to encrypt with keys of both sizes.
  const FILE_KEY_256 = ["--key", "pwdfile=passphrase,mode=aes-256-cbc"];
  const MIGRATION_KEY = ["--migration-key", "pwdfile=long,mode=aes-256-cbc"];
  const MIGRATION_KEY_128 = ["--migration-key", "file=bin128,format=binary"];

  test.each([
    ["no file key here, one there", [], FILE_KEY],
    ["a file key here, none there", FILE_KEY_256, []],
    ["other file keys", FILE_KEY, FILE_KEY_256],
    ["a migration key", MIGRATION_KEY, MIGRATION_KEY],
    ["file keys and a migration key", [...FILE_KEY, ...MIGRATION_KEY_128], [...FILE_KEY, ...MIGRATION_KEY_128]],
    ["a migration key and a file key there", MIGRATION_KEY, [...FILE_KEY_256, ...MIGRATION_KEY]],
    ["a migration key that only the target has", [], MIGRATION_KEY],
  ] as const)("a TPM moves with %s", async (_what, source, target) => {
    for (const [from, to] of [
      ["swtpm", "wtpm"],
      ["wtpm", "swtpm"],
      ["wtpm", "wtpm"],
    ] as const) {
      const first = await open(from, `${from}-${to}-from`, source);
      const second = await open(to, `${from}-${to}-to`, target);
      await first.fill();
      const content = await first.content();
      const blobs = await first.blobs();
      for (const { flags } of blobs) expect(flags).toBe(0);
      await load(second, blobs);
      expect(await second.content(), `${from} to ${to}`).toEqual(content);
      await second.write("goes on");
      await first.shutdown();
      await second.shutdown();
    }
  });

  test.each([
    ["a file key", FILE_KEY, ENCRYPTED],
    ["a file key and a migration key", [...FILE_KEY_256, ...MIGRATION_KEY], ENCRYPTED],
  ] as const)("blobs that were not asked for decrypted, with %s", async (_what, words, flags) => {
    for (const [from, to] of [
      ["swtpm", "wtpm"],
      ["wtpm", "swtpm"],
    ] as const) {
      const first = await open(from, `${from}-from`, words);
      const second = await open(to, `${from}-to`, words);
      await first.fill();
      const content = await first.content();
      const blobs = await first.blobs(0);
      for (const blob of blobs) expect(blob.flags).toBe(flags);
      await load(second, blobs);
      expect(await second.content()).toEqual(content);
      await first.shutdown();
      await second.shutdown();
    }
  });

  test("GET_CONFIG and the containers' headers are swtpm's", async () => {
    for (const words of [[], FILE_KEY, MIGRATION_KEY, [...FILE_KEY_256, ...MIGRATION_KEY]]) {
      const seen: unknown[] = [];
      for (const kind of ["swtpm", "wtpm"] as const) {
        const peer = await open(kind, `${kind}-${seen.length}-${words.length}-${words[1]?.length}`, words);
        await peer.fill();
        const blobs = [...(await peer.blobs(0)), ...(await peer.blobs(DECRYPTED))];
        const flags = blobs.map((blob) => [blob.type, blob.flags, blob.bytes.readUInt16BE(4), tags(blob.bytes)]);
        seen.push({ config: await peer.config(), flags });
        await peer.shutdown();
      }
      expect(seen[1]).toEqual(seen[0]);
    }
  });

  test("SET_STATEBLOB refuses other keys and changed blobs with swtpm's codes", async () => {
    const source = await open("swtpm", "from", [...FILE_KEY, ...MIGRATION_KEY_128]);
    await source.fill();
    const blob = await source.getBlob(1, 0);
    const decrypted = await source.getBlob(1, DECRYPTED);
    await source.shutdown();
    const cases: readonly (readonly [words: readonly string[], blobs: readonly Blob[]])[] = [
      [[], [blob, decrypted]],
      [FILE_KEY, [blob, decrypted, { ...decrypted, flags: ENCRYPTED }]],
      [MIGRATION_KEY_128, [blob, { ...decrypted, flags: ENCRYPTED }]],
      [MIGRATION_KEY, [blob, decrypted]],
      [[...FILE_KEY_256, ...MIGRATION_KEY_128], [blob]],
      [["--key", "file=other128", ...MIGRATION_KEY_128], [blob]],
      [["--migration-key", "file=other128"], [decrypted]],
      [
        [...FILE_KEY, ...MIGRATION_KEY_128],
        [{ ...decrypted, flags: ENCRYPTED }, ...changed(blob)],
      ],
    ];
    const codes = new Set<number>();
    for (const [i, [words, blobs]] of cases.entries()) {
      const ours = await open("wtpm", `wtpm-${i}`, words);
      const theirs = await open("swtpm", `swtpm-${i}`, words);
      for (const [n, changedBlob] of blobs.entries()) {
        const expected = await theirs.setBlob(changedBlob);
        expect(await ours.setBlob(changedBlob), `case ${i}, blob ${n}`).toBe(expected);
        codes.add(expected);
      }
      await ours.shutdown();
      await theirs.shutdown();
    }
    expect([...codes].sort((a, b) => a - b)).toEqual([0, 0x03, 0x09, 0x0d, 0x21, 0x28, 0x2b, 0x2e]);
  });
});

/** The tags of a container's fields. */
function tags(container: Buffer): number[] {
  const found: number[] = [];
  for (let at = 10; at < container.length; at += 6 + container.readUInt32BE(at + 2))
    found.push(container.readUInt16BE(at));
  return found;
}

/** Every bit of the headers, some bits of everything else, and every tenth truncation; the same in every run. */
function changed(blob: Blob): Blob[] {
  const blobs: Blob[] = [];
  const flip = (bit: number) => {
    const bytes = Buffer.from(blob.bytes);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    blobs.push({ ...blob, bytes });
  };
  for (let bit = 0; bit < 8 * 16; bit++) flip(bit);
  for (let i = 0; i < 400; i++)
    flip(createHash("sha256").update(`bit ${i}`).digest().readUInt32BE() % (8 * blob.bytes.length));
  for (let size = 0; size < blob.bytes.length; size += 10) blobs.push({ ...blob, bytes: blob.bytes.subarray(0, size) });
  return blobs.filter(({ bytes }) => !bytes.equals(blob.bytes) && bytes.length > 0);
}
