// The guest's initial RAM file system: Debian's busybox, and an init that runs the lines it reads from its second serial port.
import { copyFileSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import path from "node:path";
import { guestKernel } from "../../scripts/clients.mjs";
import { run } from "./process.ts";

const BUSYBOX = ["/bin/busybox", "/usr/bin/busybox"];

/** Printed on the command port when the guest waits for lines. */
export const READY = "guest ready";
/** Ends the output of a line; the line's exit status follows. */
export const DONE = "guest done";

const INIT = `#!/bin/sh
export PATH=/bin
mkdir -p /proc /sys /dev /tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t securityfs security /sys/kernel/security
dmesg -n 1
stty -F /dev/ttyS1 raw -echo
exec </dev/ttyS1 >/dev/ttyS1 2>&1
echo "${READY}"
while read -r line; do
  eval "$line"
  echo "${DONE} $?"
done
`;

/** Paths of what a guest boots. */
export interface GuestImage {
  readonly kernel: string;
  readonly initrd: string;
}

/** Kernel and RAM file system of the guests, made once per folder. @throws Error when the kernel or busybox is not there */
export async function guestImage(folder: string): Promise<GuestImage> {
  const busybox = BUSYBOX.find((file) => existsSync(file));
  if (!busybox) throw new Error("the guests need busybox-static: node scripts/clients.mjs");
  if (!existsSync(guestKernel)) throw new Error(`${guestKernel} is missing: node scripts/clients.mjs`);
  const tree = path.join(folder, "initramfs");
  mkdirSync(path.join(tree, "bin"), { recursive: true });
  copyFileSync(busybox, path.join(tree, "bin/busybox"));
  const applets = await run(busybox, ["--list"]);
  for (const name of applets.stdout.trim().split("\n")) {
    if (name !== "busybox") symlinkSync("busybox", path.join(tree, "bin", name));
  }
  writeFileSync(path.join(tree, "init"), INIT, { mode: 0o755 });
  const files = (await run("find", ["."], { cwd: tree })).stdout;
  const initrd = path.join(folder, "initramfs.cpio");
  const made = await run("cpio", ["--quiet", "-o", "-H", "newc", "-F", initrd], { cwd: tree, input: files });
  if (made.status !== 0) throw new Error(`cpio: ${made.stderr}`);
  return { kernel: guestKernel, initrd };
}
