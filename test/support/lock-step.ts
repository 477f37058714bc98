// Our device and QEMU's, given the same inputs one by one; each input's results and everything that came of it must agree.
import { type Behaviour, CrbDevice, type MemoryMappedDevice, TisDevice } from "../../src/frontend/index.ts";
import type { Answer } from "../../src/frontend/port.ts";
import { CONTROL, type EmulatorChannel, EmulatorPort } from "../../src/frontend/replay/emulator-port.ts";
import { FakeSwtpm, type FakeSwtpmOptions } from "./fake-swtpm.ts";
import { commandText, controlText, type LiveDevice, LiveQemu } from "./live-qemu.ts";
import { until } from "./process.ts";

/** Offset of a locality's registers. */
export const locality = (n: number) => n << 12;

/** Registers whose reads have no effect and that tell when an answer has arrived, four bytes each. */
const TIS_OBSERVED = [0, 1, 2, 3].flatMap((n) => [0x00, 0x18].map((register) => locality(n) + register));
const CRB_OBSERVED = [0x4c];

const ACCESS_REQUEST_USE = 0x02n;
const ACCESS_ACTIVE_LOCALITY = 0x20;
const HISTORY = 60;

/** The emulator's side of our device, which also knows what QEMU's keeps to itself. */
class ObservedPort extends EmulatorPort {
  /** A command waits for its answer. */
  pending = false;
  /** The locality of the last command submitted, also of one that was refused. */
  commandLocality = 0;

  override submit(command: Uint8Array, locality: number, answer: Answer): boolean {
    this.commandLocality = locality;
    const accepted = super.submit(command, locality, (response) => {
      this.pending = false;
      answer(response);
    });
    this.pending ||= accepted;
    return accepted;
  }
}

export class LockStep {
  readonly kind: LiveDevice;
  readonly #qemu: LiveQemu;
  readonly #device: MemoryMappedDevice;
  readonly #port: ObservedPort;
  readonly #backend: string[] = [];
  readonly #interrupts: boolean[] = [];
  readonly #messages: string[] = [];
  /** The last inputs, for the report of a difference. */
  readonly #history: string[] = [];
  #compared = 0;
  /** Inputs so far. */
  inputs = 0;

  private constructor(kind: LiveDevice, qemu: LiveQemu, swtpm: FakeSwtpm, behaviour: Behaviour) {
    this.kind = kind;
    this.#qemu = qemu;
    this.#port = new ObservedPort(this.#channel(swtpm));
    const options = { behaviour };
    this.#device =
      kind === "tpm-crb"
        ? new CrbDevice(this.#port, options)
        : new TisDevice(this.#port, { ...options, onInterrupt: (level) => this.#interrupts.push(level) });
  }

  #channel(swtpm: FakeSwtpm): EmulatorChannel {
    let initialized = false;
    return {
      control: (code, request) => {
        this.#backend.push(controlText(code, request));
        initialized ||= code === CONTROL.INIT;
        return swtpm.control(code, request);
      },
      send: (command, locality) => {
        this.#backend.push(commandText(command, locality));
        if (initialized) return;
        const answer = swtpm.probe(command);
        queueMicrotask(() => this.#port.receive(answer));
      },
      message: (text) => this.#messages.push(text),
    };
  }

  /** Starts both; `behaviour` is that of our device. @throws Error when QEMU does not start, or what they do at that differs */
  static async start(
    kind: LiveDevice,
    options: FakeSwtpmOptions = {},
    behaviour: Behaviour = "qemu-7.2",
  ): Promise<LockStep> {
    const qemu = await LiveQemu.start(kind, () => new FakeSwtpm(options));
    const step = new LockStep(kind, qemu, new FakeSwtpm(options), behaviour);
    try {
      await step.#port.open();
      await step.#device.reset();
      await step.#agree();
      await step.read(0, 4);
    } catch (error) {
      await qemu.stop();
      throw error;
    }
    return step;
  }

  stop(): Promise<void> {
    return this.#qemu.stop();
  }

  /** A command waits for its answer. */
  get pending(): boolean {
    return this.#port.pending;
  }

  /** TPM commands that reached the backend so far, answers that reached the device, changes of the interrupt line. */
  get commands(): number {
    return this.#backend.filter((text) => text.startsWith("command ")).length;
  }
  responses = 0;
  get interrupts(): number {
    return this.#interrupts.length;
  }

  /** The TIS's active locality, if there is one. */
  get activeLocality(): number | undefined {
    return [0, 1, 2, 3].find((n) => this.#device.read(locality(n), 1) & ACCESS_ACTIVE_LOCALITY);
  }

  #note(input: string): void {
    this.inputs++;
    this.#history.push(input);
    if (this.#history.length > HISTORY) this.#history.shift();
  }

  #differ(what: string): never {
    const tail = (list: readonly unknown[]) => `${list.length}, last ${list.slice(-3).join("; ")}`;
    throw new Error(
      [
        what,
        `our traffic: ${tail(this.#backend)}`,
        `QEMU's traffic: ${tail(this.#qemu.backend)}`,
        `our interrupts: ${tail(this.#interrupts)}`,
        `QEMU's interrupts: ${tail(this.#qemu.interrupts)}`,
        `input ${this.inputs}, the last ones:`,
        ...this.#history,
      ].join("\n"),
    );
  }

  #same(what: string, ours: unknown, theirs: unknown): void {
    if (ours !== theirs) this.#differ(`${what}: ours ${ours}, QEMU's ${theirs}`);
  }

  /** Waits until QEMU has done as much as we did, and compares. */
  async #agree(): Promise<void> {
    const { backend, interrupts } = this.#qemu;
    const behind = () => backend.length < this.#backend.length || interrupts.length < this.#interrupts.length;
    if (behind()) await until("QEMU to do what we did", () => !behind()).catch((error) => this.#differ(`${error}`));
    const length = Math.max(this.#backend.length, backend.length);
    for (; this.#compared < length; this.#compared++) {
      this.#same("backend traffic", this.#backend[this.#compared], backend[this.#compared]);
    }
    this.#same("interrupts", this.#interrupts.join(), interrupts.join());
  }

  async read(offset: number, size: number): Promise<void> {
    this.#note(`read ${size} at 0x${offset.toString(16)}`);
    const ours = this.#device.readWide(offset, size);
    const theirs = await this.#qemu.read(offset, size);
    this.#same("value", ours.toString(16), theirs.toString(16));
    await this.#agree();
  }

  async write(offset: number, size: number, value: bigint): Promise<void> {
    this.#note(`write ${size} at 0x${offset.toString(16)}: 0x${value.toString(16)}`);
    const before = this.#backend.length;
    this.#device.writeWide(offset, size, value);
    await this.#qemu.write(offset, size, value);
    await this.#agree();
    // After the established flag was reset the next read asks for it anew: both do that here, at the same time.
    const reset = `control ${CONTROL.RESET_TPMESTABLISHED} `;
    if (this.#backend.slice(before).some((text) => text.startsWith(reset))) await this.read(0, 1);
  }

  /** Writes memory byte by byte, as a guest fills a CRB's buffer. */
  async writeBytes(offset: number, bytes: Uint8Array): Promise<void> {
    this.#note(`write bytes at 0x${offset.toString(16)}: ${Buffer.from(bytes).toString("hex")}`);
    bytes.forEach((byte, i) => {
      this.#device.write(offset + i, 1, byte);
    });
    await this.#qemu.writeBytes(offset, bytes);
    await this.#agree();
  }

  async readBytes(offset: number, length: number): Promise<void> {
    this.#note(`read ${length} bytes at 0x${offset.toString(16)}`);
    const ours = Uint8Array.from({ length }, (_, i) => this.#device.read(offset + i, 1));
    this.#same("bytes", Buffer.from(ours).toString("hex"), await this.#qemu.readBytes(offset, length));
    await this.#agree();
  }

  #observe() {
    const offsets = this.kind === "tpm-crb" ? CRB_OBSERVED : TIS_OBSERVED;
    return offsets.map((offset) => ({ offset, value: this.#device.readWide(offset, 4) }));
  }

  /**
   * Answers the command under way. That the answer has reached QEMU's device shows only in registers of the command's
   * locality; when another one owns the TPM this does nothing, and when none does that locality asks for it first.
   */
  async respond(response: Uint8Array): Promise<void> {
    const { commandLocality } = this.#port;
    if (this.kind !== "tpm-crb") {
      if (this.activeLocality === undefined) await this.write(locality(commandLocality), 1, ACCESS_REQUEST_USE);
      if (this.activeLocality !== commandLocality) return;
    }
    this.responses++;
    this.#note(`respond ${Buffer.from(response).toString("hex")}`);
    const before = this.#observe();
    this.#qemu.respond(response);
    this.#port.receive(response);
    const changed = this.#observe().find((after, i) => after.value !== before[i]!.value);
    if (!changed) this.#differ("an answer that no register shows");
    await until(
      "the answer to reach QEMU's device",
      async () => (await this.#qemu.read(changed.offset, 4)) === changed.value,
    ).catch((error) => this.#differ(`${error}`));
    await this.#agree();
  }

  /** Resets the machine, which waits for the answer to the command under way, if there is one: `response`. */
  async reset(response: Uint8Array): Promise<void> {
    this.#note("reset");
    const resets = Promise.all([this.#device.reset(), this.#qemu.reset()]);
    if (this.pending) {
      await new Promise((resolve) => setImmediate(resolve));
      await this.#agree();
      this.#qemu.respond(response);
      this.#port.receive(response);
    }
    await resets;
    await this.#agree();
  }

  /** The end: nothing more came out of QEMU, and it said what we did. */
  async finish(): Promise<void> {
    await this.read(0, 4);
    this.#same("messages", this.#messages.join("\n"), this.#qemu.messages().join("\n"));
  }
}
