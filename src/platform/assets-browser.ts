// The package's files in a browser: takes the place of assets.ts in dist/browser (rollup.config.mjs).

/** Written out, so that bundlers of web pages see which files belong to the page. As seen from dist/browser. */
const URLS: Readonly<Record<string, () => URL>> = {
  "frontend.wasm": () => new URL("../wasm/frontend.wasm", import.meta.url),
  "tpm2.wasm": () => new URL("../wasm/tpm2.wasm", import.meta.url),
  "tpm2-fma.wasm": () => new URL("../wasm/tpm2-fma.wasm", import.meta.url),
};

/** The bytes of a WebAssembly module of the package: "tpm2.wasm". @throws Error when the page's server does not have it */
export async function loadWasm(name: string): Promise<Uint8Array<ArrayBuffer>> {
  const url = URLS[name];
  if (!url) throw new Error(`the package has no ${name} for browsers`);
  const response = await fetch(url());
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** A browser cannot wait for a file. */
export function readWasm(name: string): never {
  throw new Error(`${name} is not loaded yet: in a browser loadEngineModule() and loadFrontendModule() come first`);
}

/** Whether the browser takes a WebAssembly module of the package. */
export function acceptsWasm(bytes: Uint8Array<ArrayBuffer>): boolean {
  return WebAssembly.validate(bytes);
}
