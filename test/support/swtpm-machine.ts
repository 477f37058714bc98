// Debian's swtpm with a control channel: a TPM to compare with that can be powered off and on, at any locality, in any state.
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout } from "node:timers/promises";
import { plainFormat } from "../../src/state/container.ts";
import type { SavedState } from "./engine-tpm.ts";
import { PATIENCE_MS } from "./process.ts";

/** CMD_* of swtpm's control protocol. */
const CMD = { INIT: 2, SET_LOCALITY: 5, HASH_START: 6, HASH_DATA: 7, HASH_END: 8, STORE_VOLATILE: 10 } as const;

/** Flag of CMD_INIT. */
const DELETE_VOLATILE = 1;

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

export class SwtpmMachine implements AsyncDisposable {
  readonly #stop: () => Promise<void>;
  readonly #data: Channel;
  readonly #control: Channel;
  readonly #permanentFile: string;
  readonly #volatileFile: string;
  #locality = 0;

  private constructor(data: Channel, control: Channel, folder: string, stop: () => Promise<void>) {
    this.#data = data;
    this.#control = control;
    this.#permanentFile = path.join(folder, "tpm2-00.permall");
    this.#volatileFile = path.join(folder, "tpm2-00.volatilestate");
    this.#stop = stop;
  }

  /** Starts swtpm with a fresh state, powered on; TPM2_Startup is the caller's. Fails if it is not installed. */
  static async start(): Promise<SwtpmMachine> {
    const folder = mkdtempSync(path.join(tmpdir(), "swtpm-"));
    const [data, control] = [path.join(folder, "data"), path.join(folder, "control")];
    const child = spawn(
      "swtpm",
      [
        ...["socket", "--tpm2", "--tpmstate", `dir=${folder}`, "--flags", "not-need-init"],
        ...["--server", `type=unixio,path=${data}`, "--ctrl", `type=unixio,path=${control}`],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    let messages = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      messages += chunk.toString();
    });
    const ended = once(child, "exit");
    await once(child, "spawn");
    const checkRunning = () => {
      if (child.exitCode !== null) throw new Error(`swtpm ended before it listened: ${messages}`);
    };
    const channels = [
      new Channel(await connected(control, checkRunning)),
      new Channel(await connected(data, checkRunning)),
    ];
    return new SwtpmMachine(channels[1]!, channels[0]!, folder, async () => {
      for (const channel of channels) channel.close();
      child.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    });
  }

  /** Sends one command at a locality and returns the response. */
  async send(command: Uint8Array, locality = 0): Promise<Uint8Array> {
    if (locality !== this.#locality) {
      await this.#request(CMD.SET_LOCALITY, Buffer.from([locality]));
      this.#locality = locality;
    }
    const response = await this.#data.exchange(command, (bytes) => (bytes.length < 10 ? 10 : bytes.readUInt32BE(2)));
    return new Uint8Array(response);
  }

  /** Off and on again, without a word to the TPM. */
  async powerCycle(): Promise<void> {
    await this.#request(CMD.INIT, u32(0));
  }

  /** The state is stored, and a TPM that was off goes on with it. */
  async migrate(): Promise<void> {
    await this.#request(CMD.STORE_VOLATILE, Buffer.alloc(0));
    await this.#request(CMD.INIT, u32(DELETE_VOLATILE));
  }

  /** What it takes to go on elsewhere. It goes on here, too. */
  async save(): Promise<SavedState> {
    await this.#request(CMD.STORE_VOLATILE, Buffer.alloc(0));
    const state = {
      permanent: plainFormat.decode("permanent", readFileSync(this.#permanentFile)).blob,
      volatile: plainFormat.decode("volatile", readFileSync(this.#volatileFile)).blob,
    };
    // Or the next power cycle would go on with it.
    rmSync(this.#volatileFile);
    return state;
  }

  /** Goes on in another TPM's state; without a volatile one it is powered on with the permanent one. */
  async load({ permanent, volatile }: Partial<SavedState> & Pick<SavedState, "permanent">): Promise<void> {
    writeFileSync(this.#permanentFile, plainFormat.encode("permanent", permanent, 1));
    if (volatile) writeFileSync(this.#volatileFile, plainFormat.encode("volatile", volatile, 1));
    await this.#request(CMD.INIT, u32(volatile ? DELETE_VOLATILE : 0));
  }

  /** _TPM_Hash_Start, _TPM_Hash_Data, _TPM_Hash_End. */
  async hash(data: Uint8Array): Promise<void> {
    await this.#request(CMD.HASH_START, Buffer.alloc(0));
    await this.#request(CMD.HASH_DATA, Buffer.concat([u32(data.length), data]));
    await this.#request(CMD.HASH_END, Buffer.alloc(0));
  }

  async #request(code: number, body: Buffer): Promise<void> {
    const response = await this.#control.exchange(Buffer.concat([u32(code), body]), () => 4);
    const result = response.readUInt32BE(0);
    if (result !== 0) throw new Error(`swtpm's control command ${code} failed: 0x${result.toString(16)}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stop();
  }
}

/** A socket on which requests and answers alternate. */
class Channel {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #wake: (() => void) | undefined;
  #closed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => {
      this.#received = Buffer.concat([this.#received, chunk]);
      this.#wake?.();
    });
    socket.on("error", () => {});
    socket.on("close", () => {
      this.#closed = true;
      this.#wake?.();
    });
  }

  /** Sends a request and waits for an answer of `size(what has arrived)` bytes. */
  async exchange(request: Uint8Array, size: (bytes: Buffer) => number): Promise<Buffer> {
    this.#received = Buffer.alloc(0);
    this.#socket.write(request);
    const late = globalThis.setTimeout(() => this.#socket.destroy(), PATIENCE_MS);
    try {
      while (this.#received.length < size(this.#received)) {
        if (this.#closed) throw new Error("swtpm closed the connection, or did not answer for a minute");
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      return this.#received;
    } finally {
      clearTimeout(late);
    }
  }

  close(): void {
    this.#socket.destroy();
  }
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
