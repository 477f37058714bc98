// A TPM 2.0 client of a few lines: command bytes built by hand, sent over swtpm's data and control channels. It shares no
// code with the project, so what it finds out about an emulator is found out independently.
import { Buffer } from "node:buffer";
import { connect, type Socket } from "node:net";
import { PATIENCE_MS } from "./process.ts";

/** Part 2, 6.3, 6.5.2, 6.6.3, 6.9, 7.4, 13.4. */
export const TPM = {
  ST_NO_SESSIONS: 0x8001,
  ST_SESSIONS: 0x8002,
  ALG_SHA1: 0x0004,
  ALG_SHA256: 0x000b,
  ALG_SHA384: 0x000c,
  ALG_SHA512: 0x000d,
  SU_CLEAR: 0x0000,
  SU_STATE: 0x0001,
  RC_SUCCESS: 0x000,
  RC_INITIALIZE: 0x100,
  RC_FAILURE: 0x101,
  RC_COMMAND_SIZE: 0x142,
  RC_COMMAND_CODE: 0x143,
  RC_NV_DEFINED: 0x14c,
  RC_NV_UNINITIALIZED: 0x14a,
  RH_OWNER: 0x40000001,
  RS_PW: 0x40000009,
  CC_NV_UndefineSpace: 0x122,
  CC_NV_DefineSpace: 0x12a,
  CC_NV_Write: 0x137,
  CC_Startup: 0x144,
  CC_Shutdown: 0x145,
  CC_NV_Read: 0x14e,
  CC_GetCapability: 0x17a,
  CC_GetRandom: 0x17b,
  CC_PCR_Read: 0x17e,
  CC_PCR_Extend: 0x182,
  NV_AUTHWRITE: 0x00000004,
  NV_AUTHREAD: 0x00040000,
  NV_NO_DA: 0x02000000,
} as const;

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A TPM2B: its size and its bytes. */
export function sized(bytes: Uint8Array): Buffer {
  return Buffer.concat([u16(bytes.length), bytes]);
}

/** A command; `passwords` are the authorisations of its first handles (empty ones as empty strings). */
export function command(
  code: number,
  parts: { handles?: readonly number[]; passwords?: readonly string[]; parameters?: Uint8Array } = {},
): Buffer {
  const { handles = [], passwords = [], parameters = new Uint8Array() } = parts;
  const sessions = passwords.map((text) =>
    Buffer.concat([u32(TPM.RS_PW), u16(0), Buffer.from([0]), sized(Buffer.from(text))]),
  );
  const area = Buffer.concat(sessions);
  const body = Buffer.concat([...handles.map(u32), ...(sessions.length ? [u32(area.length), area] : []), parameters]);
  return Buffer.concat([
    u16(sessions.length ? TPM.ST_SESSIONS : TPM.ST_NO_SESSIONS),
    u32(10 + body.length),
    u32(code),
    body,
  ]);
}

export const startup = (type: number) => command(TPM.CC_Startup, { parameters: u16(type) });
export const shutdown = (type: number) => command(TPM.CC_Shutdown, { parameters: u16(type) });
export const getRandom = (size: number) => command(TPM.CC_GetRandom, { parameters: u16(size) });

/** TPM2_PCR_Read of one PCR in one bank. */
export function pcrRead(algorithm: number, pcr: number): Buffer {
  const select = Buffer.alloc(3);
  select[pcr >> 3] = 1 << (pcr & 7);
  return command(TPM.CC_PCR_Read, { parameters: Buffer.concat([u32(1), u16(algorithm), Buffer.from([3]), select]) });
}

export function pcrExtend(algorithm: number, pcr: number, digest: Uint8Array): Buffer {
  const parameters = Buffer.concat([u32(1), u16(algorithm), digest]);
  return command(TPM.CC_PCR_Extend, { handles: [pcr], passwords: [""], parameters });
}

/** TPM2_NV_DefineSpace by the owner: an ordinary index, read and written with its own (empty) authorisation. */
export function nvDefineSpace(index: number, size: number): Buffer {
  const attributes = u32(TPM.NV_AUTHWRITE | TPM.NV_AUTHREAD | TPM.NV_NO_DA);
  const nvPublic = Buffer.concat([u32(index), u16(TPM.ALG_SHA256), attributes, sized(new Uint8Array()), u16(size)]);
  const parameters = Buffer.concat([sized(new Uint8Array()), sized(nvPublic)]);
  return command(TPM.CC_NV_DefineSpace, { handles: [TPM.RH_OWNER], passwords: [""], parameters });
}

export function nvUndefineSpace(index: number): Buffer {
  return command(TPM.CC_NV_UndefineSpace, { handles: [TPM.RH_OWNER, index], passwords: [""] });
}

export function nvWrite(index: number, data: Uint8Array, offset = 0): Buffer {
  const parameters = Buffer.concat([sized(data), u16(offset)]);
  return command(TPM.CC_NV_Write, { handles: [index, index], passwords: [""], parameters });
}

export function nvRead(index: number, size: number, offset = 0): Buffer {
  const parameters = Buffer.concat([u16(size), u16(offset)]);
  return command(TPM.CC_NV_Read, { handles: [index, index], passwords: [""], parameters });
}

export interface Response {
  readonly tag: number;
  readonly code: number;
  /** What follows the header: parameters, or with sessions parameterSize, parameters and the authorisation area. */
  readonly body: Buffer;
}

export function parseResponse(bytes: Uint8Array): Response {
  const response = Buffer.from(bytes);
  if (response.length < 10 || response.readUInt32BE(2) !== response.length) {
    throw new Error(`not a TPM response: ${response.toString("hex")}`);
  }
  return { tag: response.readUInt16BE(0), code: response.readUInt32BE(6), body: response.subarray(10) };
}

/** The parameters of a successful response. @throws Error when the TPM refused */
export function parametersOf(bytes: Uint8Array): Buffer {
  const { tag, code, body } = parseResponse(bytes);
  if (code !== TPM.RC_SUCCESS) throw new Error(`the TPM refused with 0x${code.toString(16)}`);
  return tag === TPM.ST_SESSIONS ? body.subarray(4, 4 + body.readUInt32BE(0)) : body;
}

/** The digest of a successful TPM2_PCR_Read of one PCR. */
export function digestOf(pcrReadResponse: Uint8Array): string {
  const parameters = parametersOf(pcrReadResponse);
  // pcrUpdateCounter, TPML_PCR_SELECTION of one, TPML_DIGEST of one.
  const size = parameters.readUInt16BE(18);
  return parameters.subarray(20, 20 + size).toString("hex");
}

/** The data of a successful TPM2_NV_Read. */
export function nvData(nvReadResponse: Uint8Array): Buffer {
  const parameters = parametersOf(nvReadResponse);
  return parameters.subarray(2, 2 + parameters.readUInt16BE(0));
}

/** A connection on which requests are answered in order. */
class Connection {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #failure: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#wake?.();
    });
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the emulator closed the connection")));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  /** The next message, whose length `size` tells once it can; rejects when the connection ends or after a minute. */
  async read(size: (received: Buffer) => number | undefined): Promise<Buffer> {
    let late: NodeJS.Timeout | undefined;
    try {
      late = setTimeout(() => this.#fail(new Error(`no answer in ${PATIENCE_MS} ms`)), PATIENCE_MS);
      for (;;) {
        const wanted = size(this.#received);
        if (wanted !== undefined && this.#received.length >= wanted) {
          const message = this.#received.subarray(0, wanted);
          this.#received = this.#received.subarray(wanted);
          return message;
        }
        if (this.#failure) throw this.#failure;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(late);
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

function open(path: string): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new Connection(socket));
    });
  });
}

/** A client of the data channel. */
export class TpmClient {
  readonly #connection: Connection;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  static async connect(path: string): Promise<TpmClient> {
    return new TpmClient(await open(path));
  }

  /** Sends a command and waits for its whole response. Rejects when the connection ends before. */
  execute(bytes: Uint8Array): Promise<Buffer> {
    this.#connection.write(bytes);
    return this.#connection.read((received) => (received.length >= 10 ? received.readUInt32BE(2) : undefined));
  }

  close(): void {
    this.#connection.close();
  }
}

/** swtpm's control commands that tests use. */
export const CMD = { INIT: 0x02, SHUTDOWN: 0x03, STORE_VOLATILE: 0x0a, STOP: 0x0e } as const;

/** Sends one control command on a connection of its own and returns the result word. */
export async function control(path: string, code: number, body: Uint8Array = new Uint8Array()): Promise<number> {
  const connection = await open(path);
  try {
    connection.write(Buffer.concat([u32(code), body]));
    return (await connection.read(() => 4)).readUInt32BE(0);
  } finally {
    connection.close();
  }
}
