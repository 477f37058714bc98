// Making RSA keys: in slices between which the host can do something else, cancel, or turn to another command.
import { Buffer } from "node:buffer";
import { describe, expect, test } from "vitest";
import { TpmClient } from "../../src/codec/client.ts";
import { encodeCommand } from "../../src/codec/index.ts";
import { Engine, PENDING } from "../../src/engine/engine.ts";
import { engineModule } from "../../src/engine/module.ts";
import { createPrimary, ecc, NO_SENSITIVE, rsa } from "../support/engine-templates.ts";
import { responseCode, TestHost } from "../support/engine-tpm.ts";

const TPM_RC_CANCELED = 0x909;
const FIRST = 0x8000_0000;
const STARTUP = encodeCommand("Startup", { parameters: { startupType: "CLEAR" } });
const GET_RANDOM = encodeCommand("GetRandom", { parameters: { bytesRequested: 4 } });
const template = rsa({ attributes: { fixedTPM: true, fixedParent: true, sign: true } }, undefined, 2048);
const parameters = { inSensitive: NO_SENSITIVE, inPublic: template, outsideInfo: "", creationPCR: [] };
const CREATE_PRIMARY = encodeCommand("CreatePrimary", {
  handles: { primaryHandle: "OWNER" },
  sessions: [{ password: "" }],
  parameters,
});

function poweredOn(profile?: string): Engine {
  const engine = new Engine(engineModule(), new TestHost());
  expect(engine.manufacture(profile)).toBe(0);
  engine.init();
  engine.execute(STARTUP, 0);
  return engine;
}

/** Slices until the command is done, the first one of execute(), and the response. */
function finish(engine: Engine, command: Uint8Array): { slices: number; response: Uint8Array } {
  let slices = 1;
  let size = engine.execute(command, 0);
  for (; size === PENDING; slices++) size = engine.resume();
  return { slices, response: engine.response(size) };
}

const clientOf = (engine: Engine) => new TpmClient((command) => finish(engine, command).response);
const transientHandles = async (engine: Engine) => {
  const { capabilityData } = await clientOf(engine).command("GetCapability", {
    parameters: { capability: "HANDLES", property: FIRST, propertyCount: 3 },
  });
  return capabilityData.data as number[];
};

test("a key takes many slices, and is the same however they are spread", async () => {
  const engine = poweredOn();
  const { slices, response } = finish(engine, CREATE_PRIMARY);
  expect(slices).toBeGreaterThan(10);
  expect(responseCode(response)).toBe(0);
  expect(finish(poweredOn(), CREATE_PRIMARY).response).toEqual(response);
  expect(await transientHandles(engine)).toEqual([FIRST]);
});

describe("a cancelled key", () => {
  test("answers TPM_RC_CANCELED at the next slice and leaves the TPM as it was, after any slice", async () => {
    const { slices } = finish(poweredOn(), CREATE_PRIMARY);
    const engine = poweredOn();
    for (const stop of [1, 2, 3, Math.floor(slices / 2), slices - 1]) {
      expect(engine.execute(CREATE_PRIMARY, 0)).toBe(PENDING);
      for (let slice = 1; slice < stop; slice++) expect(engine.resume()).toBe(PENDING);
      engine.cancel();
      const size = engine.resume();
      expect(size).toBe(10);
      expect(responseCode(engine.response(size))).toBe(TPM_RC_CANCELED);
      expect(await transientHandles(engine)).toEqual([]);
    }
    // The next command is not cancelled.
    expect(responseCode(finish(engine, CREATE_PRIMARY).response)).toBe(0);
  });

  test("leaves none of its primes in memory", () => {
    const whole = bareEngine();
    const slices = whole.run(CREATE_PRIMARY, Number.POSITIVE_INFINITY);
    const [p, q] = primesIn(whole.memory(), modulusOf(whole.response()));
    // The second one found is what the object keeps, the first its private exponent.
    expect(holds(whole.memory(), p)).toBe(true);
    for (let stop = 1; stop < slices; stop++) {
      const engine = bareEngine();
      engine.run(CREATE_PRIMARY, stop);
      engine.cancel();
      expect([holds(engine.memory(), p), holds(engine.memory(), q)], `after slice ${stop}`).toEqual([false, false]);
    }
  });
});

test("another command ends a key that nobody waits for", async () => {
  const engine = poweredOn();
  expect(engine.execute(CREATE_PRIMARY, 0)).toBe(PENDING);
  expect(responseCode(finish(engine, GET_RANDOM).response)).toBe(0);
  expect(engine.resume()).toBe(0);
  expect(await transientHandles(engine)).toEqual([]);
  expect(responseCode(finish(engine, CREATE_PRIMARY).response)).toBe(0);
});

test("a sequence of the interface's, begun meanwhile, keeps its slot", async () => {
  const engine = poweredOn();
  const client = clientOf(engine);
  for (let i = 0; i < 2; i++)
    await client.command("HashSequenceStart", { parameters: { auth: "", hashAlg: "SHA256" } });
  expect(engine.execute(CREATE_PRIMARY, 0)).toBe(PENDING);
  engine.hashStart();
  engine.hashData(Uint8Array.of(1, 2, 3));
  let size = engine.resume();
  while (size === PENDING) size = engine.resume();
  expect(responseCode(engine.response(size))).toBe(0x902);
  engine.hashEnd();
  expect(responseCode(finish(engine, CREATE_PRIMARY).response)).toBe(0);
});

test("keys are tried out before they are given away if the profile wants it", async () => {
  const engine = poweredOn('{"Name":"custom:pct","StateFormatLevel":7,"Attributes":"pct"}');
  const client = clientOf(engine);
  const attributes = { fixedTPM: true, fixedParent: true, sign: true };
  for (const tested of [rsa({ attributes }), ecc({ attributes }, "NIST_P521"), ecc({ attributes }, "BN_P256")]) {
    const { objectHandle } = await createPrimary(client, tested);
    await client.command("FlushContext", { parameters: { flushHandle: objectHandle } });
  }
});

/** An engine whose memory can be looked at. */
function bareEngine() {
  const host = new TestHost();
  let memory: WebAssembly.Memory | undefined;
  const instance = new WebAssembly.Instance(engineModule(), {
    env: {
      random: (at: number, length: number) => host.random(new Uint8Array(memory!.buffer as ArrayBuffer, at, length)),
      now: (clock: number) => host.now(clock),
    },
  });
  const exports = instance.exports as unknown as Record<string, (...args: number[]) => number>;
  memory = instance.exports.memory as WebAssembly.Memory;
  const bytes = () => new Uint8Array(memory!.buffer as ArrayBuffer);
  let size = 0;
  const execute = (command: Uint8Array) => {
    bytes().set(command, exports.command_buffer!());
    size = exports.execute!(command.length, 0);
  };
  exports._initialize?.();
  exports.manufacture!(0);
  exports.init!();
  execute(STARTUP);
  return {
    memory: bytes,
    /** Runs a command for so many slices at most. Returns how many it took. */
    run(command: Uint8Array, limit: number): number {
      execute(command);
      let slices = 1;
      for (; size === PENDING && slices < limit; slices++) size = exports.resume!();
      return slices;
    },
    cancel(): void {
      exports.cancel!();
      size = exports.resume!();
      expect(responseCode(this.response())).toBe(TPM_RC_CANCELED);
    },
    response: () => bytes().slice(exports.response_buffer!(), exports.response_buffer!() + size),
  };
}

const bigintOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString("hex")}`);

/** The modulus in the response of TPM2_CreatePrimary: the 256 bytes behind the only TPM2B of this size. */
function modulusOf(response: Uint8Array): bigint {
  const at = Buffer.from(response).indexOf(Buffer.from([0, 0, 0, 0, 1, 0]));
  return bigintOf(response.subarray(at + 6, at + 6 + 256));
}

/** The primes of a modulus: one stands in the object, a TPM2B of 128 bytes in the memory. */
function primesIn(memory: Uint8Array, modulus: bigint): [bigint, bigint] {
  for (let at = 0; at + 130 <= memory.length; at += 2) {
    if (memory[at] !== 128 || memory[at + 1] !== 0 || !(memory[at + 2]! & 0x80)) continue;
    const candidate = bigintOf(memory.subarray(at + 2, at + 130));
    if (candidate & 1n && modulus % candidate === 0n) return [candidate, modulus / candidate];
  }
  throw new Error("the key has no prime");
}

/** Whether memory has a part of a number, in either byte order. */
function holds(memory: Uint8Array, number: bigint): boolean {
  const bytes = Buffer.from(number.toString(16).padStart(256, "0"), "hex");
  const within = Buffer.from(memory.buffer);
  return [bytes, Buffer.from(bytes).reverse()].some((order) =>
    [0, 40, 80].some((from) => within.includes(order.subarray(from, from + 24))),
  );
}
