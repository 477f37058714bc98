// The compiled engine of the package: compiled once, instantiated per TPM.
import { acceptsWasm, loadWasm, readWasm } from "../platform/assets.ts";
import { Engine } from "./engine.ts";

/** Which build of the engine runs: with fused multiply-add, or with integer products. */
export type EngineBuild = "fused" | "base";

interface Compiled {
  readonly build: EngineBuild;
  readonly module: WebAssembly.Module;
}

let compiled: Compiled | undefined;

/** The TPM 2.0 engine in the build that suits this runtime. */
export function engineModule(): WebAssembly.Module {
  compiled ??= fused(readWasm("tpm2-fma.wasm")) ?? {
    build: "base",
    module: new WebAssembly.Module(readWasm("tpm2.wasm")),
  };
  return compiled.module;
}

/** As engineModule(), which then has it too: for runtimes that read their files later, as browsers do. */
export async function loadEngineModule(): Promise<WebAssembly.Module> {
  compiled ??= fused(await loadWasm("tpm2-fma.wasm")) ?? {
    build: "base",
    module: await WebAssembly.compile(await loadWasm("tpm2.wasm")),
  };
  return compiled.module;
}

/** The build that engineModule() chose. */
export function engineBuild(): EngineBuild {
  engineModule();
  return compiled?.build ?? "base";
}

/**
 * The fused build, where the runtime knows relaxed SIMD and its relaxed multiply-add rounds once. The specification allows to round
 * twice, and some runtimes do: the results are then wrong, which its self-test notices.
 */
function fused(bytes: Uint8Array<ArrayBuffer>): Compiled | undefined {
  if (!acceptsWasm(bytes)) return undefined;
  const module = new WebAssembly.Module(bytes);
  return new Engine(module).kernelSelfTest() ? { build: "fused", module } : undefined;
}
