// Every run of the tests starts with up-to-date WebAssembly modules. WTPM_BUILD_ONLY=a,b limits that to some targets.
import { buildWasm } from "../../scripts/build-wasm.mjs";

export default async function setup(): Promise<void> {
  await buildWasm(process.env.WTPM_BUILD_ONLY?.split(",") ?? []);
}
