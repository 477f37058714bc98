// `wtpm exec -- COMMAND…`: runs a command that finds a fresh TPM in its environment. The TPM goes with it.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { nodeTransport } from "../platform/node-transport.ts";
import { TpmServer } from "../server/tpm-server.ts";
import { MemoryStore } from "../state/memory-store.ts";
import type { BackendFactory } from "./backend-factory.ts";
import { trafficLines } from "./traffic.ts";

export interface ExecOptions {
  /** Show commands and responses on standard error. */
  readonly verbose?: boolean;
}

const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;
const SIGNALED = 128;
const LOOPBACK = "127.0.0.1";

/** Runs the command and gives its exit status: 128 and the number of the signal if one ended it, 127 and 126 as a shell does. */
export async function execCommand(
  words: readonly string[],
  options: ExecOptions,
  createBackend: BackendFactory,
): Promise<number> {
  const [program, ...args] = words;
  const warn = (text: string) => process.stderr.write(`wtpm: ${text}\n`);
  if (program === undefined) {
    warn("which command? wtpm exec -- COMMAND…");
    return 2;
  }
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "wtpm-"));
  const data = path.join(folder, "tpm");
  const control = `${data}.ctrl`;
  const server = new TpmServer({
    transport: nodeTransport,
    log: { level: 0, line: warn },
    // tpm2-tss speaks over a UNIX socket; IBM's TSS knows TCP only.
    data: [
      { type: "unix", path: data, mode: 0o600 },
      { type: "tcp", host: LOOPBACK, port: 0 },
    ],
    control: [
      { type: "unix", path: control, mode: 0o600 },
      { type: "tcp", host: LOOPBACK, port: 0 },
    ],
    receiveDescriptors: true,
    descriptorBesideData: true,
    ...(options.verbose ? { observe: trafficLines(await import("../codec/index.ts"), warn) } : {}),
  });
  try {
    const backend = createBackend({ store: new MemoryStore() });
    backend.catch(() => {});
    const { dataPorts, controlPorts } = await server.listen();
    await server.serve(await backend, { powerOn: true, startup: "clear" });
    return await run(program, args, { ...process.env, ...environmentOf(data, dataPorts[0], controlPorts[0]) });
  } finally {
    await server.close();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** How clients of a TPM are told where it is. */
function environmentOf(
  socket: string,
  dataPort: number | undefined,
  controlPort: number | undefined,
): Record<string, string> {
  const tcti = `swtpm:path=${socket}`;
  return {
    // tpm2-tools; tpm2-tss' OpenSSL 1 engine; tpm2-openssl; tpm2-pkcs11; systemd-creds.
    TPM2TOOLS_TCTI: tcti,
    TPM2TSSENGINE_TCTI: tcti,
    TPM2OPENSSL_TCTI: tcti,
    TPM2_PKCS11_TCTI: tcti,
    SYSTEMD_TPM2_DEVICE: tcti,
    // IBM's TSS: plain commands over TCP.
    TPM_INTERFACE_TYPE: "socsim",
    TPM_SERVER_TYPE: "raw",
    TPM_SERVER_NAME: LOOPBACK,
    TPM_COMMAND_PORT: String(dataPort),
    TPM_PLATFORM_PORT: String(controlPort),
    // For programs that speak swtpm's protocol themselves, and QEMU.
    WTPM_DATA_SOCKET: socket,
    WTPM_CONTROL_SOCKET: `${socket}.ctrl`,
  };
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  // A terminal sends its signals to the command as well; others are handed on. Either way the command decides when it ends. Handlers are
  // there before the command is: it may ask for a signal at once.
  const ignore = () => {};
  const pass = (signal: NodeJS.Signals) => child.kill(signal);
  process.on("SIGINT", ignore);
  process.on("SIGQUIT", ignore);
  process.on("SIGTERM", pass);
  process.on("SIGHUP", pass);
  const child = spawn(program, args, { stdio: "inherit", env });
  return new Promise<number>((resolve) => {
    child.once("exit", (code, signal) => resolve(code ?? SIGNALED + (signal ? os.constants.signals[signal] : 0)));
    child.once("error", (error: NodeJS.ErrnoException) => {
      process.stderr.write(`wtpm: ${program}: ${error.code === "ENOENT" ? "command not found" : error.message}\n`);
      resolve(error.code === "ENOENT" ? NOT_FOUND : NOT_EXECUTABLE);
    });
  }).finally(() => {
    for (const signal of ["SIGINT", "SIGQUIT"] as const) process.off(signal, ignore);
    for (const signal of ["SIGTERM", "SIGHUP"] as const) process.off(signal, pass);
  });
}
