// The engine's answers beside those that libtpms gave to the same bytes.
import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { compareCorpus } from "../../scripts/corpus.mjs";
import { toHex } from "../../src/codec/bytes.ts";
import { engineModule } from "../../src/engine/module.ts";
import { EngineTpm, listedCommands } from "../support/engine-tpm.ts";
import { recorded } from "../support/recorded.ts";

const hex = (value: number, digits = 8) => value.toString(16).padStart(digits, "0");

/** Codes of the commands that the engine lists with the null profile. */
let listed: ReadonlySet<string>;

beforeAll(async () => {
  const codes = await listedCommands(new EngineTpm().client);
  listed = new Set([...codes].map((code) => hex(code)));
});

it("answers libtpms' fuzz corpus as libtpms does", () => {
  const results = compareCorpus(engineModule());
  expect(results.length).toBe(628);
  const differ = results.filter((result) => !result.agrees);
  expect(differ.map(({ name, command, expected, got }) => ({ name, command, expected, got }))).toEqual([]);
  expect(results.filter((result) => result.failed)).toEqual([]);
});

it("answers 87 edge cases, one after the other, as libtpms does with profile default-v2", () => {
  const tpm = new EngineTpm({ profile: '{"Name":"default-v2"}' });
  const probes = recorded("probes.tsv");
  expect(probes.length).toBe(87);
  tpm.host.advance(10);
  const differ = probes.flatMap(([name, command, code, response]) => {
    const got = toHex(tpm.send(command!));
    const varying = /^-\((\d+) bytes\)$/.exec(response!);
    const agrees = varying ? got.slice(12, 20) === code && got.length === 2 * Number(varying[1]) : got === response;
    return agrees ? [] : [{ name, command, expected: response, got }];
  });
  expect(differ).toEqual([]);
});

describe("TPM2_GetCapability of a fresh TPM is libtpms', byte for byte:", () => {
  const text = readFileSync(new URL("../data/tpm2/engine-capabilities.yaml", import.meta.url), "utf8");
  const lines = (section: string) => {
    const found = new RegExp(`^${section}:.*\\n((?: .*\\n)*)`, "m").exec(text);
    if (!found) throw new Error(`engine-capabilities.yaml has no ${section}`);
    return found[1]!.trimEnd().split("\n");
  };
  /** The pairs "tag: number" of a section, as the bytes of both. */
  const pairs = (section: string, keyDigits: number, valuePattern: RegExp, valueDigits: number) =>
    lines(section).map((line) => {
      const key = Number.parseInt(/0x([0-9a-f]+):/.exec(line)![1]!, 16);
      const value = Number.parseInt(valuePattern.exec(line)![1]!, 16);
      return hex(key, keyDigits) + hex(value, valueDigits);
    });
  const answer = (capability: number, items: readonly string[]) => {
    const body = `00${hex(capability)}${hex(items.length)}${items.join("")}`;
    return `8001${hex(10 + body.length / 2)}00000000${body}`;
  };
  const ask = (capability: number, property = 0, count = 0xffffffff, tpm = new EngineTpm()) =>
    toHex(tpm.send(`8001000000160000017a${hex(capability)}${hex(property)}${hex(count)}`));

  it("TPM_CAP_ALGS", () => {
    const algorithms = pairs("algorithms", 4, /, (?:0x)?([0-9a-f]+)\]/, 8);
    expect(algorithms.length).toBe(33);
    expect(ask(0)).toBe(answer(0, algorithms));
  });

  it("TPM_CAP_COMMANDS and TPM_CAP_PP_COMMANDS, TPM_CAP_AUDIT_COMMANDS, as far as the engine has them", () => {
    const commands = pairs("commands", 0, /: 0x([0-9a-f]+)/, 8).map((item) => item.slice(-8));
    expect(commands.length).toBe(110);
    const present = commands.filter((attributes) => listed.has(`0000${attributes.slice(4)}`));
    expect(present.length).toBe(listed.size);
    expect(ask(2)).toBe(answer(2, present));
    expect(ask(3)).toBe(answer(3, ["0000012d"]));
    expect(ask(4)).toBe(answer(4, ["00000140"]));
  });

  it("TPM_CAP_PCRS", () => {
    expect(ask(5)).toBe(answer(5, ["000403ffffff", "000b03ffffff", "000c03ffffff", "000d03ffffff"]));
  });

  it("TPM_CAP_TPM_PROPERTIES, fixed and variable, but for the number of commands", () => {
    const fixed = pairs("properties_fixed", 8, /raw: 0x([0-9a-f]+)/, 8).map((item) =>
      item === "000001290000006e" || item === "0000012a0000006e" ? item.slice(0, 8) + hex(listed.size) : item,
    );
    const variable = pairs("properties_variable", 8, /raw: 0x([0-9a-f]+)/, 8);
    expect([fixed.length, variable.length]).toEqual([48, 21]);
    expect(ask(6, 0x100)).toBe(answer(6, fixed));
    expect(ask(6, 0x200)).toBe(answer(6, variable));
  });

  it("TPM_CAP_PCR_PROPERTIES", () => {
    const properties = lines("pcr_properties").map((line) => {
      const tag = Number.parseInt(/0x([0-9a-f]+):/.exec(line)![1]!, 16);
      const pcrs = /pcrs: \[(.*)\]/.exec(line)![1]!.split(",").filter(Boolean).map(Number);
      const bits = [0, 0, 0];
      for (const pcr of pcrs) bits[pcr >> 3]! |= 1 << (pcr & 7);
      return `${hex(tag)}03${bits.map((byte) => hex(byte, 2)).join("")}`;
    });
    expect(properties.length).toBe(15);
    expect(ask(7)).toBe(answer(7, properties));
  });

  it("TPM_CAP_ECC_CURVES", () => {
    const curves = lines("ecc_curves").map((line) => /0x([0-9a-f]+):/.exec(line)![1]!);
    expect(curves.length).toBe(8);
    expect(ask(8)).toBe(answer(8, curves));
  });

  it("TPM_CAP_AUTH_POLICIES and TPM_CAP_ACT are empty, no handles are in use, other groups are refused", () => {
    const policies = lines("auth_policies").map((line) => {
      const [, handle, algorithm, digest] = /0x([0-9a-f]+): \[0x([0-9a-f]+), "(.*)"\]/.exec(line)!;
      return `${handle}${algorithm!.padStart(4, "0")}${digest}`;
    });
    expect(policies.length).toBe(4);
    expect(ask(9, 0x40000000)).toBe(answer(9, policies));
    expect(ask(10, 0x40000110)).toBe(answer(10, []));
    const pcrs = Array.from({ length: 24 }, (_, pcr) => hex(pcr));
    expect(ask(1, 0)).toBe(answer(1, pcrs));
    for (const range of [0x01000000, 0x02000000, 0x03000000, 0x80000000, 0x81000000]) {
      expect(ask(1, range)).toBe(answer(1, []));
    }
    for (const capability of [0x0b, 0x0c, 0x0d, 0x100]) expect(ask(capability)).toBe("80010000000a000001c4");
  });

  it("a list in pieces is the same list, with moreData until its end", () => {
    const tpm = new EngineTpm();
    for (const [capability, first, itemDigits, keyDigits] of [
      [0, 0, 12, 4],
      [2, 0, 8, 8],
      [6, 0x100, 16, 8],
      [8, 0, 4, 4],
      [1, 0, 8, 8],
    ] as const) {
      const whole = ask(capability, first, 254, tpm).slice(38);
      let pieces = "";
      let property = first;
      for (let more = true; more; ) {
        const part = ask(capability, property, 7, tpm);
        const items = part.slice(38);
        more = part.slice(20, 22) === "01";
        expect(items.length / itemDigits).toBeLessThanOrEqual(7);
        expect(items.length).toBeGreaterThan(0);
        pieces += items;
        const last = items.slice(-itemDigits);
        const key = capability === 2 ? last.slice(4) : last.slice(0, keyDigits);
        property = Number.parseInt(key, 16) + 1;
      }
      expect(pieces).toBe(whole);
    }
  });
});
