// The groups of a TPM's data that libtpms keeps: PERSISTENT_DATA, ORDERLY_DATA, STATE_RESET, STATE_CLEAR.
import {
  algorithm,
  bool,
  byVersion,
  bytes16,
  fields,
  lengthThen,
  list,
  part2,
  type Shape,
  secret16,
  since,
  u8,
  u16,
  u32,
  u64,
  type ValueOf,
} from "./shape.ts";
import { block, structure } from "./structure.ts";

const ACTIVE_SESSIONS = 64;
const NUM_STATIC_PCR = 16;
const CLOCK_NONCE_SIZE = 4;

/** Digests bank by bank, TPM_ALG_NULL at the end: of one register, or of several one after another. */
export const banks: Shape<{ hashAlg: ValueOf<typeof algorithm>; digests: Uint8Array }[]> = {
  read(reader) {
    const found: { hashAlg: ValueOf<typeof algorithm>; digests: Uint8Array }[] = [];
    for (;;) {
      const hashAlg = algorithm.read(reader);
      if (hashAlg === "TPM_ALG_NULL") return found;
      found.push({ hashAlg, digests: reader.at(String(hashAlg), () => bytes16.read(reader)) });
    }
  },
  write(writer, value) {
    for (const { hashAlg, digests } of value) {
      algorithm.write(writer, hashAlg);
      bytes16.write(writer, digests);
    }
    algorithm.write(writer, "TPM_ALG_NULL");
  },
};

const pcrPolicy = structure(
  { name: "PCR_POLICY", magic: 0x176be626, version: 2 },
  fields({ groups: list(fields({ hashAlg: algorithm, policy: bytes16 }), 2) }),
);

export const persistentData = structure(
  {
    name: "PERSISTENT_DATA",
    magic: 0x12213443,
    version: 5,
    extension: {
      additions: [
        { pcrActive: part2("TPML_PCR_SELECTION") },
        { EPSeedCompatLevel: u8, SPSeedCompatLevel: u8, PPSeedCompatLevel: u8 },
      ],
    },
  },
  fields({
    disableClear: bool,
    ownerAlg: algorithm,
    endorsementAlg: algorithm,
    lockoutAlg: algorithm,
    ownerPolicy: bytes16,
    endorsementPolicy: bytes16,
    lockoutPolicy: bytes16,
    ownerAuth: secret16,
    endorsementAuth: secret16,
    lockoutAuth: secret16,
    EPSeed: secret16,
    SPSeed: secret16,
    PPSeed: secret16,
    phProof: secret16,
    shProof: secret16,
    ehProof: secret16,
    totalResetCount: u64,
    resetCount: u32,
    pcrPolicies: block(pcrPolicy),
    /** In force from the next reset on. */
    pcrAllocated: part2("TPML_PCR_SELECTION"),
    ppList: bytes16,
    failedTries: u32,
    maxTries: u32,
    recoveryTime: u32,
    lockoutRecovery: u32,
    lockOutAuthEnabled: bool,
    orderlyState: u16,
    auditCommands: bytes16,
    auditHashAlg: algorithm,
    auditCounter: u64,
    algorithmSet: u32,
    firmwareV1: u32,
    firmwareV2: u32,
    timeEpoch: lengthThen(CLOCK_NONCE_SIZE, u8, u32),
  }),
);
export type PersistentData = ValueOf<typeof persistentData>;

const drbgState = structure(
  { name: "DRBG_STATE", magic: 0x6fe83ea1, version: 2 },
  fields({ reseedCounter: u64, magic: u32, seed: secret16, lastValue: list(u32, 2) }),
);

export const orderlyData = structure(
  { name: "ORDERLY_DATA", magic: 0x56657887, version: 2 },
  fields({
    /** Milliseconds. */
    clock: u64,
    clockSafe: bool,
    drbgState,
    timers: block(fields({ selfHealTimer: u64, lockoutTimer: u64, time: u64 })),
  }),
);

export const stateReset = structure(
  {
    name: "STATE_RESET",
    magic: 0x01102332,
    version: 4,
    extension: { additions: [{ nullSeedCompatLevel: u8 }] },
  },
  fields({
    nullProof: secret16,
    nullSeed: secret16,
    clearCount: u32,
    objectContextID: u64,
    contextArray: lengthThen(
      ACTIVE_SESSIONS,
      u16,
      byVersion((version) => list(version <= 3 ? u8 : u16, { exactly: ACTIVE_SESSIONS })),
    ),
    contextSlotMask: since(4, u16),
    contextCounter: u64,
    commandAuditDigest: bytes16,
    restartCount: u32,
    pcrCounter: u32,
    commit: block(fields({ commitCounter: u64, commitNonce: secret16, commitArray: bytes16 })),
  }),
);

const pcrSave = structure(
  { name: "PCR_SAVE", magic: 0x7372eabc, version: 2 },
  fields({ banks: lengthThen(NUM_STATIC_PCR, u16, banks) }),
);
const pcrAuthValues = structure(
  { name: "PCR_AUTHVALUE", magic: 0x6be82eaf, version: 2 },
  fields({ groups: list(secret16, 2) }),
);

export const stateClear = structure(
  { name: "STATE_CLEAR", magic: 0x98897667, version: 2 },
  fields({
    shEnable: bool,
    ehEnable: bool,
    phEnableNV: bool,
    platformAlg: algorithm,
    platformPolicy: bytes16,
    platformAuth: secret16,
    pcrSave,
    pcrAuthValues,
  }),
);
