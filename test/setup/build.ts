// Every run of the tests starts with up-to-date WebAssembly modules. WTPM_BUILD_ONLY=a,b limits that to some targets, empty to none.
import { buildWasm } from "../../scripts/build-wasm.mjs";

export default async function setup(): Promise<void> {
  const only = process.env.WTPM_BUILD_ONLY;
  if (only !== "") await buildWasm(only?.split(",") ?? []);
}
