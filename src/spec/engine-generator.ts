// From the tables of the specification to the engine's AssemblyScript: everything in assembly/tpm2/generated but the profiles' tables.
import { algorithms } from "./algorithms.ts";
import { attributes } from "./attributes.ts";
import { commands } from "./commands.ts";
import { constants } from "./constants.ts";
import { generateCommands } from "./engine-commands-generator.ts";
import { HEADER, fieldOffsets, hex, importLine, scalarOf, structures } from "./engine-layout.ts";
import { engineRecords } from "./engine-records.ts";
import { generateStructures, recordClass } from "./engine-structures-generator.ts";
import { handleRanges, implementation } from "./implementation.ts";

function generateConstants(): string {
  const lines = [HEADER];
  for (const [name, value] of Object.entries(implementation)) lines.push(`export const ${name}: u32 = ${value};`);
  lines.push("");
  for (const [name, value] of Object.entries(handleRanges)) lines.push(`export const ${name}: u32 = ${hex(value)};`);
  lines.push("");
  for (const [name, { id }] of Object.entries(algorithms)) lines.push(`export const ${name}: u32 = ${hex(id)};`);
  for (const [table, { values, base }] of Object.entries(constants)) {
    const type = scalarOf(base)?.signed ? "i32" : "u32";
    lines.push("", `// ${table}`);
    for (const [name, value] of Object.entries(values)) {
      lines.push(`export const ${name}: ${type} = ${value < 0 ? value : hex(value)};`);
    }
  }
  lines.push("", "// TPM_CC");
  for (const command of commands) lines.push(`export const TPM_CC_${command.name}: u32 = ${hex(command.code)};`);
  for (const [table, { base, bits }] of Object.entries(attributes)) {
    const type = scalarOf(base)?.bytes === 8 ? "u64" : "u32";
    lines.push("", `// ${table}`);
    for (const [name, bit] of Object.entries(bits)) {
      const [low, high] = typeof bit === "number" ? [bit, bit] : bit;
      const mask = ((1n << BigInt(high - low + 1)) - 1n) << BigInt(low);
      lines.push(`export const ${table}_${name}: ${type} = 0x${mask.toString(16)};`);
      if (low !== high) lines.push(`export const ${table}_${name}_SHIFT: ${type} = ${low};`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function generateEngineRecords(): string {
  const text = Object.entries(engineRecords)
    .map(([name, fields]) => {
      const { offsets, size } = fieldOffsets(fields);
      return recordClass(name, fields, offsets, size);
    })
    .join("\n");
  return [
    HEADER,
    importLine(text, ["TPM2B"], "../cursor"),
    importLine(text, Object.keys(structures), "./structures"),
    "",
    text,
  ].join("\n");
}

/** File name -> text of everything in assembly/tpm2/generated. `functions`: command function -> chapter file. */
export function generateEngine(functions: ReadonlyMap<string, string>): Record<string, string> {
  const { records, dispatch } = generateCommands(functions);
  return {
    "constants.ts": generateConstants(),
    "structures.ts": generateStructures(),
    "engine-records.ts": generateEngineRecords(),
    "records.ts": records,
    "dispatch.ts": dispatch,
  };
}
