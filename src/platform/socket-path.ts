// Paths of UNIX sockets that are longer than a socket's address can be.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import path from "node:path";
import { MAX_SOCKET_PATH } from "./node-transport.ts";

/** A path by which this process reaches a socket; it stays good until `release`. */
export interface SocketPath {
  readonly path: string;
  release(): void;
}

/**
 * A path short enough for `listen` and `connect`: the given one, the relative one, or, on Linux, one through a descriptor of the folder.
 *
 * @returns undefined when there is none.
 */
export function shortSocketPath(wanted: string): SocketPath | undefined {
  for (const candidate of [wanted, path.relative(process.cwd(), wanted)])
    if (Buffer.byteLength(candidate) <= MAX_SOCKET_PATH) return { path: candidate, release: () => {} };
  if (process.platform !== "linux") return undefined;
  let fd: number;
  try {
    fd = fs.openSync(path.dirname(wanted), fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
  } catch {
    return undefined;
  }
  const short = `/proc/self/fd/${fd}/${path.basename(wanted)}`;
  if (Buffer.byteLength(short) <= MAX_SOCKET_PATH) return { path: short, release: () => fs.closeSync(fd) };
  fs.closeSync(fd);
  return undefined;
}
