// A PC under QEMU's emulation (TCG) with a stock Linux kernel and a shell, whose TPM is an emulator's.
import { copyFileSync, existsSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { DONE, type GuestImage, guestImage, READY } from "./guest-image.ts";
import { type Exit, type Program, start, until } from "./process.ts";

const QEMU = "qemu-system-x86_64";
const OVMF = "/usr/share/OVMF";
/** An Intel model: on others Linux takes no CRB TPM as a source of random numbers. */
const CPU = "Nehalem";
/** A boot takes seconds on a quiet machine and minutes on a loaded one. */
export const BOOT_LIMIT_MS = 420_000;
const STEP_LIMIT_MS = 120_000;

/** One write and one read: the driver takes what comes with a write for a whole command. */
const WRITE_COMMAND = "dd if=/tmp/command bs=4096 count=1 2>/dev/null >&3";
const READ_RESPONSE = "dd bs=4096 count=1 2>/dev/null <&3 | base64";

export interface GuestOptions {
  /** For the guest's files and sockets; a short name. */
  readonly folder: string;
  readonly firmware: "seabios" | "ovmf";
  readonly device: "tpm-tis" | "tpm-crb";
  /** The emulator's control socket. */
  readonly controlSocket: string;
  /** More words for QEMU. */
  readonly args?: readonly string[];
  /** What it boots; by default an image made in its folder. */
  readonly image?: GuestImage;
}

/** Text that a character device of QEMU's writes to a socket on which the test listens. */
class Port {
  text = "";
  #socket: net.Socket | undefined;
  readonly #server: net.Server;
  constructor(file: string) {
    this.#server = net.createServer((socket) => {
      this.#socket = socket.setEncoding("latin1").on("data", (text) => {
        this.text += text;
      });
      socket.on("error", () => {});
    });
    this.#server.listen(file);
  }
  send(line: string): void {
    this.#socket?.write(`${line}\n`);
  }
  close(): void {
    this.#socket?.destroy();
    this.#server.close();
  }
}

interface Ports {
  readonly console: Port;
  readonly shell: Port;
  readonly monitor: Port;
}

export class Guest {
  readonly #ports: Ports;
  readonly #qemu: Program;
  #requests = 0;

  private constructor(ports: Ports, qemu: Program) {
    this.#ports = ports;
    this.#qemu = qemu;
  }

  /** Starts the machine and waits for its shell. */
  static async boot(options: GuestOptions): Promise<Guest> {
    const guest = await Guest.start(options);
    try {
      await guest.#ready(0);
    } catch (error) {
      await guest.dispose();
      throw error;
    }
    return guest;
  }

  /** Starts the machine and waits for QEMU's monitor; with `-incoming defer` in `options.args` its guest does not run yet. */
  static async start(options: GuestOptions): Promise<Guest> {
    const { folder, firmware, device, controlSocket } = options;
    const { kernel, initrd } = options.image ?? (await guestImage(folder));
    const socket = (name: string) => path.join(folder, name);
    const ports = { console: new Port(socket("con")), shell: new Port(socket("sh")), monitor: new Port(socket("qmp")) };
    const chardev = (name: string) => ["-chardev", `socket,id=${name},path=${socket(name)}`];
    const qemu = start(QEMU, [
      ...["-no-user-config", "-nodefaults", "-display", "none", "-machine", "q35,accel=tcg", "-cpu", CPU],
      ...["-m", "512", "-smp", "1"],
      ...(firmware === "ovmf" ? flash(folder) : []),
      ...["-kernel", kernel, "-initrd", initrd],
      ...["-append", "console=ttyS0 quiet panic=-1 ima_policy=tcb"],
      ...[...chardev("con"), "-serial", "chardev:con", ...chardev("sh"), "-serial", "chardev:sh"],
      ...[...chardev("qmp"), "-mon", "chardev=qmp,mode=control"],
      ...["-chardev", `socket,id=chrtpm,path=${controlSocket}`, "-tpmdev", "emulator,id=tpm0,chardev=chrtpm"],
      ...["-device", `${device},tpmdev=tpm0`, ...(options.args ?? [])],
    ]);
    const guest = new Guest(ports, qemu);
    try {
      await guest.#wait("QEMU's monitor", () => ports.monitor.text.includes('"QMP"'), STEP_LIMIT_MS);
      await guest.monitor("qmp_capabilities");
    } catch (error) {
      await guest.dispose();
      throw error;
    }
    return guest;
  }

  async #ready(from: number): Promise<void> {
    const { shell, console } = this.#ports;
    await this.#wait("the guest's shell", () => shell.text.indexOf(READY, from) >= 0, BOOT_LIMIT_MS).catch((error) => {
      throw new Error(`${(error as Error).message}; its console ends with:\n${console.text.slice(-2000)}`);
    });
  }

  #wait<T>(what: string, condition: () => T | undefined | false, limit: number): Promise<T> {
    return until(
      what,
      () => {
        const value = condition();
        if (value === undefined || value === false) this.#checkRunning();
        return value;
      },
      limit,
    );
  }

  #checkRunning(): void {
    if (!this.#qemu.hasExited()) return;
    throw new Error(`QEMU has ended: ${this.#qemu.output().stderr}`);
  }

  /** Runs a line in the guest's shell. @throws Error when its exit status is not 0 */
  async shell(line: string): Promise<string> {
    const { shell } = this.#ports;
    const from = shell.text.length;
    shell.send(line);
    const pattern = new RegExp(`^${DONE} (\\d+)\\r?\\n`, "m");
    const match = await this.#wait(
      `the guest to run '${line}'`,
      () => pattern.exec(shell.text.slice(from)) ?? undefined,
      STEP_LIMIT_MS,
    );
    const output = shell.text.slice(from, from + match.index).replaceAll("\r", "");
    if (match[1] !== "0") throw new Error(`'${line}' ended with status ${match[1]} in the guest:\n${output}`);
    return output;
  }

  /** The bytes of a file in the guest. */
  async read(file: string): Promise<Uint8Array> {
    return bytesOf(await this.shell(`base64 ${file}`));
  }

  /** Sends a TPM command through the guest's /dev/tpm0 and gives the response. */
  async tpm(command: Uint8Array): Promise<Uint8Array> {
    await this.openTpm();
    const response = await this.transmit(command);
    await this.shell("exec 3>&-");
    return response;
  }

  /** Has the guest's shell keep /dev/tpm0 open, as descriptor 3. */
  async openTpm(): Promise<void> {
    await this.shell("exec 3<>/dev/tpm0");
  }

  /** Sends a TPM command through the descriptor of `openTpm` and gives the response. */
  async transmit(command: Uint8Array): Promise<Uint8Array> {
    await this.#putCommand(command);
    return bytesOf(await this.shell(`${WRITE_COMMAND} && ${READ_RESPONSE}`));
  }

  /** Begins a TPM command; the function it gives waits for the response, from the guest that this one was moved to. */
  async beginTransmit(command: Uint8Array): Promise<(guest: Guest) => Promise<Uint8Array>> {
    await this.#putCommand(command);
    await this.shell(`{ ${WRITE_COMMAND}; ${READ_RESPONSE} >/tmp/response; } &`);
    return async (guest) => bytesOf(await guest.shell("wait; cat /tmp/response"));
  }

  async #putCommand(command: Uint8Array): Promise<void> {
    const words = [...command].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
    await this.shell(`printf '${words}' >/tmp/command`);
  }

  /** QEMU has sent this event. */
  async event(name: string): Promise<void> {
    await this.#wait(
      `QEMU's event ${name}`,
      () => this.#ports.monitor.text.includes(`"event": "${name}"`),
      STEP_LIMIT_MS,
    );
  }

  /** Waits for QEMU to end by itself. */
  async ended(): Promise<Exit> {
    const exit = await this.#qemu.ended(STEP_LIMIT_MS);
    this.#close();
    return exit;
  }

  /** Runs a command of QEMU's monitor and gives what it returns. */
  async monitor(execute: string, args: object = {}): Promise<unknown> {
    const id = `request-${++this.#requests}`;
    this.#ports.monitor.send(JSON.stringify({ execute, arguments: args, id }));
    const answer = await this.#wait(
      `QEMU's answer to ${execute}`,
      () => {
        const lines = this.#ports.monitor.text.split("\n").filter((line) => line.includes(`"${id}"`));
        return lines.map((line) => JSON.parse(line) as { return?: unknown; error?: { desc: string } })[0];
      },
      STEP_LIMIT_MS,
    );
    if (answer.error) throw new Error(`${execute}: ${answer.error.desc}`);
    return answer.return;
  }

  /** Runs a line of QEMU's monitor for people and gives what it prints. */
  async humanMonitor(line: string): Promise<string> {
    return (await this.monitor("human-monitor-command", { "command-line": line })) as string;
  }

  /** QEMU's word for what the machine is doing: "running", "paused", "inmigrate", "postmigrate". */
  async status(): Promise<string> {
    return ((await this.monitor("query-status")) as { status: string }).status;
  }

  /** Waits until the machine runs; false when QEMU ends instead. */
  async runs(): Promise<boolean> {
    return until(
      "the machine to run",
      async () => {
        if (this.#qemu.hasExited()) return { runs: false };
        const running = await this.status().catch(() => "unknown");
        return running === "running" ? { runs: true } : undefined;
      },
      STEP_LIMIT_MS,
    ).then(({ runs }) => runs);
  }

  /** Resets the machine, of which its kernel knows nothing, and waits for its shell. */
  async reset(): Promise<void> {
    const from = this.#ports.shell.text.length;
    await this.monitor("system_reset");
    await this.#ready(from);
  }

  /** Has the guest's kernel shut its devices down and reboot, and waits for its shell. */
  async reboot(): Promise<void> {
    const from = this.#ports.shell.text.length;
    this.#ports.shell.send("reboot -f");
    await this.#ready(from);
  }

  /** Ends QEMU. */
  async quit(): Promise<Exit> {
    await this.monitor("quit").catch(() => {});
    return this.ended();
  }

  async dispose(): Promise<void> {
    await this.#qemu.kill();
    this.#close();
  }

  #close(): void {
    for (const port of Object.values(this.#ports)) port.close();
  }
}

const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, "base64"));

/** OVMF, with variables of the machine's own. */
function flash(folder: string): string[] {
  const code = `${OVMF}/OVMF_CODE_4M.fd`;
  if (!existsSync(code)) throw new Error(`${code} is missing: node scripts/clients.mjs`);
  const variables = path.join(folder, "vars.fd");
  copyFileSync(`${OVMF}/OVMF_VARS_4M.fd`, variables);
  return [
    ...["-drive", `if=pflash,unit=0,format=raw,readonly=on,file=${code}`],
    ...["-drive", `if=pflash,unit=1,format=raw,file=${variables}`],
  ];
}
