// Plays a recorded sequence: gives the inputs to a machine with our device and compares all it does with the recording.
import { CrbDevice } from "../crb.ts";
import { TisDevice } from "../tis.ts";
import { decodeStateBlobs, EmulatorError, EmulatorPort, encodeStateBlobs } from "./emulator-port.ts";
import { Machine, type MachineSpec, machineSpec, SECTION } from "./machine.ts";
import {
  CHANNELS,
  hex,
  isOutput,
  type TraceEvent,
  type TraceHeader,
  type TraceInput,
  type TraceOutput,
  type TraceSequence,
  unhex,
} from "./trace.ts";
import { startThroughCrb, startThroughTis } from "./unrecorded.ts";

/** What QEMU puts before a message about its `-tpmdev`. */
const TPMDEV = "-tpmdev emulator,id=tpm0,chardev=chrtpm: tpm-emulator: ";
const EXIT_FAILURE = 1;
/** Control commands of whose request only the locality byte was recorded: SET_LOCALITY, RESET_TPMESTABLISHED. */
const ONLY_LOCALITY = [0x05, 0x0b];

/** A state as a migration brings it. */
export interface MigratedState {
  readonly device: Uint8Array;
  readonly emulator: Uint8Array;
  readonly window: Uint8Array | undefined;
}

/** Plays all of a sequence. @throws Error that names the first difference. */
export async function replaySequence(header: TraceHeader, sequence: TraceSequence): Promise<void> {
  const spec = machineSpec(header, sequence);
  if (sequence.ev) {
    await new Player(spec, sequence.ev).play(sequence.exit);
    return;
  }
  const source = new Player(spec, sequence.source ?? []);
  await source.play();
  const migrated = source.migrated;
  if (!migrated || !sequence.destination) {
    if (migrated || sequence.destination) throw new Error("only one of source and destination migrated");
    return;
  }
  const section = (name: string) => sequence.sections?.[name]?.data ?? "nothing";
  same("device state", hex(migrated.device), section(SECTION[spec.kind]));
  same("emulator state", hex(migrated.emulator), section("tpm-emulator"));
  await new Player(spec, sequence.destination, migrated).play();
}

/** Dots in a recording stand for digits that do not matter. */
function same(what: string, got: string, recorded: string): void {
  const masked =
    got.length === recorded.length ? [...got].map((c, i) => (recorded[i] === "." ? "." : c)).join("") : got;
  if (masked !== recorded) throw new Error(`${what}: ${got}, recorded ${recorded}`);
}

/** One process of QEMU from its start. */
class Player {
  readonly #spec: MachineSpec;
  readonly #events: readonly TraceEvent[];
  readonly #incoming: MigratedState | undefined;
  /** What the source of a migration sent. */
  migrated: MigratedState | undefined;

  #machine: Machine | undefined;
  readonly #port: EmulatorPort;
  #exit = 0;
  /** What the recording says followed the current input, and what we did. */
  #expected: readonly TraceOutput[] = [];
  #done: TraceOutput[] = [];
  /** Goes on over several inputs: a start, a reset, a migration. */
  #ongoing = false;

  constructor(spec: MachineSpec, events: readonly TraceEvent[], incoming?: MigratedState) {
    this.#spec = spec;
    this.#events = events;
    this.#incoming = incoming;
    this.#port = new EmulatorPort({
      control: (code, request) => this.#control(code, request),
      send: (command, locality) => this.#done.push(["x", locality, hex(command)]),
      message: (text) => this.#done.push(["e", text]),
    });
  }

  /** `exit` is the recorded exit status, when the recording goes that far. */
  async play(exit?: number): Promise<void> {
    const events = this.#events;
    for (let at = 0; at < events.length; ) {
      const input = events[at]!;
      if (isOutput(input)) throw new Error(`event ${at} is an output without an input`);
      const next = events.findIndex((event, i) => i > at && !isOutput(event));
      const end = next < 0 ? events.length : next;
      try {
        await this.#step(input, events.slice(at + 1, end).filter(isOutput));
      } catch (error) {
        throw new Error(`event ${at} ${JSON.stringify(input)}: ${error instanceof Error ? error.message : error}`);
      }
      at = end;
    }
    if (exit !== undefined) same("exit status", `${this.#exit}`, `${exit}`);
  }

  async #step(input: TraceInput, expected: readonly TraceOutput[]): Promise<void> {
    this.#expected = expected;
    this.#done = [];
    this.#input(input);
    // What goes on gets as far as it can without a further input.
    if (this.#ongoing) await new Promise((resolve) => setImmediate(resolve));
    for (const channel of new Set(Object.values(CHANNELS))) {
      const [got, recorded] = [this.#done, expected].map((outputs) =>
        outputs.filter((output) => CHANNELS[output[0]] === channel).map((output) => JSON.stringify(output)),
      );
      same(channel, got!.join(" "), recorded!.join(" "));
    }
  }

  /** Answers a control command with what the recorded emulator answered. */
  #control(code: number, request: Uint8Array): Uint8Array {
    const shown = hex(ONLY_LOCALITY.includes(code) ? request.subarray(0, 1) : request);
    const before = this.#done.filter((output) => output[0] === "c").length;
    const recorded = this.#expected.filter((output) => output[0] === "c")[before];
    const response = recorded?.[1] === code && recorded[2] === shown ? recorded[3] : "";
    this.#done.push(["c", code, shown, response]);
    return unhex(response);
  }

  #begin(work: () => Promise<void>): void {
    this.#ongoing = true;
    work()
      .catch((error: unknown) => {
        if (!(error instanceof EmulatorError))
          this.#done.push(["e", error instanceof Error ? error.message : `${error}`]);
        this.#exit = EXIT_FAILURE;
      })
      .finally(() => {
        this.#ongoing = false;
      });
  }

  async #powerOn(): Promise<void> {
    try {
      await this.#port.open();
    } catch (error) {
      this.#done.push(["e", `${TPMDEV}${(error as Error).message}`]);
      throw error;
    }
    const machine = new Machine(this.#spec, this.#port, {
      interrupt: (level) => this.#done.push(["i", Number(level)]),
      queued: (slot, entry) => this.#done.push(["q", slot, hex(entry)]),
      message: (text) => this.#done.push(["e", text]),
    });
    this.#machine = machine;
    if (!this.#incoming) {
      await machine.reset();
      return;
    }
    this.#port.setState(decodeStateBlobs(this.#incoming.emulator));
    await machine.device.restore(this.#incoming.device);
    if (this.#incoming.window) machine.window?.set(this.#incoming.window);
  }

  async #migrate(): Promise<void> {
    const machine = this.#machine!;
    // QEMU has sent all guest memory when it waits for the command in flight: a response to a CRB is lost on the way.
    const window = machine.window?.slice();
    const device = await machine.device.save();
    this.migrated = { device, emulator: encodeStateBlobs(this.#port.readState()), window };
  }

  /** The source runs on; on a PC the recorder then sent a command, whose register accesses are not in the recording. */
  #continue(): void {
    if (this.migrated) this.#port.resumeAfterMigration();
    const device = this.#machine?.device;
    if (this.#spec.kind === "crb" && device instanceof CrbDevice) startThroughCrb(device, this.#port.family);
    if (this.#spec.kind === "tis" && device instanceof TisDevice) startThroughTis(device, this.#port.family);
  }

  #input(event: TraceInput): void {
    if (event[0] === "b") {
      this.#begin(() => this.#powerOn());
      return;
    }
    const machine = this.#machine;
    if (event[0] === "d") this.#port.receive(unhex(event[1]));
    else if (event[0] === "quit") this.#port.shutdown();
    else if (machine) this.#machineInput(machine, event);
    else throw new Error("the machine does not run");
  }

  #machineInput(machine: Machine, event: TraceInput): void {
    const { base } = this.#spec;
    switch (event[0]) {
      case "r":
        same("value", machine.memory.load(base + event[1], event[2]).toString(16), event[3]);
        break;
      case "w":
        machine.memory.store(base + event[1], event[2], BigInt(`0x${event[3]}`));
        break;
      case "m":
        machine.memory.write(event[1], unhex(event[2]));
        break;
      case "M": {
        const bytes = unhex(event[2]);
        machine.memory.learnFirmware(event[1], bytes);
        machine.memory.read(event[1], bytes);
        same("bytes", hex(bytes), event[2]);
        break;
      }
      case "iw":
        same("acknowledgements", machine.i2cWrite(event[1] === 1, unhex(event[2]), event[4] === 1), event[3]);
        break;
      case "ir":
        same("bytes", hex(machine.i2cRead(event[1] === 1, event[2].length / 2, event[3] === 1)), event[2]);
        break;
      case "h": {
        const args = event[2].map((arg) => BigInt(`0x${arg}`));
        same("result", machine.hypercall(event[1], args).toString(16), event[3]);
        break;
      }
      case "R":
        this.#begin(() => machine.reset());
        break;
      case "migrate-out":
        if (this.#port.migratable) this.#begin(() => this.#migrate());
        break;
      case "migrate-status":
        same("status", `${this.migrated ? "completed" : null}`, `${event[1]}`);
        break;
      case "migrate-in":
        same("status", this.#exit === 0 ? "completed" : "failed", `${event[1]}`);
        break;
      case "cont":
        this.#continue();
        break;
      default:
        throw new Error("unknown event");
    }
  }
}
