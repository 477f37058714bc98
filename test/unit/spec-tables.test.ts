import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeResponse } from "../../src/codec/index.ts";
import { canBeEncrypted, fieldsOf } from "../../src/codec/message.ts";
import { algorithms } from "../../src/spec/algorithms.ts";
import { attributes } from "../../src/spec/attributes.ts";
import { generateCodecTypes } from "../../src/spec/codec-types-generator.ts";
import { commands } from "../../src/spec/commands.ts";
import { constants } from "../../src/spec/constants.ts";
import { implementation } from "../../src/spec/implementation.ts";
import { interfaces } from "../../src/spec/interfaces.ts";
import { constantOf, digestSizes, findCommand, resolveType } from "../../src/spec/registry.ts";
import { structures } from "../../src/spec/structures.ts";
import type { CommandDefinition, FieldDefinition } from "../../src/spec/types.ts";
import { bytesOf, recorded } from "../support/recorded.ts";

const csv = readFileSync(new URL("../data/tpm2/commands.csv", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line && !line.startsWith("#"))
  .map((line) => line.split(","));
const columns = csv[0]!;
/** Facts about each command through version 1.84, by column. */
const facts = csv
  .slice(1)
  .map((row) => Object.fromEntries(columns.map((column, i) => [column, row[i] ?? ""])) as Record<string, string>)
  .filter(({ since }) => since !== "1.85")
  .map(
    ({ "libtpms_0.11_profiles": _profiles, tcg_ref_184: _reference, libtpms_can_be_disabled: _disabled, ...fact }) =>
      fact,
  );

const roleLetters = { USER: "U", ADMIN: "A", DUP: "D" } as const;
const presenceLetters = { configurable: "c", required: "R" } as const;

/** The columns of a command, as its definition has them. */
function described(command: CommandDefinition): Record<string, string> {
  const { name, handles = [], physicalPresence } = command;
  const encryptable =
    (canBeEncrypted(fieldsOf(command.parameters)) ? "d" : "") + (canBeEncrypted(fieldsOf(command.response)) ? "e" : "");
  return {
    cc_hex: command.code.toString(16).toUpperCase(),
    name: formerNames[name] ? `${formerNames[name]}/${name}` : name,
    handles: String(handles.length),
    resp_handle: command.responseHandle ? "y" : "",
    nv: command.nv ? "y" : "",
    extensive_or_flushed: command.extensive ? "E" : command.flushed ? "F" : "",
    auth_roles: handles.map(([, , role]) => (role ? roleLetters[role] : "-")).join(""),
    param_enc: command.noSessions ? "NS" : encryptable,
    pp: physicalPresence ? presenceLetters[physicalPresence] : "",
    read_only_reject: command.rejectedInReadOnly ? "x" : "",
    since: command.since ?? "<=1.38",
  };
}

const formerNames: Readonly<Record<string, string>> = { MAC: "HMAC", MAC_Start: "HMAC_Start" };

/** TPMA_CC of a command (Part 2, 8.9). */
function commandAttributes(command: CommandDefinition): number {
  return (
    (command.code & 0xffff) |
    (command.nv ? 1 << 22 : 0) |
    (command.extensive ? 1 << 23 : 0) |
    (command.flushed ? 1 << 24 : 0) |
    ((command.handles?.length ?? 0) << 25) |
    (command.responseHandle ? 1 << 28 : 0)
  );
}

describe("the commands", () => {
  it("are those of the specification through 1.84, each once", () => {
    const codes = commands.map(({ code }) => code).sort((a, b) => a - b);
    expect(codes).toEqual(facts.map(({ cc_hex }) => Number.parseInt(cc_hex!, 16)).sort((a, b) => a - b));
    expect(new Set(commands.map(({ name }) => name)).size).toBe(commands.length);
  });

  it("have their names, handles, roles, parameters and attributes", () => {
    for (const fact of facts)
      expect(described(findCommand(Number.parseInt(fact.cc_hex!, 16))!), fact.name).toEqual(fact);
  });

  it("have the attributes that libtpms reports", () => {
    const [, , , response] = recorded("probes.tsv").find(([name]) => name === "GetCap commands all")!;
    const { parameters } = decodeResponse(bytesOf(response!), 0x17a);
    const { data } = parameters.capabilityData as unknown as { data: { commandIndex: number; reserved?: number }[] };
    expect(data.length).toBe(114);
    const words = bytesOf(response!);
    data.forEach(({ commandIndex }, i) => {
      const word = new DataView(words.buffer).getUint32(19 + 4 * i);
      expect(commandAttributes(findCommand(commandIndex)!), `TPM_CC 0x${commandIndex.toString(16)}`).toBe(word);
    });
  });
});

describe("the types", () => {
  it.each(Object.entries(generateCodecTypes()))("of the codec's values are generated from them: %s", (file, text) => {
    expect(readFileSync(new URL(`../../src/codec/generated/${file}`, import.meta.url), "utf8")).toBe(text);
  });

  const named = [
    ...Object.keys(constants),
    ...Object.keys(attributes),
    ...Object.keys(interfaces),
    ...Object.keys(structures),
  ];

  /** Every field that any table mentions, with where it stands. */
  function allFields(): [where: string, field: FieldDefinition][] {
    const found: [string, FieldDefinition][] = [];
    for (const [name, definition] of Object.entries(structures)) {
      if (definition.kind === "structure") for (const field of definition.fields) found.push([name, field]);
      if (definition.kind === "union")
        for (const arm of Object.values(definition.arms)) if (arm) found.push([name, arm]);
      if (definition.kind === "sized") found.push([name, definition.field]);
      if (definition.kind === "list") found.push([name, ["element", definition.element]]);
    }
    for (const { name, handles = [], parameters = [], response = [], responseHandle } of commands) {
      for (const [handle, type] of handles) found.push([name, [handle, type]]);
      for (const field of [...parameters, ...response]) found.push([name, field]);
      if (responseHandle) found.push([name, responseHandle]);
    }
    return found;
  }

  it("resolve, with their bases, selectors and constants", () => {
    for (const name of named) expect(resolveType(name).kind, name).toBeTruthy();
    for (const [where, [field, type]] of allFields()) {
      expect(() => resolveType(type.replaceAll("+", "")), `${where}.${field}`).not.toThrow();
    }
  });

  it("are each used somewhere", () => {
    const used = new Set(allFields().map(([, [, type]]) => type.replaceAll("+", "")));
    // Types of the specification that stand on their own: what other software stores, certifies or exchanges.
    const alone = [
      "TPMS_ALGORITHM_DESCRIPTION",
      "TPMS_ATTEST",
      "TPMS_AUTH_COMMAND",
      "TPMS_AUTH_RESPONSE",
      "TPMS_DERIVE",
      "TPMS_ID_OBJECT",
      "TPMS_NV_PIN_COUNTER_PARAMETERS",
      "TPMS_CONTEXT_DATA",
      "TPMT_ASYM_SCHEME",
    ];
    const unused = Object.keys(structures).filter((name) => !used.has(name) && !alone.includes(name));
    expect(unused).toEqual([]);
  });

  it("have maxima that the implementation knows", () => {
    for (const [name, definition] of Object.entries(structures)) {
      for (const limit of ["max", "min"] as const) {
        const value = limit in definition ? (definition as { max?: unknown; min?: unknown })[limit] : undefined;
        if (typeof value === "string") expect(implementation[value], `${name}.${limit}`).toBeTypeOf("number");
      }
    }
  });

  it("have attribute words without overlapping bits", () => {
    for (const [name, { bits }] of Object.entries(attributes)) {
      const seen = new Set<number>();
      for (const at of Object.values(bits)) {
        const [low, high] = typeof at === "number" ? [at, at] : at;
        for (let bit = low; bit <= high; bit++) {
          expect(seen.has(bit), `${name} bit ${bit}`).toBe(false);
          seen.add(bit);
        }
      }
    }
  });

  it("know each algorithm by one number, and the digest of every hash", () => {
    const ids = Object.values(algorithms).map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const hash of interfaces.TPMI_ALG_HASH?.values ?? []) expect(digestSizes[hash], hash).toBeTypeOf("number");
    expect(() => constantOf("TPM_ALG_MD5")).toThrow("no constant TPM_ALG_MD5");
  });
});
