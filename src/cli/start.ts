// `wtpm start`: a TPM to try things with. Its state lasts, and everything that arrives is shown.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { MAX_SOCKET_PATH, nodeTransport } from "../platform/node-transport.ts";
import { TpmServer } from "../server/tpm-server.ts";
import { plainFormat } from "../state/container.ts";
import { DirStore } from "../state/dir-store.ts";
import type { BackendFactory } from "./backend-factory.ts";
import { managementOf } from "./snapshot-place.ts";
import { trafficLines } from "./traffic.ts";

export interface StartOptions {
  /** The directory of the state, which is made if it is missing, and of the sockets. */
  readonly state: string;
  /** Do not show the commands. */
  readonly quiet?: boolean;
}

/** Runs until a signal. */
export async function startCommand(options: StartOptions, createBackend: BackendFactory): Promise<number> {
  const say = (text: string) => process.stdout.write(`${text}\n`);
  const warn = (text: string) => process.stderr.write(`wtpm: ${text}\n`);
  fs.mkdirSync(options.state, { recursive: true, mode: 0o700 });
  // tpm2-tss' TCTI finds the control socket by this ending.
  const data = socketPath(path.join(options.state, "tpm.sock"));
  const control = `${data}.ctrl`;
  const store = new DirStore(options.state, { warn });
  const backend = createBackend({ store, warn });
  backend.catch(() => {});
  const log = { level: 0, line: warn };
  const server = new TpmServer({
    transport: nodeTransport,
    log,
    data: { type: "unix", path: data, mode: 0o600 },
    control: { type: "unix", path: control, mode: 0o600 },
    receiveDescriptors: true,
    descriptorBesideData: true,
    ...managementOf({ uri: store.name }, store, plainFormat, log),
    ...(options.quiet ? {} : { observe: trafficLines(await import("../codec/index.ts"), say) }),
  });
  // The lock comes before the sockets: a second start must not take the first one's sockets away.
  store.acquire();
  const interrupted = firstSignal();
  try {
    await server.listen();
    say(`TPM 2.0 with its state in ${options.state}; Ctrl-C ends it`);
    say(`  control socket  ${control}`);
    say(
      `  QEMU            -chardev socket,id=chrtpm,path=${control} -tpmdev emulator,id=tpm0,chardev=chrtpm -device tpm-crb,tpmdev=tpm0`,
    );
    say(`  tpm2-tools      export TPM2TOOLS_TCTI="swtpm:path=${data}"`);
    await server.serve(await backend, { powerOn: true, startup: "clear" });
    await Promise.race([interrupted, server.ended]);
  } finally {
    await server.close();
    store.close();
  }
  say("TPM stopped");
  return 0;
}

/** The absolute path if a socket can have it, else the relative one. */
function socketPath(relative: string): string {
  const absolute = path.resolve(relative);
  return Buffer.byteLength(`${absolute}.ctrl`) <= MAX_SOCKET_PATH ? absolute : relative;
}

function firstSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
}
