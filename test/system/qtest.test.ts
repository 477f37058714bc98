// Random guests against our device and QEMU's at once. WTPM_QTEST_SEED takes other guests than the fixed ones of CI,
// WTPM_QTEST_INPUTS more of their accesses.
import { afterEach, describe, expect, it } from "vitest";
import type { FakeSwtpmOptions } from "../support/fake-swtpm.ts";
import type { LiveDevice } from "../support/live-qemu.ts";
import { LockStep, locality } from "../support/lock-step.ts";
import { Seeded } from "../support/seeded.ts";

const SEED = process.env.WTPM_QTEST_SEED ?? "1";
const INPUTS = Number(process.env.WTPM_QTEST_INPUTS ?? 4000);

const ACCESS = 0x00;
const INT_ENABLE = 0x08;
const INT_STATUS = 0x10;
const STS = 0x18;
const FIFO = 0x24;
const INTERFACE_ID = 0x30;
const XFIFO = 0x80;
const SIZES = [1, 2, 4, 8];

/** Picks one of the actions, each as likely as its weight says. */
type Action = readonly [weight: number, act: () => Promise<void>];
async function act(random: Seeded, actions: readonly Action[]): Promise<void> {
  let at = random.below(actions.reduce((sum, [weight]) => sum + weight, 0));
  for (const [weight, action] of actions) {
    if (at < weight) return action();
    at -= weight;
  }
}

const value = (random: Seeded, size: number) =>
  BigInt.asUintN(8 * size, new DataView(random.bytes(8).buffer).getBigUint64(0));

/** Bytes with a header: mostly a true size, at times a wrong one. */
function message(random: Seeded, tag: number, code: number, length: number): Uint8Array {
  const bytes = random.bytes(Math.max(length, 10));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, tag);
  view.setUint32(2, bytes.length);
  view.setUint32(6, code);
  return bytes;
}

function command(random: Seeded): Uint8Array {
  const length = random.below(40) === 0 ? random.below(1500) : random.pick([10, 12, 12, 14, 20, 33]);
  const bytes = message(random, 0x8001, random.pick([0x144, 0x17b, 0x17e, 0x53]), length);
  if (random.below(8) > 0) return bytes;
  const wrong = [0, 3, 5, 6, 9, bytes.length - 2, bytes.length + 2, 0x10000, 0x1000c, 0x7fffffff];
  new DataView(bytes.buffer).setUint32(2, random.pick(wrong));
  return bytes;
}

const response = (random: Seeded) =>
  message(
    random,
    0x8001,
    random.pick([0, 0, 0, 0x101]),
    random.pick([10, 12, 30, random.below(300), random.below(2000)]),
  );

function tisGuest(step: LockStep, random: Seeded): () => Promise<void> {
  const any = () => locality(random.below(5));
  const active = () => (random.below(6) === 0 ? any() : locality(step.activeLocality ?? random.below(4)));
  const fifo = () => random.pick([FIFO, FIFO, FIFO, XFIFO, XFIFO + 4 * random.below(16), FIFO + random.below(4)]);

  /** The bytes of a command, in accesses of a random width. */
  async function fill(at: number, bytes: Uint8Array): Promise<void> {
    const width = random.pick([1, 1, 2, 4, 4, 8]);
    for (let i = 0; i < bytes.length; ) {
      const n = i + width <= bytes.length || random.below(4) === 0 ? width : 1;
      const chunk = new Uint8Array(8);
      chunk.set(bytes.subarray(i, i + n));
      await step.write(at + fifo(), n, BigInt.asUintN(8 * n, new DataView(chunk.buffer).getBigUint64(0, true)));
      i += n;
    }
  }

  /** A command as a driver sends it. One sent before the last was answered leaves a locality stuck until the reset. */
  async function send(): Promise<void> {
    if (step.pending && random.below(10) > 0) await step.respond(response(random));
    if (step.activeLocality === undefined) await step.write(locality(random.below(4)) + ACCESS, 1, 0x02n);
    const at = locality(step.activeLocality!);
    await step.write(at + STS, random.pick([1, 4]), 0x40n);
    await fill(at, command(random));
    await step.read(at + STS, random.pick([1, 4]));
    await step.write(at + STS, random.pick([1, 4]), 0x20n);
  }

  /** Some of that left out. */
  async function sendBadly(): Promise<void> {
    const at = active();
    const bytes = command(random);
    if (random.below(2) === 0) await step.write(at + STS, random.pick([1, 4]), 0x40n);
    await fill(at, bytes.subarray(0, random.below(bytes.length)));
    if (random.below(2) === 0) await step.write(at + STS, random.pick([1, 4]), 0x20n);
  }

  async function receive(): Promise<void> {
    const at = active();
    for (let n = random.pick([1, 4, 12]); n > 0; n--) {
      await step.read(at + fifo(), random.pick(SIZES));
      if (random.below(4) === 0) await step.read(at + STS + random.below(4), random.pick(SIZES));
    }
  }

  /** Interrupts as a driver uses them: on, one happens, its cause is read and taken back. */
  async function interrupt(): Promise<void> {
    const at = active();
    await step.write(at + INT_ENABLE, 4, 0x80000087n);
    await step.write(at + STS, 1, random.pick([0x40n, 0x20n]));
    await step.read(at + INT_STATUS, 4);
    await step.write(at + INT_STATUS, 4, random.pick([0x80n, 0xffn]));
  }

  const actions: readonly Action[] = [
    [10, () => step.write(any() + ACCESS, 1, 0x02n)],
    [2, () => step.write(active() + ACCESS, 1, 0x20n)],
    [2, () => step.write(any() + ACCESS, 1, 0x08n)],
    [2, () => step.write(any() + ACCESS, 1, 0x10n)],
    [2, () => step.write(any() + ACCESS, random.pick(SIZES), value(random, 1))],
    [20, send],
    [6, sendBadly],
    [10, receive],
    [10, interrupt],
    [5, () => step.write(active() + STS, random.pick([1, 4]), 0x40n)],
    [4, () => step.write(active() + STS, random.pick([1, 4]), 0x20n)],
    [3, () => step.write(active() + STS, 1, 0x02n)],
    [2, () => step.write(active() + STS, 4, random.pick([1n << 24n, 1n << 25n, 3n << 24n, 0x2000040n]))],
    [2, () => step.write(active() + STS + random.below(4), random.pick(SIZES), value(random, 4))],
    [
      3,
      () => step.write(any() + INT_ENABLE, 4, random.pick([0x80000087n, 0x80000080n, 0x80000001n, value(random, 4)])),
    ],
    [2, () => step.write(any() + INT_ENABLE + random.below(4), random.pick([1, 2]), value(random, 2))],
    [6, () => step.write(active() + INT_STATUS, random.pick([1, 4]), random.pick([0x80n, 0x87n, 0x01n, 0xffn, 0xffn]))],
    [1, () => step.write(any() + INTERFACE_ID, 4, value(random, 4))],
    [4, () => step.write(any() + random.below(0x1000), random.pick(SIZES), value(random, 8))],
    [12, () => step.read(any() + random.pick([ACCESS, STS, INT_ENABLE, INT_STATUS]), random.pick([1, 4]))],
    [8, () => step.read(any() + random.below(0x40), random.pick(SIZES))],
    [4, () => step.read(Math.min(any() + random.below(0x1000), 0x4ff8), random.pick(SIZES))],
    [12, async () => void (step.pending && (await step.respond(response(random))))],
    [3, () => step.reset(response(random))],
  ];
  return () => act(random, actions);
}

function crbGuest(step: LockStep, random: Seeded): () => Promise<void> {
  const WINDOW = 0x80;
  const actions: readonly Action[] = [
    [6, () => step.write(0x08, random.pick([1, 2, 4, 8]), random.pick([1n, 1n, 2n, 4n, 8n, value(random, 1)]))],
    [6, () => step.write(0x40, random.pick([1, 2, 4]), random.pick([1n, 2n, 3n, value(random, 1)]))],
    [3, () => step.write(0x48, random.pick([1, 4, 8]), random.pick([0n, 1n, 0x1_0000_0001n]))],
    [8, () => step.write(0x4c, random.pick([1, 2, 4]), random.pick([1n, 1n, 1n, 0x101n, 2n, 3n]))],
    [8, () => step.writeBytes(WINDOW, command(random))],
    [3, () => step.write(WINDOW + random.below(0xf70), random.pick(SIZES), value(random, 8))],
    [6, () => step.readBytes(WINDOW, random.pick([10, 64, 0xf80]))],
    [8, () => step.read(random.below(0x78), random.pick(SIZES))],
    [8, () => step.read(random.pick([0x00, 0x0c, 0x44, 0x4c]), 4)],
    [2, () => step.read(0x78 + random.below(16), random.pick(SIZES))],
    [4, () => step.write(random.below(0x78), random.pick(SIZES), random.pick([1n, 2n, value(random, 8)]))],
    [12, async () => void (step.pending && (await step.respond(response(random))))],
    [1, () => step.reset(response(random))],
  ];
  return () => act(random, actions);
}

const MACHINES: readonly [string, LiveDevice, FakeSwtpmOptions][] = [
  ["a TIS with a TPM 2.0", "tpm-tis", { version: 2 }],
  [
    "a TIS with a TPM 2.0, a small buffer and TPM_ESTABLISHED set",
    "tpm-tis",
    { maxBufferSize: 1024, established: true },
  ],
  ["a TIS with a TPM 1.2", "tpm-tis", { version: 1, established: true }],
  ["the TIS of an Arm machine with a TPM 2.0", "tpm-tis-device", { version: 2, established: true }],
  ["the TIS of an Arm machine with a TPM 1.2", "tpm-tis-device", { version: 1, maxBufferSize: 2048 }],
  ["a CRB with a TPM 2.0", "tpm-crb", { version: 2 }],
  ["a CRB with a small buffer and TPM_ESTABLISHED set", "tpm-crb", { maxBufferSize: 1280, established: true }],
];

describe("a guest cannot tell our device from QEMU's", () => {
  let step: LockStep | undefined;
  afterEach(() => step?.stop());

  it.each(MACHINES)("that does random things to %s", async (name, kind, options) => {
    step = await LockStep.start(kind, options);
    const random = new Seeded(`qtest ${SEED} ${name}`);
    const next = kind === "tpm-crb" ? crbGuest(step, random) : tisGuest(step, random);
    while (step.inputs < INPUTS) await next();
    await step.finish();
    // A guest that got nothing done would prove nothing.
    expect(step.commands).toBeGreaterThan(INPUTS / 100);
    expect(step.responses).toBeGreaterThan(INPUTS / 100);
    if (kind !== "tpm-crb") expect(step.interrupts).toBeGreaterThan(INPUTS / 400);
  });

  it("that looks at a response whose size another locality has overwritten", async () => {
    const random = new Seeded("overwritten");
    for (const size of [0x0001_0020, 0x0001_0000, 0x0001_1000, 0xffff_ffff, 0x0000_1001, 0]) {
      step = await LockStep.start("tpm-tis");
      await step.write(ACCESS, 1, 0x02n);
      await step.write(STS, 4, 0x40n);
      for (const byte of message(random, 0x8001, 0x17b, 12)) await step.write(FIFO, 1, BigInt(byte));
      await step.write(STS, 4, 0x20n);
      await step.respond(message(random, 0x8001, 0, 30));
      await step.read(FIFO, 4);
      await step.write(ACCESS, 1, 0x20n);
      await step.write(locality(1) + ACCESS, 1, 0x02n);
      await step.write(locality(1) + STS, 4, 0x40n);
      const header = [0x80, 0x01, size >>> 24, (size >>> 16) & 0xff, (size >>> 8) & 0xff, size & 0xff];
      for (const byte of header) await step.write(locality(1) + FIFO, 1, BigInt(byte));
      await step.read(locality(1) + STS, 4);
      await step.write(locality(1) + ACCESS, 1, 0x20n);
      await step.write(ACCESS, 1, 0x02n);
      for (let i = 0; i < 12; i++) {
        await step.read(STS, 4);
        await step.read(FIFO, 4);
      }
      await step.finish();
      await step.stop();
    }
  });

  it("but would, were our device another QEMU's", async () => {
    step = await LockStep.start("tpm-tis", {}, "qemu-10.0");
    const random = new Seeded("other");
    const next = tisGuest(step, random);
    const guest = async () => {
      while (step!.inputs < 20 * INPUTS) await next();
    };
    await expect(guest()).rejects.toThrow(/value: ours [0-9a-f]+, QEMU's [0-9a-f]+/);
  });
});
