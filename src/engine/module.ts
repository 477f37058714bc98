// The compiled engine of the package: compiled once, instantiated per TPM.
import { readFileSync } from "node:fs";
import { wasmUrl } from "../platform/assets.ts";

let compiled: WebAssembly.Module | undefined;

/** The TPM 2.0 engine. */
export function engineModule(): WebAssembly.Module {
  compiled ??= new WebAssembly.Module(new Uint8Array(readFileSync(wasmUrl("tpm2.wasm"))));
  return compiled;
}
