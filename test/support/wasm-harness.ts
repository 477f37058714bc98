// Drives the parts of a WebAssembly test build (build/test/NAME.wasm) directly: loads it, keeps a scratch area that the
// module itself never touches, and copies bytes in and out.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";

/** What a call accepts: u32 and pointers as numbers, u64 as bigint, bytes copied to scratch and passed as a pointer. */
export type Argument = number | bigint | Uint8Array;

type WasmFunction = (...args: (number | bigint)[]) => number | bigint | undefined;

const PAGE = 65536;
const ALIGNMENT = 16;

/** Reads the module of a build target of scripts/build-wasm.mjs, for example "crypto-symmetric". */
export function readTestModule(target: string): Uint8Array<ArrayBuffer> {
  const file = new URL(`../../build/test/${target}.wasm`, import.meta.url);
  return new Uint8Array(readFileSync(fileURLToPath(file)));
}

/** One instance of a test build. */
export class WasmHarness {
  readonly memory: WebAssembly.Memory;
  readonly #exports: WebAssembly.Exports;
  readonly #base: number;
  #top: number;

  /** `module` is compiled or raw; `imports` only for builds that have some (instrumented ones). */
  constructor(module: WebAssembly.Module | Uint8Array<ArrayBuffer>, imports: WebAssembly.Imports = {}) {
    const compiled = module instanceof WebAssembly.Module ? module : new WebAssembly.Module(module);
    this.#exports = new WebAssembly.Instance(compiled, imports).exports;
    this.memory = this.#exports.memory as WebAssembly.Memory;
    // The modules live in the static memory they declare, so whatever is grown beyond it belongs to the test.
    this.#base = this.memory.grow(1) * PAGE;
    this.#top = this.#base;
  }

  /** Forgets everything allocated in scratch, so that one test can run thousands of cases. */
  reset(): void {
    this.#top = this.#base;
  }

  /** Address of `length` fresh scratch bytes, 16-aligned, filled with 0xA5 so that forgotten writes show. */
  reserve(length: number): number {
    const at = this.#top;
    this.#top = at + Math.ceil(length / ALIGNMENT) * ALIGNMENT;
    const missing = this.#top - this.memory.buffer.byteLength;
    if (missing > 0) this.memory.grow(Math.ceil(missing / PAGE));
    new Uint8Array(this.memory.buffer, at, this.#top - at).fill(0xa5);
    return at;
  }

  /** Copies `bytes` into scratch and returns their address. */
  place(bytes: Uint8Array): number {
    const at = this.reserve(bytes.length);
    new Uint8Array(this.memory.buffer, at, bytes.length).set(bytes);
    return at;
  }

  /** Overwrites memory at `address`. */
  write(address: number, bytes: Uint8Array): void {
    new Uint8Array(this.memory.buffer, address, bytes.length).set(bytes);
  }

  /** A copy of `length` bytes at `address`. */
  read(address: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.memory.buffer, address, length).slice();
  }

  /** The exported function itself, for callers that measure. */
  function(name: string): WasmFunction {
    const found = this.#exports[name];
    if (typeof found !== "function") throw new Error(`the module exports no function '${name}'`);
    return found as WasmFunction;
  }

  /** The value of an exported constant, for example HASH_STATE_SIZE. */
  constant(name: string): number {
    const found = this.#exports[name];
    if (!(found instanceof WebAssembly.Global)) throw new Error(`the module exports no constant '${name}'`);
    return Number(found.value) >>> 0;
  }

  /** Exported globals by name. */
  globals<Name extends string>(names: readonly Name[]): { [name in Name]: WebAssembly.Global } {
    return Object.fromEntries(names.map((name) => [name, this.#exports[name]])) as {
      [name in Name]: WebAssembly.Global;
    };
  }

  /** Calls an export; bytes are placed in scratch first. The result is an unsigned 32-bit number (0 for void). */
  call(name: string, ...args: Argument[]): number {
    const result = this.function(name)(...args.map((a) => (a instanceof Uint8Array ? this.place(a) : a)));
    return Number(result ?? 0) >>> 0;
  }

  /** As `call`, with `length` bytes of output whose pointer is the argument after `args`; returns those bytes. */
  output(length: number, name: string, ...args: Argument[]): Uint8Array<ArrayBuffer> {
    const out = this.reserve(length);
    this.call(name, ...args, out);
    return this.read(out, length);
  }
}

/** A fresh instance of a test build. */
export function loadHarness(target: string): WasmHarness {
  return new WasmHarness(readTestModule(target));
}

/**
 * Reads the module of a target that needs relaxed SIMD, which Node 20 has behind a flag. Undefined where the runtime
 * cannot run it, which must not happen in Node.
 */
export function readRelaxedModule(target: string): Uint8Array<ArrayBuffer> | undefined {
  const module = readTestModule(target);
  if (!WebAssembly.validate(module)) setFlagsFromString("--experimental-wasm-relaxed-simd");
  if (WebAssembly.validate(module)) return module;
  if (!("bun" in process.versions) && !("deno" in process.versions)) throw new Error(`${target} must run in Node`);
  return undefined;
}
