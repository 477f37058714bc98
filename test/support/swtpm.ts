// Debian's swtpm as a TPM to compare with: a process of its own, with a fresh state, on a UNIX socket.
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { encodeContainer } from "../../src/state/container.ts";

export interface Swtpm {
  /** Sends one command; commands sent meanwhile wait. */
  transmit(command: Uint8Array): Promise<Uint8Array>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts swtpm after TPM2_Startup(CLEAR), manufactured or with the permanent state given. Fails if it is not installed. */
export async function startSwtpm(permanent?: Uint8Array): Promise<Swtpm> {
  const folder = mkdtempSync(path.join(tmpdir(), "swtpm-"));
  if (permanent) writeFileSync(path.join(folder, "tpm2-00.permall"), encodeContainer(permanent));
  const socketPath = path.join(folder, "data");
  const args = ["socket", "--tpm2", "--tpmstate", `dir=${folder}`, "--server", `type=unixio,path=${socketPath}`];
  const child = spawn("swtpm", [...args, "--flags", "not-need-init,startup-clear"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
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
