import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { BackendError } from "../../src/backend/backend.ts";
import { openPassthrough, type PassthroughOptions } from "../../src/backend/passthrough.ts";
import { createEngineBackend } from "../../src/engine/engine-backend.ts";
import { BackendPort, CrbDevice, TisDevice } from "../../src/frontend/index.ts";
import { MemoryStore } from "../../src/state/memory-store.ts";
import { FakeTpmDevice, systemError } from "../support/fake-tpm-device.ts";

const unhex = (text: string) => new Uint8Array(Buffer.from(text, "hex"));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

const READ_CLOCK = "80010000000a00000181";
const GET_TICKS = "00c10000000a000000f1";
const BUFFER_SIZES = "8001000000160000017a000000060000011e00000002";
const BUFFER_SIZE_1_2 = "00c10000001600000065000000050000000400000124";
const STARTUP = unhex("80010000000c000001440000");
const GET_RANDOM_4 = unhex("80010000000c0000017b0004");
const FAILURE_1_2 = "00c40000000a00000009";

/** A host whose firmware has started its TPM 2.0, or not. */
async function hostTpm({ started = true } = {}): Promise<FakeTpmDevice> {
  const engine = createEngineBackend({ store: new MemoryStore() });
  await engine.powerOn();
  if (started) await engine.execute(STARTUP, 0);
  return new FakeTpmDevice((command) => engine.execute(command, 0));
}

/** A TPM 1.2 that answers what the probes need and TPM_SUCCESS to the rest. */
function hostTpm12(): FakeTpmDevice {
  const answers: Record<string, string> = {
    [READ_CLOCK]: "00c40000000a0000001e",
    [BUFFER_SIZE_1_2]: `00c4000000120000000000000004${"00000500"}`,
  };
  return new FakeTpmDevice((command) => unhex(answers[hex(command)] ?? "00c40000000a00000000"));
}

async function opened(device: FakeTpmDevice, options: PassthroughOptions = {}) {
  const backend = await openPassthrough({ open: device.open, cancelPath: false, ...options });
  await backend.powerOn();
  return backend;
}

const failure = (kind: string, message: string) =>
  expect.objectContaining({ name: "BackendError", kind, message: expect.stringContaining(message) });

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "wtpm-passthrough-"));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(folder, { recursive: true, force: true });
});

describe("opening", () => {
  test("a TPM 2.0 is known by the tag of its answer, as QEMU probes it, whether started or not", async () => {
    for (const started of [true, false]) {
      const device = await hostTpm({ started });
      const backend = await openPassthrough({ open: device.open });
      expect(backend.family).toBe("2.0");
      expect(device.commands).toEqual([READ_CLOCK]);
      await backend.close();
    }
  });

  test("a TPM 1.2 is asked in its own words after that", async () => {
    const device = hostTpm12();
    const backend = await openPassthrough({ open: device.open });
    expect(backend.family).toBe("1.2");
    expect(device.commands).toEqual([READ_CLOCK, GET_TICKS]);
  });

  test.each(["/dev/null", "/dev/zero"])("%s is no TPM", async (file) => {
    await expect(openPassthrough({ path: file })).rejects.toEqual(failure("io", `'${file}' is not a TPM device`));
  });

  test("a device that answers nothing is no TPM after a second for each probe", async () => {
    vi.useFakeTimers();
    const written: string[] = [];
    let closed = false;
    const open = async () => ({
      write: async (bytes: Uint8Array) => {
        written.push(hex(bytes));
        return bytes.length;
      },
      read: () => new Promise<number>(() => {}),
      close: async () => {
        closed = true;
      },
    });
    const result = expect(openPassthrough({ open })).rejects.toEqual(failure("io", "'/dev/tpm0' is not a TPM device"));
    await vi.advanceTimersByTimeAsync(2000);
    await result;
    expect([written, closed]).toEqual([[READ_CLOCK, GET_TICKS], true]);
  });

  test("a file that is no device is left as it is", async () => {
    const file = path.join(folder, "file");
    writeFileSync(file, "precious");
    await expect(openPassthrough({ path: file })).rejects.toEqual(failure("io", "it is not a character device"));
    expect(readFileSync(file, "utf8")).toBe("precious");
  });

  test.each([
    ["EBUSY", "another program has it open"],
    ["EACCES", "you are not allowed to open it"],
    ["ENOENT", "there is no such device"],
    ["EIO", "EIO: the system says no"],
  ])("%s is said in words", async (code, words) => {
    const open = () => Promise.reject(systemError(code));
    const message = `the TPM device '/dev/tpm7' cannot be opened: ${words}`;
    await expect(openPassthrough({ path: "/dev/tpm7", open })).rejects.toEqual(failure("io", message));
  });

  test("the device is one program's until it is closed", async () => {
    const device = await hostTpm();
    const first = await openPassthrough({ open: device.open });
    await expect(openPassthrough({ open: device.open })).rejects.toThrow("another program has it open");
    await first.close();
    await first.close();
    await (await openPassthrough({ open: device.open })).close();
    await expect(first.powerOn()).rejects.toEqual(failure("state", "the TPM device was closed"));
  });

  test("a cancel file that was asked for has to be there, and the device is free again without it", async () => {
    const device = await hostTpm();
    const cancelPath = path.join(folder, "none");
    await expect(openPassthrough({ open: device.open, cancelPath })).rejects.toEqual(
      failure("io", `the cancel file '${cancelPath}' cannot be opened: ENOENT`),
    );
    expect(device.isOpen).toBe(false);
  });
});

describe("commands", () => {
  test("reach the TPM as they are, at any locality, and their responses come back", async () => {
    const device = await hostTpm();
    const backend = await opened(device);
    device.commands.length = 0;
    for (const locality of [0, 3]) {
      expect(hex(await backend.execute(GET_RANDOM_4, locality))).toMatch(/^8001000000100000000000040{0}.{8}$/);
    }
    expect(device.commands).toEqual([hex(GET_RANDOM_4), hex(GET_RANDOM_4)]);
  });

  test("TPM2_Startup of a guest's firmware is refused by a TPM that the host has started, and nothing is lost", async () => {
    const device = await hostTpm();
    const backend = await opened(device);
    const readPcr = unhex("8001000000140000017e00000001000b03000001");
    await backend.execute(
      unhex(`80020000004100000182000000100000000940000009000000000000000000000001000b${"cd".repeat(32)}`),
      0,
    );
    const before = hex(await backend.execute(readPcr, 0));
    expect(hex(await backend.execute(STARTUP, 0))).toBe("80010000000a00000100");
    await backend.powerOff();
    await backend.powerOn();
    expect(hex(await backend.execute(readPcr, 0))).toBe(before);
  });

  test("run one at a time and only between power-on and power-off", async () => {
    const device = await hostTpm();
    const backend = await openPassthrough({ open: device.open, cancelPath: false });
    await expect(backend.execute(GET_RANDOM_4, 0)).rejects.toEqual(failure("state", "the TPM is not running"));
    await backend.powerOn();
    const running = backend.execute(GET_RANDOM_4, 0);
    await expect(backend.execute(GET_RANDOM_4, 0)).rejects.toEqual(failure("state", "executing a command already"));
    await backend.powerOff();
    expect((await running).length).toBe(16);
    expect(backend.running).toBe(false);
    await expect(backend.execute(GET_RANDOM_4, 0)).rejects.toEqual(failure("state", "the TPM is not running"));
  });

  test("whose size the kernel refuses are answered as a TPM does", async () => {
    const sizes = [GET_RANDOM_4.subarray(0, 9), GET_RANDOM_4.subarray(0, 11), new Uint8Array(5000)];
    const two = await opened(await hostTpm());
    const one = await opened(hostTpm12());
    for (const command of sizes) {
      expect(hex(await two.execute(command, 0))).toBe("80010000000a00000142");
      expect(hex(await one.execute(command, 0))).toBe("00c40000000a00000019");
    }
  });

  test.each([
    // As Node gives ETIME, for which libuv has no name.
    [
      Object.assign(new Error("Unknown system error -62"), { errno: -62 }),
      "'/dev/tpm0' failed: it did not answer in time",
    ],
    [systemError("EPIPE"), "'/dev/tpm0' failed: it was taken away"],
    [systemError("EIO"), "'/dev/tpm0' failed: EIO: the system says no"],
  ])("a device that fails (%s) is an error, and works again when it does", async (error, message) => {
    const device = await hostTpm();
    const backend = await opened(device);
    const transmit = device.transmit;
    device.transmit = () => {
      throw error;
    };
    await expect(backend.execute(GET_RANDOM_4, 0)).rejects.toEqual(failure("io", message));
    device.transmit = transmit;
    expect((await backend.execute(GET_RANDOM_4, 0)).length).toBe(16);
  });

  test.each([
    ["", "gave 0 bytes that are no response"],
    ["80010000000a000000", "gave 9 bytes that are no response"],
    ["80010000000b00000000", "gave 10 bytes that are no response"],
    ["80010000000a0000000000", "gave 11 bytes that are no response"],
  ])("the answer '%s' is an error", async (answer, message) => {
    const device = await hostTpm();
    const backend = await opened(device);
    device.transmit = () => unhex(answer);
    await expect(backend.execute(GET_RANDOM_4, 0)).rejects.toEqual(failure("io", message));
  });

  test("a command that the device takes in part is an error", async () => {
    const device = await hostTpm();
    const backend = await opened(device, {
      open: async () => {
        const file = await device.open();
        const { length } = GET_RANDOM_4;
        return { ...file, write: async (bytes) => (await file.write(bytes)) - (bytes.length === length ? 1 : 0) };
      },
    });
    await expect(backend.execute(GET_RANDOM_4, 0)).rejects.toEqual(failure("io", "took 11 of 12 bytes"));
  });
});

describe("canceling", () => {
  /** A TPM that takes its time over every command after the probes, until it is told what comes of one. */
  async function slow(device: FakeTpmDevice, cancelPath: string | false) {
    const backend = await opened(device, { cancelPath });
    const waiting: { resolve: (response: Uint8Array) => void; reject: (error: Error) => void }[] = [];
    device.transmit = () => new Promise((resolve, reject) => waiting.push({ resolve, reject }));
    return { backend, waiting };
  }

  test.each([
    ["1.2", FAILURE_1_2],
    ["2.0", "80010000000a00000909"],
  ])("writes to the driver's file while a TPM %s executes, and only then", async (family, answer) => {
    const cancelPath = path.join(folder, "cancel");
    writeFileSync(cancelPath, "");
    const written = () => readFileSync(cancelPath, "utf8");
    const { backend, waiting } = await slow(family === "1.2" ? hostTpm12() : await hostTpm(), cancelPath);
    expect(backend.cancelable).toBe(true);
    backend.cancel();
    expect(written()).toBe("");
    const response = backend.execute(GET_RANDOM_4, 0);
    backend.cancel();
    await vi.waitUntil(() => written() === "-", { timeout: 60_000 });
    waiting[0]!.reject(systemError("ECANCELED"));
    expect(hex(await response)).toBe(answer);
    backend.cancel();
    await backend.close();
    expect(written()).toBe("-");
  });

  test("an ECANCELED that nobody here asked for is an error", async () => {
    const { backend, waiting } = await slow(await hostTpm(), false);
    const response = backend.execute(GET_RANDOM_4, 0);
    waiting[0]!.reject(systemError("ECANCELED"));
    await expect(response).rejects.toEqual(failure("io", "ECANCELED"));
  });

  test("cannot be without that file, and the command goes on", async () => {
    const { backend, waiting } = await slow(await hostTpm(), false);
    expect(backend.cancelable).toBe(false);
    const response = backend.execute(GET_RANDOM_4, 0);
    expect(() => backend.cancel()).toThrow(BackendError);
    expect(() => backend.cancel()).toThrow("the command cannot be canceled");
    waiting[0]!.resolve(unhex("80010000000a00000000"));
    expect(hex(await response)).toBe("80010000000a00000000");
  });

  test("happens at power-off, which waits for the answer", async () => {
    const cancelPath = path.join(folder, "cancel");
    writeFileSync(cancelPath, "");
    const { backend, waiting } = await slow(await hostTpm(), cancelPath);
    const response = backend.execute(GET_RANDOM_4, 0);
    const events: string[] = [];
    const off = backend.close().then(() => events.push("closed"));
    response.then(() => events.push("answered"));
    await vi.waitUntil(() => readFileSync(cancelPath, "utf8") === "-", { timeout: 60_000 });
    waiting[0]!.resolve(unhex("80010000000a00000000"));
    await off;
    expect(events).toEqual(["answered", "closed"]);
  });
});

test("closing waits for a command that cannot be canceled", async () => {
  const device = await hostTpm();
  const backend = await opened(device);
  let answer = (_response: Uint8Array) => {};
  device.transmit = () =>
    new Promise((resolve) => {
      answer = resolve;
    });
  const response = backend.execute(GET_RANDOM_4, 0);
  const closed = backend.close();
  await new Promise((resolve) => setImmediate(resolve));
  expect(device.isOpen).toBe(true);
  answer(unhex("80010000000a00000000"));
  await closed;
  expect(hex(await response)).toBe("80010000000a00000000");
  expect(device.isOpen).toBe(false);
});

describe("the buffer size", () => {
  test("is the TPM's own, and the only one", async () => {
    const device = await hostTpm();
    const backend = await openPassthrough({ open: device.open, cancelPath: false });
    expect(await backend.bufferSize()).toEqual({ current: 4096, min: 4096, max: 4096 });
    expect(device.commands).toEqual([READ_CLOCK, BUFFER_SIZES]);
    expect(await backend.bufferSize(5000)).toEqual({ current: 4096, min: 4096, max: 4096 });
    expect(device.commands).toHaveLength(2);
    await backend.powerOn();
    await expect(backend.bufferSize(4096)).rejects.toEqual(failure("state", "only while the TPM is stopped"));
    await backend.powerOff();
    await backend.bufferSize(3968);
    await expect(backend.powerOn()).rejects.toEqual(
      failure("unsupported", "the TPM's buffer has 4096 bytes and cannot be made 3968"),
    );
    expect(backend.running).toBe(false);
  });

  test("is the larger of command and response", async () => {
    const device = await hostTpm();
    const transmit = device.transmit;
    device.transmit = (command) =>
      hex(command) === BUFFER_SIZES
        ? unhex("80010000002300000000000000000600000002000001 1e0000050000 00011f00000600".replaceAll(" ", ""))
        : transmit(command);
    const backend = await openPassthrough({ open: device.open });
    expect((await backend.bufferSize()).current).toBe(0x600);
  });

  test("of a TPM 1.2 is that of its input buffer", async () => {
    const backend = await openPassthrough({ open: hostTpm12().open });
    expect((await backend.bufferSize()).current).toBe(0x500);
  });

  test("is 4096 until a TPM that was not started tells it", async () => {
    const device = await hostTpm({ started: false });
    const backend = await openPassthrough({ open: device.open });
    expect((await backend.bufferSize()).current).toBe(4096);
    await backend.bufferSize();
    expect(device.commands).toEqual([READ_CLOCK, BUFFER_SIZES, BUFFER_SIZES]);
  });

  test("is 4096 also when the device fails to tell it", async () => {
    const device = await hostTpm();
    const backend = await openPassthrough({ open: device.open });
    device.transmit = () => {
      throw systemError("EIO");
    };
    expect((await backend.bufferSize()).current).toBe(4096);
  });
});

describe("what the host's hardware keeps to itself", () => {
  test("its state, so that it cannot be migrated", async () => {
    const backend = await opened(await hostTpm());
    const reason = "the TPM is the host's own hardware, whose state cannot leave it";
    expect(backend.migrationBlocker).toBe(reason);
    for (const attempt of [() => backend.getState(), () => backend.setState(), () => backend.storeVolatile()]) {
      expect(attempt).toThrow(expect.objectContaining({ kind: "unsupported", message: reason }));
    }
  });

  test("TPM_ESTABLISHED, which reads as false, and the signals of a dynamic launch", async () => {
    const backend = await opened(await hostTpm());
    expect(backend.getEstablished()).toBe(false);
    backend.resetEstablished(3);
    expect(() => backend.resetEstablished(2)).toThrow(expect.objectContaining({ kind: "locality" }));
    for (const attempt of [() => backend.hashStart(), () => backend.hashData(), () => backend.hashEnd()]) {
      expect(attempt).toThrow(expect.objectContaining({ kind: "unsupported" }));
    }
  });
});

describe("behind a device of a guest", () => {
  test("a TIS carries commands to it, and a failure of the host's device is the guest's failure response", async () => {
    const device = await hostTpm();
    const errors: unknown[] = [];
    const backend = await openPassthrough({ open: device.open, cancelPath: false });
    const tis = new TisDevice(new BackendPort(backend, { onError: (error) => errors.push(error) }));
    await tis.reset();
    const transmit = async (command: Uint8Array) => {
      tis.write(0x00, 1, 0x02);
      tis.write(0x18, 1, 0x40);
      for (const byte of command) tis.write(0x24, 1, byte);
      tis.write(0x18, 1, 0x20);
      await vi.waitUntil(() => tis.read(0x18, 1) & 0x10, { timeout: 60_000, interval: 1 });
      const bytes: number[] = [];
      while (tis.read(0x18, 1) & 0x10) bytes.push(tis.read(0x24, 1));
      tis.write(0x18, 1, 0x40);
      return hex(Uint8Array.from(bytes));
    };
    expect(tis.read(0x14, 4)).toBe(0x30000697);
    expect(await transmit(STARTUP)).toBe("80010000000a00000100");
    expect(await transmit(GET_RANDOM_4)).toMatch(/^800100000010000000000004/);
    device.transmit = () => {
      throw systemError("EIO");
    };
    expect(await transmit(GET_RANDOM_4)).toBe(FAILURE_1_2);
    expect(errors).toEqual([failure("io", "EIO")]);
  });

  test("a CRB's buffer is too small for a TPM of 4096 bytes, and its reset says so", async () => {
    const device = await hostTpm();
    const crb = new CrbDevice(new BackendPort(await openPassthrough({ open: device.open })));
    await expect(crb.reset()).rejects.toThrow("the TPM's buffer has 4096 bytes and cannot be made 3968");
  });
});
