// The real programs that the system tests and the benchmarks run: node scripts/clients.mjs
//
// On Debian, as root, what is missing is installed; elsewhere the missing pieces are named. The guests' kernels
// are Debian's stock ones: they are not installed, only their images are kept, in build/guest.
import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./build-wasm.mjs";

/** Debian package -> a file that is there when the package is. */
export const packages = {
  "busybox-static": "/bin/busybox",
  chromium: "/usr/bin/chromium",
  "clevis-luks": "/usr/bin/clevis-luks-bind",
  "clevis-tpm2": "/usr/bin/clevis-encrypt-tpm2",
  cpio: "/usr/bin/cpio",
  "cryptsetup-bin": "/usr/sbin/cryptsetup",
  "dbus-bin": "/usr/bin/dbus-send",
  "dbus-daemon": "/usr/bin/dbus-daemon",
  "gnutls-bin": "/usr/bin/p11tool",
  "libtpm2-pkcs11-1": [
    "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    "/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
  ],
  "libtss2-tcti-swtpm0": [
    "/usr/lib/x86_64-linux-gnu/libtss2-tcti-swtpm.so.0",
    "/usr/lib/aarch64-linux-gnu/libtss2-tcti-swtpm.so.0",
  ],
  "libtss2-tcti-tabrmd0": [
    "/usr/lib/x86_64-linux-gnu/libtss2-tcti-tabrmd.so.0",
    "/usr/lib/aarch64-linux-gnu/libtss2-tcti-tabrmd.so.0",
  ],
  opensc: "/usr/bin/pkcs11-tool",
  openssl: "/usr/bin/openssl",
  ovmf: "/usr/share/OVMF/OVMF_CODE_4M.fd",
  "python3-minimal": "/usr/bin/python3",
  "python3-tpm2-pytss": "/usr/lib/python3/dist-packages/tpm2_pytss",
  "qemu-system-arm": "/usr/bin/qemu-system-aarch64",
  "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
  "qemu-utils": "/usr/bin/qemu-img",
  seabios: "/usr/share/seabios/bios-256k.bin",
  swtpm: "/usr/bin/swtpm",
  "swtpm-tools": "/usr/bin/swtpm_bios",
  systemd: "/usr/bin/systemd-creds",
  "tpm2-abrmd": "/usr/sbin/tpm2-abrmd",
  "tpm2-openssl": ["/usr/lib/x86_64-linux-gnu/ossl-modules/tpm2.so", "/usr/lib/aarch64-linux-gnu/ossl-modules/tpm2.so"],
  "tpm2-tools": "/usr/bin/tpm2_getrandom",
  tss2: "/usr/bin/tssgetrandom",
  "util-linux": ["/usr/bin/setpriv", "/bin/setpriv"],
};

const guestFolder = path.join(root, "build/guest");
/** The image of Debian's linux-image-amd64 that the guests boot. */
export const guestKernel = path.join(guestFolder, "vmlinuz");
/** The kernel and the shell of v86's guests, whose processor is a 32-bit one. */
export const i386Kernel = path.join(guestFolder, "vmlinuz-686");
export const i386Busybox = path.join(guestFolder, "busybox-i386");

/** Single files of packages that are not installed: where to, from which package, what they are called in it. */
const guestFiles = [
  { to: guestKernel, from: "linux-image-amd64", file: /^boot\/vmlinuz-/ },
  { to: i386Kernel, from: "linux-image-686", file: /^boot\/vmlinuz-/, architecture: "i386" },
  { to: i386Busybox, from: "busybox-static", file: /^(usr\/)?bin\/busybox$/, architecture: "i386" },
];

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
function updateIndex(options = []) {
  try {
    run("apt-get", [...APT, ...options, "-qq", "update"]);
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

/** The package of a kernel's version that a name without one stands for now; other packages are themselves. */
function versioned(name, options) {
  const depends = run("apt-cache", [...options, "depends", "--no-recommends", "--no-suggests", name]);
  return /Depends:\s+(linux-image-[\d.]+\S*)/.exec(depends)?.[1] ?? name;
}

/** An index of its own for the packages of another architecture; the system need not know of that one. */
function foreignIndex(architecture, folder) {
  mkdirSync(path.join(folder, "lists/partial"), { recursive: true });
  mkdirSync(path.join(folder, "cache/archives/partial"), { recursive: true });
  const options = [
    `APT::Architecture=${architecture}`,
    `APT::Architectures=${architecture}`,
    `Dir::State::lists=${folder}/lists`,
    `Dir::Cache=${folder}/cache`,
    "Dir::State::status=/dev/null",
  ].flatMap((option) => ["-o", option]);
  updateIndex(options);
  return options;
}

function fetchFile({ to, from, file }, options, work) {
  const name = versioned(from, options);
  console.log(`fetching ${name}`);
  run("apt-get", [...APT, ...options, "-qq", "download", name], { cwd: work });
  const archive = readdirSync(work).find((entry) => entry.endsWith(".deb"));
  if (!archive) throw new Error(`apt-get downloaded no archive of ${name}`);
  run("dpkg", ["-x", archive, "tree"], { cwd: work });
  const found = readdirSync(path.join(work, "tree"), { recursive: true }).find((entry) => file.test(entry));
  if (!found) throw new Error(`${name} holds no file ${file}`);
  renameSync(path.join(work, "tree", found), to);
}

/** Fetches the guests' files that are not there; of all of them, or of those at the places named. */
export function fetchGuestFiles(places = guestFiles.map(({ to }) => to)) {
  mkdirSync(guestFolder, { recursive: true });
  const work = mkdtempSync(path.join(guestFolder, "fetch-"));
  const indexes = new Map([[undefined, []]]);
  try {
    for (const wanted of guestFiles) {
      const { to, architecture } = wanted;
      if (!places.includes(to) || existsSync(to)) continue;
      if (!indexes.has(architecture))
        indexes.set(architecture, foreignIndex(architecture, path.join(work, architecture)));
      fetchFile(wanted, indexes.get(architecture), mkdtempSync(path.join(work, "file-")));
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Makes sure that all of it is there. @throws Error, with a sentence that says what is missing and what to do */
export function ensureClients() {
  const missing = missingPackages();
  const wantedFiles = guestFiles.filter(({ to }) => !existsSync(to));
  if (!missing.length && !wantedFiles.length) return;
  const debian = canRun("apt-get") && canRun("dpkg");
  const rootUser = process.getuid?.() === 0;
  if (!debian || (missing.length && !rootUser)) {
    const wanted = [
      ...missing,
      ...(debian ? [] : wantedFiles.map(({ to, from, file }) => `${file} of Debian's ${from} as ${to}`)),
    ];
    const advice = debian ? `install them: sudo apt-get install ${missing.join(" ")}` : "run the tests on Debian";
    throw new Error(`The system tests need ${wanted.join(", ")}: ${advice}.`);
  }
  if (rootUser) updateIndex();
  if (missing.length) installPackages(missing);
  fetchGuestFiles();
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  try {
    ensureClients();
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
