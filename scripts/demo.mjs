// A machine with a TPM in a web page: npm run demo [-- --port 8686 --bios FILE --vga-bios FILE --kernel FILE --initrd FILE --no-build]
//
// Builds the page, serves it to this computer only, and prints its address. The BIOS comes from Debian's seabios; a kernel and a
// shell, if none are named, from Debian's archive by way of scripts/clients.mjs.
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import http from "node:http";
import path from "node:path";
import { parseArgs } from "node:util";
import { root } from "./build-wasm.mjs";
import { CMDLINE, MEMORY_SIZE, machineImages } from "./demo-guest.mjs";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

function readOptions() {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "8686" },
      bios: { type: "string" },
      "vga-bios": { type: "string" },
      kernel: { type: "string" },
      initrd: { type: "string" },
      cmdline: { type: "string", default: CMDLINE },
      "no-build": { type: "boolean", default: false },
    },
  });
  const port = Number(values.port);
  if (!/^\d+$/.test(values.port) || port > 0xffff) throw new Error(`'${values.port}' is no port`);
  return { ...values, port };
}

/** Bundles the page's script into build/demo. */
async function bundlePage() {
  const { rollup } = await import("rollup");
  const { demoPage } = await import("../rollup.config.mjs");
  const made = await rollup(demoPage);
  await made.write(demoPage.output);
  await made.close();
}

/** All that is served: path -> bytes. */
function site({ bios, "vga-bios": vgaBios, kernel, initrd, cmdline }) {
  const images = machineImages(dropUndefined({ bios, vgaBios, kernel, initrd }));
  const file = (name) => readFileSync(path.join(root, name));
  const wasm = ["frontend.wasm", "tpm2.wasm", "tpm2-fma.wasm"];
  return new Map([
    ["/", file("bindings/v86/demo/index.html")],
    ["/style.css", file("bindings/v86/demo/style.css")],
    ["/page/main.js", file("build/demo/main.js")],
    ...readdirSync(path.join(root, "dist/browser")).map((name) => [`/browser/${name}`, file(`dist/browser/${name}`)]),
    ...wasm.map((name) => [`/wasm/${name}`, file(`dist/wasm/${name}`)]),
    ["/v86/v86.wasm", file("node_modules/v86/build/v86.wasm")],
    ["/images/bios.bin", images.bios],
    ["/images/vgabios.bin", images.vgaBios],
    ["/images/kernel", images.kernel],
    ["/images/initrd", images.initrd],
    ["/machine.json", Buffer.from(JSON.stringify({ cmdline, memorySize: MEMORY_SIZE }))],
  ]);
}

function dropUndefined(values) {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** Answers with the files of `files` and nothing else. */
function serve(files, port) {
  const server = http.createServer(({ method, url = "/" }, response) => {
    const name = url.split("?")[0];
    const bytes = files.get(name);
    if (!bytes || (method !== "GET" && method !== "HEAD")) {
      response.writeHead(bytes ? 405 : 404).end();
      return;
    }
    const type = name === "/" ? TYPES[".html"] : (TYPES[path.extname(name)] ?? "application/octet-stream");
    response.writeHead(200, { "content-type": type, "content-length": bytes.length, "cache-control": "no-store" });
    response.end(method === "HEAD" ? undefined : bytes);
  });
  server.on("error", (error) => {
    console.error(error.code === "EADDRINUSE" ? `port ${port} is taken: name another with --port` : error.message);
    process.exit(1);
  });
  server.listen(port, "127.0.0.1", () => {
    console.log(`http://localhost:${server.address().port}/  (Ctrl-C ends it)`);
  });
}

try {
  const options = readOptions();
  process.chdir(root);
  if (!options["no-build"]) {
    const { status } = spawnSync(process.execPath, ["scripts/build.mjs"], { stdio: "inherit" });
    if (status !== 0) process.exit(1);
  }
  await bundlePage();
  serve(site(options), options.port);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
