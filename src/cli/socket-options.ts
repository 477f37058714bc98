// The options of `wtpm socket`: swtpm's, with its messages.
import type { StartupType } from "../server/served-tpm.ts";
import { type ControlOptions, controlOptions, type DataOptions, dataOptions, MAX_PORT } from "./channel-options.ts";
import { getopt, type OptionSpec } from "./getopt.ts";
import { type Environment, listOf, OptionError } from "./option-list.ts";
import { profileOption } from "./profile-option.ts";
import { type StateOptions, stateOptions } from "./state-options.ts";

export const SOCKET_OPTIONS: readonly OptionSpec[] = [
  { long: "port", short: "p", value: "PORT", help: "serve commands on this TCP port, one for each connection" },
  { long: "fd", short: "f", value: "FD", help: "serve commands on this connected socket, and end with it" },
  { long: "terminate", short: "t", help: "end when the data connection is lost" },
  { long: "daemon", short: "d", help: "run in the background; returns when the sockets are there" },
  {
    long: "ctrl",
    value: "LIST",
    help:
      "control channel: type=unixio,path=PATH|fd=FD|clientfd=FD[,mode=OCTAL][,uid=U][,gid=G]\n" +
      "or type=tcp,port=PORT[,bindaddr=ADDRESS[,ifname=IF]]|fd=FD; either with [,terminate]:\n" +
      "end when the control connection is lost",
  },
  {
    long: "server",
    value: "LIST",
    help:
      "data channel: type=unixio,path=PATH|fd=FD[,mode=OCTAL][,uid=U][,gid=G]\n" +
      "or [type=tcp,]port=PORT[,bindaddr=ADDRESS[,ifname=IF]]|fd=FD; either with [,disconnect]:\n" +
      "close the connection after every response",
  },
  {
    long: "tpmstate",
    value: "LIST",
    help:
      "where the state is: dir=DIR|backend-uri=dir://DIR|file://FILE|memory://[,mode=OCTAL]\n" +
      "[,lock=BOOL][,backup=BOOL][,fsync=BOOL][,ephemeral]; files are synced to disk unless\n" +
      "fsync=false; backup keeps the state before the last one; with ephemeral changes vanish.\n" +
      "Without it the environment variable TPM_PATH counts",
  },
  { long: "tpm2", help: "a TPM 2.0" },
  {
    long: "flags",
    value: "LIST",
    help: "not-need-init, startup-clear|startup-state|startup-none, disable-auto-shutdown",
  },
  { long: "locality", value: "LIST", help: "reject-locality-4, allow-set-locality" },
  { long: "migration", value: "LIST", help: "incoming, release-lock-outgoing" },
  { long: "log", value: "LIST", help: "file=PATH|fd=FD[,level=N][,prefix=TEXT][,truncate]; file=- for none" },
  { long: "pid", value: "LIST", help: "where to write the process id: file=PATH|fd=FD" },
  { long: "runas", short: "r", value: "USER", help: "change to this user first" },
  { long: "seccomp", value: "LIST", help: "action=kill|log|none: accepted, and without effect" },
  {
    long: "profile",
    value: "LIST",
    help:
      "the profile of a new TPM: name=null|default-v1|default-v2|custom, profile=JSON, file=PATH or\n" +
      "fd=FD; [,remove-disabled=check|fips-host]",
  },
  { long: "print-capabilities", help: "print what this program can do, as JSON" },
  { long: "print-states", help: "print which state exists, as JSON; needs --tpmstate" },
  { long: "print-profiles", help: "print the built-in profiles, as JSON" },
  { long: "print-info", value: "FLAGS", help: "print what the TPM says of itself, as JSON" },
  {
    long: "key",
    value: "LIST",
    help:
      "encrypt the state: file=PATH|fd=FD[,format=hex|binary] with a key, or\n" +
      "pwdfile=PATH|pwdfd=FD[,kdf=pbkdf2|sha512] with a passphrase;\n" +
      "[,mode=aes-128-cbc|aes-256-cbc][,remove]: unlink the file once it was read.\n" +
      "In wtpm's own format: provider=file,file=PATH|fd=FD or\n" +
      "provider=passphrase,pwdfile=PATH|pwdfd=FD[,cost=N] or\n" +
      "provider=command,command=PROGRAM[,timeout=SECONDS]; [,slot=NAME][,remove]",
  },
  { long: "migration-key", value: "LIST", help: "encrypt state that is handed out: as --key without provider" },
  {
    long: "management",
    value: "PATH",
    help: "where commands like 'wtpm snapshot' reach this TPM; DIR/.wtpm by default, 'off' for nowhere",
  },
  { long: "pcap", value: "LIST", help: "not supported yet: recording of commands" },
  { long: "chroot", short: "R", value: "DIR", help: "not supported" },
  { long: "help", short: "h", help: "show this help" },
];

export interface LogOptions {
  readonly file?: string;
  readonly fd?: number;
  readonly level: number;
  readonly prefix: string;
  readonly truncate: boolean;
}

export interface SocketOptions {
  readonly help: boolean;
  readonly daemon: boolean;
  readonly tpm2: boolean;
  readonly runas: string | undefined;
  readonly log: LogOptions | undefined;
  readonly print: "capabilities" | "states" | "profiles" | "info" | undefined;
  readonly infoFlags: number;
  /** What --key and --migration-key say; undefined without them. */
  readonly key: string | undefined;
  readonly migrationKey: string | undefined;
  /** Everything that is checked only after the things above were done. */
  readonly rest: () => ServiceOptions;
  readonly state: () => StateOptions;
}

export interface ServiceOptions extends ControlOptions, DataOptions {
  readonly powerOn: boolean;
  readonly startup: StartupType;
  readonly autoShutdown: boolean;
  readonly rejectLocality4: boolean;
  readonly allowSetLocality: boolean;
  readonly incomingMigration: boolean;
  readonly releaseLockOutgoing: boolean;
  readonly pid: { readonly file?: string; readonly fd?: number } | undefined;
  /** JSON. */
  readonly profile: string | undefined;
  /** The path of the management socket, or "off". */
  readonly management: string | undefined;
}

/**
 * @param program what getopt's messages start with: "socket".
 * @throws UsageError for what getopt refuses, OptionError for the rest.
 */
export function parseSocketOptions(words: readonly string[], program: string, environment: Environment): SocketOptions {
  const { options, rest } = getopt(words, SOCKET_OPTIONS, program);
  const value = (name: string) => options.findLast((option) => option.name === name)?.value;
  const given = (name: string) => options.some((option) => option.name === name);
  if (given("help")) return { ...NO_OPTIONS, help: true };
  const port = value("port");
  const env = port === undefined ? environment : { ...environment, TPM_PORT: String(parsePort(port)) };
  const fd = value("fd");
  const connectedFd = fd === undefined ? undefined : parseFd(fd);
  const infoFlags = parseInfoFlags(value("print-info"));
  if (rest[0] !== undefined) throw new OptionError(`Unknown parameter '${rest[0]}'`);
  // Of --port and --server the later one counts.
  const server = options.findLast(({ name }) => name === "server" || name === "port");
  const serverList = server?.name === "port" ? "type=tcp,disconnect" : server?.value;
  return {
    help: false,
    daemon: given("daemon"),
    tpm2: given("tpm2"),
    runas: value("runas"),
    log: logOptions(value("log")),
    print: given("print-capabilities")
      ? "capabilities"
      : given("print-states")
        ? "states"
        : given("print-profiles")
          ? "profiles"
          : infoFlags !== undefined
            ? "info"
            : undefined,
    infoFlags: infoFlags ?? 0,
    key: value("key"),
    migrationKey: value("migration-key"),
    state: () => stateOptions(value("tpmstate"), env),
    rest: () => {
      refuseUnsupported(given);
      const profile = value("profile");
      checkSeccomp(value("seccomp"));
      return {
        ...controlOptions(value("ctrl")),
        ...dataOptions(serverList, connectedFd, given("terminate"), env),
        ...flagOptions(value("flags")),
        ...localityOptions(value("locality")),
        ...migrationOptions(value("migration")),
        pid: pidOptions(value("pid")),
        profile: profile === undefined ? undefined : profileOption(profile),
        management: value("management"),
      };
    },
  };
}

const NO_OPTIONS: SocketOptions = {
  help: false,
  daemon: false,
  tpm2: false,
  runas: undefined,
  log: undefined,
  print: undefined,
  infoFlags: 0,
  key: undefined,
  migrationKey: undefined,
  rest: () => {
    throw new OptionError("no options");
  },
  state: () => ({ uri: undefined }),
};

/** strtoul with base 0: decimal, 0x…, 0…. */
function parseNumber(text: string): number | undefined {
  if (/^0[0-7]+$/.test(text)) return Number.parseInt(text, 8);
  return /^(\d+|0x[0-9a-f]+)$/i.test(text) ? Number(text) : undefined;
}

function parsePort(text: string): number {
  const port = parseNumber(text);
  if (port === undefined) throw new OptionError(`Cannot parse socket port number '${text}'.`);
  if (port > MAX_PORT) throw new OptionError("Port is outside valid range.");
  return port;
}

function parseFd(text: string): number {
  if (!/^\d+$/.test(text)) throw new OptionError("Cannot parse socket file descriptor.");
  const fd = Number(text);
  if (fd < 3) throw new OptionError("Error: Cannot accept file descriptors with values 0, 1, or 2");
  return fd;
}

function parseInfoFlags(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const flags = parseNumber(text);
  if (flags === undefined || flags > 0xffff_ffff) throw new OptionError(`Cannot parse info value '${text}'.`);
  return flags;
}

function logOptions(text: string | undefined): LogOptions | undefined {
  if (text === undefined) return undefined;
  const list = listOf("logging", text, {
    file: "string",
    fd: "int",
    level: "uint",
    prefix: "string",
    truncate: "boolean",
  });
  return {
    ...(list.file === undefined ? {} : { file: list.file }),
    ...(list.fd === undefined || list.fd < 0 ? {} : { fd: list.fd }),
    level: list.level || 1,
    prefix: list.prefix ?? "",
    truncate: list.truncate ?? false,
  };
}

function flagOptions(text: string | undefined): Pick<ServiceOptions, "powerOn" | "startup" | "autoShutdown"> {
  const list = listOf("flags", text ?? "not-need-init=false", {
    "not-need-init": "boolean",
    "startup-none": "boolean",
    "startup-clear": "boolean",
    "startup-state": "boolean",
    "startup-deactivated": "boolean",
    "disable-auto-shutdown": "boolean",
  });
  const startup = (["clear", "state", "deactivated"] as const).find((type) => list[`startup-${type}`]) ?? "none";
  return {
    powerOn: (list["not-need-init"] ?? false) || startup !== "none",
    startup,
    autoShutdown: !list["disable-auto-shutdown"],
  };
}

function localityOptions(text: string | undefined): Pick<ServiceOptions, "rejectLocality4" | "allowSetLocality"> {
  const keys = { "reject-locality-4": "boolean", "allow-set-locality": "boolean" } as const;
  const list = text === undefined ? {} : listOf("locality", text, keys);
  return { rejectLocality4: list["reject-locality-4"] ?? false, allowSetLocality: list["allow-set-locality"] ?? false };
}

function migrationOptions(text: string | undefined): Pick<ServiceOptions, "incomingMigration" | "releaseLockOutgoing"> {
  const keys = { incoming: "boolean", "release-lock-outgoing": "boolean" } as const;
  const list = text === undefined ? {} : listOf("migration", text, keys);
  return { incomingMigration: list.incoming ?? false, releaseLockOutgoing: list["release-lock-outgoing"] ?? false };
}

function pidOptions(text: string | undefined): ServiceOptions["pid"] {
  if (text === undefined) return undefined;
  const { file, fd } = listOf("pid", text, { file: "string", fd: "int" });
  if (file !== undefined) return { file };
  if (fd === undefined || fd < 0) throw new OptionError("The file or fd parameter is required for the pid option.");
  return { fd };
}

function checkSeccomp(text: string | undefined): void {
  const action = text === undefined ? "kill" : (listOf("seccomp", text, { action: "string" }).action ?? "kill");
  if (!["kill", "log", "none"].includes(action)) throw new OptionError(`Unsupported seccomp log action ${action}`);
}

function refuseUnsupported(given: (name: string) => boolean): void {
  if (given("chroot"))
    throw new OptionError("--chroot is not supported: start the program in a container or with chroot(8) instead");
  if (given("pcap")) throw new OptionError("--pcap is not supported yet");
}
