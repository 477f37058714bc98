// Every run of the tests starts with up-to-date WebAssembly modules.
import { buildWasm } from "../../scripts/build-wasm.mjs";

export default async function setup(): Promise<void> {
  await buildWasm([]);
}
