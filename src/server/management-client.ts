// The other side of the management socket.
import net from "node:net";
import { shortSocketPath } from "../platform/socket-path.ts";
import type { ManagementArguments } from "./management-channel.ts";

/** What the server refused or could not do; `kind` is that of its reply. */
export class ManagementError extends Error {
  readonly kind: string;
  constructor(kind: string, message: string) {
    super(message);
    this.name = "ManagementError";
    this.kind = kind;
  }
}

/** Nothing that a server says is longer: in bytes. */
const MAX_REPLY = 1024 * 1024;
const NOBODY = ["ENOENT", "ECONNREFUSED", "ENOTSOCK", "ENOTDIR"];

/**
 * Sends one request to whoever listens.
 *
 * @returns the reply's members, or undefined when nobody listens there.
 * @throws ManagementError for a refusal, and "io" when the server cannot be reached or goes before it has answered.
 */
export async function askManagement(
  path: string,
  command: string,
  values: ManagementArguments = {},
): Promise<Readonly<Record<string, unknown>> | undefined> {
  const short = shortSocketPath(path);
  if (!short) return undefined;
  try {
    const text = await exchange(short.path, `${JSON.stringify({ ...values, command })}\n`);
    if (text === undefined) return undefined;
    const { ok, ...reply } = parseReply(text);
    if (ok === true) return reply;
    throw new ManagementError(String(reply.kind), String(reply.message));
  } finally {
    short.release();
  }
}

function exchange(path: string, request: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path);
    let text = "";
    let asked = false;
    const done = (act: () => void) => {
      socket.destroy();
      act();
    };
    socket.setEncoding("utf8");
    socket.on("connect", () => {
      asked = true;
      socket.write(request);
    });
    socket.on("data", (piece) => {
      text += piece;
      const end = text.indexOf("\n");
      if (end >= 0) done(() => resolve(text.slice(0, end)));
      else if (text.length > MAX_REPLY) done(() => reject(new ManagementError("io", "the reply has no end")));
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      if (!asked && NOBODY.includes(error.code ?? "")) done(() => resolve(undefined));
      else done(() => reject(new ManagementError("io", `the process that runs the TPM: ${error.message}`)));
    });
    socket.on("close", () =>
      reject(new ManagementError("io", "the process that runs the TPM ended before it answered")),
    );
  });
}

function parseReply(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    throw new ManagementError("io", "the process that runs the TPM answered nonsense");
  }
}
