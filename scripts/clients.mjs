// The real programs that the system tests and the benchmarks run: node scripts/clients.mjs
//
// On Debian, as root, what is missing is installed; elsewhere the missing pieces are named. The guests' kernel
// is Debian's stock one: it is not installed, only its image is kept, in build/guest.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./build-wasm.mjs";

/** Debian package -> a file that is there when the package is. */
export const packages = {
  "busybox-static": "/bin/busybox",
  cpio: "/usr/bin/cpio",
  "libtss2-tcti-swtpm0": [
    "/usr/lib/x86_64-linux-gnu/libtss2-tcti-swtpm.so.0",
    "/usr/lib/aarch64-linux-gnu/libtss2-tcti-swtpm.so.0",
  ],
  ovmf: "/usr/share/OVMF/OVMF_CODE_4M.fd",
  "python3-minimal": "/usr/bin/python3",
  "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
  seabios: "/usr/share/seabios/bios-256k.bin",
  swtpm: "/usr/bin/swtpm",
  "swtpm-tools": "/usr/bin/swtpm_bios",
  "tpm2-tools": "/usr/bin/tpm2_getrandom",
  tss2: "/usr/bin/tssgetrandom",
  "util-linux": ["/usr/bin/setpriv", "/bin/setpriv"],
};

/** The image of Debian's linux-image-amd64 that the guests boot. */
export const guestKernel = path.join(root, "build/guest/vmlinuz");
const KERNEL_PACKAGE = "linux-image-amd64";

const APT = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"];
const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", LC_ALL: "C" };

/** The packages of `packages` that are not there. */
export function missingPackages() {
  return Object.keys(packages).filter((name) => ![packages[name]].flat().some((file) => existsSync(file)));
}

/** Runs a program to its end and returns what it printed. @throws Error with the program's last words */
function run(program, args, options = {}) {
  const result = spawnSync(program, args, { env, encoding: "utf8", maxBuffer: 1 << 28, timeout: 900_000, ...options });
  if (result.error) throw new Error(`${program} did not run: ${result.error.message}`);
  if (result.status !== 0) {
    const words = result.stderr.trim().split("\n").slice(-5).join("\n");
    throw new Error(`'${[program, ...args].join(" ")}' ended with status ${result.status ?? result.signal}:\n${words}`);
  }
  return result.stdout;
}

function canRun(program) {
  return (process.env.PATH ?? "").split(path.delimiter).some((folder) => {
    try {
      accessSync(path.join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** An index that is out of step on a mirror must not end the preparation: what matters is whether the packages install. */
function updateIndex() {
  try {
    run("apt-get", [...APT, "-qq", "update"]);
  } catch (error) {
    console.error(`The package index is not fresh: ${error.message}`);
  }
}

function installPackages(names) {
  console.log(`installing ${names.join(", ")}`);
  run("apt-get", [...APT, "-qq", "install", "-y", "--no-install-recommends", ...names], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const left = missingPackages();
  if (left.length) throw new Error(`These packages do not have the expected files: ${left.join(", ")}`);
}

/** The versioned package that linux-image-amd64 stands for now. */
function kernelPackage() {
  const depends = run("apt-cache", ["depends", "--no-recommends", "--no-suggests", KERNEL_PACKAGE]);
  const name = /Depends:\s+(linux-image-[\d.]+\S*-amd64)/.exec(depends)?.[1];
  if (!name) throw new Error(`apt knows no kernel for '${KERNEL_PACKAGE}'`);
  return name;
}

function fetchKernel() {
  const folder = path.dirname(guestKernel);
  mkdirSync(folder, { recursive: true });
  const work = mkdtempSync(path.join(folder, "fetch-"));
  try {
    const name = kernelPackage();
    console.log(`fetching ${name}`);
    run("apt-get", [...APT, "-qq", "download", name], { cwd: work });
    const archive = readdirSync(work).find((file) => file.endsWith(".deb"));
    if (!archive) throw new Error(`apt-get downloaded no archive of ${name}`);
    run("dpkg", ["-x", archive, "tree"], { cwd: work });
    const image = readdirSync(path.join(work, "tree/boot")).find((file) => file.startsWith("vmlinuz-"));
    if (!image) throw new Error(`${name} holds no kernel image`);
    renameSync(path.join(work, "tree/boot", image), guestKernel);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Makes sure that all of it is there. @throws Error, with a sentence that says what is missing and what to do */
export function ensureClients() {
  const missing = missingPackages();
  const needKernel = !existsSync(guestKernel);
  if (!missing.length && !needKernel) return;
  const debian = canRun("apt-get") && canRun("dpkg");
  const rootUser = process.getuid?.() === 0;
  if (!debian || (missing.length && !rootUser)) {
    const wanted = [
      ...missing,
      ...(needKernel && !debian ? [`the kernel image of ${KERNEL_PACKAGE} as ${guestKernel}`] : []),
    ];
    const advice = debian ? `install them: sudo apt-get install ${missing.join(" ")}` : "run the tests on Debian";
    throw new Error(`The system tests need ${wanted.join(", ")}: ${advice}.`);
  }
  if (rootUser) updateIndex();
  if (missing.length) installPackages(missing);
  if (needKernel) fetchKernel();
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    ensureClients();
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
