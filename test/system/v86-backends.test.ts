// SeaBIOS in the v86 emulator with a TPM that is no engine in the process: Debian's swtpm behind its control socket, of both families.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, expect, test } from "vitest";
import { replayEventLog } from "../../bindings/v86/index.ts";
import { connectEmulator } from "../../src/backend/emulator.ts";
import { encodeCommand } from "../../src/codec/index.ts";
import { listeningSockets } from "../support/emulator.ts";
import { type Program, start, until } from "../support/process.ts";
import { BOOT_LIMIT_MS, V86Machine } from "../support/v86-machine.ts";

const FIRMWARE_PCRS = [0, 1, 2, 3, 4, 5, 6, 7];

const swtpms: Program[] = [];
const cleanUp: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const work of cleanUp.splice(0).reverse()) await work();
});

/** A machine whose TPM is an swtpm of its own. */
async function machineWithSwtpm(...words: string[]): Promise<V86Machine> {
  const folder = mkdtempSync(path.join(tmpdir(), "v86-"));
  cleanUp.push(async () => rmSync(folder, { recursive: true, force: true }));
  const control = path.join(folder, "ctrl");
  const swtpm: Program = start("swtpm", [
    ...["socket", ...words, "--tpmstate", `dir=${folder}`, "--ctrl", `type=unixio,path=${control}`],
  ]);
  swtpms.push(swtpm);
  cleanUp.push(() => swtpm.kill());
  await until("swtpm's control socket", () => {
    if (swtpm.hasExited()) throw new Error(`swtpm has ended: ${swtpm.output().stderr}`);
    return listeningSockets().has(control);
  });
  const backend = await connectEmulator({ control: { path: control } });
  cleanUp.push(() => backend.close().catch(() => {}));
  const machine = await V86Machine.make({ linux: false, backend });
  cleanUp.push(() => machine.dispose().catch(() => {}));
  return machine;
}

test.each([
  {
    family: "2.0",
    words: ["--tpm2"],
    bank: "sha256",
    read: (pcr: number) =>
      encodeCommand("PCR_Read", { parameters: { pcrSelectionIn: [{ hash: "SHA256", pcrSelect: [pcr] }] } }),
  },
  {
    family: "1.2",
    words: [],
    bank: "sha1",
    read: (pcr: number) => Uint8Array.of(0, 0xc1, 0, 0, 0, 14, 0, 0, 0, 0x15, 0, 0, 0, pcr),
  },
] as const)(
  "a TPM $family is started, measured into and logged, also after a reset and in a machine that was saved",
  async ({ family, words, bank, read }) => {
    async function checkLog({ tpm }: V86Machine): Promise<void> {
      const log = tpm.eventLog();
      expect(log.banks).toContain(bank);
      const values = await replayEventLog(log, bank);
      expect([...values.keys()].sort()).toEqual(FIRMWARE_PCRS);
      for (const [pcr, value] of values) {
        const response = Buffer.from(await tpm.backend.execute(read(pcr), 0));
        expect(response.subarray(-value.length).equals(value), `PCR ${pcr} is ${response.toString("hex")}`).toBe(true);
      }
    }

    const machine = await machineWithSwtpm(...words);
    expect(machine.tpm.backend.family).toBe(family);
    await machine.emulator.run();
    await machine.measured(1);
    await checkLog(machine);

    machine.emulator.restart();
    await machine.measured(2);
    await checkLog(machine);

    const state = await machine.tpm.saveState();
    const other = await machineWithSwtpm(...words);
    await other.tpm.restoreState(state);
    await checkLog(other);
    expect([...machine.errors, ...other.errors]).toEqual([]);
  },
  BOOT_LIMIT_MS,
);

test(
  "a TPM that ends gives the host an error, and the machine goes on without it",
  async () => {
    const machine = await machineWithSwtpm("--tpm2");
    await machine.emulator.run();
    await until("the firmware's first command", () => machine.commands.length > 0, BOOT_LIMIT_MS);
    await swtpms.at(-1)!.kill();
    machine.emulator.restart();
    await until("the error of the reset", () => machine.errors.length > 0);
    expect(machine.errors.at(-1)).toMatchObject({ name: "BackendError", kind: "io" });
    await until("the machine to go on", () => machine.emulator.is_running());
    expect(machine.tpm.device.read(0, 1)).toBe(0);
    await expect(machine.dispose()).rejects.toMatchObject({ kind: "io" });
  },
  BOOT_LIMIT_MS,
);
