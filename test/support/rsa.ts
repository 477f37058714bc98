// Drives the RSA test builds: every variant that this engine can run, and the module's calls with bytes and bigints.
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { Seeded } from "./seeded.ts";
import { readTestModule, WasmHarness } from "./wasm-harness.ts";

/** The builds, and the one that needs relaxed SIMD. */
const TARGETS = ["crypto-rsa", "crypto-rsa-fma"] as const;

/** Hash ids of the modules, with node:crypto's names. */
export const RSA_HASHES = ["sha1", "sha256", "sha384", "sha512", "sha3-256", "sha3-384", "sha3-512"] as const;
export const SCHEME = { null: 0, rsassa: 1, rsapss: 2, rsaes: 3, oaep: 4 } as const;
export const ERROR = { range: 1, binding: 2, fault: 3, blinding: 4, value: 5 } as const;
export const KEYGEN = { compat0: 0, compat1: 1, random: 2 } as const;

export const toBig = (bytes: Uint8Array): bigint => BigInt(`0x0${Buffer.from(bytes).toString("hex")}`);

export function toBytes(value: bigint, length: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(value.toString(16).padStart(2 * length, "0"), "hex"));
}

export function modPow(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n % modulus;
  let square = base % modulus;
  for (let e = exponent; e > 0n; e >>= 1n) {
    if (e & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

/** 1/a mod m for coprime a. */
export function modInverse(a: bigint, m: bigint): bigint {
  let [r0, r1, s0, s1] = [m, ((a % m) + m) % m, 0n, 1n];
  while (r1 > 0n) {
    const quotient = r0 / r1;
    [r0, r1] = [r1, r0 - quotient * r1];
    [s0, s1] = [s1, s0 - quotient * s1];
  }
  return ((s0 % m) + m) % m;
}

/** A key as numbers, and as node:crypto's objects. */
export interface TestKey {
  bits: number;
  e: number;
  n: Uint8Array<ArrayBuffer>;
  /** The prime a TPM object would keep, and the other one. */
  p: Uint8Array<ArrayBuffer>;
  q: Uint8Array<ArrayBuffer>;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

/** Completes a key from its modulus, one prime and its exponent. */
export function testKey(n: Uint8Array<ArrayBuffer>, p: Uint8Array<ArrayBuffer>, e: number): TestKey {
  const q = toBytes(toBig(n) / toBig(p), p.length);
  const [P, Q, E] = [toBig(p), toBig(q), BigInt(e)];
  const url = (value: bigint, length: number) => Buffer.from(toBytes(value, length)).toString("base64url");
  const half = p.length;
  const jwk = {
    kty: "RSA",
    n: url(toBig(n), n.length),
    e: Buffer.from(e.toString(16).padStart(8, "0"), "hex").toString("base64url"),
    d: url(modInverse(E, (P - 1n) * (Q - 1n)), n.length),
    p: url(P, half),
    q: url(Q, half),
    dp: url(modInverse(E, P - 1n), half),
    dq: url(modInverse(E, Q - 1n), half),
    qi: url(modInverse(Q, P), half),
  };
  const privateKey = createPrivateKey({ key: jwk, format: "jwk" });
  return { bits: n.length * 8, e, n, p, q, privateKey, publicKey: createPublicKey(privateKey) };
}

/** One instance of a build, with typed calls. */
export class RsaModule {
  readonly wasm: WasmHarness;

  constructor(module: WebAssembly.Module | Uint8Array<ArrayBuffer>) {
    this.wasm = new WasmHarness(module);
  }

  /** A DRBG state started from the seed alone. */
  drbg(seed: Uint8Array): number {
    const state = this.wasm.reserve(this.wasm.constant("DRBG_STATE_SIZE"));
    this.wasm.call("drbgInstantiateSeeded", state, seed, seed.length, 0, 0, 0, 0, 0, 0);
    return state;
  }

  /** Runs a prime search to its end. `steps` counts the slices. */
  generate(bits: number, e: number, drbg: number, mode: number) {
    this.wasm.call("rsaKeyGenStart", bits, e, drbg, mode);
    let steps = 0;
    for (let answer = 0; answer === 0; steps++) {
      answer = this.wasm.call("rsaKeyGenStep") | 0;
      if (answer < 0) throw new Error("the search failed");
    }
    const prime = this.wasm.reserve(bits / 16);
    const modulus = this.wasm.reserve(bits / 8);
    if (this.wasm.call("rsaKeyGenResult", prime, modulus) !== 1) throw new Error("no result");
    return { p: this.wasm.read(prime, bits / 16), n: this.wasm.read(modulus, bits / 8), steps };
  }

  /** A key that is the same in every run. */
  seededKey(name: string, bits: number, e = 65537): TestKey {
    const seed = createHash("sha512").update(`${name} ${bits} ${e}`).digest();
    const { p, n } = this.generate(bits, e, this.drbg(seed), KEYGEN.random);
    return testKey(n, p, e);
  }

  /** Loads and blinds a key; returns its record, or throws the error code. */
  load(key: Pick<TestKey, "bits" | "e" | "n" | "p">, random: Seeded = new Seeded("blinding")): number {
    const record = this.wasm.reserve(this.wasm.call("rsaKeySize", key.bits));
    const result = this.wasm.call("rsaKeyLoad", key.n, key.bits, key.p, key.e, record);
    if (result !== 0) throw new Error(`rsaKeyLoad: ${result}`);
    this.blind(record, key.bits, random);
    return record;
  }

  blind(record: number, bits: number, random: Seeded): void {
    this.wasm.call("rsaKeyBlind", record, random.bytes(bits / 8));
  }

  /** The private operation; blinds again when the key asks for it. Returns the output or the error code. */
  private(record: number, bits: number, input: Uint8Array, random: Seeded): Uint8Array<ArrayBuffer> | number {
    const output = this.wasm.reserve(bits / 8);
    let result = this.wasm.call("rsaPrivate", record, input, output);
    if (result === ERROR.blinding) {
      this.blind(record, bits, random);
      result = this.wasm.call("rsaPrivate", record, input, output);
    }
    return result === 0 ? this.wasm.read(output, bits / 8) : result;
  }

  /** The public operation: the output or the error code. */
  public(key: Pick<TestKey, "bits" | "e" | "n">, input: Uint8Array): Uint8Array<ArrayBuffer> | number {
    const output = this.wasm.reserve(key.bits / 8);
    const result = this.wasm.call("rsaPublic", key.n, key.bits, key.e, input, output);
    return result === 0 ? this.wasm.read(output, key.bits / 8) : result;
  }
}

/**
 * The build variants this engine runs. Node has what the fused one needs: from 22 on by default, before that behind a V8 flag;
 * other engines may accept the module and yet not fuse, which its own test tells.
 */
export function rsaVariants(): { name: string; module: WebAssembly.Module }[] {
  const variants = [];
  for (const name of TARGETS) {
    const bytes = readTestModule(name);
    if (!WebAssembly.validate(bytes)) setFlagsFromString("--experimental-wasm-relaxed-simd");
    const module = WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : undefined;
    const usable = module && new RsaModule(module).wasm.call("rsaKernelSelfTest") !== 0;
    const isNode = !("bun" in process.versions) && !("deno" in process.versions);
    if (!usable && isNode) throw new Error(`${name} must run in Node`);
    if (module && usable) variants.push({ name, module });
  }
  return variants;
}
