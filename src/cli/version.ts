// The version of this package, and what it runs on.
import fs from "node:fs";
import { packageUrl } from "../platform/assets.ts";
import { runtimeName } from "../platform/runtime.ts";

export function packageVersion(): string {
  return (JSON.parse(fs.readFileSync(new URL("package.json", packageUrl()), "utf8")) as { version: string }).version;
}

/** What decides about speed: the runtime, and which build of the engine it can run. */
export async function runtimeDetails(): Promise<string> {
  const { engineBuild } = await import("../engine/module.ts");
  const build = engineBuild() === "fused" ? "fused multiply-add" : "integer products (no fused multiply-add here)";
  return `runtime: ${runtimeName}\nengine: ${build}\n`;
}
