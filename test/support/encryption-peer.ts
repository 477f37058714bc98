// A TPM with a state folder and keys behind swtpm's two channels, in this project's server or in Debian's swtpm.
import { Buffer } from "node:buffer";
import { existsSync, mkdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import path from "node:path";
import { expect } from "vitest";
import { CMD } from "../../src/server/protocol.ts";
import { emulatorWords, listeningSockets } from "./emulator.ts";
import { type Exit, type Program, start, until } from "./process.ts";
import { nvData, nvDefineSpace, nvRead, nvWrite, pcrExtend, pcrRead, startup, TPM } from "./tpm-client.ts";

export type Kind = "wtpm" | "swtpm";

const INDEX = 0x0180_0002;
const SECRET = Buffer.from("moved with the machine");
const BLOB_TYPES = [1, 2, 3] as const;

/** PTM_STATE_FLAG_DECRYPTED and PTM_STATE_FLAG_ENCRYPTED. */
export const DECRYPTED = 1;
export const ENCRYPTED = 2;

export interface Blob {
  readonly type: number;
  readonly flags: number;
  readonly bytes: Buffer;
}

/** `sh` that opens descriptors before it becomes the program: "5<key". */
function launch(kind: Kind, words: readonly string[], cwd: string, redirections: string): Program {
  const program = kind === "swtpm" ? ["swtpm"] : emulatorWords();
  return start("sh", ["-c", `exec "$@" ${redirections}`, "sh", ...program, "socket", ...words], { cwd });
}

export interface PeerOptions {
  /** Where relative paths of keys are. */
  readonly cwd: string;
  /** The folder in it that holds the state. */
  readonly state: string;
  /** Further words of the command line. */
  readonly words?: readonly string[];
  /** The shell's redirections with which the program starts. */
  readonly redirections?: string;
}

/** Starts with options that are refused, and gives what it said. */
export function refused(kind: Kind, options: PeerOptions): Promise<Exit> {
  const words = ["--tpm2", "--tpmstate", `dir=${options.state}`, ...(options.words ?? [])];
  return launch(kind, words, options.cwd, options.redirections ?? "").ended();
}

export class Peer {
  readonly kind: Kind;
  readonly program: Program;
  readonly #control: Socket;
  readonly #data: Socket;

  private constructor(kind: Kind, program: Program, control: Socket, data: Socket) {
    this.kind = kind;
    this.program = program;
    this.#control = control;
    this.#data = data;
  }

  /** Starts the program; the TPM is still off. */
  static async open(kind: Kind, options: PeerOptions): Promise<Peer> {
    mkdirSync(path.join(options.cwd, options.state), { recursive: true });
    const base = path.join(options.cwd, `${options.state}.${kind}`);
    const [control, data] = [`${base}.c`, `${base}.d`];
    const words = ["--tpm2", "--tpmstate", `dir=${options.state}`];
    words.push("--ctrl", `type=unixio,path=${control}`, "--server", `type=unixio,path=${data}`);
    const program = launch(kind, [...words, ...(options.words ?? [])], options.cwd, options.redirections ?? "");
    await until(`${kind} to listen`, () => {
      const sockets = listeningSockets();
      return (sockets.has(control) && sockets.has(data)) || program.hasExited();
    });
    if (program.hasExited()) throw new Error(`${kind} ended:\n${(await program.exited).stderr}`);
    expect(existsSync(control)).toBe(true);
    return new Peer(kind, program, await connected(control), await connected(data));
  }

  /** CMD_INIT. @returns its result */
  async init(flags = 0): Promise<number> {
    return (await this.#ask(words(CMD.INIT, flags), () => 4)).readUInt32BE();
  }

  async stop(): Promise<void> {
    expect((await this.#ask(words(CMD.STOP), () => 4)).readUInt32BE()).toBe(0);
  }

  /** CMD_GET_CONFIG. @returns the flags */
  async config(): Promise<number> {
    return (await this.#ask(words(CMD.GET_CONFIG), () => 8)).readUInt32BE(4);
  }

  /** @param flags DECRYPTED, or 0 */
  async getBlob(type: number, flags: number): Promise<Blob> {
    const reply = await this.#ask(words(CMD.GET_STATEBLOB, flags, type, 0), (bytes) =>
      bytes.length < 16 ? 16 : 16 + bytes.readUInt32BE(12),
    );
    expect([0, 0x800]).toContain(reply.readUInt32BE());
    return { type, flags: reply.readUInt32BE(4), bytes: reply.subarray(16) };
  }

  /** CMD_SET_STATEBLOB. @returns its result */
  async setBlob({ type, flags, bytes }: Blob): Promise<number> {
    const request = Buffer.concat([words(CMD.SET_STATEBLOB, flags, type, bytes.length), bytes]);
    return (await this.#ask(request, () => 4)).readUInt32BE();
  }

  async command(bytes: Uint8Array): Promise<Uint8Array> {
    const response = await ask(this.#data, bytes, (there) => (there.length < 10 ? 10 : there.readUInt32BE(2)));
    expect(response.readUInt32BE(6), `${this.kind}: ${Buffer.from(bytes).toString("hex")}`).toBe(0);
    return response;
  }

  /** Starts the TPM and puts something into its NV memory and a PCR. */
  async fill(): Promise<void> {
    expect(await this.init()).toBe(0);
    await this.command(startup(0));
    await this.command(nvDefineSpace(INDEX, SECRET.length));
    await this.command(nvWrite(INDEX, SECRET));
    await this.extend();
  }

  async extend(): Promise<void> {
    await this.command(pcrExtend(TPM.ALG_SHA256, 7, Buffer.alloc(32, 0xab)));
  }

  /** Other bytes in the NV memory, and from now on in the file. */
  async write(text: string): Promise<void> {
    await this.command(nvWrite(INDEX, Buffer.from(text.padEnd(SECRET.length))));
  }

  /** What `fill` put there. */
  async content(): Promise<{ nv: string; pcr: string }> {
    return {
      nv: nvData(Buffer.from(await this.command(nvRead(INDEX, SECRET.length)))).toString(),
      pcr: Buffer.from(await this.command(pcrRead(TPM.ALG_SHA256, 7)))
        .subarray(-32)
        .toString("hex"),
    };
  }

  /** What CMD_GET_STATEBLOB gives as QEMU asks for it. */
  async blobs(flags = DECRYPTED): Promise<Blob[]> {
    const blobs: Blob[] = [];
    for (const type of BLOB_TYPES) blobs.push(await this.getBlob(type, flags));
    return blobs.filter(({ bytes }) => bytes.length > 0);
  }

  /** Ends it with CMD_SHUTDOWN. */
  async shutdown(): Promise<void> {
    await this.#ask(words(CMD.SHUTDOWN), () => 4);
    this.#control.destroy();
    this.#data.destroy();
    await this.program.ended();
  }

  #ask(request: Uint8Array, size: (there: Buffer) => number): Promise<Buffer> {
    return ask(this.#control, request, size);
  }
}

function words(...values: number[]): Buffer {
  const out = Buffer.alloc(4 * values.length);
  for (const [i, value] of values.entries()) out.writeUInt32BE(value, 4 * i);
  return out;
}

function connected(file: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(file, () => resolve(socket));
    socket.once("error", reject);
  });
}

/** @param size how many bytes the reply has, going by those that are there */
function ask(socket: Socket, request: Uint8Array, size: (there: Buffer) => number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let there = Buffer.alloc(0);
    const gone = () => reject(new Error("the connection was closed"));
    const onData = (piece: Buffer) => {
      there = Buffer.concat([there, piece]);
      if (there.length < size(there)) return;
      socket.off("data", onData).off("close", gone);
      resolve(there);
    };
    socket.on("data", onData).on("close", gone);
    socket.write(request);
  });
}
