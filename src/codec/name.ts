// Names of entities (Part 1, 16 "Names"): what a session's HMAC covers in place of handles that anyone could swap.

import { constantOf } from "../spec/registry.ts";
import { concatBytes, uintBytes } from "./bytes.ts";
import { hash, hashName } from "./crypto.ts";
import type { TPMS_NV_PUBLIC, TPMT_PUBLIC } from "./generated/values.ts";
import { encodeStructure } from "./structure.ts";

/** nameAlg || H_nameAlg(area): the Name of an entity by its public area; empty for TPM_ALG_NULL. */
function nameOfArea(nameAlg: string | number, area: Uint8Array): Uint8Array {
  if (nameAlg === "TPM_ALG_NULL") return new Uint8Array();
  const algorithm = hashName(String(nameAlg));
  return concatBytes(uintBytes(constantOf(algorithm), 2), hash(algorithm, area));
}

/** The Name of an object: outPublic of TPM2_ReadPublic. */
export function objectName(publicArea: TPMT_PUBLIC): Uint8Array {
  return nameOfArea(publicArea.nameAlg, encodeStructure("TPMT_PUBLIC", publicArea));
}

/** The Name of an NV Index: nvPublic of TPM2_NV_ReadPublic. It changes when the index is first written. */
export function nvIndexName(nvPublic: TPMS_NV_PUBLIC): Uint8Array {
  return nameOfArea(nvPublic.nameAlg, encodeStructure("TPMS_NV_PUBLIC", nvPublic));
}

/** What kind of Name the entity with this handle has: its handle, or one that must be computed from its public area. */
export function nameKind(handle: number): "handle" | "object" | "nvIndex" {
  switch (handle >>> 24) {
    case 0x01:
      return "nvIndex";
    case 0x80:
    case 0x81:
      return "object";
    default:
      return "handle";
  }
}

/** The Name of a PCR, a session or a permanent entity. */
export function handleName(handle: number): Uint8Array {
  return uintBytes(handle, 4);
}
