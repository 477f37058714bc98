// `wtpm socket`: swtpm's server, with its command line.
import type { Backend } from "../backend/backend.ts";
import { INFO } from "../engine/info.ts";
import { nodeTransport } from "../platform/node-transport.ts";
import { type Log, logBytes } from "../server/log.ts";
import { TpmServer } from "../server/tpm-server.ts";
import type { StateFormat } from "../state/format.ts";
import { MemoryStore } from "../state/memory-store.ts";
import { NoStore, statesAt } from "../state/open-store.ts";
import type { StateStore } from "../state/store.ts";
import { changeUser } from "./account.ts";
import type { BackendFactory } from "./backend-factory.ts";
import { capabilities } from "./capabilities.ts";
import { daemonReady, isDaemon, startDaemon } from "./daemon.ts";
import { optionHelp, UsageError } from "./getopt.ts";
import { migrationKey, stateFormat } from "./key-options.ts";
import { consoleLog, openLog } from "./log.ts";
import { OptionError } from "./option-list.ts";
import { writePidFile } from "./pid-file.ts";
import { parseSocketOptions, SOCKET_OPTIONS, type SocketOptions } from "./socket-options.ts";
import { managementOf } from "./snapshot-place.ts";
import { openState } from "./state-options.ts";

/** From this level on commands and responses are written in words too. */
const LEVEL_DECODED = 5;

const INFO_OF_CAPABILITIES =
  INFO.TPMFEATURES | INFO.RUNTIME_ALGORITHMS | INFO.RUNTIME_COMMANDS | INFO.AVAILABLE_PROFILES;

/** Runs the command and gives its exit status: 0 or 1. */
export async function socketCommand(words: readonly string[], createBackend: BackendFactory): Promise<number> {
  let log: Log = consoleLog("wtpm");
  try {
    const options = parseSocketOptions(words, "socket", process.env);
    if (options.help) {
      process.stdout.write(
        `Usage: wtpm socket [options]\n\nServes a TPM over swtpm's protocol.\n\n${optionHelp(SOCKET_OPTIONS)}\n`,
      );
      return 0;
    }
    if (options.daemon && !isDaemon()) return await startDaemon(descriptorsOf(words));
    if (options.runas !== undefined) changeUser(options.runas);
    if (options.log) log = openLog(options.log);
    return await (options.print ? print(options, createBackend) : serve(options, log, createBackend));
  } catch (error) {
    if (error instanceof UsageError) {
      process.stderr.write(`${error.message}\nUsage: wtpm socket [options]; see wtpm socket --help\n`);
    } else {
      log.line((error as Error).message);
    }
    return 1;
  }
}

/** The descriptors that options name: fd=5, clientfd=6, pwdfd=7, --fd 8. */
function descriptorsOf(words: readonly string[]): number[] {
  const text = words.join(" ");
  return [...text.matchAll(/fd[= ]\s*\+?(\d+)|-f ?(\d+)/g)]
    .map((match) => Number(match[1] ?? match[2]))
    .filter((fd) => fd > 2);
}

function needTpm2(options: SocketOptions): void {
  if (!options.tpm2)
    throw new OptionError("TPM 1.2, which is meant without --tpm2, is not supported yet; add --tpm2 for a TPM 2.0");
}

async function print(options: SocketOptions, createBackend: BackendFactory): Promise<number> {
  if (options.print === "capabilities") {
    process.stdout.write(
      `${capabilities(options.tpm2 ? await infoOf(createBackend, INFO_OF_CAPABILITIES) : undefined)}\n`,
    );
    return 0;
  }
  if (options.print === "profiles") {
    needTpm2(options);
    process.stdout.write(await infoOf(createBackend, INFO.AVAILABLE_PROFILES));
    return 0;
  }
  const { uri, mode, ephemeral } = options.state();
  if (options.print === "states") {
    if (uri === undefined) throw new OptionError("Error: --tpmstate option is required for --print-states");
    const states = statesAt(uri, {
      family: options.tpm2 ? "2.0" : "1.2",
      ...(mode !== undefined && { mode }),
      ...(ephemeral !== undefined && { ephemeral }),
    });
    const list = states.map(({ name, size }) => ` {"name": "${name}", "size": ${size}}`).join(",");
    process.stdout.write(`{ "type": "swtpm", "states": [${list}${list ? " " : ""}] }`);
    return 0;
  }
  needTpm2(options);
  const log = consoleLog("wtpm");
  const backend = await createBackend({ store: storeOf(options, log, await formatOf(options, log)) });
  try {
    // With a state it tells what this TPM is, otherwise what the program is.
    if (uri !== undefined) await backend.powerOn();
    process.stdout.write(`${await backend.info(options.infoFlags)}\n`);
  } finally {
    await backend.close();
  }
  return 0;
}

/** What the program, not a certain TPM, tells of itself. */
async function infoOf(createBackend: BackendFactory, flags: number): Promise<string> {
  const backend = await createBackend({ store: new MemoryStore() });
  try {
    return await backend.info(flags);
  } finally {
    await backend.close();
  }
}

function formatOf(options: SocketOptions, log: Log): Promise<StateFormat> {
  return stateFormat(options.key, warnIn(log));
}

function storeOf(options: SocketOptions, log: Log, format: StateFormat): StateStore {
  const inform = (sentence: string) => log.line(sentence);
  return openState(options.state(), "2.0", warnIn(log), format, inform) ?? new NoStore();
}

const warnIn = (log: Log) => (sentence: string) => log.line(`Warning: ${sentence}`);

async function serve(options: SocketOptions, log: Log, createBackend: BackendFactory): Promise<number> {
  needTpm2(options);
  const { pid, powerOn, startup, profile, ...service } = options.rest();
  const format = await formatOf(options, log);
  const keys = { state: format, migration: migrationKey(options.migrationKey, warnIn(log)) };
  const store = storeOf(options, log, format);
  // The engine is made while the sockets are bound; a failure is reported below.
  const warn = (sentence: string) => log.line(sentence);
  const backend = createBackend({ store, warn, ...(profile === undefined ? {} : { profile }) });
  backend.catch(() => {});
  const server = new TpmServer({
    transport: nodeTransport,
    log,
    autoShutdown: service.autoShutdown,
    rejectLocality4: service.rejectLocality4,
    allowSetLocality: service.allowSetLocality,
    incomingMigration: service.incomingMigration,
    releaseLockOutgoing: service.releaseLockOutgoing,
    keys,
    disconnect: service.disconnect,
    terminateWithControl: service.terminateWithControl,
    terminateWithData: service.terminateWithData,
    receiveDescriptors: service.control !== undefined && service.control.type !== "tcp",
    ...(service.control ? { control: service.control } : {}),
    ...(service.data ? { data: service.data } : {}),
    ...managementOf(options.state(), store, format, log, service.management),
    ...(await observer(log)),
  });
  let removePidFile = () => {};
  try {
    onSignals(() => void server.close());
    await server.listen();
    if (pid) removePidFile = writePidFile(pid);
    await startServing(server, backend, { powerOn, startup });
    if (isDaemon()) daemonReady();
    await server.ended;
    return 0;
  } catch (error) {
    await server.close();
    throw error;
  } finally {
    removePidFile();
  }
}

async function startServing(
  server: TpmServer,
  backend: Promise<Backend>,
  options: Parameters<TpmServer["serve"]>[1],
): Promise<void> {
  try {
    await server.serve(await backend, options);
  } catch (error) {
    throw new Error(`Error: Could not initialize the TPM: ${(error as Error).message}`, { cause: error });
  }
}

/** SIGTERM and SIGINT end as swtpm does. While nothing else is to be done they would not keep the process alive. */
function onSignals(end: () => void): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, end);
  // A server whose only channel is yet to come (or none) waits for a signal, like swtpm.
  setInterval(() => {}, 2 ** 30);
}

async function observer(log: Log): Promise<{ observe?: (command: Uint8Array, response: Uint8Array) => void }> {
  if (log.level < 2) return {};
  const codec = log.level >= LEVEL_DECODED ? await import("../codec/index.ts") : undefined;
  return {
    observe: (command, response) => {
      logBytes(log, " SWTPM_IO_Read:", command);
      if (codec) log.line(`    ${codec.describeCommand(command)}`);
      logBytes(log, " SWTPM_IO_Write:", response);
      if (!codec || command.length < 10) return;
      const code = new DataView(command.buffer, command.byteOffset).getUint32(6);
      log.line(`    ${codec.describeResponse(response, code)}`);
    },
  };
}
