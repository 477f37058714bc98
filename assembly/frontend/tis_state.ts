// The state of a TIS device, and its form in QEMU's vmstate "tpm-tis" (version 0).

import { BUFFER_SIZE } from "./buffer.ts";
import { NO_LOCALITY, TIS_LOCALITIES } from "./tis_registers.ts";
import { put8, put16, put32, putBuffer, seek, take8, take16, take32, takeBuffer } from "./vmstate.ts";

/** The states of a locality's interface (TIS 1.3, figure 3). */
export const TIS_IDLE: u32 = 0;
export const TIS_READY: u32 = 1;
export const TIS_COMPLETION: u32 = 2;
export const TIS_EXECUTION: u32 = 3;
export const TIS_RECEPTION: u32 = 4;

@unmanaged
export class Locality {
  state: u32;
  access: u32;
  sts: u32;
  interfaceId: u32;
  intEnable: u32;
  intStatus: u32;
}

@unmanaged
export class Tis {
  /** Bytes of the command received, or of the response handed out, so far. All localities share it. */
  rwOffset: u32;
  activeLocality: u32;
  /** The locality whose command is being given up while its response is awaited, and the one that takes over then. */
  abortingLocality: u32;
  nextLocality: u32;
  /** The locality of the last command submitted. */
  commandLocality: u32;
  /** The command under way is a self-test. */
  selfTest: u32;
  /** The interrupt line. */
  line: u32;
}

const LOCALITY: usize = memory.data(120);
const TIS: usize = memory.data(28);
export const tis: Tis = changetype<Tis>(TIS);

@inline
export function localityAt(index: u32): Locality {
  return changetype<Locality>(LOCALITY + <usize>index * offsetof<Locality>());
}

@inline
export function isLocality(index: u32): bool {
  return index < TIS_LOCALITIES;
}

const LOCALITY_STATE_SIZE: u32 = 21;
const OFFSETS_AT: u32 = 4096;
const LOCALITIES_AT: u32 = 4101;
export const TIS_STATE_SIZE: u32 = 4206;

export function saveTis(): void {
  putBuffer(BUFFER_SIZE);
  put16(tis.rwOffset);
  put8(tis.activeLocality);
  put8(tis.abortingLocality);
  put8(tis.nextLocality);
  for (let i: u32 = 0; i < TIS_LOCALITIES; i++) {
    const locality = localityAt(i);
    put32(locality.state);
    put32(locality.intEnable);
    put32(locality.intStatus);
    put8(locality.access);
    put32(locality.sts);
    put32(locality.interfaceId);
  }
}

/** True when the state just brought in is one a device can be in. */
export function checkTis(): bool {
  seek(OFFSETS_AT);
  if (take16() > BUFFER_SIZE) return false;
  for (let i = 0; i < 3; i++) {
    const locality = take8();
    if (locality != NO_LOCALITY && !isLocality(locality)) return false;
  }
  for (let i: u32 = 0; i < TIS_LOCALITIES; i++) {
    seek(LOCALITIES_AT + i * LOCALITY_STATE_SIZE);
    if (take32() > TIS_RECEPTION) return false;
  }
  return true;
}

/** Takes over a state `checkTis` passed. The interrupt line and the command record are not part of it. */
export function restoreTis(): void {
  seek(0);
  takeBuffer(BUFFER_SIZE);
  tis.rwOffset = take16();
  tis.activeLocality = take8();
  tis.abortingLocality = take8();
  tis.nextLocality = take8();
  for (let i: u32 = 0; i < TIS_LOCALITIES; i++) {
    const locality = localityAt(i);
    locality.state = take32();
    locality.intEnable = take32();
    locality.intStatus = take32();
    locality.access = take8();
    locality.sts = take32();
    locality.interfaceId = take32();
  }
}
