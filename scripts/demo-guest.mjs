// The machine of the demo page and of its tests: BIOS images of Debian's seabios, Debian's 686 kernel, and a RAM file system of
// Debian's busybox with a shell on the first serial port.
import { existsSync, readFileSync } from "node:fs";
import { fetchGuestFiles, i386Busybox, i386Kernel } from "./clients.mjs";

/** bios.bin of the same package has no TPM in it. */
export const BIOS = "/usr/share/seabios/bios-256k.bin";
export const VGA_BIOS = "/usr/share/seabios/vgabios-stdvga.bin";

/** Printed by the guest when its shell is there. */
export const READY = "guest ready";

/** `quiet` keeps the serial port's speed out of the boot's time. */
export const CMDLINE = "console=ttyS0 quiet ima_policy=tcb";
export const MEMORY_SIZE = 256 << 20;

const INIT = `#!/bin/busybox sh
export PATH=/bin HOME=/ TERM=dumb
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t securityfs security /sys/kernel/security
/bin/busybox --install -s /bin
dmesg -n 1
cat /etc/motd
echo "${READY}"
while true; do setsid cttyhack sh; done
`;

/** TPM2_GetRandom of 16 bytes, in one write: the driver takes what comes with it for a whole command. */
const GET_RANDOM = String.raw`#!/bin/sh
exec 3<>/dev/tpm0
printf '\x80\x01\x00\x00\x00\x0c\x00\x00\x01\x7b\x00\x10' >/tmp/command
dd if=/tmp/command bs=4096 count=1 2>/dev/null >&3
dd bs=4096 count=1 2>/dev/null <&3 | od -A n -t x1 -v | tr -d '\n' | cut -d ' ' -f 14-
`;

const MOTD = `
A TPM 2.0 is in this machine: /dev/tpm0. Try
  tpm-random
  cat /sys/class/tpm/tpm0/pcr-sha256/0
  ls -l /sys/class/tpm/tpm0/device/driver
  hexdump -C /sys/kernel/security/tpm0/binary_bios_measurements | head
  head -3 /sys/kernel/security/ima/ascii_runtime_measurements

`;

const DIRECTORY = 0o040755;
const PROGRAM = 0o100755;
const TEXT = 0o100644;

/** The RAM file system, as a cpio archive ("newc"). */
export function initramfs(busybox) {
  const bytes = (text) => new TextEncoder().encode(text);
  return cpio([
    ["bin", DIRECTORY],
    ["etc", DIRECTORY],
    ["bin/busybox", PROGRAM, busybox],
    ["bin/tpm-random", PROGRAM, bytes(GET_RANDOM)],
    ["etc/motd", TEXT, bytes(MOTD)],
    ["init", PROGRAM, bytes(INIT)],
  ]);
}

/** An archive of files: name, mode, content. */
function cpio(files) {
  const parts = [...files, ["TRAILER!!!", 0]].map(([name, mode, content = new Uint8Array(0)], i) => {
    const links = 1;
    const fields = [i + 1, mode, 0, 0, links, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
    const padded = (size) => (size + 3) & ~3;
    const part = new Uint8Array(padded(header.length) + padded(content.length));
    part.set(new TextEncoder().encode(header));
    part.set(content, padded(header.length));
    return part;
  });
  return Buffer.concat(parts);
}

function read(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new Error(
      `${file} cannot be read (${error.code}): on Debian 'apt-get install seabios', or name another file`,
    );
  }
}

/**
 * The machine's images. Files that are not named come from Debian, the kernel and busybox by way of scripts/clients.mjs.
 *
 * @throws Error that says what is missing.
 */
export function machineImages({ bios = BIOS, vgaBios = VGA_BIOS, kernel = i386Kernel, initrd } = {}) {
  const wanted = [kernel, initrd ?? i386Busybox].filter((file) => !existsSync(file));
  try {
    if (wanted.length > 0) fetchGuestFiles(wanted);
  } catch (error) {
    throw new Error(`Debian's kernel and busybox could not be had; name a kernel and an initrd: ${error.message}`);
  }
  return {
    bios: read(bios),
    vgaBios: read(vgaBios),
    kernel: read(kernel),
    initrd: initrd === undefined ? initramfs(read(i386Busybox)) : read(initrd),
  };
}
