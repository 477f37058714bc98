// Who may use the TPM: the ACCESS register, seizing, giving up, and aborting a command on the way (TIS 1.3, 11.2.11).

import { cancel } from "./host.ts";
import { raiseInterrupt } from "./tis_interrupts.ts";
import {
  ACCESS_ACTIVE_LOCALITY,
  ACCESS_BEEN_SEIZED,
  ACCESS_REQUEST_USE,
  ACCESS_SEIZE,
  INT_COMMAND_READY,
  INT_LOCALITY_CHANGE,
  NO_LOCALITY,
  STS_COMMAND_READY,
  STS_SELF_TEST_DONE,
  STS_TPM_FAMILY_MASK,
  TIS_LOCALITIES,
} from "./tis_registers.ts";
import { isLocality, Locality, localityAt, TIS_EXECUTION, TIS_READY, tis } from "./tis_state.ts";

/** Sets the status bits, keeping what a status change never touches: SelfTestDone and the family. */
export function setStatus(locality: Locality, bits: u32): void {
  locality.sts = (locality.sts & (STS_SELF_TEST_DONE | STS_TPM_FAMILY_MASK)) | bits;
}

/** Hands the TPM to `next` (or nobody). Interface states and status of both stay as they are. */
function switchTo(next: u32): void {
  const previous = tis.activeLocality;
  const changed = previous != next;
  if (changed && isLocality(previous)) {
    const old = localityAt(previous);
    if (isLocality(next) && localityAt(next).access & ACCESS_SEIZE) {
      old.access = (old.access & ~ACCESS_ACTIVE_LOCALITY) | ACCESS_BEEN_SEIZED;
    } else {
      old.access &= ~(ACCESS_ACTIVE_LOCALITY | ACCESS_REQUEST_USE);
    }
  }
  tis.activeLocality = next;
  if (!isLocality(next)) return;
  const owner = localityAt(next);
  owner.access = (owner.access & ~(ACCESS_REQUEST_USE | ACCESS_SEIZE)) | ACCESS_ACTIVE_LOCALITY;
  if (changed) raiseInterrupt(owner, INT_LOCALITY_CHANGE);
}

/** Ends what was under way and hands the TPM to the locality that waits for it. */
export function abort(): void {
  tis.rwOffset = 0;
  if (tis.abortingLocality == tis.nextLocality) {
    const locality = localityAt(tis.abortingLocality);
    locality.state = TIS_READY;
    setStatus(locality, STS_COMMAND_READY);
    raiseInterrupt(locality, INT_COMMAND_READY);
  }
  switchTo(tis.nextLocality);
  tis.nextLocality = NO_LOCALITY;
  tis.abortingLocality = NO_LOCALITY;
}

/** Aborts for `next`: at once, or, while any locality's command runs, when its response arrives. */
export function prepareAbort(aborting: u32, next: u32): void {
  tis.abortingLocality = aborting;
  tis.nextLocality = next;
  for (let i: u32 = 0; i < TIS_LOCALITIES; i++) {
    if (localityAt(i).state == TIS_EXECUTION) {
      cancel();
      return;
    }
  }
  abort();
}

/** The highest locality that asks for the TPM. */
function highestRequest(): u32 {
  for (let i = TIS_LOCALITIES; i > 0; i--) {
    if (localityAt(i - 1).access & ACCESS_REQUEST_USE) return i - 1;
  }
  return NO_LOCALITY;
}

/** Only a higher locality than the owner may seize, once, and not while a still higher one does. */
function maySeize(index: u32): bool {
  const owner = tis.activeLocality;
  if (isLocality(owner) && index <= owner) return false;
  for (let i = index; i < TIS_LOCALITIES; i++) {
    if (localityAt(i).access & ACCESS_SEIZE) return false;
  }
  return true;
}

/** True when a locality other than `index` asks for the TPM. */
export function isRequestPending(index: u32): bool {
  for (let i: u32 = 0; i < TIS_LOCALITIES; i++) {
    if (i != index && localityAt(i).access & ACCESS_REQUEST_USE) return true;
  }
  return false;
}

/** A write to ACCESS. Several bits at once are carried out in the order of this function. */
export function writeAccess(index: u32, written: u32): void {
  const locality = localityAt(index);
  let value = written;
  let owner = tis.activeLocality;
  let settled = false;
  if (value & ACCESS_SEIZE) value &= ~(ACCESS_REQUEST_USE | ACCESS_ACTIVE_LOCALITY);
  if (value & ACCESS_ACTIVE_LOCALITY) {
    if (tis.activeLocality == index) {
      const next = highestRequest();
      if (next == NO_LOCALITY) {
        owner = NO_LOCALITY;
      } else {
        settled = true;
        prepareAbort(index, next);
      }
    } else {
      locality.access &= ~ACCESS_REQUEST_USE;
    }
  }
  if (value & ACCESS_BEEN_SEIZED) locality.access &= ~ACCESS_BEEN_SEIZED;
  if (value & ACCESS_SEIZE && maySeize(index)) {
    for (let i: u32 = 0; i < index; i++) localityAt(i).access &= ~ACCESS_SEIZE;
    locality.access |= ACCESS_SEIZE;
    settled = true;
    prepareAbort(tis.activeLocality, index);
  }
  if (value & ACCESS_REQUEST_USE && tis.activeLocality != index) {
    if (isLocality(tis.activeLocality)) locality.access |= ACCESS_REQUEST_USE;
    else owner = index;
  }
  if (!settled) switchTo(owner);
}
