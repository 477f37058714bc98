import { describe, expect, it, vi } from "vitest";
import { BackendError } from "../../src/backend/backend.ts";
import { BackendPort, CrbDevice, I2cTisDevice, SpaprDevice, SpaprVio, TisDevice } from "../../src/frontend/index.ts";
import { response, ScriptedBackend } from "../support/scripted-backend.ts";
import { Seeded } from "../support/seeded.ts";

const GET_RANDOM = Uint8Array.of(0x80, 0x01, 0, 0, 0, 12, 0, 0, 0x01, 0x7b, 0, 8);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const FAILURE = "00c40000000a00000009";

/** TIS registers at locality 0. */
const ACCESS = 0x00;
const STS = 0x18;
const FIFO = 0x24;
const COMMAND_READY = 0x40;
const GO = 0x20;
const DATA_AVAILABLE = 0x10;

function tisSubmit(tis: TisDevice, command: Uint8Array): void {
  tis.write(ACCESS, 1, 0x02);
  tis.write(STS, 4, COMMAND_READY);
  for (const byte of command) tis.write(FIFO, 1, byte);
  tis.write(STS, 4, GO);
}

function tisResponse(tis: TisDevice): string {
  const bytes: number[] = [];
  while (tis.read(STS, 4) & DATA_AVAILABLE) bytes.push(tis.read(FIFO, 1));
  return hex(Uint8Array.from(bytes));
}

async function tisOn(backend: ScriptedBackend, onError?: (error: unknown) => void) {
  const tis = new TisDevice(new BackendPort(backend, onError ? { onError } : {}));
  await tis.reset();
  return tis;
}

/** A promise and what settles it. */
function deferred<T>() {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

describe("a device on a backend", () => {
  it("stops the TPM at a reset, agrees on a buffer size and starts it", async () => {
    const backend = new ScriptedBackend();
    backend.maxBufferSize = 8192;
    const tis = await tisOn(backend);
    expect(backend.calls).toEqual([
      ["powerOff"],
      ["bufferSize", undefined],
      ["bufferSize", 4096],
      ["powerOn", false],
      ["getEstablished"],
    ]);
    expect(tis.bufferSize).toBe(4096);
  });

  it("hands a command over with its locality and gives the response back, at once when the backend answers at once", async () => {
    const backend = new ScriptedBackend();
    backend.answer = () => Uint8Array.of(...response(0, 12).subarray(0, 10), 0xab, 0xcd);
    const tis = await tisOn(backend);
    tis.write(0x2000 + ACCESS, 1, 0x02);
    tis.write(0x2000 + STS, 4, COMMAND_READY);
    for (const byte of GET_RANDOM) tis.write(0x2000 + FIFO, 1, byte);
    tis.write(0x2000 + STS, 4, GO);
    expect(backend.of("execute")).toEqual([[hex(GET_RANDOM), 2]]);
    expect(tis.read(0x2000 + STS, 4) & DATA_AVAILABLE).toBe(DATA_AVAILABLE);
    expect(Array.from({ length: 12 }, () => tis.read(0x2000 + FIFO, 1)).slice(10)).toEqual([0xab, 0xcd]);
  });

  it("waits for a response that comes later, and does not take a second command meanwhile", async () => {
    const backend = new ScriptedBackend();
    const { promise, resolve } = deferred<Uint8Array>();
    backend.answer = () => promise;
    const crb = new CrbDevice(new BackendPort(backend));
    await crb.reset();
    crb.write(0x08, 4, 1);
    crb.window.set(GET_RANDOM);
    crb.write(0x4c, 4, 1);
    crb.write(0x4c, 4, 1);
    expect(crb.read(0x4c, 4)).toBe(1);
    crb.write(0x48, 4, 1);
    resolve(response(0x909));
    await settled();
    expect(crb.read(0x4c, 4)).toBe(0);
    expect(hex(crb.window.subarray(0, 10))).toBe("80010000000a00000909");
    expect(backend.of("execute")).toHaveLength(1);
    expect(backend.of("cancel")).toHaveLength(1);
  });

  it("waits for the command in flight before it resets or saves", async () => {
    const backend = new ScriptedBackend();
    const { promise, resolve } = deferred<Uint8Array>();
    backend.answer = () => promise;
    const tis = await tisOn(backend);
    tisSubmit(tis, GET_RANDOM);
    let done = false;
    const saving = tis.save().then((state) => {
      done = true;
      return state;
    });
    await settled();
    expect(done).toBe(false);
    resolve(response(0));
    const state = await saving;
    expect(hex(state.subarray(0, 10))).toBe(hex(response(0)));

    const second = deferred<Uint8Array>();
    backend.answer = () => second.promise;
    tisSubmit(tis, GET_RANDOM);
    const resetting = tis.reset();
    await settled();
    expect(backend.of("powerOff")).toHaveLength(1);
    second.resolve(response(0));
    await resetting;
    expect(backend.of("powerOff")).toHaveLength(2);
    expect(tis.read(ACCESS, 1)).toBe(0x81);
  });

  it.each([
    ["rejects", () => Promise.reject(new BackendError("io", "gone"))],
    [
      "throws",
      () => {
        throw new BackendError("io", "gone");
      },
    ],
    ["answers less than a header", () => response(0).subarray(0, 9)],
    ["answers nothing", () => new Uint8Array(0)],
    ["answers with a wrong size field", () => Uint8Array.of(...response(0), 0)],
    ["answers more than the buffer holds", () => response(0, 4097)],
  ])("gives the guest a failure response when the backend %s", async (what, answer) => {
    const backend = new ScriptedBackend();
    backend.answer = answer;
    const onError = vi.fn();
    const tis = await tisOn(backend, onError);
    tisSubmit(tis, GET_RANDOM);
    await settled();
    expect(tisResponse(tis)).toBe(FAILURE);
    if (!what.includes("more than")) expect(onError.mock.calls[0]![0]).toBeInstanceOf(BackendError);
    backend.answer = () => response(0);
    tis.write(STS, 4, COMMAND_READY);
    tisSubmit(tis, GET_RANDOM);
    expect(tisResponse(tis)).toBe(hex(response(0)));
  });

  it("tells a CRB's guest of a failure by a fatal status, until the reset", async () => {
    const backend = new ScriptedBackend();
    backend.answer = () => Promise.reject(new BackendError("io", "gone"));
    const crb = new CrbDevice(new BackendPort(backend));
    await crb.reset();
    crb.write(0x08, 4, 1);
    crb.write(0x4c, 4, 1);
    await settled();
    expect(crb.read(0x44, 4) & 1).toBe(1);
    expect(hex(crb.window.subarray(0, 10))).toBe(FAILURE);
    await crb.reset();
    expect(crb.read(0x44, 4)).toBe(2);
  });

  it("reads as zeros when the TPM does not start, and lets the host know why", async () => {
    const backend = new ScriptedBackend();
    backend.startupError = new BackendError("bad-state", "damaged");
    const tis = new TisDevice(new BackendPort(backend));
    await expect(tis.reset()).rejects.toThrow("damaged");
    tis.write(ACCESS, 1, 0x02);
    expect([tis.read(ACCESS, 4), tis.read(0x14, 4), tis.read(0xf00, 4)]).toEqual([0, 0, 0]);
    backend.startupError = undefined;
    await tis.reset();
    expect(tis.read(ACCESS, 1)).toBe(0x81);
  });

  it("shows TPM_ESTABLISHED and lets locality 3 reset it", async () => {
    const backend = new ScriptedBackend();
    backend.established = true;
    const tis = await tisOn(backend);
    expect(tis.read(ACCESS, 1)).toBe(0x80);
    tis.write(0x1000 + ACCESS, 1, 0x02);
    tis.write(0x1000 + STS, 4, 1 << 25);
    tis.write(0x1000 + ACCESS, 1, 0x20);
    expect(backend.of("resetEstablished")).toEqual([]);
    tis.write(0x3000 + ACCESS, 1, 0x02);
    tis.write(0x3000 + STS, 4, 1 << 25);
    expect(backend.of("resetEstablished")).toEqual([[3]]);
    expect(tis.read(ACCESS, 1)).toBe(0x81);
  });

  it("keeps TPM_ESTABLISHED when the backend cannot reset it", async () => {
    const backend = new ScriptedBackend();
    backend.established = true;
    const onError = vi.fn();
    const tis = await tisOn(backend, onError);
    backend.resetEstablished = () => {
      throw new BackendError("unsupported", "no");
    };
    tis.write(0x3000 + ACCESS, 1, 0x02);
    tis.write(0x3000 + STS, 4, 1 << 25);
    expect(tis.read(ACCESS, 1)).toBe(0x80);
    expect(onError).toHaveBeenCalledOnce();
  });
});

describe("save and restore", () => {
  it("continue where the guest was, in another instance", async () => {
    const first = await tisOn(new ScriptedBackend());
    first.write(0x1000 + ACCESS, 1, 0x02);
    first.write(0x1000 + STS, 4, COMMAND_READY);
    for (const byte of GET_RANDOM.subarray(0, 7)) first.write(0x1000 + FIFO, 1, byte);
    const state = await first.save();
    const backend = new ScriptedBackend();
    const second = new TisDevice(new BackendPort(backend));
    await second.restore(state);
    expect(backend.of("powerOn")).toEqual([[true]]);
    for (const byte of GET_RANDOM.subarray(7)) second.write(0x1000 + FIFO, 1, byte);
    second.write(0x1000 + STS, 4, GO);
    expect(backend.of("execute")).toEqual([[hex(GET_RANDOM), 1]]);
    expect(await first.save()).toEqual(state);
  });

  it("take nothing that is no state of the device, and leave it as after a reset", async () => {
    const tis = await tisOn(new ScriptedBackend());
    const state = await tis.save();
    const spoiled = (at: number, value: number) => {
      const copy = state.slice();
      copy[at] = value;
      return copy;
    };
    for (const bad of [
      state.subarray(1),
      new Uint8Array(0),
      new Uint8Array(100_000),
      spoiled(4096, 0x11), // The read/write offset.
      spoiled(4098, 5), // The active locality.
      spoiled(4100, 0x80), // The next locality.
      spoiled(4104, 5), // Locality 0's state.
    ]) {
      await expect(tis.restore(bad)).rejects.toThrow(BackendError);
    }
    await tis.reset();
    expect(tis.read(ACCESS, 1)).toBe(0x81);
    expect((await tis.save()).subarray(4096)).toEqual(state.subarray(4096));
  });

  it("of an I2C device keep the transfer under way", async () => {
    const first = new I2cTisDevice(new BackendPort(new ScriptedBackend()));
    await first.reset();
    const write = (device: I2cTisDevice, ...bytes: number[]) => {
      device.start(false);
      for (const byte of bytes) device.send(byte);
    };
    write(first, 0x00, 0x02);
    first.stop();
    write(first, 0x48);
    first.start(true);
    expect([first.receive(), first.receive()]).toEqual([0x14, 0x10]);
    const state = await first.save();
    expect(state).toHaveLength(4215);
    const second = new I2cTisDevice(new BackendPort(new ScriptedBackend()));
    await second.restore(state);
    expect([second.receive(), second.receive(), second.receive()]).toEqual([0x01, 0x00, 0]);
    state[4213] = 5;
    await expect(second.restore(state)).rejects.toThrow(BackendError);
  });

  it("of a SPAPR device deliver a response that came while guest memory was out of reach", async () => {
    const memory = new Uint8Array(0x8000);
    const access = {
      read: (at: number, into: Uint8Array) => into.set(memory.subarray(at, at + into.length)),
      write: (at: number, bytes: Uint8Array) => memory.set(bytes, at),
    };
    const connect = () => {
      const vio = new SpaprVio(access, { unit: 7 });
      const backend = new ScriptedBackend();
      const device = new SpaprDevice(new BackendPort(backend), vio);
      vio.attach(device);
      for (let page = 0; page < 8; page++) vio.hypercall(0x20, [7n, BigInt(page * 4096), BigInt(page * 4096 + 3)]);
      vio.hypercall(0xfc, [7n, 0x4000n, 0x1000n]);
      return { vio, backend, device };
    };
    const source = connect();
    const { promise, resolve } = deferred<Uint8Array>();
    source.backend.answer = () => promise;
    await source.device.reset();
    memory.set(GET_RANDOM, 0x100);
    expect(source.vio.hypercall(0x108, [7n, 0x8002000c00000100n, 0n])).toBe(0);
    source.device.hold(true);
    resolve(response(0));
    const state = await source.device.save();
    expect(hex(memory.subarray(0x100, 0x10a))).toBe(hex(GET_RANDOM.subarray(0, 10)));
    expect(hex(state)).toBe(`020000000a${hex(response(0))}00000100`);

    const destination = connect();
    await destination.device.restore(state);
    destination.device.hold(false);
    expect(hex(memory.subarray(0x100, 0x10a))).toBe(hex(response(0)));
    expect(hex(memory.subarray(0x4000, 0x4010))).toBe("8082000a000001000000000000000000");
    await expect(destination.device.restore(state.subarray(1))).rejects.toThrow(BackendError);
  });
});

describe("any access of any width anywhere", () => {
  const random = new Seeded("frontend accesses");
  const SIZES = [0, 1, 2, 3, 4, 5, 8, 16, -1, 2 ** 31, Number.NaN];
  const offset = () =>
    random.pick([random.below(0x6000), random.below(2 ** 32), -random.below(16), 0x5000 - random.below(8), Number.NaN]);

  it.each([
    ["TIS", (port: BackendPort) => new TisDevice(port)],
    ["CRB", (port: BackendPort) => new CrbDevice(port)],
  ])("does not throw in a %s", async (_name, create) => {
    const backend = new ScriptedBackend();
    backend.answer = (_command, locality) => (locality === 1 ? Promise.resolve(response(0)) : response(0));
    const device = create(new BackendPort(backend));
    await device.reset();
    for (let i = 0; i < 20_000; i++) {
      const size = random.pick(SIZES);
      const value = random.below(2 ** 32);
      device.write(offset(), size, value);
      device.writeWide(offset(), size, BigInt(value) * 0x10001n);
      expect(device.read(offset(), size)).toBeLessThan(2 ** 32);
      expect(device.readWide(offset(), size)).toBeLessThan(2n ** 64n);
    }
    expect(device.read(0x5000, 4)).toBe(0);
    expect(device.read(-1, 4)).toBe(0);
  });

  it("does not throw in a device whose state came from a stranger", async () => {
    let taken = 0;
    for (const create of [(port: BackendPort) => new TisDevice(port), (port: BackendPort) => new CrbDevice(port)]) {
      const device = create(new BackendPort(new ScriptedBackend()));
      await device.reset();
      const state = await device.save();
      for (let i = 0; i < 200; i++) {
        const spoiled = state.slice();
        const from = Math.max(0, state.length - 120);
        for (let n = random.below(4); n >= 0; n--)
          spoiled[from + random.below(state.length - from)] = random.below(256);
        taken += await device.restore(spoiled).then(
          () => 1,
          (error: unknown) => {
            expect(error).toBeInstanceOf(BackendError);
            return 0;
          },
        );
        for (let n = 0; n < 100; n++) {
          const at = random.below(5) * 0x1000 + random.pick([0x00, 0x10, 0x18, 0x24, 0x4c, random.below(0x100)]);
          device.write(at, 4, random.pick([0x02, 0x08, 0x20, 0x40, 1, random.below(2 ** 32)]));
          device.read(at, 4);
        }
      }
    }
    expect(taken).toBeGreaterThan(100);
  });

  it("does not throw in an I2C or SPAPR device", async () => {
    const i2c = new I2cTisDevice(new BackendPort(new ScriptedBackend()));
    await i2c.reset();
    const memory = new Uint8Array(0x10000);
    const vio = new SpaprVio(
      {
        read: (at, into) => into.set(memory.subarray(at & 0x7fff, (at & 0x7fff) + into.length)),
        write: (at, bytes) => memory.set(bytes, at & 0x7fff),
      },
      { unit: 1 },
    );
    const spapr = new SpaprDevice(new BackendPort(new ScriptedBackend()), vio);
    vio.attach(spapr);
    await spapr.reset();
    const word = () => new DataView(random.bytes(8).buffer).getBigUint64(0);
    for (let i = 0; i < 20_000; i++) {
      random.pick([
        () => i2c.start(random.below(2) === 1),
        () => i2c.send(random.pick([random.below(256), 0x24, 0x18, 0x00])),
        () => i2c.receive(),
        () => i2c.stop(),
        () => vio.hypercall(random.pick([0x20, 0xfc, 0x100, 0x108, 0x108, 4]), [1n, word(), word()]),
        () => vio.hypercall(0x20, [1n, BigInt(random.below(64) * 4096), BigInt(random.below(4096))]),
        () => vio.hypercall(0xfc, [1n, 0x4000n, 0x1000n]),
        () => vio.hypercall(0x108, [1n, (0x80n << 56n) | (BigInt(random.below(6)) << 48n) | (word() >> 32n), word()]),
      ])();
    }
  });
});

describe("one instance is one device", () => {
  it("that shares nothing with another", async () => {
    const [first, second] = await Promise.all([tisOn(new ScriptedBackend()), tisOn(new ScriptedBackend())]);
    first.write(ACCESS, 1, 0x02);
    expect(first.read(ACCESS, 1)).toBe(0xa1);
    expect(second.read(ACCESS, 1)).toBe(0x81);
  });
});
