// Sockets on Node, including descriptors received over a UNIX socket (SCM_RIGHTS).
//
// Node has no public call to receive a descriptor. Its own pipe handle, in the mode that child processes use, reads with recvmsg() and keeps
// what came in `pendingHandle`: such a handle is opened on the accepted socket's descriptor. This name and `_handle` are Node's
// internals, the same in 20 to 26. What they cannot bear is a descriptor that is neither pipe nor socket (a file, a device): Node ends the
// process on that. A control client can do so by CMD_SHUTDOWN just as well, and nothing that was stored is lost.
//
// The same `_handle` gives a socket that reads into one buffer for its whole life instead of a new one for every read. Deno and Bun have
// something of that name that can do neither: there the socket is used as it is.
import { Buffer } from "node:buffer";
import fs from "node:fs";
import net from "node:net";
import { dirname } from "node:path";
import type { Connection, ConnectionHandler, Endpoint, Listener, Transport } from "../server/transport.ts";
import { adoptsSockets, isNode, runtimeName } from "./runtime.ts";

/** The parts of Node's stream handles (TCP and Pipe) used here. */
interface StreamHandle {
  readonly fd: number;
  /** Missing on what is no stream. */
  readStart?(): number;
  close(callback?: () => void): void;
}
interface IpcHandle extends StreamHandle {
  open(fd: number): number | undefined;
  /** What came with the bytes being delivered. */
  pendingHandle: StreamHandle | null;
}
type PipeClass = new (kind: number) => IpcHandle;
type SocketWithHandle = net.Socket & { _handle?: StreamHandle | null };

/** Nothing is read before the connection is opened; the peer may end its side and still get an answer. */
const SOCKET_OPTIONS = { allowHalfOpen: true, pauseOnCreate: true };
const PIPE_KIND_IPC = 2;
const READ_BUFFER_SIZE = 16 * 1024;
const BACKLOG = 16;
/** V8 keeps the bytes of typed arrays up to this size with the object; a stream has them moved out, which costs more than a copy. */
const ON_HEAP_SIZE = 64;
const DEFAULT_SOCKET_MODE = 0o770;
/** sun_path without its terminating zero. */
export const MAX_SOCKET_PATH = process.platform === "linux" ? 107 : 103;

export const nodeTransport: Transport = {
  ...(isNode ? {} : { withoutDescriptors: `${runtimeName} cannot receive descriptors; Node can` }),

  async listen(endpoint, accept, options = {}) {
    const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true }, (socket) =>
      accept(options.receiveDescriptors ? receivingConnection(socket) : plainConnection(socket)),
    );
    if (endpoint.type === "unix") return listenUnix(server, endpoint);
    if (endpoint.type === "listening-fd")
      await listening(server, { fd: endpoint.fd }, `cannot listen on descriptor ${endpoint.fd}`);
    else await listenTcp(server, endpoint);
    return listenerOf(server);
  },

  adopt(fd, options = {}) {
    if (!adoptsSockets) throw new Error(`${runtimeName} cannot use the inherited descriptor ${fd}; Node and Deno can`);
    const socket = new net.Socket({ fd, ...SOCKET_OPTIONS });
    return options.receiveDescriptors ? receivingConnection(socket) : plainConnection(socket);
  },
};

async function listenUnix(server: net.Server, endpoint: Endpoint & { type: "unix" }): Promise<Listener> {
  const { path, mode = DEFAULT_SOCKET_MODE, uid, gid } = endpoint;
  const size = Buffer.byteLength(path);
  if (size > MAX_SOCKET_PATH) {
    throw new Error(
      `Path for UnixIO socket is too long: ${size} bytes, at most ${MAX_SOCKET_PATH} are possible. ` +
        `Give a shorter path, or one relative to the directory in which the command is started: ${path}`,
    );
  }
  // The runtime would say that permission is denied.
  if (!fs.existsSync(dirname(path)))
    throw new Error(`Could not open UnixIO socket: No such file or directory: ${path}`);
  if (fs.lstatSync(path, { throwIfNoEntry: false })?.isSocket()) fs.unlinkSync(path);
  // The socket must not be open to others for even a moment, so it is made with the wanted bits; bind happens within the call.
  const umask = process.umask(0o777 & ~mode);
  const bound = listening(server, { path, backlog: BACKLOG }, "Could not open UnixIO socket");
  process.umask(umask);
  await bound;
  if (uid !== undefined || gid !== undefined) {
    try {
      fs.chownSync(path, uid ?? -1, gid ?? -1);
    } catch (error) {
      server.close();
      throw new Error(`Could not change ownership of UnixIO socket: ${(error as Error).message}`, { cause: error });
    }
  }
  return listenerOf(server);
}

async function listenTcp(server: net.Server, endpoint: Endpoint & { type: "tcp" }): Promise<void> {
  const host = endpoint.scope ? `${endpoint.host}%${endpoint.scope}` : endpoint.host;
  await listening(server, { port: endpoint.port, host, backlog: BACKLOG }, "Could not open TCP socket");
}

function listening(server: net.Server, options: net.ListenOptions & { fd?: number }, failure: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => reject(new Error(`${failure}: ${error.message}`, { cause: error })));
    server.listen(options, resolve);
  });
}

function listenerOf(server: net.Server): Listener {
  const address = server.address();
  return {
    port: address && typeof address === "object" ? address.port : undefined,
    close: () => void server.close(),
  };
}

/** A connection over an accepted socket, read into one buffer if its handle can be had. */
function plainConnection(socket: SocketWithHandle): SocketConnection {
  const handle = isNode && socket._handle;
  if (!handle) return new SocketConnection(socket);
  socket._handle = null;
  return connectionOf(handle);
}

function connectionOf(handle: StreamHandle): SocketConnection {
  let connection: SocketConnection | undefined;
  const onread = {
    buffer: new Uint8Array(READ_BUFFER_SIZE),
    callback: (size: number, buffer: Uint8Array) => {
      connection!.received(buffer.subarray(0, size));
      return true;
    },
  };
  const socket = new net.Socket({ handle, onread, ...SOCKET_OPTIONS } as unknown as net.SocketConstructorOpts);
  connection = new SocketConnection(socket);
  return connection;
}

/** A connection over an accepted UNIX socket that takes descriptors. */
function receivingConnection(socket: SocketWithHandle): SocketConnection {
  const accepted = isNode && socket._handle;
  if (!accepted) return new SocketConnection(socket);
  socket._handle = null;
  const Pipe = accepted.constructor as unknown as PipeClass;
  const ipc = new Pipe(PIPE_KIND_IPC);
  ipc.open(accepted.fd);
  // Two handles share one descriptor, and both must go or one of them is never freed. Nothing runs between the two.
  ipc.close = (callback) => {
    Pipe.prototype.close.call(ipc, callback);
    accepted.close();
  };
  return new SocketConnection(
    new net.Socket({ handle: ipc, ...SOCKET_OPTIONS } as unknown as net.SocketConstructorOpts),
    ipc,
  );
}

class SocketConnection implements Connection {
  readonly #socket: net.Socket;
  readonly #ipc: IpcHandle | undefined;
  #handler: ConnectionHandler | undefined;
  #paused = false;
  #draining = false;

  constructor(socket: net.Socket, ipc?: IpcHandle) {
    this.#socket = socket;
    this.#ipc = ipc;
    // An error (the peer is gone in the middle) is followed by "close", which is all that matters.
    socket.on("error", () => {});
    socket.on("data", (bytes: Uint8Array) => this.received(bytes));
    socket.on("end", () => this.#handler?.end());
    socket.on("close", () => this.#handler?.close());
    socket.on("drain", () => {
      this.#draining = false;
      if (!this.#paused) socket.resume();
    });
    socket.pause();
  }

  open(handler: ConnectionHandler): void {
    this.#handler = handler;
    if (this.#socket.destroyed) queueMicrotask(() => handler.close());
    else this.#socket.resume();
  }

  received(bytes: Uint8Array): void {
    this.#handler?.data(bytes);
  }

  write(bytes: Uint8Array): void {
    if (!this.#socket.writable) return;
    const chunk = bytes.length <= ON_HEAP_SIZE ? Buffer.from(bytes) : bytes;
    if (this.#socket.write(chunk) || this.#draining) return;
    // The peer does not read what it asked for: nothing more is taken from it until it does.
    this.#draining = true;
    this.#socket.pause();
  }

  pause(): void {
    this.#paused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#paused = false;
    if (!this.#draining) this.#socket.resume();
  }

  close(): void {
    this.#socket.destroySoon();
  }

  takeDescriptor(): Connection | undefined {
    const handle = this.#ipc?.pendingHandle;
    if (!handle) return undefined;
    this.#ipc!.pendingHandle = null;
    if (handle.readStart) return connectionOf(handle);
    // A datagram socket is no byte stream.
    handle.close();
    return undefined;
  }
}
