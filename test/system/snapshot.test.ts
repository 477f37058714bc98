// `wtpm snapshot` as its users run it: on stopped and running TPMs, with tpm2-tools and swtpm beside it, two at once, and killed.
import { Buffer } from "node:buffer";
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { TpmClient as CodecClient } from "../../src/codec/client.ts";
import { SnapshotRepository } from "../../src/state/snapshot/repository.ts";
import { type Emulator, startEmulator, temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import { TpmContents } from "../support/migration-contents.ts";
import { type Exit, run, until } from "../support/process.ts";
import { Seeded } from "../support/seeded.ts";
import { nvData, nvDefineSpace, nvRead, nvWrite, parametersOf, TpmClient } from "../support/tpm-client.ts";

/** How often a process is killed: raise it to look for rare moments. */
const KILLS = Number(process.env.WTPM_TEST_KILLS ?? 15);
const INDEX = 0x0180_0100;
const SIZE = 32;

let folder: string;
let state: string;
const cleanups: (() => Promise<unknown> | undefined)[] = [];

beforeEach(() => {
  folder = temporaryFolder();
  state = path.join(folder, "state");
  fs.mkdirSync(state);
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  fs.rmSync(folder, { recursive: true, force: true });
});

const [node, ...script] = wtpmCommand;
const wtpm = (...words: string[]): Promise<Exit> => run(node!, [...script, ...words], { cwd: folder });
const snapshot = (...words: string[]): Promise<Exit> => wtpm("snapshot", ...words, "--state", state);

/** What a command prints, which must succeed. */
async function said(exit: Promise<Exit>): Promise<string> {
  const { status, stdout, stderr } = await exit;
  expect(status, stderr).toBe(0);
  expect(stderr).toBe("");
  return stdout.trim();
}

async function started(args: string[] = [], flags?: string): Promise<Emulator> {
  const emulator = await startEmulator({ stateDir: state, args, ...(flags === undefined ? {} : { flags }) });
  cleanups.push(() => emulator.dispose());
  return emulator;
}

async function connected({ dataSocket }: Emulator): Promise<TpmClient> {
  const client = await TpmClient.connect(dataSocket);
  cleanups.push(async () => client.close());
  return client;
}

/** A TPM with one index; it is stopped again. */
async function prepared(args: string[] = []): Promise<void> {
  const emulator = await started(args);
  const client = await connected(emulator);
  parametersOf(await client.execute(nvDefineSpace(INDEX, SIZE)));
  parametersOf(await client.execute(nvWrite(INDEX, Buffer.alloc(SIZE))));
  client.close();
  expect((await emulator.terminate()).status).toBe(0);
}

/** What the index holds, in a run of the TPM that ends in order. */
async function stored(args: string[] = []): Promise<string> {
  const emulator = await started(args);
  const client = await connected(emulator);
  const data = nvData(await client.execute(nvRead(INDEX, SIZE))).toString("hex");
  client.close();
  await emulator.terminate();
  return data;
}

async function write(byte: number, args: string[] = []): Promise<void> {
  const emulator = await started(args);
  const client = await connected(emulator);
  parametersOf(await client.execute(nvWrite(INDEX, Buffer.alloc(SIZE, byte))));
  client.close();
  await emulator.terminate();
}

const filled = (byte: number) => Buffer.alloc(SIZE, byte).toString("hex");
const objects = () => fs.readdirSync(path.join(state, "snapshots/objects"));
const bytesOfSnapshots = () =>
  objects().reduce((sum, name) => sum + fs.statSync(path.join(state, "snapshots/objects", name)).size, 0);

describe("a stopped TPM", () => {
  test("has snapshots, and snapshots of snapshots", async () => {
    expect(await said(snapshot("list"))).toBe("there are no snapshots");
    expect(await snapshot("create")).toMatchObject({ status: 1, stderr: expect.stringContaining("never started") });
    await prepared();
    expect(await said(snapshot("create", "zero", "-d", "all zero"))).toBe("snapshot zero of the stopped TPM");
    await write(1);
    await said(snapshot("create", "one"));
    expect(await said(snapshot("restore", "zero"))).toBe(
      "the state is that of snapshot zero; the TPM starts anew\nthe state before is snapshot one",
    );
    expect(await stored()).toBe(filled(0));
    await write(2);
    await said(snapshot("create", "two"));
    expect(await said(snapshot("restore", "one"))).toContain("before is snapshot two");
    expect(await stored()).toBe(filled(1));
    expect(await said(snapshot("restore", "two"))).toMatch(/\nthe state before is snapshot auto-\d{8}-\d{6}$/);
    expect(await stored()).toBe(filled(2));
    const auto = /auto-\S+/.exec(await said(snapshot("list")))![0];
    await said(snapshot("restore", "two", "--no-undo"));
    expect(await said(snapshot("tree"))).toBe(
      [
        "zero  all zero",
        "├─ one",
        `│  └─ ${auto} (undo)  before the restore of two`,
        "└─ two",
        "   └─ * the state now",
      ].join("\n"),
    );
    const list = JSON.parse(await said(snapshot("list", "--json"))) as {
      head: string;
      snapshots: { name: string; running: boolean; parent?: string }[];
    };
    expect(list.head).toBe("two");
    expect(list.snapshots.map(({ name, parent }) => [name, parent])).toEqual([
      ["zero", undefined],
      ["one", "zero"],
      ["two", "zero"],
      [auto, "one"],
    ]);
    expect(await said(snapshot("delete", "zero"))).toBe("deleted zero");
    expect(await said(snapshot("delete", "one", "--children"))).toBe(`deleted one, ${auto}`);
    expect(await said(snapshot("tree"))).toBe("two\n└─ * the state now");
    expect(await stored()).toBe(filled(2));
  });

  test("has undo snapshots, which are marked, counted and forgotten together", async () => {
    await prepared();
    await said(snapshot("create", "zero"));
    expect(await said(snapshot("prune"))).toBe("there is nothing to forget");
    const kept: string[] = [];
    for (const byte of [1, 2, 3]) {
      await write(byte);
      const printed = await said(snapshot("restore", "zero"));
      expect(printed).not.toContain("prune");
      kept.push(/auto-\S+/.exec(printed)![0]);
    }
    const list = await said(snapshot("list"));
    expect(list.split("\n")[0]).toMatch(/NAME +CREATED \(UTC\) +TPM +KIND +PARENT +DESCRIPTION$/);
    expect(list).toMatch(new RegExp(`^ {2}${kept[0]} .* stopped +undo +zero +before the restore of zero$`, "m"));
    expect(list).toMatch(/^\* zero .* stopped {2}- +-$/m);
    expect(await snapshot("prune", "--keep", "-1")).toMatchObject({ status: 1 });
    expect(await said(snapshot("prune", "--keep", "3"))).toBe("there is nothing to forget");
    expect(await said(snapshot("prune", "--keep", "1"))).toBe(`deleted ${kept[0]}, ${kept[1]}`);
    await said(snapshot("restore", kept[2]!));
    // The state comes from it.
    expect(await said(snapshot("prune"))).toBe("there is nothing to forget");
    expect(await stored()).toBe(filled(3));

    const repository = new SnapshotRepository(path.join(state, "snapshots"));
    for (let at = 0; at < 10; at++)
      repository.beginRestore("zero", { keep: { blobs: { permanent: Uint8Array.of(at) }, running: false } });
    expect(await said(snapshot("restore", "zero", "--no-undo"))).toContain(
      "there are 11 undo snapshots; wtpm snapshot prune forgets them",
    );
    await said(snapshot("prune"));
    expect(JSON.parse(await said(snapshot("list", "--json"))).snapshots).toHaveLength(1);
    expect(await stored()).toBe(filled(0));
  });

  test("costs nothing to keep again", async () => {
    await prepared();
    await said(snapshot("create", "s0"));
    const [files, size] = [objects().length, bytesOfSnapshots()];
    expect(files).toBe(1);
    for (let at = 1; at < 5; at++) await said(snapshot("create", `s${at}`));
    expect([objects().length, bytesOfSnapshots()]).toEqual([files, size]);
    await said(snapshot("restore", "s2"));
    expect([objects().length, bytesOfSnapshots()]).toEqual([files, size]);
    expect(JSON.parse(await said(snapshot("list", "--json"))).snapshots).toHaveLength(5);
  });

  test("is found where --tpmstate, TPM_PATH or nothing says", async () => {
    await prepared();
    expect(await said(wtpm("snapshot", "create", "a", "--tpmstate", `dir=${state},mode=0600`))).toContain("a");
    const index = path.join(state, "snapshots/index.json");
    expect(fs.statSync(index).mode & 0o777).toBe(0o600);
    const env = { TPM_PATH: state };
    const inPath = await run(node!, [...script, "snapshot", "list"], { cwd: folder, env });
    expect(inPath.stdout).toContain("* a");
    fs.renameSync(state, path.join(folder, "wtpm-state"));
    expect(await said(wtpm("snapshot", "list"))).toContain("* a");
  });

  test.each([
    [["restore", "nothing"], "there is no snapshot 'nothing'"],
    [["delete", "nothing"], "there is no snapshot 'nothing'"],
    [["create", "../x"], "is no name for a snapshot"],
    [["create", "a b"], "is no name for a snapshot"],
    [["create", "x", "-d", "\u001b[2J"], "a description has"],
    [["create", "there"], "there is a snapshot 'there' already"],
    [["create", "x", "--tpmstate", "dir=y"], "leave one out"],
  ])("%j is refused with a sentence", async (words, sentence) => {
    await prepared();
    await said(snapshot("create", "there"));
    const before = fs.readFileSync(path.join(state, "snapshots/index.json"));
    const { status, stdout, stderr } = await snapshot(...words);
    expect([status, stdout]).toEqual([1, ""]);
    expect(stderr).toContain(sentence);
    expect(stderr.trim().split("\n")).toHaveLength(1);
    expect(fs.readFileSync(path.join(state, "snapshots/index.json"))).toEqual(before);
    expect(fs.readdirSync(folder).sort()).toEqual(["state"]);
  });

  test.each([["list"], ["create"]])("that is not there has none: %s says so", async (command) => {
    expect(await wtpm("snapshot", command, "--state", "nowhere")).toMatchObject({
      status: 1,
      stdout: "",
      stderr: expect.stringContaining("there is no nowhere"),
    });
    expect(await wtpm("snapshot", command)).toMatchObject({ status: 1, stderr: expect.stringContaining("wtpm-state") });
  });

  test.each([
    ["memory://", "there can be no snapshots"],
    ["file:///dev/null", "there can be no snapshots"],
  ])("%s has none", async (uri, sentence) => {
    const exit = await wtpm("snapshot", "create", "--tpmstate", `backend-uri=${uri}`);
    expect(exit).toMatchObject({ status: 1, stderr: expect.stringContaining(sentence) });
  });

  test("that swtpm has used is restored, and swtpm goes on with it", async () => {
    await prepared();
    await said(snapshot("create", "zero"));
    await write(5);
    await said(snapshot("restore", "zero"));
    const socket = path.join(folder, "swtpm");
    const words = ["socket", "--tpm2", "--tpmstate", `dir=${state}`, "--server", `type=unixio,path=${socket}`];
    const swtpm = spawn("swtpm", [...words, "--flags", "not-need-init,startup-clear"]);
    cleanups.push(() => ended(swtpm));
    const client = await until("swtpm", () => TpmClient.connect(socket).catch(() => undefined));
    expect(nvData(await client.execute(nvRead(INDEX, SIZE))).toString("hex")).toBe(filled(0));
    // Its lock counts, and there is nobody to ask.
    const busy = await snapshot("create");
    expect(busy).toMatchObject({ status: 1, stderr: expect.stringContaining("no management socket") });
    parametersOf(await client.execute(nvWrite(INDEX, Buffer.alloc(SIZE, 7))));
    client.close();
    await ended(swtpm);
    await said(snapshot("create", "seven"));
    await said(snapshot("restore", "zero"));
    expect(await stored()).toBe(filled(0));
    await said(snapshot("restore", "seven"));
    expect(await stored()).toBe(filled(7));
  });

  test("in a single file has its snapshots beside that", async () => {
    const file = path.join(folder, "nvram");
    const place = ["--tpmstate", `backend-uri=file://${file}`];
    const emulator = await started(place);
    expect(await said(wtpm("snapshot", "create", "running", ...place))).toContain("running TPM");
    await emulator.terminate();
    expect(await said(wtpm("snapshot", "create", "stopped", ...place))).toContain("stopped TPM");
    expect(await said(wtpm("snapshot", "restore", "running", ...place))).toContain("goes on there");
    expect(fs.readdirSync(folder).sort()).toEqual(["nvram", "nvram.snapshots", "state"]);
  });
});

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill();
  });
}

describe("a running TPM", () => {
  test("goes back and forth with all that it holds, while its clients stay connected", async () => {
    const emulator = await started();
    let raw = await connected(emulator);
    const client = new CodecClient(async (command) => new Uint8Array(await raw.execute(command)));
    const contents = await TpmContents.make(client);
    const first = contents.values;
    expect(await said(snapshot("create", "a"))).toBe("snapshot a of the running TPM");
    await contents.change();
    const second = contents.values;
    await said(snapshot("create", "b"));
    expect(await snapshot("restore", "a")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("add --running"),
    });
    await contents.check();
    expect(await said(snapshot("restore", "a", "--running"))).toContain("the TPM goes on there");
    await contents.check(first);
    await said(snapshot("restore", "b", "--running"));
    await contents.check(second);
    expect(await said(snapshot("tree"))).toContain("(running)");
    raw.close();
    await emulator.terminate();

    // Stopped, and started again: once it goes on, then it starts anew.
    await said(snapshot("restore", "a"));
    const again = await started();
    raw = await connected(again);
    await contents.check(first);
    raw.close();
    await again.terminate();
    raw = await connected(await started());
    await expect(contents.check(first)).rejects.toThrow("the PCR");
  });

  test("has its counter, keys and contexts of the time, as tpm2-tools see them", async () => {
    const emulator = await started();
    const env = { TPM2TOOLS_TCTI: emulator.tcti, TSS2_LOG: "all+error" };
    const tool = async (name: string, ...words: string[]): Promise<string> => {
      const { status, stdout, stderr } = await run(`tpm2_${name}`, words, { cwd: folder, env });
      if (status !== 0) throw new Error(`tpm2_${name}: ${stderr}`);
      return stdout.trim();
    };
    const counter = async () => {
      await tool("nvread", "-C", "o", "0x1500001", "-o", "counter");
      return Number(fs.readFileSync(path.join(folder, "counter")).readBigUInt64BE());
    };
    await tool("nvdefine", "0x1500001", "-a", "ownerread|ownerwrite|nt=1");
    await tool("nvincrement", "-C", "o", "0x1500001");
    await tool("createprimary", "-C", "o", "-c", "primary.ctx");
    await tool("create", "-C", "primary.ctx", "-u", "key.pub", "-r", "key.priv", "-G", "ecc");
    await tool("flushcontext", "-t");
    const before = await counter();
    await said(snapshot("create", "a"));
    await tool("nvincrement", "-C", "o", "0x1500001");
    await tool("pcrextend", `16:sha256=${"ab".repeat(32)}`);
    expect(await counter()).toBe(before + 1);
    await said(snapshot("restore", "a", "--running"));
    expect(await counter()).toBe(before);
    expect(await tool("pcrread", "sha256:16")).toContain(`0x${"00".repeat(32)}`);
    // The context was saved before the snapshot: it is loaded by each of these.
    await tool("load", "-C", "primary.ctx", "-u", "key.pub", "-r", "key.priv", "-c", "key.ctx");
    await tool("flushcontext", "-t");
    fs.writeFileSync(path.join(folder, "message"), "text");
    await tool("sign", "-c", "key.ctx", "-g", "sha256", "-o", "signature", "message");
    await tool("verifysignature", "-c", "key.ctx", "-g", "sha256", "-m", "message", "-s", "signature");
  });

  test("may have its management socket elsewhere, or none", async () => {
    const elsewhere = path.join(folder, "m");
    let emulator = await started(["--management", elsewhere]);
    expect(await said(snapshot("create", "a", "--management", elsewhere))).toContain("running TPM");
    expect(fs.existsSync(path.join(state, ".wtpm"))).toBe(false);
    await emulator.terminate();
    emulator = await started(["--management", "off"]);
    expect(await snapshot("create")).toMatchObject({ status: 1, stderr: expect.stringContaining("in use") });
    expect(await said(snapshot("list"))).toContain("* a");
    expect(fs.existsSync(path.join(state, ".wtpm"))).toBe(false);
  });

  test("of `wtpm start` has snapshots too", async () => {
    const program = spawn(node!, [...script, "start", "--quiet", "--state", state], { stdio: "ignore" });
    cleanups.push(() => ended(program));
    await until("the TPM", () => fs.existsSync(path.join(state, ".wtpm")));
    expect(await said(snapshot("create", "a"))).toContain("running TPM");
    expect(await said(snapshot("restore", "a", "--running"))).toContain("goes on");
  });

  test("whose changes vanish has none", async () => {
    await prepared();
    await said(snapshot("create", "a"));
    await started(["--tpmstate", `dir=${state},ephemeral`]);
    const exit = await wtpm("snapshot", "create", "--tpmstate", `dir=${state},ephemeral`);
    expect(exit).toMatchObject({ status: 1, stderr: expect.stringContaining("there can be no snapshots") });
    // The state below is nobody's.
    expect(await said(snapshot("create", "b"))).toContain("stopped TPM");
  });
});

describe("two at once", () => {
  test.each(["stopped", "running"])("on a %s TPM: each is done, one after the other", async (kind) => {
    await prepared();
    if (kind === "running") await started();
    const names = ["a", "b", "c", "d", "e", "f"];
    const exits = await Promise.all(names.map((name) => snapshot("create", name)));
    for (const { status, stderr } of exits) expect(status, stderr).toBe(0);
    const { snapshots } = JSON.parse(await said(snapshot("list", "--json"))) as {
      snapshots: { name: string; parent?: string }[];
    };
    expect(snapshots.map(({ name }) => name).sort()).toEqual(names);
    expect(snapshots.slice(1).map(({ parent }) => parent)).toEqual(snapshots.slice(0, -1).map(({ name }) => name));
  });
});

describe("an encrypted state", () => {
  test.each(["swtpm's key", "a sealing key"])("with %s has encrypted snapshots", async (kind) => {
    const key = path.join(folder, "key");
    fs.writeFileSync(key, kind === "swtpm's key" ? "00112233445566778899aabbccddeeff".repeat(2) : Buffer.alloc(32, 7));
    const words =
      kind === "swtpm's key" ? ["--key", `file=${key},mode=aes-256-cbc`] : ["--key", `provider=file,file=${key}`];
    await prepared(words);
    await write(0x5a, words);
    await said(snapshot("create", "a", ...words));
    await write(0x11, words);
    const emulator = await started(words);
    await said(snapshot("create", "b", ...words));
    await said(snapshot("restore", "a", "--running"));
    await emulator.terminate();
    expect(await stored(words)).toBe(filled(0x5a));
    // Who has no key sees names, and cannot change a thing.
    expect(await said(snapshot("list"))).toContain("a");
    for (const command of [["create"], ["restore", "b"], ["delete", "b"]])
      expect((await snapshot(...command)).status, command[0]).toBe(1);
    for (const name of fs.readdirSync(state, { recursive: true, encoding: "utf8" })) {
      const file = path.join(state, name);
      if (fs.statSync(file).isFile())
        expect(fs.readFileSync(file).includes(Buffer.alloc(SIZE, 0x5a)), name).toBe(false);
    }
    await said(snapshot("restore", "b", ...words));
    await said(snapshot("delete", "a", "--children", ...words));
  });
});

/** Milliseconds. */
async function timeOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Everything in the repository can be loaded. */
function whole(): string[] {
  const repository = new SnapshotRepository(path.join(state, "snapshots"));
  const names = repository.index()?.snapshots.map(({ name }) => name) ?? [];
  for (const name of names) repository.load(name);
  return names;
}

describe("killed", () => {
  test(`${KILLS} times while it keeps and restores a stopped TPM: what was said to be done is done`, async () => {
    await prepared();
    await said(snapshot("create", "zero"));
    await write(1);
    await said(snapshot("create", "one"));
    const usual = await timeOf(() => snapshot("create", "two"));
    const random = new Seeded("snapshot kills");
    const known = new Set(["zero", "one", "two"]);
    for (let kill = 0; kill < KILLS; kill++) {
      const name = random.pick(["zero", "one"]);
      const words = random.below(2) ? ["create", `k${kill}`] : ["restore", name, "--no-undo"];
      const child = spawn(node!, [...script, "snapshot", ...words, "--state", state], { stdio: "ignore" });
      const exit = new Promise<number | null>((resolve) => child.once("exit", resolve));
      const timer = setTimeout(() => child.kill("SIGKILL"), (0.4 + random.below(70) / 100) * usual);
      const status = await exit;
      clearTimeout(timer);
      const names = whole();
      for (const before of known) expect(names).toContain(before);
      if (words[0] === "create" && status === 0) expect(names).toContain(`k${kill}`);
      for (const found of names) known.add(found);
      const data = await stored();
      expect([filled(0), filled(1)]).toContain(data);
      if (words[0] === "restore" && status === 0) expect(data).toBe(filled(name === "zero" ? 0 : 1));
    }
    await said(snapshot("create", "last"));
    expect(objects().length).toBeLessThanOrEqual(2 * known.size);
  });

  test(`${KILLS} times while it keeps and restores a running TPM: it starts with one of the two states`, async () => {
    await prepared();
    let emulator = await started();
    await said(snapshot("create", "zero"));
    let client = await connected(emulator);
    parametersOf(await client.execute(nvWrite(INDEX, Buffer.alloc(SIZE, 1))));
    await said(snapshot("create", "one"));
    const usual = await timeOf(() => snapshot("create", "two"));
    const random = new Seeded("snapshot server kills");
    let known = 3;
    for (let kill = 0; kill < KILLS; kill++) {
      const words = random.below(2) ? ["create"] : ["restore", random.pick(["zero", "one"]), "--running"];
      const server = emulator.process;
      const asked = snapshot(...words);
      const timer = setTimeout(() => void server.kill(), (0.4 + random.below(70) / 100) * usual);
      const { status } = await asked;
      clearTimeout(timer);
      await server.kill();
      client.close();
      const names = whole();
      expect(names.length).toBeGreaterThanOrEqual(known + (words[0] === "create" && status === 0 ? 1 : 0));
      known = names.length;
      emulator = await started();
      client = await connected(emulator);
      const response = await client.execute(nvRead(INDEX, SIZE));
      expect([filled(0), filled(1)]).toContain(nvData(response).toString("hex"));
    }
    parametersOf(await client.execute(nvWrite(INDEX, Buffer.alloc(SIZE, 9))));
  });
});
