import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { linkTable, ssdt, tcpaTable, tpm2Table } from "../../src/firmware/acpi.ts";
import {
  type FirmwareOptions,
  type InterfaceType,
  type MachineType,
  tpmConfig,
  tpmFirmware,
} from "../../src/firmware/firmware.ts";

const folder = fileURLToPath(new URL("../data/devices/", import.meta.url));
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** An entry of acpi/index.json. */
interface Recorded {
  tag: string;
  cmdline: string[];
  /** fw_cfg files and their sizes. */
  fwcfg: Record<string, number>;
  config?: string;
  loader: (string | number)[][];
  /** Offset, signature and size of the tables in etc/acpi/tables. */
  tables: [number, string, number][];
  aml: { size: number } | null;
  TPM2?: string;
  TCPA?: string;
}
const recordings: Recorded[] = JSON.parse(readFileSync(path.join(folder, "acpi/index.json"), "utf8"));

/** The options of ours that a recording's command line corresponds to. */
function optionsOf({ tag, cmdline }: Recorded): FirmwareOptions {
  const machine = cmdline[cmdline.indexOf("-M") + 1]!.split(",")[0] as MachineType;
  const device = cmdline.find((argument) => /^tpm-.*tpmdev=/.test(argument))!;
  const kinds: Record<string, InterfaceType> = { "tpm-tis": "tis", "tpm-crb": "crb", "tpm-tis-device": "tis-sysbus" };
  return {
    machine,
    device: kinds[device.split(",")[0]!]!,
    family: tag.includes("tpm12") ? "1.2" : "2.0",
    ppi: !device.includes("ppi=off"),
  };
}

describe("what QEMU gives its firmware", () => {
  it("was recorded for 22 configurations", () => {
    expect(recordings).toHaveLength(22);
  });

  describe.each(recordings)("$tag", (recorded) => {
    const ours = tpmFirmware(optionsOf(recorded));
    const at = path.join(folder, "acpi", recorded.tag);
    const file = (name: string) =>
      existsSync(path.join(at, name)) ? hex(readFileSync(path.join(at, name))) : undefined;

    it("has the same fw_cfg files", () => {
      const sizes = Object.fromEntries([...ours.files].map(([name, bytes]) => [name, bytes.length]));
      const tpmFiles = Object.entries(recorded.fwcfg).filter(([name]) => name.startsWith("etc/tpm/"));
      expect(sizes).toEqual(Object.fromEntries(tpmFiles));
      const config = ours.files.get("etc/tpm/config");
      expect(config && hex(config)).toBe(recorded.config);
      expect(config && hex(config)).toBe(file("etc-tpm-config.bin"));
    });

    it("has the same table", () => {
      const bytes = ours.table && hex(ours.table.bytes);
      expect(bytes).toBe(recorded.TPM2 ?? recorded.TCPA);
      expect(bytes).toBe(file("TPM2.bin") ?? file("TCPA.bin"));
    });

    it("has the log's address at the same place", () => {
      const pointer = recorded.loader.find(([command]) => command === "pointer");
      const table = recorded.tables.find(([, signature]) => signature === ours.table?.signature);
      expect(ours.table && table && table[0] + ours.table.logAddressAt).toBe(pointer?.[4]);
    });

    it("has the same device, byte for byte", () => {
      expect(ours.device && hex(ours.device.aml)).toBe(file("TPM-device.aml"));
    });
  });
});

describe("tables linked by SeaBIOS", () => {
  const index: {
    tag: string;
    TPM2?: { hex: string; log_address: string };
    TCPA?: { hex: string; log_address: string };
  }[] = JSON.parse(readFileSync(path.join(folder, "firmware/index.json"), "utf8"));
  it.each(index)("$tag", ({ tag, TPM2, TCPA }) => {
    const table = TPM2 ?? TCPA!;
    const { machine, device, family } = {
      machine: "q35" as const,
      device: tag.includes("crb") ? ("crb" as const) : ("tis" as const),
      family: TPM2 ? ("2.0" as const) : ("1.2" as const),
    };
    const unlinked = tpmFirmware({ machine, device, family }).table!.bytes;
    expect(hex(linkTable(unlinked, Number.parseInt(table.log_address, 16)))).toBe(table.hex);
    expect(linkTable(unlinked, 0x3ff0000).reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
  });
});

describe("iasl", () => {
  let work: string;
  beforeAll(() => {
    work = mkdtempSync(path.join(tmpdir(), "wtpm-acpi-"));
  });
  afterAll(() => rmSync(work, { recursive: true }));

  /** Disassembles a table; its text without the comments that name the file. */
  function disassemble(name: string, bytes: Uint8Array): string {
    writeFileSync(path.join(work, `${name}.aml`), bytes);
    const run = spawnSync("iasl", ["-d", `${name}.aml`], { cwd: work, encoding: "utf8" });
    expect(run.error, "iasl (Debian: acpica-tools) is needed").toBeUndefined();
    expect(run.status, run.stderr).toBe(0);
    return readFileSync(path.join(work, `${name}.dsl`), "utf8").replace(/^\/\*[\s\S]*?\*\//, "");
  }

  it.each(recordings.filter(({ aml }) => aml))("reads our SSDT of $tag as it read QEMU's device", (recorded) => {
    const { device } = tpmFirmware(optionsOf(recorded));
    const text = disassemble(recorded.tag, ssdt([device!.aml]));
    const theirs = readFileSync(path.join(folder, "acpi", recorded.tag, "TPM-device.dsl"), "utf8");
    // Comments name the scope the device was found in, and indentation follows its depth.
    const plain = (dsl: string) => dsl.replace(/\/\*.*?\*\//g, "").replace(/\s+/g, " ");
    expect(plain(text)).toContain(plain(theirs).trim());
  });

  it("names the tables' fields as we mean them", () => {
    const log = 0x7ff0000;
    const crb = disassemble("tpm2", linkTable(tpm2Table(7, 0xfed40040), log));
    expect(crb).toMatch(/Control Address : 00000000FED40040/);
    expect(crb).toMatch(/Start Method : 07/);
    expect(crb).toMatch(/Minimum Log Length : 00010000/);
    expect(crb).toMatch(/Log Address : 0000000007FF0000/);
    const tcpa = disassemble("tcpa", linkTable(tcpaTable(), log));
    expect(tcpa).toMatch(/Log Address : 0000000007FF0000/);
    expect(tcpa).toMatch(/Min Event Log Length : 00010000/);
    expect(crb + tcpa).not.toMatch(/Incorrect checksum/i);
  });
});

it("etc/tpm/config names the page, the TPM and the interface's version", () => {
  expect(hex(tpmConfig("2.0"))).toBe("0050d4fe0201");
  expect(hex(tpmConfig("1.2"))).toBe("0050d4fe0101");
});
