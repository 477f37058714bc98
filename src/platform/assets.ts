// Where the package's files are, whichever way this code was started.

import fs from "node:fs";
import v8 from "node:v8";
import { isNode } from "./runtime.ts";

/** Where this module may lie: the sources, what tsc made of them, a bundle in dist/bin, or (else) one in dist. */
const PLACES: readonly (readonly [suffix: string, up: string])[] = [
  ["/src/platform/assets.ts", "../../"],
  ["/build/js/platform/assets.js", "../../../"],
  ["/dist/bin/wtpm.js", "../../"],
];

/** The package's folder, with a slash at the end. */
export function packageUrl(): URL {
  const here = import.meta.url;
  const up = PLACES.find(([suffix]) => here.endsWith(suffix))?.[1] ?? "../";
  return new URL(up, here);
}

/** A WebAssembly module of the package: "tpm2.wasm". */
export function wasmUrl(name: string): URL {
  return new URL(`dist/wasm/${name}`, packageUrl());
}

/** Its bytes. */
export function readWasm(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(fs.readFileSync(wasmUrl(name)));
}

/** The same for every runtime: browsers have no other way (assets-browser.ts). */
export async function loadWasm(name: string): Promise<Uint8Array<ArrayBuffer>> {
  return readWasm(name);
}

/**
 * Whether this runtime takes a WebAssembly module of the package. Node 20 has relaxed SIMD behind a flag, which is set here when a
 * module needs it: what a module computes is for its known answers to tell.
 */
export function acceptsWasm(bytes: Uint8Array<ArrayBuffer>): boolean {
  if (WebAssembly.validate(bytes)) return true;
  if (!isNode || !process.versions.node.startsWith("20.")) return false;
  v8.setFlagsFromString("--experimental-wasm-relaxed-simd");
  return WebAssembly.validate(bytes);
}
