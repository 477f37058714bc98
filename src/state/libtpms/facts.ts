// What a decoded state says, in the terms of the specification: where that takes more than one field of it.
import type { TPMS_NV_PUBLIC } from "../../codec/generated/values.ts";
import { nvIndexName } from "../../codec/name.ts";
import { findCommand } from "../../spec/registry.ts";
import type { NvIndex } from "./nv.ts";
import type { ObjectAttributes } from "./object.ts";
import { type PermanentState, parseProfile } from "./permanent.ts";
import type { Secret } from "./secret.ts";

/** The null profile, which states before version 4 have. */
const NULL_PROFILE = { Name: "null", StateFormatLevel: 1 } as const;

export interface ProfileFacts {
  readonly name: string;
  readonly stateFormatLevel: number;
  /** libtpms' JSON; undefined for the null profile. */
  readonly json: string | undefined;
}

/** The TPM's profile. @throws StateError "damaged" */
export function profileOf({ profile }: PermanentState): ProfileFacts {
  const { Name, StateFormatLevel } = profile ? parseProfile(profile) : NULL_PROFILE;
  return { name: String(Name), stateFormatLevel: Number(StateFormatLevel ?? 1), json: profile || undefined };
}

export interface NvIndexFacts {
  readonly handle: number;
  /** With the attributes that are in force. */
  readonly publicArea: TPMS_NV_PUBLIC;
  readonly authValue: NvIndex["authValue"];
  readonly data: Secret;
  readonly name: Uint8Array;
  /** What the data means, where that is no secret: of any index but an ordinary one. */
  readonly content: string | undefined;
}

/** The NV indices as TPM2_NV_ReadPublic tells of them: of orderly ones attributes and data are in another place than the rest. */
export function nvIndices({ userNvram, indexOrderlyRam }: PermanentState): NvIndexFacts[] {
  return userNvram.entries.flatMap(({ handle, index, data }) => {
    if (!index) return [];
    const ram = indexOrderlyRam.entries.find((entry) => entry.handle === handle);
    const publicArea = ram ? { ...index.publicArea, attributes: ram.attributes } : index.publicArea;
    const current = ram ? ram.data : data;
    return {
      handle,
      publicArea,
      authValue: index.authValue,
      data: current,
      name: nvIndexName(publicArea),
      content: publicArea.attributes.WRITTEN
        ? contentText(publicArea.attributes.TPM_NT, current.reveal())
        : "not written",
    };
  });
}

/** Counters, bits, digests and PIN limits in words; undefined for ordinary data. */
function contentText(type: TPMS_NV_PUBLIC["attributes"]["TPM_NT"], data: Uint8Array): string | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const hex = Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("");
  switch (type) {
    case "TPM_NT_COUNTER":
      return data.length === 8 ? `count ${view.getBigUint64(0)}` : undefined;
    case "TPM_NT_BITS":
      return `bits 0x${hex}`;
    case "TPM_NT_EXTEND":
      return `digest ${hex}`;
    case "TPM_NT_PIN_FAIL":
    case "TPM_NT_PIN_PASS":
      return data.length === 8 ? `PIN count ${view.getUint32(0)} of ${view.getUint32(4)}` : undefined;
    default:
      return undefined;
  }
}

const FIRST_COMMAND = 0x11f;
const LAST_COMMAND = 0x197;
/** Codes between the first and the last that no command of libtpms 0.9 has. */
const NO_COMMANDS: readonly number[] = [0x123, 0x12f, 0x141, 0x15a, 0x15f, 0x166, 0x175, 0x179, 0x194, 0x195, 0x196];

/** The command code of each bit of ppList and auditCommands in this version of PERSISTENT_DATA. */
function codesOfBits(version: number, bits: number): number[] {
  const codes = Array.from(
    { length: version >= 5 ? bits : LAST_COMMAND - FIRST_COMMAND + 1 },
    (_, i) => FIRST_COMMAND + i,
  );
  return version >= 5 ? codes : codes.filter((code) => !NO_COMMANDS.includes(code));
}

/**
 * The codes of the commands whose bits are set in ppList or auditCommands.
 *
 * @param version of PERSISTENT_DATA: up to 4 the bits count the commands that libtpms 0.9 had, from 5 on they go by command code.
 */
export function commandCodes(list: Uint8Array, version: number): number[] {
  return codesOfBits(version, 8 * list.length).filter((_, bit) => ((list[bit >> 3] ?? 0) >> (bit & 7)) & 1);
}

/** Commands as ppList or auditCommands of this version of PERSISTENT_DATA; the ones that it does not know are left out. */
export function commandBits(codes: readonly number[], version: number): Uint8Array {
  const BITMAP_SIZE = 16;
  const list = new Uint8Array(BITMAP_SIZE);
  codesOfBits(version, 8 * BITMAP_SIZE).forEach((code, bit) => {
    if (codes.includes(code)) list[bit >> 3]! |= 1 << (bit & 7);
  });
  return list;
}

/** The names of the commands in ppList or auditCommands. */
export const commandNames = (list: Uint8Array, version: number): string[] =>
  commandCodes(list, version).map((code) => findCommand(code)?.name ?? `0x${code.toString(16)}`);

/** The hierarchy that an object belongs to. */
export function hierarchyOf(attributes: ObjectAttributes): "endorsement" | "platform" | "owner" | "null" {
  if (attributes.epsHierarchy) return "endorsement";
  if (attributes.ppsHierarchy) return "platform";
  return attributes.spsHierarchy ? "owner" : "null";
}

/** How the TPM was stopped, in words (orderlyState). */
export function orderlyText(orderlyState: number): string {
  const flags = [
    ...(orderlyState & 0x8000 ? ["H-CRTM before startup"] : []),
    ...(orderlyState & 0x4000 ? ["started at locality 3"] : []),
  ];
  const suffix = flags.length > 0 ? ` (${flags.join(", ")})` : "";
  switch (orderlyState) {
    case 0xffff:
      return "running, or stopped without TPM2_Shutdown";
    case 0xfffe:
      return "running, or stopped without TPM2_Shutdown, after a failed authorization that counts";
  }
  switch (orderlyState & 0x3fff) {
    case 0:
      return `stopped after TPM2_Shutdown(CLEAR)${suffix}`;
    case 1:
      return `stopped after TPM2_Shutdown(STATE)${suffix}`;
    default:
      return `0x${orderlyState.toString(16)}`;
  }
}
