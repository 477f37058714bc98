// The ways from a client to the emulator: a UNIX socket, TCP, and the resource manager tpm2-abrmd on a D-Bus of its own.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { launchEmulator, listeningSockets, startEmulator, temporaryFolder } from "./emulator.ts";
import { type Program, run, start, until } from "./process.ts";

/** How a client reaches its TPM. */
export const WAYS = ["a UNIX socket", "a TCP port", "tpm2-abrmd"] as const;
export type Way = (typeof WAYS)[number];

/** A running TPM 2.0 that clients can reach. */
export interface ReachableTpm {
  /** The TCTI of tpm2-tss that leads to it. */
  readonly tcti: string;
  /** What else clients need in their environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends it in good order; its state stays. */
  stop(): Promise<void>;
}

/** Starts a TPM with its state in the folder given, after TPM2_Startup(CLEAR). @throws Error, with what it printed */
export function startTpm(way: Way, stateDir: string): Promise<ReachableTpm> {
  mkdirSync(stateDir, { recursive: true });
  if (way === "a TCP port") return overTcp(stateDir);
  return way === "a UNIX socket" ? overUnixSocket(stateDir) : throughResourceManager(stateDir);
}

async function overUnixSocket(stateDir: string): Promise<ReachableTpm> {
  const emulator = await startEmulator({ stateDir });
  const stop = async () => {
    if (!emulator.process.hasExited()) await emulator.terminate();
    await emulator.dispose();
  };
  return { tcti: emulator.tcti, env: {}, stop };
}

async function overTcp(stateDir: string): Promise<ReachableTpm> {
  for (;;) {
    const port = await freePortPair();
    const emulator = launchEmulator([
      "--tpm2",
      ...["--tpmstate", `dir=${stateDir}`],
      ...["--ctrl", `type=tcp,port=${port + 1}`], // Where tpm2-tss looks for it.
      ...["--server", `type=tcp,port=${port}`],
      ...["--flags", "not-need-init,startup-clear"],
    ]);
    await until(`the emulator to listen on the ports ${port} and ${port + 1}`, () => {
      const ports = listeningPorts();
      return (ports.has(port) && ports.has(port + 1)) || emulator.hasExited();
    });
    if (!emulator.hasExited()) {
      return { tcti: `swtpm:host=127.0.0.1,port=${port}`, env: {}, stop: () => terminate(emulator) };
    }
    const { status, stdout, stderr } = await emulator.exited;
    // Somebody else was faster in taking a port.
    if (!/EADDRINUSE|in use/i.test(stderr)) throw new Error(`the emulator ended with ${status}:\n${stdout}${stderr}`);
  }
}

async function terminate(program: Program): Promise<void> {
  program.signal("SIGTERM");
  await program.ended();
}

/** A port that is free now, and so is the next one. */
async function freePortPair(): Promise<number> {
  for (;;) {
    const first = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => first.once("listening", resolve));
    const { port } = first.address() as net.AddressInfo;
    await new Promise((resolve) => first.close(resolve));
    if (port < 65535 && !listeningPorts().has(port + 1)) return port;
  }
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

async function throughResourceManager(stateDir: string): Promise<ReachableTpm> {
  const folder = temporaryFolder();
  const tpm = await overUnixSocket(stateDir);
  const programs: Program[] = [];
  const stop = async () => {
    for (const program of programs.reverse()) await terminate(program);
    await tpm.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    const socket = path.join(folder, "bus");
    const configuration = path.join(folder, "bus.conf");
    writeFileSync(configuration, busConfiguration(socket));
    programs.push(start("dbus-daemon", ["--nofork", `--config-file=${configuration}`]));
    await until("the message bus to listen", () => listeningSockets().has(socket));

    const env = { DBUS_SESSION_BUS_ADDRESS: `unix:path=${socket}` };
    const manager = start("/usr/sbin/tpm2-abrmd", ["--session", "--allow-root", `--tcti=${tpm.tcti}`], { env });
    programs.push(manager);
    await until("tpm2-abrmd to take its name on the bus", async () => {
      if (manager.hasExited()) throw new Error(`tpm2-abrmd ended: ${(await manager.exited).stderr}`);
      return ownsName(socket);
    });
    return { tcti: "tabrmd:bus_type=session", env, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function ownsName(socket: string): Promise<boolean> {
  const { stdout } = await run("dbus-send", [
    ...[`--bus=unix:path=${socket}`, "--print-reply", "--dest=org.freedesktop.DBus", "/"],
    ...["org.freedesktop.DBus.NameHasOwner", `string:${BUS_NAME}`],
  ]);
  return stdout.includes("boolean true");
}
