import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { main } from "../../src/cli/main.ts";
import { crbDevice, linkTable, sysbusTisDevice } from "../../src/firmware/index.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "wtpm-firmware-"));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs `wtpm firmware …` in this process. */
async function firmware(...words: string[]) {
  const said = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    vi.spyOn(process[name], "write").mockImplementation((text) => {
      said[name] += text;
      return true;
    });
  }
  const status = await main(["firmware", ...words]);
  vi.restoreAllMocks();
  return { status, ...said };
}

const read = (name: string) => new Uint8Array(readFileSync(path.join(folder, "out", name)));
const manifest = () => JSON.parse(readFileSync(path.join(folder, "out/firmware.json"), "utf8"));
const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => total + byte, 0) & 0xff;
const ascii = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

describe("wtpm firmware", () => {
  test("writes all a q35 with a CRB needs, and says what each file is", async () => {
    const out = path.join(folder, "out");
    const { status, stdout } = await firmware("--machine", "q35", "--device", "crb", out);
    expect(status).toBe(0);
    expect(stdout).toBe(`6 files in ${out}; firmware.json says what each is\n`);
    expect(manifest()).toEqual({
      machine: "q35",
      device: "crb",
      family: "2.0",
      fw_cfg: {
        "etc/tpm/config": { file: "etc-tpm-config.bin", size: 6 },
        "etc/tpm/log": { file: "etc-tpm-log.bin", size: 65536 },
      },
      table: { file: "TPM2.aml", signature: "TPM2", linked: false, log: { size: 65536, addressAt: 68 } },
      acpiDevice: { file: "device.aml", scope: "\\_SB", ssdt: "SSDT.aml" },
    });
    expect(readdirSync(out).sort()).toEqual(
      ["etc-tpm-config.bin", "etc-tpm-log.bin", "TPM2.aml", "device.aml", "SSDT.aml", "firmware.json"].sort(),
    );
    expect(Buffer.from(read("etc-tpm-config.bin")).toString("hex")).toBe("0050d4fe0201");
    expect(read("etc-tpm-log.bin")).toEqual(new Uint8Array(65536));
    expect(ascii(read("TPM2.aml")).slice(0, 4)).toBe("TPM2");
    expect(read("device.aml")).toEqual(crbDevice(0xfed40000, 0x1000, true));
    const ssdt = read("SSDT.aml");
    expect([ascii(ssdt).slice(0, 4), sum(ssdt)]).toEqual(["SSDT", 0]);
    expect(ascii(ssdt)).toContain(ascii(read("device.aml")));
  });

  test("a log address links the table", async () => {
    const out = path.join(folder, "out");
    await firmware("--machine", "pc", "--device", "tis", "--family", "1.2", out);
    const unlinked = read("TCPA.aml");
    const { status } = await firmware(
      ...["--machine", "pc", "--device", "tis", "--family", "1.2", "--log-address", "0x7ffe0000", out],
    );
    expect(status).toBe(0);
    expect(read("TCPA.aml")).toEqual(linkTable(unlinked, 0x7ffe0000));
    expect(sum(read("TCPA.aml"))).toBe(0);
    expect(manifest().table).toMatchObject({ linked: true, log: { address: 0x7ffe0000, addressAt: 42 } });
  });

  test("the device may lie elsewhere, and need not have a presence interface", async () => {
    const out = path.join(folder, "out");
    await firmware("--machine", "virt", "--device", "tis-sysbus", "--base", "0xd000000", out);
    expect(read("device.aml")).toEqual(sysbusTisDevice(0x0d000000, 0x5000));
    await firmware("--machine", "q35", "--device", "crb", "--no-ppi", out);
    expect(read("device.aml")).toEqual(crbDevice(0xfed40000, 0x1000, false));
    expect(Object.keys(manifest().fw_cfg)).toEqual(["etc/tpm/log"]);
  });

  test("--list prints every configuration, and writes nothing", async () => {
    const { status, stdout } = await firmware("--list");
    expect(status).toBe(0);
    const lines = stdout.trimEnd().split("\n");
    const configurations = [...new Set(lines.map((line) => line.split(/\s+/).slice(0, 3).join(" ")))];
    expect(configurations).toEqual([
      ...["pc tis 2.0", "pc tis 1.2", "pc crb 2.0", "pc crb 1.2"],
      ...["q35 tis 2.0", "q35 tis 1.2", "q35 crb 2.0", "q35 crb 1.2"],
      ...["microvm tis 2.0", "microvm tis 1.2", "virt tis-sysbus 2.0", "virt tis-sysbus 1.2"],
    ]);
    expect(lines).toContain(
      "virt tis-sysbus 2.0  TPM2.aml              76  ACPI table, log address and checksum still 0",
    );
    expect((await firmware("--list", "--machine", "microvm", "--family", "1.2")).stdout.split("\n")).toHaveLength(4);
    expect(readdirSync(folder)).toEqual([]);
  });

  test.each([
    [["out"], "wtpm: which machine? --machine pc|q35|microvm|virt"],
    [["--machine", "pc", "out"], "wtpm: which device? --device tis|crb"],
    [["--machine", "virt", "--device", "crb", "out"], "wtpm: the machine virt has no device crb; it has tis-sysbus"],
    [
      ["--machine", "pc", "--device", "crb"],
      "wtpm: which directory? wtpm firmware --machine q35 --device crb DIRECTORY",
    ],
    [["--machine", "mac", "out"], "error: option '--machine <machine>' argument 'mac' is invalid. Allowed choices are"],
    [["--base", "here", "out"], "error: option '--base <address>' argument 'here' is invalid. An address is a number"],
    [["--base", "0x100000000", "out"], "A device's address has 32 bits."],
    [["--list", "--machine", "microvm", "--device", "crb"], "wtpm: QEMU has no TPM like this: microvm crb"],
    [["--bogus"], "error: unknown option '--bogus'"],
  ])("%j is refused with status 1", async (words, message) => {
    const { status, stdout, stderr } = await firmware(...words);
    expect(stderr).toContain(message);
    expect([status, stdout]).toEqual([1, ""]);
    expect(readdirSync(folder)).toEqual([]);
  });

  test("a directory that cannot be made is named", async () => {
    writeFileSync(path.join(folder, "out"), "a file");
    const { status, stderr } = await firmware("--machine", "q35", "--device", "tis", path.join(folder, "out"));
    expect([status, stderr]).toEqual([1, expect.stringContaining(path.join(folder, "out"))]);
  });
});
