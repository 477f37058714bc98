// `wtpm` as a program on another runtime, with real clients. This part runs in the runtime that starts the others.
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { root } from "../build-wasm.mjs";
import { expectEqual } from "./report.mjs";

const WTPM = path.join(root, "dist/bin/wtpm.js");
/** For what takes milliseconds on a machine that is not busy. */
const PATIENCE_MS = 60_000;
const GET_RANDOM = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 8);
const RANDOM_SIZE = 20;
const NV_INDEX = "0x1800001";
const STARTED = ["--flags", "not-need-init,startup-clear"];
const ENGINES = { once: "fused multiply-add", twice: "integer products", none: "integer products" };

/** Starts a program; `ended` gives its status and what it printed, `kill` is for those that did not end. */
function start([program, ...words], options = {}) {
  const child = spawn(program, words, { stdio: ["ignore", "pipe", "pipe"], ...options });
  const printed = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"])
    child[name]?.setEncoding("utf8").on("data", (text) => (printed[name] += text));
  const timer = setTimeout(() => {
    child.kill("SIGKILL");
    // Somebody who holds on to its output must not keep us.
    for (const name of ["stdout", "stderr"]) child[name]?.destroy();
  }, PATIENCE_MS);
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (status, signal) => {
      clearTimeout(timer);
      resolve({ status: status ?? signal, ...printed });
    });
  });
  ended.catch(() => {});
  return { child, ended, printed, running: () => child.exitCode === null && child.signalCode === null };
}

/** Runs a program that must end with status 0; gives its standard output. */
async function succeed(words, env = {}) {
  const { status, stdout, stderr } = await start(words, { env: { ...process.env, ...env } }).ended;
  expectEqual(`status of '${words.map((word) => path.basename(word)).join(" ")}' (${stderr.trim()})`, status, 0);
  return stdout;
}

async function until(what, condition) {
  for (const end = Date.now() + PATIENCE_MS; !(await condition()); ) {
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Gives the action a folder that goes when it is done. */
async function withFolder(action) {
  const folder = mkdtempSync(path.join(tmpdir().length > 60 ? "/tmp" : tmpdir(), "wtpm-runtimes-"));
  mkdirSync(path.join(folder, "state"));
  try {
    return await action(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const socketWords = (runtime, folder, words) => [
  ...[...runtime, WTPM, "socket", "--tpm2", "--tpmstate", `dir=${path.join(folder, "state")}`],
  ...words,
];

/** Runs the action while `wtpm socket` serves, and gives what that printed; it must end well when it is told to. */
async function whileServing(runtime, folder, { words, ready, options }, action) {
  const server = start(socketWords(runtime, folder, words), options);
  try {
    await until("the server to listen", async () => {
      if (!server.running()) throw new Error(`the server ended: ${(await server.ended).stderr.trim()}`);
      return ready();
    });
    await action(server);
    server.child.kill("SIGTERM");
    const { status, stderr } = await server.ended;
    expectEqual(`status of the server (${stderr.trim()})`, status, 0);
    return stderr;
  } finally {
    server.child.kill("SIGKILL");
  }
}

/** A server with UNIX sockets, where tpm2-tss looks for them. */
function unixServer(folder, { data = true } = {}) {
  const socket = path.join(folder, "tpm");
  const control = `${socket}.ctrl`;
  return {
    tcti: `swtpm:path=${socket}`,
    control,
    words: [
      ...["--ctrl", `type=unixio,path=${control}`],
      ...(data ? ["--server", `type=unixio,path=${socket}`, ...STARTED] : []),
    ],
    ready: () => existsSync(control) && (!data || existsSync(socket)),
  };
}

function canConnect(port) {
  const socket = net.connect(port, "127.0.0.1");
  return new Promise((resolve) => {
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
  }).finally(() => socket.destroy());
}

/** Two free ports in a row, as tpm2-tss wants data and control. */
async function freePorts() {
  for (;;) {
    const first = net.createServer().listen(0, "127.0.0.1");
    await once(first, "listening");
    const { port } = first.address();
    const second = net.createServer().listen(port + 1, "127.0.0.1");
    const free = await new Promise((resolve) => {
      second.once("listening", () => resolve(true)).once("error", () => resolve(false));
    });
    await Promise.all([first, second].map((server) => server.listening && new Promise((r) => server.close(r))));
    if (free) return port;
  }
}

async function tools(tcti, folder) {
  const tool = (name, ...words) => succeed([`tpm2_${name}`, ...words], { TPM2TOOLS_TCTI: tcti, TSS2_LOG: "all+none" });
  expectEqual("random bytes", /^[0-9a-f]{16}$/.test(await tool("getrandom", "--hex", "8")), true);
  const context = path.join(folder, "primary.ctx");
  await tool("createprimary", "-Q", "-C", "o", "-c", context);
  await tool("pcrextend", `16:sha256=${"11".repeat(32)}`);
  return tool;
}

/** A command straight to a data channel; gives the response. */
async function getRandom(socket) {
  let response = Buffer.alloc(0);
  socket.write(GET_RANDOM);
  const timer = setTimeout(() => socket.destroy(new Error("no response")), PATIENCE_MS);
  try {
    while (response.length < RANDOM_SIZE) {
      const [bytes] = await once(socket, "data");
      response = Buffer.concat([response, bytes]);
    }
  } finally {
    clearTimeout(timer);
  }
  expectEqual("response", response.subarray(0, 10).toString("hex"), "80010000001400000000");
}

/** A connected pair of TCP sockets. */
async function connectedPair() {
  const server = net.createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = net.connect(server.address().port, "127.0.0.1");
  const [far] = await once(server, "connection");
  server.close();
  return [near, far];
}

/**
 * The checks of a command line, by name.
 *
 * @param runtime title: "Bun 1.4.5"; words: how to start it; isNode, adoptsSockets, daemonKeepsOutput: what it can; rounds: as relaxedMultiplyAdd() says
 * @param connectEmulator the package's own, in the runtime that runs this
 */
export function commandLineChecks(runtime, connectEmulator) {
  const { words, title } = runtime;
  return {
    "wtpm --version --verbose": async () => {
      const [, name, engine] = (await succeed([...words, WTPM, "--version", "--verbose"])).split("\n");
      expectEqual("runtime", name.startsWith(`runtime: ${title}`), true);
      expectEqual("engine", engine.startsWith(`engine: ${ENGINES[runtime.rounds]}`), true);
      return engine;
    },

    "wtpm exec": async () => {
      const bytes = await succeed([...words, WTPM, "exec", "--", "tpm2_getrandom", "--hex", "8"]);
      expectEqual("random bytes", /^[0-9a-f]{16}$/.test(bytes), true);
    },

    "wtpm socket over UNIX sockets, its state outlives it": () =>
      withFolder(async (folder) => {
        const server = unixServer(folder);
        await whileServing(words, folder, server, async () => {
          const tool = await tools(server.tcti, folder);
          await tool("nvdefine", NV_INDEX, "-C", "o", "-s", "8");
          const file = path.join(folder, "content");
          writeFileSync(file, "12345678");
          await tool("nvwrite", NV_INDEX, "-C", "o", "-i", file);
        });
        await whileServing(words, folder, server, async () => {
          const tool = await tools(server.tcti, folder);
          expectEqual("content of the NV Index", await tool("nvread", NV_INDEX, "-C", "o", "-s", "8"), "12345678");
        });
      }),

    "wtpm socket over TCP": () =>
      withFolder(async (folder) => {
        const port = await freePorts();
        const server = {
          words: ["--server", `type=tcp,port=${port}`, "--ctrl", `type=tcp,port=${port + 1}`, ...STARTED],
          ready: async () => (await canConnect(port)) && (await canConnect(port + 1)),
        };
        await whileServing(words, folder, server, () => tools(`swtpm:host=127.0.0.1,port=${port}`, folder));
      }),

    "wtpm socket --daemon": () =>
      withFolder(async (folder) => {
        const server = unixServer(folder);
        const file = path.join(folder, "pid");
        // Started with no output of ours where the daemon would keep it open.
        const stdio = runtime.daemonKeepsOutput ? "ignore" : ["ignore", "pipe", "pipe"];
        const first = start(socketWords(words, folder, [...server.words, "--daemon", "--pid", `file=${file}`]), {
          stdio,
        });
        try {
          const { status, stderr } = await first.ended;
          expectEqual(`status (${stderr.trim()})`, status, 0);
          await tools(server.tcti, folder);
        } finally {
          if (existsSync(file)) process.kill(Number(readFileSync(file, "utf8")), "SIGTERM");
        }
        await until("the daemon to end", () => !existsSync(file));
        return runtime.daemonKeepsOutput ? "keeps the standard output of its starter open" : "";
      }),

    "a second server on the same state is refused": () =>
      withFolder(async (folder) => {
        const server = unixServer(folder);
        await whileServing(words, folder, server, async () => {
          const other = path.join(folder, "other");
          const control = ["--ctrl", `type=unixio,path=${other}`, ...STARTED];
          const { status, stderr } = await start(socketWords(words, folder, control)).ended;
          expectEqual("status", status, 1);
          expectEqual("sentence", /in use by another process/.test(stderr), true);
        });
      }),

    "a data socket received over the control socket (CMD_SET_DATAFD)": () =>
      withFolder(async (folder) => {
        const server = unixServer(folder, { data: false });
        let refused;
        const log = await whileServing(words, folder, server, async () => {
          try {
            const backend = await connectEmulator({ control: { path: server.control }, shutdown: false });
            await backend.powerOn();
            expectEqual("response", (await backend.execute(GET_RANDOM)).length, 10);
            await backend.close();
          } catch (error) {
            refused = error;
          }
        });
        if (runtime.isNode) {
          if (refused) throw refused;
          return "";
        }
        expectEqual("refused", refused !== undefined, true);
        const sentence = /^wtpm: (no data socket: .* cannot receive descriptors.*)$/m.exec(log);
        if (!sentence) throw new Error(`no sentence says why it is refused, but: ${log}${refused.message}`);
        return sentence[1];
      }),

    "an inherited data socket (--fd)": () =>
      withFolder(async (folder) => {
        const [near, far] = await connectedPair();
        const server = start(socketWords(words, folder, ["--fd", "3", ...STARTED]), {
          stdio: ["ignore", "pipe", "pipe", far],
        });
        far.destroy();
        try {
          if (!runtime.adoptsSockets) {
            const { status, stderr } = await server.ended;
            expectEqual("status", status, 1);
            expectEqual("sentence", /cannot use the inherited descriptor/.test(stderr), true);
            return stderr.trim();
          }
          await getRandom(near);
          near.end();
          expectEqual("status", (await server.ended).status, 0);
        } finally {
          near.destroy();
          server.child.kill("SIGKILL");
        }
      }),
  };
}
