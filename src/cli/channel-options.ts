// The options that say where a channel is: --ctrl, --server, --port, --fd.
import { isIP } from "node:net";
import type { ChannelEndpoint } from "../server/tpm-server.ts";
import { type Environment, type ListValues, listOf, OptionError } from "./option-list.ts";

export interface ControlOptions {
  readonly control: ChannelEndpoint | undefined;
  readonly terminateWithControl: boolean;
}

export interface DataOptions {
  readonly data: ChannelEndpoint | undefined;
  readonly terminateWithData: boolean;
  readonly disconnect: boolean;
}

export const MAX_PORT = 0xffff;
const DEFAULT_BIND_ADDRESS = "127.0.0.1";
const UNIX_KEYS = { path: "string", mode: "mode", uid: "uid", gid: "gid" } as const;
const TCP_KEYS = { type: "string", port: "int", bindaddr: "string", ifname: "string", fd: "int" } as const;

/** --ctrl */
export function controlOptions(text: string | undefined): ControlOptions {
  if (text === undefined) return { control: undefined, terminateWithControl: false };
  const list = listOf("ctrl", text, { ...TCP_KEYS, ...UNIX_KEYS, clientfd: "int", terminate: "boolean" });
  const terminateWithControl = list.terminate ?? false;
  const { type, fd, clientfd, port } = list;
  const has = (value: number | undefined): value is number => value !== undefined && value >= 0;
  if (type === undefined) throw new OptionError("Missing type parameter for control channel");
  if (type !== "unixio" && type !== "tcp") throw new OptionError(`Unsupported control channel type: ${type}`);
  if (has(fd)) return { control: { type: "listening-fd", fd }, terminateWithControl };
  if (type === "unixio") {
    const control: ChannelEndpoint | undefined = has(clientfd)
      ? { type: "client-fd", fd: clientfd }
      : unixEndpoint(list);
    if (!control) throw new OptionError("Missing path and fd options for UnixIO control channel");
    return { control, terminateWithControl };
  }
  if (!has(port)) throw new OptionError("Missing port and fd options for TCP control channel");
  if (port > MAX_PORT) throw new OptionError("TCP control channel port outside valid range");
  return { control: tcpEndpoint(port, list.bindaddr, list.ifname), terminateWithControl };
}

/**
 * --server, or --fd with its descriptor.
 *
 * @param terminate --terminate was given.
 */
export function dataOptions(
  text: string | undefined,
  connectedFd: number | undefined,
  terminate: boolean,
  environment: Environment,
): DataOptions {
  if (text === undefined) {
    if (connectedFd === undefined) return { data: undefined, disconnect: false, terminateWithData: terminate };
    return { data: { type: "client-fd", fd: connectedFd }, disconnect: false, terminateWithData: true };
  }
  const list = listOf("server", text, { ...TCP_KEYS, ...UNIX_KEYS, disconnect: "boolean" });
  const common = { disconnect: list.disconnect ?? false, terminateWithData: terminate };
  const { type = "tcp", fd } = list;
  if (type !== "unixio" && type !== "tcp") throw new OptionError(`Unsupported socket type: ${type}`);
  if (fd !== undefined && fd >= 0) {
    if (type === "unixio") return { ...common, data: { type: "listening-fd", fd } };
    return { ...common, terminateWithData: true, data: { type: "client-fd", fd } };
  }
  if (type === "unixio") {
    const data = unixEndpoint(list);
    if (!data) throw new OptionError("Missing path and file descriptor option for UnixIO socket");
    return { ...common, data };
  }
  const port = list.port ?? portFromEnvironment(environment);
  if (port < 0) throw new OptionError("No valid port number provided for TCP socket.");
  if (port > MAX_PORT) throw new OptionError("TCP socket port outside valid range");
  return { ...common, data: tcpEndpoint(port, list.bindaddr, list.ifname) };
}

function portFromEnvironment(environment: Environment): number {
  const port = Number.parseInt(environment.TPM_PORT ?? "", 10);
  if (Number.isNaN(port)) throw new OptionError("TPM_PORT is not set or contains an invalid integer value.");
  return port;
}

function tcpEndpoint(port: number, bindaddr = DEFAULT_BIND_ADDRESS, ifname?: string): ChannelEndpoint {
  if (!isIP(bindaddr)) throw new OptionError(`Could not parse the bind address '${bindaddr}'`);
  if (/^fe[89ab]/i.test(bindaddr) && !ifname) throw new OptionError("Missing interface name for link local address");
  return { type: "tcp", port, host: bindaddr, ...(ifname === undefined ? {} : { scope: ifname }) };
}

function unixEndpoint(list: ListValues<typeof UNIX_KEYS>): ChannelEndpoint | undefined {
  const { path, mode, uid, gid } = list;
  if (path === undefined) return undefined;
  return {
    type: "unix",
    path,
    ...(mode === undefined ? {} : { mode }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  };
}
