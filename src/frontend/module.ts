// The WebAssembly module of the hardware interfaces: its exports and imports (docs/frontends.md), and where it is found.
import { loadWasm, readWasm } from "../platform/assets.ts";

/** What an instance of frontend.wasm offers. Sizes and offsets are bytes; see docs/frontends.md for the meaning. */
export interface FrontendExports {
  readonly memory: WebAssembly.Memory;
  readonly ABI_VERSION: WebAssembly.Global;
  configure(kind: number, behaviour: number, interruptVector: number, base: number): void;
  reset(version: number, bufferSize: number): void;
  setFailed(): void;
  read(offset: number, size: number): number;
  readWide(offset: number, size: number): bigint;
  write(offset: number, size: number, value: number): void;
  writeWide(offset: number, size: number, value: bigint): void;
  i2cStartSend(): void;
  i2cSend(byte: number): number;
  i2cReceive(): number;
  i2cStop(): void;
  crqMessage(high: bigint, low: bigint): number;
  hold(hold: number): void;
  buffer(): number;
  bufferCapacity(): number;
  bufferSize(): number;
  complete(length: number): void;
  fail(): void;
  state(): number;
  stateCapacity(): number;
  save(): number;
  restore(length: number): number;
}

/** What an instance calls: import namespace "frontend". */
export interface FrontendImports {
  submit(locality: number, command: number, length: number): number;
  cancel(): void;
  established(): number;
  resetEstablished(locality: number): void;
  interrupt(level: number): void;
  dmaRead(address: number, to: number, length: number): number;
  dmaWrite(address: number, from: number, length: number): number;
  sendCrq(high: bigint, low: bigint): void;
}

/** The interface version this host speaks. */
export const FRONTEND_ABI_VERSION = 1;

let compiled: WebAssembly.Module | undefined;

/** The module, compiled once: from `bytes`, or from the package's file when none are given. */
export function frontendModule(bytes?: BufferSource): WebAssembly.Module {
  if (bytes) return new WebAssembly.Module(bytes);
  compiled ??= new WebAssembly.Module(readWasm("frontend.wasm"));
  return compiled;
}

/** As frontendModule(), which then has it too: for runtimes that read their files later, as browsers do. */
export async function loadFrontendModule(): Promise<WebAssembly.Module> {
  compiled ??= await WebAssembly.compile(await loadWasm("frontend.wasm"));
  return compiled;
}

/** One instance: one device. */
export function instantiateFrontend(module: WebAssembly.Module, imports: FrontendImports): FrontendExports {
  const { exports } = new WebAssembly.Instance(module, { frontend: { ...imports } });
  const frontend = exports as unknown as FrontendExports;
  if (frontend.ABI_VERSION.value !== FRONTEND_ABI_VERSION) {
    throw new TypeError(`frontend.wasm speaks version ${frontend.ABI_VERSION.value}, expected ${FRONTEND_ABI_VERSION}`);
  }
  return frontend;
}
