// The page: a machine with a TPM, and what goes on in that TPM.
import { V86 } from "v86";
import { createEngineBackend, IndexedDbStore, loadEngineModule } from "../../browser/index.ts";
import { attachTpm, type BankName, type MachineState, type V86Tpm } from "../index.ts";
import { CommandView } from "./command-view.ts";
import { LogView } from "./log-view.ts";
import { PcrView } from "./pcr-view.ts";
import { type Screen, Terminal } from "./terminal.ts";

/** What the page's server tells of the machine (scripts/demo.mjs). */
interface MachineSettings {
  readonly cmdline: string;
  readonly memorySize: number;
}

/** How often PCRs and log are looked at while there is something new. */
const REFRESH_MS = 150;

function element<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

const status = element("status");
const buttons = ["power", "save", "restore", "forget"].map((id) => element<HTMLButtonElement>(id));
const bank = element<HTMLSelectElement>("bank");
const pcrs = new PcrView(element<HTMLTableElement>("pcrs"), bank, element("replay"));
const log = new LogView(element("events"), element("log-size"));
const commands = new CommandView(element("commands"), element("command-count"));
const terminal = new Terminal(element("terminal"), (text) => machine?.emulator.serial0_send(text));

let machine: { readonly emulator: V86; readonly tpm: V86Tpm } | undefined;
let saved: { readonly machine: MachineState; readonly screen: Screen } | undefined;
/** PCRs or log may have changed since they were last shown. */
let stale = false;

function say(text: string, state = ""): void {
  status.textContent = text;
  status.dataset.state = state;
}

function failed(error: unknown): void {
  console.error(error);
  say(error instanceof Error ? error.message : `${error}`, "failed");
}

async function start(): Promise<void> {
  say("loading");
  const settings = (await (await fetch("machine.json")).json()) as MachineSettings;
  terminal.clear();
  commands.clear();
  pcrs.clear();
  const emulator = new V86({
    wasm_path: "v86/v86.wasm",
    bios: { url: "images/bios.bin" },
    vga_bios: { url: "images/vgabios.bin" },
    bzimage: { url: "images/kernel" },
    initrd: { url: "images/initrd" },
    cmdline: settings.cmdline,
    memory_size: settings.memorySize,
    acpi: true,
    autostart: false,
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
  });
  emulator.add_listener("serial0-output-byte", (byte) => terminal.write(byte));
  await loadEngineModule();
  const store = new IndexedDbStore("demo");
  const tpm = await attachTpm(emulator, {
    backend: createEngineBackend({ store }),
    onError: failed,
    observe: (command, response, locality) => {
      commands.add(command, response, locality);
      stale = true;
    },
  });
  machine = { emulator, tpm };
  await emulator.run();
  say("running", "running");
}

async function stop(): Promise<void> {
  const { emulator, tpm } = machine ?? {};
  machine = undefined;
  await emulator?.destroy();
  await tpm?.close();
  await tpm?.backend.close();
}

const actions: Record<string, () => Promise<void>> = {
  async power() {
    await stop();
    await start();
  },
  async save() {
    if (machine) saved = { machine: await machine.tpm.saveState(), screen: terminal.screen };
  },
  async restore() {
    if (!saved) return;
    await machine?.tpm.restoreState(saved.machine);
    terminal.screen = saved.screen;
    stale = true;
  },
  async forget() {
    await stop();
    await new IndexedDbStore("demo").remove();
    await start();
  },
};

/** Runs what a button stands for; the others wait. */
async function act(action: () => Promise<void>): Promise<void> {
  for (const button of buttons) button.disabled = true;
  await action().catch(failed);
  for (const button of buttons) button.disabled = button.id === "restore" && !saved;
}

async function refresh(): Promise<void> {
  if (stale && machine) {
    stale = false;
    const { tpm } = machine;
    log.update(tpm.eventLog(), bank.value as BankName);
    // A TPM in the middle of a command is asked again.
    if (!(await pcrs.update(tpm))) stale = true;
  }
  setTimeout(refresh, REFRESH_MS);
}

for (const button of buttons) button.addEventListener("click", () => void act(actions[button.id]!));
bank.addEventListener("change", () => {
  pcrs.clear();
  stale = true;
});
// v86 throws where nobody can catch it when its processor is lost.
addEventListener("error", ({ error }) => failed(error));
void act(start);
void refresh();
