// What the server needs of sockets. How a runtime gives it (and receives descriptors over a socket) is in src/platform.

/** Where to listen. */
export type Endpoint =
  /** A UNIX socket; a socket that is left there is replaced. `mode` are its permission bits, default 0770. */
  | {
      readonly type: "unix";
      readonly path: string;
      readonly mode?: number;
      readonly uid?: number;
      readonly gid?: number;
    }
  /** Port 0 takes a free one. `scope` is the interface of a link-local address. */
  | { readonly type: "tcp"; readonly port: number; readonly host: string; readonly scope?: string }
  /** An inherited socket that listens already. */
  | { readonly type: "listening-fd"; readonly fd: number };

/** A connected byte stream. Nothing is read before `open`. */
export interface Connection {
  open(handler: ConnectionHandler): void;
  /** Sends bytes, which must not change any more, in as few packets as the system allows. */
  write(bytes: Uint8Array): void;
  /** Stops and restarts the delivery of data. */
  pause(): void;
  resume(): void;
  /** Ends the connection after what was written has left. */
  close(): void;
  /**
   * The descriptor that came with the data being delivered (SCM_RIGHTS), as a connection of its own; only inside `data`. Undefined if
   * none came or the transport cannot receive any.
   */
  takeDescriptor(): Connection | undefined;
}

export interface ConnectionHandler {
  /** Bytes that came in. The array is valid until this returns, or while the connection is paused since. */
  data(bytes: Uint8Array): void;
  /** The peer sends no more; `close` is the handler's to call. */
  end(): void;
  /** The connection is gone. */
  close(): void;
}

export interface Listener {
  /** The port of a TCP listener, which the system chose for port 0. */
  readonly port: number | undefined;
  /** Stops listening and removes the path of a UNIX socket. */
  close(): void;
}

export interface Transport {
  /** Why `takeDescriptor` never gives anything on this runtime, as a part of a sentence; missing where it can. */
  readonly withoutDescriptors?: string;
  /**
   * @param receiveDescriptors for UNIX sockets: accept SCM_RIGHTS on the connections.
   * @throws an Error whose message is a sentence for the user.
   */
  listen(
    endpoint: Endpoint,
    accept: (connection: Connection) => void,
    options?: { readonly receiveDescriptors?: boolean },
  ): Promise<Listener>;
  /** Makes a connection of an inherited, connected descriptor. */
  adopt(fd: number, options?: { readonly receiveDescriptors?: boolean }): Connection;
}
