// assembly/tpm2/generated/records.ts and dispatch.ts: the commands' inputs and outputs, their attributes, and the way from a command's code
// to its function.
import { attributes } from "./attributes.ts";
import { commands } from "./commands.ts";
import { constants } from "./constants.ts";
import {
  HEADER,
  constantNames,
  fieldOffsets,
  hex,
  importLine,
  parseType,
  resolveAlias,
  roundUp,
  structures,
} from "./engine-layout.ts";
import { CURSOR_IMPORTS, marshalCall, offsetOf, recordClass, unmarshalCall } from "./engine-structures-generator.ts";
import { interfaces } from "./interfaces.ts";
import type { CommandDefinition, FieldDefinition } from "./types.ts";

const INPUT = "COMMAND_IN";
const OUTPUT = "COMMAND_OUT";

interface EngineCommand {
  readonly definition: CommandDefinition;
  readonly file: string;
  readonly resumable: boolean;
}

const inputFields = (c: CommandDefinition): FieldDefinition[] => [
  ...(c.handles ?? []).map(([name, type]): FieldDefinition => [name, type]),
  ...(c.parameters ?? []),
];

const outputFields = (c: CommandDefinition): FieldDefinition[] => [
  ...(c.responseHandle ? [c.responseHandle] : []),
  ...(c.response ?? []),
];

/** The texts of records.ts and dispatch.ts. `functions`: command function -> chapter file. */
export function generateCommands(functions: ReadonlyMap<string, string>): { records: string; dispatch: string } {
  const present: EngineCommand[] = commands
    .filter((c) => functions.has(c.name))
    .sort((a, b) => a.code - b.code)
    .map((definition) => ({
      definition,
      file: functions.get(definition.name)!,
      resumable: functions.has(`${definition.name}_resume`),
    }));
  const records: string[] = [];
  let inSize = 8;
  let outSize = 8;
  for (const { definition } of present) {
    const input = inputFields(definition);
    const output = outputFields(definition);
    if (input.length) {
      const { offsets, size } = fieldOffsets(input);
      records.push(recordClass(`${definition.name}_In`, input, offsets, size));
      inSize = Math.max(inSize, size);
    }
    if (output.length) {
      const { offsets, size } = fieldOffsets(output);
      records.push(recordClass(`${definition.name}_Out`, output, offsets, size));
      outSize = Math.max(outSize, size);
    }
  }
  const body = [
    `export const COMMAND_COUNT: u32 = ${present.length};`,
    `export const COMMAND_FIRST: u32 = ${hex(present[0]?.definition.code ?? 0)};`,
    `export const COMMAND_LAST: u32 = ${hex(present[present.length - 1]?.definition.code ?? 0)};`,
    `export const ${INPUT}_SIZE: u32 = ${roundUp(inSize, 16)};`,
    `export const ${OUTPUT}_SIZE: u32 = ${roundUp(outSize, 16)};`,
    `export const ${INPUT}: usize = memory.data(${INPUT}_SIZE, 16);`,
    `export const ${OUTPUT}: usize = memory.data(${OUTPUT}_SIZE, 16);`,
    "",
    commandTables(present),
    handleFunction(present),
    parameterFunction(present),
    runFunction(present),
    resumeFunction(present),
    responseFunction(present),
  ].join("\n");
  const recordText = records.join("\n");
  const structureNames = Object.keys(structures).flatMap((s) => [s, `unmarshal_${s}`, `marshal_${s}`]);
  const checked = [...Object.keys(interfaces), ...Object.keys(constants), ...Object.keys(attributes)].map(
    (n) => `unmarshal_${n}`,
  );
  const both = `${recordText}\n${body}`;
  const recordNames = [...recordText.matchAll(/^export (?:class|const) (\w+)/gm)].map(([, n]) => n!);
  const byFile = new Map<string, string[]>();
  for (const { definition, file, resumable } of present) {
    const names = byFile.get(file) ?? [];
    names.push(definition.name, ...(resumable ? [`${definition.name}_resume`] : []));
    byFile.set(file, names);
  }
  const recordsFile = [
    HEADER,
    importLine(recordText, ["TPM2B", "Bitmap"], "../cursor"),
    importLine(recordText, structureNames, "./structures"),
    "",
    recordText,
  ].join("\n");
  const dispatch = [
    HEADER,
    importLine(body, CURSOR_IMPORTS, "../cursor"),
    importLine(body, ["handleAt", "addHandle"], "../handles"),
    importLine(both, constantNames(), "./constants"),
    importLine(body, [...structureNames, ...checked], "./structures"),
    importLine(body, recordNames, "./records"),
    ...[...byFile].map(([file, names]) => `import { ${names.sort().join(", ")} } from "../commands/${file}";`),
    "",
    body,
  ].join("\n");
  return { records: recordsFile, dispatch };
}

const ROLES = { USER: 1, ADMIN: 2, DUP: 3 } as const;

/** The words of the attribute table: TPMA_CC in the low 32 bits, the engine's own flags above (command-attributes.ts). */
function attributeWord(c: CommandDefinition): bigint {
  let word = BigInt(c.code & 0xffff);
  if (c.nv) word |= 1n << 22n;
  if (c.extensive) word |= 1n << 23n;
  if (c.flushed) word |= 1n << 24n;
  word |= BigInt(c.handles?.length ?? 0) << 25n;
  if (c.responseHandle) word |= 1n << 28n;
  (c.handles ?? []).forEach(([, , role], i) => {
    if (role) word |= BigInt(ROLES[role]) << BigInt(32 + 2 * i);
  });
  if (c.noSessions) word |= 1n << 40n;
  if (isSizedFirst(c.parameters) && !c.noSessions) word |= 1n << 41n;
  if (isSizedFirst(c.response) && !c.noSessions) word |= 1n << 42n;
  if (c.physicalPresence) word |= 1n << 43n;
  if (c.physicalPresence === "required") word |= 1n << 44n;
  return word;
}

function isSizedFirst(fields: readonly FieldDefinition[] | undefined): boolean {
  const first = fields?.[0];
  if (!first) return false;
  const kind = structures[resolveAlias(parseType(first[1]).name)]?.kind;
  return kind === "buffer" || kind === "sized";
}

function commandTables(present: readonly EngineCommand[]): string {
  const first = present[0]?.definition.code ?? 0;
  const last = present[present.length - 1]?.definition.code ?? 0;
  const byCode: number[] = [];
  for (let code = first; code <= last; code++) byCode.push(present.findIndex((p) => p.definition.code === code) & 0xff);
  const words = present.map((p) => `0x${attributeWord(p.definition).toString(16)}`);
  return [
    "/** Index of the command with code COMMAND_FIRST + i; 0xff where there is none. */",
    `export const COMMAND_INDEX_BY_CODE: usize = memory.data<u8>([${byCode.join(", ")}]);`,
    "/** Attributes of the command with that index (command-attributes.ts tells the bits). */",
    `export const COMMAND_ATTRIBUTES: usize = memory.data<u64>([${words.join(", ")}]);`,
    "",
  ].join("\n");
}

function switchOn(present: readonly EngineCommand[], body: (c: EngineCommand) => string[]): string[] {
  return present.flatMap((command, index) => {
    const lines = body(command);
    return lines.length
      ? [`    case ${index}: { // ${command.definition.name}`, ...lines.map((l) => `      ${l}`), "    }"]
      : [];
  });
}

function handleFunction(present: readonly EngineCommand[]): string {
  return [
    "/** Unmarshals the handle area of a command. */",
    "export function unmarshalHandles(index: u32): u32 {",
    "  let rc: u32 = 0;",
    "  switch (index) {",
    ...switchOn(present, ({ definition }) => {
      const handles = definition.handles ?? [];
      if (handles.length === 0) return [];
      return [
        ...handles.flatMap(([, type], i) => [
          `rc = ${unmarshalCall(type, "addHandle()")};`,
          `if (rc) return rc + TPM_RC_H + TPM_RC_${i + 1};`,
        ]),
        "return 0;",
      ];
    }),
    "  }",
    "  return rc;",
    "}",
    "",
  ].join("\n");
}

function parameterFunction(present: readonly EngineCommand[]): string {
  return [
    "/** Copies the handles and unmarshals the parameters of a command into its input record. */",
    "export function unmarshalParameters(index: u32): u32 {",
    "  let rc: u32 = 0;",
    "  switch (index) {",
    ...switchOn(present, ({ definition }) => {
      const fields = inputFields(definition);
      if (fields.length === 0) return [];
      const { offsets } = fieldOffsets(fields);
      const handles = definition.handles?.length ?? 0;
      const lines: string[] = [];
      fields.forEach(([, type], i) => {
        const target = offsetOf(INPUT, offsets[i]!);
        if (i < handles) lines.push(`store<u32>(${target}, handleAt(${i}));`);
        else {
          lines.push(
            `rc = ${unmarshalCall(type, target)};`,
            `if (rc) return rc + TPM_RC_P + TPM_RC_${(i - handles + 1).toString(16).toUpperCase()};`,
          );
        }
      });
      lines.push("break;");
      return lines;
    }),
    "  }",
    "  return inputLeft() == 0 ? 0 : TPM_RC_SIZE;",
    "}",
    "",
  ].join("\n");
}

/** Where a command's input and output are, as far as it has any. */
function callRecords({ definition }: EngineCommand): string[] {
  const records: string[] = [];
  if (inputFields(definition).length) records.push(INPUT);
  if (outputFields(definition).length) records.push(OUTPUT);
  return records;
}

function runFunction(present: readonly EngineCommand[]): string {
  return [
    "// The calls are indirect: the compiler would put all commands, which have no other caller, into this one function, and a runtime",
    "// that compiles functions at their first call would compile them all for the first command.",
    "",
    "/** Runs a command on its unmarshalled input. */",
    "export function runCommand(index: u32): u32 {",
    "  switch (index) {",
    ...switchOn(present, (c) => [
      `return call_indirect<u32>(${[`${c.definition.name}.index`, ...callRecords(c)].join(", ")});`,
    ]),
    "  }",
    "  return TPM_RC_COMMAND_CODE;",
    "}",
    "",
  ].join("\n");
}

function resumeFunction(present: readonly EngineCommand[]): string {
  return [
    "/** Goes on with a command that answered PENDING. */",
    "export function resumeCommand(index: u32): u32 {",
    "  switch (index) {",
    ...switchOn(present, (c) =>
      c.resumable
        ? [`return call_indirect<u32>(${[`${c.definition.name}_resume.index`, ...callRecords(c)].join(", ")});`]
        : [],
    ),
    "  }",
    "  return TPM_RC_FAILURE;",
    "}",
    "",
  ].join("\n");
}

function responseFunction(present: readonly EngineCommand[]): string {
  return [
    "/** Marshals the response parameters (without the response handle, which is the first word of the output). */",
    "export function marshalResponse(index: u32): void {",
    "  switch (index) {",
    ...switchOn(present, ({ definition }) => {
      const fields = outputFields(definition);
      const skip = definition.responseHandle ? 1 : 0;
      if (fields.length === skip) return [];
      const { offsets } = fieldOffsets(fields);
      return [
        ...fields.slice(skip).map(([, type], i) => `${marshalCall(type, offsetOf(OUTPUT, offsets[i + skip]!))};`),
        "return;",
      ];
    }),
    "  }",
    "}",
    "",
  ].join("\n");
}
