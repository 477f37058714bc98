// Platform Configuration Registers (Part 1, 17; PC Client platform: 24 registers, of which the table below tells what
// locality may extend or reset them, as libtpms has it).
import { TPM2B } from "./cursor";
import { SU_RESTART, SU_RESUME, g, gc, gp, gr } from "./data";
import { FATAL_ERROR_COUNTER_OVERFLOW, fail } from "./failure";
import { HASH_COUNT, IMPLEMENTATION_PCR, MAX_DIGEST_LIST, PCR_SELECT_MAX } from "./generated/constants";
import {
  SIZEOF_TPML_PCR_SELECTION_RECORD,
  TPML_DIGEST,
  TPML_PCR_SELECTION,
  TPMS_PCR_SELECTION,
} from "./generated/structures";
import {
  HASH_RECORD_SIZE,
  cryptHashEnd,
  cryptHashEnd2B,
  cryptHashStart,
  cryptHashUpdate,
  digestSizeOf,
  hashAlgByIndex,
  hashNumber,
} from "./hash";

export const HCRTM_PCR: u32 = 0;
export const DRTM_PCR: u32 = 17;
/** Registers that TPM2_Shutdown(STATE) saves. */
const SAVED_PCR: u32 = 16;

// Per register: reset localities, extend localities (bit n: locality n), 1 if it does not count in pcrUpdateCounter.
const RESET_LOCALITIES = memory.data<u8>([
  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0x10, 0x10, 0x10, 0x1c, 0x1c, 0x1c, 0x0f,
]);
const EXTEND_LOCALITIES = memory.data<u8>([
  0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1f, 0x1c, 0x1c,
  0x0c, 0x0e, 0x04, 0x04, 0x1f,
]);
const NO_INCREMENT = memory.data<u8>([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1, 1]);

// Banks one after another: offset of bank n in a table with one digest of each bank.
const BANK_OFFSET = memory.data<u32>([0, 20, 52, 100]);
const ALL_BANKS: u32 = 164;

const PCRS: usize = memory.data(24 * 164, 16);
const WORK: usize = memory.data(HASH_RECORD_SIZE, 16);

/** Address of a register in a bank, allocated or not. */
export function pcrAddress(alg: u32, pcr: u32): usize {
  const bank = hashNumber(alg);
  return PCRS + IMPLEMENTATION_PCR * load<u32>(BANK_OFFSET + 4 * bank) + pcr * digestSizeOf(alg);
}

/** Address of a saved register (PCR_SAVE): 16 of each bank. */
export function savedPcrAddress(alg: u32, pcr: u32): usize {
  return gc.pcrSave + SAVED_PCR * load<u32>(BANK_OFFSET + 4 * hashNumber(alg)) + pcr * digestSizeOf(alg);
}

@inline
function selected(selection: TPMS_PCR_SELECTION, pcr: u32): bool {
  const select = changetype<usize>(selection.pcrSelect);
  return pcr >> 3 < load<u8>(select) && ((load<u8>(select + 1 + (pcr >> 3)) >> (pcr & 7)) & 1) != 0;
}

/** The selection of a bank in the active allocation, or null. */
function allocationOf(alg: u32): TPMS_PCR_SELECTION | null {
  const count = gp.pcrActive.count;
  for (let i: u32 = 0; i < count; i++) {
    const selection = gp.pcrActive.pcrSelections(i);
    if (selection.hash == alg) return selection;
  }
  return null;
}

export function pcrIsAllocated(pcr: u32, alg: u32): bool {
  const allocation = allocationOf(alg);
  return allocation != null && pcr < IMPLEMENTATION_PCR && selected(allocation, pcr);
}

/** Manufacturing: every bank has every register. */
export function pcrManufacture(): void {
  const allocated = gp.pcrAllocated;
  allocated.count = HASH_COUNT;
  for (let i: u32 = 0; i < HASH_COUNT; i++) {
    const selection = allocated.pcrSelections(i);
    selection.hash = hashAlgByIndex(i);
    const select = changetype<usize>(selection.pcrSelect);
    store<u8>(select, <u8>PCR_SELECT_MAX);
    memory.fill(select + 1, 0xff, PCR_SELECT_MAX);
  }
  pcrActivateAllocation();
}

/** What was in force when the state was saved. */
const ACTIVE_BEFORE: usize = memory.data(SIZEOF_TPML_PCR_SELECTION_RECORD, 8);

/** _TPM_Init: the allocation of TPM2_PCR_Allocate comes into force. */
export function pcrActivateAllocation(): void {
  memory.copy(ACTIVE_BEFORE, changetype<usize>(gp.pcrActive), offsetPastAllocation());
  memory.copy(changetype<usize>(gp.pcrActive), changetype<usize>(gp.pcrAllocated), offsetPastAllocation());
}

/** It was no _TPM_Init but a TPM that goes on where it was: a pending allocation goes on waiting. */
export function pcrResumeAllocation(): void {
  memory.copy(changetype<usize>(gp.pcrActive), ACTIVE_BEFORE, offsetPastAllocation());
}

function offsetPastAllocation(): usize {
  return changetype<usize>(gp.pcrActive) - changetype<usize>(gp.pcrAllocated);
}

/** What is in force stays so. */
export function pcrForgetAllocation(): void {
  memory.copy(changetype<usize>(gp.pcrAllocated), changetype<usize>(gp.pcrActive), offsetPastAllocation());
}

/** Sets the registers at TPM2_Startup. */
export function pcrStartup(type: u32, locality: u32): void {
  g.pcrReConfig = false;
  if (type != SU_RESUME && type != SU_RESTART) gr.pcrCounter = 0;
  for (let pcr: u32 = 0; pcr < IMPLEMENTATION_PCR; pcr++) {
    const restored = type == SU_RESUME && pcr < SAVED_PCR;
    if (!restored) pcrChanged(pcr);
    // An H-CRTM sequence before TPM2_Startup has set this register already.
    if (pcr == HCRTM_PCR && type != SU_RESUME && g.drtmPreStartup) continue;
    for (let bank: u32 = 0; bank < HASH_COUNT; bank++) {
      const alg = hashAlgByIndex(bank);
      if (!pcrIsAllocated(pcr, alg)) continue;
      const at = pcrAddress(alg, pcr);
      const size = digestSizeOf(alg);
      if (restored) memory.copy(at, savedPcrAddress(alg, pcr), size);
      else {
        memory.fill(at, load<u8>(RESET_LOCALITIES + pcr) & 0x10 ? 0xff : 0, size);
        if (pcr == HCRTM_PCR) store<u8>(at + size - 1, <u8>locality);
      }
    }
  }
  if (type != SU_RESUME) gc.pcrAuthValue.size = 0;
}

/** TPM2_Shutdown(STATE): keeps the registers that have to survive. */
export function pcrStateSave(): void {
  for (let pcr: u32 = 0; pcr < SAVED_PCR; pcr++) {
    for (let bank: u32 = 0; bank < HASH_COUNT; bank++) {
      const alg = hashAlgByIndex(bank);
      if (pcrIsAllocated(pcr, alg)) memory.copy(savedPcrAddress(alg, pcr), pcrAddress(alg, pcr), digestSizeOf(alg));
    }
  }
}

@inline
export function pcrIsStateSaved(pcr: u32): bool {
  return pcr < SAVED_PCR;
}

/** At locality 4 no register is reset by command: that is what the D-RTM signals are for. */
export function pcrIsResetAllowed(pcr: u32): bool {
  return g.locality != 4 && ((load<u8>(RESET_LOCALITIES + pcr) >> g.locality) & 1) != 0;
}

export function pcrIsExtendAllowed(pcr: u32): bool {
  return ((load<u8>(EXTEND_LOCALITIES + pcr) >> g.locality) & 1) != 0;
}

/** Counts a change in pcrUpdateCounter; PCR 0 always counts. */
export function pcrChanged(pcr: u32): void {
  if (pcr != 0 && load<u8>(NO_INCREMENT + pcr) != 0) return;
  gr.pcrCounter++;
  if (gr.pcrCounter == 0) fail(0x5001, FATAL_ERROR_COUNTER_OVERFLOW);
}

/** PCR := H(PCR || data) in one bank; nothing if the bank does not have it. */
export function pcrExtend(pcr: u32, alg: u32, data: usize, size: u32): void {
  if (!pcrIsAllocated(pcr, alg)) return;
  const at = pcrAddress(alg, pcr);
  cryptHashStart(WORK, alg);
  cryptHashUpdate(WORK, at, digestSizeOf(alg));
  cryptHashUpdate(WORK, data, size);
  cryptHashEnd(WORK, at);
  pcrChanged(pcr);
}

/** Sets a register in every bank: all bytes 0 (or ff for a negative value), the last one `value`. */
export function pcrSetValue(pcr: u32, value: i32): void {
  for (let bank: u32 = 0; bank < HASH_COUNT; bank++) {
    const alg = hashAlgByIndex(bank);
    if (!pcrIsAllocated(pcr, alg)) continue;
    const at = pcrAddress(alg, pcr);
    const size = digestSizeOf(alg);
    memory.fill(at, value < 0 ? 0xff : 0, size);
    store<u8>(at + size - 1, <u8>value);
  }
}

/** A D-RTM event: the dynamic registers become zero. */
export function pcrResetDynamics(): void {
  for (let pcr: u32 = 0; pcr < IMPLEMENTATION_PCR; pcr++) {
    if ((load<u8>(RESET_LOCALITIES + pcr) & 0x10) == 0) continue;
    for (let bank: u32 = 0; bank < HASH_COUNT; bank++) {
      const alg = hashAlgByIndex(bank);
      if (pcrIsAllocated(pcr, alg)) memory.fill(pcrAddress(alg, pcr), 0, digestSizeOf(alg));
    }
  }
}

/** Extends a register with the digest of an event sequence; before TPM2_Startup it starts from 0…04. */
export function pcrDrtm(pcr: u32, alg: u32, digest: usize): void {
  if (!pcrIsAllocated(pcr, alg)) return;
  const size = digestSizeOf(alg);
  const at = pcrAddress(alg, pcr);
  memory.fill(at, 0, size);
  if (!g.started) store<u8>(at + size - 1, 4);
  pcrExtend(pcr, alg, digest, size);
}

/** Clears the bits of registers that the bank does not have. */
export function filterPcr(selection: TPMS_PCR_SELECTION): void {
  const select = changetype<usize>(selection.pcrSelect);
  const size: u32 = load<u8>(select);
  for (let i = size; i < PCR_SELECT_MAX; i++) store<u8>(select + 1 + i, 0);
  const allocation = allocationOf(selection.hash);
  for (let i: u32 = 0; i < size; i++) {
    const mask: u8 = allocation == null ? 0 : load<u8>(changetype<usize>(allocation.pcrSelect) + 1 + i);
    store<u8>(select + 1 + i, load<u8>(select + 1 + i) & mask);
  }
}

/** Digest over the selected registers; the selection is filtered. */
export function pcrComputeCurrentDigest(hashAlg: u32, selection: TPML_PCR_SELECTION, digest: TPM2B): void {
  cryptHashStart(WORK, hashAlg);
  const count = selection.count;
  for (let i: u32 = 0; i < count; i++) {
    const select = selection.pcrSelections(i);
    filterPcr(select);
    const alg = select.hash;
    for (let pcr: u32 = 0; pcr < IMPLEMENTATION_PCR; pcr++) {
      if (selected(select, pcr)) cryptHashUpdate(WORK, pcrAddress(alg, pcr), digestSizeOf(alg));
    }
  }
  cryptHashEnd2B(WORK, digest);
}

/** At most eight registers; the selection is rewritten to those returned. */
export function pcrRead(selection: TPML_PCR_SELECTION, values: TPML_DIGEST): void {
  values.count = 0;
  const count = selection.count;
  for (let i: u32 = 0; i < count; i++) {
    const select = selection.pcrSelections(i);
    filterPcr(select);
    const alg = select.hash;
    for (let pcr: u32 = 0; pcr < IMPLEMENTATION_PCR; pcr++) {
      if (!selected(select, pcr)) continue;
      const n = values.count;
      if (n == MAX_DIGEST_LIST) {
        const at = changetype<usize>(select.pcrSelect) + 1 + (pcr >> 3);
        store<u8>(at, load<u8>(at) & ~(<u8>((<u32>1) << (pcr & 7))));
        continue;
      }
      const digest = values.digests(n);
      digest.size = digestSizeOf(alg);
      memory.copy(digest.buffer, pcrAddress(alg, pcr), digest.size);
      values.count = n + 1;
    }
  }
}

/** For TPM2_GetCapability: bit map of one property, or false if there is no such property. */
export function pcrGetProperty(property: u32, bitmap: usize): bool {
  store<u8>(bitmap, <u8>PCR_SELECT_MAX);
  memory.fill(bitmap + 1, 0, PCR_SELECT_MAX);
  // TPM_PT_PCR_SAVE 0; EXTEND_L0 1, RESET_L0 2, … RESET_L4 10; NO_INCREMENT 0x11; DRTM_RESET 0x12; POLICY 0x13, AUTH 0x14.
  if (property > 10 && (property < 0x11 || property > 0x14)) return false;
  for (let pcr: u32 = 0; pcr < IMPLEMENTATION_PCR; pcr++) {
    let set = false;
    if (property == 0) set = pcr < SAVED_PCR;
    else if (property <= 10) {
      const table = property & 1 ? EXTEND_LOCALITIES : RESET_LOCALITIES;
      set = ((load<u8>(table + pcr) >> ((property - 1) >> 1)) & 1) != 0;
    } else if (property == 0x11) set = load<u8>(NO_INCREMENT + pcr) != 0;
    else if (property == 0x12) set = (load<u8>(RESET_LOCALITIES + pcr) & 0x10) != 0;
    if (set) store<u8>(bitmap + 1 + (pcr >> 3), load<u8>(bitmap + 1 + (pcr >> 3)) | <u8>((<u32>1) << (pcr & 7)));
  }
  return true;
}

/** Bytes of all registers, as TPM2_PCR_Allocate reports them in sizeAvailable. */
export const PCR_MEMORY: u32 = IMPLEMENTATION_PCR * ALL_BANKS;
