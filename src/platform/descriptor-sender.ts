// Sending a descriptor over a UNIX socket (SCM_RIGHTS) on Node: the counterpart of node-transport.ts, with the same internals.
import { randomBytes } from "node:crypto";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { isNode, runtimeName } from "./runtime.ts";

interface StreamHandle {
  readonly fd: number;
  readStop(): number;
  close(callback?: () => void): void;
}
interface IpcHandle extends StreamHandle {
  open(fd: number): number | undefined;
  writeUtf8String(request: object, text: string, handle?: StreamHandle): number;
}
type PipeClass = new (kind: number) => IpcHandle;
type SocketWithHandle = net.Socket & { _handle?: StreamHandle | null };

const PIPE_KIND_IPC = 2;

/** A connected UNIX socket that can send another socket's descriptor along with some bytes. */
export interface DescriptorSender {
  readonly socket: net.Socket;
  /** Sends the bytes of an ASCII text and the other socket's descriptor, and closes that socket here. */
  send(text: string, other: net.Socket): void;
}

/**
 * Makes a connected UNIX socket able to send descriptors. The socket given must not be used any more.
 *
 * @throws Error when this runtime has no way to do that.
 */
export function descriptorSender(connected: net.Socket): DescriptorSender {
  const first = (connected as SocketWithHandle)._handle;
  if (!isNode || !first) {
    connected.destroy();
    throw new Error(`${runtimeName} cannot send a descriptor over a socket; Node can`);
  }
  first.readStop();
  (connected as SocketWithHandle)._handle = null;
  const Pipe = first.constructor as unknown as PipeClass;
  const ipc = new Pipe(PIPE_KIND_IPC);
  ipc.open(first.fd);
  // Two handles share one descriptor; see node-transport.ts.
  ipc.close = (callback) => {
    Pipe.prototype.close.call(ipc, callback);
    first.close();
  };
  const socket = new net.Socket({ handle: ipc } as unknown as net.SocketConstructorOpts);
  return {
    socket,
    send(text, other) {
      const handle = (other as SocketWithHandle)._handle;
      if (!handle) throw new Error("the socket to be sent is closed");
      ipc.writeUtf8String = (request, string) => Pipe.prototype.writeUtf8String.call(ipc, request, string, handle);
      socket.write(text, "utf8", () => other.destroy());
      Reflect.deleteProperty(ipc, "writeUtf8String");
    },
  };
}

/** Two connected UNIX sockets, as socketpair(2) makes them. */
export async function socketPair(): Promise<[net.Socket, net.Socket]> {
  const name = `wtpm-pair-${randomBytes(16).toString("hex")}`;
  const server = net.createServer({ pauseOnConnect: true });
  const accepted = new Promise<net.Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(process.platform === "linux" ? `\0${name}` : path.join(os.tmpdir(), name), resolve);
  });
  try {
    const near = net.connect({ path: server.address() as string });
    await new Promise<void>((resolve, reject) => near.once("connect", resolve).once("error", reject));
    return [near, await accepted];
  } finally {
    server.close();
  }
}
