// Debian's swtpm as a TPM to compare with: a process of its own, with a fresh state, on a UNIX socket.
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { CMD } from "../../src/server/protocol.ts";
import { plainFormat } from "../../src/state/container.ts";
import type { SavedState } from "./engine-tpm.ts";

export interface Swtpm {
  /** Sends one command; commands sent meanwhile wait. */
  transmit(command: Uint8Array): Promise<Uint8Array>;
  /** What it takes to go on elsewhere. */
  save(): Promise<SavedState>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts swtpm after TPM2_Startup(CLEAR), manufactured or with the permanent state given; with the volatile state given as
 * well it goes on where that was saved. Fails if it is not installed.
 */
export async function startSwtpm({ permanent, volatile }: Partial<SavedState> = {}): Promise<Swtpm> {
  const folder = mkdtempSync(path.join(tmpdir(), "swtpm-"));
  const permanentFile = path.join(folder, "tpm2-00.permall");
  const volatileFile = path.join(folder, "tpm2-00.volatilestate");
  if (permanent) writeFileSync(permanentFile, plainFormat.encode("permanent", permanent, 1));
  if (volatile) writeFileSync(volatileFile, plainFormat.encode("volatile", volatile, 1));
  const socketPath = path.join(folder, "data");
  const controlPath = path.join(folder, "control");
  const args = ["socket", "--tpm2", "--tpmstate", `dir=${folder}`, "--server", `type=unixio,path=${socketPath}`];
  args.push("--ctrl", `type=unixio,path=${controlPath}`);
  args.push("--flags", volatile ? "not-need-init" : "not-need-init,startup-clear");
  const child = spawn("swtpm", args, { stdio: ["ignore", "ignore", "pipe"] });
  let messages = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    messages += chunk.toString();
  });
  const ended = once(child, "exit");
  await once(child, "spawn");
  const socket = await connected(socketPath, () => {
    if (child.exitCode !== null) throw new Error(`swtpm ended before it listened: ${messages}`);
  });
  const closed = once(socket, "close");
  let last: Promise<unknown> = Promise.resolve();
  return {
    transmit(command) {
      const answer = last.then(() => exchange(socket, closed, command));
      last = answer.catch(() => undefined);
      return answer;
    },
    async save() {
      await last;
      await storeVolatile(controlPath);
      return {
        permanent: plainFormat.decode("permanent", readFileSync(permanentFile)).blob,
        volatile: plainFormat.decode("volatile", readFileSync(volatileFile)).blob,
      };
    },
    async [Symbol.asyncDispose]() {
      socket.destroy();
      child.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Connects as soon as the server listens. */
async function connected(socketPath: string, checkRunning: () => void): Promise<Socket> {
  for (;;) {
    const socket = connect(socketPath);
    try {
      await once(socket, "connect");
      return socket;
    } catch {
      checkRunning();
      await setTimeout(5);
    }
  }
}

/** Sends a command and reads as many bytes as the response's header says. */
async function exchange(socket: Socket, closed: Promise<unknown[]>, command: Uint8Array): Promise<Uint8Array> {
  socket.write(command);
  let response = Buffer.alloc(0);
  while (response.length < 10 || response.length < response.readUInt32BE(2)) {
    const [chunk] = (await Promise.race([once(socket, "data"), closed])) as [unknown];
    if (!Buffer.isBuffer(chunk)) throw new Error("swtpm closed the connection");
    response = Buffer.concat([response, chunk]);
  }
  return new Uint8Array(response);
}

async function storeVolatile(controlPath: string): Promise<void> {
  const control = connect(controlPath);
  const request = Buffer.alloc(4);
  request.writeUInt32BE(CMD.STORE_VOLATILE);
  control.write(request);
  const [answer] = (await once(control, "data")) as [Buffer];
  control.destroy();
  if (answer.readUInt32BE() !== 0) throw new Error(`swtpm cannot store its volatile state: ${answer.toString("hex")}`);
}
