// A TPM 1.2 for QEMU that does what Linux' driver needs to accept it, and one command that takes until it is canceled.
import { CONTROL } from "../../src/frontend/replay/emulator-port.ts";
import { nodeTransport } from "../../src/platform/node-transport.ts";
import type { Connection } from "../../src/server/transport.ts";
import { FakeSwtpm, requestLength } from "./fake-swtpm.ts";

/** TPM_GetTestResult: of what the driver sends by itself, nothing. */
const SLOW_ORDINAL = 0x54;

const TPM_FAIL = 9;
const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));

function response(code: number, body: string): Uint8Array {
  const bytes = unhex(`00c400000000${code.toString(16).padStart(8, "0")}${body}`);
  new DataView(bytes.buffer).setUint32(2, bytes.length);
  return bytes;
}

/** One second, in microseconds: how long the driver waits for anything. */
const SECOND = "000f4240";
/** Answers by the command's bytes behind its size field, or by its ordinal alone. */
const ANSWERS: Readonly<Record<string, string>> = {
  // TPM_GetCapability of TPM_CAP_PROP_TIS_TIMEOUT, _DURATION and _INPUT_BUFFER.
  "00000065000000050000000400000115": `00000010${SECOND.repeat(4)}`,
  "00000065000000050000000400000120": `0000000c${SECOND.repeat(3)}`,
  "00000065000000050000000400000124": "0000000400000500",
  // TPM_ContinueSelfTest, TPM_PCRRead.
  "00000053": "",
  "00000015": "00".repeat(20),
};

export class SlowTpm12 {
  /** Commands that were canceled, in hexadecimal digits. */
  readonly canceled: string[] = [];
  readonly #swtpm = new FakeSwtpm({ version: 1 });
  #data: Connection | undefined;
  #initialized = false;
  #slow: string | undefined;
  #close: () => void = () => {};

  /** Waits for QEMU at a control socket. */
  static async listen(path: string): Promise<SlowTpm12> {
    const tpm = new SlowTpm12();
    const listener = await nodeTransport.listen({ type: "unix", path }, (connection) => tpm.#serve(connection), {
      receiveDescriptors: true,
    });
    tpm.#close = () => listener.close();
    return tpm;
  }

  close(): void {
    this.#close();
    this.#data?.close();
  }

  #serve(connection: Connection): void {
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
          connection.write(this.#swtpm.control(code, request));
          if (code === CONTROL.INIT) this.#initialized = true;
          if (code === CONTROL.CANCEL_TPM_CMD) this.#cancel();
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
        if (!this.#initialized) {
          channel.write(this.#swtpm.probe(bytes));
          return;
        }
        const command = Buffer.from(bytes).toString("hex");
        if (Buffer.from(bytes).readUInt32BE(6) === SLOW_ORDINAL) {
          this.#slow = command;
          return;
        }
        const body = ANSWERS[command.slice(12)] ?? ANSWERS[command.slice(12, 20)];
        channel.write(body === undefined ? response(TPM_FAIL, "") : response(0, body));
      },
      end: () => channel.close(),
      close: () => {},
    });
  }

  #cancel(): void {
    if (this.#slow === undefined) return;
    this.canceled.push(this.#slow);
    this.#slow = undefined;
    this.#data?.write(response(TPM_FAIL, ""));
  }
}
