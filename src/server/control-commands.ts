// The commands of swtpm's control channel: what each needs, when it is allowed, and what it answers.
import { attempt, chain } from "../backend/awaitable.ts";
import type { Awaitable } from "../backend/backend.ts";
import * as P from "./protocol.ts";
import { CMD, RESULT } from "./protocol.ts";
import type { ServedTpm } from "./served-tpm.ts";
import { getStateBlob, setStateBlob, stateBlobConfiguration } from "./state-blobs.ts";

/** What a command can reach. */
export interface ControlContext {
  readonly tpm: ServedTpm;
  /** Takes the descriptor that came with the request as the data channel. */
  attachData(): number;
  /** CMD_SHUTDOWN was carried out: the server ends when the reply has left. */
  shutDown(): void;
}

/** A command whose whole request is there. Big-endian; the reply starts with the result word. */
export interface ControlCommand {
  readonly name: string;
  /** The least size of the body in bytes. */
  readonly body: number;
  /** More than the least size is BAD_PARAMETER; otherwise the rest is ignored (QEMU pads the locality commands). */
  readonly exact?: boolean;
  /** The TPM must be running, or stopped; else BAD_ORDINAL. */
  readonly running?: boolean;
  /** Does not wait for the TPM command that is under way. */
  readonly immediate?: boolean;
  /** The reply to a well-formed request. What it throws or rejects with is answered by `failureResult`. */
  run(context: ControlContext, body: Uint8Array): Awaitable<Uint8Array>;
}

/** A command whose body is followed by as many bytes as its last word says, which arrive when they do. */
export interface StreamingCommand {
  readonly name: string;
  readonly body: number;
  readonly running: boolean;
  /**
   * Starts a request. Every piece of the data is given to `write` once, and may not be kept; `end` answers.
   *
   * @returns a result word to refuse the request; its data is then thrown away.
   */
  begin(context: ControlContext, body: Uint8Array, length: number): Awaitable<number | DataSink>;
}

export interface DataSink {
  write(piece: Uint8Array): Awaitable<void>;
  end(): Awaitable<Uint8Array>;
}

const MAX_LOCALITY = 4;

const ok = () => P.words(RESULT.SUCCESS);
const then = (value: Awaitable<void>) => chain(value, ok);

/** Stops the TPM; like swtpm's it always is stopped afterwards as far as the client is concerned. */
function stop(tpm: ServedTpm): Awaitable<void> {
  return attempt<void>(
    () => tpm.powerOff(),
    (error) => tpm.log.line(`Error: stopping the TPM failed: ${(error as Error).message}`),
  );
}

/** The commands by number. */
export const CONTROL_COMMANDS: ReadonlyMap<number, ControlCommand> = new Map<number, ControlCommand>([
  [
    CMD.GET_CAPABILITY,
    {
      name: "GET_CAPABILITY",
      body: 0,
      immediate: true,
      run: ({ tpm }) =>
        P.words(RESULT.SUCCESS, P.CAPABILITIES | (tpm.backend.family === "2.0" ? P.CAPABILITY_SEND_COMMAND_HEADER : 0)),
    },
  ],
  [
    CMD.INIT,
    {
      name: "INIT",
      body: 4,
      exact: true,
      run: ({ tpm }, body) => then(tpm.powerOn((P.readU32(body, 0) & P.INIT_FLAG_DELETE_VOLATILE) !== 0)),
    },
  ],
  [CMD.STOP, { name: "STOP", body: 0, exact: true, run: ({ tpm }) => chain(stop(tpm), ok) }],
  [
    CMD.SHUTDOWN,
    {
      name: "SHUTDOWN",
      body: 0,
      exact: true,
      run: (context) =>
        chain(stop(context.tpm), () => {
          context.shutDown();
          return ok();
        }),
    },
  ],
  [
    CMD.GET_TPMESTABLISHED,
    {
      name: "GET_TPMESTABLISHED",
      body: 0,
      exact: true,
      running: true,
      run: ({ tpm }) => chain(tpm.backend.getEstablished(), (bit) => P.words(RESULT.SUCCESS, bit ? 0x0100_0000 : 0)),
    },
  ],
  [
    CMD.SET_LOCALITY,
    {
      name: "SET_LOCALITY",
      body: 1,
      immediate: true,
      run: ({ tpm }, body) => P.words(tpm.setLocality(body[0]!) ? RESULT.SUCCESS : RESULT.BAD_LOCALITY),
    },
  ],
  [
    CMD.HASH_START,
    { name: "HASH_START", body: 0, exact: true, running: true, run: ({ tpm }) => then(tpm.backend.hashStart()) },
  ],
  [
    CMD.HASH_END,
    { name: "HASH_END", body: 0, exact: true, running: true, run: ({ tpm }) => then(tpm.backend.hashEnd()) },
  ],
  [
    CMD.CANCEL_TPM_CMD,
    {
      name: "CANCEL_TPM_CMD",
      body: 0,
      exact: true,
      running: true,
      immediate: true,
      run: ({ tpm }) => {
        tpm.backend.cancel();
        return P.words(tpm.backend.family === "2.0" ? RESULT.SUCCESS : RESULT.FAIL);
      },
    },
  ],
  [
    CMD.STORE_VOLATILE,
    {
      name: "STORE_VOLATILE",
      body: 0,
      exact: true,
      running: true,
      run: ({ tpm }) => then(tpm.backend.storeVolatile()),
    },
  ],
  [
    CMD.RESET_TPMESTABLISHED,
    {
      name: "RESET_TPMESTABLISHED",
      body: 1,
      running: true,
      run: ({ tpm }, body) =>
        body[0]! > MAX_LOCALITY ? P.words(RESULT.BAD_LOCALITY) : then(tpm.backend.resetEstablished(body[0]!)),
    },
  ],
  [
    CMD.GET_STATEBLOB,
    { name: "GET_STATEBLOB", body: 12, running: true, run: ({ tpm }, body) => getStateBlob(tpm, body) },
  ],
  [
    CMD.GET_CONFIG,
    {
      name: "GET_CONFIG",
      body: 0,
      exact: true,
      immediate: true,
      run: ({ tpm }) => P.words(RESULT.SUCCESS, stateBlobConfiguration(tpm.keys)),
    },
  ],
  [CMD.SET_DATAFD, { name: "SET_DATAFD", body: 0, immediate: true, run: (context) => P.words(context.attachData()) }],
  [
    CMD.SET_BUFFERSIZE,
    { name: "SET_BUFFERSIZE", body: 4, run: ({ tpm }, body) => setBufferSize(tpm, P.readU32(body, 0)) },
  ],
  [CMD.GET_INFO, { name: "GET_INFO", body: 16, run: ({ tpm }, body) => getInfo(tpm, body) }],
  [
    CMD.LOCK_STORAGE,
    {
      name: "LOCK_STORAGE",
      body: 4,
      run: ({ tpm }, body) =>
        chain(tpm.lockStorage(P.readU32(body, 0)), (locked) => P.words(locked ? RESULT.SUCCESS : RESULT.FAIL)),
    },
  ],
]);

/** The commands whose data is streamed. */
export const STREAMING_COMMANDS: ReadonlyMap<number, StreamingCommand> = new Map<number, StreamingCommand>([
  [
    CMD.HASH_DATA,
    {
      name: "HASH_DATA",
      body: 4,
      running: true,
      begin: ({ tpm }) => ({
        write: (piece) => tpm.exclusively(() => tpm.backend.hashData(piece)),
        end: ok,
      }),
    },
  ],
  [
    CMD.SET_STATEBLOB,
    {
      name: "SET_STATEBLOB",
      body: 12,
      running: false,
      begin: ({ tpm }, body, length) => setStateBlob(tpm, body, length),
    },
  ],
]);

/** Reply: result, size now, least, greatest. 0 asks; setting needs a stopped TPM. */
function setBufferSize(tpm: ServedTpm, wanted: number): Awaitable<Uint8Array> {
  if (wanted > 0 && tpm.backend.running) return P.words(RESULT.BAD_ORDINAL);
  return chain(tpm.backend.bufferSize(wanted > 0 ? wanted : undefined), ({ current, min, max }) =>
    P.words(RESULT.SUCCESS, current, min, max),
  );
}

/** Body: u64 flags, u32 offset, u32 padding. Reply: result, total, length, text; the terminating NUL counts. */
function getInfo(tpm: ServedTpm, body: Uint8Array): Awaitable<Uint8Array> {
  const flags = P.readU32(body, 4);
  const offset = P.readU32(body, 8);
  return chain(tpm.backend.info(flags), (text) => {
    const whole = new TextEncoder().encode(`${text}\0`);
    if (offset >= whole.length - 1) return P.words(RESULT.BAD_PARAMETER);
    const chunk = whole.subarray(offset, offset + P.MAX_INFO_CHUNK);
    const out = new Uint8Array(12 + chunk.length);
    P.writeU32(out, 4, whole.length);
    P.writeU32(out, 8, chunk.length);
    out.set(chunk, 12);
    return out;
  });
}
