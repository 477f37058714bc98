// The ways from a client to the emulator: a UNIX socket, TCP, and the resource manager tpm2-abrmd on a D-Bus of its own.
import { randomInt } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { launchEmulator, listeningSockets } from "./emulator.ts";
import { type Program, run, start, until } from "./process.ts";

/** How a client reaches its TPM. */
export const WAYS = ["a UNIX socket", "a TCP port", "tpm2-abrmd"] as const;
export type Way = (typeof WAYS)[number];

/** A TPM 2.0 that clients can reach, the same way each time it runs. */
export interface ReachableTpm {
  /** The TCTI of tpm2-tss that leads to it. */
  readonly tcti: string;
  /** What else clients need in their environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Starts it, with the state that it stored, and TPM2_Startup(CLEAR). @throws Error, with what it printed */
  start(): Promise<void>;
  /** Ends it in good order. */
  stop(): Promise<void>;
}

/** A TPM with its state and sockets in the folder given, which does not run yet. */
export function reachableTpm(way: Way, folder: string): ReachableTpm {
  if (way === "a TCP port") return emulatorAt(tcpAddress(freePortPair()), folder);
  const emulator = emulatorAt(unixAddress(path.join(folder, "tpm")), folder);
  return way === "a UNIX socket" ? emulator : throughResourceManager(emulator, folder);
}

/** Where an emulator listens: the values of --server and --ctrl, and the TCTI for both. */
interface Address {
  readonly server: string;
  readonly ctrl: string;
  readonly tcti: string;
  isUsed(): boolean;
}

/** The control socket is where tpm2-tss looks for it. */
function unixAddress(file: string): Address {
  const files = [file, `${file}.ctrl`];
  return {
    server: `type=unixio,path=${files[0]}`,
    ctrl: `type=unixio,path=${files[1]}`,
    tcti: `swtpm:path=${file}`,
    isUsed: () => files.every((name) => listeningSockets().has(name)),
  };
}

function tcpAddress(port: number): Address {
  return {
    server: `type=tcp,port=${port}`,
    ctrl: `type=tcp,port=${port + 1}`,
    tcti: `swtpm:host=127.0.0.1,port=${port}`,
    isUsed: () => [port, port + 1].every((number) => listeningPorts().has(number)),
  };
}

/** Two ports on which nobody listens, below those that the system gives to connections. */
function freePortPair(): number {
  const used = listeningPorts();
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (!used.has(port) && !used.has(port + 1)) return port;
  }
}

function emulatorAt(address: Address, folder: string): ReachableTpm {
  const stateDir = path.join(folder, "state");
  let emulator: Program | undefined;
  return {
    tcti: address.tcti,
    env: {},
    async start() {
      mkdirSync(stateDir, { recursive: true });
      const { server, ctrl } = address;
      const launched = launchEmulator([
        ...["--tpm2", "--tpmstate", `dir=${stateDir}`, "--server", server, "--ctrl", ctrl],
        ...["--flags", "not-need-init,startup-clear"],
      ]);
      emulator = launched;
      await until(`the emulator to listen at ${server}`, () => address.isUsed() || launched.hasExited());
      if (launched.hasExited()) throw new Error(`the emulator ended: ${(await launched.exited).stderr}`);
    },
    stop: () => terminate(emulator),
  };
}

/** Asks a program to end, and waits until it did. */
async function terminate(program: Program | undefined): Promise<void> {
  if (!program || program.hasExited()) return;
  program.signal("SIGTERM");
  await program.ended();
}

/** The TCP ports on which somebody of this machine listens. */
function listeningPorts(): Set<number> {
  const LISTEN = "0A";
  const files = ["/proc/net/tcp", "/proc/net/tcp6"];
  const lines = files.flatMap((file) => readFileSync(file, "utf8").split("\n").slice(1));
  const fields = lines.map((line) => line.trim().split(/\s+/)).filter((f) => f[3] === LISTEN);
  return new Set(fields.map((f) => parseInt(f[1]!.split(":")[1]!, 16)));
}

/** Debian's configuration of a session bus starts services that are installed; this one knows none. */
const busConfiguration = (socket: string) => `<!DOCTYPE busconfig PUBLIC
  "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=${socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/>
    <allow receive_sender="*"/>
    <allow own="*"/>
  </policy>
</busconfig>
`;

const BUS_NAME = "com.intel.tss2.Tabrmd";

/** On a message bus of its own, so that neither the machine's bus nor another test's resource manager matters. */
function throughResourceManager(tpm: ReachableTpm, folder: string): ReachableTpm {
  const socket = path.join(folder, "bus");
  const configuration = path.join(folder, "bus.conf");
  const env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` };
  let bus: Program | undefined;
  let manager: Program | undefined;
  return {
    tcti: "tabrmd:bus_type=session",
    env,
    async start() {
      await tpm.start();
      writeFileSync(configuration, busConfiguration(socket));
      bus = start("dbus-daemon", ["--nofork", `--config-file=${configuration}`]);
      await until("the message bus to listen", () => listeningSockets().has(socket));
      const launched = start("/usr/sbin/tpm2-abrmd", ["--session", "--allow-root", `--tcti=${tpm.tcti}`], { env });
      manager = launched;
      await until("tpm2-abrmd to take its name on the bus", async () => {
        if (launched.hasExited()) throw new Error(`tpm2-abrmd ended: ${(await launched.exited).stderr}`);
        return ownsName(socket);
      });
    },
    async stop() {
      await terminate(manager);
      await terminate(bus);
      await tpm.stop();
    },
  };
}

async function ownsName(socket: string): Promise<boolean> {
  const { stdout } = await run("dbus-send", [
    ...[`--bus=unix:path=${socket}`, "--print-reply", "--dest=org.freedesktop.DBus", "/"],
    ...["org.freedesktop.DBus.NameHasOwner", `string:${BUS_NAME}`],
  ]);
  return stdout.includes("boolean true");
}
