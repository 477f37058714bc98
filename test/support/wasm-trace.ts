// Shows that code is constant-time as far as WebAssembly can say: that runs with different secrets take the same branches and
// touch the same addresses. See wasm-instrument.ts for what is observed; what an engine makes of a `v128` or `i64.mul`
// instruction is not.
//
//   const tracer = loadTracer("crypto-symmetric");
//   const [a, b] = keys.map((key) => tracer.trace((wasm) => wasm.call("aesExpandKey", key, 128, wasm.reserve(256))));
//   expect(b).toEqual(a);
//
// Every run starts from a fresh instance, so that nothing but the inputs can differ; its inputs must have equal lengths and be
// placed in the same order.
import { type Instrumented, instrument, type Site, TRACE_EXPORTS } from "./wasm-instrument.ts";
import { readTestModule, WasmHarness } from "./wasm-harness.ts";

/** All an observer learned from a run. */
export interface Trace {
  /** The hash of every event in order. */
  hash: bigint;
  events: number;
}

export class Tracer {
  readonly #module: WebAssembly.Module;
  readonly #sites: Site[];

  constructor(module: Uint8Array) {
    const instrumented: Instrumented = instrument(module);
    this.#module = new WebAssembly.Module(instrumented.module);
    this.#sites = instrumented.sites;
  }

  /**
   * Runs `setup` (not recorded, say a key expansion that is not under test) and then `run` in a fresh instance; returns
   * what could be observed of `run`.
   */
  trace<T>(run: (wasm: WasmHarness, prepared: T) => void, setup: (wasm: WasmHarness) => T): Trace;
  trace(run: (wasm: WasmHarness) => void): Trace;
  trace<T>(run: (wasm: WasmHarness, prepared: T) => void, setup?: (wasm: WasmHarness) => T): Trace {
    const { hash, events } = this.#run(run, setup, 0n);
    return { hash, events };
  }

  /** Describes the first event in which two runs differ, or undefined when they do not. */
  firstDifference(a: (wasm: WasmHarness) => void, b: (wasm: WasmHarness) => void): string | undefined {
    const [first, second] = [this.trace(a), this.trace(b)];
    if (first.hash === second.hash && first.events === second.events) return undefined;
    let same = 0;
    let different = Math.min(first.events, second.events) + 1;
    while (different - same > 1) {
      const middle = Math.floor((same + different) / 2);
      const [x, y] = [a, b].map((run) => this.#run(run, undefined, BigInt(middle)).stopHash);
      if (x === y) same = middle;
      else different = middle;
    }
    const site = this.#sites[this.#run(a, undefined, BigInt(different)).stopSite];
    if (!site) return `one run is longer: ${first.events} and ${second.events} events`;
    return `event ${different}: ${site.what} in function ${site.functionIndex}, code section offset ${site.offset}`;
  }

  #run<T>(run: (wasm: WasmHarness, prepared: T) => void, setup: ((wasm: WasmHarness) => T) | undefined, stop: bigint) {
    const wasm = new WasmHarness(this.#module);
    const prepared = setup?.(wasm) as T;
    const record = wasm.globals(TRACE_EXPORTS);
    record.traceHash.value = 0n;
    record.traceCount.value = 0n;
    record.traceStop.value = stop;
    run(wasm, prepared);
    return {
      hash: BigInt.asUintN(64, record.traceHash.value),
      events: Number(record.traceCount.value),
      stopHash: BigInt.asUintN(64, record.traceStopHash.value),
      stopSite: Number(record.traceStopSite.value),
    };
  }
}

/** A tracer for a test build. */
export function loadTracer(target: string): Tracer {
  return new Tracer(readTestModule(target));
}
