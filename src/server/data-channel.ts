// The data channel: TPM commands in, responses out, one at a time.
import { Buffer } from "node:buffer";
import * as P from "./protocol.ts";
import type { ServedTpm } from "./served-tpm.ts";
import type { Connection, ConnectionHandler } from "./transport.ts";

export interface DataChannelOptions {
  /** The largest command in bytes; larger ones are answered with TPM_RC_COMMAND_SIZE. */
  readonly maxCommandSize: number;
  /** Close the connection after every response. */
  readonly disconnect?: boolean;
  /** How long the rest of a command may stay away before what is there is taken for all of it, in milliseconds. Default 2000. */
  readonly assemblyTimeout?: number;
  /** How long after the last byte of an oversized command the answer is sent, in milliseconds. Default 100. */
  readonly oversizeTimeout?: number;
  readonly closed: () => void;
}

const DEFAULT_ASSEMBLY_TIMEOUT = 2000;
const DEFAULT_OVERSIZE_TIMEOUT = 100;

/**
 * Serves one client of the data channel.
 *
 * A command is as long as its size field says, however it arrives; swtpm takes what one read() gave it. Before it there may be, for
 * TPM 2.0, the TCG's prefix u32 8, u8 locality, u32 size; the response then comes as u32 size, response, u32 0. What cannot be
 * a command gets the answer that swtpm's engine gives, and the channel starts afresh with the next byte that comes.
 */
export class DataChannel implements ConnectionHandler {
  readonly #tpm: ServedTpm;
  readonly #connection: Connection;
  readonly #options: DataChannelOptions;
  readonly #prefixed: boolean;
  /** A command that did not arrive in one piece, and how much of it is there. */
  readonly #partial: Uint8Array;
  #filled = 0;
  /** Bytes of an oversized command that are still to be thrown away; 0 when none is under way. */
  #oversize = 0;
  #timer: NodeJS.Timeout | undefined;
  /** A response is awaited; the connection is paused. */
  #busy = false;
  #ended = false;
  /** Data that came after a command which has no response yet. */
  #rest: Uint8Array | undefined;

  constructor(tpm: ServedTpm, connection: Connection, options: DataChannelOptions) {
    this.#tpm = tpm;
    this.#connection = connection;
    this.#options = options;
    this.#prefixed = tpm.backend.family === "2.0";
    this.#partial = new Uint8Array(options.maxCommandSize + P.SEND_COMMAND_PREFIX_SIZE);
    connection.open(this);
  }

  data(bytes: Uint8Array): void {
    // The way nearly every command takes: alone and whole.
    if (this.#filled === 0 && this.#oversize === 0 && this.#sizeAt(bytes, bytes.length) === bytes.length)
      this.#run(bytes);
    else this.#assemble(bytes);
  }

  end(): void {
    this.#ended = true;
    if (!this.#busy) this.#connection.close();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#ended = true;
    this.#options.closed();
  }

  /**
   * The size of the frame (prefix and command) that starts the bytes: 0 when they are too few to tell, Infinity when the frame is
   * too large, -1 when its header cannot be one.
   */
  #sizeAt(bytes: Uint8Array, available: number): number {
    if (available < P.HEADER_SIZE) return 0;
    const prefixed = this.#isPrefixed(bytes);
    const size = prefixed ? P.readU32(bytes, 5) : P.readU32(bytes, 2);
    if (size > this.#options.maxCommandSize) return Number.POSITIVE_INFINITY;
    if (size < P.HEADER_SIZE) return -1;
    return prefixed ? size + P.SEND_COMMAND_PREFIX_SIZE : size;
  }

  #isPrefixed(bytes: Uint8Array): boolean {
    return this.#prefixed && bytes[3] === P.SEND_COMMAND && P.readU32(bytes, 0) === P.SEND_COMMAND;
  }

  #assemble(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#busy) {
        this.#rest = this.#rest ? Buffer.concat([this.#rest, bytes.subarray(at)]) : bytes.slice(at);
        return;
      }
      if (this.#oversize > 0) {
        at += this.#discard(bytes.length - at);
        continue;
      }
      const taken = this.#fill(bytes, at);
      at += taken;
      const size = this.#sizeAt(this.#partial, this.#filled);
      if (size === Number.POSITIVE_INFINITY) {
        this.#startDiscarding();
      } else if (size < 0) {
        // The TPM says that the size is wrong; what came together with such a header is no command either.
        this.#runFilled();
        at = bytes.length;
      } else if (size > 0 && this.#filled >= size) {
        this.#runFilled();
      }
    }
    this.#watch();
  }

  /** Adds to the partial command what belongs to it: its header first, then as much as that says. Returns how much that was. */
  #fill(bytes: Uint8Array, at: number): number {
    const known = this.#sizeAt(this.#partial, this.#filled);
    const piece = bytes.subarray(at, at + (known || P.HEADER_SIZE) - this.#filled);
    this.#partial.set(piece, this.#filled);
    this.#filled += piece.length;
    return piece.length;
  }

  #startDiscarding(): void {
    const prefixed = this.#isPrefixed(this.#partial);
    const size = prefixed ? P.readU32(this.#partial, 5) + P.SEND_COMMAND_PREFIX_SIZE : P.readU32(this.#partial, 2);
    this.#oversize = size - this.#filled;
  }

  #discard(available: number): number {
    const taken = Math.min(this.#oversize, available);
    this.#oversize -= taken;
    if (this.#oversize === 0) this.#answerOversize();
    return taken;
  }

  #answerOversize(): void {
    const prefixed = this.#isPrefixed(this.#partial);
    this.#oversize = 0;
    this.#filled = 0;
    this.#tpm.log.line(`The data client sent a command of more than ${this.#options.maxCommandSize} bytes`);
    this.#send(this.#tpm.sizeError(), prefixed);
  }

  /** Bounds the wait for the rest of a command; the sender may be waiting for an answer to what it takes for a whole one. */
  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#oversize > 0) {
      this.#timer = setTimeout(() => this.#answerOversize(), this.#options.oversizeTimeout ?? DEFAULT_OVERSIZE_TIMEOUT);
    } else if (this.#filled > 0) {
      this.#timer = setTimeout(() => this.#runFilled(), this.#options.assemblyTimeout ?? DEFAULT_ASSEMBLY_TIMEOUT);
    }
  }

  /** Runs what was assembled, whole or not. */
  #runFilled(): void {
    const size = this.#filled;
    this.#filled = 0;
    this.#run(this.#partial.subarray(0, size));
  }

  /** Runs one frame. It stays untouched until the response is there, because the connection is paused until then. */
  #run(frame: Uint8Array): void {
    const prefixed = this.#isPrefixed(frame) && frame.length >= P.SEND_COMMAND_PREFIX_SIZE;
    const locality = prefixed ? frame[4]! : this.#tpm.locality;
    const command = prefixed ? frame.subarray(P.SEND_COMMAND_PREFIX_SIZE) : frame;
    if (prefixed && !this.#tpm.localityAllowed(locality)) {
      this.#send(this.#tpm.localityError(), prefixed);
      return;
    }
    const response = this.#tpm.execute(command, locality);
    if (!(response instanceof Promise)) {
      this.#send(response, prefixed);
      return;
    }
    this.#busy = true;
    this.#connection.pause();
    response.then((bytes) => this.#finish(bytes, prefixed));
  }

  #finish(response: Uint8Array, prefixed: boolean): void {
    this.#busy = false;
    this.#send(response, prefixed);
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest) this.#assemble(rest);
    if (this.#busy) return;
    if (this.#ended) this.#connection.close();
    else this.#connection.resume();
  }

  #send(response: Uint8Array, prefixed: boolean): void {
    if (prefixed) {
      const framed = new Uint8Array(response.length + 8);
      P.writeU32(framed, 0, response.length);
      framed.set(response, 4);
      this.#connection.write(framed);
    } else {
      this.#connection.write(response);
    }
    if (this.#options.disconnect) this.#connection.close();
  }
}
