import { describe, expect, test } from "vitest";
import { getopt, optionHelp, UsageError } from "../../src/cli/getopt.ts";
import { listOf, OptionError } from "../../src/cli/option-list.ts";
import { parseSocketOptions, SOCKET_OPTIONS } from "../../src/cli/socket-options.ts";

describe("getopt", () => {
  const specs = [
    { long: "port", short: "p", value: "N", help: "" },
    { long: "print-states", help: "" },
    { long: "print-info", value: "FLAGS", help: "" },
    { long: "daemon", short: "d", help: "" },
    { long: "terminate", short: "t", help: "" },
  ];
  const read = (...words: string[]) => {
    const { options, rest } = getopt(words, specs, "socket");
    return [
      ...options.map(({ name, value }) => (value === undefined ? name : `${name}=${value}`)),
      ...rest.map((word) => `[${word}]`),
    ];
  };

  test("takes every form of an option and its value, mixed with other words", () => {
    expect(read("--port", "1", "--port=2", "-p", "3", "-p4", "-dt", "-dp5")).toEqual([
      "port=1",
      "port=2",
      "port=3",
      "port=4",
      "daemon",
      "terminate",
      "daemon",
      "port=5",
    ]);
    expect(read("a", "-d", "b", "--", "-t", "--port")).toEqual(["daemon", "[a]", "[b]", "[-t]", "[--port]"]);
    expect(read("-", "--port", "--daemon", "--port=")).toEqual(["port=--daemon", "port=", "[-]"]);
  });

  test("takes beginnings of long names that fit one option only", () => {
    expect(read("--term", "--po=1", "--print-s")).toEqual(["terminate", "port=1", "print-states"]);
    expect(() => read("--print")).toThrow("socket: option '--print' is ambiguous");
  });

  test.each([
    [["--bogus"], "socket: unrecognized option '--bogus'"],
    [["-x"], "socket: invalid option -- 'x'"],
    [["--port"], "socket: option '--port' requires an argument"],
    [["-tp"], "socket: option requires an argument -- 'p'"],
    [["--daemon=1"], "socket: option '--daemon' doesn't allow an argument"],
  ])("refuses %j with getopt's words", (words, message) => {
    expect(() => read(...words)).toThrow(new UsageError(message));
  });

  test("the help names every option", () => {
    const help = optionHelp(SOCKET_OPTIONS);
    for (const { long } of SOCKET_OPTIONS) expect(help).toContain(`--${long}`);
    for (const line of help.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
  });
});

describe("option lists", () => {
  const schema = {
    file: "string",
    level: "uint",
    fd: "int",
    mode: "mode",
    lock: "boolean",
    uid: "uid",
    gid: "gid",
  } as const;
  const read = (text: string) => listOf("test", text, schema);

  test("a bare key is true, a value ends at the comma, the first of two counts", () => {
    expect(read("lock,file=a=b,level=7,fd=-1,mode=0640")).toEqual({
      lock: true,
      file: "a=b",
      level: 7,
      fd: -1,
      mode: 0o640,
    });
    expect(read("file")).toEqual({ file: "true" });
    expect(read("file=a,file=b")).toEqual({ file: "a" });
  });

  test("only true and 1 are true", () => {
    for (const word of ["true", "TRUE", "1"]) expect(read(`lock=${word}`)).toEqual({ lock: true });
    for (const word of ["false", "yes", "on", "0", "11"]) expect(read(`lock=${word}`)).toEqual({ lock: false });
  });

  test("a JSON value may contain commas", () => {
    expect(read('file={"a":1,"b":{"c":2}},lock')).toEqual({ file: '{"a":1,"b":{"c":2}}', lock: true });
    expect(read('lock,file={"a":1}')).toEqual({ file: '{"a":1}', lock: true });
  });

  test("users and groups go by number or name", () => {
    expect(read("uid=root,gid=5")).toEqual({ uid: 0, gid: 5 });
    expect(() => read("uid=nobody-has-this-name")).toThrow("User 'nobody-has-this-name' does not exist.");
  });

  test.each([
    ["", "Unknown option ''"],
    ["lock,", "Unknown option ''"],
    ["foo=1", "Unknown option 'foo=1'"],
    ["lock=", "Unknown option 'lock='"],
    ["__proto__=1", "Unknown option '__proto__=1'"],
    ["level", "invalid number 'true'"],
    ["level=-1", "invalid required positive number '-1'"],
    ["level=4294967296", "number 4294967296 outside valid range"],
    ["fd=x", "invalid number 'x'"],
    ["fd=2147483648", "number 2147483648 outside valid range"],
    ["mode=888", "invalid mode type '888'"],
    ["mode=1000", "mode 1000 is invalid"],
    ["file={a", "Unterminated JSON map."],
    ["file={a}b", "Unexpected character following JSON map."],
  ])("'%s' is refused", (text, message) => {
    expect(() => read(text)).toThrow(new OptionError(`Error parsing test options: ${message}`));
  });
});

describe("wtpm socket", () => {
  const parse = (words: string, environment: Record<string, string> = {}) =>
    parseSocketOptions(words.split(" "), "socket", environment);
  const rest = (words: string, environment: Record<string, string> = {}) => parse(words, environment).rest();

  test("the command lines of libvirt, Incus, quickemu and UTM are understood", () => {
    const libvirt =
      "--ctrl type=unixio,path=/s,mode=0600 --tpmstate dir=/d,mode=0600 --log file=/l --terminate --tpm2 --migration release-lock-outgoing,incoming";
    expect(rest(libvirt)).toMatchObject({
      control: { type: "unix", path: "/s", mode: 0o600 },
      terminateWithData: true,
      terminateWithControl: false,
      powerOn: false,
      incomingMigration: true,
      releaseLockOutgoing: true,
      autoShutdown: true,
    });
    expect(parse(libvirt).state()).toEqual({ uri: "dir:///d", mode: 0o600 });
    expect(parse(libvirt).log).toEqual({ file: "/l", level: 1, prefix: "", truncate: false });
    expect(rest("--tpm2 --tpmstate dir=. --ctrl type=unixio,path=rel,terminate")).toMatchObject({
      control: { path: "rel" },
      terminateWithControl: true,
    });
    expect(rest("--tpm2 --tpmstate dir=. --ctrl type=unixio,fd=3")).toMatchObject({
      control: { type: "listening-fd", fd: 3 },
    });
    expect(rest("--tpm2 --server type=tcp,fd=4 --ctrl type=unixio,clientfd=5")).toMatchObject({
      data: { type: "client-fd", fd: 4 },
      terminateWithData: true,
      control: { type: "client-fd", fd: 5 },
    });
  });

  test("the data channel's forms", () => {
    expect(rest("--server port=2321")).toMatchObject({
      data: { type: "tcp", port: 2321, host: "127.0.0.1" },
      disconnect: false,
    });
    expect(rest("-p 0x10")).toMatchObject({ data: { type: "tcp", port: 16 }, disconnect: true });
    expect(rest("--server type=tcp", { TPM_PORT: "99" })).toMatchObject({ data: { port: 99 } });
    expect(rest("--server port=1,bindaddr=::1")).toMatchObject({ data: { host: "::1" } });
    expect(rest("--server port=1,bindaddr=fe80::1,ifname=eth0")).toMatchObject({
      data: { host: "fe80::1", scope: "eth0" },
    });
    expect(rest("--server type=unixio,fd=7,disconnect")).toMatchObject({
      data: { type: "listening-fd", fd: 7 },
      disconnect: true,
    });
    expect(rest("--fd 9")).toMatchObject({ data: { type: "client-fd", fd: 9 }, terminateWithData: true });
    expect(rest("--tpm2")).toMatchObject({ data: undefined, control: undefined });
  });

  test("flags: startup implies that no INIT is needed, startup-none does not", () => {
    expect(rest("--flags not-need-init")).toMatchObject({ powerOn: true, startup: "none" });
    expect(rest("--flags startup-state,startup-clear")).toMatchObject({ powerOn: true, startup: "clear" });
    expect(rest("--flags startup-none,disable-auto-shutdown")).toMatchObject({
      powerOn: false,
      startup: "none",
      autoShutdown: false,
    });
  });

  test("the state comes from --tpmstate or TPM_PATH", () => {
    expect(parse("--tpmstate backend-uri=file:///x,backup,ephemeral").state()).toEqual({
      uri: "file:///x",
      backup: true,
      ephemeral: true,
    });
    expect(parse("--tpmstate backend-uri=dir:///x,lock=false,fsync=false").state()).toEqual({
      uri: "dir:///x",
      lock: false,
      fsync: false,
    });
    expect(parse("--tpm2", { TPM_PATH: "/t" }).state()).toEqual({ uri: "dir:///t" });
    expect(parse("--tpm2").state()).toEqual({ uri: undefined });
  });

  test.each([
    ["x", "Unknown parameter 'x'"],
    ["-p abc", "Cannot parse socket port number 'abc'."],
    ["-p 65536", "Port is outside valid range."],
    ["-f 1", "Error: Cannot accept file descriptors with values 0, 1, or 2"],
    ["-f x", "Cannot parse socket file descriptor."],
    ["--ctrl path=x", "Missing type parameter for control channel"],
    ["--ctrl type=foo", "Unsupported control channel type: foo"],
    ["--ctrl type=unixio", "Missing path and fd options for UnixIO control channel"],
    ["--ctrl type=tcp", "Missing port and fd options for TCP control channel"],
    ["--ctrl type=tcp,port=65536", "TCP control channel port outside valid range"],
    ["--ctrl type=tcp,port=1,bindaddr=x", "Could not parse the bind address 'x'"],
    ["--server type=foo", "Unsupported socket type: foo"],
    ["--server type=unixio", "Missing path and file descriptor option for UnixIO socket"],
    ["--server type=tcp", "TPM_PORT is not set or contains an invalid integer value."],
    ["--server port=65536", "TCP socket port outside valid range"],
    ["--server port=1,bindaddr=fe80::1", "Missing interface name for link local address"],
    ["--pid file=", "Error parsing pid options: Unknown option 'file='"],
    ["--pid fd=-1", "The file or fd parameter is required for the pid option."],
    ["--seccomp action=x", "Unsupported seccomp log action x"],
    ["--locality x", "Error parsing locality options: Unknown option 'x'"],
    ["--flags x", "Error parsing flags options: Unknown option 'x'"],
    ["--migration x", "Error parsing migration options: Unknown option 'x'"],
    ["--profile remove-disabled=check", "No profile option parameter given to get a profile"],
    ["--chroot /", /--chroot is not supported/],
  ])("'%s' is refused", (words, message) => {
    expect(() => rest(words)).toThrow(message);
  });

  test.each([
    ["--tpmstate mode=0600", "The dir or backend-uri parameters is required for the tpmstate option."],
    ["--tpmstate dir=/x,persistent", "Error parsing tpmstate options: Unknown option 'persistent'"],
  ])("'%s' is refused", (words, message) => {
    expect(() => parse(words).state()).toThrow(message);
  });
});
