// A QEMU guest (without KVM) that runs one JavaScript program in this machine's Node, on Debian's kernel and an initramfs made for
// it. The package is installed in it as it was built, and /dev/tpm0 is whatever emulator the caller gives.
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import net from "node:net";
import path from "node:path";
import { guestKernel } from "../../scripts/clients.mjs";
import { repository, temporaryFolder } from "./emulator.ts";
import { start, until } from "./process.ts";

const QEMU = "qemu-system-x86_64";
/** A boot takes about 40 s on a free processor; machines that run tests can be very slow. */
const BOOT_LIMIT_MS = 480_000;

const INIT = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox ifconfig lo 127.0.0.1
cd /app && /bin/node program.mjs >/dev/console 2>&1
/bin/busybox poweroff -f
`;

/** What the program reported: each call of its `report(name, value)`. */
export type Report = Readonly<Record<string, unknown>>;

/**
 * Boots a guest that runs the program (a file of this repository) and powers itself off. The program writes lines of JSON,
 * `{"name": …, "value": …}`, to /dev/ttyS1.
 *
 * @param tpm the control socket of an emulator that waits for QEMU.
 * @throws Error with the console's last lines when the guest or QEMU does not come to a good end.
 */
export async function runInGuest(program: string, tpm: string): Promise<Report> {
  const folder = temporaryFolder();
  const inFolder = (name: string) => path.join(folder, name);
  let reported = "";
  const server = net.createServer((socket) => {
    socket.setEncoding("utf8").on("data", (text) => {
      reported += text;
    });
  });
  try {
    makeInitramfs(inFolder("root"), inFolder("initrd"), program);
    await new Promise<void>((resolve) => server.listen(inFolder("report"), resolve));
    const qemu = start(QEMU, [
      ...[
        "-M",
        "q35",
        "-accel",
        "tcg",
        "-cpu",
        "Nehalem",
        "-m",
        "1024",
        "-display",
        "none",
        "-nodefaults",
        "-no-reboot",
      ],
      ...["-kernel", guestKernel, "-initrd", inFolder("initrd")],
      ...["-append", "console=ttyS0 loglevel=4 panic=-1"],
      ...["-chardev", `file,id=console,path=${inFolder("console")}`, "-serial", "chardev:console"],
      ...["-chardev", `socket,id=report,path=${inFolder("report")}`, "-serial", "chardev:report"],
      ...["-chardev", `socket,id=chrtpm,path=${tpm}`, "-tpmdev", "emulator,id=tpm0,chardev=chrtpm"],
      ...["-device", "tpm-tis,tpmdev=tpm0"],
    ]);
    const { status, stderr } = await qemu.ended(BOOT_LIMIT_MS);
    if (status !== 0) throw new Error(`${QEMU} ended with status ${status}: ${stderr}`);
    await until("the end of the report", () => /"name":"end"/.test(reported));
    const lines = reported.split(/\r?\n/).filter((line) => line !== "");
    return Object.fromEntries(lines.map((line) => JSON.parse(line)).map(({ name, value }) => [name, value]));
  } catch (error) {
    throw new Error(`${(error as Error).message}\nreported: ${reported}\nconsole:\n${lastLines(inFolder("console"))}`);
  } finally {
    server.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

function lastLines(file: string): string {
  try {
    return readFileSync(file, "utf8").split("\n").slice(-30).join("\n");
  } catch {
    return "(none)";
  }
}

/** Busybox, Node with its libraries, the package with what it needs, and the program. Big files are linked while it is packed. */
function makeInitramfs(root: string, initrd: string, program: string): void {
  const inRoot = (file: string) => {
    const target = path.join(root, file);
    mkdirSync(path.dirname(target), { recursive: true });
    return target;
  };
  writeFileSync(inRoot("init"), INIT, { mode: 0o755 });
  symlinkSync("/bin/busybox", inRoot("bin/busybox"));
  symlinkSync(process.execPath, inRoot("bin/node"));
  for (const library of librariesOf(process.execPath)) symlinkSync(library, inRoot(library));
  copyFileSync(path.join(repository, program), inRoot("app/program.mjs"));
  for (const name of ["package.json", "dist"]) {
    cpSync(path.join(repository, name), inRoot(`app/node_modules/wtpm/${name}`), { recursive: true });
  }
  symlinkSync(path.join(repository, "node_modules/@noble"), inRoot("app/node_modules/@noble"));
  const packed = spawnSync("sh", ["-c", 'cd "$1" && find -L . | cpio -o -L -H newc > "$2"', "sh", root, initrd], {
    encoding: "utf8",
  });
  if (packed.status !== 0) throw new Error(`cpio made no initramfs: ${packed.stderr}`);
}

/** The shared libraries of a program, and the loader, where they are on this machine. */
function librariesOf(program: string): string[] {
  const { stdout, status, stderr } = spawnSync("ldd", [program], { encoding: "utf8" });
  if (status !== 0) throw new Error(`ldd ${program}: ${stderr}`);
  return [...stdout.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1]!);
}
