// The management channel's protocol: a request is a line of JSON, and so is its reply.
//
//   {"command": "snapshot-create", "name": "installed"}
//   {"ok": true, "snapshot": {"name": "installed", …}}
//   {"ok": false, "kind": "exists", "message": "there is a snapshot 'installed' already"}
//
// Requests of one client are answered in their order.
import { attempt } from "../backend/awaitable.ts";
import { type Awaitable, BackendError } from "../backend/backend.ts";
import { SnapshotError } from "../state/snapshot/record.ts";
import { StateError } from "../state/store.ts";
import type { Connection, ConnectionHandler } from "./transport.ts";

/** The members of a request, but for "command". */
export type ManagementArguments = Readonly<Record<string, string | number | boolean | undefined>>;
/** What a reply says beside "ok". */
export type ManagementResult = Readonly<Record<string, unknown>>;

/** What a member of a request is; a number is a whole one, from 0. */
export type MemberType = "string" | "number" | "boolean";

/** A command: what its members are, and what it does. What it throws becomes the reply's kind and message. */
export interface ManagementCommand {
  readonly members: Readonly<Record<string, MemberType>>;
  run(values: ManagementArguments): Awaitable<ManagementResult>;
}

/** A failure as a reply says it. */
export interface ManagementFailure {
  readonly ok: false;
  /** The kind of a SnapshotError, StateError or BackendError; "request" for what is no request; "internal". */
  readonly kind: string;
  readonly message: string;
}

/** Requests, with their end, are not longer than this: in bytes. */
export const MAX_REQUEST = 16 * 1024;
/** How long a client may be silent, in milliseconds. */
const SILENCE_LIMIT = 60_000;
const LINE_END = 0x0a;

/** Serves one client. */
export class ManagementChannel implements ConnectionHandler {
  readonly #connection: Connection;
  readonly #commands: ReadonlyMap<string, ManagementCommand>;
  readonly #closed: () => void;
  #received: Uint8Array = new Uint8Array(0);
  #timer: NodeJS.Timeout | undefined;
  #busy = false;
  #ended = false;

  constructor(connection: Connection, commands: ReadonlyMap<string, ManagementCommand>, closed: () => void) {
    this.#connection = connection;
    this.#commands = commands;
    this.#closed = closed;
    this.#watch();
    connection.open(this);
  }

  data(bytes: Uint8Array): void {
    const joined = new Uint8Array(this.#received.length + bytes.length);
    joined.set(this.#received);
    joined.set(bytes, this.#received.length);
    this.#received = joined;
    this.#next();
  }

  end(): void {
    this.#ended = true;
    if (!this.#busy) this.#connection.close();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#closed();
  }

  /** Closes the connection when what was asked is answered. */
  finish(): void {
    this.end();
  }

  /** Serves the request that is there, if one is whole. */
  #next(): void {
    this.#watch();
    if (this.#busy) return;
    const end = this.#received.indexOf(LINE_END);
    if (end >= MAX_REQUEST || (end < 0 && this.#received.length >= MAX_REQUEST)) {
      this.#reply({ ok: false, kind: "request", message: `a request has at most ${MAX_REQUEST} bytes` });
      this.#connection.close();
      return;
    }
    if (end < 0) {
      if (this.#ended) this.#connection.close();
      else this.#connection.resume();
      return;
    }
    const line = this.#received.subarray(0, end);
    this.#received = this.#received.slice(end + 1);
    this.#busy = true;
    this.#connection.pause();
    void this.#serve(line).then((reply) => {
      this.#reply(reply);
      this.#busy = false;
      this.#next();
    });
  }

  async #serve(line: Uint8Array): Promise<object> {
    return attempt<object>(
      async () => {
        const { command, values } = parseRequest(line, this.#commands);
        return { ok: true, ...(await command.run(values)) };
      },
      (error) => failureOf(error),
    );
  }

  #reply(reply: object): void {
    this.#connection.write(new TextEncoder().encode(`${JSON.stringify(reply)}\n`));
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#connection.close(), SILENCE_LIMIT);
    this.#timer.unref();
  }
}

class RequestError extends Error {}

function parseRequest(
  line: Uint8Array,
  commands: ReadonlyMap<string, ManagementCommand>,
): { command: ManagementCommand; values: ManagementArguments } {
  let request: unknown;
  try {
    request = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(line));
  } catch {
    throw new RequestError("a request is a line of JSON in UTF-8");
  }
  if (typeof request !== "object" || request === null || Array.isArray(request))
    throw new RequestError("a request is an object");
  const { command: name, ...values } = request as Record<string, unknown>;
  const command = typeof name === "string" ? commands.get(name) : undefined;
  if (!command) throw new RequestError(`the commands are ${[...commands.keys()].join(", ")}`);
  for (const [member, value] of Object.entries(values)) {
    const type = Object.hasOwn(command.members, member) ? command.members[member] : undefined;
    if (type === undefined) throw new RequestError(`${name} has no such member as one that was given`);
    if (typeof value !== type || (type === "number" && !(Number.isSafeInteger(value) && (value as number) >= 0)))
      throw new RequestError(`the member ${member} of ${name} is a ${type}`);
  }
  return { command, values: values as ManagementArguments };
}

function failureOf(error: unknown): ManagementFailure {
  const known = error instanceof SnapshotError || error instanceof StateError || error instanceof BackendError;
  const kind = known ? error.kind : error instanceof RequestError ? "request" : "internal";
  return { ok: false, kind, message: (error as Error).message };
}
