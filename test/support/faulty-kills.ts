// A client with a ledger, and a server that is killed again and again: what was acknowledged has to be there each time.
import { Buffer } from "node:buffer";
import { rmSync } from "node:fs";
import path from "node:path";
import { type Emulator, startEmulator, temporaryFolder } from "./emulator.ts";
import { Seeded } from "./seeded.ts";
import {
  command,
  nvData,
  nvDefineSpace,
  nvRead,
  nvUndefineSpace,
  nvWrite,
  parseResponse,
  sized,
  TPM,
  TpmClient,
  u16,
  u32,
} from "./tpm-client.ts";

/** Places of state, as --tpmstate says them. */
export const KILL_PLACES = {
  dir: (folder: string) => `dir=${folder}`,
  backup: (folder: string) => `dir=${folder},backup`,
  file: (folder: string) => `backend-uri=file://${path.join(folder, "nvram")}`,
} as const;

export type KillPlace = keyof typeof KILL_PLACES;

export interface KillReport {
  kills: number;
  /** Changes that the server answered. */
  acknowledged: number;
  /** Of the changes that were under way when it was killed, those that are there, and those that are not. */
  done: number;
  undone: number;
}

const INDICES = [0x0180_0100, 0x0180_0101, 0x0180_0102, 0x0180_0103];
const COUNTER = 0x0180_0110;
const SIZE = 64;

/** An index as the client knows it: not there, defined and never written, or its data in hexadecimal. */
type Content = "absent" | "unwritten" | string;

/** A change: the command, and what the index holds once it is acknowledged. */
interface Change {
  readonly index: number;
  readonly command: Buffer;
  readonly after: Content;
}

/**
 * Kills a server with SIGKILL as often as asked, at any moment while a client changes its NV indices.
 *
 * @param told called after every kill.
 * @throws Error when something acknowledged is not there afterwards, or something else is.
 */
export async function killLoop(
  place: KillPlace,
  kills: number,
  seed: string,
  told: (report: KillReport) => void = () => {},
): Promise<KillReport> {
  const folder = temporaryFolder();
  const random = new Seeded(seed);
  const ledger = new Map<number, Content>(INDICES.map((index) => [index, "absent"]));
  const report: KillReport = { kills: 0, acknowledged: 0, done: 0, undone: 0 };
  const launch = () => startEmulator({ args: ["--tpmstate", KILL_PLACES[place](folder)] });
  let emulator = await launch();
  try {
    ledger.set(COUNTER, await startCounter(emulator));
    while (report.kills < kills) {
      const last = await changeUntilKilled(emulator, ledger, random, report);
      await emulator.dispose();
      report.kills++;
      emulator = await launch();
      await compare(emulator, ledger, last, report);
      told(report);
    }
    return report;
  } finally {
    await emulator.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Sends changes, and notes which were answered, until the server is dead; gives the one that was not answered. */
async function changeUntilKilled(
  emulator: Emulator,
  ledger: Map<number, Content>,
  random: Seeded,
  report: KillReport,
): Promise<Change> {
  const client = await TpmClient.connect(emulator.dataSocket);
  const timer = setTimeout(() => void emulator.process.kill(), random.below(100));
  try {
    for (;;) {
      const change = nextChange(ledger, random);
      const response = await client.execute(change.command).catch(() => undefined);
      if (!response) return change;
      const { code } = parseResponse(response);
      if (code !== TPM.RC_SUCCESS) throw new Error(`a change was refused: 0x${code.toString(16)}`);
      ledger.set(change.index, change.after);
      report.acknowledged++;
    }
  } finally {
    clearTimeout(timer);
    client.close();
  }
}

function nextChange(ledger: ReadonlyMap<number, Content>, random: Seeded): Change {
  if (random.below(4) === 0) {
    const after = (BigInt(`0x${ledger.get(COUNTER)}`) + 1n).toString(16).padStart(16, "0");
    return { index: COUNTER, command: nvIncrement(COUNTER), after };
  }
  const index = random.pick(INDICES);
  const before = ledger.get(index)!;
  if (before === "absent") return { index, command: nvDefineSpace(index, SIZE), after: "unwritten" };
  if (before !== "unwritten" && random.below(4) === 0)
    return { index, command: nvUndefineSpace(index), after: "absent" };
  const data = Buffer.from(random.bytes(SIZE));
  return { index, command: nvWrite(index, data), after: data.toString("hex") };
}

/** Every index is as the ledger says; the one of the last change may be one further. */
async function compare(
  emulator: Emulator,
  ledger: Map<number, Content>,
  last: Change,
  report: KillReport,
): Promise<void> {
  const client = await TpmClient.connect(emulator.dataSocket);
  for (const [index, content] of ledger) {
    const stored = await contentOf(client, index);
    const possible = index === last.index ? [content, last.after] : [content];
    if (!possible.includes(stored)) {
      throw new Error(
        `after kill ${report.kills} index 0x${index.toString(16)} is ${stored}; acknowledged was ${possible.join(", under way ")}`,
      );
    }
    if (index === last.index) report[stored === content ? "undone" : "done"]++;
    ledger.set(index, stored);
  }
  client.close();
}

async function contentOf(client: TpmClient, index: number): Promise<Content> {
  const response = await client.execute(nvRead(index, index === COUNTER ? 8 : SIZE));
  const { code } = parseResponse(response);
  if (code === TPM.RC_SUCCESS) return nvData(response).toString("hex");
  if (code === TPM.RC_NV_UNINITIALIZED) return "unwritten";
  // TPM_RC_HANDLE of the first handle.
  if (code === 0x18b) return "absent";
  throw new Error(`reading 0x${index.toString(16)}: 0x${code.toString(16)}`);
}

async function startCounter(emulator: Emulator): Promise<Content> {
  const client = await TpmClient.connect(emulator.dataSocket);
  const TPM_NT_COUNTER = 1 << 4;
  const attributes = u32(TPM.NV_AUTHWRITE | TPM.NV_AUTHREAD | TPM.NV_NO_DA | TPM_NT_COUNTER);
  const nvPublic = Buffer.concat([u32(COUNTER), u16(TPM.ALG_SHA256), attributes, sized(new Uint8Array()), u16(8)]);
  const parameters = Buffer.concat([sized(new Uint8Array()), sized(nvPublic)]);
  await client.execute(command(TPM.CC_NV_DefineSpace, { handles: [TPM.RH_OWNER], passwords: [""], parameters }));
  await client.execute(nvIncrement(COUNTER));
  const content = await contentOf(client, COUNTER);
  client.close();
  return content;
}

function nvIncrement(index: number): Buffer {
  const TPM_CC_NV_INCREMENT = 0x134;
  return command(TPM_CC_NV_INCREMENT, { handles: [index, index], passwords: [""] });
}
