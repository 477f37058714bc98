// systemd with the TPM of a machine: the kernel's device and its resource manager, found without being told. systemd's plug-in
// for cryptsetup, which opens a volume at boot, knows no other way.
import { rmSync } from "node:fs";
import path from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { guestImageWith } from "../support/clients-guest.ts";
import { type Emulator, startEmulator, temporaryFolder } from "../support/emulator.ts";
import { BOOT_LIMIT_MS, Guest } from "../support/guest.ts";

const LIBRARIES = "/lib/x86_64-linux-gnu";
const PROGRAMS = ["/usr/bin/systemd-creds", "/usr/bin/systemd-cryptenroll", "/usr/sbin/cryptsetup", "/usr/bin/tpm2"];
/** What these load by name. */
const LOADED = [
  "cryptsetup/libcryptsetup-token-systemd-tpm2.so",
  "libcryptsetup.so.12",
  ...["esys.so.0", "mu.so.0", "rc.so.0", "tcti-device.so.0"].map((name) => `libtss2-${name}`),
];

let folder: string;
let emulator: Emulator;
let guest: Guest;

beforeAll(async () => {
  folder = temporaryFolder();
  const image = await guestImageWith(folder, [...PROGRAMS, ...LOADED.map((name) => path.join(LIBRARIES, name))]);
  emulator = await startEmulator({ server: false, flags: "" });
  const { controlSocket } = emulator;
  guest = await Guest.boot({ folder, firmware: "seabios", device: "tpm-tis", controlSocket, image });
}, 2 * BOOT_LIMIT_MS);

afterAll(async () => {
  await guest?.dispose();
  await emulator?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const shell = (line: string) => guest.shell(line);
const fails = async (line: string) => (await shell(`! { ${line}; } 2>&1`)).trim();
const changePcr = () => shell(`/usr/bin/tpm2 pcrextend 16:sha256=${"01".repeat(32)}`);

test("systemd-creds encrypts and decrypts as often as one likes, until a PCR changes", async () => {
  // It misses a firmware that is EFI.
  expect(await fails("/usr/bin/systemd-creds has-tpm2")).toMatch(/^partial\n-firmware\n\+driver\n/);
  await shell("printf secret >/tmp/secret");
  const pcrs = "--tpm2-pcrs=7+16";
  await shell(`/usr/bin/systemd-creds encrypt --with-key=tpm2 ${pcrs} --name=x /tmp/secret /tmp/credential`);
  const decrypt = "/usr/bin/systemd-creds decrypt --name=x /tmp/credential -";
  for (let i = 0; i < 4; i++) expect((await shell(decrypt)).trim()).toBe("secret");
  await changePcr();
  expect(await fails(decrypt)).toContain("policy digest does not match");
});

test("a LUKS2 volume is opened by the TPM alone, until a PCR changes", async () => {
  await shell("dd if=/dev/zero of=/tmp/volume bs=1M count=20 2>/dev/null && printf passphrase >/tmp/passphrase");
  const quick = "--pbkdf pbkdf2 --pbkdf-force-iterations 1000";
  await shell(`/usr/sbin/cryptsetup luksFormat --type luks2 --batch-mode ${quick} /tmp/volume /tmp/passphrase`);
  await shell("PASSWORD=passphrase /usr/bin/systemd-cryptenroll --tpm2-device=auto --tpm2-pcrs=16 /tmp/volume");
  const open = "/usr/sbin/cryptsetup open --test-passphrase --token-only /tmp/volume";
  await shell(open);
  await changePcr();
  expect(await fails(open)).toContain("policy");
});
