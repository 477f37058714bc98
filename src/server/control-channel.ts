// The control channel: requests in, replies out, each in one write.
import { attempt } from "../backend/awaitable.ts";
import type { Awaitable } from "../backend/backend.ts";
import {
  CONTROL_COMMANDS,
  type ControlCommand,
  type ControlContext,
  type DataSink,
  STREAMING_COMMANDS,
  type StreamingCommand,
} from "./control-commands.ts";
import { failureResult } from "./failure-result.ts";
import { logBytes } from "./log.ts";
import { RESULT, readU32, words } from "./protocol.ts";
import type { ServedTpm } from "./served-tpm.ts";
import type { Connection, ConnectionHandler } from "./transport.ts";

export interface ControlChannelOptions {
  /** Serves a connection as the data channel and returns a result word; called while its descriptor is being delivered. */
  readonly attachData: (connection: Connection | undefined) => number;
  /** CMD_SHUTDOWN was answered. */
  readonly shutDown: () => void;
  readonly closed: () => void;
  /** How long the rest of a request may stay away, in milliseconds. Default 500, as in swtpm. */
  readonly requestTimeout?: number;
}

const DEFAULT_REQUEST_TIMEOUT = 500;
const COMMAND_SIZE = 4;
/** Requests without streamed data are far smaller; whatever came with them is cut here. */
const MAX_REQUEST = 4096;
const MAX_LOGGED_BYTES = 1024;

/** A request whose data is arriving. */
interface Stream {
  remaining: number;
  /** Undefined once the request has failed with `result`. */
  sink: DataSink | undefined;
  result: number;
}

/**
 * Serves one client of the control channel.
 *
 * The protocol has no length prefix: how long a request is follows from its command, and clients send the next one only after the
 * reply. What came together with a complete request is therefore thrown away. A request that stays incomplete is answered with
 * BAD_PARAMETER (swtpm closes the connection instead).
 */
export class ControlChannel implements ConnectionHandler {
  readonly #tpm: ServedTpm;
  readonly #connection: Connection;
  readonly #options: ControlChannelOptions;
  readonly #context: ControlContext;
  #request: Uint8Array = new Uint8Array(0);
  #stream: Stream | undefined;
  #timer: NodeJS.Timeout | undefined;
  #busy = false;
  #ended = false;
  #shutDown = false;
  /** The descriptor that came with the request being served. */
  #descriptor: Connection | undefined;

  constructor(tpm: ServedTpm, connection: Connection, options: ControlChannelOptions) {
    this.#tpm = tpm;
    this.#connection = connection;
    this.#options = options;
    this.#context = {
      tpm,
      attachData: () => {
        const descriptor = this.#descriptor;
        this.#descriptor = undefined;
        return options.attachData(descriptor);
      },
      shutDown: () => {
        this.#shutDown = true;
      },
    };
    connection.open(this);
  }

  data(bytes: Uint8Array): void {
    const descriptor = this.#connection.takeDescriptor();
    if (descriptor) {
      this.#descriptor?.close();
      this.#descriptor = descriptor;
    }
    if (this.#stream) this.#continue(this.#stream, bytes);
    else this.#assemble(bytes);
    this.#watch();
  }

  end(): void {
    this.#ended = true;
    if (!this.#busy) this.#connection.close();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#ended = true;
    this.#descriptor?.close();
    this.#options.closed();
  }

  /** Adds what came to the request, and serves it when it is whole. */
  #assemble(bytes: Uint8Array): void {
    const request = this.#request.length === 0 ? bytes : joined(this.#request, bytes);
    const number = request.length < COMMAND_SIZE ? undefined : readU32(request, 0);
    if (number === undefined) {
      this.#request = request.slice();
      return;
    }
    const command = CONTROL_COMMANDS.get(number);
    const streaming = STREAMING_COMMANDS.get(number);
    const body = command?.body ?? streaming?.body ?? 0;
    if (request.length < COMMAND_SIZE + body) {
      this.#request = request.slice();
      return;
    }
    this.#request = new Uint8Array(0);
    if (this.#tpm.log.level > 1) logBytes(this.#tpm.log, " Ctrl Cmd:", request, MAX_LOGGED_BYTES);
    if (streaming)
      this.#begin(streaming, request.slice(COMMAND_SIZE, COMMAND_SIZE + body), request.subarray(COMMAND_SIZE + body));
    else if (command) this.#serve(command, request.slice(COMMAND_SIZE, MAX_REQUEST));
    else {
      this.#tpm.log.line(`Error: Unknown command: 0x${number.toString(16).padStart(8, "0")}`);
      this.#reply(words(RESULT.BAD_ORDINAL));
    }
  }

  #serve(command: ControlCommand, body: Uint8Array): void {
    const work = (): Awaitable<Uint8Array> => {
      if (command.running !== undefined && command.running !== this.#tpm.backend.running)
        return words(RESULT.BAD_ORDINAL);
      if (command.exact && body.length !== command.body) return words(RESULT.BAD_PARAMETER);
      return command.run(this.#context, body);
    };
    this.#answer(
      attempt<Uint8Array>(
        () => (command.immediate ? work() : this.#tpm.exclusively(work)),
        (error) => this.#failure(command.name, error),
      ),
    );
  }

  /** The head of a request with data is there, and perhaps some of the data. */
  #begin(command: StreamingCommand, body: Uint8Array, data: Uint8Array): void {
    const length = readU32(body, body.length - 4);
    const stream: Stream = { remaining: length, sink: undefined, result: RESULT.SUCCESS };
    if (command.running !== this.#tpm.backend.running) stream.result = RESULT.BAD_ORDINAL;
    else if (data.length > length) {
      this.#reply(words(RESULT.BAD_PARAMETER));
      return;
    }
    this.#stream = stream;
    const started = stream.result
      ? stream.result
      : attempt(() => command.begin(this.#context, body, length), failureResult);
    // While the command begins (it may wait for a lock) nothing more is read, so the data stays what it is.
    this.#whileBusy(started, (sink) => {
      if (typeof sink === "number") stream.result = sink;
      else stream.sink = sink;
      this.#continue(stream, data);
    });
  }

  /** More data of the request that is being streamed; what exceeds it is thrown away. */
  #continue(stream: Stream, data: Uint8Array): void {
    const piece = data.subarray(0, stream.remaining);
    stream.remaining -= piece.length;
    const { sink } = stream;
    const written =
      sink && piece.length > 0
        ? attempt<void>(
            () => sink.write(piece),
            (error) => this.#fail(stream, error),
          )
        : undefined;
    this.#whileBusy(written, () => {
      if (stream.remaining > 0) return;
      this.#stream = undefined;
      if (stream.sink)
        this.#answer(attempt<Uint8Array>(stream.sink.end, (error) => this.#failure("SET_STATEBLOB", error)));
      else this.#reply(words(stream.result));
    });
  }

  #fail(stream: Stream, error: unknown): void {
    stream.sink = undefined;
    stream.result = failureResult(error);
  }

  /** Bounds the wait for the rest of a request. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#busy || (this.#request.length === 0 && !this.#stream)) return;
    this.#timer = setTimeout(() => {
      const result = this.#stream?.result || RESULT.BAD_PARAMETER;
      this.#request = new Uint8Array(0);
      this.#stream = undefined;
      this.#reply(words(result));
    }, this.#options.requestTimeout ?? DEFAULT_REQUEST_TIMEOUT);
  }

  #answer(reply: Awaitable<Uint8Array>): void {
    this.#whileBusy(reply, (bytes) => this.#reply(bytes));
  }

  /** Goes on when the value is there; until then nothing is read. */
  #whileBusy<T>(value: Awaitable<T>, next: (value: T) => void): void {
    if (!(value instanceof Promise)) {
      next(value);
      return;
    }
    this.#busy = true;
    this.#connection.pause();
    value.then((result) => {
      this.#busy = false;
      next(result);
      if (this.#busy) return;
      this.#watch();
      if (this.#ended) this.#connection.close();
      else this.#connection.resume();
    });
  }

  #failure(name: string, error: unknown): Uint8Array {
    this.#tpm.log.line(`Error: ${name}: ${(error as Error)?.message ?? error}`);
    return words(failureResult(error));
  }

  #reply(bytes: Uint8Array): void {
    if (this.#tpm.log.level > 1) logBytes(this.#tpm.log, " Ctrl Rsp:", bytes, MAX_LOGGED_BYTES);
    // A descriptor that no command took is closed.
    this.#descriptor?.close();
    this.#descriptor = undefined;
    this.#connection.write(bytes);
    if (this.#shutDown) this.#options.shutDown();
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  const out = new Uint8Array(first.length + second.length);
  out.set(first);
  out.set(second, first.length);
  return out;
}
