// Times the start of a machine in the v86 emulator whose TPM is wtpm's: node bench/v86.mjs [--starts 10] [--no-linux] [--no-page]
//
// Milliseconds from the machine's first instruction on; median and worst. SeaBIOS without a kernel is started often, with Debian's 686
// kernel once, in this process and, if there is a Chromium, in the demo page: there from the request for the page on.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { V86 } from "v86";
import { CMDLINE, MEMORY_SIZE, machineImages, READY } from "../scripts/demo-guest.mjs";
import { figure, heading, median, readOptions, requireBuild, root, table } from "./report.mjs";

requireBuild();
const options = readOptions({ starts: 10, "no-linux": false, "no-page": false });
const { attachTpm } = await import("../dist/v86.js");

const wasm = path.join(path.dirname(createRequire(import.meta.url).resolve("v86")), "v86.wasm");
const CHROMIUM = "/usr/bin/chromium";
const TPM_CC_PCR_EXTEND = 0x182;

const images = machineImages();
const image = (bytes) => ({ buffer: Uint8Array.from(bytes).buffer });

/** SeaBIOS closes PCR 7 last; what follows is the kernel's. */
function closesFirmware(command) {
  const view = new DataView(command.buffer, command.byteOffset, command.length);
  return view.getUint32(6) === TPM_CC_PCR_EXTEND && view.getUint32(10) === 7;
}

/** Starts a machine, waits until `done` of the console's text and the number of the firmware's last command, and gives the times of all. */
async function boot(linux, done) {
  const emulator = new V86({
    wasm_path: wasm,
    bios: image(images.bios),
    vga_bios: image(images.vgaBios),
    ...(linux ? { bzimage: image(images.kernel), initrd: image(images.initrd), cmdline: CMDLINE } : {}),
    memory_size: linux ? MEMORY_SIZE : 32 << 20,
    acpi: true,
    autostart: false,
    disable_speaker: true,
  });
  const commands = [];
  let last;
  let console = "";
  let start = performance.now();
  emulator.add_listener("serial0-output-byte", (byte) => {
    console += String.fromCharCode(byte);
  });
  const tpm = await attachTpm(emulator, {
    observe: (command) => {
      if (last === undefined && closesFirmware(command)) last = commands.length;
      commands.push(performance.now() - start);
    },
  });
  start = performance.now();
  await emulator.run();
  while (!done(console, last)) await new Promise((resolve) => setTimeout(resolve, 1));
  const end = performance.now() - start;
  await emulator.destroy();
  await tpm.close();
  return { first: commands[0], last: commands[last], kernel: commands[last + 1], end };
}

/** The demo page in Chromium: first command and shell, from the request for the page on. */
async function page() {
  const server = spawn(process.execPath, ["scripts/demo.mjs", "--no-build", "--port", "0"], {
    cwd: root,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const { chromium } = await import("playwright-core");
  let browser;
  try {
    const [line] = await once(server.stdout, "data");
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox"] });
    const view = await browser.newPage();
    const start = performance.now();
    await view.goto(/http:\S+/.exec(`${line}`)[0]);
    const limit = { timeout: 900_000, polling: 5 };
    await view.waitForFunction(() => document.getElementById("commands").childElementCount > 0, undefined, limit);
    const first = performance.now() - start;
    await view.waitForFunction((text) => document.getElementById("terminal").textContent.includes(text), READY, limit);
    return { first, shell: performance.now() - start };
  } finally {
    await browser?.close();
    server.kill();
  }
}

const cell = (times) => [figure(median(times)), figure(Math.max(...times))];

const firmware = [];
for (let i = 0; i < options.starts; i++) {
  firmware.push(await boot(false, (_console, last) => last !== undefined));
}
const rows = [
  ["SeaBIOS alone: first command", ...cell(firmware.map(({ first }) => first))],
  ["SeaBIOS alone: last command", ...cell(firmware.map(({ last }) => last))],
];
if (!options["no-linux"]) {
  const { first, last, kernel, end } = await boot(true, (console) => console.includes(READY));
  rows.push(
    ["with Linux: first command", ...cell([first])],
    ["with Linux: SeaBIOS's last command", ...cell([last])],
    ["with Linux: the kernel's first command", ...cell([kernel])],
    ["with Linux: shell", ...cell([end])],
  );
}
if (!options["no-page"] && existsSync(CHROMIUM)) {
  const { first, shell } = await page();
  rows.push(["page: first command", ...cell([first])], ["page: shell", ...cell([shell])]);
}
console.log(heading());
console.log(`${options.starts} starts of SeaBIOS, one of each with Linux; ms\n`);
console.log(table(["", "median", "worst"], rows));
