// A QEMU whose guest never runs: its memory is read and written through the qtest socket, and behind its TPM device sits
// a FakeSwtpm.
import net from "node:net";
import path from "node:path";
import { rmSync } from "node:fs";
import { nodeTransport } from "../../src/platform/node-transport.ts";
import type { Connection } from "../../src/server/transport.ts";
import { CONTROL } from "../../src/frontend/replay/emulator-port.ts";
import { temporaryFolder } from "./emulator.ts";
import { type FakeSwtpm, requestLength } from "./fake-swtpm.ts";
import { type Program, start, until } from "./process.ts";

export type LiveDevice = "tpm-tis" | "tpm-crb" | "tpm-tis-device";

/** Where a TPM device is found. */
interface Machine {
  readonly program: string;
  readonly words: readonly string[];
  /** The address of the device's registers. */
  readonly base: number;
  /** The interrupt controller's path among QEMU's objects, and its line that the device drives. */
  readonly controller: string;
  readonly line: number;
}

const Q35: Machine = {
  program: "qemu-system-x86_64",
  words: ["-M", "q35"],
  base: 0xfed40000,
  controller: "ioapic",
  line: 5,
};
/** The first device of the platform bus, whose first interrupt is SPI 112. */
const VIRT: Machine = {
  program: "qemu-system-aarch64",
  words: ["-M", "virt", "-cpu", "cortex-a57"],
  base: 0x0c000000,
  controller: "/machine/unattached/device[1]",
  line: 112,
};
const MACHINES: Record<LiveDevice, Machine> = { "tpm-tis": Q35, "tpm-crb": Q35, "tpm-tis-device": VIRT };

/** Control commands of whose request only the locality byte is defined: QEMU leaves the rest uninitialised. */
const ONLY_LOCALITY: readonly number[] = [CONTROL.SET_LOCALITY, CONTROL.RESET_TPMESTABLISHED];

/** What came out of the machine: a control command, a TPM command, or the interrupt line, each as text. */
export function controlText(code: number, request: Uint8Array): string {
  const shown = ONLY_LOCALITY.includes(code) ? request.subarray(0, 1) : request;
  return `control ${code} ${Buffer.from(shown).toString("hex")}`;
}
export const commandText = (command: Uint8Array, locality: number) =>
  `command ${Buffer.from(command).toString("hex")} at ${locality}`;

/** A socket of text lines QEMU connects to. */
class LineSocket {
  #socket: net.Socket | undefined;
  #rest = "";
  #waiting: ((line: string) => void)[] = [];
  /** Takes a line and says whether it was its own; what it leaves answers the oldest request. */
  readonly #unasked: (line: string) => boolean;
  readonly #server: net.Server;

  constructor(file: string, unasked: (line: string) => boolean) {
    this.#unasked = unasked;
    this.#server = net.createServer((socket) => {
      this.#socket = socket.setEncoding("utf8").on("data", (text) => this.#received(`${text}`));
      socket.on("error", () => {});
    });
    this.#server.listen(file);
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  #received(text: string): void {
    const lines = (this.#rest + text).split("\n");
    this.#rest = lines.pop()!;
    for (const line of lines) if (!this.#unasked(line)) this.#waiting.shift()?.(line);
  }

  /** Sends a line and gives the answer's. */
  ask(line: string): Promise<string> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#socket!.write(`${line}\n`);
    });
  }

  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }
}

const QTEST_SIZES: Record<number, string> = { 1: "b", 2: "w", 4: "l", 8: "q" };

export class LiveQemu {
  /** All that came out of the machine so far, in order of its kind. */
  readonly backend: string[] = [];
  readonly interrupts: boolean[] = [];
  readonly #machine: Machine;
  #resets = 0;
  readonly #folder = temporaryFolder();
  readonly #swtpm: FakeSwtpm;
  readonly #qtest: LineSocket;
  readonly #qmp: LineSocket;
  #program: Program | undefined;
  #data: Connection | undefined;
  #initialized = false;

  private constructor(machine: Machine, swtpm: FakeSwtpm) {
    this.#machine = machine;
    this.#swtpm = swtpm;
    const changed = new RegExp(`^IRQ (raise|lower) ${machine.line}$`);
    this.#qtest = new LineSocket(this.#file("qtest"), (line) => {
      const change = changed.exec(line);
      if (change) this.interrupts.push(change[1] === "raise");
      return line.startsWith("IRQ ");
    });
    this.#qmp = new LineSocket(this.#file("qmp"), (line) => {
      const { event, QMP } = JSON.parse(line);
      if (event === "RESET") this.#resets++;
      return event !== undefined || QMP !== undefined;
    });
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }

  /** Starts a machine with that TPM device. @throws Error with what QEMU printed when it does not come up */
  static async start(device: LiveDevice, swtpm: () => FakeSwtpm): Promise<LiveQemu> {
    // QEMU gives its TPM one second to tell the version, which a busy machine may exceed.
    for (let attempt = 1; ; attempt++) {
      const qemu = new LiveQemu(MACHINES[device], swtpm());
      try {
        await qemu.#boot(device);
        return qemu;
      } catch (error) {
        await qemu.stop();
        if (attempt === 5) throw error;
      }
    }
  }

  async #boot(device: LiveDevice): Promise<void> {
    const listening = nodeTransport.listen(
      { type: "unix", path: this.#file("tpm") },
      (connection) => this.#serveControl(connection),
      { receiveDescriptors: true },
    );
    const listener = await listening;
    const socket = (name: string) => `unix:${this.#file(name)}`;
    const program = start(this.#machine.program, [
      ...[...this.#machine.words, "-m", "32", "-accel", "tcg", "-S", "-display", "none", "-nodefaults"],
      ...["-chardev", `socket,id=chrtpm,path=${this.#file("tpm")}`],
      ...["-tpmdev", "emulator,id=tpm0,chardev=chrtpm", "-device", `${device},tpmdev=tpm0`],
      ...["-qtest", socket("qtest"), "-qtest-log", "/dev/null", "-qmp", socket("qmp")],
    ]);
    this.#program = program;
    const up = () => (this.#qtest.connected && this.#qmp.connected && this.#initialized) || program.hasExited();
    await until("QEMU to start its TPM", up);
    listener.close();
    if (program.hasExited()) {
      throw new Error(`${this.#machine.program} ended: ${(await program.exited).stderr}`);
    }
    await this.#qmp.ask(JSON.stringify({ execute: "qmp_capabilities" }));
    await this.#qtest.ask(`irq_intercept_in ${this.#machine.controller}`);
  }

  #serveControl(connection: Connection): void {
    let pending = Buffer.alloc(0);
    connection.open({
      data: (bytes) => {
        const channel = connection.takeDescriptor();
        if (channel) this.#serveData(channel);
        pending = Buffer.concat([pending, bytes]);
        while (pending.length >= 4) {
          const code = pending.readUInt32BE(0);
          const end = 4 + requestLength(code);
          if (pending.length < end) break;
          const request = pending.subarray(4, end);
          pending = pending.subarray(end);
          this.backend.push(controlText(code, request));
          connection.write(this.#swtpm.control(code, request));
          if (code === CONTROL.INIT) this.#initialized = true;
        }
      },
      end: () => connection.close(),
      close: () => {},
    });
  }

  /** QEMU writes a command at once, and no second one before the first was answered. */
  #serveData(channel: Connection): void {
    this.#data = channel;
    channel.open({
      data: (bytes) => {
        this.backend.push(commandText(bytes, this.#swtpm.locality));
        if (!this.#initialized) channel.write(this.#swtpm.probe(bytes));
      },
      end: () => channel.close(),
      close: () => {},
    });
  }

  /** Answers the command under way. */
  respond(response: Uint8Array): void {
    this.#data!.write(response);
  }

  async #ask(command: string): Promise<string> {
    const answer = await this.#qtest.ask(command);
    if (!answer.startsWith("OK")) throw new Error(`qtest: ${command}: ${answer}`);
    return answer.slice(3);
  }

  /** Where a register is, by its offset, as qtest takes it. */
  #at(offset: number): string {
    return `0x${(this.#machine.base + offset).toString(16)}`;
  }

  async read(offset: number, size: number): Promise<bigint> {
    return BigInt(await this.#ask(`read${QTEST_SIZES[size]} ${this.#at(offset)}`));
  }

  async write(offset: number, size: number, value: bigint): Promise<void> {
    await this.#ask(`write${QTEST_SIZES[size]} ${this.#at(offset)} 0x${value.toString(16)}`);
  }

  async readBytes(offset: number, length: number): Promise<string> {
    return (await this.#ask(`read ${this.#at(offset)} 0x${length.toString(16)}`)).slice(2);
  }

  async writeBytes(offset: number, bytes: Uint8Array): Promise<void> {
    const hex = Buffer.from(bytes).toString("hex");
    await this.#ask(`write ${this.#at(offset)} 0x${bytes.length.toString(16)} 0x${hex}`);
  }

  /** Resets the machine. QEMU does nothing else until that is done. */
  async reset(): Promise<void> {
    const before = this.#resets;
    await this.#qmp.ask(JSON.stringify({ execute: "system_reset" }));
    await until("the machine's reset", () => this.#resets > before);
  }

  /** What QEMU printed on its standard error, one message a line, without its name. */
  messages(): string[] {
    const lines = this.#program!.output().stderr.split("\n");
    return lines.filter((line) => line !== "").map((line) => line.replace(/^qemu-system-\w+: /, ""));
  }

  async stop(): Promise<void> {
    await this.#program?.kill();
    this.#data?.close();
    this.#qtest.close();
    this.#qmp.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
