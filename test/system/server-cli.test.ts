// The `wtpm` command as a program: status, messages, files, signals, and Debian's swtpm beside it.
import { type ChildProcess, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { listeningSockets, launchEmulator, temporaryFolder, wtpmCommand } from "../support/emulator.ts";
import { type Exit, run as runProgram, start, until } from "../support/process.ts";
import { command, hex, RawClient, toHex } from "../support/server-fakes.ts";

let dir: string;
const cleanups: (() => Promise<unknown> | undefined)[] = [];

beforeEach(() => {
  dir = temporaryFolder();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  fs.rmSync(dir, { recursive: true, force: true });
});

const [node, ...script] = wtpmCommand;
const wtpm = (...words: string[]): Promise<Exit> => runProgram(node!, [...script, ...words], { cwd: dir });
const swtpm = (...words: string[]): Promise<Exit> => runProgram("swtpm", words, { cwd: dir });

/** Starts `wtpm socket` and gives what stops it. */
function startSocket(...words: string[]) {
  const program = launchEmulator(words, dir);
  cleanups.push(() => program.kill());
  return program;
}

/** Connects as soon as somebody listens. */
async function connect(name: string): Promise<RawClient> {
  const client = await until(`somebody to listen on ${name}`, () =>
    RawClient.connect(path.join(dir, name)).catch(() => undefined),
  );
  cleanups.push(async () => void client.socket.destroy());
  return client;
}

const GET_RANDOM = command(0x17b, hex("0008"));

describe("the command line", () => {
  test("version and help go to standard output with status 0; nothing or nonsense is status 1", async () => {
    const details = await wtpm("--version", "--verbose");
    expect(details).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/\nruntime: \S+ \d.*\nengine: .*multiply-add/),
    });
    expect(await wtpm("--version")).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^TPM emulator version \d+\.\d+\.\d+/),
    });
    expect(await wtpm("--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("exec") });
    expect(await wtpm("socket", "--help")).toMatchObject({ status: 0, stdout: expect.stringContaining("--tpmstate") });
    expect(await wtpm()).toMatchObject({ status: 1, stdout: "" });
    expect(await wtpm("nonsense")).toMatchObject({ status: 1, stdout: "" });
    expect(await wtpm("chardev", "--tpm2")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("not supported"),
    });
  });

  test("without --tpm2 it says what to add", async () => {
    expect(await wtpm("socket", "--tpmstate", "dir=.")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("add --tpm2"),
    });
  });

  test.each([
    ["--ctrl", "foo"],
    ["--ctrl", "type=unixio"],
    ["--tpmstate", "mode=0600"],
    ["--tpmstate", "dir=.,mode=888"],
    ["word"],
    ["--server", "port=99999"],
    ["-p", "70000"],
    ["-p", "abc"],
    ["-f", "1"],
    ["-fx"],
    ["--pid", "foo=1"],
    ["--log", "level"],
    ["--seccomp", "action=foo"],
    ["--key", "x"],
    ["--print-states"],
    ["--flags", "startup-foo"],
  ])("%s %s is refused as swtpm refuses it", async (...words) => {
    const [ours, theirs] = await Promise.all([wtpm("socket", "--tpm2", ...words), swtpm("socket", "--tpm2", ...words)]);
    expect(theirs.status).toBe(1);
    expect(ours.status).toBe(1);
    expect(ours.stderr).toBe(theirs.stderr.replace(/^swtpm:/, "wtpm:"));
  });

  test("--print-capabilities says as JSON what works", async () => {
    const { status, stdout } = await wtpm("socket", "--tpm2", "--print-capabilities");
    expect(status).toBe(0);
    const { type, features, version } = JSON.parse(stdout) as { type: string; features: string[]; version: string };
    expect([type, version]).toEqual(["swtpm", expect.any(String)]);
    expect(features).toEqual(
      expect.arrayContaining(["tpm-2.0", "flags-opt-startup", "cmdarg-key-fd", "cmdarg-pwd-fd", "rsa-keysize-2048"]),
    );
    expect(features).not.toContain("tpm-1.2");
    const plain = JSON.parse((await wtpm("socket", "--print-capabilities")).stdout) as { features: string[] };
    expect(plain.features.join()).not.toContain("rsa-keysize");
  });

  test("--print-states prints what swtpm prints, byte for byte", async () => {
    const states = ["socket", "--tpm2", "--print-states", "--tpmstate", `dir=${dir}`];
    expect(await wtpm(...states)).toEqual(await swtpm(...states));
    fs.writeFileSync(path.join(dir, "tpm2-00.permall"), "some state");
    fs.writeFileSync(path.join(dir, "tpm2-00.volatilestate"), "more state");
    expect(await wtpm(...states)).toEqual(await swtpm(...states));
    expect((await wtpm(...states)).stdout).toContain('{"name": "permall", "size": 10}');
  });

  test.each(["dir=none", "backend-uri=dir://none", "backend-uri=file://none/file", "backend-uri=nvme://0", "dir=file"])(
    "--print-states of %s is an error, as for swtpm, and makes nothing",
    async (place) => {
      fs.writeFileSync(path.join(dir, "file"), "no directory");
      const states = ["socket", "--tpm2", "--print-states", "--tpmstate", place];
      expect(await swtpm(...states)).toMatchObject({ status: 1, stdout: "" });
      expect(await wtpm(...states)).toMatchObject({
        status: 1,
        stdout: "",
        stderr: expect.stringMatching(/^wtpm: .*(no such|unsupported)/i),
      });
      expect(fs.readdirSync(dir)).toEqual(["file"]);
    },
  );
});

describe("a server", () => {
  test("writes its pid, and removes pid file and sockets at SIGTERM and SIGINT with status 0", async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const program = startSocket("--tpm2", "--tpmstate", "dir=.", "--ctrl", "type=unixio,path=c", "--pid", "file=pid");
      expect(await (await connect("c")).ask("00000001")).toBe("000000000001ffff");
      expect(fs.readFileSync(path.join(dir, "pid"), "utf8")).toBe(String(program.pid));
      expect(fs.statSync(path.join(dir, "pid")).mode & 0o777).toBe(0o644);
      program.signal(signal);
      expect(await program.ended()).toMatchObject({ status: 0, signal: null, stdout: "", stderr: "" });
      expect(fs.readdirSync(dir)).toEqual([]);
    }
  });

  test("ends with CMD_SHUTDOWN, and with its clients when told to", async () => {
    const shutDown = startSocket("--tpm2", "--tpmstate", "dir=.", "--ctrl", "type=unixio,path=c");
    expect(await (await connect("c")).ask("00000003")).toBe("00000000");
    expect((await shutDown.ended()).status).toBe(0);
    const control = startSocket("--tpm2", "--tpmstate", "dir=.", "--ctrl", "type=unixio,path=c,terminate");
    (await connect("c")).socket.destroy();
    expect((await control.ended()).status).toBe(0);
    const data = startSocket("--tpm2", "--tpmstate", "dir=.", "--server", "type=unixio,path=d", "-t");
    (await connect("d")).socket.destroy();
    expect((await data.ended()).status).toBe(0);
  });

  test("with --daemon returns when it serves, keeps the descriptors it was given, and lets go of the output", async () => {
    const log = fs.openSync(path.join(dir, "log"), "a");
    const child = spawn(
      node!,
      [
        ...[
          ...script,
          "socket",
          "--tpm2",
          "--daemon",
          "--tpmstate",
          "dir=.",
          "--ctrl",
          "type=unixio,path=c",
          "--pid",
          "file=pid",
        ],
        ...["--log", "fd=5,level=2"],
      ],
      { cwd: dir, stdio: ["ignore", "pipe", "pipe", "ignore", "ignore", log] },
    );
    let printed = "";
    for (const stream of [child.stdout, child.stderr]) stream?.on("data", (text) => (printed += text));
    // "close" comes only when nobody has the output open any more.
    const status = await new Promise((resolve) => child.once("close", resolve));
    const pid = Number(fs.readFileSync(path.join(dir, "pid"), "utf8"));
    cleanups.push(async () => {
      process.kill(pid, "SIGTERM");
      await until("the daemon's end", () => !fs.existsSync(path.join(dir, "pid")));
    });
    expect({ status, printed }).toEqual({ status: 0, printed: "" });
    expect(pid).not.toBe(child.pid);
    fs.closeSync(log);
    expect(await (await connect("c")).ask("00000001")).toBe("000000000001ffff");
    expect(fs.readFileSync(path.join(dir, "log"), "utf8")).toContain("Ctrl Cmd: length 4");
  });

  test("with --daemon a failed start is the status of the first process", async () => {
    const words = [
      "socket",
      "--tpm2",
      "--daemon",
      "--tpmstate",
      "dir=missing",
      "--flags",
      "not-need-init",
      "--pid",
      "file=pid",
    ];
    expect(await wtpm(...words)).toMatchObject({ status: 1, stderr: expect.stringContaining("missing") });
    expect(fs.existsSync(path.join(dir, "pid"))).toBe(false);
  });

  test("serves an inherited connection as its data channel, and ends with it", async () => {
    for (const words of [
      ["--fd", "3"],
      ["--server", "type=tcp,fd=3"],
    ]) {
      const child: ChildProcess = spawn(
        node!,
        [...script, "socket", "--tpm2", "--tpmstate", "backend-uri=memory://", "--flags", "startup-clear", ...words],
        { cwd: dir, stdio: ["ignore", "ignore", "inherit", "pipe"] },
      );
      const client = new RawClient(child.stdio[3] as net.Socket);
      expect((await client.ask(GET_RANDOM)).length).toBe(40);
      client.socket.destroy();
      expect(await new Promise((resolve) => child.once("exit", resolve))).toBe(0);
    }
  });

  test("logs bytes at level 2, words at level 5, and creates the file for its owner only", async () => {
    for (const level of [2, 5]) {
      const program = startSocket(
        ...[
          "--tpm2",
          "--tpmstate",
          "backend-uri=memory://",
          "--server",
          "type=unixio,path=d",
          "--ctrl",
          "type=unixio,path=c",
        ],
        ...["--flags", "startup-clear", "--log", `file=log,level=${level},prefix=[x] ,truncate`],
      );
      await (await connect("d")).ask(GET_RANDOM);
      await (await connect("c")).ask("00000003");
      await program.ended();
      const log = fs.readFileSync(path.join(dir, "log"), "utf8");
      expect(log).toContain("[x]  SWTPM_IO_Read: length 12\n[x]  80 01 00 00 00 0C 00 00 01 44 00 00 \n");
      expect(log).toContain("[x]  Ctrl Cmd: length 4\n[x]  00 00 00 03 \n");
      expect(log.includes("GetRandom")).toBe(level === 5);
    }
    expect(fs.statSync(path.join(dir, "log")).mode & 0o777).toBe(0o600);
  });

  test("TCP: commands on one port and control on another, as tpm2-tss expects", async () => {
    const free = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => free.once("listening", resolve));
    const { port } = free.address() as net.AddressInfo;
    await new Promise((resolve) => free.close(resolve));
    const program = startSocket(
      "--tpm2",
      "--tpmstate",
      "backend-uri=memory://",
      "--server",
      `port=${port},disconnect`,
      "--flags",
      "startup-clear",
    );
    let client: RawClient | undefined;
    await until("the port", async () => {
      client = await RawClient.connect(port).catch(() => undefined);
      return client;
    });
    expect(toHex(hex(await client!.ask(GET_RANDOM)).subarray(0, 10))).toBe("80010000001400000000");
    await client!.closed();
    program.signal("SIGTERM");
    expect((await program.ended()).status).toBe(0);
  });
});

describe("bad places", () => {
  const START = ["--tpm2", "--flags", "not-need-init", "--tpmstate"];

  test("a second process on the same state ends with status 1 and a sentence, swtpm too; the first goes on", async () => {
    const first = startSocket(...START, "dir=.", "--server", "type=unixio,path=d");
    await (await connect("d")).ask(command(0x181));
    const second = await wtpm("socket", ...START, `dir=${dir}`);
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining("in use by another process") });
    const foreign = await swtpm("socket", ...START, `dir=${dir}`);
    expect(foreign).toMatchObject({ status: 1, stderr: expect.stringContaining("lock") });
    expect(first.hasExited()).toBe(false);
    // Killed without mercy it leaves no lock behind.
    await first.kill();
    const next = startSocket(...START, "dir=.", "--server", "type=unixio,path=d2");
    expect(await (await connect("d2")).ask(command(0x144, hex("0000")))).toBe("80010000000a00000000");
    expect(next.hasExited()).toBe(false);
  });

  test("a state that swtpm uses is refused", async () => {
    const foreign = start("swtpm", ["socket", ...START, `dir=${dir}`, "--server", "type=unixio,path=d"], { cwd: dir });
    cleanups.push(() => foreign.kill());
    await until("swtpm's socket", () => listeningSockets().has("d") || listeningSockets().has(path.join(dir, "d")));
    await until("swtpm's state", () => fs.existsSync(path.join(dir, "tpm2-00.permall")));
    expect(await wtpm("socket", ...START, "dir=.")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("in use by another process"),
    });
  });

  test("a missing, an unwritable and a damaged state are told apart", async () => {
    expect(await wtpm("socket", ...START, "dir=missing")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("missing"),
    });
    fs.writeFileSync(path.join(dir, "file"), "");
    expect(await wtpm("socket", ...START, "dir=file")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("ENOTDIR"),
    });
    fs.writeFileSync(path.join(dir, "tpm2-00.permall"), "this is no state");
    const damaged = await wtpm("socket", ...START, "dir=.");
    expect(damaged).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("tpm2-00.permall: the state is damaged"),
    });
    expect(fs.readFileSync(path.join(dir, "tpm2-00.permall"), "utf8")).toBe("this is no state");
    expect(await wtpm("socket", "--tpm2", "--flags", "not-need-init")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("--tpmstate"),
    });
    expect(await wtpm("socket", ...START, "backend-uri=ftp://x")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("dir://"),
    });
    fs.writeFileSync(path.join(dir, "note"), "this is no state");
    expect(await wtpm("socket", ...START, "backend-uri=file://note")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("file://note is no linear store, and not empty"),
    });
    expect(fs.readFileSync(path.join(dir, "note"), "utf8")).toBe("this is no state");
  });

  test("with a control channel the same failures come as results of CMD_INIT", async () => {
    fs.writeFileSync(path.join(dir, "tpm2-00.permall"), "this is no state");
    startSocket("--tpm2", "--tpmstate", "dir=.", "--ctrl", "type=unixio,path=c");
    const control = await connect("c");
    expect(await control.ask("00000002 00000000")).toBe("00000101");
    fs.rmSync(path.join(dir, "tpm2-00.permall"));
    expect(await control.ask("00000002 00000000")).toBe("00000000");
  });

  test("a socket path of more than 107 bytes gets a sentence", async () => {
    const { status, stderr } = await wtpm(
      "socket",
      "--tpm2",
      "--tpmstate",
      "dir=.",
      "--ctrl",
      `type=unixio,path=${dir}/${"x".repeat(108)}`,
    );
    expect(status).toBe(1);
    expect(stderr).toMatch(/at most 107.*shorter path/);
  });
});

describe("wtpm exec", () => {
  test("its status is the command's; 128 and the signal; 127 for none", async () => {
    expect(await wtpm("exec", "--", "sh", "-c", "exit 7")).toMatchObject({ status: 7, signal: null });
    expect(await wtpm("exec", "--", "sh", "-c", "kill -KILL $$")).toMatchObject({ status: 137 });
    expect(await wtpm("exec", "--", "no-such-program")).toMatchObject({
      status: 127,
      stderr: expect.stringContaining("not found"),
    });
    expect((await wtpm("exec")).status).not.toBe(0);
  });

  test("tpm2-tools and IBM's tools find the TPM, one after the other", async () => {
    const tools = "tpm2_getrandom --hex 8 && tssgetrandom -by 8 && tpm2_pcrread sha256:0 && tpm2_clear";
    expect(await wtpm("exec", "--", "sh", "-ec", tools)).toMatchObject({
      status: 0,
      stdout: expect.stringContaining("randomBytes length 8"),
    });
  });

  test("leaves nothing behind, and hands signals to the command", async () => {
    const program = start(node!, [
      ...script,
      "exec",
      "sh",
      "-c",
      'trap "exit 3" TERM; echo $WTPM_DATA_SOCKET; while :; do sleep 0.05; done',
    ]);
    cleanups.push(() => program.kill());
    await until("the command", () => program.output().stdout.includes("\n"));
    const socket = program.output().stdout.trim();
    expect(fs.existsSync(socket)).toBe(true);
    program.signal("SIGTERM");
    expect((await program.ended()).status).toBe(3);
    expect(fs.existsSync(path.dirname(socket))).toBe(false);
  });
});

describe("wtpm start", () => {
  test("shows how to attach and what arrives, and keeps its state", async () => {
    const program = start(node!, [...script, "start"], { cwd: dir });
    cleanups.push(() => program.kill());
    await until("the instructions", () => program.output().stdout.includes("tpm2-tools"));
    const { stdout } = program.output();
    expect(stdout).toContain("-tpmdev emulator");
    const tcti = /TPM2TOOLS_TCTI="([^"]+)"/.exec(stdout)?.[1];
    const random = await runProgram("tpm2_getrandom", ["--hex", "8"], { env: { TPM2TOOLS_TCTI: tcti! } });
    expect(random.status).toBe(0);
    await until("the command's line", () => program.output().stdout.includes("TPM2_GetRandom"));
    const second = await wtpm("start");
    expect(second).toMatchObject({ status: 1, stderr: expect.stringContaining("in use by another process") });
    program.signal("SIGINT");
    const exit = await program.ended();
    expect(exit.status).toBe(0);
    expect(exit.stdout.trim().split("\n").at(-1)).toBe("TPM stopped");
    expect(fs.readdirSync(path.join(dir, "wtpm-state")).sort()).toEqual([".lock", "tpm2-00.permall"]);
  });
});
