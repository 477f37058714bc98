// The interrupt registers and the one interrupt line of all localities (TIS 1.3, 11.4).

import { interrupt } from "./host.ts";
import { INT_GLOBAL_ENABLE, INT_POLARITY_MASK, INTERRUPTS_SUPPORTED } from "./tis_registers.ts";
import { Locality, tis } from "./tis_state.ts";

function setLine(level: u32): void {
  if (tis.line == level) return;
  tis.line = level;
  interrupt(level);
}

/** Raises `causes` if any of them is enabled; then all of them show in INT_STATUS. */
export function raiseInterrupt(locality: Locality, causes: u32): void {
  if (!(locality.intEnable & INT_GLOBAL_ENABLE) || !(locality.intEnable & causes)) return;
  locality.intStatus |= causes;
  setLine(1);
}

/**
 * A write of ones to INT_STATUS. The line goes down when this locality's causes are gone, whether or not another
 * locality still has some: as in QEMU.
 */
export function clearInterrupts(locality: Locality, value: u32): void {
  if (!(value & INTERRUPTS_SUPPORTED) || !(locality.intStatus & INTERRUPTS_SUPPORTED)) return;
  locality.intStatus &= ~value;
  if (locality.intStatus == 0) setLine(0);
}

/** A write to INT_ENABLE; `kept` are the bits of the register the access did not reach. */
export function enableInterrupts(locality: Locality, value: u32, kept: u32): void {
  const bits = INT_GLOBAL_ENABLE | INT_POLARITY_MASK | INTERRUPTS_SUPPORTED;
  locality.intEnable = (locality.intEnable & kept) | (value & bits);
}
