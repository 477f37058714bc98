// Imports sources of the package in scripts that run before anything is built.
import path from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./build-wasm.mjs";

/** Imports a TypeScript module of the repository: directly where the runtime can, through vite elsewhere (Node 20). */
export async function importTypeScript(file) {
  const full = path.join(root, file);
  if (process.features.typescript || process.versions.bun || globalThis.Deno) return import(pathToFileURL(full).href);
  const { runnerImport } = await import("vite");
  return (await runnerImport(full, { configFile: false, logLevel: "error" })).module;
}
