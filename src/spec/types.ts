// How the tables of the TPM 2.0 library specification (Part 2: Structures, Part 3: Commands) are written down here.

/** A table of named values: the specification's "Definition of (BASE) NAME Constants". */
export interface ConstantsDefinition {
  readonly base: string;
  readonly values: Readonly<Record<string, number>>;
  /** Response code for a value outside the table; without it any value is accepted. */
  readonly error?: string;
}

/** A word of bits: bit number, or [lowest, highest] for a field of several bits. */
export interface AttributesDefinition {
  readonly base: string;
  readonly bits: Readonly<Record<string, number | readonly [low: number, high: number]>>;
  /** Reserved bits are accepted as they are (TPMA_LOCALITY, response-only words). */
  readonly lenient?: boolean;
}

/** A type that allows only some values of its base: TPMI_*. */
export interface InterfaceDefinition {
  readonly base: string;
  readonly values?: readonly string[];
  /** First and last value of each allowed range. */
  readonly ranges?: readonly (readonly [first: string, last: string])[];
  /** The conditional value that a "+" allows. */
  readonly nullValue?: string;
  /** Plain numbers, for key sizes. */
  readonly numbers?: readonly number[];
  readonly error: string;
  /** Another error for what is no implemented constant of the base either, or is one of these. */
  readonly otherwise?: { readonly error: string; readonly than: readonly string[] };
}

/**
 * name, type, selector. In a type, as in the specification, a trailing "+" allows the conditional value and a leading "+"
 * hands the decision to the structure's own user. The selector names the earlier field that chooses a union's arm.
 */
export type FieldDefinition = readonly [name: string, type: string, selector?: string];

export type StructureDefinition =
  /** Fields one after another. */
  | { readonly kind: "structure"; readonly fields: readonly FieldDefinition[] }
  /** What stands there is chosen by a selector: selector value -> field; null means nothing. */
  | { readonly kind: "union"; readonly arms: Readonly<Record<string, FieldDefinition | null>> }
  /** UINT32 count, then elements. */
  | {
      readonly kind: "list";
      readonly name: string;
      readonly element: string;
      readonly min?: number;
      readonly max: string;
      readonly error: string;
    }
  /** TPM2B: UINT16 size, then that many bytes. */
  | { readonly kind: "buffer"; readonly max: string }
  /** TPM2B around a structure; an empty one is TPM_RC_SIZE unless `mayBeEmpty`. */
  | { readonly kind: "sized"; readonly field: FieldDefinition; readonly mayBeEmpty?: boolean }
  /** Bytes whose number follows from the hash algorithm that selects them (TPMU_HA). */
  | { readonly kind: "digest" }
  /** UINT8 size, then that many bytes (the PCR bit map). */
  | { readonly kind: "bitmap"; readonly min: string; readonly max: string; readonly error: string }
  /** Another name for a type. */
  | { readonly kind: "alias"; readonly of: string };

export type AuthorizationRole = "USER" | "ADMIN" | "DUP";

export type HandleDefinition = readonly [name: string, type: string, role?: AuthorizationRole];

export interface CommandDefinition {
  /** TPM_CC. */
  readonly code: number;
  /** Without the TPM2_ prefix. */
  readonly name: string;
  /** The chapter of Part 3 it stands in. */
  readonly chapter: string;
  readonly handles?: readonly HandleDefinition[];
  readonly parameters?: readonly FieldDefinition[];
  readonly responseHandle?: FieldDefinition;
  readonly response?: readonly FieldDefinition[];
  /** TPMA_CC.nv: may write to NV. */
  readonly nv?: boolean;
  /** TPMA_CC.extensive: may flush any number of loaded contexts. */
  readonly extensive?: boolean;
  /** TPMA_CC.flushed: the transient object of its last handle is flushed. */
  readonly flushed?: boolean;
  /** No session of any kind may come with it. */
  readonly noSessions?: boolean;
  /** May be put on the list of commands that need physical presence, or is always on it. */
  readonly physicalPresence?: "configurable" | "required";
  readonly rejectedInReadOnly?: boolean;
  /** The first version of the specification that has it; 1.38 or earlier when left out. */
  readonly since?: string;
}
